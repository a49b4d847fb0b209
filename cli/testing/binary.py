"""The tests in a binary that cargo built: is it one, and what are its tests called.

The macro `lunatic::test` exports each test as a function whose name holds all that is known of it:
`#lunatic_test_`, then `#ignore_` if it is ignored, then `#panic_TEXT#` if it should panic, then its path.
Reads names only: nothing is compiled here, so that listing the tests of a large binary takes no time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

__all__ = ["TestCase", "find_tests", "function_exports", "is_built_by_cargo_test", "parse_export"]

MANIFEST_VARIABLE: Final = "CARGO_MANIFEST_DIR"
"""set by cargo for whatever it starts"""
BENCH: Final = "--bench"
"""what `cargo bench` gives to the programs it starts"""
TEST_BINARY: Final = re.compile(r"/wasm32-(?:wasi(?:p1|p2)?|unknown-unknown)/[^/]+/deps/[^/]+\.wasm\Z")
"""where cargo puts the binaries of `cargo test` and `cargo bench`: target, profile, `deps`. The folder above
is `target` unless the user has named another. Programs of `cargo run` are not in `deps`."""

PREFIX: Final = "#lunatic_test_"
IGNORED: Final = "#ignore_"
PANICS: Final = "#panic_"
PANIC_TEXT: Final = re.compile(r"(?P<text>.*?)(?<!\\)#", re.DOTALL)
"""up to the first `#` without a backslash before it; the macro writes `\\#` for `#` and escapes no more"""

WASM_HEADER: Final = b"\0asm\1\0\0\0"
EXPORT_SECTION: Final = 7
FUNCTION: Final = 0


@final
@dataclass(frozen=True, slots=True)
class TestCase:
    """One test of a binary."""

    __test__ = False  # pytest takes every class named Test... for a collection of tests

    export: str
    """the exported function that runs it"""
    name: str
    """its path, crate name included"""
    ignored: bool = False
    panic: str | None = None
    """what its panic must contain; None: it must not panic"""

    @property
    def title(self) -> str:
        """Its name in a line of results."""
        return self.name if self.panic is None else f"{self.name} - should panic"


def is_built_by_cargo_test(environment: Mapping[str, str], file: str, arguments: Sequence[str]) -> bool:
    """Whether cargo has started us for a binary of `cargo test`, going by what it was started with."""
    return (
        MANIFEST_VARIABLE in environment
        and TEST_BINARY.search(f"/{file}") is not None
        and BENCH not in arguments
    )


def find_tests(data: bytes) -> list[TestCase]:
    """The tests of a wasm binary in the order of its exports; none if it is no binary or damaged."""
    return [parse_export(name) for name in function_exports(data) if name.startswith(PREFIX)]


def parse_export(export: str) -> TestCase:
    """The test an export named `#lunatic_test_...` stands for."""
    rest = export.removeprefix(PREFIX)
    ignored = rest.startswith(IGNORED)
    rest = rest.removeprefix(IGNORED)
    panic = PANIC_TEXT.match(rest, len(PANICS)) if rest.startswith(PANICS) else None
    if panic is None:
        return TestCase(export, rest, ignored)
    return TestCase(export, rest[panic.end() :], ignored, panic["text"].replace("\\#", "#"))


def function_exports(data: bytes) -> list[str]:
    """The names of a wasm binary's exported functions, in order; none if it is no binary or damaged.

    Source: WebAssembly core specification 1.0, section 5.5.10 (export section).
    """
    if not data.startswith(WASM_HEADER):
        return []
    try:
        for section, start, end in _sections(data):
            if section == EXPORT_SECTION:
                return list(_functions(data[start:end]))
    except (IndexError, UnicodeDecodeError):
        pass  # what is wrong with it is said by who compiles it
    return []


def _sections(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(id, start, end) of each section."""
    position = len(WASM_HEADER)
    while position < len(data):
        section = data[position]
        size, start = _unsigned(data, position + 1)
        position = start + size
        yield section, start, position


def _functions(section: bytes) -> Iterator[str]:
    count, position = _unsigned(section, 0)
    for _ in range(count):
        length, start = _unsigned(section, position)
        position = start + length
        kind = section[position]
        _, position = _unsigned(section, position + 1)
        if kind == FUNCTION:
            yield section[start : start + length].decode()


def _unsigned(data: bytes, position: int) -> tuple[int, int]:
    """A LEB128 number and the position behind it. Raises IndexError at the end of the data."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
