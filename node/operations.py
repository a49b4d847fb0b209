"""What the control service does on this node itself, on the trio side.

Owns the meaning of each request once it has reached the node it is for. Routing, streams and statuses
are `control`'s business; the processes are the scheduler's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from luna.cluster.members import Member
from luna.cluster.placement import Placement, place
from luna.cluster.wire import member_to_proto, node_to_proto
from luna.node.convert import check_entry, config_from_proto, exit_to_proto, params_from_proto
from luna.node.library import Library
from luna.node.peers import Peers
from luna.node.status import LimitError
from luna.proto import control_pb2
from luna.proto.errors import InvalidError, NotFoundError, RefusedError, WouldBlockError
from luna.proto.ids import LOCAL_NODE_ID, make_pid, node_of, serial_of
from luna.proto.limits import CONNECT_TIMEOUT_S, MAX_NAME_LENGTH
from luna.proto.version import package_version
from luna.scheduler.logs import LogChunk, LogReader
from luna.scheduler.runtime import Runtime

DEFAULT_ENVIRONMENT = 1
"""The sandbox of processes started by commands."""

MAX_MODULE_NAME_LENGTH = 4 * MAX_NAME_LENGTH
"""characters of a module's name for people; longer ones are cut."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes: this node, or the address of another."""

    here: bool
    name: str
    address: str


class Operations:
    """The control service's work on one node (trio)."""

    def __init__(
        self, runtime: Runtime, library: Library, peers: Peers, started_ms: int, stop: Callable[[str], None]
    ) -> None:
        """`stop(reason)` makes the node leave its cluster and end."""
        self._runtime = runtime
        self._library = library
        self._peers = peers
        self._started_ms = started_ms
        self._stop = stop

    # --- where to ---------------------------------------------------------------------------

    async def route_node(self, name: str) -> Route:
        """The node called `name`, this one if empty. Raises NotFoundError."""
        await trio.lowlevel.checkpoint()
        own = self._peers.own
        if not name or name == own.name:
            return Route(True, own.name, own.address)
        return self._route(place(self._peers.membership.live(), Placement(name=name)))

    async def route_process(self, process: control_pb2.ProcessRef) -> tuple[Route, int]:
        """The node of a process, and its pid. Raises NotFoundError, InvalidError if it is not named."""
        if process.pid:
            await trio.lowlevel.checkpoint()
            node_id = node_of(process.pid)
            member = self._peers.membership.get(node_id)
            if node_id == LOCAL_NODE_ID or member is None or not member.live:
                raise NotFoundError(f"there is no process {process.pid}: its node is not in the cluster")
            return self._route(member), process.pid
        if not process.serial:
            raise InvalidError("no process was named")
        route = await self.route_node(process.node)
        member = self._peers.membership.find(route.name)
        assert member is not None  # it was found a moment ago, without a checkpoint between
        return route, make_pid(member.node.id, process.serial)

    def _route(self, member: Member) -> Route:
        return Route(member.node.id == self._peers.own.id, member.node.name, member.node.address)

    async def others(self) -> list[Route]:
        """Every live node but this one."""
        await trio.lowlevel.checkpoint()
        return [self._route(member) for member in self._peers.membership.peers()]

    # --- the node ---------------------------------------------------------------------------

    async def status(self) -> control_pb2.StatusReply:
        """This node in numbers."""
        await trio.lowlevel.checkpoint()
        statistics = self._runtime.statistics()
        return control_pb2.StatusReply(
            node=node_to_proto(self._peers.own),
            version=package_version(),
            processes=statistics.processes,
            uptime_ms=max(0, time.time_ns() // 1_000_000 - self._started_ms),
            scheduler_threads=statistics.threads,
            resident_bytes=_resident_bytes(),
            os_pid=os.getpid(),
        )

    async def nodes(self) -> list[control_pb2.NodeEntry]:
        """The live members; processes are filled in for this node only."""
        await trio.lowlevel.checkpoint()
        own_id = self._peers.own.id
        return [
            control_pb2.NodeEntry(
                member=member_to_proto(member),
                self=member.node.id == own_id,
                connected=member.node.id == own_id or self._peers.is_connected(member.node.id),
                processes=self._runtime.statistics().processes if member.node.id == own_id else 0,
            )
            for member in self._peers.membership.live()
        ]

    async def join(self, address: str) -> None:
        """Join the cluster of the node at `address`, and wait a moment for a session with it.

        Raises as `Peers.join`.
        """
        node = await self._peers.join(address)
        with trio.move_on_after(CONNECT_TIMEOUT_S):
            await self._peers.wait_connected(node.id)

    async def leave(self) -> control_pb2.LeaveReply:
        """Have this node leave and end; the answer still gets out."""
        await trio.lowlevel.checkpoint()
        self._stop("it was told to leave")
        return control_pb2.LeaveReply(node=node_to_proto(self._peers.own))

    # --- processes --------------------------------------------------------------------------

    async def spawn(self, spec: control_pb2.SpawnSpec, data: bytes) -> control_pb2.SpawnProcessReply:
        """Start a process of the module `data`, or of the one whose hash the spec has.

        Raises InvalidError, NotFoundError, LimitError.
        """
        entry = check_entry(spec.entry or "_start")
        params = params_from_proto(spec.params)
        config = config_from_proto(spec.config)
        if spec.module:
            module = await self._library.held(spec.module)
        elif data:
            module = await self._library.add(data, spec.module_name[:MAX_MODULE_NAME_LENGTH] or "module")
        else:
            raise InvalidError("no module was sent")
        try:
            pid = await self._runtime.spawn(
                module, entry=entry, params=params, config=config, environment=DEFAULT_ENVIRONMENT
            )
        except RefusedError as error:
            raise LimitError(error.message, hint=error.hint) from error
        return control_pb2.SpawnProcessReply(process=self._ref(pid))

    async def ps(self) -> list[control_pb2.ProcessEntry]:
        """The processes of this node."""
        await trio.lowlevel.checkpoint()
        return [
            control_pb2.ProcessEntry(
                process=self._ref(info.pid),
                module=info.module,
                entry=info.entry,
                state=info.state,
                messages=info.messages,
                memory_bytes=info.memory_bytes,
                parent=info.parent,
                age_ms=info.age_ms,
            )
            for info in self._runtime.processes()
        ]

    async def kill(self, pid: int) -> control_pb2.KillProcessReply:
        """Kill a process of this node. Raises NotFoundError if there never was one, as far as is known."""
        await trio.lowlevel.checkpoint()
        was_alive = self._runtime.kill(pid)
        if not was_alive:
            self._runtime.exit_status(
                pid
            )  # raises NotFoundError for a pid that was never used, or is forgotten
        return control_pb2.KillProcessReply(was_alive=was_alive)

    # --- output -----------------------------------------------------------------------------

    async def open_logs(self, pid: int) -> LogReader | None:
        """A reader of what a process wrote; None if it is dead and wrote nothing. Raises NotFoundError."""
        await trio.lowlevel.checkpoint()
        try:
            return self._runtime.logs(pid)
        except NotFoundError:
            if self._runtime.exit_status(pid) is None:  # raises NotFoundError
                raise
            return None

    async def next_chunk(self, reader: LogReader, follow: bool) -> LogChunk | None:
        """The next part; None at the end, which without `follow` is where a live process has written to."""
        try:
            if follow:
                return await reader.receive()
            await trio.lowlevel.checkpoint()
            return reader.receive_nowait()
        except (trio.EndOfChannel, WouldBlockError):
            return None

    async def exit_of(self, pid: int) -> control_pb2.ProcessExit | None:
        """How a process ended; None if it lives, or nobody knows any more."""
        await trio.lowlevel.checkpoint()
        try:
            status = self._runtime.exit_status(pid)
        except NotFoundError:
            return None
        return None if status is None else exit_to_proto(status)

    def _ref(self, pid: int) -> control_pb2.ProcessRef:
        return control_pb2.ProcessRef(pid=pid, serial=serial_of(pid), node=self._peers.own.name)


def _resident_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0  # not Linux
    return pages * os.sysconf("SC_PAGESIZE")
