"""Certificates that guests have made: their layout and contents, who can sign, what is refused."""

from __future__ import annotations

import datetime
import ssl
import struct
from typing import Final

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID, ObjectIdentifier
from tests.scheduler.lab import Lab, open_lab, wait_for

from luna.scheduler.services.certificates import MAX_KEY_PEM_BYTES, PrivateKey
from luna.scheduler.services.pem import MAX_PEM_BYTES

from .kit import START, net
from .tls_kit import authority, placed, server, tls_dial

DATA: Final = """
    (global $free (mut i32) (i32.const 32768))
    (func (export "lunatic_alloc") (param $size i32) (result i32)
      (global.set $free (i32.add (global.get $free) (local.get $size)))
      (i32.sub (global.get $free) (local.get $size)))
    ;; Prints the bytes at this address, as many as is stored at 500.
    (func $print (param $at i32)
      (i32.store 508:i32 (local.get $at)) (i32.store 512:i32 (i32.load 500:i32))
      (is32 (wasi.fd_write 1:i32 508:i32 1:i32 516:i32) 0:i32)
      (is32 (i32.load 516:i32) (i32.load 500:i32)))
"""
ATTRIBUTES = ObjectIdentifier("2.5.29.9")


def strings(data: bytes) -> list[bytes]:
    """What is in a bincode of strings, and nothing else."""
    found = []
    while data:
        [size] = struct.unpack_from("<Q", data)
        assert len(data) >= 8 + size
        found.append(data[8 : 8 + size])
        data = data[8 + size :]
    return found


async def made(lab: Lab, call: str) -> list[bytes]:
    """The strings that a call gives a guest."""
    pid = await lab.spawn(
        net(f"""{DATA} {START}
        (i64.store 500:i32 -1:i64)
        (call $print (distributed.{call} 500:i32))
        (is32 (i32.load 504:i32) -1:i32))""")  # the length has 4 bytes
    )
    output = await lab.output(pid)
    assert (await lab.wait_exit(pid)).reason == "returned"
    return strings(output)


def names_of(certificate: x509.Certificate) -> list[str]:
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.DNSName)


def is_authority(certificate: x509.Certificate) -> bool:
    extension = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert extension.critical
    return extension.value.ca


def is_valid_for(certificate: x509.Certificate, years: int) -> bool:
    now = datetime.datetime.now(datetime.UTC)
    return (
        certificate.not_valid_before_utc < now - datetime.timedelta(hours=1)
        and now + datetime.timedelta(days=365 * years - 1) < certificate.not_valid_after_utc
    )


def pair(strings: list[bytes]) -> tuple[x509.Certificate, PrivateKey]:
    """A certificate and its key, of two PEM texts."""
    certificate_pem, key_pem = strings
    assert key_pem.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    certificate, key = x509.load_pem_x509_certificate(certificate_pem), load_pem_private_key(key_pem, None)
    assert isinstance(key, PrivateKey)
    assert key.public_key() == certificate.public_key()
    return certificate, key


# -- the authority for tests ------------------------------------------------------------------


async def test_the_test_authority_is_an_authority_by_itself(lab: Lab) -> None:
    certificate, _ = pair(await made(lab, "test_root_cert"))
    certificate.verify_directly_issued_by(certificate)
    assert is_authority(certificate)
    assert is_valid_for(certificate, 10)
    assert certificate.subject.rfc4514_string() == "O=Lunatic Inc.,CN=Root CA"


async def test_the_test_authority_is_one_for_all_processes_and_another_for_each_runtime(lab: Lab) -> None:
    results = []

    async def ask(lab: Lab) -> None:
        results.append(await made(lab, "test_root_cert"))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask, lab)
    assert results == [results[0]] * 5
    async with open_lab(held=("modules",)) as other:
        await ask(other)
    assert results[-1] != results[0]


# -- certificates of servers ------------------------------------------------------------------


def certified(key: PrivateKey) -> tuple[bytes, bytes]:
    """PEM texts of an authority with this key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of another kind")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(authority().certificate.not_valid_before_utc)
        .not_valid_after(authority().certificate.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.PEM), pkcs8(key)


def pkcs8(key: PrivateKey | x25519.X25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


AUTHORITIES = {
    "ECDSA P-256": lambda: (authority().pem, authority().key_pem),
    "ECDSA P-384": lambda: certified(ec.generate_private_key(ec.SECP384R1())),
    "Ed25519": lambda: certified(ed25519.Ed25519PrivateKey.generate()),
    "RSA": lambda: certified(rsa.generate_private_key(65537, 2048)),
}


@pytest.mark.parametrize("kind", AUTHORITIES)
async def test_a_server_gets_a_certificate_and_a_new_key(lab: Lab, kind: str) -> None:
    certificate_pem, key_pem = AUTHORITIES[kind]()
    call = f"default_server_certificates {placed(certificate_pem)} {placed(key_pem)}"
    certificate, key = pair(await made(lab, call))
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(certificate_pem))
    assert names_of(certificate) == ["ctrl.lunatic.cloud"]
    assert certificate.subject.rfc4514_string() == "O=Lunatic Inc.,CN=Control CA"
    assert not is_authority(certificate)
    assert is_valid_for(certificate, 10)
    again, other_key = pair(await made(lab, call))
    assert (again.serial_number, other_key.public_key()) != (certificate.serial_number, key.public_key())
    assert other_key.public_key() != key.public_key()


async def test_a_guest_serves_with_what_it_was_given(lab: Lab) -> None:
    """From the authority on, everything is made in the guest; what it makes is good for TLS."""
    pid = await lab.spawn(
        net(f"""{DATA}
        ;; Address and length of the first and the second string of a bincode.
        (func $first (param $at i32) (result i32 i32)
          (i32.add (local.get $at) 8:i32) (i32.load (local.get $at)))
        (func $second (param $at i32) (result i32 i32)
          (call $first (i32.add (i32.add (local.get $at) 8:i32) (i32.load (local.get $at)))))
        {START} (local $root i32) (local $server i32)
          (local.set $root (distributed.test_root_cert 500:i32))
          (call $print (local.get $root))
          (local.set $server (distributed.default_server_certificates
            (call $first (local.get $root)) (call $second (local.get $root)) 500:i32))
          (call $loopback)
          (is32 (networking.tls_bind 4:i32 1000:i32 0:i32 0:i32 0:i32 500:i32
            (call $first (local.get $server)) (call $second (local.get $server))) 0:i32)
          (is32 (networking.tls_local_addr 0:i64 500:i32) 0:i32)
          (report (i64.extend_i32_u (call $port (i64.load 500:i32))))
          (is32 (networking.tls_accept 0:i64 500:i32 508:i32) 0:i32))""")
    )
    await wait_for(lambda: lab.reports)
    reader = lab.runtime.logs(pid)
    root_pem, _ = strings((await reader.receive()).data)
    reader.close()
    context = ssl.create_default_context(cadata=root_pem.decode())
    async with await tls_dial(lab.reports[0], context, "ctrl.lunatic.cloud"):
        assert (await lab.wait_exit(pid)).reason == "returned"


# -- certificates of nodes --------------------------------------------------------------------


def signing_request(
    key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType, name: str = "Node"
) -> x509.CertificateSigningRequest:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256())


def sign_call(request: bytes, certificate: bytes | None = None, key: bytes | None = None) -> str:
    texts = (certificate or authority().pem, key or authority().key_pem, request)
    return f"sign_node {' '.join(map(placed, texts))}"


NODE_NAMES = x509.SubjectAlternativeName([x509.DNSName("3f1c8a1e-node"), x509.DNSName("other")])


async def test_a_node_gets_its_names_and_may_do_everything(lab: Lab) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    request = signing_request(key, NODE_NAMES).public_bytes(Encoding.PEM)
    [pem] = await made(lab, sign_call(request))
    certificate = x509.load_pem_x509_certificate(pem)
    certificate.verify_directly_issued_by(authority().certificate)
    assert certificate.public_key() == key.public_key()
    assert certificate.subject.rfc4514_string() == "CN=Node"
    assert names_of(certificate) == ["3f1c8a1e-node", "other"]
    assert not is_authority(certificate)
    assert is_valid_for(certificate, 10)
    attributes = certificate.extensions.get_extension_for_oid(ATTRIBUTES)
    assert not attributes.critical
    assert isinstance(attributes.value, x509.UnrecognizedExtension)
    text = b'{"allowed_envs":[],"is_privileged":true}'
    assert attributes.value.value == b"\x0c" + bytes([len(text)]) + text


async def test_a_node_gets_nothing_else_that_it_asks_for(lab: Lab) -> None:
    asked = (
        x509.BasicConstraints(ca=True, path_length=None),
        x509.UnrecognizedExtension(ATTRIBUTES, b"\x0c\x02{}"),
        x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"),
    )
    request = signing_request(ec.generate_private_key(ec.SECP256R1()), *asked)
    [pem] = await made(lab, sign_call(request.public_bytes(Encoding.PEM)))
    certificate = x509.load_pem_x509_certificate(pem)
    assert not is_authority(certificate)
    assert {extension.oid.dotted_string for extension in certificate.extensions} == {
        "2.5.29.9",  # what it may do
        "2.5.29.14",  # key identifier
        "2.5.29.19",  # basic constraints
        "2.5.29.35",  # key identifier of the authority
    }
    attributes = certificate.extensions.get_extension_for_oid(ATTRIBUTES).value
    assert isinstance(attributes, x509.UnrecognizedExtension)
    assert b'"is_privileged":true' in attributes.value


# -- what is refused --------------------------------------------------------------------------


def forged() -> bytes:
    """A signing request whose name was changed after it was signed."""
    request = signing_request(ec.generate_private_key(ec.SECP256R1()), name="node-1")
    der = request.public_bytes(Encoding.DER).replace(b"node-1", b"node-2")
    return x509.load_der_x509_csr(der).public_bytes(Encoding.PEM)


GOOD_REQUEST = signing_request(ec.generate_private_key(ec.SECP256R1()), NODE_NAMES).public_bytes(Encoding.PEM)
LOCKED = authority().key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
BAD_AUTHORITIES = {
    "no certificate": (b"no", authority().key_pem, "the authority's certificate cannot be read"),
    "a certificate cut off": (
        authority().pem[:-40],
        authority().key_pem,
        "the authority's certificate cannot be read",
    ),
    "a key as a certificate": (
        authority().key_pem,
        authority().key_pem,
        "the authority's certificate cannot be read",
    ),
    "no key": (authority().pem, b"no", "the authority's key cannot be read"),
    "a certificate as a key": (authority().pem, authority().pem, "the authority's key cannot be read"),
    "a key behind a password": (authority().pem, LOCKED, "the authority's key cannot be read"),
    "a key that cannot sign": (
        authority().pem,
        pkcs8(x25519.X25519PrivateKey.generate()),
        "the authority's key is none that signs",
    ),
    "the key of another": (authority().pem, server().key_pem, "is not that of its certificate"),
    "not UTF-8": (b"\xff" + authority().pem, authority().key_pem, "the text is not UTF-8"),
    "a key not in UTF-8": (authority().pem, authority().key_pem + b"\xff", "the text is not UTF-8"),
    "a long certificate": (b" " * (MAX_PEM_BYTES + 1), b"", f"at most {MAX_PEM_BYTES} bytes"),
    "a long key": (authority().pem, b" " * (MAX_KEY_PEM_BYTES + 1), f"at most {MAX_KEY_PEM_BYTES} bytes"),
}
BAD_REQUESTS = {
    "no request": (b"no", "the signing request cannot be read"),
    "a certificate": (authority().pem, "the signing request cannot be read"),
    "a forged request": (forged(), "the signing request is not signed with its own key"),
    "not UTF-8": (b"\xff" + GOOD_REQUEST, "the text is not UTF-8"),
}


@pytest.mark.parametrize("name", ["default_server_certificates", "sign_node"])
@pytest.mark.parametrize(("certificate", "key", "text"), BAD_AUTHORITIES.values(), ids=BAD_AUTHORITIES.keys())
async def test_what_is_no_authority_traps(
    lab: Lab, name: str, certificate: bytes, key: bytes, text: str
) -> None:
    request = placed(GOOD_REQUEST) if name == "sign_node" else ""
    reason = await lab.traps(
        net(f"""(memory (export "memory") 4) {DATA} {START}
        (drop (distributed.{name} {placed(certificate)} {placed(key)} {request} 500:i32)))""")
    )
    assert f"lunatic::distributed::{name}: " in reason
    assert text in reason


@pytest.mark.parametrize(("request_pem", "text"), BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
async def test_what_is_no_signing_request_traps(lab: Lab, request_pem: bytes, text: str) -> None:
    reason = await lab.traps(net(f"{DATA} {START} (drop (distributed.{sign_call(request_pem)} 500:i32)))"))
    assert text in reason


@pytest.mark.parametrize(
    "call",
    [
        "test_root_cert 65533:i32",
        "default_server_certificates 65533:i32 4:i32 0:i32 1:i32 500:i32",
        "default_server_certificates 0:i32 1:i32 0:i32 -1:i32 500:i32",
        "default_server_certificates 0:i32 1:i32 0:i32 1:i32 65533:i32",
        "sign_node 65533:i32 4:i32 0:i32 1:i32 0:i32 1:i32 500:i32",
        "sign_node 0:i32 1:i32 65533:i32 4:i32 0:i32 1:i32 500:i32",
        "sign_node 0:i32 1:i32 0:i32 1:i32 -1:i32 1:i32 500:i32",
        "sign_node 0:i32 1:i32 0:i32 1:i32 0:i32 1:i32 -1:i32",
    ],
)
async def test_a_pointer_out_of_bounds_traps(lab: Lab, call: str) -> None:
    reason = await lab.traps(net(f"{DATA} {START} (drop (distributed.{call})))"))
    assert "a pointer or length lies outside the guest's memory" in reason


async def test_a_process_killed_while_it_waits_for_a_certificate_leaves_nothing(lab: Lab) -> None:
    certificate, key = AUTHORITIES["RSA"]()
    pid = await lab.spawn(
        net(f"""{DATA} {START}
        (loop $again
          (drop (distributed.default_server_certificates {placed(certificate)} {placed(key)} 500:i32))
          (global.set $free 32768:i32)
          (br $again)))""")
    )
    await wait_for(lambda: lab.runtime.processes()[0].state == "waiting")
    lab.runtime.kill(pid)
    await lab.wait_exit(pid)
