"""Starting and stopping real nodes: the ready line, signals, exit codes, and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from .node_process import READY, NodeStarter, wait_for


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_node_says_ready_once_and_stops_cleanly_on_a_signal(
    nodes: NodeStarter, number: signal.Signals
) -> None:
    node = nodes.start("alpha", "--label", "zone=a")
    entry = node.nodes()["alpha"]
    assert (entry.member.node.id, entry.member.node.address) == (node.id, node.address)
    assert dict(entry.member.node.labels) == {"zone": "a"}
    began = time.monotonic()
    assert node.stop(number) == 0
    assert time.monotonic() - began < 5
    assert len(node.lines) == 1
    assert READY.match(node.lines[0])
    assert "Traceback" not in node.errors()


def test_a_stopped_node_leaves_no_socket_record_or_lock(nodes: NodeStarter) -> None:
    node = nodes.start("alpha")
    state = nodes.folder / "state/luna/alpha"
    record = nodes.folder / "run/luna/alpha.json"
    assert stat.S_IMODE((state / "control.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert json.loads(record.read_text()) == {
        "name": "alpha",
        "id": node.id,
        "socket": str(state / "control.sock"),
        "listen": node.address,
        "pid": node.process.pid,
        "started_ms": node.nodes()["alpha"].member.node.started_ms,
    }
    assert node.stop() == 0
    assert not (state / "control.sock").exists()
    assert not record.exists()
    assert nodes.start("alpha").id != node.id


def test_a_killed_node_does_not_block_its_successor(nodes: NodeStarter) -> None:
    nodes.start("alpha").kill()
    assert nodes.start("alpha").nodes().keys() == {"alpha"}


def test_a_second_signal_ends_it_at_once(nodes: NodeStarter) -> None:
    node = nodes.start("alpha")
    # Stopped processes get their signals when they go on: both are then there, whatever the timing.
    node.pause()
    node.process.send_signal(signal.SIGTERM)
    node.process.send_signal(signal.SIGINT)
    node.resume()
    assert node.wait_exit() in {0, 128 + signal.SIGINT, 128 + signal.SIGTERM}


def test_the_control_socket_serves_health_and_reflection(nodes: NodeStarter) -> None:
    node = nodes.start("alpha")
    path = nodes.folder / "state/luna/alpha/control.sock"
    with grpc.insecure_channel(f"unix:{path}") as channel:
        reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
    assert node.luna("nodes").returncode == 0


def test_a_port_in_use_is_one_clear_error(nodes: NodeStarter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        node = nodes.begin("--name", "alpha", "--listen", f"127.0.0.1:{port}", "--no-discovery")
        assert node.wait_exit() == 1
    assert node.lines == []
    assert f"luna-node: cannot listen on 127.0.0.1:{port}: Address already in use" in node.errors()
    assert "Traceback" not in node.errors()


def test_without_listen_several_nodes_find_ports_and_names_of_their_own(nodes: NodeStarter) -> None:
    first = nodes.begin("--cluster", nodes.cluster, "--no-discovery")
    first.wait_ready()
    second = nodes.begin("--cluster", nodes.cluster, "--no-discovery")
    second.wait_ready()
    assert first.address != second.address
    assert first.address.startswith("127.0.0.1:")
    assert second.name == f"{first.name[:60]}-2"


def test_a_state_directory_in_use_is_one_clear_error(nodes: NodeStarter) -> None:
    first = nodes.start("alpha")
    second = nodes.begin(*nodes.arguments("alpha"))
    assert second.wait_exit() == 1
    assert f"belongs to a running node (process {first.process.pid})" in second.errors()
    assert first.nodes().keys() == {"alpha"}


@pytest.mark.parametrize("option", ["--listen", "--join"])
def test_addresses_beyond_this_machine_need_insecure(nodes: NodeStarter, option: str) -> None:
    node = nodes.begin("--name", "alpha", option, "192.0.2.1:7010", "--no-discovery")
    assert node.wait_exit() == 1
    assert "not encrypted" in node.errors()
    assert "--insecure" in node.errors()


def test_insecure_is_loud(nodes: NodeStarter) -> None:
    node = nodes.start("alpha", "--listen", "0.0.0.0:0", "--insecure")
    assert "not encrypted" in node.errors()
    assert not node.address.startswith("0.0.0.0")
    assert node.stop() == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("--listen", "nonsense"),
        ("--name", "-x"),
        ("--label", "x"),
        ("--join", ":1"),
        ("--cluster", "a b"),
        ("--threads", "257"),
        ("--max-processes", "0"),
        ("--module-cache", "much"),
    ],
)
def test_a_bad_option_is_a_usage_error(nodes: NodeStarter, arguments: tuple[str, str]) -> None:
    node = nodes.begin(*arguments)
    assert node.wait_exit() == 2
    assert "Traceback" not in node.errors()
    assert node.lines == []


def test_a_node_holds_no_more_processes_than_it_may(nodes: NodeStarter) -> None:
    node = nodes.start("alpha", "--max-processes", "1")
    forever = nodes.folder / "forever.wat"
    forever.write_text('(module (func (export "_start") (loop $again (br $again))))')
    assert node.luna("spawn", str(forever)).returncode == 0
    refused = node.luna("spawn", str(forever))
    assert refused.returncode == 1
    assert "--max-processes" in refused.stderr


def test_an_unusable_state_directory_is_one_clear_error(nodes: NodeStarter) -> None:
    (nodes.folder / "file").write_text("")
    node = nodes.begin("--name", "alpha", "--state", str(nodes.folder / "file" / "x"))
    assert node.wait_exit() == 1
    assert "cannot use the state directory" in node.errors()


def test_the_log_can_be_json(nodes: NodeStarter) -> None:
    node = nodes.start("alpha", "--log-format", "json", "--log-level", "debug")
    assert node.stop() == 0
    events = [json.loads(line) for line in node.errors().splitlines()]
    assert "stopping" in [event["event"] for event in events]


def test_leave_ends_the_node(nodes: NodeStarter) -> None:
    node = nodes.start("alpha")
    done = node.luna("leave")
    assert done.returncode == 0, done.stderr
    assert node.wait_exit() == 0


def test_requests_leave_no_threads_or_files_behind(nodes: NodeStarter) -> None:
    node = nodes.start("alpha")
    for _ in range(3):
        node.nodes()
    wait_for(lambda: _connections(node.process.pid) <= 1, "connections of the first requests closed")
    threads, files = node.threads().total(), node.files()
    for _ in range(20):
        node.nodes()
        with socket.create_connection(("127.0.0.1", int(node.address.rpartition(":")[2]))) as raw:
            raw.sendall(os.urandom(1000))
    wait_for(lambda: node.files() <= files + 2, "the files of old connections closed")
    assert node.threads().total() <= threads + 2


def test_clients_on_this_machine_are_not_cut_off_for_being_slow(nodes: NodeStarter) -> None:
    node = nodes.start("alpha", "--node-timeout", "1")
    host, _, port = node.address.rpartition(":")
    with _silent_client(socket.AF_UNIX, str(nodes.folder / "state/luna/alpha/control.sock")) as local:
        for _ in range(3):
            with _silent_client(socket.AF_INET, (host, int(port))) as far:
                while far.recv(4096):  # until the pings that it does not answer have it closed
                    pass
        assert local.recv(4096)  # its greeting
        local.setblocking(False)
        with pytest.raises(BlockingIOError):  # nothing more to read, but open
            local.recv(4096)


@contextlib.contextmanager
def _silent_client(family: socket.AddressFamily, address: Any) -> Iterator[socket.socket]:
    """Greets as a client of HTTP/2 does, and then says nothing more, whatever it is asked."""
    with socket.socket(family) as client:
        client.settimeout(60)
        client.connect(address)
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        yield client


def _connections(pid: int) -> int:
    own = {str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}
    established = 0
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "01" and f"socket:[{fields[9]}]" in own:
            established += 1
    return established
