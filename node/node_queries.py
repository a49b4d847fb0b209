"""What guests ask about the nodes of their cluster: all of them, or those that carry some labels.

Owns the answers to look-ups that their processes have not copied yet. Who is in the cluster, and with
which labels, is for the membership table to say.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, Protocol, final
from urllib.parse import unquote_to_bytes

from luna.cluster.members import Member
from luna.proto.errors import InvalidError, LunaError, RefusedError
from luna.proto.limits import MAX_LABEL_KEY_LENGTH, MAX_LABEL_VALUE_LENGTH, MAX_LABELS
from luna.scheduler.requests import GuestTrap, Request
from luna.scheduler.resources import ResourceKind
from luna.scheduler.runtime import Runtime

__all__ = ["MAX_QUERIES", "MAX_QUERY_BYTES", "NodeQueries", "parse_query"]

NAMESPACE: Final = "lunatic::distributed"

MAX_QUERIES: Final = 64
"""answers kept for one process at once: guest libraries copy each before they ask again, and in the largest
cluster one takes 32 KiB."""

MAX_QUERY_BYTES: Final = MAX_LABELS * (MAX_LABEL_KEY_LENGTH + 12 * MAX_LABEL_VALUE_LENGTH + 2)
"""bytes of one query: every label a node can have, each character of a value in four escaped bytes."""

MAX_QUOTED_LENGTH: Final = 80
"""characters of a query that an error text repeats."""

FOUND, FAILED = 0, 1
COPY_FAILED: Final = -1

_U32: Final = 0xFFFF_FFFF
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Members(Protocol):
    """What this module needs of the membership table."""

    def live(self) -> list[Member]: ...


@final
class NodeQueries:
    """The calls of `lunatic::distributed` about nodes (trio). `register` makes it known to the runtime."""

    def __init__(self, runtime: Runtime, members: Members) -> None:
        self._runtime = runtime
        self._members = members
        self._kept: Counter[int] = Counter()

    def register(self) -> None:
        """Handle the guest's calls from now on."""
        self._runtime.set_handler(NAMESPACE, "nodes_count", self._on_nodes_count)
        self._runtime.set_handler(NAMESPACE, "get_nodes", self._on_get_nodes)
        self._runtime.set_handler(NAMESPACE, "exec_lookup_nodes", self._on_exec_lookup_nodes)
        self._runtime.set_handler(NAMESPACE, "copy_lookup_nodes_results", self._on_copy_lookup_nodes_results)

    def _on_nodes_count(self, request: Request) -> int:
        return len(self._members.live())

    def _on_get_nodes(self, request: Request) -> int:
        pointer, capacity = map(int, request.args)
        return _copy(request, _ids(self._members.live()), pointer, capacity)

    def _on_exec_lookup_nodes(self, request: Request) -> int:
        query_at, query_len, id_out, count_out, error_out = map(int, request.args)
        request.check(query_at, query_len)
        if query_len & _U32 > MAX_QUERY_BYTES:
            raise GuestTrap(f"{request.full_name}: a query has at most {MAX_QUERY_BYTES} bytes")
        query = request.read_text(query_at, query_len)
        try:
            labels = parse_query(query)
            if self._kept[request.pid] >= MAX_QUERIES:
                raise RefusedError(f"the results of {MAX_QUERIES} node queries are waiting: copy them first")
        except LunaError as error:
            request.write_u64(error_out, request.add_error(error.message))
            return FAILED
        found = _ids(member for member in self._members.live() if _fits(member, labels))
        request.check(id_out, 8)  # a bad pointer traps before anything is kept
        # A u32 is what guests reserve. Lunatic stored a usize there, 8 bytes.
        request.write_u32(count_out, len(found))
        answer = _Answer(found, request.pid, self._kept)
        request.write_u64(id_out, request.add_resource(ResourceKind.NODE_QUERY, answer))
        return FOUND

    def _on_copy_lookup_nodes_results(self, request: Request) -> int:
        id_, pointer, capacity, error_out = map(int, request.args)
        try:
            answer = request.remove_resource(ResourceKind.NODE_QUERY, id_)
        except GuestTrap:
            text = f"there are no results of a node query {id_}: they can be copied once"
            request.write_u64(error_out, request.add_error(text))
            return COPY_FAILED
        assert isinstance(answer, _Answer)
        answer.close()
        return _copy(request, answer.ids, pointer, capacity)


def parse_query(query: str) -> list[tuple[str, str]]:
    """The labels asked for by a query string, `key=value` pairs with `&` between them.

    Key and value are written as in the query of a URL: `+` is a space, `%` and two hexadecimal digits a
    byte of UTF-8. Empty pairs are skipped, so an empty query asks for nothing. Raises InvalidError.
    """
    labels = []
    for pair in query.split("&"):
        if not pair:
            continue
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise _malformed(pair, "it has to be key=value pairs with & between them")
        if _BAD_ESCAPE.search(pair):
            raise _malformed(pair, "two hexadecimal digits have to follow each %")
        labels.append((_unescape(key, pair), _unescape(value, pair)))
    # Each once: then a node, which has few labels, is judged by as few of a long query.
    return list(dict.fromkeys(labels))


def _unescape(text: str, pair: str) -> str:
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeDecodeError:
        raise _malformed(pair, "what its escapes stand for is not UTF-8") from None


def _malformed(pair: str, rule: str) -> InvalidError:
    return InvalidError(f"node query is malformed at {pair[:MAX_QUOTED_LENGTH]!r}: {rule}")


def _fits(member: Member, labels: Iterable[tuple[str, str]]) -> bool:
    return all(member.node.labels.get(key) == value for key, value in labels)


def _ids(members: Iterable[Member]) -> list[int]:
    """Their node ids, in ascending order."""
    return sorted(member.node.id for member in members)


def _copy(request: Request, ids: Sequence[int], pointer: int, capacity: int) -> int:
    """Write as many ids as the guest has room for; how many."""
    copied = ids[: capacity & _U32]
    request.write(pointer, struct.pack(f"<{len(copied)}Q", *copied))
    return len(copied)


@final
class _Answer:
    """What a look-up found, kept until it is copied or its process ends; counted in `kept`."""

    def __init__(self, ids: list[int], pid: int, kept: Counter[int]) -> None:
        self.ids: Final = ids
        self._pid = pid
        self._kept: Counter[int] | None = kept
        kept[pid] += 1

    def close(self) -> None:
        if self._kept is None:
            return
        self._kept[self._pid] -= 1
        if not self._kept[self._pid]:
            del self._kept[self._pid]
        self._kept = None
