"""Between what nodes tell each other about names and the protobuf form; every input is checked here.

Owns the conversion and the caps of a decode. What a peer may say, `luna.cluster.names` decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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
from luna.proto import node_pb2
from luna.proto.errors import InvalidError
from luna.proto.limits import MAX_NAME_SIGNALS, MAX_PROCESS_NAME_BYTES, NAMES_ENVELOPE_BYTES

_MAX_SIGNED = (1 << 63) - 1


def names_to_protos(messages: Iterable[NameMessage]) -> Iterator[node_pb2.Names]:
    """The messages in order, in as few envelopes as the caps allow."""
    signals: list[node_pb2.NameSignal] = []
    size = 0
    for message in messages:
        if len(signals) >= MAX_NAME_SIGNALS or size >= NAMES_ENVELOPE_BYTES:
            yield node_pb2.Names(signals=signals)
            signals, size = [], 0
        signal = _to_proto(message)
        signals.append(signal)
        size += signal.ByteSize()
    if signals:
        yield node_pb2.Names(signals=signals)


def names_from_proto(names: node_pb2.Names) -> list[NameMessage]:
    """The messages of an envelope; those of a newer protocol are left out.

    Raises InvalidError if something is malformed or beyond its cap.
    """
    if len(names.signals) > MAX_NAME_SIGNALS:
        raise InvalidError(f"{len(names.signals)} signals about names are more than {MAX_NAME_SIGNALS}")
    messages = (_from_proto(signal) for signal in names.signals)
    return [message for message in messages if message is not None]


def _to_proto(message: NameMessage) -> node_pb2.NameSignal:
    match message:
        case Announce(entry, reference):
            announce = node_pb2.NameAnnounce(entry=_entry_to_proto(entry), reference=reference)
            return node_pb2.NameSignal(announce=announce)
        case Retract(name, pid):
            return node_pb2.NameSignal(retract=node_pb2.NameRetract(name=_name_to_proto(name), pid=pid))
        case Get(reference, name):
            return node_pb2.NameSignal(get=node_pb2.NameGet(reference=reference, name=_name_to_proto(name)))
        case Put(reference, entry):
            return node_pb2.NameSignal(
                put=node_pb2.NamePut(reference=reference, entry=_entry_to_proto(entry))
            )
        case Remove(reference, name):
            remove = node_pb2.NameRemove(reference=reference, name=_name_to_proto(name))
            return node_pb2.NameSignal(remove=remove)
        case Reserve(reference, name, granted):
            reserve = node_pb2.NameReserve(reference=reference, name=_name_to_proto(name), granted=granted)
            return node_pb2.NameSignal(reserve=reserve)
        case Cancel(reference, name):
            cancel = node_pb2.NameCancel(reference=reference, name=_name_to_proto(name))
            return node_pb2.NameSignal(cancel=cancel)
        case Register(reference, entry):
            register = node_pb2.NameRegister(reference=reference, entry=_entry_to_proto(entry))
            return node_pb2.NameSignal(register=register)
        case Answer(reference, entry_or_none, refused):
            found = None if entry_or_none is None else _entry_to_proto(entry_or_none)
            answer = node_pb2.NameAnswer(reference=reference, entry=found, refused=refused)
            return node_pb2.NameSignal(answer=answer)
        case Granted(reference):
            return node_pb2.NameSignal(granted=node_pb2.NameGranted(reference=reference))
        case Revoke(name, pid):
            return node_pb2.NameSignal(revoke=node_pb2.NameRevoke(name=_name_to_proto(name), pid=pid))
        case Lost(name, pid, winner):
            lost = node_pb2.NameLost(name=_name_to_proto(name), pid=pid, winner=winner)
            return node_pb2.NameSignal(lost=lost)
        case Viewing(number, complete):
            return node_pb2.NameSignal(viewing=node_pb2.NameViewing(number=number, complete=complete))


def _from_proto(signal: node_pb2.NameSignal) -> NameMessage | None:
    match signal.WhichOneof("signal"):
        case "announce":
            announce = signal.announce
            return Announce(_entry_from_proto(announce.entry), announce.reference)
        case "retract":
            return Retract(_name_from_proto(signal.retract.name), _pid(signal.retract.pid))
        case "get":
            return Get(signal.get.reference, _name_from_proto(signal.get.name))
        case "put":
            return Put(signal.put.reference, _entry_from_proto(signal.put.entry))
        case "remove":
            return Remove(signal.remove.reference, _name_from_proto(signal.remove.name))
        case "reserve":
            reserve = signal.reserve
            return Reserve(reserve.reference, _name_from_proto(reserve.name), reserve.granted)
        case "cancel":
            return Cancel(signal.cancel.reference, _name_from_proto(signal.cancel.name))
        case "register":
            return Register(signal.register.reference, _entry_from_proto(signal.register.entry))
        case "answer":
            answer = signal.answer
            entry = _entry_from_proto(answer.entry) if answer.HasField("entry") else None
            return Answer(answer.reference, entry, answer.refused)
        case "granted":
            return Granted(signal.granted.reference)
        case "revoke":
            return Revoke(_name_from_proto(signal.revoke.name), _pid(signal.revoke.pid))
        case "lost":
            lost = signal.lost
            return Lost(_name_from_proto(lost.name), _pid(lost.pid), _pid(lost.winner))
        case "viewing":
            return Viewing(signal.viewing.number, signal.viewing.complete)
        case _:
            return None


def _name_to_proto(name: Name) -> node_pb2.ProcessName:
    return node_pb2.ProcessName(environment=name.environment, text=name.text)


def _name_from_proto(name: node_pb2.ProcessName) -> Name:
    if len(name.text.encode()) > MAX_PROCESS_NAME_BYTES:
        raise InvalidError(f"a name of a process has more than {MAX_PROCESS_NAME_BYTES} bytes")
    return Name(name.environment, name.text)


def _entry_to_proto(entry: Entry) -> node_pb2.NameEntry:
    return node_pb2.NameEntry(
        name=_name_to_proto(entry.name), node=entry.node, pid=entry.pid, stamp_ms=entry.stamp
    )


def _entry_from_proto(entry: node_pb2.NameEntry) -> Entry:
    if entry.stamp_ms > _MAX_SIGNED:
        raise InvalidError(f"a name was registered at {entry.stamp_ms} ms, which is no time")
    return Entry(_name_from_proto(entry.name), entry.node, _pid(entry.pid), entry.stamp_ms)


def _pid(pid: int) -> int:
    if pid > _MAX_SIGNED:
        raise InvalidError(f"{pid} is no process id")
    return pid
