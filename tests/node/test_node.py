"""A whole node in this process: it starts, serves, stops, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from pathlib import Path

import grpc
import pytest
import trio

from luna.node.config import Address, NodeOptions
from luna.node.node import Node, run_node
from luna.proto import control_pb2, control_pb2_grpc
from luna.proto.errors import BrokenError, LunaError, RefusedError
from luna.proto.run_directory import NodeRecord

from .peer_node import wait_for

LOOPBACK = Address("127.0.0.1", 0)


@pytest.fixture(autouse=True)
def private_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "r"))


def status(address: str) -> control_pb2.StatusReply:
    with grpc.insecure_channel(address) as channel:
        stub = control_pb2_grpc.ControlStub(channel)  # type: ignore[no-untyped-call]
        reply = stub.Status(control_pb2.StatusRequest(), timeout=10)
        assert isinstance(reply, control_pb2.StatusReply)
        return reply


async def run_once() -> None:
    node = Node()
    ready: list[NodeRecord] = []
    serving = trio.Event()

    def on_ready(record: NodeRecord) -> None:
        ready.append(record)
        serving.set()

    async with trio.open_nursery() as nursery:
        options = NodeOptions(name="alpha", listen=LOOPBACK, discovery=False, threads=1)
        nursery.start_soon(lambda: run_node(options, node=node, on_ready=on_ready))
        with trio.fail_after(30):
            await serving.wait()
            reply = await trio.to_thread.run_sync(status, ready[0].listen)
            assert (reply.node.name, reply.node.id, reply.scheduler_threads) == ("alpha", ready[0].id, 1)
            assert reply.os_pid == os.getpid()
            assert reply.resident_bytes > 0
            node.stop("the test is over")


def luna_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("luna")]


def threads() -> Counter[str]:
    """The threads of this process by name, but for the idle workers that trio keeps for ten seconds."""
    names: Counter[str] = Counter()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it ended meanwhile
            names[(task / "comm").read_text().strip()] += 1
    return Counter({name: count for name, count in names.items() if not name.startswith("Trio thread")})


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_node_serves_and_leaves_no_thread_file_or_socket(tmp_path: Path) -> None:
    await run_once()  # the first time things are loaded that stay
    threads_before, files_before = threads(), open_files()
    for _ in range(3):
        await run_once()
    assert luna_threads() == []
    # gRPC ends its own threads and closes its sockets a moment after the last user has gone.
    await wait_for(lambda: threads() <= threads_before, "no new threads")
    await wait_for(lambda: open_files() <= files_before, "no new files")
    assert not (tmp_path / "s/luna/alpha/control.sock").exists()
    assert list((tmp_path / "r/luna").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        (NodeOptions(name="a", listen=Address("192.0.2.1", 1)), RefusedError, "not encrypted"),
        (NodeOptions(name="a", join=(Address("192.0.2.1", 1),)), RefusedError, "not encrypted"),
        (NodeOptions(name="a", listen=Address("192.0.2.1", 1), insecure=True), BrokenError, "cannot listen"),
        (NodeOptions(name="a", state=Path("/proc/nowhere")), BrokenError, "state directory"),
    ],
)
async def test_a_node_that_cannot_start_raises_one_bare_error(
    options: NodeOptions, kind: type[LunaError], said: str
) -> None:
    with trio.fail_after(30), pytest.raises(kind, match=said):
        await run_node(options)
    assert luna_threads() == []


async def test_what_comes_of_leaving_is_no_failure() -> None:
    node = Node()
    node.stop("it was asked to")
    node.fail(BrokenError("a peer has heard of it already"))
    assert node.error is None
    assert await node.wait_stopping() == "it was asked to"
