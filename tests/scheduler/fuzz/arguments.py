"""Arguments for host calls: what a correct caller passes, or now and then something else.

A parameter is understood by its name, which means the same in every row of the table, by its kind, and by
the row it is in. Rows and parameters that nobody thought of here get values by their kind. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType
from typing import Final, final

from luna.scheduler.hostcalls import WASI_NAMESPACE, HostCall, Kind, Parameter

from .layout import (
    BUFFER_BYTES,
    BUFFERS,
    HOSTS,
    OUT,
    POOL_NAMES,
    POOL_SLOTS,
    PREPARED,
    SOCKET_ADDRESS,
    Text,
    pool_slot,
    texts,
)

__all__ = ["Arguments", "Chosen"]

ODD_I32: Final = (0, 1, 2, 3, 4, 5, 6, 7, -1, 255, 65_535, 65_536, 0x7FFF_FFFF, -0x8000_0000)
ODD_I64: Final = (0, 1, 2, 3, 4, 5, -1, 1 << 31, 1 << 32, 1 << 40, (1 << 63) - 1, -1 << 63)
ODD_F64: Final = ("0", "-0", "1.5", "-1", "nan", "inf", "-inf", "1e308")
ODD_POINTERS: Final = (0, 65_528, 65_530, 65_535, 65_536, 65_537, -1, -8, 0x7FFF_FFFF)
NOWHERE: Final = (-1, -8, -0x8000_0000)
"""pointers beyond all memory a guest may grow to"""
ODD_LENGTHS: Final = (0, 1, 2, 65_536, -1, 0x7FFF_FFFF)
LOW_BYTES: Final = 256
"""what may be written from address 0 on"""
ENDLESS_SHARE: Final = 0.02
"""of timeouts, those without an end"""

ALL_RIGHTS: Final = (1 << 29) - 1
"""what WASI knows of rights to a file"""
TIMEOUTS: Final = ("timeout_ms", "delay_ms", "duration_ms")

POOLS_OF: Final[Mapping[str, str]] = MappingProxyType(
    {
        "process": "process",
        "error": "error",
        "module": "module",
        "config": "config",
        "timer": "timer",
        "iterator": "dns",
        "socket": "udp",
        "connection": "connection",
        "statement": "statement",
        "query": "query",
        "environment": "environment",
        "tag": "tag",
        "link_tag": "tag",
        "wait_tag": "tag",
        "node": "node",
        "from": "fd",
        "to": "fd",
        "new_fd": "fd",
        "fd": "fd",
    }
)
"""Pools that parameters of these names are taken from."""

TEXTS_OF: Final[Mapping[str, str]] = MappingProxyType(
    {
        "entry": "entries",
        "params": "params",
        "source": "modules",
        "module": "modules",
        "plugin": "modules",
        "version": "versions",
        "directory": "directories",
        "prefix": "prefixes",
        "path": "paths",
        "new_path": "paths",
        "target": "paths",
        "host": "hosts",
        "certificate": "certificates",
        "key": "keys",
        "sql": "statements",
        "values": "bindings",
        "vectors": "vectors",
        "buffers": "vectors",
        "tags": "tags",
        "authorities": "authorities",
        "request": "request",
        "query": "queries",
        "subscriptions": "subscriptions",
    }
)
"""Texts that pointers of these names are given; others get names."""

VARIOUS: Final = frozenset(
    {
        "name",
        "entry",
        "source",
        "path",
        "new_path",
        "target",
        "directory",
        "vectors",
        "buffers",
        "subscriptions",
        "values",
        "module",
        "version",
    }
)
"""pointers to texts of which more than the first is good"""

SMALL: Final[Mapping[str, Sequence[int]]] = MappingProxyType(
    {
        "clock": (0, 1, 2, 3),
        "whence": (0, 1, 2),
        "flags": (0, 0, 1, 2, 4),
        "lookup_flags": (0, 1),
        "open_flags": (1, 1, 0, 2, 5, 8, 9),
        "fd_flags": (0, 0, 1, 4),
        "advice": (0, 3, 5),
        "how": (1, 2, 3),
        "signal": (2, 6, 15),
        "code": (0, 0, 1, 42, 125, 126, -1),
        "column": (0, 0, 1, 2),
        "hops": (1, 64, 255, 0, 256),
        "function": (0, 1, 2, 3, 4, 5),
        "die": (0, 0, 1),
        "rights": (ALL_RIGHTS,),
        "inheriting": (ALL_RIGHTS,),
        "base": (ALL_RIGHTS, 0),
        "max_memory": (1_000_000, 65_536, -1),
        "max_fuel": (0, 1, 10),
        "bytes": (65_536, 200_000, 1_000_000, 0, -1),
        "units": (0, 1, 10, 100),
        "capacity": (0, 8, 100, 1 << 40),
        "offset": (0, 0, 1, 5, 100_000),
        "size": (0, 10, 100_000),
        "len": (0, 10, 10_000),
        "delta": (0, 0, 5, -1),
        "cookie": (0, 1, 2),
        "value": (0, 1, -5),
    }
)
"""What plain numbers of these names are."""


@final
@dataclass(slots=True)
class Chosen:
    """Arguments of one call, as WAT."""

    before: list[str] = field(default_factory=list)
    """instructions that prepare them"""
    values: list[str] = field(default_factory=list)
    outs: dict[str, int] = field(default_factory=dict)
    """where results will be, by the parameter's name; only where they can be"""
    slots: list[int] = field(default_factory=list)
    """places of the ids among them: one that is negative is missing, and the call is better left out"""


@final
class Arguments:
    """Chooses arguments, of which about a share of `oddity` is not what a correct caller passes."""

    def __init__(self, random: Random, oddity: float) -> None:
        self._random = random
        self._oddity = oddity

    def choose(self, row: HostCall) -> Chosen:
        """Arguments for one call."""
        chosen = Chosen()
        parameters = list(row.parameters)
        lengths: dict[str, str] = {}
        kind = 4 if self._random.random() < 0.8 else 6
        for position, parameter in enumerate(parameters):
            follower = parameters[position + 1] if position + 1 < len(parameters) else None
            if parameter.name in lengths:
                value = lengths[parameter.name]
            elif parameter.name == "address_type":
                value = self._i32(kind if self._is_right() else self._random.choice(ODD_I32))
            elif parameter.name == "address" and parameter.kind is Kind.IN:
                value = self._socket_address(chosen, kind)
            elif parameter.name == "port" and parameter.kind is Kind.I32:
                value = self._port(row)
            elif parameter.kind is Kind.IN:
                value, length = self._text(row, parameter)
                lengths[f"{parameter.name}_len"] = length
            elif parameter.kind is Kind.OUT:
                is_sized = (
                    follower is not None and follower.kind is Kind.LEN and "subscr" not in follower.name
                )
                value, length = self._room(row, is_sized)
                if is_sized and follower is not None:
                    lengths[follower.name] = length
            elif parameter.kind.is_pointer:
                value = self._out(chosen, parameter, position)
            else:
                value = self._number(chosen, row, parameter)
            chosen.values.append(value)
        return chosen

    # -- pointers -------------------------------------------------------------------

    def _text(self, row: HostCall, parameter: Parameter) -> tuple[str, str]:
        options = texts()[self._kind_of_text(row, parameter)]
        guarded = row.name in ("resolve", "tls_connect") and parameter.name in ("name", "host")
        if self._is_right():
            text = self._good_text(row, parameter, options)
            return self._i32(text.address), self._i32(text.count)
        text = self._random.choice(options)
        if guarded:  # what is resolved is a whole text, or none
            return self._i32(self._random.choice((text.address, *NOWHERE))), self._i32(text.count)
        length = self._random.choice((*ODD_LENGTHS, text.count - 1, text.count + 1))
        address = self._random.choice((text.address, text.address, *ODD_POINTERS))
        return self._i32(address), self._i32(length)

    def _good_text(self, row: HostCall, parameter: Parameter, options: Sequence[Text]) -> Text:
        if parameter.name == "sql":
            if self._random.random() < 0.01:
                return options[-1]  # the endless one
            if "prepare" in row.name and self._random.random() < 0.9:
                return options[self._random.choice(PREPARED)]
            return self._random.choice(options[:-1])
        # The good ones come first.
        spread = 0.4 if parameter.name in VARIOUS else 2.5
        return options[min(int(self._random.expovariate(spread)), len(options) - 1)]

    def _kind_of_text(self, row: HostCall, parameter: Parameter) -> str:
        if row.name == "resolve":
            return "resolved"
        if row.name == "lookup" and parameter.name == "query":
            return "versions"
        if row.namespace == "lunatic::sqlite" and parameter.name == "path":
            return "databases"
        if row.name in ("sign_node", "default_server_certificates") and parameter.name in (
            "certificate",
            "key",
        ):
            return "authority" if parameter.name == "certificate" else "authority_key"
        if row.namespace == "lunatic::wasi" and parameter.name == "key":
            return "names"
        return TEXTS_OF.get(parameter.name, "names")

    def _room(self, row: HostCall, is_sized: bool) -> tuple[str, str]:
        """Where bytes go, and how many may. From 0 only few, see `layout`."""
        if self._is_right():
            offset = self._random.choice((0, 0, 64, 1000))
            size = self._random.choice((1, 8, 64, 1000, BUFFER_BYTES - offset))
            return self._i32(BUFFERS + offset), self._i32(size if "nodes" not in row.name else size // 8)
        if is_sized and self._random.random() < 0.2:
            return self._i32(0), self._i32(self._random.choice((0, 1, LOW_BYTES // 8)))
        pointer = self._random.choice((BUFFERS, BUFFERS, *ODD_POINTERS[1:]))
        return self._i32(pointer), self._i32(self._random.choice(ODD_LENGTHS))

    def _out(self, chosen: Chosen, parameter: Parameter, position: int) -> str:
        if self._is_right():
            address = OUT + 16 * (position % 8)
            chosen.outs[parameter.name] = address
            return self._i32(address)
        return self._i32(self._random.choice(ODD_POINTERS))

    def _socket_address(self, chosen: Chosen, kind: int) -> str:
        """Pointer to a host of ours, which is written there right before the call."""
        host = bytes(map(int, self._random.choice((HOSTS[0], HOSTS[0], *HOSTS)).split(".")))
        octets = host + bytes(12) if kind == 4 else bytes(10) + b"\xff\xff" + host
        for offset, value in zip((0, 8), struct.unpack("<qq", octets), strict=True):
            chosen.before.append(f"(i64.store (i32.const {SOCKET_ADDRESS + offset}) (i64.const {value}))")
        return self._i32(SOCKET_ADDRESS if self._is_right() else self._random.choice(NOWHERE))

    # -- numbers --------------------------------------------------------------------

    def _port(self, row: HostCall) -> str:
        """Any, or one that a call of this guest's bound."""
        if "bind" in row.name and self._random.random() < 0.95:
            return "(i32.const 0)"
        port = f"(global.get ${row.name.split('_')[0]}_port)"
        return port if self._is_right() else f"(i32.add {port} (i32.const 65536))"

    def _number(self, chosen: Chosen, row: HostCall, parameter: Parameter) -> str:
        wasm = parameter.kind.wasm
        if wasm == "f64":
            return f"(f64.const {'2.5' if self._is_right() else self._random.choice(ODD_F64)})"
        if parameter.name in TIMEOUTS:
            return f"({wasm}.const {self._timeout(row, wasm)})"
        if self._is_right():
            pool = self._pool(row, parameter)
            if pool is not None:
                return self._pooled(chosen, row, parameter, pool)
            options = SMALL.get(parameter.name, (0, 1))
        elif row.namespace == WASI_NAMESPACE and parameter.name in ("len", "size", "offset"):
            options = (0, 1, -1, 1 << 20)  # files of the test stay small
        else:
            options = ODD_I32 if wasm == "i32" else ODD_I64
        return f"({wasm}.const {self._random.choice(options)})"

    def _timeout(self, row: HostCall, wasm: str) -> int:
        if self._random.random() < ENDLESS_SHARE:
            return -1 if wasm == "i64" else 0  # as earlier interfaces had it
        if "connect" in row.name or "resolve" in row.name:
            return self._random.choice((1, 20, 500, 500))
        return self._random.choice((int(wasm == "i32"), 1, 5, 20))

    def _pool(self, row: HostCall, parameter: Parameter) -> str | None:
        pool = POOLS_OF.get(parameter.name)
        if parameter.name in ("stream", "listener"):
            pool = f"{'tls' if 'tls' in row.name else 'tcp'}_{parameter.name}"
        elif parameter.name == "index":
            pool = f"{row.name.removeprefix('take_')}_index"
        return pool if pool in POOL_NAMES else None

    def _pooled(self, chosen: Chosen, row: HostCall, parameter: Parameter, pool: str) -> str:
        is_spawn = row.name in ("spawn", "get_or_spawn")
        if is_spawn and parameter.name in ("module", "config") and self._random.random() < 0.75:
            return "(i64.const -1)"  # its own
        if is_spawn and parameter.name == "link_tag" and self._random.random() < 0.6:
            return "(i64.const 0)"
        if parameter.name == "fd" and row.name.startswith("path_") and self._random.random() < 0.9:
            return "(i32.const 3)"  # its directory
        slot = pool_slot(pool, min(int(self._random.expovariate(1.2)), POOL_SLOTS - 1))
        chosen.slots.append(slot)
        return f"({parameter.kind.wasm}.load (i32.const {slot}))"

    # -- both -----------------------------------------------------------------------

    def _is_right(self) -> bool:
        return self._random.random() >= self._oddity

    @staticmethod
    def _i32(value: int) -> str:
        return f"(i32.const {value})"
