"""The bytes of modules over gRPC: serving those this node holds, receiving those of others.

Owns the FetchModule method of the Node service, both ends of it. Lives in the asyncio thread. Every transfer
has a connection of its own, so that bulk delays no signal and no control request; disks are read and
written in threads. Whom to ask for a module, and what to make of its bytes, others decide (`module_fetch`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, TypeVarTuple

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from luna.node.bridge import Bridge
from luna.node.module_spool import Spool
from luna.node.modules import ModuleReader
from luna.node.status import LimitError, error_from_status, status_of
from luna.node.streams import is_cancelled, open_channel
from luna.proto import node_pb2
from luna.proto.errors import BrokenError, InvalidError, LunaError
from luna.proto.limits import CONNECT_TIMEOUT_S, MAX_MODULE_BYTES, MODULE_CHUNK_BYTES

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

SERVICE = node_pb2.DESCRIPTOR.services_by_name["Node"].full_name
METHOD = "FetchModule"

MAX_SERVED = 16
"""modules sent at the same time; who asks for one more is told to come back. Each has some chunks in memory,
and a network is not used better by more."""

STALL_TIMEOUT_S = 10.0
"""seconds in which a transfer must get on by a chunk, or it ends, on either side; however long it takes in
all. With chunks of 256 KiB that is 26 KB/s, under which no module is worth waiting for."""

_EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # missing in the published stubs


class ModuleHolder(Protocol):
    """The trio side: the modules of this node."""

    async def holds(self, sha256: bytes) -> bool:
        """Whether this node has a module."""

    async def reader(self, sha256: bytes) -> ModuleReader:
        """A module to be read; its `close` is called in trio. Raises NotFoundError."""


class ModuleTransfer:
    """Sends and receives modules for one node."""

    def __init__(self, bridge: Bridge, *, stall_timeout_s: float = STALL_TIMEOUT_S) -> None:
        self._bridge = bridge
        self._stall_timeout_s = stall_timeout_s
        self._serving = 0
        self.served = 0
        self.bytes_sent = 0

    # --- receiving --------------------------------------------------------------------------

    async def receive(self, address: str, sha256: bytes, spool: Spool) -> None:
        """Add to `spool` what the node at `address` holds of a module behind the bytes that are there.

        Returns when that node has no more to say. Raises as `module_fetch.Receive` says; the spool has then
        whatever came before.
        """
        request = node_pb2.ModuleRequest(sha256=sha256, offset=spool.size)
        async with open_channel(address) as channel:
            call = channel.unary_stream(f"/{SERVICE}/{METHOD}")(request.SerializeToString())
            try:
                await self._receive(call, address, spool)
            except grpc.aio.AioRpcError as error:
                raise error_from_status(error.code(), error.details(), address) from None
            except DecodeError:
                raise InvalidError(f"{address} sent a malformed module chunk") from None
            except TimeoutError:
                raise BrokenError(f"{address} is too slow with a module, or does not answer") from None
            except asyncio.CancelledError:
                if not is_cancelled():
                    raise BrokenError(f"{address} went away") from None
                raise
            finally:
                call.cancel()

    async def _receive(self, call: Any, address: str, spool: Spool) -> None:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await call.initial_metadata()  # sent before the module is looked for, or with the refusal
        while not spool.complete:
            wanted = spool.size + MODULE_CHUNK_BYTES
            async with asyncio.timeout(self._stall_timeout_s):
                while spool.size < wanted and not spool.complete:
                    message = await call.read()
                    if message is _EOF:
                        return
                    await _take_chunk(node_pb2.ModuleChunk.FromString(message), address, spool)

    # --- serving ----------------------------------------------------------------------------

    def add_to(self, server: grpc.aio.Server, holder: ModuleHolder) -> None:
        """Have a server that has not started yet serve the modules of `holder`."""

        async def serve(request: bytes, context: Any) -> None:
            try:
                await self._serve(request, context, holder)
            except LunaError as error:
                await context.abort(*status_of(error))
            except TimeoutError:
                await context.abort(grpc.StatusCode.ABORTED, "the module was not taken in time")

        handler = grpc.method_handlers_generic_handler(
            SERVICE, {METHOD: grpc.unary_stream_rpc_method_handler(serve)}
        )
        server.add_generic_rpc_handlers((handler,))

    async def _serve(self, request: bytes, context: Any, holder: ModuleHolder) -> None:
        try:
            wanted = node_pb2.ModuleRequest.FromString(request)
        except DecodeError:
            raise InvalidError("a malformed module request") from None
        if self._serving >= MAX_SERVED and await self._bridge.call_trio(holder.holds, wanted.sha256):
            raise LimitError(f"this node sends {MAX_SERVED} modules already")
        self._serving += 1
        try:
            await context.send_initial_metadata(())
            reader = await self._bridge.call_trio(holder.reader, wanted.sha256)
            try:
                await self._send(reader, wanted.offset, context)
            finally:
                self._bridge.post_to_trio(reader.close)
        finally:
            self._serving -= 1

    async def _send(self, reader: ModuleReader, offset: int, context: Any) -> None:
        if offset > reader.size:
            raise InvalidError(f"offset {offset} is behind the end of the module")
        self.served += 1
        while offset < reader.size:
            try:
                data = await _in_thread(reader.read, offset, MODULE_CHUNK_BYTES)
            except OSError as error:
                raise BrokenError(f"the module cannot be read: {error.strerror or error}") from None
            if not data:
                raise BrokenError("the file of the module has become shorter")
            offset += len(data)
            chunk = node_pb2.ModuleChunk(total_bytes=reader.size, data=data)
            async with asyncio.timeout(self._stall_timeout_s):
                await context.write(chunk.SerializeToString())
            self.bytes_sent += len(data)


async def _take_chunk(chunk: node_pb2.ModuleChunk, address: str, spool: Spool) -> None:
    if chunk.total_bytes > MAX_MODULE_BYTES:
        raise InvalidError(f"{address} offers a module of {chunk.total_bytes} bytes, which is too large")
    spool.expect(chunk.total_bytes)
    if spool.size + len(chunk.data) > chunk.total_bytes:
        raise InvalidError(f"{address} sends more bytes of a module than it announced")
    await _in_thread(spool.write, chunk.data)


async def _in_thread(function: Callable[[*Ts], T], *args: *Ts) -> T:
    """Call `function(*args)` in a thread.

    When cancelled it ends only after the function, so that nothing is closed under that.
    """
    job = asyncio.get_running_loop().run_in_executor(None, function, *args)
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        await asyncio.wait([job])
        raise
