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
from luna.node.convert import check_entry, config_from_proto, event_to_proto, exit_to_proto, params_from_proto
from luna.node.events import EventReader
from luna.node.library import Library
from luna.node.peers import Peers
from luna.node.status import LimitError
from luna.proto import control_pb2
from luna.proto.errors import ClosedError, InvalidError, NotFoundError, RefusedError, WouldBlockError
from luna.proto.ids import LOCAL_NODE_ID, format_pid, make_pid, node_of, serial_of
from luna.proto.limits import CONNECT_TIMEOUT_S, KIB
from luna.proto.version import package_version
from luna.scheduler import ExitStatus
from luna.scheduler.logs import LogChunk, LogReader
from luna.scheduler.runtime import Runtime

DEFAULT_ENVIRONMENT = 1
"""The sandbox of processes started by commands."""

FOLLOWER_TIMEOUT_S = 10.0
"""seconds in which whoever spawned a process to follow it must ask for its output, before which its writers
wait; a command does so within a round trip, and one that died between must not hold them for ever."""

OUTPUT_PART_BYTES = 64 * KIB
"""bytes of output after which a part is sent; a process that prints little is passed on at once."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes: this node, or the address of another."""

    here: bool
    name: str
    address: str


class Operations:
    """The control service's work on one node (trio)."""

    def __init__(
        self,
        nursery: trio.Nursery,
        runtime: Runtime,
        library: Library,
        peers: Peers,
        started_ms: int,
        stop: Callable[[str], None],
    ) -> None:
        """`stop(reason)` makes the node leave its cluster and end."""
        self._nursery = nursery
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

    async def open_events(self) -> EventReader:
        """A reader of what happened, from the oldest event that is kept; it need not be closed."""
        await trio.lowlevel.checkpoint()
        return self._peers.events.reader()

    async def next_events(self, reader: EventReader, follow: bool) -> control_pb2.EventsReply:
        """The next events; none at the end of what there is, and with `follow` only once there are some."""
        if follow:
            lost, events = await reader.receive()
        else:
            await trio.lowlevel.checkpoint()
            lost, events = reader.receive_nowait()
        return control_pb2.EventsReply(lost=lost, events=map(event_to_proto, events))

    # --- processes --------------------------------------------------------------------------

    async def spawn(self, spec: control_pb2.SpawnSpec, data: bytes) -> control_pb2.SpawnProcessReply:
        """Start a process of the module `data`, or of the one whose hash the spec has.

        One to be followed waits with its output for `open_logs`, but not longer than FOLLOWER_TIMEOUT_S.
        Raises InvalidError, NotFoundError, LimitError.
        """
        entry = check_entry(spec.entry or "_start")
        params = params_from_proto(spec.params)
        config = config_from_proto(spec.config)
        if spec.module:
            module = await self._library.held(spec.module, spec.module_name)
        elif data:
            module = await self._library.add(data, spec.module_name)
        else:
            raise InvalidError("no module was sent")
        try:
            pid = await self._runtime.spawn(
                module,
                entry=entry,
                params=params,
                config=config,
                environment=DEFAULT_ENVIRONMENT,
                follow=spec.follow,
            )
        except RefusedError as error:
            raise LimitError(error.message, hint=error.hint) from error
        if spec.follow:
            self._nursery.start_soon(self._forget_follower, pid, name="await a follower")
        return control_pb2.SpawnProcessReply(process=self._ref(pid))

    async def _forget_follower(self, pid: int) -> None:
        await trio.sleep(FOLLOWER_TIMEOUT_S)
        self._runtime.forget_follower(pid)  # changes nothing once somebody follows

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
            self._exit_status(pid)  # raises NotFoundError for a pid that was never used, or is forgotten
        return control_pb2.KillProcessReply(was_alive=was_alive)

    # --- output -----------------------------------------------------------------------------

    async def open_logs(self, pid: int, follow: bool) -> LogReader | None:
        """A reader of what a process wrote; None if it is dead and wrote nothing. Raises NotFoundError.

        With `follow` the process's writers wait for the reader, which must be closed.
        """
        # No checkpoint behind `logs`: nobody could close the reader of a call that was cancelled there.
        await trio.lowlevel.checkpoint()
        try:
            return self._runtime.logs(pid, follow=follow)
        except NotFoundError:
            if self._exit_status(pid) is None:
                raise
            return None

    async def next_parts(self, reader: LogReader, follow: bool) -> list[control_pb2.LogsReply]:
        """What there is to read, OUTPUT_PART_BYTES or little more; with `follow` there is something.

        Empty at the end, which without `follow` is where a live process has written to.
        """
        parts: list[control_pb2.LogsReply] = []
        size = 0
        try:
            if follow:
                chunk = await reader.receive()
            else:
                await trio.lowlevel.checkpoint()
                chunk = reader.receive_nowait()
            while True:
                size += _add_chunk(parts, chunk)
                if size >= OUTPUT_PART_BYTES:
                    break
                chunk = reader.receive_nowait()
        except (trio.EndOfChannel, WouldBlockError):
            pass
        return parts

    async def exit_of(self, pid: int, follow: bool) -> control_pb2.ProcessExit | None:
        """How a process ended; None if it lives, or nobody knows any more.

        With `follow` its output has ended. That is seen in the log a moment before the end itself is told
        here, which is waited for.
        """
        await trio.lowlevel.checkpoint()
        try:
            status = self._runtime.exit_status(pid)
            if status is None and follow:
                status = await self._runtime.wait_exit(pid)
        except (NotFoundError, ClosedError):
            return None
        return None if status is None else exit_to_proto(status)

    def _exit_status(self, pid: int) -> ExitStatus | None:
        """As of the runtime, with an error that names the process as people do."""
        try:
            return self._runtime.exit_status(pid)
        except NotFoundError:
            name = format_pid(pid, self._peers.own.name)
            raise NotFoundError(f"there is no process {name}, or it ended long ago") from None

    def _ref(self, pid: int) -> control_pb2.ProcessRef:
        return control_pb2.ProcessRef(pid=pid, serial=serial_of(pid), node=self._peers.own.name)


def _add_chunk(parts: list[control_pb2.LogsReply], chunk: LogChunk) -> int:
    """Append to the last part if it is of the same stream and nothing was lost between; the bytes added."""
    stream = "stdout" if chunk.stream == 1 else "stderr"
    if parts and not chunk.dropped and parts[-1].WhichOneof("part") == stream:
        setattr(parts[-1], stream, getattr(parts[-1], stream) + chunk.data)
    else:
        part = control_pb2.LogsReply(dropped_bytes=chunk.dropped)
        setattr(part, stream, chunk.data)
        parts.append(part)
    return len(chunk.data)


def _resident_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0  # not Linux
    return pages * os.sysconf("SC_PAGESIZE")
