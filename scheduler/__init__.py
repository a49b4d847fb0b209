"""Runs WebAssembly processes on one machine: the native core and its Python side."""

from luna.scheduler._library import WASMTIME_MAJOR  # first: the native modules need its symbols
from luna.scheduler.config import Param, ProcessConfig
from luna.scheduler.facts import ExitKind, ExitStatus, ProcessInfo, RuntimeStatistics
from luna.scheduler.logs import LogChunk, LogReader
from luna.scheduler.modules import FunctionType, Module
from luna.scheduler.peers import PeerGateway, PeerStatistics
from luna.scheduler.requests import GuestData, GuestTrap, Request
from luna.scheduler.runtime import Runtime, open_runtime
from luna.scheduler.tracing import Trace

__all__ = [
    "WASMTIME_MAJOR",
    "ExitKind",
    "ExitStatus",
    "FunctionType",
    "GuestData",
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
    "Trace",
    "open_runtime",
]
