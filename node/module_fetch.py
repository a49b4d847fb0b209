"""Bringing a missing module here: whom to ask, in which order, how often, and whom to ask no more.

Owns the rules; the bytes are brought by `module_transfer` and kept in a `Spool`. Lives on trio.

First the node that wants the module run is asked, then the other live members. A transfer that breaks goes on
where it stopped, at the same member as long as it makes progress there, else at the next. The hash of all
bytes decides: if they came from one member alone, that one sent wrong bytes; if from several, nobody can
tell, and they are fetched again without mixing, so that the next failure has a name.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog
import trio

from luna.cluster.members import NodeInfo
from luna.node.module_spool import DisagreementError, Spool
from luna.node.status import LimitError
from luna.proto.errors import BrokenError, InvalidError, LunaError, NotFoundError, RefusedError
from luna.proto.limits import MODULE_CHUNK_BYTES

_log = structlog.get_logger(__name__)

FETCH_PATIENCE_S = 10.0
"""seconds without a new chunk from anybody until a fetch is given up, if some member could not be reached:
the network may come back, and the members that hold the module with it."""

BUSY_PATIENCE_S = 60.0
"""the same while a member that holds the module serves others: that is how long a spawn waits."""

FIRST_PAUSE_S = 0.05
"""seconds between two rounds of asking everybody; doubled from round to round."""

LONGEST_PAUSE_S = 2.0
"""seconds; the doubling ends here."""

MAX_RESTARTS = 32
"""times that one fetch drops what has come and begins anew: so many wrong members end it."""

LIARS_REMEMBERED = 1024
"""members that sent wrong bytes, each with the module they did it for; the oldest are forgotten first, and
may then lie once more."""

Receive = Callable[[str, bytes, Spool], Awaitable[None]]
"""`(address, sha256, spool)`: adds to the spool what the node at an address holds behind its bytes so far,
and returns when it is complete. Raises NotFoundError if that node lacks the module, LimitError if it is busy
or this node has no room, BrokenError if it is not reached or stops, DisagreementError if it tells another
size than the one before, InvalidError for what no correct node sends."""


class Source(NamedTuple):
    """A member that may hold a module; id 0 if only its address is known."""

    node_id: int
    address: str


@dataclass(slots=True)
class FetchCounts:
    """What came of fetching since the node started."""

    fetched: int = 0
    failed: int = 0
    bytes_received: int = 0
    resumed: int = 0
    refused: int = 0  # transfers with wrong bytes


@dataclass(slots=True)
class _Fetch:
    """One module being fetched."""

    sha256: bytes
    spool: Spool
    asker: str | None
    unmixed: bool = False  # bytes of two members have been wrong together
    senders: set[Source] = field(default_factory=set)  # who sent what is in the spool
    problems: list[LunaError] = field(default_factory=list)  # of this round
    received: int = 0  # bytes, also those that were dropped
    restarts: int = 0
    lied: bool = False  # somebody did, now or earlier

    def begin_anew(self) -> None:
        """Drop what has come. Raises BrokenError if that was so too often."""
        self.spool.restart()
        self.senders.clear()
        self.restarts += 1
        if self.restarts > MAX_RESTARTS:
            raise BrokenError(f"fetching module {self.sha256.hex()} went wrong {MAX_RESTARTS} times")


class ModuleFetcher:
    """Fetches modules for one node."""

    def __init__(
        self,
        receive: Receive,
        members: Callable[[], Iterable[NodeInfo]],
        rng: random.Random | None = None,
    ) -> None:
        """`members()` are the live members besides this node, asked in an order that `rng` draws."""
        self.counts = FetchCounts()
        self._rng = random.Random() if rng is None else rng
        self._receive = receive
        self._members = members
        self._liars: OrderedDict[tuple[Source, bytes], None] = OrderedDict()

    async def fetch(self, asker: str | None, sha256: bytes, spool: Spool) -> None:
        """Fill `spool`, which may hold the beginning already, with the module; its hash is right then.

        `asker` is the address of the node to ask first. Raises NotFoundError if nobody has the module,
        BrokenError if those that may have it cannot be reached, LimitError if they are busy or there is no
        room here, InvalidError if all that came was wrong.
        """
        fetch = _Fetch(sha256, spool, asker)
        if spool.size:
            # By whom these bytes were sent is not known any more.
            fetch.senders = {Source(0, "")}
        try:
            await self._fetch(fetch)
        except LunaError:
            self.counts.failed += 1
            raise
        self.counts.fetched += 1

    async def _fetch(self, fetch: _Fetch) -> None:
        if self._is_done(fetch):
            await trio.lowlevel.checkpoint()
            return
        last_progress, pause = trio.current_time(), FIRST_PAUSE_S
        while True:
            before, restarts = fetch.received, fetch.restarts
            fetch.problems.clear()
            for source in self._sources(fetch):
                if await self._take_from(source, fetch):
                    return
            error = _most_telling(fetch)
            now = trio.current_time()
            if fetch.received - before >= MODULE_CHUNK_BYTES:
                last_progress, pause = now, FIRST_PAUSE_S
            if fetch.unmixed and fetch.restarts > restarts:
                continue  # those whose bytes were wrong together are asked one by one
            if now - last_progress >= _patience(error):
                raise error
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _take_from(self, source: Source, fetch: _Fetch) -> bool:
        """Take from one member what it sends, as long as it sends something; whether the module is there."""
        spool = fetch.spool
        if fetch.unmixed and not fetch.senders <= {source}:
            fetch.begin_anew()
        while True:
            before = spool.size
            if before:
                self.counts.resumed += 1
            problem: LunaError | None = None
            try:
                await self._receive(source.address, fetch.sha256, spool)
            except DisagreementError:
                fetch.senders.add(source)
                self._refuse_whole(fetch)
                return False
            except InvalidError as error:
                self._refuse(source, fetch, error.message)
                return False
            except LunaError as error:
                problem = error
            came = spool.size - before
            if came > 0:
                fetch.received += came
                self.counts.bytes_received += came
                fetch.senders.add(source)
            if self._is_done(fetch):
                return True
            if spool.complete:
                self._refuse_whole(fetch)
                return False
            if problem is None:
                problem = BrokenError(f"{source.address} sent {spool.size} bytes of a module, and no more")
            if came < MODULE_CHUNK_BYTES or isinstance(problem, RefusedError):
                fetch.problems.append(problem)
                return False
            _log.info("a module transfer broke and goes on", peer=source.address, reason=problem.message)

    def _is_done(self, fetch: _Fetch) -> bool:
        return fetch.spool.complete and fetch.spool.digest() == fetch.sha256

    # --- whom to ask ------------------------------------------------------------------------

    def _sources(self, fetch: _Fetch) -> Iterator[Source]:
        """Whom to ask in this round: the asker, then those whose bytes were not among wrong ones already."""
        known = {member.address: Source(member.id, member.address) for member in self._members()}
        asker = [] if fetch.asker is None else [known.pop(fetch.asker, Source(0, fetch.asker))]
        others = list(known.values())
        self._rng.shuffle(others)  # so that not all nodes ask the same one at once
        for source in (*asker, *others):
            if (source, fetch.sha256) in self._liars:
                fetch.lied = True
            else:
                yield source

    def _refuse_whole(self, fetch: _Fetch) -> None:
        """All bytes are there, and they are wrong."""
        if len(fetch.senders) == 1:
            (source,) = fetch.senders
            self._refuse(source, fetch, f"its bytes are not those of module {fetch.sha256.hex()}")
            return
        _log.warning(
            "a module that came in pieces is wrong and is fetched again in one",
            module=fetch.sha256.hex(),
            peers=sorted(source.address for source in fetch.senders),
        )
        fetch.unmixed = True
        self.counts.refused += 1
        fetch.begin_anew()

    def _refuse(self, source: Source, fetch: _Fetch, reason: str) -> None:
        """A member sent what it must not: it is not asked for this module again."""
        _log.warning(
            "a peer sent wrong bytes for a module and is not asked for it again",
            peer=source.address,
            id=source.node_id,
            module=fetch.sha256.hex(),
            reason=reason,
        )
        fetch.lied = True
        self.counts.refused += 1
        self._liars[source, fetch.sha256] = None
        if len(self._liars) > LIARS_REMEMBERED:
            self._liars.popitem(last=False)
        fetch.begin_anew()


def _most_telling(fetch: _Fetch) -> LunaError:
    """The one error to report for all whom a round has asked; those worth another try come first."""
    for kind in (LimitError, BrokenError, RefusedError):
        for problem in fetch.problems:
            if isinstance(problem, kind):
                return problem
    if fetch.lied:
        return InvalidError(f"other bytes came than those of module {fetch.sha256.hex()}")
    return (
        fetch.problems[0] if fetch.problems else NotFoundError(f"no node holds module {fetch.sha256.hex()}")
    )


def _patience(error: LunaError) -> float:
    """How long nothing may come until a fetch fails with this error."""
    if isinstance(error, LimitError):
        return BUSY_PATIENCE_S
    return FETCH_PATIENCE_S if isinstance(error, BrokenError) else 0.0
