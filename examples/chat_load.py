"""Many users of the chat at once, who check everything that arrives.

    python examples/chat_load.py 127.0.0.1:4000 127.0.0.1:4001 127.0.0.1:4002

Each user connects to one of the addresses, goes to its room, waits until all are there, and says numbered
lines. Whose connection breaks comes back through another address. In the end there is a report, and the exit
code is 0 if these promises held, 1 if one was broken:

- A line reaches everybody who is in the room, once, and in the order in which its user said them; also when
  the node of the room is lost meanwhile.
- Excused is only what no server can do: a user whose own connection breaks gets nothing more over it, and the
  last lines said over it may be lost, for everybody, from some line on.
- Whose connection breaks can come back.

Works with the chat in C and the one in Rust.
"""

from __future__ import annotations

import argparse
import itertools
import math
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

ENTER_TIMEOUT_S: Final = 30.0
"""seconds for connecting, saying a name and being in the room"""

COME_BACK_TIMEOUT_S: Final = 60.0
"""seconds in which a user whose connection broke has to be in its room again: a frozen node takes five"""

RETRY_S: Final = 0.2
"""seconds between two tries to come back"""

POLL_S: Final = 0.1
"""seconds between two looks at whether everything has arrived"""

MAX_LINE_BYTES: Final = 65_536
"""bytes of one line of the server: it sends less than 1000"""

MARK: Final = "load"
"""first word of every line said"""


class Failure(Exception):
    """The load could not be put on, or a user did not come back; the text says why."""


@dataclass(slots=True)
class Connection:
    """One connection of one user, what was said over it and what arrived."""

    number: int
    user: int
    room: str
    early: bool
    """in the room before anybody said anything"""
    entered: float = math.inf
    """when it was in its room, on the clock of trio"""
    said: int = 0
    said_last: float = 0.0
    broken: bool = False
    last: dict[int, int] = field(default_factory=dict)
    """the last number that arrived, by the number of the connection it was said over"""


@dataclass(slots=True)
class Result:
    """What happened, over all users."""

    delivered: int = 0
    missing: int = 0
    repeated: int = 0
    excused: int = 0
    reconnects: int = 0
    moves: int = 0
    latencies_ms: list[float] = field(default_factory=list)


async def lines_of(stream: trio.SocketStream) -> AsyncIterator[str]:
    """The lines of a connection until it ends, however it does."""
    unread = b""
    try:
        async for chunk in stream:
            *lines, unread = (unread + chunk).split(b"\n")
            if len(unread) > MAX_LINE_BYTES:
                raise Failure(f"a line of more than {MAX_LINE_BYTES} bytes arrived")
            for line in lines:
                yield line.decode()
    except trio.BrokenResourceError:
        pass  # an end as any other: the user comes back


class Load:
    """All users, and what they notice."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._run = secrets.token_hex(2)
        self._numbers = itertools.count()
        self._connections: list[Connection] = []
        self._entered = 0
        self._ready = trio.Event()
        self._done = trio.Event()
        self._result = Result()
        self._talking = set(range(options.users))
        self._begin = self._end = 0.0

    async def run(self) -> bool:
        """Put the load on and print the report; whether all promises held. Raises Failure."""
        async with trio.open_nursery() as nursery:
            for user in range(self._options.users):
                nursery.start_soon(self._live, user)
            with trio.move_on_after(ENTER_TIMEOUT_S):
                await self._ready.wait()
            if not self._ready.is_set():
                raise Failure(f"{self._entered} of {self._options.users} users came in")
            self._begin = trio.current_time()
            say(f"{self._options.users} users are in {self._options.rooms} rooms, and begin to talk")
            await self._wait_for_the_end()
            self._done.set()
            nursery.cancel_scope.cancel()
        self._judge()
        return self._report()

    # --- one user -------------------------------------------------------------------------

    async def _live(self, user: int) -> None:
        """Be a user, over as many connections as it takes."""
        room = f"{MARK}-{self._run}-{user % self._options.rooms}"
        addresses = itertools.cycle(self._options.address)
        for _ in range(user % len(self._options.address)):
            next(addresses)
        left, broke_at = self._options.lines, trio.current_time()
        for generation in itertools.count():
            connection = Connection(next(self._numbers), user, room, early=generation == 0)
            name = f"{MARK}-{self._run}-{user}.{generation}"
            try:
                stream = await trio.open_tcp_stream(*next(addresses))
            except OSError as error:
                if not self._ready.is_set():
                    raise Failure(f"cannot connect: {error}") from error
            else:
                async with stream:
                    left -= await self._talk(stream, connection, name, left)
            if self._done.is_set():
                return
            connection.broken = True
            if connection.entered < math.inf:
                broke_at = trio.current_time()
                self._result.reconnects += 1
            elif not self._ready.is_set():
                raise Failure(f"{name} was sent away before it was in its room")
            if trio.current_time() > broke_at + COME_BACK_TIMEOUT_S:
                raise Failure(f"{name} did not get in again within {COME_BACK_TIMEOUT_S:.0f} s")
            await trio.sleep(RETRY_S)

    async def _talk(self, stream: trio.SocketStream, connection: Connection, name: str, left: int) -> int:
        """Use one connection until it ends; how many lines were said over it."""
        async with trio.open_nursery() as nursery:
            # Who is not let in is sent away by nobody, so the user itself gives up and tries elsewhere.
            nursery.cancel_scope.deadline = trio.current_time() + ENTER_TIMEOUT_S
            nursery.start_soon(self._greet, stream, name, connection.room)
            async for line in lines_of(stream):
                if line.startswith(f"* you are in room {connection.room},"):
                    nursery.cancel_scope.deadline = math.inf
                    connection.entered = trio.current_time()
                    self._connections.append(connection)
                    self._entered += 1
                    if self._entered == self._options.users:
                        self._ready.set()
                    nursery.start_soon(self._say_all, stream, connection, left)
                elif line.startswith(f"* room {connection.room} moved"):
                    self._result.moves += 1
                elif line.startswith("<"):
                    self._take(connection, line)
            nursery.cancel_scope.cancel()
        return connection.said

    async def _greet(self, stream: trio.SocketStream, name: str, room: str) -> None:
        await send(stream, f"{name}\n/join {room}\n")

    async def _say_all(self, stream: trio.SocketStream, connection: Connection, count: int) -> None:
        await self._ready.wait()
        pause = 1 / self._options.rate
        due = trio.current_time() + pause * (connection.user / self._options.users)  # not all at one moment
        for number in range(1, count + 1):
            await trio.sleep_until(due)
            due += pause
            text = f"{MARK} {connection.number} {number} {time.monotonic_ns()}"
            # Counted before: what was handed over only in part may have arrived.
            connection.said, connection.said_last = number, trio.current_time()
            if not await send(stream, f"{text}\n"):
                return
        self._talking.discard(connection.user)

    # --- what arrives ---------------------------------------------------------------------

    def _take(self, connection: Connection, line: str) -> None:
        words = line.split()
        if len(words) != 5 or words[1] != MARK:
            return
        source, number, sent_ns = (int(word) for word in words[2:])
        last = connection.last.get(source, 0 if connection.early else None)
        if last is not None and number <= last:
            self._result.repeated += 1
            return
        if last is not None:
            self._result.missing += number - last - 1
        connection.last[source] = number
        self._result.delivered += 1
        if last is not None:  # else it may be history
            self._result.latencies_ms.append((time.monotonic_ns() - sent_ns) / 1e6)

    def _open_ends(self) -> list[tuple[int, bool]]:
        """For each pair that talks: how many last lines did not arrive, and whether that is excused."""
        rooms: dict[str, list[Connection]] = {}
        for connection in self._connections:
            rooms.setdefault(connection.room, []).append(connection)
        ends = []
        for members in rooms.values():
            for source, target in itertools.permutations(members, 2):
                if target.broken or source.user == target.user or source.said == 0:
                    continue
                if not target.early and source.said_last < target.entered:
                    continue  # all of it was said before: history shows a part of it, or nothing
                ends.append((source.said - target.last.get(source.number, 0), source.broken))
        return ends

    async def _wait_for_the_end(self) -> None:
        """Wait until all is said and has arrived, or nothing more arrives."""
        delivered, since = -1, trio.current_time()
        while self._talking or any(count for count, excused in self._open_ends() if not excused):
            if self._result.delivered > delivered or self._talking:
                delivered, since = self._result.delivered, trio.current_time()
            elif trio.current_time() > since + self._options.patience:
                break
            await trio.sleep(POLL_S)
        self._end = trio.current_time()

    def _judge(self) -> None:
        for count, excused in self._open_ends():
            if excused:
                self._result.excused += count
            else:
                self._result.missing += count

    def _report(self) -> bool:
        result = self._result
        said = sum(connection.said for connection in self._connections)
        seconds = max(self._end - self._begin, 1e-9)
        say(f"said         {said} lines in {seconds:.1f} s, {said / seconds:.0f} each second")
        say(f"delivered    {result.delivered} times, {result.delivered / seconds:.0f} each second")
        latencies = sorted(result.latencies_ms) or [math.nan]
        p50, p90, p99, most = (latencies[int(part * (len(latencies) - 1))] for part in (0.5, 0.9, 0.99, 1))
        say(f"latency      p50 {p50:.1f} ms, p90 {p90:.1f} ms, p99 {p99:.1f} ms, max {most:.1f} ms")
        say(f"reconnects   {result.reconnects}")
        say(f"room moved   {result.moves} users saw it")
        say(f"excused      {result.excused} deliveries: lines said just before their user's connection broke")
        say(f"missing      {result.missing}")
        say(f"repeated     {result.repeated}")
        held = result.missing == result.repeated == 0 and result.delivered > 0
        say("every promise held" if held else "A PROMISE WAS BROKEN")
        return held


async def send(stream: trio.SocketStream, text: str) -> bool:
    """Whether it could be sent; if not, the reading side notices that the connection has ended."""
    try:
        await stream.send_all(text.encode())
    except trio.BrokenResourceError:
        return False
    return True


def say(text: str) -> None:
    """Print it at once, also into a pipe."""
    print(text, flush=True)


def address(text: str) -> tuple[str, int]:
    """HOST:PORT taken apart."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, int(port)


def at_least(least: float, kind: type[int] | type[float] = int) -> Callable[[str], float]:
    """A parser of numbers that are not too small."""

    def parse(text: str) -> float:
        value = kind(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return value

    parse.__name__ = "number"  # what argparse calls it in errors
    return parse


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("address", nargs="+", type=address, metavar="HOST:PORT", help="doors of the chat")
    for name, default, least, kind, text in (
        ("--users", 60, 2, int, "how many"),
        ("--rooms", 6, 1, int, "over which the users are spread; a room holds 128"),
        ("--lines", 20, 1, int, "that each user says"),
        ("--rate", 2.0, 0.01, float, "lines a second of each user; the chat takes 50"),
        ("--patience", 20.0, 1, float, "seconds without any arrival until what lacks is missing"),
    ):
        parser.add_argument(
            name, default=default, type=at_least(least, kind), metavar="N", help=f"{text} (default {default})"
        )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    code = 1

    async def run() -> None:
        nonlocal code
        code = 0 if await Load(options).run() else 1

    try:
        trio.run(run, strict_exception_groups=True)
    except* Failure as failures:
        inner: BaseException = failures
        while isinstance(inner, BaseExceptionGroup):
            inner = inner.exceptions[0]
        print(f"FAILED: {inner}", file=sys.stderr)
    except* KeyboardInterrupt:
        code = 130
    return code


if __name__ == "__main__":
    sys.exit(main())
