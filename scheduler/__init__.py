"""Runs WebAssembly processes on one machine: the native core and its Python side.

The native modules (`_*.pyx`) call wasmtime's C API in the library that the
`wasmtime` package carries. It is loaded here, before any of them, with its
symbols visible to them.
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
ctypes.CDLL(wasmtime._ffi.dll._name, mode=ctypes.RTLD_GLOBAL)

from luna.scheduler.config import Param, ProcessConfig
from luna.scheduler.logs import LogChunk, LogReader
from luna.scheduler.modules import FunctionType, Module
from luna.scheduler.peers import PeerGateway, PeerStatistics
from luna.scheduler.requests import GuestTrap, Request
from luna.scheduler.runtime import (
    ExitKind,
    ExitStatus,
    ProcessInfo,
    Runtime,
    RuntimeStatistics,
    open_runtime,
)

__all__ = [
    "ExitKind",
    "ExitStatus",
    "FunctionType",
    "GuestTrap",
    "LogChunk",
    "LogReader",
    "Module",
    "Param",
    "PeerGateway",
    "PeerStatistics",
    "ProcessConfig",
    "ProcessInfo",
    "Request",
    "Runtime",
    "RuntimeStatistics",
    "open_runtime",
]
