"""The state directory: one node at a time, and nothing left behind."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from luna.node.config import NodeOptions
from luna.node.state import MAX_SOCKET_PATH_BYTES, announced, open_state
from luna.proto.errors import BrokenError, BusyError
from luna.proto.run_directory import NodeRecord, read_records


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(tmp_path / "s"), "XDG_RUNTIME_DIR": str(tmp_path / "r")}


def test_the_named_node_gets_its_own_private_directory(tmp_path: Path, environment: dict[str, str]) -> None:
    with open_state(NodeOptions(name="alpha"), environment) as state:
        assert state.name == "alpha"
        assert state.path == tmp_path / "s/luna/alpha"
        assert stat.S_IMODE(state.path.stat().st_mode) == 0o700


def test_a_second_node_of_one_name_is_refused_until_the_first_ends(environment: dict[str, str]) -> None:
    with open_state(NodeOptions(name="alpha"), environment):
        with (
            pytest.raises(BusyError, match=f"process {os.getpid()}") as caught,
            open_state(NodeOptions(name="alpha"), environment),
        ):
            pass
        assert caught.value.hint is not None
        assert "--name" in caught.value.hint
    with open_state(NodeOptions(name="alpha"), environment):
        pass


def test_unnamed_nodes_count_on(environment: dict[str, str]) -> None:
    with open_state(NodeOptions(), environment) as first, open_state(NodeOptions(), environment) as second:
        assert second.name == f"{first.name[:60]}-2"
        assert second.path != first.path


def test_a_directory_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(BrokenError, match="state directory"),
        open_state(NodeOptions(state=tmp_path / "file")),
    ):
        pass


def test_a_long_path_moves_the_socket_to_the_run_directory(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    with tempfile.TemporaryDirectory() as short:
        environment["XDG_RUNTIME_DIR"] = short
        with open_state(NodeOptions(name="alpha", state=deep), environment) as state:
            assert len(os.fsencode(state.socket)) <= MAX_SOCKET_PATH_BYTES
            assert state.socket.is_relative_to(short)


def test_no_place_for_the_socket_is_one_clear_error(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    environment = {"XDG_RUNTIME_DIR": str(deep)}
    with (
        pytest.raises(BrokenError, match="too long"),
        open_state(NodeOptions(name="a", state=deep), environment),
    ):
        pass


def test_a_stale_socket_is_removed_and_the_own_one_too(environment: dict[str, str]) -> None:
    with open_state(NodeOptions(name="alpha"), environment) as state:
        state.socket.write_text("")
    assert not state.socket.exists()
    state.socket.write_text("")
    with open_state(NodeOptions(name="alpha"), environment) as state:
        assert not state.socket.exists()


def test_a_node_is_announced_while_it_runs(environment: dict[str, str]) -> None:
    with open_state(NodeOptions(name="alpha"), environment) as state:
        record = NodeRecord("alpha", 7, str(state.socket), "127.0.0.1:1", os.getpid(), 1)
        with announced(state, record):
            assert read_records(state.run_path) == [record]
        assert read_records(state.run_path) == []


def test_an_unusable_run_directory_does_not_stop_the_node(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "r").write_text("")
    record = NodeRecord("alpha", 7, "s", "l", os.getpid(), 1)
    with open_state(NodeOptions(name="alpha"), environment) as state, announced(state, record):
        assert not (tmp_path / "r" / "luna").exists()
