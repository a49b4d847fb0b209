"""The shape of one row of the host-call table, and the notation rows are written in.

Owns the types `HostCall`, `Parameter`, `Kind` and `Where`. Holds no rows (they are in
the `_table_*` modules) and never runs anything: linker, header and docs read from it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, final

TODAY: Final = "0.13"
"""the interface that rows without another belong to, by the release of Lunatic that had it."""

SHOWN_TEXTS: Final = frozenset(
    ("name", "entry", "argument", "directory", "host", "path", "new_path", "target", "query", "sql", "prefix")
)
"""parameters whose text the trace of a process shows: none that holds keys or what a program works on."""


class Kind(StrEnum):
    """What a parameter means; several kinds share one wasm type.

    The distinction feeds the C header (`const void *` against `uint32_t`) and the docs.
    """

    I32 = "i32"
    I64 = "i64"
    F64 = "f64"
    LEN = "len"  # i32: a count of bytes or elements
    IN = "in"  # i32: guest address the host reads from
    OUT = "out"  # i32: guest address the host writes bytes to
    OUT16 = "out16"  # i32: guest address of a u16 the host writes
    OUT32 = "out32"  # i32: guest address of a u32 the host writes
    OUT64 = "out64"  # i32: guest address of a u64 the host writes

    @property
    def wasm(self) -> str:
        """The wasm value type: `i32`, `i64` or `f64`."""
        return self.value if self in (Kind.I64, Kind.F64) else "i32"

    @property
    def letter(self) -> str:
        """The wasm value type as the native linker spells it: `i`, `I` or `f`."""
        return {"i32": "i", "i64": "I", "f64": "f"}[self.wasm]

    @property
    def is_pointer(self) -> bool:
        """Whether the parameter is an address in guest memory."""
        return self in (Kind.IN, Kind.OUT, Kind.OUT16, Kind.OUT32, Kind.OUT64)


class Where(StrEnum):
    """Who answers a host call."""

    NATIVE = "native"  # the native core, on the scheduler thread
    REQUEST = "request"  # Python, on trio, while the process is parked
    REQUEST_DATA = "request_data"  # the same, and its answer is bytes placed in the guest's memory
    WASI = "wasi"  # wasmtime's own WASI preview 1

    @property
    def parks(self) -> bool:
        """Whether the calling process is always parked."""
        return self in (Where.REQUEST, Where.REQUEST_DATA)


@final
@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a host call: its name in C and its kind."""

    name: str
    kind: Kind


@final
@dataclass(frozen=True, slots=True)
class HostCall:
    """One function a guest may import."""

    namespace: str
    name: str
    parameters: tuple[Parameter, ...]
    returns: Kind | None
    summary: str  # what it does and what its result means
    traps: str  # what makes it trap; "never" when nothing does
    suspends: bool  # may park the calling process
    where: Where
    interface: str = TODAY  # the first release of Lunatic whose guests import it so
    departs: str = ""  # where it differs from Lunatic's on purpose, and why
    index: int = -1  # position in ALL_CALLS, set when the table is assembled

    @property
    def full_name(self) -> str:
        """`namespace::name`, as error messages show it."""
        return f"{self.namespace}::{self.name}"

    @property
    def key(self) -> str:
        """What tells it from rows of the same name in other interfaces; its handler is set by it."""
        return self.name if self.interface == TODAY else f"{self.name}@{self.interface}"

    @property
    def params(self) -> str:
        """Parameter types for the native linker: one of `i`, `I`, `f` each."""
        return "".join(parameter.kind.letter for parameter in self.parameters)

    @property
    def shown(self) -> str:
        """How the trace shows each parameter: `i`, `I` and `f` as numbers, `u` unsigned, `P` a process.

        `t` is text, of the length that is the next parameter.
        """
        letters = []
        rest = deque(self.parameters)
        while rest:
            parameter = rest.popleft()
            is_text = parameter.name in SHOWN_TEXTS and parameter.kind is Kind.IN
            if is_text and rest and rest[0].kind is Kind.LEN:
                letters.append("t")
            elif parameter.name == "process" and parameter.kind is Kind.I64:
                letters.append("P")
            elif parameter.kind is Kind.LEN or parameter.kind.is_pointer:
                letters.append("u")
            else:
                letters.append(parameter.kind.letter)
        return "".join(letters)

    @property
    def result(self) -> str:
        """Result type for the native linker: `""` or one letter."""
        return "" if self.returns is None else self.returns.letter

    @property
    def type(self) -> str:
        """The wasm type for people, such as `i64 i32 -> i32`, `-> i64` or `i64 ->`."""
        params = " ".join(parameter.kind.wasm for parameter in self.parameters)
        return f"{params} -> {'' if self.returns is None else self.returns.wasm}".strip()


@final
class Rows:
    """Writes the rows of one namespace: calling it gives one row.

    A signature is `name:kind name:kind -> kind`; either side of the arrow may be empty,
    and without a result the arrow is left out.
    """

    def __init__(self, namespace: str, where: Where, interface: str = TODAY) -> None:
        self._namespace = namespace
        self._where = where
        self._interface = interface

    def __call__(
        self,
        name: str,
        signature: str,
        summary: str,
        *,
        traps: str = "never",
        suspends: bool = False,
        where: Where | None = None,
        departs: str = "",
    ) -> HostCall:
        left, _, right = signature.partition("->")
        parameters = []
        for item in left.split():
            parameter, _, kind = item.partition(":")
            parameters.append(Parameter(parameter, Kind(kind)))
        returns = Kind(right.strip()) if right.strip() else None
        if returns is not None and returns not in (Kind.I32, Kind.I64, Kind.F64):
            raise ValueError(f"{self._namespace}::{name}: a result is a plain wasm value, not {returns}")
        return HostCall(
            namespace=self._namespace,
            name=name,
            parameters=tuple(parameters),
            returns=returns,
            summary=summary,
            traps=traps,
            suspends=suspends or (where or self._where).parks,
            where=where or self._where,
            interface=self._interface,
            departs=departs,
        )
