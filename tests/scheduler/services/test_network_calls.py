"""What every host call about DNS, TCP and UDP refuses: unknown ids, bad pointers, address types."""

from __future__ import annotations

import pytest
from tests.scheduler.lab import Lab

from luna.scheduler.hostcalls import HOST_CALLS, HostCall, Kind, Parameter

from .kit import START, net

ROWS = [
    row
    for row in HOST_CALLS
    if (row.namespace == "lunatic::networking" and "tls" not in row.name)
    or (row.namespace == "lunatic::message" and row.name in ("push_tcp_stream", "push_udp_socket"))
]
LABELS = {
    "iterator": "DNS iterator",
    "listener": "TCP listener",
    "stream": "TCP stream",
    "socket": "UDP socket",
}
WITH_IDS = [row for row in ROWS if row.parameters[0].name in LABELS]
POINTERS = [(row, parameter) for row in ROWS for parameter in row.parameters if parameter.kind.is_pointer]
LENGTHS = [(row, parameter) for row in ROWS for parameter in row.parameters if parameter.kind is Kind.LEN]
WITH_ADDRESS = [row for row in ROWS if Parameter("address_type", Kind.I32) in row.parameters]

SETUP = """
    (is32 (networking.resolve @"[::1]:80" -1:i64 500:i32) 0:i32)
    (drop (call $connect (call $listening_port (call $listen))))
    (drop (call $udp))
    (i64.store 100:i32 0x400000000:i64)  ;; a buffer of 4 bytes at 0
"""


def call(row: HostCall, **values: int) -> str:
    """A call that works after SETUP, but for these values."""
    arguments = []
    for parameter in row.parameters:
        value = values.get(parameter.name, _good(parameter))
        arguments.append(f"{value}:{parameter.kind.wasm}")
    made = f"({row.namespace.removeprefix('lunatic::')}.{row.name} {' '.join(arguments)})"
    return f"(drop {made})" if row.returns else made


def _good(parameter: Parameter) -> int:
    match parameter.name:
        case "address_type":
            return 4
        case "address":
            return 1000
        case "vectors":
            return 100
        case "vectors_len":
            return 1
        case _ if parameter.kind is Kind.LEN:
            return 8
        case _:
            return 0 if not parameter.kind.is_pointer else 200


def test_the_rows_are_those_that_are_meant() -> None:
    assert len(ROWS) == 3 + 18 + 14 + 2
    assert len(WITH_IDS) == len(ROWS) - len({"resolve", "tcp_bind", "tcp_connect", "udp_bind"})
    assert len(WITH_ADDRESS) == len({"tcp_bind", "tcp_connect", "udp_bind", "udp_connect", "udp_send_to"})


@pytest.mark.parametrize("row", WITH_IDS, ids=[row.name for row in WITH_IDS])
async def test_an_unknown_id_traps(lab: Lab, row: HostCall) -> None:
    name = row.parameters[0].name
    for id_ in (7, -1):
        reason = await lab.traps(net(f"{START} {SETUP} {call(row, **{name: id_})})"))
        assert f"{row.full_name}: this process has no {LABELS[name]} of id {id_}" in reason


@pytest.mark.parametrize(
    ("row", "pointer"), POINTERS, ids=[f"{row.name}-{pointer.name}" for row, pointer in POINTERS]
)
async def test_a_pointer_out_of_bounds_traps_before_anything_else(
    lab: Lab, row: HostCall, pointer: Parameter
) -> None:
    # An address has 4 octets in these calls, a port 2, anything else more: at least one byte is outside.
    for value in (65535, -1):
        reason = await lab.traps(
            net(f"{START} {SETUP} (report 1:i64) {call(row, **{pointer.name: value})} (report 2:i64))")
        )
        assert f"{row.full_name}: a pointer or length lies outside the guest's memory" in reason
    assert lab.reports == [1, 1]


@pytest.mark.parametrize(
    ("row", "length"), LENGTHS, ids=[f"{row.name}-{length.name}" for row, length in LENGTHS]
)
async def test_a_length_beyond_memory_traps(lab: Lab, row: HostCall, length: Parameter) -> None:
    for value in (65536, -1, 0x7FFFFFFF):
        reason = await lab.traps(net(f"{START} {SETUP} {call(row, **{length.name: value})})"))
        assert f"{row.full_name}: a pointer or length lies outside the guest's memory" in reason


@pytest.mark.parametrize("row", WITH_ADDRESS, ids=[row.name for row in WITH_ADDRESS])
async def test_an_address_type_but_4_and_6_traps(lab: Lab, row: HostCall) -> None:
    for kind in (0, 5, -1, 1 << 30):
        reason = await lab.traps(net(f"{START} {SETUP} {call(row, address_type=kind)})"))
        assert f"{row.full_name}: an address type is 4 or 6, not {kind}" in reason


async def test_without_a_memory_every_pointer_is_out_of_bounds(lab: Lab) -> None:
    reason = await lab.traps(
        '(memory 1) (func (export "_start") (drop (networking.resolve 0:i32 1:i32 0:i64 8:i32)))'
    )
    assert "or it exports none" in reason
