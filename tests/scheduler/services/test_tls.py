"""TLS from real guests: listening, connecting, whom they trust, reading, writing, and every code of them."""

from __future__ import annotations

from tests.scheduler.lab import Lab, wait_for

from .kit import START, port_of, tcp_partner
from .tls_kit import receive_plain, tls, tls_dial, tls_meet


async def test_two_guests_talk(lab: Lab) -> None:
    await lab.passes(
        tls(f"""
        (func (export "client") (local $stream i64)
          (is32 (call $receive_any -1:i64) 0:i32)
          (local.set $stream (call $tls_connect (i32.wrap_i64 (call $read))))
          (is64 (call $write_tls (local.get $stream) @"hello") 5:i64)
          (is64 (call $read_tls (local.get $stream) 100:i32) 3:i64)
          (is32 (i32.load16_u 0:i32) 0x6968:i32))
        {START} (local $listener i64) (local $stream i64)
          (local.set $listener (call $tls_listen))
          (call $send (call $spawn @"client") 0:i64
            (i64.extend_i32_u (call $tls_port (local.get $listener))))
          (local.set $stream (call $tls_accept (local.get $listener)))
          (is64 (call $read_tls (local.get $stream) 100:i32) 5:i64)
          (is32 (i32.load 0:i32) 0x6c6c6568:i32)
          (is64 (call $write_tls (local.get $stream) @"hi!") 3:i64)
          ;; the client has ended, and said so
          (is64 (call $read_tls (local.get $stream) 100:i32) 0:i64)
          (is64 (call $read_tls (local.get $stream) 100:i32) 0:i64))""")
    )


async def test_a_guest_serves(lab: Lab) -> None:
    pid = await lab.spawn(
        tls(f"""{START}
        (is64 (call $tls_listen) 0:i64)
        (report (i64.extend_i32_u (call $tls_port 0:i64)))
        (is32 (networking.tls_accept 0:i64 500:i32 508:i32) 0:i32)
        (is64 (i64.load 500:i32) 0:i64)
        (report (i64.extend_i32_u (call $port (i64.load 508:i32))))
        (is64 (call $read_tls 0:i64 100:i32) 4:i64)
        (is64 (call $write_tls 0:i64 0:i32 4:i32) 4:i64))""")
    )
    await wait_for(lambda: lab.reports)
    async with await tls_dial(lab.reports[0]) as stream:
        await stream.send_all(b"ping")
        assert await receive_plain(stream, 5) == b"ping"
        assert lab.reports[1] == stream.transport_stream.socket.getsockname()[1]
    assert (await lab.wait_exit(pid)).reason == "returned"


async def test_a_guest_connects(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""{START}
            (is64 (call $tls_connect {port_of(partner)}:i32) 0:i64)
            (is64 (call $write_tls 0:i64 @"ping") 4:i64)
            (is64 (call $read_tls 0:i64 100:i32) 4:i64)
            (is64 (call $read_tls 0:i64 100:i32) 0:i64))""")
        )
        async with await tls_meet(partner) as stream:
            assert await receive_plain(stream, 4) == b"ping"
            await stream.send_all(b"pong")
    assert (await lab.wait_exit(pid)).reason == "returned"
