"""Errors cross gRPC and come back as what they were."""

from __future__ import annotations

import pytest
from grpc import StatusCode

from luna.node.status import JoinRefusedError, LimitError, error_from_status, status_of
from luna.proto import node_pb2
from luna.proto.errors import (
    BrokenError,
    ClosedError,
    InternalError,
    InvalidError,
    LunaError,
    NotFoundError,
    RefusedError,
    StaleError,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFoundError("m"), StatusCode.NOT_FOUND),
        (InvalidError("m"), StatusCode.INVALID_ARGUMENT),
        (RefusedError("m"), StatusCode.FAILED_PRECONDITION),
        (JoinRefusedError("m", node_pb2.NAME_TAKEN), StatusCode.FAILED_PRECONDITION),
        (LimitError("m"), StatusCode.RESOURCE_EXHAUSTED),
        (StaleError("m"), StatusCode.FAILED_PRECONDITION),
        (ClosedError("m"), StatusCode.UNAVAILABLE),
        (BrokenError("m"), StatusCode.UNAVAILABLE),
        (InternalError("m"), StatusCode.INTERNAL),
        (LunaError("m"), StatusCode.INTERNAL),
    ],
)
def test_each_error_has_its_status(error: LunaError, code: StatusCode) -> None:
    assert status_of(error) == (code, "m")


@pytest.mark.parametrize("kind", [NotFoundError, InvalidError, RefusedError, LimitError])
def test_message_and_hint_survive_the_way_there_and_back(kind: type[LunaError]) -> None:
    code, details = status_of(kind("two\nlines", hint="try this"))
    back = error_from_status(code, details, "node b")
    assert type(back) is kind
    assert (back.message, back.hint) == ("two\nlines", "try this")


def test_a_node_that_does_not_answer_is_named() -> None:
    error = error_from_status(StatusCode.UNAVAILABLE, "connection refused", "node b")
    assert isinstance(error, BrokenError)
    assert error.message == "node b does not answer: connection refused"


REFUSED = (
    "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: "
    "Failed to connect to remote host: Connection refused"
)
NO_HOST = (
    "errors resolving no.such.host:7: [field:hostname lookup error:address lookup failed for "
    "no.such.host:7: Domain name not found]"
)
NO_NODE = (
    "failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:80: "
    "Failed parsing HTTP/2 (Expected SETTINGS frame as the first frame, got frame type 79)"
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (REFUSED, "connection refused"),
        (NO_HOST, "there is no host of that name"),
        (NO_NODE, "what listens there is no Luna node"),
        ("Deadline Exceeded", "no answer in time"),
        ("the node is stopping", "the node is stopping"),
    ],
)
def test_why_a_node_does_not_answer_is_told_in_words_for_people(text: str, reason: str) -> None:
    error = error_from_status(StatusCode.UNAVAILABLE, text, "host:7")
    assert error.message == f"host:7 does not answer: {reason}"


def test_details_are_cut_before_grpc_refuses_them() -> None:
    assert len(status_of(NotFoundError("x" * 100_000))[1]) == 4096
