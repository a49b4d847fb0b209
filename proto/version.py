"""Versions: of the wire protocol between nodes, and of the installed package."""

from __future__ import annotations

from functools import cache
from importlib import metadata

PROTOCOL_MIN = 2
"""Oldest protocol between nodes that this code speaks."""

PROTOCOL_MAX = 2
"""Newest protocol between nodes that this code speaks. Two nodes use the newest both know."""

DISTRIBUTION = "luna-node"


@cache
def package_version() -> str:
    """The version of the installed distribution; `unknown` when run from sources that are not installed.

    Looked up at the first call: reading package metadata costs milliseconds that `luna --help` need not pay.
    """
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"
