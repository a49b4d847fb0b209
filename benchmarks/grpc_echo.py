"""The floor of everything between nodes: a bare gRPC stream of ready bytes, without Luna.

`serve` runs a server on a free loopback port, `measure ADDRESS` answers requests as `benchmarks.session`
describes: `pingpong ROUNDS SIZE` and `oneway COUNT SIZE`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc.aio

from benchmarks.samples import summary

SERVICE: Final = "luna.benchmarks.Bytes"
MOST_BYTES: Final = 16 * 1024 * 1024
OPTIONS: Final = (
    ("grpc.max_receive_message_length", MOST_BYTES),
    ("grpc.so_reuseport", 0),
    ("grpc.enable_http_proxy", 0),
)


async def _echo(requests: AsyncIterator[bytes], _: object) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


async def _swallow(requests: AsyncIterator[bytes], _: object) -> AsyncIterator[bytes]:
    async for _request in requests:
        pass
    yield b"\0"


async def _serve() -> None:
    server = grpc.aio.server(options=OPTIONS)
    methods = {
        "Echo": grpc.stream_stream_rpc_method_handler(_echo),
        "Swallow": grpc.stream_stream_rpc_method_handler(_swallow),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"ready 127.0.0.1:{port}", flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until our starter is done
    await server.stop(None)


async def _measure(address: str) -> None:
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        await channel.channel_ready()
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            name, count, size = line.split()
            measure = {"pingpong": _pingpong, "oneway": _oneway}[name]
            print(json.dumps(await measure(channel, int(count), int(size))), flush=True)


async def _pingpong(channel: Any, rounds: int, size: int) -> dict[str, float]:
    call = channel.stream_stream(f"/{SERVICE}/Echo")()
    message, samples = bytes(size), []
    for _ in range(rounds):
        began = time.perf_counter_ns()
        await call.write(message)
        await call.read()
        samples.append(time.perf_counter_ns() - began)
    await call.done_writing()
    return summary(samples)


async def _oneway(channel: Any, count: int, size: int) -> dict[str, float]:
    call = channel.stream_stream(f"/{SERVICE}/Swallow")()
    message = bytes(size)
    began = time.perf_counter_ns()
    for _ in range(count):
        await call.write(message)
    await call.done_writing()
    await call.read()
    return {"elapsed_ns": time.perf_counter_ns() - began}


if __name__ == "__main__":
    asyncio.run(_serve() if sys.argv[1] == "serve" else _measure(sys.argv[2]))
