"""TCP from real guests: listening, connecting, reading, writing, peeking, and every code of them."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import pytest
import trio
from tests.scheduler.lab import Lab, wait_for

from luna.scheduler.resources import ResourceKind
from luna.scheduler.services.streams import MAX_READ_BYTES, MAX_VECTORS, MAX_WRITE_BYTES
from luna.scheduler.services.tcp import TcpConnection

from .kit import (
    REFUSED,
    RESET,
    START,
    dial,
    needs_ipv6,
    net,
    os_error,
    output_of,
    port_of,
    receive_exactly,
    shared_by,
    tcp_partner,
    unused_port,
)


@asynccontextmanager
async def crowded_listener() -> AsyncIterator[int]:
    """The port of a listener whose queue is full: the system answers nobody else."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        while True:
            sock = stack.enter_context(trio.socket.socket())
            with trio.move_on_after(0.2) as scope:
                await sock.connect(("127.0.0.1", port))
            if scope.cancelled_caught:
                break
        yield port


async def test_two_guests_talk(lab: Lab) -> None:
    await lab.passes(
        net(f"""
        (func (export "client") (local $stream i64)
          (is32 (call $receive_any -1:i64) 0:i32)
          (local.set $stream (call $connect (i32.wrap_i64 (call $read))))
          (is64 (call $write_tcp (local.get $stream) @"hello") 5:i64)
          (is64 (call $read_tcp (local.get $stream) 100:i32) 3:i64)
          (is32 (i32.load16_u 0:i32) 0x6968:i32))
        {START} (local $listener i64) (local $stream i64)
          (local.set $listener (call $listen))
          (call $send (call $spawn @"client") 0:i64
            (i64.extend_i32_u (call $listening_port (local.get $listener))))
          (local.set $stream (call $accept (local.get $listener)))
          (is64 (call $read_tcp (local.get $stream) 100:i32) 5:i64)
          (is32 (i32.load 0:i32) 0x6c6c6568:i32)
          (is64 (call $write_tcp (local.get $stream) @"hi!") 3:i64)
          ;; the client has ended
          (is64 (call $read_tcp (local.get $stream) 100:i32) 0:i64)
          (is64 (call $read_tcp (local.get $stream) 100:i32) 0:i64))""")
    )


# -- listening --------------------------------------------------------------------------------


async def test_binding_gives_ids_from_zero_and_ports_of_their_own(lab: Lab) -> None:
    await lab.passes(
        net(f"""{START} (local $port i32)
        (is64 (call $listen) 0:i64) (is64 (call $listen) 1:i64)
        (local.set $port (call $listening_port 0:i64))
        (is32 (i32.load 1040:i32) 4:i32) (is32 (i32.load 1048:i32) 0x0100007f:i32)
        (is32 (i32.eqz (local.get $port)) 0:i32)
        (is32 (i32.eq (call $listening_port 1:i64) (local.get $port)) 0:i32)
        (networking.drop_tcp_listener 0:i64)
        (is64 (call $listen) 2:i64))""")
    )


async def test_a_port_in_use_is_an_error_and_one_dropped_is_free_again(lab: Lab) -> None:
    output = await output_of(
        lab,
        net(f"""
        (func $bind (result i32)
          (networking.tcp_bind 4:i32 1000:i32 (call $listening_port 0:i64) 0:i32 0:i32 500:i32))
        {START} (local $port i32)
        (drop (call $listen))
        (is32 (call $bind) 1:i32) (call $show 500:i32)
        ;; a connection that this side closed keeps the port for a while, but not from listeners
        (local.set $port (call $listening_port 0:i64))
        (drop (call $connect (local.get $port)))
        (networking.drop_tcp_stream (call $accept 0:i64))
        (networking.drop_tcp_listener 0:i64)
        ;; only the low 16 bits of a port count
        (is32 (networking.tcp_bind 4:i32 1000:i32
          (i32.or (local.get $port) 0x7fff0000:i32) 0:i32 0:i32 500:i32) 0:i32)
        (is64 (i64.load 500:i32) 1:i64)
        (is32 (call $listening_port 1:i64) (local.get $port)))"""),
    )
    assert output == os_error(errno.EADDRINUSE)


async def test_an_address_of_another_machine_is_an_error(lab: Lab) -> None:
    output = await output_of(
        lab,
        net(f"""{START}
        (i32.store 0:i32 0x010200c0:i32)  ;; 192.0.2.1, for documentation
        (is32 (networking.tcp_bind 4:i32 0:i32 0:i32 0:i32 0:i32 500:i32) 1:i32)
        (is64 (i64.load 500:i32) 0:i64)
        (call $show 500:i32))"""),
    )
    assert output == os_error(errno.EADDRNOTAVAIL)


@needs_ipv6
async def test_ipv6_works_and_takes_ipv4_as_well(lab: Lab) -> None:
    await lab.passes(
        net(f"""{START} (local $port i32)
        (call $loopback)
        ;; :: of any port, flow info and scope as they may be
        (is32 (networking.tcp_bind 6:i32 1024:i32 0:i32 -1:i32 0:i32 500:i32) 0:i32)
        (local.set $port (call $listening_port 0:i64))
        (is32 (i32.load 1040:i32) 6:i32) (is64 (i64.load 1048:i32) 0:i64)
        (is64 (i64.load 1068:i32) 0:i64)
        (is32 (networking.tcp_connect 6:i32 1008:i32 (local.get $port) -1:i32 0:i32 -1:i64 500:i32) 0:i32)
        (is32 (networking.tcp_accept 0:i64 500:i32 508:i32) 0:i32)
        (drop (call $port (i64.load 508:i32)))
        (is64 (i64.load 1056:i32) 0x0100000000000000:i64)
        (drop (call $connect (local.get $port)))
        (is32 (networking.tcp_accept 0:i64 500:i32 508:i32) 0:i32)
        (drop (call $port (i64.load 508:i32)))
        ;; ::ffff:127.0.0.1
        (is64 (i64.load 1056:i32) 0x0100007fffff0000:i64))""")
    )


async def test_accepting_waits_and_gives_stream_and_peer(lab: Lab) -> None:
    pid = await lab.spawn(
        net(f"""{START}
        (drop (call $listen))
        (report (i64.extend_i32_u (call $listening_port 0:i64)))
        (is32 (networking.tcp_accept 0:i64 500:i32 508:i32) 0:i32)
        (is64 (i64.load 500:i32) 0:i64)
        (report (i64.extend_i32_u (call $port (i64.load 508:i32))))
        (is32 (networking.tcp_peer_addr 0:i64 500:i32) 0:i32)
        (report (i64.extend_i32_u (call $port (i64.load 500:i32))))
        (is32 (networking.resolve_next (i64.load 500:i32) 0:i32 0:i32 0:i32 0:i32 0:i32) 1:i32))""")
    )
    await wait_for(lambda: lab.reports)
    await wait_for(lambda: lab.runtime.processes()[0].state == "waiting")
    with await dial(lab.reports[0]) as sock:
        await wait_for(lambda: len(lab.reports) == 3)
        assert lab.reports[1:] == [port_of(sock)] * 2
        # The guest dropped its iterator, and so ends with a trap in its last line.
        status = await lab.wait_exit(pid)
        assert "no DNS iterator" in status.reason


async def test_connections_of_a_killed_listener_are_refused(lab: Lab) -> None:
    pid = await lab.spawn(
        net(f"""{START}
        (drop (call $listen))
        (report (i64.extend_i32_u (call $listening_port 0:i64)))
        (report (call $accept 0:i64)) (gate))""")
    )
    await wait_for(lambda: lab.reports)
    with await dial(lab.reports[0]) as accepted, await dial(lab.reports[0]) as queued:
        await wait_for(lambda: lab.at_gate == 1)
        lab.runtime.kill(pid)
        assert await receive_exactly(accepted, 1) == b""
        with pytest.raises(ConnectionResetError):
            await receive_exactly(queued, 1)
    with pytest.raises(ConnectionRefusedError):
        await dial(lab.reports[0])


# -- connecting -------------------------------------------------------------------------------


async def test_a_refused_connection_is_an_error(lab: Lab) -> None:
    output = await output_of(
        lab,
        net(f"""{START}
        (call $loopback)
        (is32 (networking.tcp_connect 4:i32 1000:i32 {unused_port()}:i32 0:i32 0:i32 -1:i64 500:i32) 1:i32)
        (call $show 500:i32))"""),
    )
    assert output == REFUSED


async def test_a_connection_that_nobody_answers_times_out_and_leaves_the_slot(lab: Lab) -> None:
    async with crowded_listener() as port:
        await lab.passes(
            net(f"""{START}
            (call $loopback)
            (i64.store 500:i32 -1:i64)
            (is32 (networking.tcp_connect 4:i32 1000:i32 {port}:i32 0:i32 0:i32 30:i64 500:i32) 9027:i32)
            (is64 (i64.load 500:i32) -1:i64)
            ;; and no id was used for it
            (drop (call $listen))
            (is64 (call $connect (call $listening_port 0:i64)) 0:i64))""")
        )


async def test_a_process_killed_while_it_connects_leaves_no_socket(lab: Lab) -> None:
    async with crowded_listener() as port:
        pid = await lab.spawn(net(f"{START} (drop (call $connect {port}:i32)))"))
        await wait_for(lambda: lab.runtime.processes()[0].state == "waiting")
        lab.runtime.kill(pid)
        await lab.wait_exit(pid)
    # The lab looks for descriptors that are left.


# -- reading ----------------------------------------------------------------------------------


async def test_a_read_gives_what_is_there_up_to_the_room(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            net(f"""{START}
            (drop (call $connect {port_of(partner)}:i32))
            (gate)
            (is64 (call $read_tcp 0:i64 4:i32) 4:i64) (is32 (i32.load 0:i32) 0x64636261:i32)
            (is32 (i32.load 4:i32) 0:i32)
            (is64 (call $read_tcp 0:i64 100:i32) 2:i64) (is32 (i32.load 0:i32) 0x64636665:i32))""")
        )
        sock, _ = await partner.accept()
        with sock:
            await sock.send(b"abcdef")
            lab.gate.set()
            assert (await lab.wait_exit(pid)).code == 0


async def test_a_read_of_nothing_gives_nothing_at_once(lab: Lab) -> None:
    with tcp_partner() as partner:
        await lab.passes(
            net(f"""{START}
            (drop (call $connect {port_of(partner)}:i32))
            (is64 (call $read_tcp 0:i64 0:i32) 0:i64)
            (is32 (networking.tcp_peek 0:i64 0:i32 0:i32 500:i32) 0:i32))""")
        )


async def test_one_read_is_bounded(lab: Lab) -> None:
    size = 2 * MAX_READ_BYTES
    with tcp_partner() as partner:
        pid = await lab.spawn(
            net(f"""(memory (export "memory") 20)
            {START} (local $rest i64) (local $got i64)
            (local.set $rest {size}:i64)
            (drop (call $connect {port_of(partner)}:i32))
            (loop $again
              (if (networking.tcp_read 0:i64 65536:i32 1000000:i32 500:i32) (then (unreachable)))
              (local.set $got (i64.load 500:i32))
              (is32 (i64.gt_u (local.get $got) {MAX_READ_BYTES}:i64) 0:i32)
              (is32 (i64.eqz (local.get $got)) 0:i32)
              (local.set $rest (i64.sub (local.get $rest) (local.get $got)))
              (br_if $again (i64.gt_s (local.get $rest) 0:i64)))
            (is64 (local.get $rest) 0:i64))""")
        )
        sock, _ = await partner.accept()
        with sock:
            await trio.SocketStream(sock).send_all(bytes(size))
            assert (await lab.wait_exit(pid)).code == 0


async def test_a_reset_connection_is_an_error_of_read_write_and_peer(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            net(f"""{START}
            (drop (call $connect {port_of(partner)}:i32))
            (is32 (networking.tcp_read 0:i64 0:i32 8:i32 500:i32) 1:i32) (call $show 500:i32)
            (i32.store 504:i32 4:i32)
            (is32 (networking.tcp_write_vectored 0:i64 500:i32 1:i32 508:i32) 1:i32) (call $show 508:i32)
            (is32 (networking.tcp_peer_addr 0:i64 500:i32) 1:i32) (call $show 500:i32)
            (is32 (networking.tcp_read 0:i64 0:i32 8:i32 500:i32) 0:i32)
            (is64 (i64.load 500:i32) 0:i64))""")
        )
        sock, _ = await partner.accept()
        await shared_by(lab, ResourceKind.TCP_STREAM, pid)  # connected, as far as the guest knows
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.close()
        output = (await lab.output(pid)).decode()
    assert (await lab.wait_exit(pid)).reason == "returned"
    assert output == os_error(errno.ECONNRESET) + os_error(errno.EPIPE) + os_error(errno.ENOTCONN)


async def test_the_end_of_one_direction_leaves_the_other(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            net(f"""{START}
            (drop (call $connect {port_of(partner)}:i32))
            (is64 (call $read_tcp 0:i64 8:i32) 0:i64)
            (is64 (call $write_tcp 0:i64 @"still here") 10:i64))""")
        )
        sock, _ = await partner.accept()
        with sock:
            sock.shutdown(socket.SHUT_WR)
            assert await receive_exactly(sock, 100) == b"still here"
        await lab.wait_exit(pid)


# -- time-outs --------------------------------------------------------------------------------


async def test_timeouts_are_unset_set_and_cleared_each_for_itself(lab: Lab) -> None:
    with tcp_partner() as partner:
        await lab.passes(
            net(f"""
            (func $are (param $read i64) (param $write i64) (param $peek i64)
              (is64 (networking.get_read_timeout 0:i64) (local.get $read))
              (is64 (networking.get_write_timeout 0:i64) (local.get $write))
              (is64 (networking.get_peek_timeout 0:i64) (local.get $peek)))
            {START}
            (drop (call $connect {port_of(partner)}:i32))
            (call $are -1:i64 -1:i64 -1:i64)
            (networking.set_read_timeout 0:i64 5:i64) (call $are 5:i64 -1:i64 -1:i64)
            (networking.set_write_timeout 0:i64 -2:i64) (call $are 5:i64 -2:i64 -1:i64)
            (networking.set_peek_timeout 0:i64 0:i64) (call $are 5:i64 -2:i64 0:i64)
            (networking.set_read_timeout 0:i64 -1:i64) (call $are -1:i64 -2:i64 0:i64)
            ;; clones share them
            (is64 (networking.clone_tcp_stream 0:i64) 1:i64)
            (networking.set_peek_timeout 1:i64 9:i64) (call $are -1:i64 -2:i64 9:i64)
            (is64 (networking.get_write_timeout 1:i64) -2:i64))""")
        )


@pytest.mark.parametrize("timeout_ms", [0, 10])
async def test_a_read_that_times_out_leaves_the_slot_and_loses_nothing(lab: Lab, timeout_ms: int) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            net(f"""{START}
            (drop (call $connect {port_of(partner)}:i32))
            (networking.set_read_timeout 0:i64 {timeout_ms}:i64)
            (networking.set_peek_timeout 0:i64 {timeout_ms}:i64)
            (i64.store 500:i32 77:i64)
            (is32 (networking.tcp_read 0:i64 0:i32 8:i32 500:i32) 9027:i32)
            (is32 (networking.tcp_peek 0:i64 0:i32 8:i32 500:i32) 9027:i32)
            (is64 (i64.load 500:i32) 77:i64) (is64 (i64.load 0:i32) 0:i64)
            (gate)
            ;; a poll finds what is there
            (is64 (call $read_tcp 0:i64 2:i32) 2:i64) (is32 (i32.load 0:i32) 0x6261:i32)
            (is64 (call $read_tcp 0:i64 8:i32) 1:i64) (is32 (i32.load 0:i32) 0x6263:i32)
            (is32 (networking.tcp_read 0:i64 0:i32 8:i32 500:i32) 9027:i32))""")
        )
        sock, _ = await partner.accept()
        with sock:
            await wait_for(lambda: lab.at_gate == 1)
            await sock.send(b"abc")
            lab.gate.set()
            assert (await lab.wait_exit(pid)).reason == "returned", await lab.wait_exit(pid)


async def test_a_read_within_its_timeout_gets_what_comes_meanwhile(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            net(f"""{START}
            (drop (call $connect {port_of(partner)}:i32))
            (networking.set_read_timeout 0:i64 60000:i64)
            (is64 (call $read_tcp 0:i64 8:i32) 3:i64))""")
        )
        sock, _ = await partner.accept()
        with sock:
            await wait_for(lambda: lab.runtime.processes()[0].state == "waiting")
            await sock.send(b"abc")
            assert (await lab.wait_exit(pid)).code == 0


# -- peeking ----------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout_ms", [-1, 60000])
async def test_peeking_never_consumes(lab: Lab, timeout_ms: int) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            net(f"""
            (func $peek (param $size i32) (result i64)
              (is32 (networking.tcp_peek 0:i64 0:i32 (local.get $size) 500:i32) 0:i32)
              (i64.load 500:i32))
            {START}
            (drop (call $connect {port_of(partner)}:i32))
            (networking.set_peek_timeout 0:i64 {timeout_ms}:i64)
            (is64 (call $peek 2:i32) 2:i64) (is32 (i32.load 0:i32) 0x6261:i32)
            (is64 (call $peek 8:i32) 3:i64)
            (is64 (call $read_tcp 0:i64 8:i32) 3:i64) (is32 (i32.load 0:i32) 0x636261:i32)
            (is64 (call $peek 8:i32) 0:i64))""")
        )
        sock, _ = await partner.accept()
        with sock:
            await sock.send(b"abc")
            sock.shutdown(socket.SHUT_WR)
            assert (await lab.wait_exit(pid)).reason == "returned"


async def test_peeking_a_reset_connection_is_an_error(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            net(f"""{START}
            (drop (call $connect {port_of(partner)}:i32))
            (is32 (networking.tcp_peek 0:i64 0:i32 8:i32 500:i32) 1:i32) (call $show 500:i32))""")
        )
        sock, _ = await partner.accept()
        await shared_by(lab, ResourceKind.TCP_STREAM, pid)  # connected, as far as the guest knows
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.close()
        assert (await lab.output(pid)).decode() == os_error(errno.ECONNRESET)
        await lab.wait_exit(pid)


# -- writing ----------------------------------------------------------------------------------


async def test_buffers_are_gathered(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            net(f"""
            (func $vector (param $index i32) (param $at i32) (param $size i32)
              (i32.store offset=500 (i32.mul 8:i32 (local.get $index)) (local.get $at))
              (i32.store offset=504 (i32.mul 8:i32 (local.get $index)) (local.get $size)))
            {START}
            (drop (call $connect {port_of(partner)}:i32))
            (call $vector 0:i32 @"one") (call $vector 1:i32 65536:i32 0:i32) (call $vector 2:i32 @", two")
            (call $vector 3:i32 70000:i32 70000:i32)
            (is32 (networking.tcp_write_vectored 0:i64 500:i32 3:i32 600:i32) 0:i32)
            (is64 (i64.load 600:i32) 8:i64)
            (is32 (networking.tcp_write_vectored 0:i64 65536:i32 0:i32 600:i32) 0:i32)
            (is64 (i64.load 600:i32) 0:i64)
            (i64.store 600:i32 -1:i64)
            (is32 (networking.tcp_flush 0:i64 600:i32) 0:i32)
            (is64 (i64.load 600:i32) 0:i64))""")
        )
        sock, _ = await partner.accept()
        with sock:
            assert await receive_exactly(sock, 100) == b"one, two"
        assert (await lab.wait_exit(pid)).reason == "returned"


@pytest.mark.parametrize(
    ("vector", "count"),
    [
        ("65536:i32 1:i32", 2),
        ("65530:i32 7:i32", 2),
        ("0:i32 -1:i32", 2),
        ("-1:i32 -1:i32", 2),
        ("0:i32 1:i32", 1 << 29),
    ],
)
async def test_a_buffer_out_of_bounds_traps_before_any_is_sent(lab: Lab, vector: str, count: int) -> None:
    at, size = vector.split()
    with tcp_partner() as partner:
        pid = await lab.spawn(
            net(f"""{START}
            (drop (call $connect {port_of(partner)}:i32))
            (i64.store 500:i32 0x400000000:i64)
            (i32.store 508:i32 {at}) (i32.store 512:i32 {size})
            (drop (networking.tcp_write_vectored 0:i64 500:i32 {count}:i32 600:i32)))""")
        )
        sock, _ = await partner.accept()
        with sock:
            assert await receive_exactly(sock, 1) == b""
        assert "outside the guest's memory" in (await lab.wait_exit(pid)).reason


async def test_one_write_looks_at_a_bounded_number_of_buffers(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            net(f"""{START} (local $at i32)
            (drop (call $connect {port_of(partner)}:i32))
            (local.set $at 8192:i32)
            (loop $again
              (i64.store (local.get $at) 0x100000000:i64)
              (local.set $at (i32.add (local.get $at) 8:i32))
              (br_if $again (i32.lt_u (local.get $at) 32768:i32)))
            (is32 (networking.tcp_write_vectored 0:i64 8192:i32 3072:i32 600:i32) 0:i32)
            (is64 (i64.load 600:i32) {MAX_VECTORS}:i64))""")
        )
        sock, _ = await partner.accept()
        with sock:
            assert await receive_exactly(sock, 4096) == bytes(MAX_VECTORS)
        assert (await lab.wait_exit(pid)).reason == "returned"


async def test_a_peer_that_never_reads_makes_writes_partial_and_then_time_out(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            net(f"""(memory (export "memory") 20)
            {START} (local $sent i64) (local $code i32)
            (drop (call $connect {port_of(partner)}:i32))
            (networking.set_write_timeout 0:i64 30:i64)
            (memory.fill 65536:i32 0x5a:i32 1000000:i32)
            (i32.store 500:i32 65536:i32) (i32.store 504:i32 1000000:i32)
            (loop $again
              (i64.store 600:i32 0:i64)
              (local.set $code (networking.tcp_write_vectored 0:i64 500:i32 1:i32 600:i32))
              (is32 (i64.gt_u (i64.load 600:i32) {MAX_WRITE_BYTES}:i64) 0:i32)
              (local.set $sent (i64.add (local.get $sent) (i64.load 600:i32)))
              (br_if $again (i32.eqz (local.get $code))))
            (is32 (local.get $code) 9027:i32)
            (report (local.get $sent)))""")
        )
        sock, _ = await partner.accept()
        with sock:
            await lab.wait_exit(pid)
            [sent] = lab.reports
            assert sent > 0
            # A time-out has sent nothing: the peer gets what was counted.
            assert await receive_exactly(sock, sent + 1) == b"\x5a" * sent


async def test_a_process_killed_while_it_writes_closes_its_stream(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            net(f"""(memory (export "memory") 20)
            {START}
            (drop (call $connect {port_of(partner)}:i32))
            (loop $again
              (drop (call $write_tcp 0:i64 65536:i32 1000000:i32)) (br $again)))""")
        )
        sock, _ = await partner.accept()
        with sock:
            connection = await shared_by(lab, ResourceKind.TCP_STREAM, pid)
            await wait_for(lambda: connection.writing.locked())
            lab.runtime.kill(pid)
            await lab.wait_exit(pid)
            await wait_for(lambda: connection._socket.fileno() == -1)
            while await sock.recv(65536):
                pass


# -- connections that lost a reader -----------------------------------------------------------


def test_what_a_reader_gives_back_is_read_first() -> None:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        connection = TcpConnection(near)
        far.send(b"world")
        connection.unread(b"hello ")
        assert connection.peek_nowait(3) == b"hel"
        assert connection.read_nowait(4) == b"hell"
        assert connection.read_nowait(100) == b"o "
        assert connection.peek_nowait(100) == b"world"
        assert connection.read_nowait(100) == b"world"
        with pytest.raises(BlockingIOError):
            connection.read_nowait(100)
