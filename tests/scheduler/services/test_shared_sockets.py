"""Sockets of several owners: clones, messages, deaths, turns; and the node's descriptors."""

from __future__ import annotations

import errno
import os
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.scheduler.lab import Lab, wait_for

from luna.scheduler import ExitKind
from luna.scheduler.resources import ResourceKind
from luna.scheduler.services.sockets import RESERVED_DESCRIPTORS

from .kit import START, dial, net, os_error, port_of, receive_exactly, shared_by, tcp_partner

# Takes the stream out of its first message, reads 4 bytes and reports them.
READER = """
    (func (export "reader")
      (is32 (call $receive_any -1:i64) 0:i32)
      (is64 (message.take_tcp_stream 0:i64) 0:i64)
      (is64 (call $read_tcp 0:i64 4:i32) 4:i64)
      (report (i64.load32_u 0:i32)))
"""
# Gives a stream to a process.
GIVE = """
    (func $give (param $stream i64) (param $to i64)
      (message.create_data 0:i64 0:i64)
      (is64 (message.push_tcp_stream (local.get $stream)) 0:i64)
      (drop (message.send (local.get $to))))
"""


def word(data: bytes) -> int:
    return int.from_bytes(data, "little")


# -- clones -----------------------------------------------------------------------------------


async def test_the_last_clone_that_is_dropped_closes_the_connection(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            net(f"""{START}
            (drop (call $connect {port_of(partner)}:i32))
            (is64 (networking.clone_tcp_stream 0:i64) 1:i64)
            (is64 (networking.clone_tcp_stream 1:i64) 2:i64)
            (networking.drop_tcp_stream 0:i64) (networking.drop_tcp_stream 2:i64)
            (is64 (call $write_tcp 1:i64 @"open") 4:i64)
            (networking.drop_tcp_stream 1:i64)
            (gate))""")
        )
        sock, _ = await partner.accept()
        with sock:
            assert await receive_exactly(sock, 5) == b"open"
        lab.gate.set()
        assert (await lab.wait_exit(pid)).reason == "returned"


async def test_readers_are_served_in_the_order_they_came(lab: Lab) -> None:
    with tcp_partner() as partner:
        main = await lab.spawn(
            net(f"""{READER} {GIVE} {START}
            (drop (call $connect {port_of(partner)}:i32))
            (call $give (networking.clone_tcp_stream 0:i64) (call $spawn @"reader"))
            (gate)
            (call $give (networking.clone_tcp_stream 0:i64) (call $spawn @"reader")))""")
        )
        sock, _ = await partner.accept()
        with sock:
            connection = await shared_by(lab, ResourceKind.TCP_STREAM, main)
            await wait_for(connection.reading.locked)
            lab.gate.set()
            await lab.wait_exit(main)
            await wait_for(lambda: connection.reading.statistics().tasks_waiting == 1)
            await sock.send(b"aaaa")
            await wait_for(lambda: lab.reports == [word(b"aaaa")])
            await sock.send(b"bbbb")
            await wait_for(lambda: lab.reports == [word(b"aaaa"), word(b"bbbb")])
            # The last owner has ended.
            assert await receive_exactly(sock, 1) == b""


async def test_a_second_reader_waits_no_longer_than_the_timeout(lab: Lab) -> None:
    with tcp_partner() as partner:
        main = await lab.spawn(
            net(f"""{READER} {GIVE} {START}
            (drop (call $connect {port_of(partner)}:i32))
            (call $give (networking.clone_tcp_stream 0:i64) (call $spawn @"reader"))
            (gate)
            (networking.set_read_timeout 0:i64 0:i64)
            (is32 (networking.tcp_read 0:i64 0:i32 4:i32 500:i32) 9027:i32)
            (networking.set_read_timeout 0:i64 10:i64)
            (is32 (networking.tcp_read 0:i64 0:i32 4:i32 500:i32) 9027:i32))""")
        )
        sock, _ = await partner.accept()
        with sock:
            connection = await shared_by(lab, ResourceKind.TCP_STREAM, main)
            await wait_for(connection.reading.locked)
            lab.gate.set()
            assert (await lab.wait_exit(main)).reason == "returned"
            await sock.send(b"aaaa")
            await wait_for(lambda: lab.reports == [word(b"aaaa")])


@pytest.mark.parametrize("dies", ["first", "second"])
async def test_when_one_of_two_readers_dies_the_other_gets_what_comes(lab: Lab, dies: str) -> None:
    with tcp_partner() as partner:
        main = await lab.spawn(
            net(f"""{READER} {GIVE}
            (func $start (local $child i64)
              (local.set $child (call $spawn @"reader"))
              (report (local.get $child))
              (call $give (networking.clone_tcp_stream 0:i64) (local.get $child)))
            {START}
            (drop (call $connect {port_of(partner)}:i32))
            (call $start) (gate) (call $start))""")
        )
        sock, _ = await partner.accept()
        with sock:
            connection = await shared_by(lab, ResourceKind.TCP_STREAM, main)
            await wait_for(connection.reading.locked)
            lab.gate.set()
            await wait_for(lambda: connection.reading.statistics().tasks_waiting == 1)
            await lab.wait_exit(main)
            lab.runtime.kill(lab.reports[0 if dies == "first" else 1])
            await wait_for(lambda: connection.reading.statistics().tasks_waiting == 0)
            await sock.send(b"aaaa")
            await wait_for(lambda: lab.reports[2:] == [word(b"aaaa")])


async def test_what_comes_as_its_reader_dies_is_read_by_a_clone(lab: Lab) -> None:
    with tcp_partner() as partner:
        main = await lab.spawn(
            net(f"""{READER} {GIVE} {START} (local $child i64)
            (drop (call $connect {port_of(partner)}:i32))
            (local.set $child (call $spawn @"reader"))
            (report (local.get $child))
            (call $give (networking.clone_tcp_stream 0:i64) (local.get $child))
            (gate)
            (is64 (call $read_tcp 0:i64 100:i32) 4:i64)
            (is32 (i32.load 0:i32) {word(b"aaaa")}:i32))""")
        )
        sock, _ = await partner.accept()
        with sock:
            connection = await shared_by(lab, ResourceKind.TCP_STREAM, main)
            await wait_for(connection.reading.locked)
            kill_as_data_comes(lab, lab.reports[0], lambda: os.write(sock.fileno(), b"aaaa"))
            await wait_for(lambda: connection.peek_unread(100) == b"aaaa")
            lab.gate.set()
            assert (await lab.wait_exit(main)).reason == "returned"


async def test_a_datagram_that_comes_as_its_receiver_dies_is_received_by_a_clone(lab: Lab) -> None:
    main = await lab.spawn(
        net(f"""
        (func (export "receiver")
          (is32 (call $receive_any -1:i64) 0:i32)
          (is64 (message.take_udp_socket 0:i64) 0:i64)
          (is32 (networking.udp_receive 0:i64 0:i32 100:i32 500:i32) 0:i32)
          (report -1:i64))
        {START} (local $child i64)
        (report (i64.extend_i32_u (call $udp_port (call $udp))))
        (local.set $child (call $spawn @"receiver"))
        (report (local.get $child))
        (message.create_data 0:i64 0:i64)
        (is64 (message.push_udp_socket (networking.clone_udp_socket 0:i64)) 0:i64)
        (drop (message.send (local.get $child)))
        (gate)
        (is32 (networking.udp_receive_from 0:i64 0:i32 100:i32 500:i32 508:i32) 0:i32)
        (report (i64.load 500:i32)))""")
    )
    shared = await shared_by(lab, ResourceKind.UDP_SOCKET, main)
    await wait_for(shared.receiving.locked)
    port, child = lab.reports
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        kill_as_data_comes(lab, child, lambda: sock.sendto(b"abc", ("127.0.0.1", port)))
        await wait_for(lambda: not shared.receiving.locked())
        lab.gate.set()
        assert (await lab.wait_exit(main)).reason == "returned"
    assert lab.reports[2:] == [3]


def kill_as_data_comes(lab: Lab, pid: int, send: Callable[[], object]) -> None:
    """Let a process die and its data come while trio does not run, so that it sees both at once."""
    lab.runtime.kill(pid)
    send()
    deadline = time.monotonic() + 20
    while lab.runtime.exists(pid):
        assert time.monotonic() < deadline
        time.sleep(0.001)


# -- messages ---------------------------------------------------------------------------------


async def test_a_stream_moves_in_a_message_with_what_it_holds_and_its_timeouts(lab: Lab) -> None:
    with tcp_partner() as partner:
        main = await lab.spawn(
            net(f"""
            (func (export "child")
              (is32 (call $receive_any -1:i64) 0:i32)
              (is64 (message.take_tcp_stream 1:i64) 0:i64)
              (is64 (networking.get_read_timeout 0:i64) 5000:i64)
              (is64 (call $read_tcp 0:i64 100:i32) 4:i64)
              (is64 (call $write_tcp 0:i64 0:i32 4:i32) 4:i64)
              (is64 (message.take_udp_socket 0:i64) 0:i64)
              (is32 (i32.eqz (call $udp_port 0:i64)) 0:i32)
              (report (i64.load32_u 0:i32)))
            {START}
            (drop (call $connect {port_of(partner)}:i32))
            (networking.set_read_timeout 0:i64 5000:i64)
            (gate)
            (message.create_data 0:i64 0:i64)
            (is64 (message.push_udp_socket (call $udp)) 0:i64)
            (is64 (message.push_tcp_stream 0:i64) 1:i64)
            (drop (message.send (call $spawn @"child"))))""")
        )
        sock, _ = await partner.accept()
        with sock:
            await sock.send(b"abcd")
            lab.gate.set()
            assert (await lab.wait_exit(main)).reason == "returned"
            assert await receive_exactly(sock, 5) == b"abcd"
    assert lab.reports == [word(b"abcd")]


@pytest.mark.parametrize(
    "use",
    [
        "(networking.drop_tcp_stream 0:i64)",
        "(drop (networking.clone_tcp_stream 0:i64))",
        "(drop (call $read_tcp 0:i64 1:i32))",
        "(drop (message.push_tcp_stream 0:i64))",
    ],
)
async def test_a_stream_used_after_it_was_pushed_traps(lab: Lab, use: str) -> None:
    with tcp_partner() as partner:
        reason = await lab.traps(
            net(f"""{START}
            (drop (call $connect {port_of(partner)}:i32))
            (message.create_data 0:i64 0:i64)
            (drop (message.push_tcp_stream 0:i64))
            {use})""")
        )
    assert "this process has no TCP stream of id 0" in reason


FATES = {
    "its receiver is dead": "(drop (message.send 999:i64))",
    "its receiver ends without receiving": '(drop (message.send (call $spawn @"idle")))',
    "its receiver ends without taking": '(drop (message.send (call $spawn @"taker")))',
    "the scratch is replaced": "(message.create_data 0:i64 0:i64)",
    "the process ends": "(gate)",
}


@pytest.mark.parametrize("fate", FATES.values(), ids=FATES.keys())
async def test_a_stream_is_closed_when_its_message_is_lost(lab: Lab, fate: str) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            net(f"""
            (func (export "idle") (process.sleep_ms 1:i64))
            (func (export "taker") (is32 (call $receive_any -1:i64) 0:i32))
            {START}
            (drop (call $connect {port_of(partner)}:i32))
            (message.create_data 0:i64 0:i64)
            (drop (message.push_tcp_stream 0:i64))
            {fate}
            (gate) (gate))""")
        )
        sock, _ = await partner.accept()
        with sock:
            if "gate" in fate:
                await wait_for(lambda: lab.at_gate == 1)
                lab.runtime.kill(pid)
            assert await receive_exactly(sock, 1) == b""
        lab.gate.set()
        await lab.wait_exit(pid)


async def test_pushing_without_a_message_traps_and_closes_the_stream(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            net(f"""
            (func (export "_lunatic_catch_trap") (param i32 i32) (result i32)
              (drop (message.push_tcp_stream 0:i64)) 1:i32)
            {START}
            (drop (call $connect {port_of(partner)}:i32))
            (is32 (trap.catch 0:i32 0:i32) 0:i32)
            (gate)
            (drop (message.push_tcp_stream 0:i64)))""")
        )
        sock, _ = await partner.accept()
        with sock:
            # Closed while its owner lives: the trap was caught.
            assert await receive_exactly(sock, 1) == b""
        await wait_for(lambda: lab.at_gate == 1)
        lab.gate.set()
        assert "no TCP stream of id 0" in (await lab.wait_exit(pid)).reason


async def test_taking_another_kind_traps_and_leaves_the_stream_in_the_message(lab: Lab) -> None:
    with tcp_partner() as partner:
        await lab.passes(
            net(f"""
            (func (export "_lunatic_catch_trap") (param i32 i32) (result i32)
              (drop (message.take_udp_socket 0:i64)) 1:i32)
            {START}
            (drop (call $connect {port_of(partner)}:i32))
            (message.create_data 0:i64 0:i64)
            (drop (message.push_tcp_stream 0:i64))
            (is32 (trap.catch 0:i32 0:i32) 0:i32)
            (is64 (message.take_tcp_stream 0:i64) 1:i64))""")
        )


# -- deaths -----------------------------------------------------------------------------------


async def test_every_socket_of_a_dying_process_is_closed_at_once(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            net(f"""{START}
            (report (i64.extend_i32_u (call $listening_port (call $listen))))
            (report (i64.extend_i32_u (call $udp_port (call $udp))))
            (drop (call $connect {port_of(partner)}:i32))
            (drop (networking.clone_tcp_stream 0:i64))
            (gate))""")
        )
        sock, _ = await partner.accept()
        with sock:
            await wait_for(lambda: lab.at_gate == 1)
            listening, bound = lab.reports
            lab.runtime.kill(pid)
            assert await receive_exactly(sock, 1) == b""
            with pytest.raises(ConnectionRefusedError):
                await dial(listening)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
                taken.bind(("127.0.0.1", bound))


@pytest.mark.parametrize(
    "call",
    [
        "(drop (call $read_tcp 0:i64 8:i32))",
        "(drop (networking.tcp_peek 0:i64 0:i32 8:i32 500:i32))",
        "(drop (call $accept 0:i64))",
        "(drop (networking.udp_receive 0:i64 0:i32 8:i32 500:i32))",
    ],
)
async def test_a_process_killed_while_it_waits_leaves_nothing(lab: Lab, call: str) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            net(f"""{START}
            (drop (call $listen)) (drop (call $udp))
            (drop (call $connect {port_of(partner)}:i32))
            (report 1:i64)
            {call})""")
        )
        await wait_for(lambda: lab.reports and lab.runtime.processes()[0].state == "waiting")
        lab.runtime.kill(pid)
        status = await lab.wait_exit(pid)
        assert status.kind is ExitKind.KILLED
    # The lab looks for descriptors that are left.


async def test_a_runtime_that_stops_closes_what_its_guests_have(lab: Lab) -> None:
    with tcp_partner() as partner:
        await lab.spawn(
            net(f"""{START}
            (drop (call $listen)) (drop (call $udp))
            (drop (call $connect {port_of(partner)}:i32))
            (message.create_data 0:i64 0:i64)
            (drop (message.push_tcp_stream (call $connect {port_of(partner)}:i32)))
            (report 1:i64)
            (drop (call $read_tcp 0:i64 8:i32)))""")
        )
        await wait_for(lambda: lab.reports)
    # The lab stops with the guest in its call, and looks for descriptors that are left.


# -- descriptors ------------------------------------------------------------------------------


@pytest.fixture
def few_descriptors() -> Iterator[int]:
    """Few descriptors for guests; how many must be left to the node."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    limit = used + RESERVED_DESCRIPTORS + 16
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limits[1]))
    yield min(RESERVED_DESCRIPTORS, limit // 4)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


EXHAUSTED = os_error(errno.EMFILE) + ": this node has no descriptors left for its guests; drop sockets"


@pytest.mark.parametrize("kind", ["tcp_bind", "udp_bind"])
async def test_guests_cannot_take_the_nodes_last_descriptors(
    lab: Lab, few_descriptors: int, kind: str
) -> None:
    pid = await lab.spawn(
        net(f"""{START}
        (call $loopback)
        (loop $again (br_if $again (i32.eqz (networking.{kind} 4:i32 1000:i32 0:i32 0:i32 0:i32 500:i32))))
        (call $show 500:i32)
        (gate)
        ;; what is dropped may be had again
        (networking.drop_{"tcp_listener" if kind == "tcp_bind" else "udp_socket"} 0:i64)
        (is32 (networking.{kind} 4:i32 1000:i32 0:i32 0:i32 0:i32 500:i32) 0:i32))""")
    )
    await wait_for(lambda: lab.at_gate == 1)
    with ExitStack() as stack:
        for _ in range(few_descriptors):
            stack.enter_context(socket.socket())
    lab.gate.set()
    assert (await lab.output(pid)).decode().startswith(EXHAUSTED)
    assert (await lab.wait_exit(pid)).reason == "returned"


async def test_accepting_and_connecting_without_descriptors_are_errors(
    lab: Lab, few_descriptors: int
) -> None:
    pid = await lab.spawn(
        net(f"""{START}
        (report (i64.extend_i32_u (call $listening_port (call $listen))))
        (gate)
        (loop $again (br_if $again (i32.eqz (networking.udp_bind 4:i32 1000:i32 0:i32 0:i32 0:i32 500:i32))))
        (i64.store 508:i32 -1:i64)
        (is32 (networking.tcp_accept 0:i64 500:i32 508:i32) 1:i32)
        (is64 (i64.load 508:i32) 0:i64)
        (call $show 500:i32)
        (is32 (networking.tcp_connect 4:i32 1000:i32 1:i32 0:i32 0:i32 -1:i64 500:i32) 1:i32)
        (call $show 500:i32))""")
    )
    await wait_for(lambda: lab.at_gate == 1)
    with await dial(lab.reports[0]) as sock:
        lab.gate.set()
        assert (await lab.output(pid)).decode().count(EXHAUSTED) == 2
        assert (await lab.wait_exit(pid)).reason == "returned"
        assert await receive_exactly(sock, 1) == b""
