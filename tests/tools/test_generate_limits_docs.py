"""The page of limits: current, complete, and loud about what it cannot read."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from luna.proto import limits

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools" / "generate_limits_docs.py"


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("generate_limits_docs", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_tree_is_current() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_shared_limit_is_on_the_page(generator: ModuleType) -> None:
    text = generator.page()
    names = [name for name in vars(limits) if name.isupper() and name not in {"KIB", "MIB"}]
    assert len(names) > 20
    assert [name for name in names if f"| `{name}` |" not in text] == []


@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        (64 * 2**20, "bytes; of a frame", "64 MiB"),
        (64, "bytes", "64"),
        (1500, "bytes; no whole number of KiB", "1 500"),
        (2048, "processes of one node", "2 048"),
        (0.8, "seconds between", "0.8 s"),
        (1_000_000, "nanoseconds between", "1 ms"),
        (20_000, "nanoseconds", "20 us"),
        (0.1, "of the machine's memory", "0.1"),
    ],
)
def test_values_are_written_as_people_say_them(
    value: float, text: str, expected: str, generator: ModuleType
) -> None:
    assert generator.format_value(value, text) == expected


def test_names_that_follow_each_other_share_a_comment_and_others_do_not(generator: ModuleType) -> None:
    found = generator.native_limits(
        "# not part of it\ncdef enum:\n    # bytes; two\n    # lines\n    HIGH = 8 * 1024\n    LOW = 2_048\n"
        "\n    # stacks\n    OTHER = 3\n"
    )
    assert [(limit.name, limit.value, limit.text) for limit in found] == [
        ("HIGH", 8192, "bytes; two lines"),
        ("LOW", 2048, "bytes; two lines"),
        ("OTHER", 3, "stacks"),
    ]


@pytest.mark.parametrize(
    "source", ["cdef enum:\n    BARE = 1\n", "cdef enum:\n    # stacks\n    ODD = 1 << 3\n"]
)
def test_a_limit_that_cannot_be_read_is_an_error(source: str, generator: ModuleType) -> None:
    with pytest.raises(ValueError, match="not a limit with a comment above it"):
        generator.native_limits(source)
