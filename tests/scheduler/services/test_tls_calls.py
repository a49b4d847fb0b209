"""What every host call about TLS refuses: unknown ids, bad pointers, address types; and few descriptors."""

from __future__ import annotations

import errno
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from tests.scheduler.lab import Lab, wait_for

from luna.scheduler.hostcalls import HOST_CALLS, HostCall, Kind, Parameter
from luna.scheduler.services.sockets import RESERVED_DESCRIPTORS

from .kit import START, dial, os_error, output_of, port_of, receive_exactly, tcp_partner
from .tls_kit import server, server_side, tls

ROWS = [
    row
    for row in HOST_CALLS
    if "tls" in row.name and row.namespace in ("lunatic::networking", "lunatic::message")
]
LABELS = {"listener": "TLS listener", "stream": "TLS stream"}
WITH_IDS = [row for row in ROWS if row.parameters[0].name in LABELS]
POINTERS = [(row, parameter) for row in ROWS for parameter in row.parameters if parameter.kind.is_pointer]
LENGTHS = [(row, parameter) for row in ROWS for parameter in row.parameters if parameter.kind is Kind.LEN]


@asynccontextmanager
async def greeter() -> AsyncIterator[int]:
    """The port of a server that shakes hands with everybody, and says nothing more."""

    async def greet(stream: trio.SocketStream) -> None:
        async with stream:
            encrypted = trio.SSLStream(stream, server_side(), server_side=True)
            try:
                await encrypted.do_handshake()
                await encrypted.receive_some()
            except trio.BrokenResourceError:
                pass

    with tcp_partner() as partner:
        async with trio.open_nursery() as nursery:
            listener = trio.SocketListener(partner)
            nursery.start_soon(trio.serve_listeners, greet, [listener])
            yield port_of(partner)
            nursery.cancel_scope.cancel()


def setup(port: int) -> str:
    return f"""{START}
    (drop (call $tls_listen))
    (drop (call $tls_connect {port}:i32))
    (message.create_data 0:i64 0:i64)
    (memory.copy 8192:i32 CERTIFICATE) (memory.copy 12288:i32 KEY)
    (memory.copy 16384:i32 @"localhost")
    (i64.store 20480:i32 {len(server().pem) << 32 | 8192}:i64)  ;; a list of one authority
    (i64.store 100:i32 0x400000000:i64)  ;; a buffer of 4 bytes at 0
    (report 1:i64)
    """


def call(row: HostCall, **values: int) -> str:
    """A call that works after `setup`, but for these values."""
    arguments = []
    for parameter in row.parameters:
        value = values.get(parameter.name, _good(row, parameter))
        arguments.append(f"{value}:{parameter.kind.wasm}")
    made = f"({row.namespace.removeprefix('lunatic::')}.{row.name} {' '.join(arguments)})"
    return f"(drop {made})" if row.returns else made


def _good(row: HostCall, parameter: Parameter) -> int:
    known = {
        "address_type": 4,
        "address": 1000,
        "vectors": 100,
        "vectors_len": 1,
        "certificate": 8192,
        "certificate_len": len(server().pem),
        "key": 12288,
        "key_len": len(server().key_pem),
        "host": 16384,
        "host_len": len("localhost"),
        "authorities": 20480,
        "authorities_len": 1,
        "timeout_ms": 0 if row.name == "tls_connect" else -1,
        "data_len": 0,
    }
    return known.get(parameter.name, 200 if parameter.kind.is_pointer else 0)


def test_the_rows_are_those_that_are_meant() -> None:
    assert len(ROWS) == 14 + 2
    assert len(WITH_IDS) == len(ROWS) - len({"tls_bind", "tls_connect", "take_tls_stream"})


@pytest.mark.parametrize("row", [row for row in ROWS if "accept" not in row.name], ids=lambda row: row.name)
async def test_the_calls_below_are_good_but_for_what_is_changed(lab: Lab, row: HostCall) -> None:
    async with greeter() as port:
        before = "(drop (message.push_tls_stream 0:i64))" if row.name == "take_tls_stream" else ""
        await lab.passes(tls(f"{setup(port)} {before} {call(row)})"))


@pytest.mark.parametrize("row", WITH_IDS, ids=[row.name for row in WITH_IDS])
async def test_an_unknown_id_traps(lab: Lab, row: HostCall) -> None:
    name = row.parameters[0].name
    async with greeter() as port:
        for id_ in (7, -1):
            reason = await lab.traps(tls(f"{setup(port)} {call(row, **{name: id_})})"))
            assert f"{row.full_name}: this process has no {LABELS[name]} of id {id_}" in reason


@pytest.mark.parametrize(
    ("row", "pointer"), POINTERS, ids=[f"{row.name}-{pointer.name}" for row, pointer in POINTERS]
)
async def test_a_pointer_out_of_bounds_traps_before_anything_else(
    lab: Lab, row: HostCall, pointer: Parameter
) -> None:
    more = {"data_len": 8} if pointer.name == "data" else {}
    async with greeter() as port:
        for value in (65535, -1):
            reason = await lab.traps(
                tls(f"{setup(port)} {call(row, **{pointer.name: value}, **more)} (report 2:i64))")
            )
            assert f"{row.full_name}: a pointer or length lies outside the guest's memory" in reason
    assert lab.reports == [1, 1]


@pytest.mark.parametrize(
    ("row", "length"), LENGTHS, ids=[f"{row.name}-{length.name}" for row, length in LENGTHS]
)
async def test_a_length_beyond_memory_traps(lab: Lab, row: HostCall, length: Parameter) -> None:
    async with greeter() as port:
        for value in (65536, -1, 0x7FFFFFFF):
            reason = await lab.traps(tls(f"{setup(port)} {call(row, **{length.name: value})})"))
            assert f"{row.full_name}: a pointer or length lies outside the guest's memory" in reason


async def test_an_address_type_but_4_and_6_traps(lab: Lab) -> None:
    [row] = [row for row in ROWS if row.name == "tls_bind"]
    async with greeter() as port:
        for kind in (0, 5, -1, 1 << 30):
            reason = await lab.traps(tls(f"{setup(port)} {call(row, address_type=kind)})"))
            assert f"{row.full_name}: an address type is 4 or 6, not {kind}" in reason


# -- descriptors ------------------------------------------------------------------------------


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    """Hardly any descriptors for guests."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + RESERVED_DESCRIPTORS + 16, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


EXHAUSTED = os_error(errno.EMFILE) + ": this node has no descriptors left for its guests; drop sockets"
HOARD = "(loop $more (br_if $more (i32.eqz (networking.udp_bind 4:i32 1000:i32 0:i32 0:i32 0:i32 500:i32))))"


@pytest.mark.usefixtures("few_descriptors")
async def test_binding_and_connecting_without_descriptors_are_errors(lab: Lab) -> None:
    output = await output_of(
        lab,
        tls(f"""{START}
        (call $loopback)
        {HOARD}
        (is32 (networking.tls_bind 4:i32 1000:i32 0:i32 0:i32 0:i32 500:i32 CERTIFICATE KEY) 1:i32)
        (call $show 500:i32)
        (is32 (call $tls_try 1:i32 -1:i64) 1:i32)
        (call $show 1032:i32)
        ;; what is dropped may be had again: one for the socket, one while the key is read
        (networking.drop_udp_socket 0:i64) (networking.drop_udp_socket 1:i64)
        (drop (call $tls_listen)))"""),
    )
    assert output.count(EXHAUSTED) == 2


@pytest.mark.usefixtures("few_descriptors")
async def test_accepting_without_descriptors_is_an_error(lab: Lab) -> None:
    pid = await lab.spawn(
        tls(f"""{START}
        (report (i64.extend_i32_u (call $tls_port (call $tls_listen))))
        (gate)
        {HOARD}
        (i64.store 508:i32 -1:i64)
        (is32 (networking.tls_accept 0:i64 500:i32 508:i32) 1:i32)
        (is64 (i64.load 508:i32) 0:i64)
        (call $show 500:i32))""")
    )
    await wait_for(lambda: lab.at_gate == 1)
    with await dial(lab.reports[0]) as sock:
        lab.gate.set()
        assert EXHAUSTED in (await lab.output(pid)).decode()
        assert (await lab.wait_exit(pid)).reason == "returned"
        assert await receive_exactly(sock, 1) == b""
