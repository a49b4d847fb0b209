"""Reading the module file named on a command line, with an error that says what is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path

from luna.proto.errors import InvalidError, NotFoundError, RefusedError
from luna.proto.limits import MAX_MODULE_BYTES


def read_module(file: str) -> bytes:
    """The bytes of a .wasm or .wat file.

    Raises NotFoundError, InvalidError (a directory, an empty file, unreadable) or RefusedError (too large).
    What is in it is judged where it is compiled.
    """
    path = Path(file)
    try:
        with path.open("rb") as handle:
            data = handle.read(MAX_MODULE_BYTES + 1)
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {file}") from None
    except IsADirectoryError:
        raise InvalidError(f"{file} is a directory, not a WebAssembly module") from None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InvalidError(f"cannot read {file}: {reason}") from error
    if not data:
        raise InvalidError(f"{file} is empty, not a WebAssembly module")
    if len(data) > MAX_MODULE_BYTES:
        raise RefusedError(f"{file} is larger than {MAX_MODULE_BYTES} bytes, the limit of a module")
    return data


def module_name(file: str) -> str:
    """The name people see for the module: the base name of its file, always valid Unicode."""
    return os.fsencode(Path(file).name).decode("utf-8", "replace")
