"""Generates guests from the table of host calls: the same guest for the same seed.

A guest has a few functions, each a sequence of host calls about something, and entries that call some of
them, mostly inside `lunatic::trap::catch`. What calls give is kept in pools of ids, which later calls take
from. Entries get as parameters how deep they may spawn, the ports that their parents bound (with a check, so
that no other number is ever taken for a port), and who their parent is. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from types import MappingProxyType
from typing import Final, final

from luna.scheduler import ProcessConfig
from luna.scheduler._hostcall import TODAY
from luna.scheduler.hostcalls import EARLIER_CALLS, HOST_CALLS, HostCall

from .arguments import Arguments, Chosen
from .layout import ARENA, BUFFERS, OUT, PARAMS, POOL_SLOTS, pool_slot, text_data, texts
from .themes import CONSUMING, EARLIER, GIVES, NEED_DATA, NEED_MESSAGE, RARE, THEMES, pool_given

__all__ = ["REPORT_MARK", "ROOT", "Program", "generate"]

ODDITIES: Final = (0.0, 0.0, 0.003, 0.02, 0.1)
"""shares of odd arguments, of which each function has one: with many of them it does not get far"""
BODIES: Final = 6
ENTRIES: Final = 4
ROOT: Final = "root"
"""the entry of the first process, which no other can name: each generation spawns fewer"""
DEPTH: Final = 2
"""generations below the first process"""
BUDGET: Final = 24
"""functions one process calls: they call each other through `lunatic::trap::catch`"""
EARLIER_SHARE: Final = 0.2
"""of guests, those that import from earlier interfaces"""
PORTS_CHECK: Final = 0x6C75_6E61_6675_7A7A
REPORT_MARK: Final = 0x4C55
"""`nodes_len` by which a call of `distributed::get_nodes` tells what another call did"""
CALLED, RETURNED, WAS_ZERO = range(3)

ALLOCATORS: Final = (
    "",
    "(memory.grow (i32.const 1)) drop",
    "(return (i32.const -1))",
    "(return (i32.const 65530))",
    "unreachable",
    "(call $budget) (drop (call $_lunatic_catch_trap (i32.const 0) (i32.const 0)))",
    "(loop (br 0))",
)
"""What `lunatic_alloc` does before it gives room; the first of them often."""

STATEMENTS: Final = (
    "(drop (memory.grow (i32.const 1)))",
    "unreachable",
    "(drop (i32.div_u (i32.const 1) (i32.load (i32.const 0))))",
    "(call $recurse)",
    "(loop (br 0))",
    (
        "(local.set $count (i32.const 30000)) (loop $again (br_if $again"
        " (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))"
    ),
    "(drop (i32.load (i32.const -1)))",
    "(memory.fill (i32.const 32768) (i32.const 0x5a) (i32.const 16384))",
)
"""What guests do between host calls, and how often compared with each other."""
IS_YOUNG: Final = "(i32.gt_s (global.get $depth) (i32.const 0))"
"""whether a process may spawn"""
STATEMENT_WEIGHTS: Final = (4, 1, 1, 0.5, 0.2, 6, 1, 2)


@final
@dataclass(frozen=True, slots=True)
class Program:
    """A generated guest."""

    seed: int
    wat: str
    config: ProcessConfig
    """without directories"""


@cache
def _rows(interfaces: tuple[str, ...]) -> Mapping[str, HostCall]:
    """Today's rows, and those of earlier interfaces in place of what has the same name."""
    rows = {_name(row): row for row in HOST_CALLS}
    for interface in interfaces:
        rows.update((_name(row), row) for row in EARLIER_CALLS if row.interface == interface)
    return MappingProxyType(rows)


def _name(row: HostCall) -> str:
    return f"{row.namespace.removeprefix('lunatic::')}.{row.name}"


def generate(seed: int, *, counting: bool = False) -> Program:
    """The guest of a seed. With `counting` it reports each call before and after, see REPORT_MARK."""
    return _Generator(seed, counting).program()


@final
class _Generator:
    def __init__(self, seed: int, counting: bool) -> None:
        self._seed = seed
        self._counting = counting
        self._random = Random(seed)
        interfaces = tuple(dict.fromkeys(row.interface for row in EARLIER_CALLS))
        self._is_earlier = self._random.random() < EARLIER_SHARE
        mixed = [interface for interface in interfaces if self._random.random() < 0.6]
        self._is_earlier = self._is_earlier and bool(mixed)
        self._rows = _rows(tuple(mixed) if self._is_earlier else ())
        self._imported: dict[str, HostCall] = {}
        self._oddity = 0.0
        self._arguments = Arguments(self._random, 0.0)

    def program(self) -> Program:
        """The whole module."""
        themes = self._random.choices([name for name in THEMES if name != EARLIER], k=BODIES)
        if self._is_earlier:
            themes[1:3] = [EARLIER] * 2
        if "tls" in themes:
            themes[0] = "tls streams"
        elif "tcp" in themes:
            themes[0] = "tcp streams"
        functions = [self._body(number, theme) for number, theme in enumerate(themes)]
        functions += [self._entry(number) for number in range(ENTRIES)]
        functions += self._fixed()
        if self._random.random() < 0.05:
            functions.append(self._function("start", self._sequence("everything", 5)) + "(start $start)")
        imports = "".join(
            f'(import "{row.namespace}" "{row.name}" (func ${name} {_type(row)}))\n'
            for name, row in self._imported.items()
        )
        report = '(import "lunatic::distributed" "get_nodes" (func $report (param i32 i32) (result i32)))\n'
        wat = "".join(
            [
                f";; seed {self._seed}: {', '.join(themes)}\n(module\n{imports}{report}",
                '(memory (export "memory") 1 6)\n',
                "(global $tcp_port (mut i32) (i32.const 0))(global $tls_port (mut i32) (i32.const 0))\n",
                "(global $scratch (mut i32) (i32.const 0))\n",
                "(global $udp_port (mut i32) (i32.const 0))(global $depth (mut i32) (i32.const 0))\n",
                f"(global $budget (mut i32) (i32.const {BUDGET}))\n",
                f"(global $room (mut i32) (i32.const {ARENA}))\n",
                *functions,
                text_data(),
                ")\n",
            ]
        )
        return Program(self._seed, wat, self._config())

    def _config(self) -> ProcessConfig:
        if self._random.random() < 0.9:
            return ProcessConfig.program(arguments=("fuzz", "--x"), environment_variables=(("A", "b"),))
        return ProcessConfig.program(
            max_memory_bytes=self._random.choice((65_536, 131_072, 0xFFFF_FFFF)),
            max_fuel=self._random.choice((0, 1, 10)),
            namespaces=self._random.choice(
                (None, ("lunatic::process", "lunatic::message", "lunatic::trap"), ("lunatic", "wasi"))
            ),
        )

    # -- functions ------------------------------------------------------------------

    def _fixed(self) -> list[str]:
        """What every guest has."""
        bodies = " ".join(f"$body{number}" for number in range(BODIES))
        allocator = self._random.choice(ALLOCATORS) if self._random.random() < 0.15 else ""
        self._use("process.process_id")
        own, parent = pool_slot("process", 0), pool_slot("process", 1)
        return [
            f"(table funcref (elem {bodies}))\n",
            (
                "(func $budget (global.set $budget (i32.sub (global.get $budget) (i32.const 1)))"
                " (if (i32.lt_s (global.get $budget) (i32.const 0)) (then unreachable)))\n"
            ),
            "(func $recurse (call $recurse))\n",
            (
                '(func $_lunatic_catch_trap (export "_lunatic_catch_trap") (param i32 i32) (result i32)'
                f" (call_indirect (i32.rem_u (local.get 0) (i32.const {BODIES}))) (i32.const 1))\n"
            ),
            (
                '(func (export "lunatic_alloc") (param $size i32) (result i32) (local $at i32)'
                f" {allocator}"
                f" (if (i32.gt_u (i32.add (global.get $room) (local.get $size)) (i32.const 65000))"
                f" (then (global.set $room (i32.const {ARENA}))))"
                " (local.set $at (global.get $room))"
                " (global.set $room (i32.add (local.get $at) (local.get $size))) (local.get $at))\n"
            ),
            # Parameters of a child: depth, ports, their check, and its parent.
            "(func $params (local $ports i64)"
            " (local.set $ports (i64.or (i64.extend_i32_u (global.get $tcp_port))"
            " (i64.or (i64.shl (i64.extend_i32_u (global.get $tls_port)) (i64.const 16))"
            " (i64.shl (i64.extend_i32_u (global.get $udp_port)) (i64.const 32)))))"
            + "".join(
                f" (i32.store8 (i32.const {PARAMS + 17 * index}) (i32.const {kind}))"
                f" ({wasm}.store (i32.const {PARAMS + 17 * index + 1}) {value})"
                for index, (kind, wasm, value) in enumerate(
                    (
                        (0x7F, "i32", "(i32.sub (global.get $depth) (i32.const 1))"),
                        (0x7E, "i64", "(local.get $ports)"),
                        (0x7E, "i64", f"(i64.xor (local.get $ports) (i64.const {PORTS_CHECK}))"),
                        (0x7E, "i64", "(call $process.process_id)"),
                    )
                )
            )
            + ")\n",
            (
                "(func $begin (param $depth i32) (param $ports i64) (param $check i64) (param $parent i64)"
                " (if (i64.eq (local.get $check)"
                f" (i64.xor (local.get $ports) (i64.const {PORTS_CHECK})))"
                " (then (global.set $depth (local.get $depth))"
                " (global.set $tcp_port (i32.and (i32.wrap_i64 (local.get $ports)) (i32.const 0xffff)))"
                " (global.set $tls_port (i32.and (i32.wrap_i64 (i64.shr_u (local.get $ports) (i64.const 16)))"
                " (i32.const 0xffff)))"
                " (global.set $udp_port (i32.and (i32.wrap_i64 (i64.shr_u (local.get $ports) (i64.const 32)))"
                " (i32.const 0xffff)))))"
                f" (i64.store (i32.const {own}) (call $process.process_id))"
                f" (i64.store (i32.const {parent}) (local.get $parent)))\n"
            ),
            *(
                f'(func (export "{name}")'
                f" (call $e0 (i32.const {depth}) (i64.const 0) (i64.const {PORTS_CHECK}) (i64.const 1)))\n"
                for name, depth in ((ROOT, DEPTH), ("_start", 0))
            ),
        ]

    def _entry(self, number: int) -> str:
        """An exported function: some of the others, each likely to be caught when it traps."""
        calls = []
        first = [0] if number == 1 else []  # what connects, for children
        for body in first + self._random.choices(range(BODIES), k=self._random.randint(2, 5)):
            if self._random.random() < 0.85:
                self._use("trap.catch")
                calls.append(f"(drop (call $trap.catch (i32.const {body}) (i32.const 0)))")
            else:
                calls.append(f"(call $body{body})")
        return (
            f'(func $e{number} (export "e{number}") (param i32 i64 i64 i64)'
            " (call $begin (local.get 0) (local.get 1) (local.get 2) (local.get 3))\n"
            + "\n".join(calls)
            + ")\n"
        )

    def _body(self, number: int, theme: str) -> str:
        length = self._random.choice((5, 10, 20, 40))
        return self._function(f"body{number}", ["(call $budget)", *self._sequence(theme, length)])

    def _function(self, name: str, lines: Sequence[str]) -> str:
        return (
            f"(func ${name} (local $code i32) (local $wide i64) (local $count i32)\n"
            + "\n".join(lines)
            + ")\n"
        )

    def _sequence(self, name: str, length: int) -> list[str]:
        """The steps of a theme, with others of it between and behind them."""
        theme = THEMES[name]
        self._oddity = oddity = self._random.choice(ODDITIES)
        self._arguments = Arguments(self._random, oddity)
        mixed = [
            (call, RARE.get(call, 1.0) + 0.3 * sum(call == prefix for prefix in theme.more))
            for call, row in self._rows.items()
            if call.startswith(tuple(theme.more)) or (name == EARLIER and row.interface != TODAY)
        ]
        names, weights = [call for call, _ in mixed], [weight for _, weight in mixed]
        lines: list[str] = []
        pending = [step for step in theme.steps if self._random.random() >= oddity]
        while pending or length > 0:
            length -= 1
            if pending and self._random.random() < 0.7:
                step = pending.pop(0)
            elif self._random.random() < 0.04:
                lines += self._random.choices(STATEMENTS, STATEMENT_WEIGHTS)
                continue
            else:
                step = self._random.choices(names, weights)[0]
            lines += self._step(step)
        return lines

    # -- steps ----------------------------------------------------------------------

    def _step(self, name: str) -> list[str]:
        match name:
            case "@spawn":
                return self._spawn()
            case "@tcp_port" | "@tls_port":
                return self._ask_port(name[1:4], "listener")
            case "@udp_port":
                return self._ask_port("udp", "")
            case "@table":
                return self._make_table()
        row = self._rows.get(name)
        if row is None:
            return []  # not of this interface
        chosen = self._arguments.choose(row)
        lines = [*chosen.before, *self._call(name, row, chosen)]
        if "spawn" in row.name and "config" not in row.name:
            lines = [f"(if {IS_YOUNG} (then", "(call $params)", *lines, "))"]
        guards = [f"(i64.ge_s (i64.load (i32.const {slot})) (i64.const 0))" for slot in chosen.slots]
        if row.name in NEED_DATA:
            guards.append("(i32.eq (global.get $scratch) (i32.const 1))")
        elif row.name in NEED_MESSAGE:
            guards.append("(global.get $scratch)")
        for guard in guards:
            if self._random.random() >= self._oddity:
                lines = [f"(if {guard} (then", *lines, "))"]
        return lines

    def _call(self, name: str, row: HostCall, chosen: Chosen) -> list[str]:
        self._use(name)
        call = f"(call ${name} {' '.join(chosen.values)})"
        before = [_report(row, CALLED)] if self._counting else []
        after = [_report(row, RETURNED)] if self._counting else []
        result = "" if row.returns is None else row.returns.wasm
        if result == "i32":
            call = f"(local.set $code {call})"
            zero = "(i32.eqz (local.get $code))"
        elif result == "i64":
            call = f"(local.set $wide {call})"
            zero = "(i64.eqz (local.get $wide))"
        else:
            return [*before, call, *after, *self._note(row, "", chosen)]
        if self._counting:
            after.append(f"(if {zero} (then {_report(row, WAS_ZERO)}))")
        return [*before, call, *after, *self._note(row, zero, chosen), *self._keep(row, result, zero, chosen)]

    def _keep(self, row: HostCall, result: str, zero: str, chosen: Chosen) -> list[str]:
        """Put what a call gave into the pools."""
        lines = []
        for out, address in chosen.outs.items():
            pool = pool_given(row.name, out)
            if pool is not None:
                load = "i64.load32_u" if out == "opened" else "i64.load"
                lines.append(
                    f"(if {zero} (then (i64.store (i32.const {self._slot(pool)})"
                    f" ({load} (i32.const {address})))))"
                )
            if out in ("id", "error"):
                lines.append(
                    f"(if (i32.eqz {zero}) (then (i64.store (i32.const {self._slot('error')})"
                    f" (i64.load (i32.const {address})))))"
                )
        given = GIVES.get(row.name)
        if result == "i64" and given is not None and "id" not in chosen.outs:
            lines.append(f"(i64.store (i32.const {self._slot(given)}) (local.get $wide))")
        return lines

    def _note(self, row: HostCall, zero: str, chosen: Chosen) -> list[str]:
        """Note what a call took away, and what message there is."""
        lines = []
        if row.name.startswith(CONSUMING):
            lines += [f"(i64.store (i32.const {slot}) (i64.const -1))" for slot in chosen.slots]
        if row.name == "create_data":
            lines.append("(global.set $scratch (i32.const 1))")
        elif row.name == "receive":
            lines.append(
                "(if (i32.le_u (local.get $code) (i32.const 2))"
                " (then (global.set $scratch (i32.add (local.get $code) (i32.const 1)))))"
            )
        elif row.name == "send_receive_skip_search":
            lines.append(f"(global.set $scratch {zero})")
        elif row.name in ("send", "send_after"):
            lines.append("(global.set $scratch (i32.const 0))")
        return lines

    def _slot(self, pool: str) -> int:
        # The first is taken from most, and gets most.
        if pool == "process":
            return pool_slot(pool, self._random.choice((0, 2, 2, 3)))
        return pool_slot(pool, min(int(self._random.expovariate(1.5)), POOL_SLOTS - 1))

    def _spawn(self) -> list[str]:
        """A child at an entry, with or without a link."""
        name = "process.spawn"
        row = self._rows[name]
        chosen = self._arguments.choose(row)
        places = {parameter.name: index for index, parameter in enumerate(row.parameters)}
        entry = texts()["entries"][self._random.choice((0, 1, 1, 2, 3))]
        for parameter, value in (
            ("entry", entry.address), ("entry_len", entry.count), ("params", PARAMS), ("params_len", 68),
        ):  # fmt: skip
            if parameter in places:
                chosen.values[places[parameter]] = f"(i32.const {value})"
        return [
            f"(if {IS_YOUNG} (then",
            "(call $params)",
            *self._call(name, row, chosen),
            "))",
        ]

    def _make_table(self) -> list[str]:
        """Make the table that most statements are about."""
        self._use("sqlite.execute")
        create, fill = texts()["statements"][:2]
        return [
            f"(drop (call $sqlite.execute (i64.load (i32.const {pool_slot('connection', 0)}))"
            f" (i32.const {text.address}) (i32.const {text.count})))"
            for text in (create, fill)
        ]

    def _ask_port(self, kind: str, what: str) -> list[str]:
        """Note where a listener or socket is bound: straight from what the host says."""
        asks, next_ = f"networking.{kind}_local_addr", "networking.resolve_next"
        self._use(asks)
        self._use(next_)
        pool = pool_slot("udp" if kind == "udp" else f"{kind}_{what}", 0)
        return [
            f"(if (i32.eqz (call ${asks} (i64.load (i32.const {pool})) (i32.const {OUT})))",
            f"(then (if (i32.eqz (call ${next_} (i64.load (i32.const {OUT})) (i32.const {OUT + 16})",
            f"(i32.const {BUFFERS}) (i32.const {OUT + 32}) (i32.const {OUT + 48}) (i32.const {OUT + 64})))",
            f"(then (global.set ${kind}_port (i32.load16_u (i32.const {OUT + 32})))))))",
        ]

    def _use(self, name: str) -> None:
        row = self._rows.get(name)
        if row is not None:
            self._imported.setdefault(name, row)


def _report(row: HostCall, what: int) -> str:
    return f"(drop (call $report (i32.const {row.index * 4 + what}) (i32.const {REPORT_MARK})))"


def _type(row: HostCall) -> str:
    params = "".join(f" {parameter.kind.wasm}" for parameter in row.parameters)
    result = "" if row.returns is None else f"(result {row.returns.wasm})"
    return f"(param{params}) {result}" if params else result
