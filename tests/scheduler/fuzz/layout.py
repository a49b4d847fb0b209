"""What the memory of a generated guest holds: where things lie, and the bytes that host calls are given.

Addresses, from the bottom of the one page a guest starts with:

    0        bytes that anything may be written to
    256      TEXTS, never written again: what comes from here is what the generator chose
    24576    POOLS, ids of earlier results, 8 bytes each
    28672    places of small results, of addresses and of spawn parameters
    32768    BUFFERS, and above them the arena of `lunatic_alloc`

What a host call is told to write lies in the first 256 bytes or above POOLS, so TEXTS stay what
they are: a guest can connect and resolve only what is listed here. Pure.
"""

from __future__ import annotations

import datetime
import ipaddress
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final, final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

__all__ = [
    "ARENA", "BUFFERS", "BUFFER_BYTES", "HOSTS", "OUT", "PARAMS", "POOLS", "POOL_NAMES", "POOL_SLOTS",
    "SOCKET_ADDRESS", "TEXTS", "Text", "pool_slot", "text_data", "texts",
]  # fmt: skip

TEXTS: Final = 256
POOLS: Final = 24_576
OUT: Final = 28_672
"""eight places of 16 bytes for what calls give out"""
SOCKET_ADDRESS: Final = 28_928
PARAMS: Final = 29_184
BUFFERS: Final = 32_768
BUFFER_BYTES: Final = 16_384
ARENA: Final = 49_152

POOL_SLOTS: Final = 4
POOL_NAMES: Final = (
    "process", "error", "module", "config", "timer", "dns", "tcp_listener", "tcp_stream", "tls_listener",
    "tls_stream", "udp", "connection", "statement", "query", "fd", "tag", "node", "environment",
    "process_index", "module_index", "tcp_stream_index", "tls_stream_index", "udp_socket_index",
)  # fmt: skip

HOSTS: Final = ("127.77.1.1", "127.77.1.2", "127.77.200.3")
"""Where guests bind and connect: addresses of loopback that no other program is likely to use."""


POOLS_FILLED: Final[Mapping[str, Sequence[int]]] = MappingProxyType(
    {"fd": (4, 3, 1, 0), "tag": (1, 2, 3, 0), "node": (0,) * 4, "process": (0,) * 4}
)
"""What pools hold at first; others hold nothing, which is -1."""


def pool_slot(pool: str, index: int) -> int:
    """Address of one id of a pool."""
    return POOLS + 8 * (POOL_SLOTS * POOL_NAMES.index(pool) + index)


@final
@dataclass(frozen=True, slots=True)
class Text:
    """Bytes in TEXTS, and what a correct caller passes for their length."""

    address: int
    data: bytes
    count: int
    """bytes, or elements of an array"""


NAMES: Final = (b"a", b"name", b"a longer name, with spaces", "n\u00e4me \U0001f600".encode(), b"x" * 300,
                b"", b"nul\0inside", b"\xff\xfe", b"caf\xc3")  # fmt: skip

PATHS: Final = (b"fuzz-a", b"fuzz-b", b"fuzz-dir", b"fuzz-dir/fuzz-c", b"./fuzz-a", b"fuzz-link", b".", b"",
                b"..", b"../fuzz-a", b"/fuzz-a", b"fuzz-dir/../fuzz-b", b"fuzz-dir/../../fuzz-a",
                b"fuzz-" + b"n" * 300, b"fuzz\0a", b"fuzz-\xff", b"fuzz-a/")  # fmt: skip

DATABASES: Final = (b"fuzz.db", b"./fuzz.db", b":memory:", b"", b"fuzz-dir/fuzz.db", b"../fuzz.db",
                    b"file:fuzz.db?mode=ro", b"/etc/passwd", b"fuzz\0.db", b"\xff.db")  # fmt: skip

DIRECTORIES: Final = (b".", b"fuzz-dir", b"./fuzz-dir", b"..", b"/", b"~", b"fuzz-none", b"", b"\xff",
                      b"fuzz-link")  # fmt: skip

RESOLVED: Final = (b"127.77.1.1:0", b"127.77.1.2:80", b"localhost:0", b"[::1]:0", b"127.77.1.1", b":0", b"",
                   b"127.77.1.1:99999", b"127.77.1.1:-1", b"[::1", b"127.77.1.1:\xff",
                   b"127.77.1.1:0\0")  # fmt: skip
"""Only numbers and the loopback's own name: no name server is ever asked."""

TLS_HOSTS: Final = (*(host.encode() for host in HOSTS), b"", b"127.77.1.1\0", b"\xff", b"[::1]", b"127.77.1")

STATEMENTS: Final = (
    b"CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY, b TEXT, c BLOB, d REAL)",
    b"INSERT INTO t (b, c, d) VALUES ('text', x'00ff', 1.5), (NULL, NULL, NULL)",
    b"INSERT INTO t (b, c, d) VALUES (?, ?, ?)",
    b"INSERT INTO t (b, c) VALUES (:name, @other)",
    b"SELECT * FROM t",
    b"SELECT a, b AS \"b\" FROM t WHERE a > ? OR b = :name",
    b"SELECT 1, 'two', 3.0, x'04', NULL",
    b"SELECT 9223372036854775807, -9223372036854775808, 1e999, -1e999, ''",
    b"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 2000) SELECT x FROM c",
    b"UPDATE t SET b = b || 'x', c = randomblob(1000)",
    b"DELETE FROM t WHERE a % 2",
    b"BEGIN", b"BEGIN IMMEDIATE", b"BEGIN EXCLUSIVE", b"COMMIT", b"ROLLBACK", b"SAVEPOINT s", b"RELEASE s",
    b"ALTER TABLE t ADD COLUMN e", b"DROP TABLE t", b"CREATE INDEX IF NOT EXISTS i ON t (b)", b"VACUUM",
    b"PRAGMA journal_mode = WAL", b"PRAGMA journal_mode = DELETE", b"PRAGMA busy_timeout = 5",
    b"PRAGMA table_info(t)", b"PRAGMA mmap_size = 1000000", b"PRAGMA locking_mode = EXCLUSIVE",
    b"ATTACH 'fuzz-other.db' AS o", b"ATTACH ':memory:' AS m", b"ATTACH '/etc/passwd' AS p",
    b"ATTACH ? AS q", b"DETACH o", b"DETACH m", b"VACUUM INTO 'fuzz-copy.db'",
    b"SELECT zeroblob(70000)", b"SELECT length(zeroblob(1000000000))", b"SELECT CAST(x'fffe' AS TEXT)",
    b"SELECT 1; SELECT 2", b"", b" -- nothing", b";", b"SELEC", b"SELECT * FROM none", b"SELECT ?99999",
    b"SELECT 'nul\0inside'", b"SELECT '\xff'", b"SELECT abs(-9223372036854775808)",
    b"EXPLAIN SELECT * FROM t", b"REINDEX", b"ANALYZE", b"SELECT load_extension('x')",
)  # fmt: skip
PREPARED: Final = (2, 3, 4, 5, 6, 7, 8)
"""statements whose rows or parameters are worth a look"""
ENDLESS: Final = b"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
"""goes on until its process dies"""

MODULES: Final = (
    b'(module (func (export "f")))',
    b'(module (func (export "f") unreachable))',
    b'(module (func (export "f") (loop (br 0))))',
    b"(module (func $s unreachable) (start $s))",
    (b'(module (import "lunatic::process" "sleep_ms" (func $s (param i64)))'
    b' (func (export "f") (call $s (i64.const 3))))'),
    b'(module (memory (export "memory") 70000))',
    b'(module (memory (export "memory") 3) (table 200000 funcref) (func (export "f")))',
    b'(module (import "lunatic::process" "none" (func)))',
    b'(module (import "lunatic::process" "kill" (func (param f32))))',
    b"(module", b"\0asm\1\0\0\0", b"\0asm\2\0\0\0", b"\0asm\1\0\0\0\1\0", b"garbage", b"", b"\xff\xfe",
)  # fmt: skip


@cache
def _identity() -> Mapping[str, bytes]:
    """PEM texts of an authority, and of a server that it vouches for; the same bytes each time."""
    keys = [Ed25519PrivateKey.from_private_bytes(bytes([byte]) * 32) for byte in (1, 2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("authority", "server")]
    certificates = []
    for number in (0, 1):
        builder = (
            x509.CertificateBuilder()
            .subject_name(names[number])
            .issuer_name(names[0])
            .public_key(keys[number].public_key())
            .serial_number(number + 1)
            .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
            .not_valid_after(datetime.datetime(2120, 1, 1, tzinfo=datetime.UTC))
            .add_extension(x509.BasicConstraints(ca=number == 0, path_length=None), critical=True)
        )
        if number:
            hosts = [x509.IPAddress(ipaddress.ip_address(host)) for host in HOSTS]
            builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        certificates.append(builder.sign(keys[0], None).public_bytes(Encoding.PEM))
    request = x509.CertificateSigningRequestBuilder().subject_name(names[1]).sign(keys[1], None)
    authority_key, server_key = (
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) for key in keys
    )
    return {
        "authority": certificates[0],
        "authority_key": authority_key,
        "server": certificates[1],
        "server_key": server_key,
        "request": request.public_bytes(Encoding.PEM),
    }


def _spoiled(pem: bytes) -> bytes:
    """The same with a byte of its middle changed, which is another letter of base64."""
    middle = len(pem) // 2
    return pem[:middle] + (b"A" if pem[middle : middle + 1] != b"A" else b"B") + pem[middle + 1 :]


def _string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def _bindings() -> tuple[bytes, ...]:
    """Lists of values to bind, in the guest's layout; the last ones are malformed."""
    nothing, number, name = struct.pack("<I", 0), struct.pack("<I", 1), struct.pack("<I", 2)
    values = (
        struct.pack("<I", 0),
        struct.pack("<I", 1) + _string(b"\0\xffblob"),
        struct.pack("<I", 2) + _string("t\u00e9xt".encode()),
        struct.pack("<Id", 3, 2.5),
        struct.pack("<Ii", 4, -7),
        struct.pack("<Iq", 5, -(1 << 63)),
        struct.pack("<Id", 3, float("nan")),
    )

    def listed(*pairs: bytes) -> bytes:
        return struct.pack("<Q", len(pairs)) + b"".join(pairs)

    numbered = [number + struct.pack("<Q", index) + value for index, value in enumerate(values, 1)]
    return (
        listed(*numbered[:3]),
        listed(*numbered[:1]),
        listed(*[nothing + value for value in values[:3]]),
        listed(name + _string(b"name") + values[2], name + _string(b"other") + values[1]),
        listed(),
        listed(*numbered),
        listed(name + _string(b"no such") + values[3]),
        listed(number + struct.pack("<Q", 0) + values[0]),
        listed(number + struct.pack("<Q", 1 << 63) + values[0]),
        listed(number + struct.pack("<Q", 1) + struct.pack("<IQ", 2, 2) + b"\xff\xfe"),
        struct.pack("<Q", 1 << 62),
        struct.pack("<Q", 1) + struct.pack("<I", 9),
        numbered[0][:5],
        struct.pack("<Q", 1) + number + struct.pack("<Q", 1) + struct.pack("<IQ", 1, 1 << 63),
    )


def _vectors() -> tuple[tuple[bytes, int], ...]:
    """Arrays of (pointer, length): good, overlapping, empty, many, beyond memory."""
    lists: tuple[Sequence[tuple[int, int]], ...] = (
        [(BUFFERS, 10)],
        [(BUFFERS, 100), (BUFFERS + 1000, 1)],
        [(BUFFERS, 100), (BUFFERS + 50, 100), (BUFFERS, 100)],
        [(BUFFERS, 5000)] * 3,
        [(BUFFERS, 0)],
        [],
        [(BUFFERS + 8 * index, 8) for index in range(200)],
        [(65_530, 100)],
        [(BUFFERS, 10), (65_536, 1)],
        [(0xFFFF_FFFF, 0xFFFF_FFFF)],
        [(BUFFERS, 0xFFFF_FFFF)] * 2,
        [(0, 0), (65_536, 0)],
        [(BUFFERS, 16_000)] * 20,
    )
    return tuple((b"".join(struct.pack("<II", *entry) for entry in one), len(one)) for one in lists)


def _params() -> tuple[bytes, ...]:
    """Records of spawn parameters no entry of ours takes, or that no process can take."""
    return (
        b"",
        b"\x7f" + bytes(16),
        b"\x7e" + b"\xff" * 16,
        b"\x7b" + bytes(16),
        b"\x7d" + bytes(16),
        b"\x7f" + bytes(15),
        b"\x7f" * 17 * 129,
    )


def _subscriptions() -> tuple[tuple[bytes, int], ...]:
    """What `poll_oneoff` may be asked to wait for."""

    def clock(identifier: int, timeout_ns: int, flags: int = 0) -> bytes:
        return struct.pack("<QB7xIxxxxQQHxxxxxx", 7, 0, identifier, timeout_ns, 0, flags)

    def descriptor(kind: int, fd: int) -> bytes:
        return struct.pack("<QB7xI28x", 8, kind, fd)

    lists: tuple[list[bytes], ...] = (
        [clock(1, 1_000_000)],
        [clock(0, 0), clock(1, 0)],
        [clock(1, 0, 1)],
        [descriptor(2, 1)],
        [descriptor(1, 0), clock(1, 1_000_000)],
        [descriptor(2, 3), descriptor(1, 77)],
        [clock(9, 1)],
        [struct.pack("<QB39x", 1, 9)],
        [],
        [clock(1, 1 << 63)],
    )
    return tuple((b"".join(one), len(one)) for one in lists)


@cache
def texts() -> Mapping[str, tuple[Text, ...]]:
    """Bytes in TEXTS by what they are for, the good ones first."""
    placed: dict[str, tuple[Text, ...]] = {}
    position = TEXTS

    def place(kind: str, items: Sequence[bytes | tuple[bytes, int]]) -> None:
        nonlocal position
        found = []
        for item in items:
            data, count = item if isinstance(item, tuple) else (item, len(item))
            found.append(Text(position, data, count))
            position += (len(data) + 8) & ~7
        placed[kind] = tuple(found)

    pem = _identity()
    place("names", NAMES)
    place(
        "entries",
        (b"e0", b"e1", b"e2", b"e3", b"f", b"_start", b"none", b"memory", b"", b"\xff", b"n" * 5000),
    )
    place("paths", PATHS)
    place("databases", DATABASES)
    place("directories", DIRECTORIES)
    place("resolved", RESOLVED)
    place("hosts", TLS_HOSTS)
    place("statements", (*STATEMENTS, ENDLESS))
    place("modules", MODULES)
    place("certificates", (pem["server"], _spoiled(pem["server"]), pem["server_key"], b"", pem["server"] * 2))
    place("keys", (pem["server_key"], _spoiled(pem["server_key"]), pem["server"], b"", b"\xff"))
    place("authority", (pem["authority"], _spoiled(pem["authority"]), b"", b"-----BEGIN CERTIFICATE-----\n"))
    place("authority_key", (pem["authority_key"], pem["authority"], b""))
    place("request", (pem["request"], _spoiled(pem["request"]), b""))
    place("bindings", _bindings())
    place("vectors", _vectors())
    place("params", _params())
    place("subscriptions", _subscriptions())
    place("tags", [(struct.pack(f"<{count}q", *range(1, count + 1)), count) for count in (0, 1, 3, 40)])
    place("prefixes", (b"lunatic::", b"", b"wasi", b"lunatic::process::", b"none", b"\xff", b"p" * 300))
    place("versions", (b"1.0.0", b"^1", b"1.2.3-a+b", b"", b"1", b"x.y.z", b"\xff", b"1." + b"9" * 40))
    place("queries", (b"", b"a=b", b"zone=1&name=x", b"&&==", b"\xff"))
    good, spoiled = (text.address for text in placed["authority"][:2])
    size = len(pem["authority"])
    entries = [(good, size), (size, good), (spoiled, size), (65_530, 100), (0xFFFF_FFFF, 1), (0, 0)]
    packed = [struct.pack("<II", *entry) for entry in entries]
    lists = [(one, 1) for one in packed]
    place("authorities", [*lists, (packed[0] + packed[2], 2), (b"", 0), (packed[0] * 20, 20)])
    if position > POOLS:
        raise ValueError(f"the texts end at {position}, beyond {POOLS}")
    return placed


@cache
def text_data() -> str:
    """The data segments of TEXTS and POOLS, as WAT."""
    filled = [value for name in POOL_NAMES for value in POOLS_FILLED.get(name, (-1,) * POOL_SLOTS)]
    pools = "".join(f"\\{byte:02x}" for byte in struct.pack(f"<{len(filled)}q", *filled))
    lines = [f'(data (i32.const {POOLS}) "{pools}")\n']
    for group in texts().values():
        for text in group:
            data = "".join(f"\\{byte:02x}" for byte in text.data)
            lines.append(f'(data (i32.const {text.address}) "{data}")\n')
    return "".join(lines)
