"""Which files are test binaries, and what the names of their exports mean."""

from __future__ import annotations

import pytest
import wasmtime

from luna.cli.testing.binary import (
    TestCase,
    find_tests,
    function_exports,
    is_built_by_cargo_test,
    parse_export,
)

CARGO = {"CARGO_MANIFEST_DIR": "/project"}


@pytest.mark.parametrize(
    ("export", "name", "ignored", "panic"),
    [
        ("#lunatic_test_m::f", "m::f", False, None),
        ("#lunatic_test_#ignore_m::f", "m::f", True, None),
        ("#lunatic_test_#panic_#m::f", "m::f", False, ""),
        ("#lunatic_test_#panic_a b#m::f", "m::f", False, "a b"),
        ("#lunatic_test_#ignore_#panic_a#m::f", "m::f", True, "a"),
        (r"#lunatic_test_#panic_\##m::f", "m::f", False, "#"),
        (r"#lunatic_test_#panic_a\#b\#c#m::f", "m::f", False, "a#b#c"),
        (r"#lunatic_test_#panic_a\b#m::f", "m::f", False, r"a\b"),
        ("#lunatic_test_#panic_two\nlines#m::f", "m::f", False, "two\nlines"),
        ("#lunatic_test_#panic_#ignore_m::f", "ignore_m::f", False, ""),  # the macro has another order
        ("#lunatic_test_#panic_without end", "#panic_without end", False, None),
        ("#lunatic_test_#panic_#", "", False, ""),
        ("#lunatic_test_", "", False, None),
    ],
)
def test_export_tells_name_and_attributes(export: str, name: str, ignored: bool, panic: str | None) -> None:
    assert parse_export(export) == TestCase(export, name, ignored, panic)


def test_title_says_that_a_panic_is_expected() -> None:
    assert parse_export("#lunatic_test_m::f").title == "m::f"
    assert parse_export("#lunatic_test_#panic_#m::f").title == "m::f - should panic"


@pytest.mark.parametrize(
    ("file", "is_test"),
    [
        ("target/wasm32-wasip1/debug/deps/x-1.wasm", True),
        ("/p/target/wasm32-wasi/release/deps/x-1.wasm", True),
        ("/p/target/wasm32-unknown-unknown/debug/deps/x.wasm", True),
        ("/elsewhere/wasm32-wasip1/my-profile/deps/x.wasm", True),
        ("wasm32-wasip1/debug/deps/x.wasm", True),
        ("target/wasm32-wasip1/debug/x.wasm", False),
        ("target/wasm32-wasip1/debug/examples/x.wasm", False),
        ("target/wasm32-wasip1/debug/deps/x.wat", False),
        ("target/wasm32-wasip1/debug/deps/x.wasm/y", False),
        ("target/wasm64-unknown/debug/deps/x.wasm", False),
        ("target/debug/deps/x.wasm", False),
        ("x.wasm", False),
    ],
)
def test_path_tells_a_test_binary(file: str, is_test: bool) -> None:
    assert is_built_by_cargo_test(CARGO, file, ["filter", "--nocapture"]) == is_test
    assert not is_built_by_cargo_test({}, file, [])


def test_benchmarks_are_programs() -> None:
    file = "target/wasm32-wasip1/release/deps/x.wasm"
    assert is_built_by_cargo_test(CARGO, file, ["--benches"])
    assert not is_built_by_cargo_test(CARGO, file, ["filter", "--bench"])


def wasm(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


MODULE = wasm("""(module
    (memory (export "#lunatic_test_memory") 1)
    (global (export "#lunatic_test_global") i32 (i32.const 0))
    (func (export "_start"))
    (func (export "#lunatic_test_m::b"))
    (func (export "\\c3\\bc"))
    (func (export "#lunatic_test_#ignore_m::a")))""")


def test_only_functions_are_tests_and_keep_their_order() -> None:
    assert function_exports(MODULE) == ["_start", "#lunatic_test_m::b", "ü", "#lunatic_test_#ignore_m::a"]
    assert [test.name for test in find_tests(MODULE)] == ["m::b", "m::a"]


def test_many_exports_are_all_found() -> None:
    names = [f"#lunatic_test_m::{'x' * 200}{number}" for number in range(300)]
    text = "".join(f'(func (export "{name}"))' for name in names)
    assert function_exports(wasm(f"(module {text})")) == names


def test_damaged_binary_has_no_tests() -> None:
    for end in range(len(MODULE)):
        assert set(function_exports(MODULE[:end])) <= set(function_exports(MODULE))
    for index in range(8, len(MODULE)):
        function_exports(MODULE[:index] + b"\xff" + MODULE[index + 1 :])
    assert function_exports(b'(module (func (export "#lunatic_test_m::a")))') == []
    assert function_exports(wasm("(module)")) == []
