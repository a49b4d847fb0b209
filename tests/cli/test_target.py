"""Which node a command talks to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from luna.cli.errors import NoNodeError
from luna.cli.target import choose
from luna.proto.errors import InvalidError
from luna.proto.run_directory import NodeRecord

A = NodeRecord("a", 1, "/run/a.sock", "127.0.0.1:1", 10, 100)
B = NodeRecord("b", 2, "/run/b.sock", "127.0.0.1:2", 20, 200)


def unread() -> Sequence[NodeRecord]:
    raise AssertionError("the run directory is not needed")


def test_only_node_of_this_machine_is_the_default() -> None:
    choice = choose(None, "--connect", lambda: [A])
    assert choice.target.grpc_target() == "unix:/run/a.sock"
    assert choice.note is None


def test_of_several_the_one_started_first_is_taken_and_said() -> None:
    choice = choose(None, "--connect", lambda: [A, B])
    assert choice.target.path == "/run/a.sock"
    assert choice.note == (
        "2 nodes run on this machine (a, b); asking a, the one started first "
        "(pick another with --connect NAME)"
    )


def test_without_a_node_the_error_says_how_to_start_one() -> None:
    with pytest.raises(NoNodeError, match="no node is running on this machine") as caught:
        choose(None, "--connect", list)
    assert caught.value.hint is not None
    assert "luna-node start" in caught.value.hint


def test_empty_choice_is_no_choice() -> None:
    assert choose("", "LUNA_CONNECT", lambda: [A]).target.path == "/run/a.sock"


def test_unix_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert choose("unix:x/c.sock", "--connect", unread).target.path == str(tmp_path / "x/c.sock")
    assert choose("unix:/abs.sock", "--connect", unread).target.grpc_target() == "unix:/abs.sock"


def test_address_is_taken_as_it_is() -> None:
    assert choose("example.org:7400", "--connect", unread).target.grpc_target() == "example.org:7400"
    assert choose("[::1]:7400", "--connect", unread).target.grpc_target() == "[::1]:7400"


def test_name_is_a_node_of_this_machine() -> None:
    choice = choose("b", "--connect", lambda: [A, B])
    assert choice.target.path == "/run/b.sock"
    assert choice.note is None


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(NoNodeError, match=r"no node named c .*\(from --connect\)") as caught:
        choose("c", "--connect", lambda: [A, B])
    assert caught.value.hint == "running here: a, b"


@pytest.mark.parametrize("text", ["unix:", "host:99999", "a/b", "http://x:1"])
def test_text_that_names_nothing_is_refused_with_its_source(text: str) -> None:
    with pytest.raises(InvalidError, match=r"from LUNA_CONNECT") as caught:
        choose(text, "LUNA_CONNECT", unread)
    assert caught.value.hint == "write unix:PATH, HOST:PORT, or the name of a node on this machine"
