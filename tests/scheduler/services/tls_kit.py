"""TLS for tests: certificates made on the spot, WAT that encrypts, and partners on loopback."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import tempfile
from collections.abc import Sequence
from functools import cache
from typing import Final

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.scheduler.lab import PATIENCE_S

from .kit import dial, net

DAY: Final = datetime.timedelta(days=1)
NAMES: Final = ("localhost", "127.0.0.1", "::1")

TLS: Final = """
    ;; A listener on 127.0.0.1, of any port.
    (func $tls_listen (result i64)
      (call $loopback)
      (if (networking.tls_bind 4:i32 1000:i32 0:i32 0:i32 0:i32 1032:i32 CERTIFICATE KEY)
        (then (unreachable)))
      (i64.load 1032:i32))
    (func $tls_port (param $listener i64) (result i32)
      (if (networking.tls_local_addr (local.get $listener) 1032:i32) (then (unreachable)))
      (call $port (i64.load 1032:i32)))
    (func $tls_accept (param $listener i64) (result i64)
      (if (networking.tls_accept (local.get $listener) 1032:i32 1080:i32) (then (unreachable)))
      (networking.drop_dns_iterator (i64.load 1080:i32))
      (i64.load 1032:i32))
    ;; The code of connecting to localhost, id at 1032, trusting the tests' authority.
    (func $tls_try (param $port i32) (param $timeout i64) (result i32)
      (call $trust AUTHORITY)
      (networking.tls_connect @"localhost" (local.get $port) (local.get $timeout) 1032:i32 1096:i32 1:i32))
    ;; The entry of a list of authorities, at 1096.
    (func $trust (param $at i32) (param $size i32)
      (i32.store 1096:i32 (local.get $at)) (i32.store 1100:i32 (local.get $size)))
    (func $tls_connect (param $port i32) (result i64)
      (if (call $tls_try (local.get $port) -1:i64) (then (unreachable)))
      (i64.load 1032:i32))
    ;; One read into 0 with room for $size; how much came.
    (func $read_tls (param $stream i64) (param $size i32) (result i64)
      (if (networking.tls_read (local.get $stream) 0:i32 (local.get $size) 1032:i32) (then (unreachable)))
      (i64.load 1032:i32))
    ;; One write of one buffer; how much went.
    (func $write_tls (param $stream i64) (param $at i32) (param $size i32) (result i64)
      (i32.store 1088:i32 (local.get $at)) (i32.store 1092:i32 (local.get $size))
      (if (networking.tls_write_vectored (local.get $stream) 1088:i32 1:i32 1032:i32) (then (unreachable)))
      (i64.load 1032:i32))
"""


class Certified:
    """A certificate and its key, both also as PEM."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate
        self.key = key
        self.pem = certificate.public_bytes(Encoding.PEM)
        self.key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def issue(
    name: str,
    names: Sequence[str] = (),
    *,
    by: Certified | None = None,
    is_authority: bool = False,
    begins: datetime.timedelta = -DAY,
    ends: datetime.timedelta = DAY,
) -> Certified:
    """A certificate, by itself or by another, for these DNS names and addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([general_name(name) for name in names]), False
        )
    return Certified(builder.sign(by.key if by else key, hashes.SHA256()), key)


def general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@cache
def authority() -> Certified:
    """Whom the guests of these tests trust."""
    return issue("authority of the tests", is_authority=True)


@cache
def server() -> Certified:
    """Who the servers of these tests are."""
    return issue("server", NAMES, by=authority())


def placed(data: bytes) -> str:
    """Pointer and length of bytes in the guest's memory, in the shorthand of the tests' WAT."""
    return '@"' + "".join(f"\\{byte:02x}" for byte in data) + '"'


def tls(body: str) -> str:
    """The body of a guest with those functions of NET and TLS that it uses.

    CERTIFICATE, KEY and AUTHORITY are PEM texts: of the tests' server and of whom to trust.
    """
    text = net(body, TLS)
    for word, pem in (
        ("CERTIFICATE", server().pem),
        ("KEY", server().key_pem),
        ("AUTHORITY", authority().pem),
    ):
        text = text.replace(word, placed(pem))
    return text


def server_side(identity: Certified | None = None) -> ssl.SSLContext:
    """For partners that guests connect to."""
    identity = identity or server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(identity.pem + identity.key_pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def client_side(trusted: Certified | None = None) -> ssl.SSLContext:
    """For partners that connect to guests."""
    return ssl.create_default_context(cadata=(trusted or authority()).pem.decode())


async def tls_dial(
    port: int, context: ssl.SSLContext | None = None, name: str = "localhost"
) -> trio.SSLStream[trio.SocketStream]:
    """Connect to a guest and shake hands; the test closes it."""
    sock = await dial(port)
    stream = trio.SSLStream(trio.SocketStream(sock), context or client_side(), server_hostname=name)
    try:
        with trio.fail_after(PATIENCE_S):
            await stream.do_handshake()
    except BaseException:
        sock.close()
        raise
    return stream


async def tls_meet(
    partner: trio.socket.SocketType, context: ssl.SSLContext | None = None
) -> trio.SSLStream[trio.SocketStream]:
    """Accept a guest's connection and shake hands; the test closes it."""
    with trio.fail_after(PATIENCE_S):
        sock, _ = await partner.accept()
        stream = trio.SSLStream(trio.SocketStream(sock), context or server_side(), server_side=True)
        try:
            await stream.do_handshake()
        except BaseException:
            sock.close()
            raise
    return stream


async def receive_plain(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    """So many decrypted bytes, or fewer at the end."""
    data = bytearray()
    with trio.fail_after(PATIENCE_S):
        while len(data) < size and (part := await stream.receive_some(size - len(data))):
            data += part
    return bytes(data)


class RecordPartner:
    """A partner whose records the test sends itself, in pieces or not at all; a server by default."""

    def __init__(self, sock: trio.socket.SocketType, context: ssl.SSLContext | None = None) -> None:
        self.sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = (context or server_side()).wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=context is None,
            server_hostname=None if context is None else "localhost",
        )

    async def shake_hands(self) -> None:
        """Ends with all said that is to be said until then: tickets, or why it failed."""
        with trio.fail_after(PATIENCE_S):
            while True:
                try:
                    self._object.do_handshake()
                except ssl.SSLWantReadError:
                    await self._send(self._outgoing.read())
                    self._incoming.write(await self.sock.recv(65536))
                else:
                    return
                finally:
                    await self._send(self._outgoing.read())

    async def _send(self, data: bytes) -> None:
        await trio.SocketStream(self.sock).send_all(data)

    def encrypt(self, data: bytes) -> bytes:
        """The record of data."""
        self._object.write(data)
        return self._outgoing.read()

    def goodbye(self) -> bytes:
        """The record close_notify."""
        with pytest.raises(ssl.SSLWantReadError):
            self._object.unwrap()
        return self._outgoing.read()

    async def receive(self) -> bytes:
        """What the guest says, up to one record; none at its close_notify."""
        with trio.fail_after(PATIENCE_S):
            while True:
                try:
                    return self._object.read(65536)
                except ssl.SSLZeroReturnError:
                    return b""
                except ssl.SSLWantReadError:
                    self._incoming.write(await self.sock.recv(65536))
