"""What TLS connections are made with: versions, identities, authorities, names of servers.

TLS 1.2 and 1.3 without client certificates, as in Lunatic. Nothing here waits, but reading
certificates takes milliseconds: callers use a worker thread.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import re
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from luna.scheduler.services.pem import CERTIFICATE, MAX_PEM_BYTES, PRIVATE_KEY, pem_sections, to_pem
from luna.scheduler.services.sockets import check_descriptor

__all__ = [
    "MAX_RSA_BITS",
    "check_server_name",
    "client_context",
    "public_context",
    "server_context",
    "tls_error_text",
]

MAX_RSA_BITS: Final = 4096
"""bits of a listener's RSA key, as in Lunatic: signing takes 8 times as long with twice the bits."""

# Labels as rustls takes them, underscores included; a name may end in a dot.
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS_NAME = re.compile(rf"(?:{_LABEL}\.)*(?!\d+\.?\Z){_LABEL}\.?")
_PLACES = re.compile(r"^\[SSL\] | \(_ssl\.c:\d+\)$")
MAX_DNS_NAME: Final = 253
"""characters of a DNS name"""


def server_context(certificates: bytes, keys: bytes) -> ssl.SSLContext:
    """For listeners, of two PEM texts: one certificate and its PKCS#8 key.

    Raises ValueError, saying what is wrong with them; OSError without descriptors.
    """
    certificate = _only(pem_sections(certificates, CERTIFICATE), "certificate")
    key = _only(pem_sections(keys, PRIVATE_KEY), "PKCS#8 private key")
    public_key = _parse(certificate).public_key()
    if isinstance(public_key, RSAPublicKey) and public_key.key_size > MAX_RSA_BITS:
        raise ValueError(f"an RSA key has at most {MAX_RSA_BITS} bits, not {public_key.key_size}")
    context = _hardened(ssl.PROTOCOL_TLS_SERVER)
    # A session ticket that a client never reads turns its close into a reset, which can cost its last words.
    context.num_tickets = 0
    # The ssl module loads identities from files only: one in memory, so that the key is never on a disk.
    descriptor = os.memfd_create("luna-tls-identity", os.MFD_CLOEXEC)
    try:
        check_descriptor(descriptor)
        with open(descriptor, "wb", closefd=False) as file:
            file.write(to_pem(CERTIFICATE, certificate) + to_pem(PRIVATE_KEY, key))
        # With a password given it never asks the terminal for one.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")
    except ssl.SSLError as error:
        raise ValueError(f"the certificate or its key cannot be used: {tls_error_text(error)}") from None
    finally:
        os.close(descriptor)
    return context


def client_context(authorities: Sequence[Sequence[bytes]]) -> ssl.SSLContext:
    """Trusts these certificates, and no others: of each sequence of PEM texts the first that holds just one.

    Raises ValueError, saying what is wrong with them.
    """
    context = _hardened(ssl.PROTOCOL_TLS_CLIENT)
    for index, texts in enumerate(authorities):
        certificate = next(filter(None, map(_lone_certificate, texts)), None)
        if certificate is None:
            raise ValueError(
                f"number {index} is not one certificate in PEM, of at most {MAX_PEM_BYTES} bytes"
            )
        _parse(certificate)
        try:
            context.load_verify_locations(cadata=certificate)
        except ssl.SSLError as error:
            raise ValueError(f"number {index} cannot be used: {tls_error_text(error)}") from None
    return context


def _lone_certificate(text: bytes) -> bytes | None:
    try:
        found = pem_sections(text, CERTIFICATE)
    except ValueError:
        return None
    return found[0] if len(found) == 1 else None


def public_context() -> ssl.SSLContext:
    """Trusts the authorities that the system trusts.

    On a system that has none, in a small container for example, those that gRPC brings along.
    """
    context = _hardened(ssl.PROTOCOL_TLS_CLIENT)
    paths = ssl.get_default_verify_paths()
    if paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())):
        context.set_default_verify_paths()
        return context
    grpc = importlib.util.find_spec("grpc")
    if grpc is not None and grpc.submodule_search_locations:
        bundle = Path(grpc.submodule_search_locations[0], "_cython", "_credentials", "roots.pem")
        if bundle.exists():
            context.load_verify_locations(bundle)
    return context


def check_server_name(text: str) -> str:
    """The name by which a certificate is looked at: a DNS name, or an IP address. Raises ValueError."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        name = text.removesuffix(".")
        if len(name) <= MAX_DNS_NAME and _DNS_NAME.fullmatch(text):
            return name
    else:
        if "%" not in text:
            return str(address)
    raise ValueError(f"{text!r} is no name of a server: neither a DNS name nor an IP address")


def tls_error_text(error: ssl.SSLError) -> str:
    """What went wrong, for people, without the places in OpenSSL's sources."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message.rstrip('.')}"
    if error.reason:
        return error.reason.replace("_", " ").lower()
    return _PLACES.sub("", str(error))


def _hardened(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    # As rustls verifies: by subject alternative names only, and any certificate given is an anchor.
    context.hostname_checks_common_name = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _only(found: list[bytes], what: str) -> bytes:
    if len(found) != 1:
        raise ValueError(f"expected exactly one {what} in PEM, found {len(found)}")
    return found[0]


def _parse(certificate: bytes) -> x509.Certificate:
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        parsed.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"a certificate cannot be read: {error}") from None
    return parsed
