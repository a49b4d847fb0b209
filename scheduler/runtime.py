"""A runtime: the native core with the trio side that serves it.

Owns the event pump; answering host calls is `answering`'s part, starting
processes `births`', what is remembered of them `lives`'. `open_runtime` is the only
way to get one; everything it starts has ended when its block is left.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal, final

import structlog
import trio

from luna.proto.errors import LunaError, NotFoundError, RefusedError
from luna.proto.limits import MAX_THREADS
from luna.scheduler import _core
from luna.scheduler._core import Core
from luna.scheduler.answering import Answering
from luna.scheduler.births import DEFAULT_ENVIRONMENT, Births, Born, Spawn
from luna.scheduler.config import Param, ProcessConfig
from luna.scheduler.engine import Engines
from luna.scheduler.facts import ExitKind, ExitStatus, ProcessInfo, RuntimeStatistics
from luna.scheduler.failures import Failures
from luna.scheduler.groups import Groups
from luna.scheduler.handlers import BuiltinHandlers
from luna.scheduler.lives import Lives
from luna.scheduler.local_names import LocalNames
from luna.scheduler.logs import LogReader
from luna.scheduler.modules import Module, Modules
from luna.scheduler.name_service import NameService
from luna.scheduler.node_watch import NodeWatch
from luna.scheduler.peers import PeerGateway
from luna.scheduler.pressure import watch_memory
from luna.scheduler.reasons import explain
from luna.scheduler.registry import Registry
from luna.scheduler.requests import Handler, Request
from luna.scheduler.resources import Resources
from luna.scheduler.services.background import Background
from luna.scheduler.services.dns import DnsHandlers, Resolver
from luna.scheduler.services.early_modules import EarlyModules
from luna.scheduler.services.early_network import EarlyNetwork
from luna.scheduler.services.early_registry import EarlyRegistry
from luna.scheduler.services.late import certificates, databases, tls
from luna.scheduler.services.metrics import MetricsHandlers
from luna.scheduler.services.standard_input import StandardInput
from luna.scheduler.services.tcp import TcpHandlers
from luna.scheduler.services.udp import UdpHandlers
from luna.scheduler.tracing import Trace

__all__ = ["Runtime", "open_runtime"]

MAX_PROCESSES: Final = 1_100_000
"""processes of one node: a million, and some for the node's own work."""
_LEFT: Final[list[Modules]] = []
"""code and host calls of runtimes whose threads could not be stopped: guests there may go on with them."""
_log = structlog.get_logger("luna.runtime")


@final
class Runtime:
    """A running scheduler. Made by `open_runtime`; its methods are for that trio thread."""

    def __init__(
        self, node_id: int, threads: int, cache: Path | None, max_processes: int, trace: Trace | None
    ) -> None:
        self.node_id: Final = node_id
        self._threads = threads
        self._core = Core(node_id, threads, max_processes)
        if trace is not None:
            self._core.set_trace(trace.lives, trace.calls, trace.signals, trace.as_json)
        engines = Engines(self._core, traces_calls=trace is not None and trace.calls)
        self._modules = Modules(self._core, engines, cache)
        self._births = Births(self._core)
        self._lives = Lives(self._core)
        self._resources = Resources()
        self._answering = Answering(self._modules, self._resources)
        self.peers: Final = PeerGateway(self._core)
        self.names: Final = LocalNames(self._core)
        self._registry = Registry(self, self.names)
        self._registry.install(self.set_handler)
        self.groups: Final = Groups(self.exists)
        self.groups.install(self.set_handler)
        self.node_watch: Final = NodeWatch(self._core.send_message)
        self.node_watch.install(self.set_handler)
        self._failures = Failures(self._core.take_failures)
        BuiltinHandlers(self._modules).install(self.set_handler)
        StandardInput().install(self.set_handler)
        resolver = Resolver()
        dns, tcp = DnsHandlers(resolver), TcpHandlers()
        dns.install(self.set_handler)
        tcp.install(self.set_handler)
        EarlyNetwork(dns, tcp).install(self.set_handler)
        EarlyModules(self._modules).install(self.set_handler)
        self._early_registry = EarlyRegistry(self.exists)
        self._early_registry.install(self.set_handler)
        self._background = Background()
        tls(resolver, self._background).install(self.set_handler)
        UdpHandlers().install(self.set_handler)
        certificates().install(self.set_handler)
        databases().install(self.set_handler)
        self.metrics: Final = MetricsHandlers()
        self.metrics.install(self.set_handler)

    # -- modules ------------------------------------------------------------------

    async def load_module(self, data: bytes, name: str) -> Module:
        """Compile a module, or find it compiled. `data` is wasm or its text format.

        Raises InvalidError, saying what is wrong with it.
        """
        return await self._modules.load(data, name)

    def find_module(self, sha256: bytes) -> Module | None:
        """A loaded module by the SHA-256 of its bytes."""
        return self._modules.find(sha256)

    def find_module_by_id(self, module_id: int) -> Module | None:
        """A loaded module by the number that guests use."""
        return self._modules.find_by_id(module_id)

    def set_handler(self, namespace: str, name: str, handler: Handler) -> None:
        """Answer a host call of the table that is not native. Replaces an earlier handler."""
        self._answering.set_handler(namespace, name, handler)

    def use_names(self, service: NameService) -> None:
        """Answer guests' calls about names by this service, which `names` alone does at first."""
        self._registry.service = service

    # -- processes ----------------------------------------------------------------

    async def spawn(
        self,
        module: Module,
        *,
        entry: str = "_start",
        params: Sequence[Param] = (),
        config: ProcessConfig | None = None,
        environment: int = DEFAULT_ENVIRONMENT,
        output: Literal["buffer", "inherit"] = "buffer",
        parent: int = 0,
        link_tag: int | None = None,
        watch: bool = True,
        follow: bool = False,
        quiet: bool = False,
        check_entry: bool = True,
    ) -> int:
        """Start a process and return its pid once its module is instantiated.

        With `link_tag` it is linked to `parent`, a process of any node. With `watch`
        its end can be waited for. With `follow` it waits with what it prints for
        `logs(pid, follow=True)`, or for `forget_follower`. With `quiet` the log has
        nothing of its failure: the caller tells it. Without `check_entry` a
        process whose entry is missing, or takes other parameters, is born and fails.
        Raises InvalidError (entry, parameters, a start section that fails),
        RefusedError (limits), ClosedError (the runtime stops).
        """
        return await self._spawn(
            Spawn(
                module=module,
                entry=entry,
                params=params,
                config=config or ProcessConfig.program(),
                environment=environment,
                inherit=output == "inherit",
                parent=parent,
                link_tag=link_tag,
                watch=watch,
                follow=follow,
                quiet=quiet,
                check_entry=check_entry,
            )
        )

    def spawn_soon(self, spawn: Spawn, born: Born) -> int:
        """Start a process that nobody watches and return its pid at once, whatever its birth brings.

        `born(None)` is called in this thread when it lives, or `born(error)` with what `spawn` would raise.
        """
        return self._births.begin(spawn, born).pid

    async def spawn_child(
        self,
        request: Request,
        module: Module,
        entry: str,
        params: Sequence[Param],
        config: ProcessConfig,
        link_tag: int,
    ) -> int:
        """Spawn for a guest's host call: its child, in its environment; link tag 0 is no link.

        A missing entry is no error here: the child fails when it starts, as with `spawn`.
        """
        if self._core.pressure:
            raise RefusedError("this node is short of memory and takes no new processes now")
        return await self._spawn(
            Spawn(
                module=module,
                entry=entry,
                params=params,
                config=config,
                environment=request.environment,
                parent=request.pid,
                link_tag=link_tag or None,
                asker=request.native,
            )
        )

    async def _spawn(self, spawn: Spawn) -> int:
        done = trio.Event()
        problem: LunaError | None = None

        def born(error: LunaError | None) -> None:
            nonlocal problem
            problem = error
            done.set()

        birth = self._births.begin(spawn, born)
        self._lives.add(spawn, birth)
        try:
            await done.wait()
        except trio.Cancelled:
            self._births.give_up(birth)
            self._lives.disown(birth.pid)
            raise
        if problem is not None:
            self._lives.disown(birth.pid)
            raise problem
        self._lives.spawned(birth.pid)
        return birth.pid

    async def wait_exit(self, pid: int) -> ExitStatus:
        """How a watched process of `spawn` ended, once it has.

        Raises NotFoundError for others, and for one that ended long ago; ClosedError
        when the runtime stops first.
        """
        return await self._lives.wait_exit(pid)

    def exit_status(self, pid: int) -> ExitStatus | None:
        """None while the process lives. Raises NotFoundError if it is unknown or forgotten."""
        return self._lives.exit_status(pid)

    def kill(self, pid: int) -> bool:
        """Whether there was such a process (for another node's: whether that node is reachable)."""
        return self._core.kill(pid)

    def exists(self, pid: int) -> bool:
        """Whether a process of this node lives."""
        return self._core.exists(pid)

    def processes(self) -> list[ProcessInfo]:
        """Every live process, in order of birth."""
        infos = []
        for pid, parent, environment, sha256, entry, state, messages, memory, age_ns in sorted(
            self._core.processes()
        ):
            module = self._modules.find(sha256)
            name = module.name if module is not None else sha256.hex()[:12]
            infos.append(
                ProcessInfo(
                    pid, parent, environment, name, entry, state, messages, memory, age_ns // 1_000_000
                )
            )
        return infos

    def logs(self, pid: int, *, follow: bool = False) -> LogReader:
        """What a process has printed and will print. Raises NotFoundError.

        With `follow` its writers wait for this reader, which must be closed.
        """
        return self._lives.reader(pid, follow=follow)

    def forget_follower(self, pid: int) -> None:
        """Nobody will follow a process spawned with `follow`: it need not wait for a reader."""
        self._lives.forget_follower(pid)

    def statistics(self) -> RuntimeStatistics:
        """Counters of this runtime."""
        counters = self._core.counters()
        return RuntimeStatistics(
            processes=counters["processes"],
            threads=self._threads,
            spawned=counters["spawned"],
            exited=counters["exited"],
            messages_sent=counters["sent"],
            messages_sent_remote=counters["sent_remote"],
            preempted=counters["preempted"],
        )

    def counters(self) -> dict[str, int]:
        """Everything the core counts; see COUNTER_NAMES there."""
        return self._core.counters()

    # -- the event pump -------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve the core until cancelled; `open_runtime` starts it."""
        try:
            async with trio.open_nursery() as nursery:
                self._core.start()
                await nursery.start(self._background.run)
                nursery.start_soon(watch_memory, self._core, name="memory watch")
                task_status.started()
                while True:
                    await trio.lowlevel.wait_readable(self._core.event_fd)
                    for event in self._core.take_events():
                        self._dispatch(nursery, event)
        finally:
            if not self._core.stop():
                _LEFT.append(self._modules)
                _log.error(
                    "a guest is in a blocking system call; its thread is left to the end of this OS process"
                )
            self._failures.tell_counted()
            self._births.close()
            self._lives.close()
            self._resources.close()

    def _dispatch(self, nursery: trio.Nursery, event: tuple) -> None:  # type: ignore[type-arg]
        match event[0]:
            case _core.REQUEST:
                self._answering.begin(nursery, event[1])
            case _core.CANCELLED:
                self._answering.cancel(event[1])
            case _core.SPAWNED:
                _, token, _, error = event
                self._births.finish(token, error)
            case _core.EXITED:
                _, pid, kind, code, reason, output = event
                self._lives.ended(pid, ExitStatus(ExitKind(kind), code, explain(reason)), output)
            case _core.FAILED:
                self._failures.tell(*event[1:])
            case _core.FLOOD:
                nursery.start_soon(self._failures.tell_flood, name="flood of failures")
            case _core.OUTPUT:
                self._lives.printed(event[1])
            case _core.RELEASED:
                self._resources.release(event[1])
                self.groups.ended(event[1])
                self.node_watch.ended(event[1])
            case _core.DROPPED:
                self._resources.lose(event[1])
            case _core.FORGOTTEN:
                self._early_registry.forget(event[1])
            case _core.UNNAMED:
                self.names.ended(event[1])
            case _core.CODE:
                nursery.start_soon(self._provide_code, *event[1:], name="link code")

    async def _provide_code(self, pid: int, module_id: int, counts_fuel: bool, refused: bytes) -> None:
        error: bytes | None = None
        try:
            module = self._modules.find_by_id(module_id)
            if module is None:
                raise NotFoundError("the module's bytes are no longer kept by this node")
            await self._modules.provide_code(module, counts_fuel, refused)
        except LunaError as problem:
            error = f"no code for its limits: {problem.message}".encode()
        except Exception:
            _log.exception("linking a module for a process with limits failed", pid=pid)
            error = b"no code for its limits: internal error, see the node's log"
        self._core.provide_code(pid, error)


def default_threads() -> int:
    """Scheduler threads when nothing else is asked for: the cores this process may use."""
    return max(1, min(len(os.sched_getaffinity(0)), MAX_THREADS))


@asynccontextmanager
async def open_runtime(
    node_id: int = 0,
    threads: int | None = None,
    cache_dir: Path | None = None,
    max_processes: int = MAX_PROCESSES,
    trace: Trace | None = None,
) -> AsyncIterator[Runtime]:
    """A runtime for the length of the block; leaving it destroys every process.

    `node_id` 0 is a runtime without a cluster, whose pids count from 1. `cache_dir`
    keeps compiled code. `trace` is what is written to stderr of what processes do.
    Raises RefusedError when the system gives no descriptors.
    """
    runtime = Runtime(node_id, threads or default_threads(), cache_dir, max_processes, trace)
    async with trio.open_nursery() as nursery:
        await nursery.start(runtime.run)
        yield runtime
        nursery.cancel_scope.cancel()
