"""Makes `integration.soak` importable: a folder of the project, not a package that is installed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

# Not by sys.path: with the root on it, every package could be imported a second time under its bare name.
if "integration" not in sys.modules:
    package = ModuleType("integration")
    package.__path__ = [str(Path(__file__).resolve().parents[2] / "integration")]
    sys.modules["integration"] = package
