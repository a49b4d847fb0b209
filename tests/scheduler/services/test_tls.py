"""TLS from real guests: listening, connecting, whom they trust, reading, writing, and every code of them."""

from __future__ import annotations

import errno
import socket
import ssl
import warnings
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NoReturn

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.scheduler.lab import PATIENCE_S, Lab, wait_for

from luna.scheduler import ExitKind
from luna.scheduler.resources import ResourceKind
from luna.scheduler.services import tls_listener
from luna.scheduler.services.pem import CERTIFICATE, MAX_PEM_BYTES, PRIVATE_KEY, to_pem
from luna.scheduler.services.tls import MAX_AUTHORITIES, MAX_LIST_BYTES
from luna.scheduler.services.tls_context import (
    MAX_RSA_BITS,
    check_server_name,
    public_context,
    server_context,
)
from luna.scheduler.services.tls_listener import MAX_HANDSHAKES

from .kit import (
    REFUSED,
    RESET,
    START,
    dial,
    os_error,
    output_of,
    port_of,
    receive_exactly,
    tcp_partner,
    unused_port,
)
from .tls_kit import (
    DAY,
    NAMES,
    Certified,
    RecordPartner,
    authority,
    client_side,
    issue,
    placed,
    receive_plain,
    server,
    server_side,
    tls,
    tls_dial,
    tls_meet,
)


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


# -- listening --------------------------------------------------------------------------------


TWICE = server().pem + authority().pem
OTHER_KEY = authority().key_pem
OLD_FORMAT = server().key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
BROKEN = server().pem.replace(b"MI", b"M!", 1)

IDENTITIES = {
    "no certificate": (b"", server().key_pem, "exactly one certificate in PEM, found 0"),
    "two certificates": (TWICE, server().key_pem, "exactly one certificate in PEM, found 2"),
    "a key for a certificate": (
        server().key_pem,
        server().key_pem,
        "exactly one certificate in PEM, found 0",
    ),
    "no key": (server().pem, b"\xff\xfe", "exactly one PKCS#8 private key in PEM, found 0"),
    "a key in another format": (server().pem, OLD_FORMAT, "exactly one PKCS#8 private key in PEM, found 0"),
    "two keys": (server().pem, server().key_pem * 2, "exactly one PKCS#8 private key in PEM, found 2"),
    "a certificate that is not base64": (BROKEN, server().key_pem, "a PEM section is not base64"),
    "a certificate cut off": (server().pem[:-10], server().key_pem, "a PEM section does not end"),
    "a certificate of nothing": (
        to_pem(CERTIFICATE, b"nothing"),
        server().key_pem,
        "a certificate cannot be read",
    ),
    "a key of nothing": (server().pem, to_pem(PRIVATE_KEY, b"nothing"), "cannot be used: PEM lib"),
    "the key of another": (server().pem, OTHER_KEY, "cannot be used: key values mismatch"),
}


@pytest.mark.parametrize(("certificate", "key", "text"), IDENTITIES.values(), ids=IDENTITIES.keys())
async def test_an_identity_that_is_not_one_certificate_with_its_key_traps(
    lab: Lab, certificate: bytes, key: bytes, text: str
) -> None:
    reason = await lab.traps(
        tls(f"""{START}
        (call $loopback)
        (drop (networking.tls_bind 4:i32 1000:i32 0:i32 0:i32 0:i32 500:i32
          {placed(certificate)} {placed(key)})))""")
    )
    assert "lunatic::networking::tls_bind: " in reason
    assert text in reason


async def test_an_overlong_pem_text_traps(lab: Lab) -> None:
    for sizes in (f"{MAX_PEM_BYTES + 1}:i32 0:i32 1:i32", f"1:i32 0:i32 {MAX_PEM_BYTES + 1}:i32"):
        reason = await lab.traps(
            tls(f"""(memory (export "memory") 2) {START}
            (call $loopback)
            (drop (networking.tls_bind 4:i32 1000:i32 0:i32 0:i32 0:i32 500:i32 0:i32 {sizes})))""")
        )
        assert f"a PEM text has at most {MAX_PEM_BYTES} bytes" in reason


async def test_pem_may_explain_itself_and_hold_other_sections(lab: Lab) -> None:
    explained = b"\r\n\xc3\xa4 server\r\n" + server().pem.replace(b"\n", b"\r\n") + b"the end"
    await lab.passes(
        tls(f"""{START}
        (call $loopback)
        (is32 (networking.tls_bind 4:i32 1000:i32 0:i32 0:i32 0:i32 500:i32
          {placed(explained + server().key_pem)} {placed(server().pem + server().key_pem)}) 0:i32)
        (is64 (i64.load 500:i32) 0:i64)
        (networking.drop_tls_listener 0:i64)
        (is64 (call $tls_listen) 1:i64))""")
    )


async def test_a_port_in_use_is_an_error_and_one_dropped_is_free_again(lab: Lab) -> None:
    output = await output_of(
        lab,
        tls(f"""
        (func $bind (param $port i32) (result i32)
          (networking.tls_bind 4:i32 1000:i32 (local.get $port) 0:i32 0:i32 500:i32 CERTIFICATE KEY))
        {START} (local $port i32)
        (drop (call $tls_listen))
        (local.set $port (call $tls_port 0:i64))
        (is32 (call $bind (local.get $port)) 1:i32) (call $show 500:i32)
        (networking.drop_tls_listener 0:i64)
        (is32 (call $bind (local.get $port)) 0:i32)
        (is64 (i64.load 500:i32) 1:i64)
        (is32 (call $tls_port 1:i64) (local.get $port)))"""),
    )
    assert output == os_error(errno.EADDRINUSE)


async def test_ipv6_and_addresses_as_names_of_servers(lab: Lab) -> None:
    await lab.passes(
        tls(f"""
        (func (export "client") (local $port i32)
          (is32 (call $receive_any -1:i64) 0:i32)
          (local.set $port (i32.wrap_i64 (call $read)))
          (call $trust AUTHORITY)
          (is32 (networking.tls_connect @"::1" (local.get $port) -1:i64 500:i32 1096:i32 1:i32) 0:i32)
          (is32 (networking.tls_connect @"127.0.0.1" (local.get $port) -1:i64 500:i32 1096:i32 1:i32) 0:i32)
          ;; only the low 16 bits of a port count
          (is32 (networking.tls_connect @"LocalHost" (i32.or (local.get $port) 0x70000:i32)
            -1:i64 500:i32 1096:i32 1:i32) 0:i32)
          (is64 (i64.load 500:i32) 2:i64))
        {START}
        (call $loopback)
        (is32 (networking.tls_bind 6:i32 1024:i32 0:i32 0:i32 0:i32 500:i32 CERTIFICATE KEY) 0:i32)
        (call $send (call $spawn @"client") 0:i64 (i64.extend_i32_u (call $tls_port 0:i64)))
        (is64 (call $tls_accept 0:i64) 0:i64)
        (is64 (call $tls_accept 0:i64) 1:i64)
        (is64 (call $tls_accept 0:i64) 2:i64))""")
    )


SERVE = f"""{START}
    (drop (call $tls_listen))
    (report (i64.extend_i32_u (call $tls_port 0:i64)))
    (loop $again
      (if (networking.tls_accept 0:i64 500:i32 508:i32)
        (then
          (is64 (i64.load 508:i32) 0:i64) (call $show 500:i32) (report 1:i64)
          (br $again))))
    (is64 (i64.load 500:i32) 0:i64)
    (is64 (call $write_tls 0:i64 @"hello") 5:i64))"""
"""Tells of every client that fails, and greets the first that does not."""


async def say_something_else(sock: trio.socket.SocketType) -> None:
    await sock.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await receive_exactly(sock, 1000)


async def break_off(sock: trio.socket.SocketType) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        client_side().wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    await sock.send(outgoing.read()[:100])
    sock.shutdown(socket.SHUT_WR)


async def say_nothing(sock: trio.socket.SocketType) -> None:
    sock.shutdown(socket.SHUT_WR)


async def reset(sock: trio.socket.SocketType) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


async def distrust(sock: trio.socket.SocketType) -> None:
    partner = RecordPartner(sock, client_side(issue("another authority")))
    with pytest.raises(ssl.SSLCertVerificationError):
        await partner.shake_hands()


async def be_old(sock: trio.socket.SocketType) -> None:
    context = client_side()
    with warnings.catch_warnings(action="ignore"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    stream = trio.SSLStream(trio.SocketStream(sock), context, server_hostname="localhost")
    with pytest.raises(trio.BrokenResourceError):
        await stream.do_handshake()


@pytest.mark.parametrize(
    ("behave", "text"),
    [
        (say_something_else, "http request"),
        (break_off, "the peer closed the connection"),
        (say_nothing, "the peer closed the connection"),
        (reset, os_error(errno.ECONNRESET)),
        (distrust, "tlsv1 alert unknown ca"),
        (be_old, "unsupported protocol"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_client_that_fails_is_an_error_and_the_next_is_served(
    lab: Lab, behave: Callable[[trio.socket.SocketType], Awaitable[None]], text: str
) -> None:
    pid = await lab.spawn(tls(SERVE))
    await wait_for(lambda: lab.reports)
    with await dial(lab.reports[0]) as sock:
        with trio.fail_after(PATIENCE_S):
            await behave(sock)
        await wait_for(lambda: len(lab.reports) == 2)
        async with await tls_dial(lab.reports[0]) as stream:
            assert await receive_plain(stream, 6) == b"hello"
    assert (await lab.output(pid)).decode() == f"TLS handshake failed: {text}"
    assert (await lab.wait_exit(pid)).reason == "returned"


async def test_silent_clients_hold_up_nobody(lab: Lab) -> None:
    pid = await lab.spawn(tls(SERVE))
    await wait_for(lambda: lab.reports)
    async with AsyncExitStack() as stack:
        for _ in range(MAX_HANDSHAKES - 1):
            stack.enter_context(await dial(lab.reports[0]))
        async with await tls_dial(lab.reports[0]) as stream:
            assert await receive_plain(stream, 6) == b"hello"
    assert (await lab.wait_exit(pid)).reason == "returned"


async def test_a_client_has_a_bounded_time(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_listener, "HANDSHAKE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(tls_listener, "MAX_HANDSHAKES", 2)
    pid = await lab.spawn(tls(SERVE))
    await wait_for(lambda: lab.reports)
    async with AsyncExitStack() as stack:
        # More than shake hands at a time: the others wait for their turn.
        silent = [stack.enter_context(await dial(lab.reports[0])) for _ in range(3)]
        await wait_for(lambda: len(lab.reports) == 4)
        for sock in silent:
            assert await receive_exactly(sock, 1) == b""
        monkeypatch.undo()
        lab.runtime.kill(pid)
    assert (await lab.output(pid)).decode() == "TLS handshake failed: not done in 0.05 s" * 3
    await lab.wait_exit(pid)


async def test_who_was_not_accepted_is_refused_when_the_listener_goes(lab: Lab) -> None:
    pid = await lab.spawn(
        tls(f"""{START}
        (drop (call $tls_listen))
        (report (i64.extend_i32_u (call $tls_port 0:i64)))
        (drop (call $tls_accept 0:i64))
        (gate)
        (networking.drop_tls_listener 0:i64)
        (gate) (gate))""")
    )
    await wait_for(lambda: lab.reports)
    with await dial(lab.reports[0]) as silent:
        await wait_for(lambda: lab.runtime.processes()[0].state == "waiting")
        listener: Any = lab.runtime._resources.find(pid, ResourceKind.TLS_LISTENER, 0)
        await wait_for(lambda: listener._shaking)
        async with await tls_dial(lab.reports[0]):
            await wait_for(lambda: lab.at_gate == 1)
            # Shaking hands goes on, but nobody is taken who came since.
            with await dial(lab.reports[0]) as late:
                assert len(listener._shaking) == 1
                lab.gate.set()
                assert await receive_exactly(silent, 1) == b""
                try:
                    assert await receive_exactly(late, 1) == b""
                except ConnectionResetError:
                    pass
    with pytest.raises(ConnectionRefusedError):
        await dial(lab.reports[0])
    await lab.wait_exit(pid)


async def test_who_shook_hands_and_was_not_accepted_is_told_goodbye(lab: Lab) -> None:
    pid = await lab.spawn(
        tls(f"""{START}
        (drop (call $tls_listen))
        (report (i64.extend_i32_u (call $tls_port 0:i64)))
        (drop (call $tls_accept 0:i64))
        (gate))""")
    )
    await wait_for(lambda: lab.reports)
    partner = RecordPartner(await dial(lab.reports[0]), client_side())
    with partner.sock:
        listener: Any = lab.runtime._resources.find(pid, ResourceKind.TLS_LISTENER, 0)
        await wait_for(lambda: listener._shaking)
        async with await tls_dial(lab.reports[0]):
            await wait_for(lambda: lab.at_gate == 1)
            await partner.shake_hands()
            await wait_for(lambda: listener._finished)
            lab.runtime.kill(pid)
            assert await partner.receive() == b""
    await lab.wait_exit(pid)


# -- connecting -------------------------------------------------------------------------------


async def test_a_refused_connection_is_an_error(lab: Lab) -> None:
    output = await output_of(
        lab,
        tls(f"{START} (is32 (call $tls_try {unused_port()}:i32 -1:i64) 1:i32) (call $show 1032:i32))"),
    )
    assert output == REFUSED


async def test_a_host_that_nobody_knows_is_an_error(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    output = await output_of(
        lab, tls(f"{START} (is32 (call $tls_try 1:i32 -1:i64) 1:i32) (call $show 1032:i32))")
    )
    assert output == "failed to lookup address information: Name or service not known: 'localhost'"


BAD_NAMES = [
    "",
    ".",
    "a..b",
    "-a",
    "a-",
    "a b",
    "localhost:443",
    "[::1]",
    "fe80::1%1",
    "1.2.3",
    "b\u00fccher.de",
]
BAD_NAMES += ["a" * 64, "a." * 128, "*.example.com", "a\0b"]


@pytest.mark.parametrize("name", BAD_NAMES)
async def test_what_is_no_name_of_a_server_traps_before_anything_is_looked_up(lab: Lab, name: str) -> None:
    reason = await lab.traps(
        tls(f"""{START}
        (drop (networking.tls_connect {placed(name.encode())} 1:i32 -1:i64 500:i32 0:i32 0:i32)))""")
    )
    assert "is no name of a server: neither a DNS name nor an IP address" in reason


@pytest.mark.parametrize("name", ["a", "a.b.", "a-b.c_d", "_srv.example.com", "1a.2b", "::1", "1.2.3.4"])
def test_what_is_a_name_of_a_server(name: str) -> None:
    assert check_server_name(name) == name.rstrip(".")


async def test_a_host_that_is_not_utf8_or_too_long_traps(lab: Lab) -> None:
    for host, text in (
        (placed(b"\xff"), "not UTF-8"),
        ("0:i32 2000:i32", "a host name has at most 1024 bytes"),
    ):
        reason = await lab.traps(
            tls(f"{START} (drop (networking.tls_connect {host} 1:i32 -1:i64 500:i32 0:i32 0:i32)))")
        )
        assert text in reason


async def refuse_to_encrypt(sock: trio.socket.SocketType) -> None:
    await sock.send(b"220 localhost ready\r\n")
    await receive_exactly(sock, 5000)


@pytest.mark.parametrize(
    ("behave", "text"),
    [
        (refuse_to_encrypt, "wrong version number"),
        (say_nothing, "the peer closed the connection"),
        (reset, os_error(errno.ECONNRESET)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_server_that_fails_is_an_error(
    lab: Lab, behave: Callable[[trio.socket.SocketType], Awaitable[None]], text: str
) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"{START} (is32 (call $tls_try {port_of(partner)}:i32 -1:i64) 1:i32) (call $show 1032:i32))")
        )
        sock, _ = await partner.accept()
        with sock:
            if behave is reset:
                await receive_exactly(sock, 100)
            await behave(sock)
            assert (await lab.output(pid)).decode() == f"TLS handshake failed: {text}"
        await lab.wait_exit(pid)


IMPOSTORS = {
    "of another authority": (
        lambda: issue("x", NAMES, by=issue("y", is_authority=True)),
        "unable to get local issuer certificate",
    ),
    "by itself": (lambda: issue("x", NAMES), "self-signed certificate"),
    "of another host": (
        lambda: issue("localhost", ["example.com"], by=authority()),
        "Hostname mismatch, certificate is not valid for 'localhost'",
    ),
    "whose common name is all": (
        lambda: issue("localhost", by=authority()),
        "Hostname mismatch, certificate is not valid for 'localhost'",
    ),
    "expired": (
        lambda: issue("x", NAMES, by=authority(), begins=-2 * DAY, ends=-DAY),
        "certificate has expired",
    ),
    "not yet valid": (
        lambda: issue("x", NAMES, by=authority(), begins=DAY, ends=2 * DAY),
        "certificate is not yet valid",
    ),
    "of one who is no authority": (
        lambda: issue("x", NAMES, by=issue("y", by=authority())),
        "unable to get local issuer certificate",
    ),
}


@pytest.mark.parametrize(("identity", "text"), IMPOSTORS.values(), ids=IMPOSTORS.keys())
async def test_a_server_that_cannot_be_trusted_is_an_error(
    lab: Lab, identity: Callable[[], Certified], text: str
) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""{START}
            (is32 (call $tls_try {port_of(partner)}:i32 -1:i64) 1:i32) (call $show 1032:i32)
            ;; no id was used for it
            (is64 (call $tls_connect {port_of(partner)}:i32) 0:i64))""")
        )
        with pytest.raises(trio.BrokenResourceError):
            await tls_meet(partner, server_side(identity()))
        async with await tls_meet(partner):
            assert (
                await lab.output(pid)
            ).decode() == f"TLS handshake failed: certificate verify failed: {text}"
            assert (await lab.wait_exit(pid)).reason == "returned"


async def test_an_address_must_be_in_the_certificate(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""{START}
            (call $trust AUTHORITY)
            (is32 (networking.tls_connect @"127.0.0.1" {port_of(partner)}:i32 -1:i64 500:i32
              1096:i32 1:i32) 1:i32)
            (call $show 500:i32))""")
        )
        with pytest.raises(trio.BrokenResourceError):
            await tls_meet(partner, server_side(issue("x", ["localhost"], by=authority())))
        assert "IP address mismatch" in (await lab.output(pid)).decode()
        await lab.wait_exit(pid)


async def test_a_connection_that_takes_too_long_times_out_and_leaves_the_slot(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""{START}
            (i64.store 1032:i32 -1:i64)
            (is32 (call $tls_try {port_of(partner)}:i32 50:i64) 9027:i32)
            (is32 (call $tls_try {port_of(partner)}:i32 0:i64) 9027:i32)
            (is64 (i64.load 1032:i32) -1:i64)
            (is64 (call $tls_connect {port_of(partner)}:i32) 0:i64))""")
        )
        # Connected, but it never shakes hands.
        with (await partner.accept())[0] as sock:
            while await receive_exactly(sock, 1000):
                pass
        while True:
            try:
                stream = await tls_meet(partner)
                break
            except trio.BrokenResourceError:
                pass  # the second, if it came so far
        async with stream:
            assert (await lab.wait_exit(pid)).reason == "returned"


async def test_a_process_killed_while_it_shakes_hands_leaves_nothing(lab: Lab) -> None:
    with tcp_partner() as partner:
        pid = await lab.spawn(tls(f"{START} (drop (call $tls_connect {port_of(partner)}:i32)))"))
        with (await partner.accept())[0] as sock:
            assert await receive_exactly(sock, 1)
            lab.runtime.kill(pid)
            assert (await lab.wait_exit(pid)).kind is ExitKind.KILLED
            while await receive_exactly(sock, 1000):
                pass
    # The lab looks for descriptors that are left.


async def test_tls_1_2_will_do(lab: Lab) -> None:
    context = server_side()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""{START}
            (drop (call $tls_connect {port_of(partner)}:i32))
            (is64 (call $write_tls 0:i64 @"ping") 4:i64)
            (is64 (call $read_tls 0:i64 100:i32) 4:i64)
            (is64 (call $read_tls 0:i64 100:i32) 0:i64))""")
        )
        async with await tls_meet(partner, context) as stream:
            assert await receive_plain(stream, 4) == b"ping"
            await stream.send_all(b"pong")
    assert (await lab.wait_exit(pid)).reason == "returned"


# -- whom guests trust ------------------------------------------------------------------------


async def test_authorities_are_read_in_either_order(lab: Lab) -> None:
    """lunatic-rs makes (length, pointer), though Lunatic reads (pointer, length)."""
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""
            (func $swapped (param $at i32) (param $size i32)
              (i32.store 1096:i32 (local.get $size)) (i32.store 1100:i32 (local.get $at)))
            (func $low (param $at i32) (param $size i32)  ;; below its own length, so that the two look alike
              (memory.copy 100:i32 (local.get $at) (local.get $size))
              (i32.store 1096:i32 100:i32) (i32.store 1100:i32 (local.get $size)))
            (func $connects
              (is32 (networking.tls_connect @"localhost" {port_of(partner)}:i32 -1:i64 1032:i32
                1096:i32 1:i32) 0:i32))
            {START}
            (call $trust AUTHORITY) (call $connects)
            (call $swapped AUTHORITY) (call $connects)
            (call $low AUTHORITY) (call $connects)
            ;; a list of two, whose second is meant
            (call $trust {placed(issue("another").pem)})
            (i64.store 1104:i32 (i64.load 1096:i32))
            (call $swapped AUTHORITY)
            (is32 (networking.tls_connect @"localhost" {port_of(partner)}:i32 -1:i64 1032:i32
              1096:i32 2:i32) 0:i32))""")
        )
        for _ in range(4):
            async with await tls_meet(partner):
                pass
        assert (await lab.wait_exit(pid)).reason == "returned"


async def test_a_swapped_pair_never_takes_other_certificates_on_its_way(lab: Lab) -> None:
    """Read the wrong way round, an entry begins earlier: at other certificates, if there are any."""
    meant = issue("another").pem
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""
            {START}
            ;; two certificates in a row; the first at 2000 is meant by nobody
            (memory.copy 2000:i32 AUTHORITY)
            (memory.copy 3000:i32 {placed(meant)})
            (i32.store 1096:i32 {len(meant)}:i32) (i32.store 1100:i32 3000:i32)
            (is32 (networking.tls_connect @"localhost" {port_of(partner)}:i32 -1:i64 1032:i32
              1096:i32 1:i32) 1:i32)
            (call $show 1032:i32))""")
        )
        with pytest.raises(trio.BrokenResourceError):
            await tls_meet(partner)
        assert "unable to get local issuer certificate" in (await lab.output(pid)).decode()
        await lab.wait_exit(pid)


async def test_any_certificate_can_be_trusted_and_not_only_a_root(lab: Lab) -> None:
    itself = issue("localhost", NAMES)
    between = issue("between", by=authority(), is_authority=True)
    below = issue("localhost", NAMES, by=between)
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""
            (func $connects
              (is32 (networking.tls_connect @"localhost" {port_of(partner)}:i32 -1:i64 1032:i32
                1096:i32 1:i32) 0:i32))
            {START}
            (call $trust {placed(itself.pem)}) (call $connects)
            (call $trust {placed(between.pem)}) (call $connects))""")
        )
        for identity in (itself, below):
            async with await tls_meet(partner, server_side(identity)):
                pass
        assert (await lab.wait_exit(pid)).reason == "returned"


NOT_AUTHORITIES = {
    "garbage": (placed(b"-----BEGIN"), "is not one certificate in PEM"),
    "nothing": ("0:i32 0:i32", "is not one certificate in PEM"),
    "two certificates": (placed(TWICE), "is not one certificate in PEM"),
    "a key": (placed(OTHER_KEY), "is not one certificate in PEM"),
    "broken base64": (placed(BROKEN), "is not one certificate in PEM"),
    "no certificate within": (placed(to_pem(CERTIFICATE, b"x")), "a certificate cannot be read"),
    "out of bounds": ("65530:i32 7:i32", "lies outside the guest's memory"),
    "far out of bounds": ("-1:i32 -1:i32", "is not one certificate in PEM"),
}


@pytest.mark.parametrize(("entry", "text"), NOT_AUTHORITIES.values(), ids=NOT_AUTHORITIES.keys())
async def test_a_list_of_authorities_that_cannot_be_used_is_an_error_and_nobody_is_trusted(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, entry: str, text: str
) -> None:
    # Even if the public authorities would do.
    (tmp_path / "public.pem").write_bytes(authority().pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "public.pem"))
    with tcp_partner() as partner:
        output = await output_of(
            lab,
            tls(f"""{START}
            (call $trust AUTHORITY)
            (i64.store 1104:i32 (i64.load 1096:i32))
            (call $trust {entry})
            (i64.store 1112:i32 (i64.load 1096:i32))
            (is32 (networking.tls_connect @"localhost" {port_of(partner)}:i32 -1:i64 1032:i32
              1104:i32 2:i32) 1:i32)
            (call $show 1032:i32))"""),
        )
    assert text in output
    assert "authorit" in output


async def test_a_list_of_authorities_is_bounded(lab: Lab) -> None:
    output = await output_of(
        lab,
        tls(f"""{START}
        (is32 (networking.tls_connect @"localhost" 1:i32 -1:i64 500:i32
          0:i32 {MAX_AUTHORITIES + 1}:i32) 1:i32)
        (call $show 500:i32))"""),
    )
    assert output == f"a list of authorities has at most {MAX_AUTHORITIES} entries, not {MAX_AUTHORITIES + 1}"


async def test_the_texts_of_a_list_of_authorities_are_bounded_together(lab: Lab) -> None:
    count = MAX_LIST_BYTES // MAX_PEM_BYTES + 1
    output = await output_of(
        lab,
        tls(f"""(memory (export "memory") 2) {START} (local $at i32)
        (local.set $at 8192:i32)
        (loop $again
          (i32.store (local.get $at) {MAX_PEM_BYTES + 1}:i32)
          (i32.store offset=4 (local.get $at) {MAX_PEM_BYTES - 1}:i32)
          (local.set $at (i32.add (local.get $at) 8:i32))
          (br_if $again (i32.lt_u (local.get $at) {8192 + 8 * count}:i32)))
        (is32 (networking.tls_connect @"localhost" 1:i32 -1:i64 500:i32 8192:i32 {count - 1}:i32) 1:i32)
        (call $show 500:i32)
        (is32 (networking.tls_connect @"localhost" 1:i32 -1:i64 500:i32 8192:i32 {count}:i32) 1:i32)
        (call $show 500:i32))"""),
    )
    not_one = f"number 0 is not one certificate in PEM, of at most {MAX_PEM_BYTES} bytes"
    too_many = f"a list of authorities has at most {MAX_LIST_BYTES} bytes of PEM"
    assert output == f"the list of authorities cannot be used: {not_one}{too_many}"


@pytest.mark.parametrize("known", [True, False])
async def test_without_a_list_those_are_trusted_that_the_system_trusts(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, known: bool
) -> None:
    (tmp_path / "public.pem").write_bytes(authority().pem if known else issue("another").pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "public.pem"))
    with tcp_partner() as partner:
        pid = await lab.spawn(
            tls(f"""{START}
            ;; the pointer to no list is not looked at
            (is32 (networking.tls_connect @"localhost" {port_of(partner)}:i32 -1:i64 500:i32 -1:i32 0:i32)
              {int(not known)}:i32))""")
        )
        if known:
            async with await tls_meet(partner):
                pass
        else:
            with pytest.raises(trio.BrokenResourceError):
                await tls_meet(partner)
        assert (await lab.wait_exit(pid)).reason == "returned"


def test_a_system_without_authorities_has_those_of_grpc(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert public_context().cert_store_stats()["x509_ca"] > 50


def test_a_huge_rsa_key_is_refused() -> None:
    # Nobody needs its private half to say so.
    numbers = rsa.RSAPublicNumbers(65537, (1 << 8191) | 1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(authority().certificate.subject)
        .public_key(numbers.public_key())
        .serial_number(1)
        .not_valid_before(authority().certificate.not_valid_before_utc)
        .not_valid_after(authority().certificate.not_valid_after_utc)
        .sign(authority().key, hashes.SHA256())
    )
    with pytest.raises(ValueError, match=f"at most {MAX_RSA_BITS} bits, not 8192"):
        server_context(certificate.public_bytes(Encoding.PEM), server().key_pem)
