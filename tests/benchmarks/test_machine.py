"""Facts read from the texts of /proc."""

from __future__ import annotations

import os

import pytest
from benchmarks.machine import field_kib, parse_cpu_model, resident_kib, versions

CPUINFO = "processor\t: 0\nmodel name\t: A Processor: fast\n\nprocessor\t: 1\nmodel name\t: Another\n"


def test_the_first_processor_names_the_machine() -> None:
    assert parse_cpu_model(CPUINFO) == "A Processor: fast"
    assert parse_cpu_model("processor\t: 0\n") == ""


def test_fields_are_found_by_their_whole_name() -> None:
    text = "MemTotalX:  1 kB\nMemTotal:       24683740 kB\nMemFree: 3 kB\n"
    assert field_kib(text, "MemTotal") == 24_683_740
    with pytest.raises(ValueError, match="no VmRSS"):
        field_kib(text, "VmRSS")


def test_memory_of_a_process_is_found_by_its_id() -> None:
    assert resident_kib(os.getpid()) > 1024
    assert resident_kib() > 1024


def test_versions_name_what_is_measured() -> None:
    found = versions(erlang=False)
    assert {"python", "luna-node", "wasmtime"} <= set(found)
    assert "erlang" not in found
