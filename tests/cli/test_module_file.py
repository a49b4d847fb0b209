"""Reading the module file of a command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from luna.cli import module_file
from luna.cli.module_file import module_name, read_module
from luna.proto.errors import InvalidError, NotFoundError, RefusedError


def test_reads_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "p.wasm"
    path.write_bytes(b"\0asm")
    assert read_module(str(path)) == b"\0asm"


def test_missing_file_is_not_found() -> None:
    with pytest.raises(NotFoundError, match=r"there is no file none\.wasm"):
        read_module("none.wasm")


def test_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InvalidError, match=r"cannot read .*loop: Too many levels of symbolic links"):
        read_module(str(tmp_path / "loop"))
    with pytest.raises(InvalidError, match="cannot read"):
        read_module("a\0b")


def test_file_at_the_limit_is_read_and_one_above_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_file, "MAX_MODULE_BYTES", 8)
    path = tmp_path / "p.wasm"
    path.write_bytes(bytes(8))
    assert len(read_module(str(path))) == 8
    path.write_bytes(bytes(9))
    with pytest.raises(RefusedError, match="larger than 8 bytes"):
        read_module(str(path))


def test_name_is_the_base_name_and_always_text() -> None:
    assert module_name("/a/b/p.wasm") == "p.wasm"
    assert module_name(os.fsdecode(b"/a/\xff.wasm")) == "\ufffd.wasm"
