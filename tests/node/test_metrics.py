"""The page of metrics and its server: of a runtime, of a whole node, and for bad clients."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from luna.node import metrics_server
from luna.node.config import Address, NodeOptions
from luna.node.metrics import MetricsPage, PeerFigures
from luna.node.metrics_server import MAX_CLIENTS, MAX_HEAD_BYTES, start_metrics_server
from luna.node.node import Node, run_node
from luna.node.node_modules import ModuleFigures
from luna.proto.errors import BrokenError
from luna.proto.ids import make_pid
from luna.proto.run_directory import NodeRecord
from luna.scheduler.runtime import Runtime, open_runtime

from .peer_node import wait_for

PATIENCE_S = 20
LOOPBACK = Address("127.0.0.1", 0)
GUEST = b"""(module
  (import "lunatic::metrics" "increment_counter" (func $increment (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "guest::runs")
  (func (export "_start") (call $increment (i32.const 0) (i32.const 11))))"""

WAITER = b"""(module
  (import "lunatic::message" "receive" (func $receive (param i32 i32 i64) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (drop (call $receive (i32.const 0) (i32.const 0) (i64.const -1)))))"""


def parse(page: bytes) -> dict[str, Metric]:
    """Families by name; no name comes twice."""
    families = list(text_string_to_metric_families(page.decode()))
    found = {family.name: family for family in families}
    assert len(found) == len(families)
    return found


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    """Of the only sample with these labels."""
    [sample] = [
        sample
        for sample in families[name].samples
        if all(sample.labels[key] == labels[key] for key in labels)
    ]
    return sample.value


async def ask(address: Address, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to bytes."""
    with trio.fail_after(PATIENCE_S):
        async with await trio.open_tcp_stream(address.host, address.port) as stream:
            await stream.send_all(request)
            return split(await read_all(stream))


async def read_all(stream: trio.SocketStream) -> bytes:
    answer = b""
    with trio.fail_after(PATIENCE_S):
        try:
            async for chunk in stream:
                answer += chunk
        except trio.BrokenResourceError:
            pass  # cut off
    return answer


def split(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    assert first.startswith("HTTP/1.1 ")
    return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines), body


def get(path: str = "/metrics", method: str = "GET", *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


@asynccontextmanager
async def serving(render: Callable[[], Awaitable[bytes]]) -> AsyncIterator[Address]:
    async with trio.open_nursery() as nursery:
        yield await start_metrics_server(nursery, LOOPBACK, render)
        nursery.cancel_scope.cancel()


async def page() -> bytes:
    await trio.lowlevel.checkpoint()
    return b"a 1\n"


async def run_guest(runtime: Runtime) -> None:
    module = await runtime.load_module(GUEST, "guest")
    await runtime.wait_exit(await runtime.spawn(module))


# -- the page ---------------------------------------------------------------------------


async def test_a_page_shows_the_runtime_its_guests_and_its_peers() -> None:
    async with open_runtime(node_id=1, threads=2) as runtime:
        runtime.peers.add_peer(7, 1)
        peers = [PeerFigures("beta", 7, True), PeerFigures("gamma", 8, False)]
        metrics = MetricsPage(runtime, {"node": "alpha", "cluster": "c"}, lambda: peers)
        await run_guest(runtime)
        await run_guest(runtime)
        runtime.kill(make_pid(7, 1))  # queues a signal
        found = parse(await metrics.render())
        for family in found.values():
            for sample in family.samples:
                assert (sample.labels["node"], sample.labels["cluster"]) == ("alpha", "c")
        assert value(found, "guest::runs") == 2
        assert value(found, "luna_node_processes") == 0
        assert value(found, "luna_node_scheduler_threads") == 2
        assert value(found, "luna_node_processes_spawned") == 2
        assert value(found, "luna_node_processes_exited") == 2
        assert value(found, "luna_node_messages_sent") == 0
        assert value(found, "luna_node_signals_sent_remote") == 1  # the kill
        assert value(found, "luna_node_preemptions") >= 0
        assert (
            value(found, "luna_node_held", kind="stores")
            == value(found, "luna_node_held", kind="stacks")
            == 0
        )
        assert value(found, "luna_node_held", kind="modules") == 1
        assert value(found, "luna_node_peers") == 2
        assert value(found, "luna_node_peer_connected", peer="beta") == 1
        assert value(found, "luna_node_peer_connected", peer="gamma") == 0
        assert value(found, "luna_node_peer_queued_bytes", peer="beta") > 0
        assert value(found, "luna_node_peer_bytes_sent", peer="beta") == 0
        assert value(found, "luna_node_peer_spawns_refused", peer="beta") == 0
        frame = runtime.peers.take_frame(7, 1, 1000, b"")
        assert frame is not None
        peers.pop()
        found = parse(await metrics.render())
        assert value(found, "luna_node_peers") == 1
        assert value(found, "luna_node_peer_queued_bytes", peer="beta") == 0
        assert value(found, "luna_node_peer_bytes_sent", peer="beta") == len(frame)
        assert value(found, "luna_node_peer_signals_sent", peer="beta") == 1
        assert value(found, "luna_node_peer_bytes_received", peer="beta") == 0
        assert value(found, "luna_node_peer_signals_received", peer="beta") == 0
        assert len(found["luna_node_peer_connected"].samples) == 1


async def test_a_page_shows_what_a_process_that_waits_holds() -> None:
    async with open_runtime(threads=1) as runtime:
        metrics = MetricsPage(runtime, {})
        pid = await runtime.spawn(await runtime.load_module(WAITER, "waiter"))
        found = parse(await metrics.render())
        assert value(found, "luna_node_held", kind="stores") == 1
        assert value(found, "luna_node_held", kind="stacks") == 1
        runtime.kill(pid)
        await wait_for(lambda: not runtime.exists(pid))


async def test_a_runtime_without_a_cluster_has_no_peers() -> None:
    async with open_runtime(threads=1) as runtime:
        found = parse(await MetricsPage(runtime, {}).render())
        assert value(found, "luna_node_peers") == 0
        assert found["luna_node_peer_connected"].samples == []


async def test_a_page_shows_the_modules_of_a_node() -> None:
    async with open_runtime(threads=1) as runtime:
        figures = ModuleFigures(*range(1, len(ModuleFigures._fields) + 1))
        found = parse(await MetricsPage(runtime, {}, modules=lambda: figures).render())
        for name, number in figures._asdict().items():
            assert value(found, f"luna_node_modules_{name}") == number


# -- the server ---------------------------------------------------------------------------


async def test_the_page_is_served() -> None:
    async with serving(page) as address:
        status, headers, body = await ask(address, get())
        assert (status, body) == (200, b"a 1\n")
        assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert headers["content-length"] == "4"
        assert headers["connection"] == "close"
        assert (await ask(address, get("/metrics?x=1")))[0] == 200
        assert (await ask(address, b"GET /metrics HTTP/1.0\r\n\r\n"))[2] == b"a 1\n"
        status, headers, body = await ask(address, get(method="HEAD"))
        assert (status, headers["content-length"], body) == (200, "4", b"")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/"), 404),
        (get("/metricsx"), 404),
        (get("http://x/metrics"), 404),
        (get(method="POST"), 405),
        (get(method="BREW"), 405),
        (b"garbage\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\n\r\n", 400),  # without a Host
        (get("/metrics", "GET", "Content-Length: 5", "Content-Length: 6"), 400),
        (get("/metrics", "GET", "X: " + "y" * 2 * MAX_HEAD_BYTES), 431),
    ],
)
async def test_other_requests_are_refused(request_: bytes, status: int) -> None:
    async with serving(page) as address:
        found, headers, body = await ask(address, request_)
        assert found == status
        assert headers["content-type"].startswith("text/plain")
        assert int(headers["content-length"]) == len(body) > 0
        assert ("allow" in headers) == (status == 405)
        assert (await ask(address, get()))[0] == 200


async def test_a_client_that_goes_harms_nobody() -> None:
    async def large() -> bytes:
        await trio.lowlevel.checkpoint()
        return b"x" * 10_000_000

    with capture_logs() as logs:
        async with serving(large) as address:
            for sent in (b"", b"GET /met", get()):
                stream = await trio.open_tcp_stream(address.host, address.port)
                await stream.send_all(sent)
                # Closing at once resets the connection: unread bytes are lost.
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                await stream.aclose()
            assert len((await ask(address, get()))[2]) == 10_000_000
    assert [log for log in logs if log["log_level"] == "error"] == []


async def test_slow_clients_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async def large() -> bytes:
        await trio.lowlevel.checkpoint()
        return b"x" * 50_000_000

    monkeypatch.setattr(metrics_server, "REQUEST_TIMEOUT_S", 0.05)
    monkeypatch.setattr(metrics_server, "RESPONSE_TIMEOUT_S", 0.05)
    async with serving(large) as address:
        async with await trio.open_tcp_stream(address.host, address.port) as stream:
            await stream.send_all(b"GET /metrics HT")
            assert await read_all(stream) == b""
        async with await trio.open_tcp_stream(address.host, address.port) as stream:
            await stream.send_all(get())
            await trio.sleep(0.2)  # it takes nothing meanwhile
            assert len(await read_all(stream)) < 50_000_000


async def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "REQUEST_TIMEOUT_S", 1000)
    async with serving(page) as address, trio.open_nursery() as nursery:
        streams = [await trio.open_tcp_stream(address.host, address.port) for _ in range(MAX_CLIENTS)]
        closed = trio.Event()

        async def one_more() -> None:
            stream = await trio.open_tcp_stream(address.host, address.port)
            async with stream:
                assert await read_all(stream) == b""
            closed.set()

        nursery.start_soon(one_more)
        with trio.fail_after(PATIENCE_S):
            await closed.wait()
        for stream in streams[:-1]:
            await stream.aclose()
        await streams[-1].send_all(get())
        assert split(await read_all(streams[-1]))[0] == 200
        await streams[-1].aclose()
        status = 0
        with trio.fail_after(PATIENCE_S):
            while status != 200:  # until the server has noticed that they are gone
                try:
                    status = (await ask(address, get()))[0]
                except (AssertionError, trio.BrokenResourceError):
                    await trio.sleep(0.01)


async def test_a_page_that_cannot_be_made_is_logged_and_harms_nobody() -> None:
    fail = True

    async def render() -> bytes:
        await trio.lowlevel.checkpoint()
        if fail:
            raise RuntimeError("no page")
        return b""

    with capture_logs() as logs:
        async with serving(render) as address:
            with pytest.raises(AssertionError):
                await ask(address, get())
            fail = False
            assert (await ask(address, get()))[0] == 200
    assert [log["event"] for log in logs if log["log_level"] == "error"] == ["serving metrics failed"]


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "x" * 64])
async def test_an_address_that_cannot_be_served(host: str) -> None:
    async with trio.open_nursery() as nursery:
        with pytest.raises(BrokenError, match="cannot serve metrics on"):
            await start_metrics_server(nursery, Address(host, 0), page)


# -- a whole node ---------------------------------------------------------------------------


@pytest.fixture
def private_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "r"))


@pytest.mark.usefixtures("private_environment")
async def test_nodes_serve_their_own_page() -> None:
    ready: dict[str, NodeRecord] = {}
    nodes = {"alpha": Node(), "beta": Node()}

    def options(name: str, *join: str) -> NodeOptions:
        addresses = tuple(Address("127.0.0.1", int(address.rpartition(":")[2])) for address in join)
        return NodeOptions(
            name=name,
            listen=LOOPBACK,
            discovery=False,
            threads=1,
            join=addresses,
            metrics=LOOPBACK,
            cluster="c",
        )

    async def run(name: str, *join: str) -> None:
        await run_node(
            options(name, *join),
            node=nodes[name],
            on_ready=lambda record: ready.update({record.name: record}),
        )

    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            with trio.fail_after(60):
                nursery.start_soon(run, "alpha")
                await wait_for(lambda: "alpha" in ready, "alpha is ready")
                nursery.start_soon(run, "beta", ready["alpha"].listen)
                await wait_for(lambda: "beta" in ready, "beta is ready")
                urls = [log["url"] for log in logs if log["event"] == "serving metrics"]
                assert len(urls) == 2
                for url, name, other in ((urls[0], "alpha", "beta"), (urls[1], "beta", "alpha")):
                    match = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/metrics", url)
                    assert match is not None
                    address = Address("127.0.0.1", int(match[1]))
                    connected = 0.0
                    while not connected:
                        found = parse((await ask(address, get()))[2])
                        connected = value(
                            found, "luna_node_peer_connected", node=name, peer=other, cluster="c"
                        )
                    assert value(found, "luna_node_peers") == 1
                    assert value(found, "luna_node_scheduler_threads", node=name) == 1
            for node in nodes.values():
                node.stop("the test is over")


@pytest.mark.usefixtures("private_environment")
async def test_a_node_whose_page_cannot_be_served_does_not_start() -> None:
    wanted = NodeOptions(
        name="alpha", listen=LOOPBACK, discovery=False, threads=1, metrics=Address("192.0.2.1", 1)
    )
    with trio.fail_after(30), pytest.raises(BrokenError, match=r"cannot serve metrics on 192\.0\.2\.1:1"):
        await run_node(wanted)
