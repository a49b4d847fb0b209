"""Makes wasmtime's C API visible to the native core.

The native modules (`_*.pyx`) call it in the library that the `wasmtime` package
carries, which is loaded here, before any of them, with global symbols.
"""

import ctypes
from importlib.metadata import version

import wasmtime._ffi

WASMTIME_MAJOR = 50
"""The major version of wasmtime whose C API `_wasmtime.pxd` declares."""

_found = version("wasmtime")
if int(_found.split(".")[0]) != WASMTIME_MAJOR:
    raise ImportError(
        f"Luna's native core is written for wasmtime {WASMTIME_MAJOR}, but wasmtime {_found} is installed; "
        f'run: pip install "wasmtime>={WASMTIME_MAJOR},<{WASMTIME_MAJOR + 1}"'
    )
ctypes.CDLL(wasmtime._ffi.dll._name, mode=ctypes.RTLD_GLOBAL)  # noqa: SLF001
