"""Real nodes among bad peers, on full disks, and with nobody listening: they go on."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from pathlib import Path

import grpc
import pytest

from luna.cluster.link_layer import Link
from luna.proto import node_pb2
from luna.proto.limits import MAX_FRAME_BYTES
from luna.proto.version import PROTOCOL_MAX, PROTOCOL_MIN

from .node_process import BIN, READY, NodeProcess, NodeStarter, wait_for

GUESTS = Path(__file__).parent.parent / "build" / "guests"


SESSION = 1
HEAD = Link(SESSION).next_head()


def first_frame(nodes: NodeStarter) -> bytes:
    node = node_pb2.NodeInfo(
        id=1, name="evil", cluster=nodes.cluster, address="127.0.0.1:9", started_ms=2**50
    )
    hello = node_pb2.Hello(
        protocol_min=PROTOCOL_MIN,
        protocol_max=PROTOCOL_MAX,
        node=node,
        session=node_pb2.SessionOffer(proposed=SESSION),
    )
    return node_pb2.Frame(hello=hello).SerializeToString()


def send_frames(target: NodeProcess, *frames: bytes) -> tuple[grpc.StatusCode, str]:
    """Open a session by hand, send these frames, and wait for its end."""
    options = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))
    with grpc.insecure_channel(target.address, options=options) as channel:
        call = channel.stream_stream("/luna.v1.Node/Session", None, None)(iter(frames), timeout=20)
        try:
            for _ in call:
                pass
        except grpc.RpcError:
            pass
        return call.code(), call.details() or ""


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\xff" * 64, grpc.StatusCode.INVALID_ARGUMENT),
        (HEAD + b"\x0a\xff\xff\xff\xff\x7f", grpc.StatusCode.INVALID_ARGUMENT),
        (b"\x0a\x00" * (MAX_FRAME_BYTES // 2 + 1), grpc.StatusCode.INVALID_ARGUMENT),
        (bytes(MAX_FRAME_BYTES + 2**21), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (
            HEAD
            + node_pb2.Frame(
                envelopes=[node_pb2.Envelope(message=node_pb2.Message(to=1))]
            ).SerializeToString(),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
        (
            HEAD
            + node_pb2.Frame(
                envelopes=[node_pb2.Envelope(spawn=node_pb2.Spawn(parent=9 << 40 | 1))]
            ).SerializeToString(),
            grpc.StatusCode.OK,
        ),
    ],
    ids=["garbage", "truncated", "oversized", "huge", "in another node's name", "spawn for another node"],
)
def test_a_peer_that_sends_what_it_must_not_is_cut_off_and_nobody_else(
    nodes: NodeStarter, frame: bytes, code: grpc.StatusCode
) -> None:
    a = nodes.start("a")
    b = nodes.start("b", "--join", a.address)
    wait_for(lambda: a.sees("a", "b") and b.sees("a", "b"), "a and b connected")
    ended, details = send_frames(a, first_frame(nodes), frame)
    assert ended is code, details
    wait_for(lambda: a.sees("a", "b") and b.sees("a", "b"), "only the evil one is gone")
    assert "node declared dead" in a.errors()
    assert "Traceback" not in a.errors()
    done = a.luna("spawn", "--node", "b", "--follow", str(GUESTS / "hello.wasm"))
    assert done.returncode == 0, done.stderr


def test_the_memory_of_oversized_frames_is_given_back(nodes: NodeStarter) -> None:
    a = nodes.start("a")

    def resident_mib() -> int:
        pages = int(Path(f"/proc/{a.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE") // 2**20

    # Twelve frames of 64 MiB, and small ones that decode to much more. The allocator keeps some of what it
    # once had, the more the busier the machine; it does not keep more and more.
    before, frame_mib = resident_mib(), MAX_FRAME_BYTES // 2**20
    for size, count in ((2**21, 5), (MAX_FRAME_BYTES // 2 + 1, 12)):
        for _ in range(count):
            send_frames(a, b"\x0a\x00" * size)
    wait_for(lambda: resident_mib() < before + 5 * frame_mib, "the memory given back", timeout_s=30)


def test_a_full_disk_costs_the_module_store_and_nothing_else(nodes: NodeStarter) -> None:
    # No file may grow beyond 1 KiB: every write of a module fails as on a full disk; the log goes to a pipe.
    arguments = shlex.join([str(BIN / "luna-node"), "start", *nodes.arguments("a")])
    process = subprocess.Popen(
        ["bash", "-c", f"ulimit -f 1; exec {arguments}"],
        env={**nodes.environment, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        match = READY.match(process.stdout.readline())
        assert match is not None
        node = NodeProcess(process, Path(os.devnull), nodes.environment, address=match[3])
        for _ in range(2):
            done = node.luna("spawn", "--follow", str(GUESTS / "hello.wasm"))
            assert done.returncode == 0, done.stderr
        process.send_signal(signal.SIGTERM)
        log = process.stderr.read()
        assert process.wait(15) == 0, log
        assert "modules are kept in memory only" in log
        assert list((nodes.folder / "state/luna/a/modules").iterdir()) == []
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def test_a_node_whose_log_nobody_reads_goes_on(nodes: NodeStarter) -> None:
    process = subprocess.Popen(
        [BIN / "luna-node", "start", *nodes.arguments("a", "--log-level", "debug")],
        env=nodes.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        match = READY.match(process.stdout.readline())
        assert match is not None
        process.stderr.close()
        process.stdout.close()
        a = NodeProcess(process, Path(os.devnull), nodes.environment, address=match[3])
        b = nodes.start("b", "--join", a.address)  # both log that
        wait_for(lambda: a.sees("a", "b") and b.sees("a", "b"), "a and b connected")
        assert b.stop() == 0
        wait_for(lambda: a.sees("a"), "b has left")
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait()
