"""What the values on a command line mean: parameters, sizes, variables, processes, addresses.

Pure functions from text to values; each raises InvalidError that says what was expected.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from luna.proto.errors import InvalidError
from luna.proto.ids import MAX_SERIAL, node_of, parse_pid, serial_of
from luna.proto.limits import MAX_ADDRESS_LENGTH

V128_BYTES = 16

MAX_FUEL = (2**63 - 1) // 100_000
"""units of 100 000 instructions; the engine counts single instructions in a signed 64-bit number."""

_UNITS = {
    "": 1,
    "b": 1,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    # A bare letter means the binary unit, as for `ulimit`, systemd and container tools.
    "k": 2**10,
    "m": 2**20,
    "g": 2**30,
}
_SIZE = re.compile(r"([0-9]{1,20}) ?([A-Za-z]*)\Z")
_NUMBER = re.compile(r"[+-]?(0[xX][0-9A-Fa-f]+|[0-9]+)\Z")
_V128 = re.compile(r"0[xX][0-9A-Fa-f]{1,32}\Z")
_MAX_DIGITS = 40  # of a number in a parameter; 2**128 has 39
_FUEL = re.compile(r"[0-9]{1,14}\Z")  # MAX_FUEL has 14 digits
_ALLOWED = re.compile(r"[a-z][a-z0-9_:]*\Z")  # of `namespace::name`, as all host calls are called
_PORT = re.compile(r"[0-9]{1,5}\Z")
_PLAIN_PID = re.compile(r"[0-9]{1,19}\Z")  # 2**63 - 1 has 19 digits


@dataclass(frozen=True, slots=True)
class Parameter:
    """One value for an entry function. `kind` is i32, i64 or v128; `value` is signed for i32 and i64, an
    unsigned 128-bit number for v128."""

    kind: str
    value: int

    def v128_bytes(self) -> bytes:
        """The 16 bytes of a v128, little endian."""
        return self.value.to_bytes(V128_BYTES, "little")


@dataclass(frozen=True, slots=True)
class ProcessName:
    """A process as the user named it: an absolute `pid`, or a `serial` on the node `node`."""

    text: str
    pid: int = 0
    serial: int = 0
    node: str = ""


def parse_parameter(text: str) -> Parameter:
    """`i32:5`, `i64:-1`, `i32:0xff`, `v128:0x0f`; numbers are decimal or 0x hexadecimal.

    Numbers of the upper unsigned half wrap around as in WebAssembly: `i32:0xffffffff` is -1.
    """
    kind, colon, number = text.partition(":")
    bits = {"i32": 32, "i64": 64, "v128": 128}.get(kind)
    if not colon or bits is None:
        raise InvalidError(
            f"{text!r} is not a parameter",
            hint="write TYPE:VALUE with a type i32, i64 or v128, such as i32:5",
        )
    if kind == "v128":
        if not _V128.match(number):
            raise InvalidError(
                f"{number!r} is not a v128 value", hint="write 0x and 1 to 32 hexadecimal digits"
            )
        return Parameter(kind, int(number, 16))
    if not _NUMBER.match(number) or len(number) > _MAX_DIGITS:
        raise InvalidError(
            f"{number!r} is not a number", hint=f"write it as {kind}:5, {kind}:-1 or {kind}:0xff"
        )
    value = int(number, 16 if "x" in number.lower() else 10)
    if not -(1 << (bits - 1)) <= value < 1 << bits:
        raise InvalidError(f"{number} does not fit in {kind}", hint=f"{kind} has {bits} bits")
    return Parameter(kind, value - (1 << bits) if value >= 1 << (bits - 1) else value)


def parse_size(text: str) -> int:
    """Bytes of a size such as 65536, 64KiB, 64MiB, 1GiB, 64MB (decimal) or 64M (binary)."""
    match = _SIZE.match(text)
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise InvalidError(
            f"{text!r} is not a size", hint="write bytes, or a unit: 65536, 64KiB, 64MiB, 1GiB"
        )
    return int(match[1]) * unit


def parse_fuel(text: str) -> int:
    """A compute limit in units of 100 000 instructions; 0 means none."""
    if not _FUEL.match(text) or int(text) > MAX_FUEL:
        raise InvalidError(f"{text!r} is not a compute limit", hint=f"write a number from 0 to {MAX_FUEL}")
    return int(text)


def parse_variable(text: str) -> tuple[str, str]:
    """(name, value) of `NAME=VALUE`; the value may be empty and may contain `=`."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidError(f"{text!r} is not an environment variable", hint="write it as NAME=VALUE")
    if "\0" in text:
        raise InvalidError("an environment variable cannot hold a NUL character")
    return name, value


def parse_allowed(text: str) -> str:
    """The beginning of names of host calls: `lunatic::message::`, `wasi_snapshot_preview1::fd_write`."""
    if not _ALLOWED.match(text):
        raise InvalidError(
            f"no host call's name begins with {text!r}",
            hint="write how the full names begin, such as lunatic::message:: or wasi_snapshot_preview1::fd_",
        )
    return text


def is_unicode(text: str) -> bool:
    """Whether `text` can be written as UTF-8; bytes of a command line that cannot be read are surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def check_unicode(texts: Iterable[str]) -> None:
    """Raises InvalidError if one of `texts` cannot be given to a guest, which expects UTF-8 without NUL."""
    for text in texts:
        if not is_unicode(text) or "\0" in text:
            raise InvalidError(
                f"{text!a} is not UTF-8 text", hint="arguments, variables and names must be UTF-8"
            )


def parse_process(text: str) -> ProcessName:
    """A process: `SERIAL@NODE`, or an absolute pid, the number a guest sees."""
    if _PLAIN_PID.match(text):
        pid = int(text)
        if not (node_of(pid) > 0 and 0 < serial_of(pid) <= MAX_SERIAL and pid < 1 << 63):
            raise InvalidError(
                f"{text} is not the pid of a process in a cluster", hint="write SERIAL@NODE; see `luna ps`"
            )
        return ProcessName(text=text, pid=pid)
    serial, node = parse_pid(text)
    return ProcessName(text=text, serial=serial, node=node)


def parse_address(text: str) -> tuple[str, int]:
    """(host, port) of `HOST:PORT` or `[IPV6]:PORT`."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    if (
        not colon
        or not host
        or len(text) > MAX_ADDRESS_LENGTH
        or (":" in host) != bracketed
        or any(character.isspace() or character in "/[]" or not character.isprintable() for character in host)
        or not _PORT.match(port)
        or not 0 < int(port) < 1 << 16
    ):
        raise InvalidError(f"{text!r} is not an address", hint="write HOST:PORT, for example 192.0.2.7:7400")
    return host, int(port)
