"""Modules between nodes over real gRPC: whole, resumed, refused, stalled, bounded."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import trio

from luna.cluster.members import NodeInfo
from luna.node.bridge import Bridge
from luna.node.module_fetch import ModuleFetcher
from luna.node.module_spool import Spool, SpoolMemory
from luna.node.module_transfer import MAX_SERVED, METHOD, SERVICE, ModuleTransfer
from luna.node.modules import ModuleReader, ModuleStore
from luna.node.status import LimitError
from luna.node.streams import server_options
from luna.proto import node_pb2
from luna.proto.errors import BrokenError, InvalidError, NotFoundError
from luna.proto.limits import MAX_MODULE_BYTES, MIB, MODULE_CHUNK_BYTES

from .peer_node import PATIENCE_S, wait_for

DATA = random.Random(2).randbytes(3 * MIB + 17)
SHA = hashlib.sha256(DATA).digest()
SHORT_S = 0.3
"""seconds; a stall timeout that a test can wait for."""

Serve = Callable[[node_pb2.ModuleRequest, Any], Awaitable[None]]


class Holder:
    """The modules of a node: a store; `open` counts the readers that were not closed."""

    def __init__(self, store: ModuleStore) -> None:
        self.store = store
        self.open = 0
        self.gate: trio.Event | None = None

    async def holds(self, sha256: bytes) -> bool:
        await trio.lowlevel.checkpoint()
        return self.store.holds(sha256)

    async def reader(self, sha256: bytes) -> ModuleReader:
        self.open += 1
        if self.gate is not None:
            await self.gate.wait()
        reader = await self.store.reader(sha256)
        if reader is None:
            self.open -= 1
            raise NotFoundError("this node does not hold the module")
        close = reader.close

        def closed() -> None:
            self.open -= 1
            close()

        reader.close = closed  # type: ignore[method-assign]
        return reader


@asynccontextmanager
async def serving(bridge: Bridge, add: Callable[[grpc.aio.Server], None]) -> AsyncIterator[str]:
    """A gRPC server with some services; its address."""

    async def start() -> tuple[grpc.aio.Server, int]:
        server = grpc.aio.server(options=server_options())
        add(server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    server, port = await bridge.run(start)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        with trio.CancelScope(shield=True):
            await bridge.run(server.stop, 0)


@asynccontextmanager
async def node(
    bridge: Bridge, folder: Path, *modules: bytes, stall_timeout_s: float = PATIENCE_S
) -> AsyncIterator[tuple[str, Holder, ModuleTransfer]]:
    """A node that holds some modules."""
    store = ModuleStore(folder)
    await store.open()
    for module in modules:
        await store.put(module)
    holder = Holder(store)
    transfer = ModuleTransfer(bridge, stall_timeout_s=stall_timeout_s)
    async with serving(bridge, lambda server: transfer.add_to(server, holder)) as address:
        yield address, holder, transfer


@asynccontextmanager
async def wild_node(bridge: Bridge, serve: Serve) -> AsyncIterator[str]:
    """A node that answers FetchModule as it likes."""

    async def handle(request: bytes, context: Any) -> None:
        await serve(node_pb2.ModuleRequest.FromString(request), context)

    handlers = {METHOD: grpc.unary_stream_rpc_method_handler(handle)}
    handler = grpc.method_handlers_generic_handler(SERVICE, handlers)
    async with serving(bridge, lambda server: server.add_generic_rpc_handlers((handler,))) as address:
        yield address


def chunk(data: bytes, total: int = len(DATA)) -> bytes:
    return node_pb2.ModuleChunk(total_bytes=total, data=data).SerializeToString()


async def send(context: Any, data: bytes) -> None:
    for start in range(0, len(data), MODULE_CHUNK_BYTES):
        await context.write(chunk(data[start : start + MODULE_CHUNK_BYTES]))


async def receive(
    bridge: Bridge, address: str, spool: Spool, sha256: bytes = SHA, stall_timeout_s: float = PATIENCE_S
) -> None:
    transfer = ModuleTransfer(bridge, stall_timeout_s=stall_timeout_s)
    with trio.fail_after(PATIENCE_S):
        await bridge.run(transfer.receive, address, sha256, spool)


@pytest.fixture
def spool(tmp_path: Path) -> Any:
    spool = Spool(tmp_path / "x.partial", SpoolMemory(0))
    yield spool
    spool.close()


# --- the serving side -----------------------------------------------------------------------


async def test_a_module_comes_in_chunks_and_the_reader_is_closed(
    bridge: Bridge, tmp_path: Path, spool: Spool
) -> None:
    async with node(bridge, tmp_path / "a", DATA) as (address, holder, transfer):
        await receive(bridge, address, spool)
        assert (spool.digest(), spool.complete) == (SHA, True)
        await wait_for(lambda: holder.open == 0)
        await wait_for(lambda: transfer.bytes_sent == len(DATA))
        assert transfer.served == 1


@pytest.mark.parametrize("offset", [1, MODULE_CHUNK_BYTES, len(DATA) - 1, len(DATA)])
async def test_the_rest_of_a_module_comes_from_an_offset_on(
    bridge: Bridge, tmp_path: Path, spool: Spool, offset: int
) -> None:
    spool.write(DATA[:offset])
    async with node(bridge, tmp_path / "a", DATA) as (address, _, transfer):
        await receive(bridge, address, spool)
        assert spool.digest() == SHA
        await wait_for(lambda: transfer.bytes_sent == len(DATA) - offset)


async def test_a_node_says_that_it_lacks_a_module_or_that_the_request_is_wrong(
    bridge: Bridge, tmp_path: Path, spool: Spool
) -> None:
    async with node(bridge, tmp_path / "a", b"small") as (address, holder, _):
        for wrong in (b"x" * 32, b"", b"y" * 5000):
            with pytest.raises(NotFoundError, match="does not hold"):
                await receive(bridge, address, spool, wrong)
        spool.write(b"more than small")
        with pytest.raises(InvalidError, match="behind the end"):
            await receive(bridge, address, spool, hashlib.sha256(b"small").digest())
        await wait_for(lambda: holder.open == 0)


async def test_a_damaged_module_is_not_sent(bridge: Bridge, tmp_path: Path, spool: Spool) -> None:
    async with node(bridge, tmp_path / "a", DATA):
        pass
    next((tmp_path / "a").iterdir()).write_bytes(DATA[:-1])
    async with node(bridge, tmp_path / "a") as (address, _, _):
        with pytest.raises(NotFoundError):
            await receive(bridge, address, spool)
    assert spool.size == 0


async def test_more_transfers_than_the_limit_are_turned_away_at_once(
    bridge: Bridge, tmp_path: Path, spool: Spool
) -> None:
    async with node(bridge, tmp_path / "a", DATA) as (address, holder, _):
        holder.gate = trio.Event()
        spools = [Spool(tmp_path / f"{number}.partial", SpoolMemory(0)) for number in range(MAX_SERVED)]
        async with trio.open_nursery() as nursery:
            for one in spools:
                nursery.start_soon(receive, bridge, address, one)
            await wait_for(lambda: holder.open == MAX_SERVED)
            with pytest.raises(LimitError, match="16 modules"):
                await receive(bridge, address, spool)
            holder.gate.set()
        assert all(one.digest() == SHA for one in spools)
        await receive(bridge, address, spool)
        assert spool.digest() == SHA
        for one in spools:
            one.close()


async def test_who_lacks_a_module_says_so_however_busy_it_is(
    bridge: Bridge, tmp_path: Path, spool: Spool
) -> None:
    async with node(bridge, tmp_path / "a", DATA) as (address, holder, _), trio.open_nursery() as nursery:
        holder.gate = trio.Event()
        for number in range(MAX_SERVED):
            one = Spool(tmp_path / f"{number}.partial", SpoolMemory(0))
            nursery.start_soon(receive, bridge, address, one)
        await wait_for(lambda: holder.open == MAX_SERVED)

        async def open_gate() -> None:
            await wait_for(lambda: holder.open == MAX_SERVED + 1)
            assert holder.gate is not None
            holder.gate.set()

        nursery.start_soon(open_gate)
        with pytest.raises(NotFoundError):
            await receive(bridge, address, spool, b"x" * 32)


async def test_one_who_does_not_take_what_it_asked_for_gives_back_its_place(
    bridge: Bridge, tmp_path: Path
) -> None:
    data = bytes(64 * MIB)  # more than the buffers on the way hold
    async with node(bridge, tmp_path / "a", data, stall_timeout_s=SHORT_S) as (address, holder, _):

        async def ask_and_not_read() -> grpc.StatusCode:
            async with grpc.aio.insecure_channel(address) as channel:
                request = node_pb2.ModuleRequest(sha256=hashlib.sha256(data).digest())
                call: Any = channel.unary_stream(f"/{SERVICE}/{METHOD}")(request.SerializeToString())  # type: ignore[call-arg]
                await call.read()
                while holder.open:
                    await asyncio.sleep(0.01)
                call.cancel()
                return grpc.StatusCode.OK

        with trio.fail_after(PATIENCE_S):
            await bridge.run(ask_and_not_read)


# --- the receiving side ---------------------------------------------------------------------


async def test_a_node_that_breaks_leaves_what_came_and_the_rest_follows(bridge: Bridge, spool: Spool) -> None:
    async def serve(request: node_pb2.ModuleRequest, context: Any) -> None:
        await send(context, DATA[request.offset :][: 2 * MODULE_CHUNK_BYTES])
        if request.offset + 2 * MODULE_CHUNK_BYTES < len(DATA):
            await context.abort(grpc.StatusCode.UNAVAILABLE, "going away")

    async with wild_node(bridge, serve) as address:
        with pytest.raises(BrokenError, match="going away"):
            await receive(bridge, address, spool)
        assert spool.size == 2 * MODULE_CHUNK_BYTES
        while not spool.complete:
            try:
                await receive(bridge, address, spool)
            except BrokenError:
                pass
        assert spool.digest() == SHA


async def test_a_node_that_stalls_is_given_up_but_a_slow_one_is_not(bridge: Bridge, spool: Spool) -> None:
    async def stall(request: node_pb2.ModuleRequest, context: Any) -> None:
        await send(context, DATA[: 2 * MODULE_CHUNK_BYTES])
        await asyncio.sleep(3600)

    async def drip(request: node_pb2.ModuleRequest, context: Any) -> None:
        for byte in DATA:
            await context.write(chunk(bytes([byte])))
            await asyncio.sleep(SHORT_S / 10)

    async def slow(request: node_pb2.ModuleRequest, context: Any) -> None:
        for start in range(request.offset, len(DATA), MODULE_CHUNK_BYTES):
            await asyncio.sleep(0.1)  # all of it takes longer than a chunk may
            await send(context, DATA[start : start + MODULE_CHUNK_BYTES])

    async with wild_node(bridge, stall) as address:
        with pytest.raises(BrokenError, match="too slow"):
            await receive(bridge, address, spool, stall_timeout_s=SHORT_S)
    assert spool.size == 2 * MODULE_CHUNK_BYTES
    spool.restart()
    async with wild_node(bridge, drip) as address:
        with pytest.raises(BrokenError, match="too slow"):
            await receive(bridge, address, spool, stall_timeout_s=SHORT_S)
    spool.restart()
    async with wild_node(bridge, slow) as address:
        await receive(bridge, address, spool, stall_timeout_s=1.0)
    assert spool.digest() == SHA


@pytest.mark.parametrize(
    "messages",
    [
        [chunk(DATA[:100], MAX_MODULE_BYTES + 1)],
        [chunk(DATA[:100], 99)],
        [chunk(DATA[:100], 150), chunk(DATA[:100], 150)],
        [chunk(DATA[:100], 150), chunk(DATA[:100], 151)],
        [b"\xff\xff\xff"],
    ],
    ids=["announces too much", "sends too much", "goes on too long", "changes its mind", "nonsense"],
)
async def test_what_no_correct_node_sends_is_an_error(
    bridge: Bridge, spool: Spool, messages: list[bytes]
) -> None:
    async def serve(request: node_pb2.ModuleRequest, context: Any) -> None:
        for message in messages:
            await context.write(message)
        await asyncio.sleep(3600)

    async with wild_node(bridge, serve) as address:
        with pytest.raises(InvalidError):
            await receive(bridge, address, spool)


async def test_nobody_at_the_address_is_an_error_at_once(bridge: Bridge, spool: Spool) -> None:
    with pytest.raises(BrokenError, match="refused"):
        await receive(bridge, "127.0.0.1:9", spool)


async def test_a_cancelled_transfer_ends_on_both_sides(bridge: Bridge, tmp_path: Path, spool: Spool) -> None:
    async with node(bridge, tmp_path / "a", DATA) as (address, holder, _):
        holder.gate = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive, bridge, address, spool)
            await wait_for(lambda: holder.open == 1)
            nursery.cancel_scope.cancel()
        holder.gate.set()
        await receive(bridge, address, spool)
        assert spool.digest() == SHA


# --- all together ---------------------------------------------------------------------------


async def test_many_who_want_a_module_cause_one_transfer_over_members_that_break_lie_and_stall(
    bridge: Bridge, tmp_path: Path
) -> None:
    requests: list[tuple[str, int]] = []

    def noted(name: str, serve: Serve) -> Serve:
        async def wrapped(request: node_pb2.ModuleRequest, context: Any) -> None:
            requests.append((name, request.offset))
            await serve(request, context)

        return wrapped

    async def lie(request: node_pb2.ModuleRequest, context: Any) -> None:
        await send(context, bytes(len(DATA) - request.offset))

    async def stall(request: node_pb2.ModuleRequest, context: Any) -> None:
        await asyncio.sleep(3600)

    async def half(request: node_pb2.ModuleRequest, context: Any) -> None:
        await send(context, DATA[request.offset : len(DATA) // 2])
        await context.abort(grpc.StatusCode.UNAVAILABLE, "going away")

    async with (
        wild_node(bridge, noted("lie", lie)) as a,
        wild_node(bridge, noted("stall", stall)) as b,
        wild_node(bridge, noted("half", half)) as c,
        node(bridge, tmp_path / "d", DATA) as (d, holder, _),
    ):
        members = [
            NodeInfo(number, name, "test", address, started_ms=1)
            for number, (name, address) in enumerate(
                {"lie": a, "stall": b, "half": c, "good": d}.items(), start=1
            )
        ]
        transfer = ModuleTransfer(bridge, stall_timeout_s=SHORT_S)

        async def through_bridge(address: str, sha256: bytes, spool: Spool) -> None:
            await bridge.run(transfer.receive, address, sha256, spool)

        fetcher = ModuleFetcher(through_bridge, lambda: members, random.Random(1))
        store = ModuleStore(tmp_path / "own")
        await store.open()
        got: list[bytes] = []

        async def want() -> None:
            got.append(await store.obtain(SHA, lambda spool: fetcher.fetch(c, SHA, spool)))

        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                for _ in range(200):
                    nursery.start_soon(want)
        assert got == [DATA] * 200
        assert fetcher.counts.fetched == 1
        assert requests[0] == ("half", 0)
        assert sum(name == "lie" for name, _ in requests) <= 2
        assert [path.name for path in (tmp_path / "own").iterdir()] == [f"{SHA.hex()}.wasm"]
        await wait_for(lambda: holder.open == 0)
