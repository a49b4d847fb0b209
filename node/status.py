"""Between the error tree and gRPC statuses, both ways: the one place where they meet.

A status carries the message on its first lines and, on a line that begins with `hint: `, what to try.
"""

from __future__ import annotations

from grpc import StatusCode

from luna.proto import node_pb2
from luna.proto.errors import (
    BrokenError,
    BusyError,
    ClosedError,
    InternalError,
    InvalidError,
    LunaError,
    NotFoundError,
    RefusedError,
    StaleError,
)

HINT_PREFIX = "hint: "

MAX_DETAILS_LENGTH = 4096
"""characters; details travel in HTTP/2 trailers, of which gRPC accepts 8 KiB, percent-encoded at worst."""


class LimitError(RefusedError):
    """A limit of this node, now or for good, and not a policy: RESOURCE_EXHAUSTED on the wire."""


class SelfJoinError(InvalidError):
    """The address to join is this node's own."""


class JoinRefusedError(RefusedError):
    """A node turned this one away; `refusal` is the code of the wire format."""

    def __init__(self, message: str, refusal: node_pb2.Refusal, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.refusal = refusal

    def as_fatal(self) -> LunaError:
        """What a node stops with for being turned away: StaleError if its id is spent, else this."""
        if self.refusal == node_pb2.EXPELLED:
            return StaleError(self.message, hint="start the node again: it joins with a new id")
        return self


# The first class that matches wins, so subclasses come before their bases.
_CODES: tuple[tuple[type[LunaError], StatusCode], ...] = (
    (LimitError, StatusCode.RESOURCE_EXHAUSTED),
    (NotFoundError, StatusCode.NOT_FOUND),
    (InvalidError, StatusCode.INVALID_ARGUMENT),
    (RefusedError, StatusCode.FAILED_PRECONDITION),
    (BusyError, StatusCode.FAILED_PRECONDITION),
    (StaleError, StatusCode.FAILED_PRECONDITION),
    (ClosedError, StatusCode.UNAVAILABLE),
    (BrokenError, StatusCode.UNAVAILABLE),
)

_ERRORS: dict[StatusCode, type[LunaError]] = {
    StatusCode.RESOURCE_EXHAUSTED: LimitError,
    StatusCode.NOT_FOUND: NotFoundError,
    StatusCode.INVALID_ARGUMENT: InvalidError,
    StatusCode.FAILED_PRECONDITION: RefusedError,
    StatusCode.UNAVAILABLE: BrokenError,
    StatusCode.DEADLINE_EXCEEDED: BrokenError,
    StatusCode.CANCELLED: BrokenError,
}


# What gRPC's texts contain, which wrap the reason in addresses and states of its own.
_GRPC_TEXTS = (
    ("Connection refused", "connection refused"),
    ("No route to host", "no route to host"),
    ("Network is unreachable", "network is unreachable"),
    ("Failed parsing HTTP/2", "what listens there is no Luna node"),
    ("Socket closed", "it closed the connection"),
    ("Connection reset", "it closed the connection"),
    ("errors resolving", "there is no host of that name"),
    ("DNS resolution failed", "there is no host of that name"),
    ("Deadline Exceeded", "no answer in time"),
    ("timed out", "no answer in time"),
)


def status_of(error: LunaError) -> tuple[StatusCode, str]:
    """The status code and details to send for `error`."""
    code = next((code for kind, code in _CODES if isinstance(error, kind)), StatusCode.INTERNAL)
    details = error.message if error.hint is None else f"{error.message}\n{HINT_PREFIX}{error.hint}"
    return code, details[:MAX_DETAILS_LENGTH]


def error_from_status(code: StatusCode, details: str | None, who: str) -> LunaError:
    """The error behind a status that `who` (a node, for people) answered with."""
    lines = (details or "").splitlines()
    message = "\n".join(line for line in lines if not line.startswith(HINT_PREFIX)) or code.name
    hint = " ".join(line.removeprefix(HINT_PREFIX) for line in lines if line.startswith(HINT_PREFIX)) or None
    kind = _ERRORS.get(code, InternalError)
    if code in {StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED, StatusCode.CANCELLED}:
        message = f"{who} does not answer: {plain_reason(message)}"
    return kind(message, hint=hint)


def plain_reason(text: str) -> str:
    """gRPC's own texts in words for people; a node's text as it is."""
    return next((reason for part, reason in _GRPC_TEXTS if part in text), text)
