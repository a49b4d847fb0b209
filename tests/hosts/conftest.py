"""Makes integration.hosts importable: a folder of scripts and tests, not a package that is installed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]

# Not by sys.path: with the root on it, every package could be imported a second time under its bare name.
for name in ("integration", "integration.hosts"):
    if name not in sys.modules:
        package = ModuleType(name)
        package.__path__ = [str(ROOT.joinpath(*name.split(".")))]
        sys.modules[name] = package
