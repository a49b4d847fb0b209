"""Facts about the machine and the versions that figures depend on."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from benchmarks.lab import ROOT

__all__ = [
    "available_memory_kib",
    "field_kib",
    "machine_facts",
    "parse_cpu_model",
    "resident_kib",
    "versions",
]

PACKAGES: Final = ("luna-node", "wasmtime", "grpcio", "protobuf", "trio", "ziglang")
COMMAND_TIMEOUT_S: Final = 20.0


def machine_facts() -> dict[str, Any]:
    """What figures depend on: processor, cores, memory, kernel, and how busy the machine is now."""
    return {
        "processor": parse_cpu_model(Path("/proc/cpuinfo").read_text()) or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": total_memory_kib() // 1024,
        "kernel": f"{platform.system()} {platform.release()}",
        "load_average": list(os.getloadavg()),
    }


def versions(erlang: bool) -> dict[str, str]:
    """What was measured. `commit` is there when this is a git checkout, `erlang` when it is installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    commit = _output(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"])
    if commit:
        found["commit"] = commit
    if erlang:
        code = 'io:format("~s", [erlang:system_info(otp_release)]), halt().'
        found["erlang"] = _output(["erl", "-noshell", "-eval", code])
    return found


def resident_kib(pid: int | None = None) -> int:
    """KiB of memory that an operating system process, this one if None, has in RAM."""
    status = Path(f"/proc/{'self' if pid is None else pid}/status").read_text()
    return field_kib(status, "VmRSS")


def total_memory_kib() -> int:
    """KiB of memory of this machine."""
    return field_kib(Path("/proc/meminfo").read_text(), "MemTotal")


def available_memory_kib() -> int:
    """KiB that programs can still have, by the kernel's own estimate."""
    return field_kib(Path("/proc/meminfo").read_text(), "MemAvailable")


def field_kib(text: str, name: str) -> int:
    """A figure in KiB of /proc/meminfo or /proc/PID/status. Raises ValueError if it is not there."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0])
    raise ValueError(f"no {name}")


def parse_cpu_model(cpuinfo: str) -> str:
    """The model of the first processor in the text of /proc/cpuinfo; empty if it has none."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return ""


def _output(command: list[str]) -> str:
    """What a command prints; empty if it fails or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMMAND_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
