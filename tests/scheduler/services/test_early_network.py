"""The network by calls of early Lunatic, whose time-outs come with each call, and of as-lunatic 0.12."""

from __future__ import annotations

import pytest
import trio
from tests.scheduler.lab import Lab, wait_for

from luna.scheduler.waiting import TIMED_OUT

from .kit import REFUSED, START, net, output_of, port_of, tcp_partner, unused_port
from .test_tcp import crowded_listener

OUTSIDE = "outside the guest's memory"

EARLY = """
    (func $early_connect (param $port i32) (result i64)
      (call $loopback)
      (if (networking.tcp_connect@0.6 4:i32 1000:i32 (local.get $port) 0:i32 0:i32 0:i32 1032:i32)
        (then (unreachable)))
      (i64.load 1032:i32))
    ;; A stream, and what comes from it.
    (func $read_within (param $stream i64) (param $timeout i32) (result i32)
      (networking.tcp_read@0.6 (local.get $stream) 0:i32 100:i32 (local.get $timeout) 1032:i32))
    (func $write_within (param $stream i64) (param $size i32) (param $timeout i32) (result i32)
      (i32.store 1088:i32 0:i32) (i32.store 1092:i32 (local.get $size))
      (networking.tcp_write_vectored@0.6 (local.get $stream) 1088:i32 1:i32 (local.get $timeout) 1032:i32))
"""


def early(body: str) -> str:
    """Of a guest that does not use what today's have under the same names."""
    return net(EARLY + body)


async def test_a_name_is_resolved(lab: Lab) -> None:
    await lab.passes(
        early(f"""{START}
        (is32 (networking.resolve@0.6 @"127.0.0.1:1337" 0:i32 0:i32) 0:i32)
        (is32 (call $port (i64.load 0:i32)) 1337:i32)
        (is32 (networking.resolve@0.6 @"localhost:80" 0:i32 0:i32) 0:i32)
        (is32 (call $port (i64.load 0:i32)) 80:i32))""")
    )


async def test_what_cannot_be_resolved_is_code_1(lab: Lab) -> None:
    text = await output_of(
        lab,
        early(f'{START} (is32 (networking.resolve@0.6 @"nothing" 9:i32 0:i32) 1:i32) (call $show 0:i32))'),
    )
    assert "not of the form host:port" in text


async def test_a_look_up_that_takes_too_long_is_an_error(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr("luna.scheduler.services.dns.Resolver.look_up", never)
    text = await output_of(
        lab,
        early(f"""{START}
        (is32 (networking.resolve@0.6 @"host:80" 1:i32 0:i32) 1:i32) (call $show 0:i32))"""),
    )
    assert text == "Resolve call timed out"


async def test_two_guests_talk(lab: Lab) -> None:
    # The listener's port is told by a call of 0.7.5.
    await lab.passes(
        early(f"""
        (func (export "client") (local $stream i64)
          (local.set $stream (call $early_connect (i32.wrap_i64 (call $early_receive))))
          (i64.store 0:i32 0x6f6c6c6568:i64)
          (is32 (call $write_within (local.get $stream) 5:i32 0:i32) 0:i32)
          (is64 (i64.load 1032:i32) 5:i64)
          (is32 (call $read_within (local.get $stream) 0:i32) 0:i32)
          (report (i64.load 1032:i32)))
        {START} (local $stream i64) (local $listener i64) (local $client i64)
          (local.set $listener (call $listen))
          (is32 (networking.local_addr@0.7 (local.get $listener) 1032:i32) 0:i32)
          (local.set $client (call $early_spawn 1:i64 @"client"))
          (call $early_send (local.get $client) 0:i64
            (i64.extend_i32_u (call $port (i64.load 1032:i32))))
          (local.set $stream (call $accept (local.get $listener)))
          (is32 (call $read_within (local.get $stream) 60000:i32) 0:i32)
          (is64 (i64.load 1032:i32) 5:i64) (is32 (i32.load 1:i32) 0x6f6c6c65:i32)
          (networking.drop_tcp_stream (local.get $stream))
          (call $early_await_end (local.get $client)))""")
    )
    assert lab.reports == [0]


async def test_a_connection_that_is_refused_is_code_1(lab: Lab) -> None:
    source = f"""{START}
        (call $loopback)
        (is32 (networking.tcp_connect@0.6 4:i32 1000:i32 {unused_port()}:i32 0:i32 0:i32 0:i32 0:i32) 1:i32)
        (call $show 0:i32))"""
    assert await output_of(lab, early(source)) == REFUSED


async def test_a_connection_that_takes_too_long_is_an_error(lab: Lab) -> None:
    async with crowded_listener() as port:
        source = f"""{START}
            (call $loopback)
            (is32 (networking.tcp_connect@0.6 4:i32 1000:i32 {port}:i32 0:i32 0:i32 20:i32 0:i32) 1:i32)
            (call $show 0:i32))"""
        assert await output_of(lab, early(source)) == "Connect call timed out"


async def test_reads_and_writes_that_take_too_long_are_errors(lab: Lab) -> None:
    with tcp_partner() as partner:
        source = f"""(memory (export "memory") 20)
        {START} (local $stream i64) (local $code i32)
          (local.set $stream (call $early_connect {port_of(partner)}:i32))
          (is32 (call $read_within (local.get $stream) 1:i32) 1:i32)
          (call $show 1032:i32)
          (loop $again
            (local.set $code (call $write_within (local.get $stream) 1000000:i32 20:i32))
            (br_if $again (i32.eqz (local.get $code))))
          (is32 (local.get $code) 1:i32)
          (call $show 1032:i32))"""
        assert await output_of(lab, early(source)) == "Read call timed outWrite call timed out"


async def test_the_time_out_of_a_call_is_no_other_calls(lab: Lab) -> None:
    # Today's setting counts for today's calls only; 0 waits for ever whatever it is.
    with tcp_partner() as partner:
        pid = await lab.spawn(
            early(f"""{START} (local $stream i64)
              (local.set $stream (call $early_connect {port_of(partner)}:i32))
              (networking.set_read_timeout (local.get $stream) 1:i64)
              (report 1:i64)
              (report (i64.extend_i32_s (call $read_within (local.get $stream) 0:i32))))""")
        )
        accepted, _ = await partner.accept()
        with accepted:
            await wait_for(lambda: lab.reports == [1])
            await trio.sleep(0.05)
            assert lab.reports == [1]
            await accepted.send(b"x")
            await wait_for(lambda: lab.reports == [1, 0])
        await lab.wait_exit(pid)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("resolve@0.6 65535:i32 2:i32 0:i32 0:i32", OUTSIDE),
        ('resolve@0.6 @"\\ff" 0:i32 0:i32', "not UTF-8"),
        ('resolve@0.6 @"1.2.3.4:5" 0:i32 65529:i32', OUTSIDE),
        ("tcp_connect@0.6 5:i32 0:i32 1:i32 0:i32 0:i32 0:i32 0:i32", "4 or 6"),
        ("tcp_connect@0.6 4:i32 65535:i32 1:i32 0:i32 0:i32 0:i32 0:i32", OUTSIDE),
        ("tcp_connect@0.6 4:i32 0:i32 1:i32 0:i32 0:i32 0:i32 65529:i32", OUTSIDE),
        ("tcp_read@0.6 0:i64 0:i32 1:i32 0:i32 0:i32", "no TCP stream of id 0"),
        ("tcp_write_vectored@0.6 0:i64 0:i32 1:i32 0:i32 0:i32", "no TCP stream of id 0"),
        ("local_addr@0.7 0:i64 0:i32", "no TCP listener of id 0"),
        ("set_peek_timeout@0.12 0:i64 0:i64", "no TCP stream of id 0"),
        ("get_peek_timeout@0.12 0:i64", "no TCP stream of id 0"),
        ("get_read_timeout@0.12 0:i64", "no TCP stream of id 0"),
    ],
)
async def test_bad_arguments_trap(lab: Lab, call: str, text: str) -> None:
    assert text in await lab.traps(f"{START} (drop (networking.{call})))")


@pytest.mark.parametrize(
    "call", ["$read_within (local.get $s) 0:i32", "$write_within (local.get $s) 70000:i32 0:i32"]
)
async def test_bad_buffers_trap(lab: Lab, call: str) -> None:
    with tcp_partner() as partner:
        source = f"""{START} (local $s i64)
            (local.set $s (call $early_connect {port_of(partner)}:i32)) (drop (call {call})))"""
        assert OUTSIDE in await lab.traps(early(source).replace("0:i32 100:i32", "65500:i32 100:i32"))


async def test_time_outs_of_as_lunatic(lab: Lab) -> None:
    with tcp_partner() as partner:
        await lab.passes(
            net(f"""{START} (local $stream i64)
              (local.set $stream (call $connect {port_of(partner)}:i32))
              (is32 (networking.get_read_timeout@0.12 (local.get $stream)) -1:i32)
              (is32 (networking.get_peek_timeout@0.12 (local.get $stream)) -1:i32)
              (is32 (networking.set_peek_timeout@0.12 (local.get $stream) 7:i64) 0:i32)
              (networking.set_read_timeout (local.get $stream) 3:i64)
              (is32 (networking.get_peek_timeout@0.12 (local.get $stream)) 7:i32)
              (is32 (networking.get_read_timeout@0.12 (local.get $stream)) 3:i32)
              (is32 (networking.tcp_read (local.get $stream) 0:i32 1:i32 8:i32) {TIMED_OUT}:i32))""")
        )
