"""Certificates for control servers written as guests (`lunatic::distributed`).

Owns what a control server of Lunatic's needs to be an authority for nodes: an authority to
test with, its own certificate, and signing the requests of nodes. Luna's own nodes use
none of it. What is handed out is a bincode string, or two: length as u64, UTF-8.
"""

from __future__ import annotations

import datetime
import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar, TypeVarTuple, final

import trio
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID, ObjectIdentifier

from luna.scheduler.requests import GuestData, GuestTrap, Request
from luna.scheduler.services.pem import MAX_PEM_BYTES
from luna.scheduler.services.threads import compute

__all__ = ["CertificateHandlers"]

MAX_SIGNING: Final = 2
"""threads that make certificates at the same time; others wait."""
MAX_KEY_PEM_BYTES: Final = 4096
"""bytes of a private key in PEM: one of RSA with 4096 bits has 3300; checking a longer one takes seconds."""
VALID_DAYS: Final = 3650
"""days that certificates are valid for; Lunatic's are until the year 4096."""
SKEW_DAYS: Final = 1
"""days before now that they begin to be valid: clocks of nodes differ."""

ORGANIZATION: Final = "Lunatic Inc."
AUTHORITY_NAME: Final = "root.lunatic.cloud"
SERVER_NAME: Final = "ctrl.lunatic.cloud"
"""what guests of Lunatic expect in such certificates"""

NODE_ATTRIBUTES: Final = ObjectIdentifier("2.5.29.9")
"""extension (subject directory attributes) that says what a node may do, as JSON in a DER UTF8String"""
PRIVILEGED: Final = {"allowed_envs": [], "is_privileged": True}
UTF8_STRING: Final = 0x0C

LENGTH = struct.Struct("<Q")
LENGTH_BYTES: Final = 4

PrivateKey = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
KINDS: Final = "RSA, ECDSA, Ed25519 or Ed448"

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@final
@dataclass(frozen=True, slots=True)
class Authority:
    """Who signs certificates."""

    certificate: x509.Certificate
    key: PrivateKey


@final
class CertificateHandlers:
    """Answers the host calls about certificates."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(MAX_SIGNING)
        self._making = trio.Lock()
        self._test_authority: Authority | None = None

    def install(self, set_handler: Callable[..., None]) -> None:
        """Serve these host calls."""
        set_handler("lunatic::distributed", "test_root_cert", self._test_root)
        set_handler("lunatic::distributed", "default_server_certificates", self._server)
        set_handler("lunatic::distributed", "sign_node", self._sign_node)

    async def _test_root(self, request: Request) -> GuestData:
        """The test authority of this runtime: made when first asked for, so that nobody else has its key.

        Lunatic's is published with its sources.
        """
        out = int(request.args[0])
        request.check(out, LENGTH_BYTES)
        async with self._making:  # all who ask at once get the same
            if self._test_authority is None:
                self._test_authority = await self._compute(request, make_authority)
        authority = self._test_authority
        return GuestData(_string(_pem(authority.certificate)) + _string(_key_pem(authority.key)), out)

    async def _server(self, request: Request) -> GuestData:
        certificate, certificate_size, key, key_size, out = map(int, request.args)
        authority = (
            _read(request, certificate, certificate_size, MAX_PEM_BYTES),
            _read(request, key, key_size, MAX_KEY_PEM_BYTES),
        )
        request.check(out, LENGTH_BYTES)
        server = await self._compute(request, make_server, *authority)
        return GuestData(_string(_pem(server.certificate)) + _string(_key_pem(server.key)), out)

    async def _sign_node(self, request: Request) -> GuestData:
        certificate, certificate_size, key, key_size, asked, asked_size, out = map(int, request.args)
        texts = (
            _read(request, certificate, certificate_size, MAX_PEM_BYTES),
            _read(request, key, key_size, MAX_KEY_PEM_BYTES),
            _read(request, asked, asked_size, MAX_PEM_BYTES),
        )
        request.check(out, LENGTH_BYTES)
        return GuestData(_string(_pem(await self._compute(request, sign_node, *texts))), out)

    async def _compute(self, request: Request, function: Callable[[*Ts], T], *args: *Ts) -> T:
        try:
            return await compute(self._limiter, function, *args)
        except ValueError as error:
            raise GuestTrap(f"{request.full_name}: {error}") from None


def make_authority() -> Authority:
    """A new authority, by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Root CA")
    builder = _builder(name, key.public_key(), [x509.DNSName(AUTHORITY_NAME)])
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return Authority(builder.issuer_name(name).sign(key, hashes.SHA256()), key)


def make_server(certificate_pem: bytes, key_pem: bytes) -> Authority:
    """The certificate of a control server, with its key, signed by an authority.

    Raises ValueError, saying what is wrong with the authority.
    """
    authority = _load_authority(certificate_pem, key_pem)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name("Control CA"), key.public_key(), [x509.DNSName(SERVER_NAME)])
    return Authority(_sign(builder, authority), key)


def sign_node(certificate_pem: bytes, key_pem: bytes, request_pem: bytes) -> x509.Certificate:
    """The certificate of a node: what its request names itself, and that it may do everything.

    Nothing else that a request asks for is granted. Raises ValueError, saying what is wrong.
    """
    authority = _load_authority(certificate_pem, key_pem)
    try:
        request = x509.load_pem_x509_csr(request_pem)
        public_key = request.public_key()
        signed = request.is_signature_valid
        names = [
            name
            for extension in request.extensions
            if isinstance(extension.value, x509.SubjectAlternativeName)
            for name in extension.value
        ]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"the signing request cannot be read: {error}") from None
    if not signed:
        raise ValueError("the signing request is not signed with its own key")
    if not isinstance(public_key, PublicKey):
        raise ValueError(f"the signing request's key is none that signs: {KINDS}")
    attributes = json.dumps(PRIVILEGED, separators=(",", ":")).encode()
    builder = _builder(request.subject, public_key, names).add_extension(
        # Short enough for a length of one byte.
        x509.UnrecognizedExtension(NODE_ATTRIBUTES, bytes([UTF8_STRING, len(attributes)]) + attributes),
        critical=False,
    )
    return _sign(builder, authority)


def _load_authority(certificate_pem: bytes, key_pem: bytes) -> Authority:
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        public_key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"the authority's certificate cannot be read: {error}") from None
    try:
        key = load_pem_private_key(key_pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(f"the authority's key cannot be read: {error}") from None
    if not isinstance(key, PrivateKey):
        raise ValueError(f"the authority's key is none that signs: {KINDS}")
    if key.public_key() != public_key:
        raise ValueError("the authority's key is not that of its certificate")
    return Authority(certificate, key)


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
        ]
    )


def _builder(
    subject: x509.Name, public_key: PublicKey, names: Sequence[x509.GeneralName]
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=SKEW_DAYS))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder


def _sign(builder: x509.CertificateBuilder, authority: Authority) -> x509.Certificate:
    """Finish the certificate of one who is no authority."""
    key = authority.key
    algorithm: hashes.SHA256 | hashes.SHA384 | None = hashes.SHA256()
    if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        algorithm = None
    elif isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size > hashes.SHA256.digest_size * 8:
        algorithm = hashes.SHA384()
    return (
        builder.issuer_name(authority.certificate.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, algorithm)
    )


def _read(request: Request, pointer: int, size: int, limit: int) -> bytes:
    request.check(pointer, size)
    if size & 0xFFFF_FFFF > limit:
        raise GuestTrap(f"{request.full_name}: a PEM text of this kind has at most {limit} bytes")
    return request.read_text(pointer, size).encode()


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _string(text: bytes) -> bytes:
    return LENGTH.pack(len(text)) + text
