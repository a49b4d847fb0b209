"""Encrypted streams of guests: reading, writing, time-outs, several owners, closing."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest
import trio
import trio.testing
from tests.scheduler.lab import Lab, wait_for

from luna.scheduler import ExitKind
from luna.scheduler.resources import ResourceKind
from luna.scheduler.services import tls_connection
from luna.scheduler.services.streams import MAX_READ_BYTES, MAX_VECTORS, MAX_WRITE_BYTES

from .kit import RESET, START, os_error, port_of, shared_by, tcp_partner
from .tls_kit import RecordPartner, receive_plain, tls, tls_dial, tls_meet

TRUNCATED = "peer closed connection without sending TLS close_notify"
MIB = 1 << 20

# Takes the stream out of its first message.
TAKE = """
    (func $take
      (is32 (call $receive_any -1:i64) 0:i32)
      (is64 (message.take_tls_stream 0:i64) 0:i64))
"""
# Gives a stream to a process.
GIVE = """
    (func $give (param $stream i64) (param $to i64)
      (message.create_data 0:i64 0:i64)
      (is64 (message.push_tls_stream (local.get $stream)) 0:i64)
      (drop (message.send (local.get $to))))
"""


async def meet_records(partner: trio.socket.SocketType) -> RecordPartner:
    """Accept a guest's connection as one whose records the test sends; the test closes its socket."""
    sock, _ = await partner.accept()
    records = RecordPartner(sock)
    try:
        await records.shake_hands()
    except BaseException:
        sock.close()
        raise
    return records


async def connection_of(lab: Lab, pid: int) -> Any:
    return await shared_by(lab, ResourceKind.TLS_STREAM, pid)


def pattern(size: int) -> bytes:
    """Bytes that show where they are from: little-endian numbers of words."""
    return b"".join(index.to_bytes(4, "little") for index in range(size // 4))


# -- reading ----------------------------------------------------------------------------------


async def test_a_read_gives_what_is_there_up_to_the_room(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""{START}
            (drop (call $tls_connect {port_of(partner)}:i32))
            (gate)
            (is64 (call $read_tls 0:i64 4:i32) 4:i64) (is32 (i32.load 0:i32) 0x64636261:i32)
            (is32 (i32.load 4:i32) 0:i32)
            (is64 (call $read_tls 0:i64 0:i32) 0:i64)
            ;; two records at once
            (is64 (call $read_tls 0:i64 100:i32) 4:i64) (is32 (i32.load 0:i32) 0x68676665:i32))""")
        )
        async with await tls_meet(partner) as stream:
            await stream.send_all(b"abcdef")
            await stream.send_all(b"gh")
            lab.gate.set()
            assert (await lab.wait_exit(pid)).reason == "returned"


async def test_one_read_is_bounded(lab: Lab) -> None:
    size = 2 * MAX_READ_BYTES
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""(memory (export "memory") 20)
            {START} (local $rest i64) (local $got i64)
            (local.set $rest {size}:i64)
            (drop (call $tls_connect {port_of(partner)}:i32))
            (loop $again
              (if (networking.tls_read 0:i64 65536:i32 1000000:i32 500:i32) (then (unreachable)))
              (local.set $got (i64.load 500:i32))
              (is32 (i64.gt_u (local.get $got) {MAX_READ_BYTES}:i64) 0:i32)
              (is32 (i64.eqz (local.get $got)) 0:i32)
              (local.set $rest (i64.sub (local.get $rest) (local.get $got)))
              (br_if $again (i64.gt_s (local.get $rest) 0:i64)))
            (is64 (local.get $rest) 0:i64))""")
        )
        async with await tls_meet(partner) as stream:
            await stream.send_all(bytes(size))
            assert (await lab.wait_exit(pid)).reason == "returned"


@pytest.mark.parametrize("timeout_ms", [0, 10])
async def test_a_read_that_times_out_within_a_record_loses_nothing(lab: Lab, timeout_ms: int) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""{START}
            (drop (call $tls_connect {port_of(partner)}:i32))
            (networking.set_tls_read_timeout 0:i64 {timeout_ms}:i64)
            (i64.store 500:i32 77:i64)
            (is32 (networking.tls_read 0:i64 0:i32 8:i32 500:i32) 9027:i32)
            (report 1:i64) (gate)
            (is32 (networking.tls_read 0:i64 0:i32 8:i32 500:i32) 9027:i32)
            (is64 (i64.load 500:i32) 77:i64) (is64 (i64.load 0:i32) 0:i64)
            (report 2:i64)
            (networking.set_tls_read_timeout 0:i64 -1:i64)
            (is64 (call $read_tls 0:i64 8:i32) 4:i64) (is32 (i32.load 0:i32) 0x64636261:i32))""")
        )
        records = await meet_records(partner)
        with records.sock:
            record = records.encrypt(b"abcd")
            await wait_for(lambda: lab.reports == [1])
            await records.sock.send(record[:-5])
            lab.gate.set()
            await wait_for(lambda: lab.reports == [1, 2])
            await records.sock.send(record[-5:])
            assert (await lab.wait_exit(pid)).reason == "returned"


async def test_a_read_within_its_timeout_gets_what_comes_meanwhile(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""{START}
            (drop (call $tls_connect {port_of(partner)}:i32))
            (networking.set_tls_read_timeout 0:i64 60000:i64)
            (report 1:i64)
            (is64 (call $read_tls 0:i64 8:i32) 3:i64))""")
        )
        async with await tls_meet(partner) as stream:
            await wait_for(lambda: lab.reports and lab.runtime.processes()[0].state == "waiting")
            await stream.send_all(b"abc")
            assert (await lab.wait_exit(pid)).reason == "returned"


async def test_the_end_that_the_peer_announced_is_no_bytes_and_leaves_the_other_direction(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""{START}
            (drop (call $tls_connect {port_of(partner)}:i32))
            (is64 (call $read_tls 0:i64 8:i32) 4:i64)
            (is64 (call $read_tls 0:i64 8:i32) 0:i64)
            (is64 (call $write_tls 0:i64 @"still here") 10:i64)
            (is64 (call $read_tls 0:i64 8:i32) 0:i64))""")
        )
        records = await meet_records(partner)
        with records.sock:
            # Both in one piece: the end must not hide what was said before.
            await records.sock.send(records.encrypt(b"last") + records.goodbye())
            assert await records.receive() == b"still here"
            assert await records.receive() == b""
        assert (await lab.wait_exit(pid)).reason == "returned"


@pytest.mark.parametrize("within_a_record", [False, True])
async def test_an_end_that_the_peer_did_not_announce_is_an_error(lab: Lab, within_a_record: bool) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""{START}
            (drop (call $tls_connect {port_of(partner)}:i32))
            (is64 (call $read_tls 0:i64 8:i32) 4:i64)
            (is32 (networking.tls_read 0:i64 0:i32 8:i32 500:i32) 1:i32) (call $show 500:i32)
            (is32 (networking.tls_read 0:i64 0:i32 8:i32 500:i32) 1:i32) (call $show 500:i32)
            (is64 (call $write_tls 0:i64 @"still here") 10:i64))""")
        )
        records = await meet_records(partner)
        with records.sock:
            more = records.encrypt(b"last") + records.encrypt(b"word")
            await records.sock.send(more[:-1] if within_a_record else more[: len(more) // 2])
            records.sock.shutdown(socket.SHUT_WR)
            assert await records.receive() == b"still here"
            assert (await lab.output(pid)).decode().count(TRUNCATED) == 2
        assert (await lab.wait_exit(pid)).reason == "returned"


async def test_a_reset_connection_is_an_error_of_read_write_and_flush(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""{START}
            (drop (call $tls_connect {port_of(partner)}:i32))
            (is32 (networking.tls_read 0:i64 0:i32 8:i32 500:i32) 1:i32) (call $show 500:i32)
            (i32.store 504:i32 4:i32)
            (is32 (networking.tls_write_vectored 0:i64 500:i32 1:i32 508:i32) 1:i32) (call $show 508:i32)
            (is32 (networking.tls_write_vectored 0:i64 500:i32 1:i32 508:i32) 1:i32) (call $show 508:i32)
            (is32 (networking.tls_flush 0:i64 508:i32) 1:i32) (call $show 508:i32))""")
        )
        records = await meet_records(partner)
        await connection_of(lab, pid)
        records.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        records.sock.close()
        output = (await lab.output(pid)).decode()
    assert (await lab.wait_exit(pid)).reason == "returned"
    assert output == os_error(errno.ECONNRESET) + os_error(errno.EPIPE) * 3


async def test_records_that_were_changed_on_their_way_are_an_error(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""{START}
            (drop (call $tls_connect {port_of(partner)}:i32))
            (is64 (call $read_tls 0:i64 8:i32) 4:i64)
            (is32 (networking.tls_read 0:i64 0:i32 8:i32 500:i32) 1:i32) (call $show 500:i32)
            (is32 (networking.tls_read 0:i64 0:i32 8:i32 500:i32) 1:i32) (call $show 500:i32)
            (i32.store 504:i32 4:i32)
            (is32 (networking.tls_write_vectored 0:i64 500:i32 1:i32 508:i32) 1:i32))""")
        )
        records = await meet_records(partner)
        with records.sock:
            good, evil = records.encrypt(b"good"), bytearray(records.encrypt(b"evil"))
            evil[-1] ^= 1
            await records.sock.send(good + evil)
            assert (await lab.output(pid)).decode() == "decryption failed or bad record mac" * 2
        assert (await lab.wait_exit(pid)).reason == "returned"


# -- time-outs --------------------------------------------------------------------------------


async def test_timeouts_are_unset_set_and_cleared_each_for_itself_and_shared_by_clones(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""
            (func $are (param $read i64) (param $write i64)
              (is64 (networking.get_tls_read_timeout 0:i64) (local.get $read))
              (is64 (networking.get_tls_write_timeout 0:i64) (local.get $write)))
            {START}
            (drop (call $tls_connect {port_of(partner)}:i32))
            (call $are -1:i64 -1:i64)
            (networking.set_tls_read_timeout 0:i64 5:i64) (call $are 5:i64 -1:i64)
            (networking.set_tls_write_timeout 0:i64 -2:i64) (call $are 5:i64 -2:i64)
            (networking.set_tls_read_timeout 0:i64 -1:i64) (call $are -1:i64 -2:i64)
            (is64 (networking.clone_tls_stream 0:i64) 1:i64)
            (networking.set_tls_read_timeout 1:i64 0:i64) (call $are 0:i64 -2:i64)
            (is64 (networking.get_tls_write_timeout 1:i64) -2:i64))""")
        )
        async with await tls_meet(partner):
            assert (await lab.wait_exit(pid)).reason == "returned"


# -- writing ----------------------------------------------------------------------------------


async def test_buffers_are_gathered(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""
            (func $vector (param $index i32) (param $at i32) (param $size i32)
              (i32.store offset=500 (i32.mul 8:i32 (local.get $index)) (local.get $at))
              (i32.store offset=504 (i32.mul 8:i32 (local.get $index)) (local.get $size)))
            {START}
            (drop (call $tls_connect {port_of(partner)}:i32))
            (call $vector 0:i32 @"one") (call $vector 1:i32 65536:i32 0:i32) (call $vector 2:i32 @", two")
            (is32 (networking.tls_write_vectored 0:i64 500:i32 3:i32 600:i32) 0:i32)
            (is64 (i64.load 600:i32) 8:i64)
            (is32 (networking.tls_write_vectored 0:i64 65536:i32 0:i32 600:i32) 0:i32)
            (is64 (i64.load 600:i32) 0:i64)
            (i64.store 600:i32 -1:i64)
            (is32 (networking.tls_flush 0:i64 600:i32) 0:i32)
            (is64 (i64.load 600:i32) 0:i64))""")
        )
        async with await tls_meet(partner) as stream:
            assert await receive_plain(stream, 100) == b"one, two"
        assert (await lab.wait_exit(pid)).reason == "returned"


async def test_one_write_looks_at_a_bounded_number_of_buffers(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""{START} (local $at i32)
            (drop (call $tls_connect {port_of(partner)}:i32))
            (local.set $at 8192:i32)
            (loop $again
              (i64.store (local.get $at) 0x100000000:i64)
              (local.set $at (i32.add (local.get $at) 8:i32))
              (br_if $again (i32.lt_u (local.get $at) 32768:i32)))
            (is32 (networking.tls_write_vectored 0:i64 8192:i32 3072:i32 600:i32) 0:i32)
            (is64 (i64.load 600:i32) {MAX_VECTORS}:i64))""")
        )
        async with await tls_meet(partner) as stream:
            assert await receive_plain(stream, 4096) == bytes(MAX_VECTORS)
        assert (await lab.wait_exit(pid)).reason == "returned"


FILL = """
    ;; Numbers of words from 65536 on, of $size bytes.
    (func $fill (param $size i32) (local $at i32)
      (loop $again
        (i32.store offset=65536 (local.get $at) (i32.shr_u (local.get $at) 2:i32))
        (local.set $at (i32.add (local.get $at) 4:i32))
        (br_if $again (i32.lt_u (local.get $at) (local.get $size)))))
    ;; Writes them until all are gone or a code is not 0; how many went. The code is at 620.
    (func $write_much (param $size i32) (result i32) (local $sent i32)
      (loop $again
        (i32.store 500:i32 (i32.add 65536:i32 (local.get $sent)))
        (i32.store 504:i32 (i32.sub (local.get $size) (local.get $sent)))
        (i64.store 600:i32 0:i64)
        (i32.store 620:i32 (networking.tls_write_vectored 0:i64 500:i32 1:i32 600:i32))
        (is32 (i64.gt_u (i64.load 600:i32) 262144:i64) 0:i32)
        (if (i32.eqz (i32.load 620:i32)) (then
          (local.set $sent (i32.add (local.get $sent) (i32.wrap_i64 (i64.load 600:i32))))
          (br_if $again (i32.lt_u (local.get $sent) (local.get $size))))))
      (local.get $sent))
"""
LARGE = 16 * MIB
"""bytes that no two buffers of the system take on their own"""


async def test_writes_that_time_out_sent_nothing_and_leave_the_stream_whole(lab: Lab) -> None:
    assert MAX_WRITE_BYTES == 262144
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""(memory (export "memory") 300) {FILL}
            {START} (local $sent i32)
            (drop (call $tls_connect {port_of(partner)}:i32))
            (call $fill {LARGE}:i32)
            (networking.set_tls_write_timeout 0:i64 30:i64)
            (local.set $sent (call $write_much {LARGE}:i32))
            (is32 (i32.load 620:i32) 9027:i32)
            (is64 (i64.load 600:i32) 0:i64)  ;; left as it was
            (networking.set_tls_write_timeout 0:i64 0:i64)
            (is32 (networking.tls_write_vectored 0:i64 500:i32 1:i32 600:i32) 9027:i32)
            (report (i64.extend_i32_u (local.get $sent)))
            ;; and the rest, once somebody reads
            (networking.set_tls_write_timeout 0:i64 -1:i64)
            (i32.store 500:i32 (i32.add 65536:i32 (local.get $sent))) (i32.store 504:i32 4000:i32)
            (is32 (networking.tls_write_vectored 0:i64 500:i32 1:i32 600:i32) 0:i32)
            (is64 (i64.load 600:i32) 4000:i64)
            (is32 (networking.tls_flush 0:i64 600:i32) 0:i32))""")
        )
        async with await tls_meet(partner) as stream:
            await wait_for(lambda: lab.reports)
            [sent] = lab.reports
            assert 0 < sent < LARGE
            assert await receive_plain(stream, sent + 4001) == pattern(sent + 4000)
        assert (await lab.wait_exit(pid)).reason == "returned"


async def test_what_was_written_arrives_though_the_writer_never_touches_the_stream_again(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""(memory (export "memory") 300) {FILL}
            {START}
            (drop (call $tls_connect {port_of(partner)}:i32))
            (call $fill {LARGE}:i32)
            (networking.set_tls_write_timeout 0:i64 0:i64)
            (report (i64.extend_i32_u (call $write_much {LARGE}:i32)))
            (gate))""")
        )
        async with await tls_meet(partner) as stream:
            connection = await connection_of(lab, pid)
            await wait_for(lambda: lab.at_gate == 1)
            assert connection._unsent  # a record that the socket did not take
            [sent] = lab.reports
            assert await receive_plain(stream, sent) == pattern(sent)
            lab.gate.set()
        assert (await lab.wait_exit(pid)).reason == "returned"


async def test_who_takes_nothing_is_not_listened_to_when_much_waits_for_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer could ask for answers of the protocol without end, and take none. Here nothing may wait."""
    monkeypatch.setattr(tls_connection, "MAX_UNSENT_BYTES", 0)
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""(memory (export "memory") 300) {FILL}
            {START}
            (drop (call $tls_connect {port_of(partner)}:i32))
            (call $fill {LARGE}:i32)
            (networking.set_tls_write_timeout 0:i64 0:i64)
            (report (i64.extend_i32_u (call $write_much {LARGE}:i32)))
            (gate)
            (networking.set_tls_read_timeout 0:i64 0:i64)
            (is32 (networking.tls_read 0:i64 0:i32 8:i32 500:i32) 9027:i32)
            (networking.set_tls_read_timeout 0:i64 -1:i64)
            (report 0:i64)
            (is64 (call $read_tls 0:i64 8:i32) 4:i64))""")
        )
        async with await tls_meet(partner) as stream:
            connection = await connection_of(lab, pid)
            await stream.send_all(b"more")
            await wait_for(lambda: lab.at_gate == 1)
            lab.gate.set()
            await wait_for(lambda: len(lab.reports) == 2 and connection.reading.locked())
            assert lab.runtime.exists(pid)
            assert await receive_plain(stream, lab.reports[0]) == pattern(lab.reports[0])
            assert (await lab.wait_exit(pid)).reason == "returned"


async def test_flushing_waits_until_everything_is_sent(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""(memory (export "memory") 300) {FILL}
            {START}
            (drop (call $tls_connect {port_of(partner)}:i32))
            (networking.set_tls_write_timeout 0:i64 0:i64)
            (report (i64.extend_i32_u (call $write_much {LARGE}:i32)))
            (is32 (networking.tls_flush 0:i64 600:i32) 0:i32)
            (report 0:i64))""")
        )
        async with await tls_meet(partner) as stream:
            connection = await connection_of(lab, pid)
            await wait_for(lambda: lab.reports)
            await wait_for(lambda: lab.runtime.processes()[0].state == "waiting")
            assert connection._unsent
            assert len(lab.reports) == 1
            await receive_plain(stream, lab.reports[0])
            assert (await lab.wait_exit(pid)).reason == "returned"


async def test_a_peer_that_breaks_off_wakes_who_waits_to_write_and_to_flush(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""(memory (export "memory") 300) {FILL} {TAKE} {GIVE}
            (func (export "flusher")
              (call $take)
              (is32 (networking.tls_flush 0:i64 600:i32) 1:i32)
              (report 1:i64))
            {START}
            (drop (call $tls_connect {port_of(partner)}:i32))
            (networking.set_tls_write_timeout 0:i64 0:i64)
            (drop (call $write_much {LARGE}:i32))
            (is32 (i32.load 620:i32) 9027:i32)
            (call $give (networking.clone_tls_stream 0:i64) (call $spawn @"flusher"))
            (networking.set_tls_write_timeout 0:i64 -1:i64)
            (report 0:i64)
            (is32 (networking.tls_write_vectored 0:i64 500:i32 1:i32 600:i32) 1:i32)
            (call $show 600:i32))""")
        )
        records = await meet_records(partner)
        connection = await connection_of(lab, pid)
        await wait_for(lambda: lab.reports and connection.writing.locked())
        await wait_for(lambda: all(process.state == "waiting" for process in lab.runtime.processes()))
        records.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        records.sock.close()
        assert (await lab.output(pid)).decode() == os_error(errno.ECONNRESET)
        await wait_for(lambda: lab.reports == [0, 1])
        await lab.wait_exit(pid)


# -- several owners ---------------------------------------------------------------------------


@pytest.mark.parametrize("serves", [False, True], ids=["client", "server"])
async def test_a_megabyte_each_way_at_once_through_clones(lab: Lab, serves: bool) -> None:
    body = f"""(memory (export "memory") 40) {FILL} {TAKE} {GIVE}
        (func (export "writer")
          (call $take)
          (call $fill {MIB}:i32)
          (is32 (call $write_much {MIB}:i32) {MIB}:i32)
          (report 1:i64))
        (func $read_much (local $at i32)
          (loop $again
            (is32 (networking.tls_read 0:i64
              (i32.add 65536:i32 (local.get $at)) (i32.sub {MIB}:i32 (local.get $at)) 600:i32) 0:i32)
            (is32 (i64.eqz (i64.load 600:i32)) 0:i32)
            (local.set $at (i32.add (local.get $at) (i32.wrap_i64 (i64.load 600:i32))))
            (br_if $again (i32.lt_u (local.get $at) {MIB}:i32)))
          (local.set $at 0:i32)
          (loop $check
            (is32 (i32.load offset=65536 (local.get $at)) (i32.shr_u (local.get $at) 2:i32))
            (local.set $at (i32.add (local.get $at) 4:i32))
            (br_if $check (i32.lt_u (local.get $at) {MIB}:i32))))
        (func $both
          (call $give (networking.clone_tls_stream 0:i64) (call $spawn @"writer"))
          (call $read_much) (report 2:i64) (gate))"""

    async def converse(stream: trio.SSLStream[trio.SocketStream]) -> None:
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, pattern(MIB))
            assert await receive_plain(stream, MIB) == pattern(MIB)
        await wait_for(lambda: sorted(lab.reports[-2:]) == [1, 2])

    with tcp_partner() as partner:
        if serves:
            pid = await lab.spawn(
                tls(f"""{body} {START} (drop (call $tls_listen))
                (report (i64.extend_i32_u (call $tls_port 0:i64)))
                (drop (call $tls_accept 0:i64)) (call $both))""")
            )
            await wait_for(lambda: lab.reports)
            await converse(await tls_dial(lab.reports[0]))
        else:
            pid = await lab.spawn(
                tls(f"{body} {START} (drop (call $tls_connect {port_of(partner)}:i32)) (call $both))")
            )
            await converse(await tls_meet(partner))
        lab.gate.set()
        assert (await lab.wait_exit(pid)).reason == "returned"


async def test_a_reader_that_waits_does_not_keep_a_clone_from_writing(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""{TAKE} {GIVE}
            (func (export "reader")
              (call $take)
              (is64 (call $read_tls 0:i64 8:i32) 4:i64)
              (report 1:i64))
            {START}
            (drop (call $tls_connect {port_of(partner)}:i32))
            (call $give (networking.clone_tls_stream 0:i64) (call $spawn @"reader"))
            (gate)
            (is64 (call $write_tls 0:i64 @"ping") 4:i64)
            (is32 (networking.tls_flush 0:i64 600:i32) 0:i32))""")
        )
        async with await tls_meet(partner) as stream:
            connection = await connection_of(lab, pid)
            await wait_for(connection.reading.locked)
            lab.gate.set()
            assert await receive_plain(stream, 4) == b"ping"
            await stream.send_all(b"pong")
            await wait_for(lambda: lab.reports == [1])
        assert (await lab.wait_exit(pid)).reason == "returned"


async def test_a_writer_that_dies_in_the_middle_leaves_the_stream_whole_for_a_clone(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""(memory (export "memory") 300) {FILL} {TAKE} {GIVE}
            (func (export "writer")
              (call $take)
              (call $fill {LARGE}:i32)
              (drop (call $write_much {LARGE}:i32)))
            {START} (local $child i64)
            (drop (call $tls_connect {port_of(partner)}:i32))
            (local.set $child (call $spawn @"writer"))
            (report (local.get $child))
            (call $give (networking.clone_tls_stream 0:i64) (local.get $child))
            (gate)
            (is64 (call $write_tls 0:i64 @"the end") 7:i64))""")
        )
        async with await tls_meet(partner) as stream:
            connection = await connection_of(lab, pid)
            await wait_for(lambda: connection.writing.locked() and connection._unsent)
            lab.runtime.kill(lab.reports[0])
            await wait_for(lambda: not connection.writing.locked())
            lab.gate.set()
            data = await receive_plain(stream, LARGE + 100)
            assert data[-7:] == b"the end"
            assert len(data) > 100_000
            assert data[:-7] == pattern(len(data) - 7)
        assert (await lab.wait_exit(pid)).reason == "returned"


async def test_when_one_of_two_readers_dies_the_other_gets_what_comes(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""{TAKE} {GIVE}
            (func (export "reader")
              (call $take)
              (is64 (call $read_tls 0:i64 8:i32) 4:i64)
              (report (i64.load32_u 0:i32)))
            (func $start (local $child i64)
              (local.set $child (call $spawn @"reader"))
              (report (local.get $child))
              (call $give (networking.clone_tls_stream 0:i64) (local.get $child)))
            {START}
            (drop (call $tls_connect {port_of(partner)}:i32))
            (call $start) (gate) (call $start))""")
        )
        records = await meet_records(partner)
        with records.sock:
            connection = await connection_of(lab, pid)
            await wait_for(connection.reading.locked)
            lab.gate.set()
            await wait_for(lambda: connection.reading.statistics().tasks_waiting == 1)
            await lab.wait_exit(pid)
            record = records.encrypt(b"abcd")
            await records.sock.send(record[:10])
            await trio.testing.wait_all_tasks_blocked(0.01)
            lab.runtime.kill(lab.reports[0])
            await wait_for(lambda: connection.reading.statistics().tasks_waiting == 0)
            await records.sock.send(record[10:])
            await wait_for(lambda: lab.reports[2:] == [0x64636261])


async def test_the_last_clone_that_is_dropped_closes_the_connection(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""{START}
            (drop (call $tls_connect {port_of(partner)}:i32))
            (is64 (networking.clone_tls_stream 0:i64) 1:i64)
            (is64 (networking.clone_tls_stream 1:i64) 2:i64)
            (networking.drop_tls_stream 0:i64) (networking.drop_tls_stream 2:i64)
            (is64 (call $write_tls 1:i64 @"open") 4:i64)
            (networking.drop_tls_stream 1:i64)
            (gate))""")
        )
        async with await tls_meet(partner) as stream:
            assert await receive_plain(stream, 5) == b"open"
        lab.gate.set()
        assert (await lab.wait_exit(pid)).reason == "returned"


# -- messages ---------------------------------------------------------------------------------


async def test_a_stream_moves_in_a_message_with_what_it_holds_and_its_timeouts(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""{TAKE} {GIVE}
            (func (export "child")
              (call $take)
              (is64 (networking.get_tls_read_timeout 0:i64) 5000:i64)
              (is64 (call $read_tls 0:i64 100:i32) 2:i64)
              (is32 (i32.load16_u 0:i32) 0x6463:i32)
              (is64 (call $write_tls 0:i64 0:i32 2:i32) 2:i64))
            {START}
            (drop (call $tls_connect {port_of(partner)}:i32))
            (networking.set_tls_read_timeout 0:i64 5000:i64)
            ;; the rest of this record is decrypted
            (is64 (call $read_tls 0:i64 2:i32) 2:i64)
            (call $give 0:i64 (call $spawn @"child")))""")
        )
        async with await tls_meet(partner) as stream:
            await stream.send_all(b"abcd")
            assert await receive_plain(stream, 5) == b"cd"
        assert (await lab.wait_exit(pid)).reason == "returned"


@pytest.mark.parametrize(
    "use",
    [
        "(networking.drop_tls_stream 0:i64)",
        "(drop (networking.clone_tls_stream 0:i64))",
        "(drop (call $read_tls 0:i64 1:i32))",
        "(drop (message.push_tls_stream 0:i64))",
    ],
)
async def test_a_stream_used_after_it_was_pushed_traps(lab: Lab, use: str) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""{START}
            (drop (call $tls_connect {port_of(partner)}:i32))
            (message.create_data 0:i64 0:i64)
            (drop (message.push_tls_stream 0:i64))
            {use})""")
        )
        async with await tls_meet(partner):
            assert "this process has no TLS stream of id 0" in (await lab.wait_exit(pid)).reason


FATES = {
    "its receiver is dead": "(drop (message.send 999:i64))",
    "its receiver ends without receiving": '(drop (message.send (call $spawn @"idle")))',
    "its receiver ends without taking": '(drop (message.send (call $spawn @"taker")))',
    "the scratch is replaced": "(message.create_data 0:i64 0:i64)",
}


@pytest.mark.parametrize("fate", FATES.values(), ids=FATES.keys())
async def test_a_stream_is_closed_when_its_message_is_lost(lab: Lab, fate: str) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""
            (func (export "idle") (process.sleep_ms 1:i64))
            (func (export "taker") (is32 (call $receive_any -1:i64) 0:i32))
            {START}
            (drop (call $tls_connect {port_of(partner)}:i32))
            (message.create_data 0:i64 0:i64)
            (drop (message.push_tls_stream 0:i64))
            {fate}
            (gate))""")
        )
        async with await tls_meet(partner) as stream:
            assert await receive_plain(stream, 1) == b""
        lab.gate.set()
        assert (await lab.wait_exit(pid)).reason == "returned"


async def test_taking_another_kind_traps_and_leaves_the_stream_in_the_message(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""
            (func (export "_lunatic_catch_trap") (param i32 i32) (result i32)
              (drop (message.take_tcp_stream 0:i64)) 1:i32)
            {START}
            (drop (call $tls_connect {port_of(partner)}:i32))
            (message.create_data 0:i64 0:i64)
            (drop (message.push_tls_stream 0:i64))
            (is32 (trap.catch 0:i32 0:i32) 0:i32)
            (is64 (message.take_tls_stream 0:i64) 1:i64))""")
        )
        async with await tls_meet(partner):
            assert (await lab.wait_exit(pid)).reason == "returned"


# -- closing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", ["drops", "returns", "is killed"])
async def test_what_was_written_arrives_whole_and_then_a_goodbye(lab: Lab, ends: str) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""(memory (export "memory") 300) {FILL}
            {START}
            (drop (call $tls_connect {port_of(partner)}:i32))
            (call $fill {LARGE}:i32)
            (networking.set_tls_write_timeout 0:i64 0:i64)
            (report (i64.extend_i32_u (call $write_much {LARGE}:i32)))
            {"(gate)" if ends != "drops" else "(networking.drop_tls_stream 0:i64) (gate)"})""")
        )
        async with await tls_meet(partner) as stream:
            await wait_for(lambda: lab.at_gate == 1)
            if ends == "is killed":
                lab.runtime.kill(pid)
            if ends != "drops":
                lab.gate.set()
                await lab.wait_exit(pid)
            [sent] = lab.reports
            assert await receive_plain(stream, sent + 1) == pattern(sent)
        lab.gate.set()
        await lab.wait_exit(pid)


async def test_a_peer_that_does_not_read_keeps_a_dropped_stream_for_a_bounded_time(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_connection, "LINGER_S", 0.05)
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""(memory (export "memory") 300) {FILL}
            {START}
            (drop (call $tls_connect {port_of(partner)}:i32))
            (networking.set_tls_write_timeout 0:i64 0:i64)
            (report (i64.extend_i32_u (call $write_much {LARGE}:i32)))
            (gate))""")
        )
        records = await meet_records(partner)
        with records.sock:
            connection = await connection_of(lab, pid)
            await wait_for(lambda: lab.at_gate == 1)
            lab.gate.set()
            await lab.wait_exit(pid)
            await wait_for(lambda: connection._socket.fileno() == -1)


async def test_a_runtime_that_stops_closes_what_its_guests_have(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""(memory (export "memory") 300) {FILL}
            {START}
            (drop (call $tls_listen))
            (drop (call $tls_connect {port_of(partner)}:i32))
            (networking.set_tls_write_timeout 0:i64 0:i64)
            (drop (call $write_much {LARGE}:i32))
            (message.create_data 0:i64 0:i64)
            (drop (message.push_tls_stream (networking.clone_tls_stream 0:i64)))
            (report (i64.extend_i32_u (call $tls_port 0:i64)))
            (drop (call $tls_accept 0:i64)))""")
        )
        records = await meet_records(partner)
        with records.sock:
            await wait_for(lambda: lab.reports)
            listener: Any = lab.runtime._resources.find(pid, ResourceKind.TLS_LISTENER, 0)
            silent = await trio.open_tcp_stream("127.0.0.1", lab.reports[0])
            await wait_for(lambda: listener._shaking)
        await silent.aclose()
    # The lab stops with the guest in its call, and looks for descriptors that are left.


async def test_what_a_client_said_last_is_not_lost_to_session_tickets_it_never_read(lab: Lab) -> None:
    """Closing with tickets unread would reset the connection."""
    for _ in range(20):
        with tcp_partner() as partner:
            pid = await lab.spawn(
                tls(f"""{START}
                (drop (call $tls_connect {port_of(partner)}:i32))
                (gate)
                (is64 (call $write_tls 0:i64 @"last words") 10:i64))""")
            )
            records = await meet_records(partner)
            with records.sock:
                await wait_for(lambda: lab.at_gate == 1)
                lab.gate.set()
                await lab.wait_exit(pid)
                assert await records.receive() == b"last words"
                assert await records.receive() == b""
                lab.gate = trio.Event()


async def test_a_process_killed_while_it_reads_leaves_nothing(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""{START}
            (drop (call $tls_connect {port_of(partner)}:i32))
            (drop (call $read_tls 0:i64 8:i32)))""")
        )
        async with await tls_meet(partner) as stream:
            connection = await connection_of(lab, pid)
            await wait_for(connection.reading.locked)
            lab.runtime.kill(pid)
            assert (await lab.wait_exit(pid)).kind is ExitKind.KILLED
            assert await receive_plain(stream, 1) == b""
