"""Starting processes: what is asked for, whether it can be, and how the birth went.

A process is born when its module is instantiated, on a scheduler thread; the
core tells by an event with the token of the birth. For one trio thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, final

from luna.proto.errors import ClosedError, InvalidError, LunaError, RefusedError
from luna.scheduler._core import Core
from luna.scheduler._handles import NativeOutput, NativeRequest
from luna.scheduler.config import Param, ProcessConfig
from luna.scheduler.modules import Module
from luna.scheduler.reasons import explain

__all__ = ["DEFAULT_ENVIRONMENT", "Birth", "Births", "Born", "Spawn", "check_environment"]

DEFAULT_ENVIRONMENT: Final = 1
ANY_ENVIRONMENT: Final = 0xFFFF_FFFF_FFFF_FFFF
"""what the core takes for "whichever": no process may live there, it would see all others."""

Born = Callable[[LunaError | None], None]
"""Told once how a birth went; must not raise."""


@final
@dataclass(frozen=True, slots=True)
class Spawn:
    """A process to start; see `Runtime.spawn`."""

    module: Module
    entry: str = "_start"
    params: Sequence[Param] = ()
    config: ProcessConfig = field(default_factory=ProcessConfig.program)
    environment: int = DEFAULT_ENVIRONMENT
    inherit: bool = False
    """print to the node's own streams and not into a log."""
    parent: int = 0
    link_tag: int | None = None
    """link to `parent` with this tag; 0 is a link without tag."""
    watch: bool = False
    """remember how it ends."""
    follow: bool = False
    """wait with what it prints for a follower."""
    quiet: bool = False
    """keep it out of the log if it fails: whoever started it tells."""
    check_entry: bool = False
    """refuse an entry that is missing or takes other parameters, and not let the process fail."""
    asker: NativeRequest | None = None
    """the host call that asked for it: it prints where that process prints."""


@final
@dataclass(frozen=True, slots=True)
class Birth:
    """A process that has been started and is not yet born."""

    token: int
    pid: int
    output: NativeOutput


@final
class Births:
    """The births under way in one runtime."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._waiting: dict[int, Born] = {}
        self._next_token = 1
        self._closed = False

    def begin(self, spawn: Spawn, born: Born) -> Birth:
        """Start a process; `born` is called when it is born or will never be.

        Raises InvalidError, RefusedError (limits), ClosedError (the runtime stops).
        """
        if self._closed:
            raise ClosedError("the runtime is stopping")
        if spawn.check_entry:
            _check_entry(spawn.module, spawn.entry, spawn.params)
        if "\0" in spawn.entry:
            raise InvalidError("the name of an entry function cannot contain a zero byte")
        check_environment(spawn.environment)
        spawn.config.check_texts()
        token = self._next_token
        self._next_token += 1
        pid, output = self._core.spawn(
            spawn.module.native,
            spawn.entry.encode(),
            [(param.kind, param.data) for param in spawn.params],
            spawn.config,
            spawn.environment,
            spawn.inherit,
            spawn.parent,
            spawn.link_tag,
            token,
            spawn.watch,
            spawn.follow,
            spawn.quiet,
            spawn.asker,
        )
        if pid == 0:
            raise RefusedError("this node holds as many processes as it may", hint="see --max-processes")
        self._waiting[token] = born
        return Birth(token, pid, output)

    def finish(self, token: int, error: str | None) -> None:
        """The core tells how a birth went; `error` is None when the process lives."""
        born = self._waiting.pop(token, None)
        if born is not None:
            born(None if error is None else InvalidError(explain(error)))

    def give_up(self, birth: Birth) -> None:
        """Nobody waits for it any more: it is killed."""
        self._waiting.pop(birth.token, None)
        self._core.kill(birth.pid)

    def close(self) -> None:
        """The runtime has stopped: nothing will be born."""
        self._closed = True
        waiting, self._waiting = self._waiting, {}
        for born in waiting.values():
            born(ClosedError("the runtime is stopping"))


def check_environment(environment: int) -> None:
    """Raise InvalidError unless processes can live in it."""
    if not 0 <= environment < ANY_ENVIRONMENT:
        raise InvalidError(f"{environment} is no environment")


def _check_entry(module: Module, entry: str, params: Sequence[Param]) -> None:
    kind = module.exports.get(entry)
    if kind is None:
        names = [name for name in module.exports if not name.startswith("__")]
        raise InvalidError(
            f"{module.name} exports no function {entry}",
            hint=f"it exports {', '.join(sorted(names)[:20])}" if names else "it exports no function at all",
        )
    given = tuple(param.kind for param in params)
    if kind.parameters != given:
        raise InvalidError(f"{entry} is {kind} and cannot be called with ({', '.join(given)})")
    if kind.results:
        raise InvalidError(f"{entry} is {kind}: an entry function must not return a value")
