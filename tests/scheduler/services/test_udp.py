"""UDP from real guests: what programs do with it, every code, and every error of the system."""

from __future__ import annotations

import errno
import socket

import pytest
import trio
from tests.scheduler.lab import Lab, wait_for

from luna.scheduler.services.udp import MAX_DATAGRAM_BYTES, UdpSocket

from .kit import REFUSED, START, needs_ipv6, net, os_error, output_of, port_of

RECEIVE = """
    (func $receive_udp (param $socket i64) (param $size i32) (result i64)
      (is32 (networking.udp_receive (local.get $socket) 0:i32 (local.get $size) 500:i32) 0:i32)
      (i64.load 500:i32))
"""
SEND = """
    (func $send_udp (param $socket i64) (param $at i32) (param $size i32) (result i64)
      (is32 (networking.udp_send (local.get $socket) (local.get $at) (local.get $size) 500:i32) 0:i32)
      (i64.load 500:i32))
"""


def udp_partner() -> trio.socket.SocketType:
    """A socket for guests that send; the test closes it."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return trio.socket.from_stdlib_socket(sock)


async def test_connect_send_and_receive_on_an_unconnected_socket(lab: Lab) -> None:
    await lab.passes(
        net(f"""{RECEIVE} {SEND} {START}
        (is64 (call $udp) 0:i64) (is64 (call $udp) 1:i64)
        (i64.store 1032:i32 -1:i64)
        (call $udp_connect 0:i64 (call $udp_port 1:i64))
        (is64 (i64.load 1032:i32) 0:i64)
        (is64 (call $send_udp 0:i64 @"P1NG") 4:i64)
        (is64 (call $receive_udp 1:i64 4:i32) 4:i64)
        (is32 (i32.load 0:i32) 0x474e3150:i32))""")
    )


async def test_send_to_and_receive_from_tell_the_sender(lab: Lab) -> None:
    await lab.passes(
        net(f"""{START} (local $sender i32)
        (drop (call $udp)) (drop (call $udp))
        (local.set $sender (call $udp_port 0:i64))
        (is32 (networking.udp_send_to 0:i64 @"P2NG" 4:i32 1000:i32 (call $udp_port 1:i64) 0:i32 0:i32 500:i32)
          0:i32)
        (is64 (i64.load 500:i32) 4:i64)
        (is32 (networking.udp_receive_from 1:i64 0:i32 100:i32 500:i32 508:i32) 0:i32)
        (is64 (i64.load 500:i32) 4:i64)
        (is32 (i32.load 0:i32) 0x474e3250:i32)
        (is32 (call $port (i64.load 508:i32)) (local.get $sender))
        (is32 (i32.load 1048:i32) 0x0100007f:i32))""")
    )


async def test_clones_are_one_socket(lab: Lab) -> None:
    await lab.passes(
        net(f"""{RECEIVE} {SEND} {START}
        (drop (call $udp)) (drop (call $udp))
        (is64 (networking.clone_udp_socket 0:i64) 2:i64) (is64 (networking.clone_udp_socket 1:i64) 3:i64)
        (call $udp_connect 2:i64 (call $udp_port 3:i64))
        (networking.drop_udp_socket 2:i64)
        (is64 (call $send_udp 0:i64 @"ping") 4:i64)
        (networking.drop_udp_socket 1:i64)
        (is64 (call $receive_udp 3:i64 100:i32) 4:i64)
        (is32 (networking.udp_peer_addr 0:i64 500:i32) 0:i32))""")
    )


async def test_a_socket_without_a_peer_has_code_1_and_with_one_its_address(lab: Lab) -> None:
    output = await output_of(
        lab,
        net(f"""{START} (local $port i32)
        (drop (call $udp)) (drop (call $udp))
        (is32 (networking.udp_peer_addr 0:i64 500:i32) 1:i32)
        (is64 (i64.load 500:i32) 0:i64)
        (call $show 500:i32)
        (local.set $port (call $udp_port 1:i64))
        (call $udp_connect 0:i64 (local.get $port))
        (is32 (networking.udp_peer_addr 0:i64 500:i32) 0:i32)
        (is32 (call $port (i64.load 500:i32)) (local.get $port))
        (is32 (i32.load 1040:i32) 4:i32) (is32 (i32.load 1048:i32) 0x0100007f:i32))"""),
    )
    assert output == os_error(errno.ENOTCONN)


async def test_time_to_live_is_set_and_read(lab: Lab) -> None:
    await lab.passes(
        net(f"""{START}
        (drop (call $udp))
        (networking.set_udp_socket_ttl 0:i64 42:i32)
        (is32 (networking.get_udp_socket_ttl 0:i64) 42:i32))""")
    )


@pytest.mark.parametrize("hops", [0, 256, 1 << 30])
async def test_an_impossible_time_to_live_traps_with_the_systems_error(lab: Lab, hops: int) -> None:
    reason = await lab.traps(net(f"{START} (networking.set_udp_socket_ttl (call $udp) {hops}:i32))"))
    assert f"lunatic::networking::set_udp_socket_ttl: {os_error(errno.EINVAL)}" in reason


async def test_broadcast_is_permitted_and_forbidden(lab: Lab) -> None:
    output = await output_of(
        lab,
        net(f"""{START}
        (drop (call $udp))
        (is32 (networking.get_udp_socket_broadcast 0:i64) 0:i32)
        (i32.store 600:i32 -1:i32)
        (is32 (networking.udp_send_to 0:i64 @"x" 4:i32 600:i32 9:i32 0:i32 0:i32 500:i32) 1:i32)
        (call $show 500:i32)
        (networking.set_udp_socket_broadcast 0:i64 2:i32)
        (is32 (networking.get_udp_socket_broadcast 0:i64) 1:i32)
        (networking.set_udp_socket_broadcast 0:i64 0:i32)
        (is32 (networking.get_udp_socket_broadcast 0:i64) 0:i32))"""),
    )
    assert output == os_error(errno.EACCES)


async def test_a_datagram_is_cut_to_the_room_and_its_rest_is_lost(lab: Lab) -> None:
    await lab.passes(
        net(f"""{RECEIVE} {SEND} {START}
        (drop (call $udp)) (drop (call $udp))
        (call $udp_connect 0:i64 (call $udp_port 1:i64))
        (drop (call $send_udp 0:i64 @"abcdef")) (drop (call $send_udp 0:i64 @"ghi"))
        (drop (call $send_udp 0:i64 @"jkl")) (drop (call $send_udp 0:i64 @"mno"))
        (is64 (call $receive_udp 1:i64 4:i32) 4:i64) (is64 (i64.load 0:i32) 0x64636261:i64)
        (is64 (call $receive_udp 1:i64 4:i32) 3:i64) (is64 (i64.load 0:i32) 0x64696867:i64)
        ;; a receive without room takes one as well
        (is64 (call $receive_udp 1:i64 0:i32) 0:i64)
        (is64 (call $receive_udp 1:i64 4:i32) 3:i64) (is64 (i64.load 0:i32) 0x646f6e6d:i64))""")
    )


async def test_datagrams_may_be_empty_or_large_but_not_too_large(lab: Lab) -> None:
    output = await output_of(
        lab,
        net(f"""(memory (export "memory") 4)
        {RECEIVE} {SEND} {START}
        (drop (call $udp)) (drop (call $udp))
        (call $udp_connect 0:i64 (call $udp_port 1:i64))
        (is64 (call $send_udp 0:i64 0:i32 0:i32) 0:i64)
        (is64 (call $receive_udp 1:i64 100:i32) 0:i64)
        (i32.store 165500:i32 0x1234567:i32)
        (is64 (call $send_udp 0:i64 100000:i32 65507:i32) 65507:i64)
        (is32 (networking.udp_receive 1:i64 8192:i32 150000:i32 500:i32) 0:i32)
        (is64 (i64.load 500:i32) 65507:i64)
        (is32 (i32.load 73692:i32) 0x1234567:i32)
        (is32 (networking.udp_send 0:i64 8192:i32 65508:i32 500:i32) 1:i32) (call $show 500:i32)
        (is32 (networking.udp_send 0:i64 8192:i32 {MAX_DATAGRAM_BYTES + 100}:i32 500:i32) 1:i32)
        (call $show 500:i32))"""),
    )
    assert output == 2 * os_error(errno.EMSGSIZE)


async def test_a_connected_socket_hears_only_its_peer(lab: Lab) -> None:
    await lab.passes(
        net(f"""
        (func $send_to (param $from i64) (param $port i32) (param $at i32) (param $size i32)
          (is32 (networking.udp_send_to (local.get $from) (local.get $at) (local.get $size)
            4:i32 1000:i32 (local.get $port) 0:i32 0:i32 500:i32) 0:i32))
        {START} (local $port i32)
        (drop (call $udp)) (drop (call $udp)) (drop (call $udp))
        (local.set $port (call $udp_port 0:i64))
        (call $udp_connect 0:i64 (call $udp_port 1:i64))
        (call $send_to 2:i64 (local.get $port) @"stranger")
        (call $send_to 1:i64 (local.get $port) @"peer")
        (is32 (networking.udp_receive_from 0:i64 0:i32 100:i32 500:i32 508:i32) 0:i32)
        (is64 (i64.load 500:i32) 4:i64))""")
    )


async def test_sending_without_a_peer_is_an_error(lab: Lab) -> None:
    output = await output_of(
        lab,
        net(f"""{START}
        (is32 (networking.udp_send (call $udp) @"x" 500:i32) 1:i32)
        (call $show 500:i32))"""),
    )
    assert output == os_error(errno.EDESTADDRREQ)


async def test_a_peer_that_is_gone_is_an_error_of_the_next_receive(lab: Lab) -> None:
    output = await output_of(
        lab,
        net(f"""{SEND} {START} (local $port i32)
        (drop (call $udp)) (drop (call $udp))
        (local.set $port (call $udp_port 1:i64))
        (call $udp_connect 0:i64 (local.get $port))
        (networking.drop_udp_socket 1:i64)
        (is64 (call $send_udp 0:i64 @"x") 1:i64)
        (i64.store 508:i32 -1:i64)
        (is32 (networking.udp_receive_from 0:i64 0:i32 100:i32 500:i32 508:i32) 1:i32)
        (is64 (i64.load 508:i32) -1:i64)
        (call $show 500:i32))"""),
    )
    assert output == REFUSED


async def test_binding_a_port_in_use_is_an_error(lab: Lab) -> None:
    with udp_partner() as partner:
        output = await output_of(
            lab,
            net(f"""{START}
            (call $loopback)
            (is32 (networking.udp_bind 4:i32 1000:i32 {port_of(partner)}:i32 0:i32 0:i32 500:i32) 1:i32)
            (call $show 500:i32))"""),
        )
    assert output == os_error(errno.EADDRINUSE)


async def test_an_ipv4_socket_takes_no_ipv6_address(lab: Lab) -> None:
    output = await output_of(
        lab,
        net(f"""{START}
        (drop (call $udp))
        (is32 (networking.udp_connect 0:i64 6:i32 1008:i32 9:i32 0:i32 0:i32 -1:i64 500:i32) 1:i32)
        (call $show 500:i32)
        (is32 (networking.udp_send_to 0:i64 @"x" 6:i32 1008:i32 9:i32 0:i32 0:i32 500:i32) 1:i32)
        (call $show 500:i32))"""),
    )
    assert output == 2 * os_error(errno.EAFNOSUPPORT)


@needs_ipv6
async def test_an_ipv6_socket_speaks_ipv4_as_well(lab: Lab) -> None:
    await lab.passes(
        net(f"""{RECEIVE} {SEND} {START}
        (call $loopback)
        ;; :: of any port
        (is32 (networking.udp_bind 6:i32 100:i32 0:i32 0:i32 0:i32 500:i32) 0:i32)
        (drop (call $udp))
        (is32 (networking.udp_send_to 0:i64 @"four" 4:i32 1000:i32 (call $udp_port 1:i64) 0:i32 0:i32 500:i32)
          0:i32)
        (is64 (call $receive_udp 1:i64 100:i32) 4:i64)
        (call $udp_connect 0:i64 (call $udp_port 1:i64))
        (is64 (call $send_udp 0:i64 @"again") 5:i64)
        (is64 (call $receive_udp 1:i64 100:i32) 5:i64)
        ;; ::1
        (is32 (networking.udp_bind 6:i32 1008:i32 0:i32 -1:i32 0:i32 500:i32) 0:i32)
        (is32 (networking.udp_send_to 2:i64 @"six" 6:i32 1008:i32 (call $udp_port 2:i64) -1:i32 0:i32 500:i32)
          0:i32)
        (is32 (networking.udp_receive_from 2:i64 0:i32 100:i32 500:i32 508:i32) 0:i32)
        (is32 (call $port (i64.load 508:i32)) (call $udp_port 2:i64))
        (is32 (i32.load 1040:i32) 6:i32) (is64 (i64.load 1056:i32) 0x0100000000000000:i64))""")
    )


async def test_receiving_waits_and_may_be_killed(lab: Lab) -> None:
    module = await lab.load(
        net(f"""{RECEIVE} {START}
        (report (i64.extend_i32_u (call $udp_port (call $udp))))
        (is64 (call $receive_udp 0:i64 8:i32) 3:i64))""")
    )
    pid = await lab.spawn(module)
    await wait_for(lambda: lab.reports)
    await wait_for(lambda: lab.runtime.processes()[0].state == "waiting")
    with udp_partner() as partner:
        await partner.sendto(b"abc", ("127.0.0.1", lab.reports[0]))
        assert (await lab.wait_exit(pid)).reason == "returned"
        pid = await lab.spawn(module)
        await wait_for(lambda: len(lab.reports) == 2)
        lab.runtime.kill(pid)
        await lab.wait_exit(pid)


def test_what_a_receiver_gives_back_is_received_first() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
    ):
        near.bind(("127.0.0.1", 0))
        far.bind(("127.0.0.1", 0))
        shared = UdpSocket(near)
        far.sendto(b"second", near.getsockname())
        shared.unread((b"first", ("127.0.0.1", 9)))
        assert shared.receive_nowait(3) == (b"fir", ("127.0.0.1", 9))
        assert shared.receive_nowait(100) == (b"second", far.getsockname())
