"""The client: statuses become errors of the tree, and what is no node is recognised as such."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import grpc
import pytest

from luna.cli.client import Client, error_of
from luna.cli.errors import NoNodeError
from luna.cli.params import parse_process
from luna.cli.target import Target
from luna.proto import errors
from luna.proto.errors import LunaError

from .fake_control import FakeControl, FakeServer

Status = grpc.StatusCode


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (Status.UNAVAILABLE, NoNodeError),
        (Status.DEADLINE_EXCEEDED, NoNodeError),
        (Status.NOT_FOUND, errors.NotFoundError),
        (Status.INVALID_ARGUMENT, errors.InvalidError),
        (Status.FAILED_PRECONDITION, errors.RefusedError),
        (Status.PERMISSION_DENIED, errors.RefusedError),
        (Status.RESOURCE_EXHAUSTED, errors.RefusedError),
        (Status.UNIMPLEMENTED, errors.RefusedError),
        (Status.CANCELLED, errors.BrokenError),
        (Status.INTERNAL, errors.InternalError),
        (Status.UNKNOWN, errors.InternalError),
        (Status.DATA_LOSS, errors.InternalError),
    ],
)
def test_every_status_has_its_error(code: grpc.StatusCode, kind: type[LunaError]) -> None:
    assert type(error_of(code, "what happened", "node a")) is kind


def test_hint_of_the_node_is_told_apart() -> None:
    error = error_of(Status.INVALID_ARGUMENT, "cannot link:\n  env::f\nhint: rebuild it", "node a")
    assert error.message == "cannot link:\n  env::f"
    assert error.hint == "rebuild it"


def test_status_without_details_is_named() -> None:
    assert error_of(Status.NOT_FOUND, "", "node a").message == "NOT_FOUND"


def test_missing_socket_is_no_node(tmp_path: Path) -> None:
    target = Target("there", path=str(tmp_path / "none.sock"))
    with (
        pytest.raises(NoNodeError, match="no node answers at there: No such file or directory"),
        Client(target),
    ):
        pass


def test_too_long_socket_path_is_no_node() -> None:
    with pytest.raises(NoNodeError, match="path too long"), Client(Target("there", path="/" + "x" * 200)):
        pass


def test_closed_port_is_no_node() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        target = Target("there", address=unused.getsockname())
        with pytest.raises(NoNodeError, match="Connection refused"), Client(target):
            pass


def test_host_that_cannot_be_a_name_is_no_node() -> None:
    with (
        pytest.raises(NoNodeError, match="no node answers at there"),
        Client(Target("there", address=("a" * 70 + ".example", 1))),
    ):
        pass


def test_server_that_does_not_speak_grpc_is_no_node() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def babble() -> None:
            for _ in range(2):  # the probe, then gRPC
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=babble)
        thread.start()
        with (
            pytest.raises(NoNodeError, match="asked there"),
            Client(Target("there", address=listener.getsockname())) as client,
        ):
            client.status()
        thread.join(30)
        assert not thread.is_alive()


def test_web_proxy_of_the_environment_is_not_used(
    control: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with (
        FakeServer(control, "127.0.0.1:0") as server,
        Client(Target("there", address=("127.0.0.1", server.port))) as client,
    ):
        assert client.status().node.name == "alpha"


def test_leaving_the_client_ends_its_request(control: FakeControl, own_environment: Path) -> None:
    control.exit = None
    path = str(own_environment / "s")
    with FakeServer(control, f"unix:{path}"):
        with Client(Target("there", path=path)) as client:
            stream = client.logs(parse_process("2@alpha"), follow=True)
            assert next(stream).stdout == b"one\n"
            assert control.following.wait(30)
        assert control.cancelled.wait(30)
    assert all(thread.name != "luna-calls" for thread in threading.enumerate())
