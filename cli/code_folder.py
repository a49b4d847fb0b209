"""The folder of compiled code that `luna run` keeps from one start to the next.

Machine code read from there is executed as it is, so the folder must be this user's own and nobody else's.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

__all__ = ["code_folder"]


def code_folder(environment: Mapping[str, str], uid: int) -> Path | None:
    """`$XDG_CACHE_HOME/luna/code`, or below `~/.cache`; made (mode 0700) if it is missing.

    None if there is no such place to write to, or if somebody else can: then nothing is kept, which costs
    time and nothing else.
    """
    # The XDG specification has relative paths ignored.
    base = Path(environment.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():
        home = Path(environment.get("HOME", ""))
        if not home.is_absolute():
            return None
        base = home / ".cache"
    folder = base / "luna" / "code"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError:
        return None
    is_private = status.st_uid == uid and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return folder if is_private and os.access(folder, os.W_OK) else None
