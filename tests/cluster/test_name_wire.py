"""What nodes tell each other about names, as protobuf and back, and what is refused."""

from __future__ import annotations

import pytest

from luna.cluster.name_messages import (
    Announce,
    Answer,
    Cancel,
    Entry,
    Get,
    Granted,
    Lost,
    Name,
    NameMessage,
    Put,
    Register,
    Remove,
    Reserve,
    Retract,
    Revoke,
    Viewing,
)
from luna.cluster.name_wire import names_from_proto, names_to_protos
from luna.proto import node_pb2
from luna.proto.errors import InvalidError
from luna.proto.limits import MAX_NAME_SIGNALS, MAX_PROCESS_NAME_BYTES, NAMES_ENVELOPE_BYTES

NAME = Name((1 << 64) - 1, "a/\0ä")
ENTRY = Entry(NAME, -1, 5 << 40 | 7, 1_700_000_000_000)
EVERY: list[NameMessage] = [
    Announce(ENTRY, 3),
    Retract(NAME, ENTRY.pid),
    Get(1, NAME),
    Put(2, ENTRY),
    Remove(3, NAME),
    Reserve(4, NAME, True),
    Cancel(5, NAME),
    Register(6, ENTRY),
    Answer(7, ENTRY),
    Answer(8, refused=True),
    Granted(9),
    Revoke(NAME, ENTRY.pid),
    Lost(NAME, ENTRY.pid, 6 << 40 | 1),
    Viewing((1 << 64) - 1, True),
]


def test_every_message_is_read_back() -> None:
    (names,) = names_to_protos(EVERY)
    assert names_from_proto(node_pb2.Names.FromString(names.SerializeToString())) == EVERY


def test_many_go_in_several_envelopes_in_order() -> None:
    many: list[NameMessage] = [Get(reference, NAME) for reference in range(1, 2 * MAX_NAME_SIGNALS + 2)]
    envelopes = list(names_to_protos(many))
    assert [len(names.signals) for names in envelopes] == [MAX_NAME_SIGNALS, MAX_NAME_SIGNALS, 1]
    assert [message for names in envelopes for message in names_from_proto(names)] == many


def test_an_envelope_of_long_names_ends_early() -> None:
    long = Name(1, "x" * MAX_PROCESS_NAME_BYTES)
    first, *rest = names_to_protos([Get(reference, long) for reference in range(1, 101)])
    assert NAMES_ENVELOPE_BYTES <= first.ByteSize() < 2 * NAMES_ENVELOPE_BYTES
    assert len(rest) == 1


def test_signals_of_a_newer_protocol_are_left_out() -> None:
    names = node_pb2.Names.FromString(
        node_pb2.Names(
            signals=[node_pb2.NameSignal(granted=node_pb2.NameGranted(reference=1))]
        ).SerializeToString()
        + b"\x0a\x04\xba\x06\x01x"  # a signal with a field nobody knows yet
    )
    assert names_from_proto(names) == [Granted(1)]


LONG = node_pb2.ProcessName(environment=1, text="ä" * (MAX_PROCESS_NAME_BYTES // 2) + "x")
SOUND = node_pb2.ProcessName(environment=1, text="x")


@pytest.mark.parametrize(
    "signal",
    [
        node_pb2.NameSignal(get=node_pb2.NameGet(reference=1, name=LONG)),
        node_pb2.NameSignal(announce=node_pb2.NameAnnounce(entry=node_pb2.NameEntry(name=LONG, pid=1))),
        node_pb2.NameSignal(
            announce=node_pb2.NameAnnounce(entry=node_pb2.NameEntry(name=SOUND, pid=1 << 63))
        ),
        node_pb2.NameSignal(
            put=node_pb2.NamePut(reference=1, entry=node_pb2.NameEntry(name=SOUND, pid=1, stamp_ms=1 << 63))
        ),
        node_pb2.NameSignal(revoke=node_pb2.NameRevoke(name=SOUND, pid=(1 << 64) - 1)),
        node_pb2.NameSignal(lost=node_pb2.NameLost(name=SOUND, pid=1, winner=1 << 63)),
    ],
)
def test_what_is_beyond_its_range_is_refused(signal: node_pb2.NameSignal) -> None:
    with pytest.raises(InvalidError):
        names_from_proto(node_pb2.Names(signals=[signal]))


def test_too_many_signals_are_refused() -> None:
    signals = [node_pb2.NameSignal()] * (MAX_NAME_SIGNALS + 1)
    with pytest.raises(InvalidError):
        names_from_proto(node_pb2.Names(signals=signals))
