"""PEM as guests give it: text with sections of base64, each with a label (RFC 7468)."""

from __future__ import annotations

import base64
import binascii
from typing import Final

__all__ = ["CERTIFICATE", "MAX_PEM_BYTES", "PRIVATE_KEY", "pem_sections", "to_pem"]

MAX_PEM_BYTES: Final = 64 * 1024
"""bytes of one PEM text that a guest gives: certificates are a few KiB, some with as much explanation."""

CERTIFICATE: Final = b"CERTIFICATE"
PRIVATE_KEY: Final = b"PRIVATE KEY"
"""a key in PKCS#8; other formats have other labels"""

_BEGIN, _END, _DASHES = b"-----BEGIN ", b"-----END ", b"-----"


def pem_sections(text: bytes, label: bytes) -> list[bytes]:
    """The contents (DER) of all sections of a label; other sections and text between them are passed over.

    Raises ValueError for a section that does not end or is not base64.
    """
    found = []
    current: bytes | None = None  # label of the section these lines are in
    body: list[bytes] = []
    for line in map(bytes.strip, text.splitlines()):
        if current is None:
            if line.startswith(_BEGIN) and line.endswith(_DASHES):
                current = line[len(_BEGIN) : -len(_DASHES)]
                body = []
        elif line == _END + current + _DASHES:
            if current == label:
                found.append(_decode(body))
            current = None
        else:
            body.append(line)
    if current is not None:
        raise ValueError("a PEM section does not end")
    return found


def to_pem(label: bytes, der: bytes) -> bytes:
    """One section."""
    return b"%s%s%s\n%s%s%s%s\n" % (
        _BEGIN, label, _DASHES, base64.encodebytes(der), _END, label, _DASHES,
    )  # fmt: skip


def _decode(lines: list[bytes]) -> bytes:
    try:
        return base64.b64decode(b"".join(lines), validate=True)
    except binascii.Error:
        raise ValueError("a PEM section is not base64") from None
