"""One side of a session: everything arrives once and in order, and what no correct peer sends is refused."""

from __future__ import annotations

import struct
from random import Random

import pytest

from luna.cluster import link_layer
from luna.cluster.link_layer import HEAD_BYTES, WINDOW_BYTES, WINDOW_FRAMES, Link
from luna.proto import node_pb2
from luna.proto.errors import InvalidError

SESSION = 2**63 - 1
HEAD = struct.Struct("<BQBQBQ")


def head(session: int = SESSION, sequence: int = 0, acknowledged: int = 0) -> bytes:
    return HEAD.pack(0x11, session, 0x19, sequence, 0x21, acknowledged)


def send(link: Link, body: bytes = b"") -> bytes:
    frame = link.next_head() + body
    link.sent(frame)
    return frame


def has_room(link: Link) -> bool:
    return link.has_room


def pair() -> tuple[Link, Link]:
    return Link(SESSION), Link(SESSION)


# --- the head ---


def test_a_head_is_the_beginning_of_a_frame_message() -> None:
    link, other = pair()
    for _ in range(3):
        other.receive(send(link))
    send(other)
    frame = node_pb2.Frame.FromString(other.next_head())
    assert (frame.session, frame.sequence, frame.acknowledged) == (SESSION, 2, 3)
    assert len(other.next_head()) == HEAD_BYTES == 27


def test_an_acknowledgement_is_a_head_without_a_number() -> None:
    link, other = pair()
    other.receive(send(link))
    frame = node_pb2.Frame.FromString(other.acknowledgement())
    assert (frame.session, frame.sequence, frame.acknowledged) == (SESSION, 0, 1)


@pytest.mark.parametrize("size", range(HEAD_BYTES))
def test_a_frame_without_a_whole_head_is_invalid(size: int) -> None:
    with pytest.raises(InvalidError):
        Link(SESSION).receive(head()[:size])


@pytest.mark.parametrize("position", [0, 9, 18])
def test_a_frame_with_another_tag_in_its_head_is_invalid(position: int) -> None:
    frame = bytearray(head(sequence=1))
    frame[position] ^= 0x40
    with pytest.raises(InvalidError):
        Link(SESSION).receive(bytes(frame))


@pytest.mark.parametrize("session", [0, 1, SESSION - 1, 2**64 - 1])
def test_a_frame_of_another_session_is_invalid_and_changes_nothing(session: int) -> None:
    link = Link(SESSION)
    send(link)
    with pytest.raises(InvalidError):
        link.receive(head(session, 1, 1))
    assert link.received == 0
    assert not link.is_settled


# --- order ---


def test_frames_are_delivered_in_order_and_once() -> None:
    link, other = pair()
    frames = [send(link, bytes([i])) for i in range(5)]
    assert [other.receive(frame) for frame in frames] == [True] * 5
    assert [other.receive(frame) for frame in frames] == [False] * 5, "they were delivered before"
    assert other.received == 5
    assert other.statistics().duplicates == 5


def test_a_gap_is_invalid_and_delivers_nothing() -> None:
    link, other = pair()
    first, _, third = (send(link) for _ in range(3))
    other.receive(first)
    with pytest.raises(InvalidError, match="a gap: frame 3 came after 1"):
        other.receive(third)
    assert other.received == 1


def test_envelopes_in_a_frame_without_a_number_are_invalid() -> None:
    with pytest.raises(InvalidError):
        Link(SESSION).receive(head() + b"\n\0")


# --- acknowledgements ---


def test_frames_are_kept_until_they_are_acknowledged() -> None:
    link, other = pair()
    frames = [send(link, b"x" * 10) for _ in range(3)]
    assert link.statistics().kept_frames == 3
    assert link.statistics().kept_bytes == sum(map(len, frames))
    other.receive(frames[0])
    other.receive(frames[1])
    assert not link.receive(other.acknowledgement())
    assert link.statistics().kept_frames == 1
    other.receive(frames[2])
    assert link.receive(send(other)), "any frame acknowledges"
    assert link.is_settled
    assert link.statistics().kept_bytes == 0


def test_an_old_acknowledgement_takes_nothing_back() -> None:
    link, _ = pair()
    for _ in range(3):
        send(link)
    link.receive(head(acknowledged=2))
    link.receive(head(acknowledged=1))
    assert link.statistics().kept_frames == 1


@pytest.mark.parametrize("acknowledged", [4, 2**64 - 1])
def test_an_acknowledgement_of_what_was_never_sent_is_invalid(acknowledged: int) -> None:
    link, _ = pair()
    for _ in range(3):
        send(link)
    with pytest.raises(InvalidError):
        link.receive(head(acknowledged=acknowledged))
    assert link.statistics().kept_frames == 3


def test_a_number_beyond_the_row_with_a_forged_acknowledgement_delivers_nothing() -> None:
    link, _ = pair()
    with pytest.raises(InvalidError):
        link.receive(head(sequence=1, acknowledged=1) + b"\n\0")
    assert link.received == 0


def test_what_was_taken_in_is_counted_until_a_frame_says_so() -> None:
    link, other = pair()
    frame = send(link, b"x" * 10)
    other.receive(frame)
    assert (other.unacknowledged_frames, other.unacknowledged_bytes) == (1, len(frame))
    send(other)
    assert (other.unacknowledged_frames, other.unacknowledged_bytes) == (0, 0)
    other.receive(send(link))
    other.acknowledgement()
    assert other.unacknowledged_frames == 0


def test_a_duplicate_is_to_be_acknowledged_again() -> None:
    link, other = pair()
    frame = send(link)
    other.receive(frame)
    other.acknowledgement()
    other.receive(frame)
    assert other.unacknowledged_frames == 1


# --- the window ---


def test_there_is_room_for_so_many_frames() -> None:
    link, _ = pair()
    for _ in range(WINDOW_FRAMES):
        assert has_room(link)
        send(link)
    assert not has_room(link)
    link.receive(head(acknowledged=1))
    assert has_room(link)


def test_there_is_room_for_so_many_bytes_and_one_frame_more() -> None:
    link, _ = pair()
    send(link, bytes(WINDOW_BYTES - HEAD_BYTES - 1))
    assert has_room(link)
    send(link, bytes(1000))
    assert not has_room(link)
    link.receive(head(acknowledged=1))
    assert has_room(link)


# --- after a broken stream ---


def test_what_the_peer_lacks_is_sent_again_in_order() -> None:
    link, other = pair()
    frames = [send(link, bytes([i])) for i in range(5)]
    for frame in frames[:2]:
        other.receive(frame)
    again = link.resume(other.received)
    assert again == frames[2:]
    assert [other.receive(frame) for frame in again] == [True] * 3
    assert link.statistics().resent == 3
    assert other.receive(send(link)), "new frames go on behind them"


def test_a_quiet_session_resumes_with_nothing() -> None:
    link, other = pair()
    other.receive(send(link))
    link.receive(other.acknowledgement())
    assert link.resume(1) == []


def test_resuming_twice_sends_again_twice() -> None:
    link, other = pair()
    frames = [send(link) for _ in range(3)]
    assert link.resume(0) == frames
    for frame in frames:
        other.receive(frame)
    assert link.resume(other.received) == []


@pytest.mark.parametrize("received", [0, 1, 4])
def test_a_peer_that_has_less_than_it_acknowledged_or_more_than_was_sent_is_invalid(received: int) -> None:
    link, _ = pair()
    for _ in range(3):
        send(link)
    link.receive(head(acknowledged=2))
    with pytest.raises(InvalidError):
        link.resume(received)
    assert link.statistics().kept_frames == 1


# --- whatever comes ---


def hostile(random: Random, frames: list[bytes], link: Link) -> bytes:
    """Something that a broken or hostile peer might send."""
    match random.randrange(6):
        case 0:
            return random.choice(frames)  # a replay, or a gap
        case 1:
            return head(SESSION, random.choice([0, 1, link.received + 2, 2**64 - 1]), random.randrange(20))
        case 2:
            return head(random.choice([0, 1, SESSION - 1]), link.received + 1, 0)
        case 3:
            return head(SESSION, link.received + 1, random.choice([10**6, 2**64 - 1]))
        case 4:
            frame = bytearray(random.choice(frames))
            frame[random.randrange(len(frame))] ^= 1 << random.randrange(8)
            return bytes(frame)
        case _:
            return random.randbytes(random.randrange(60))


@pytest.mark.parametrize("seed", range(200))
def test_whatever_comes_is_the_next_frame_or_has_no_effect_or_is_invalid(seed: int) -> None:
    """A session on which garbage arrives delivers exactly what a correct peer has sent, or ends."""
    random = Random(seed)
    link, other = pair()
    frames = [send(other, random.randbytes(random.randrange(20))) for _ in range(12)]
    for _ in range(random.randrange(12)):
        send(link)
    for _ in range(200):
        item = (
            frames[link.received]
            if random.random() < 0.1 and link.received < 12
            else hostile(random, frames, link)
        )
        before = (link.received, link.statistics())
        try:
            delivered = link.receive(item)
        except InvalidError:
            assert link.received == before[0], "what is invalid is not delivered"
            continue
        assert link.received == before[0] + delivered
        assert link.statistics().kept_frames <= before[1].kept_frames
        if delivered:
            _, session, _, sequence, _, acknowledged = HEAD.unpack_from(item)
            assert (session, sequence) == (SESSION, link.received)
            assert acknowledged <= link.statistics().sent


@pytest.mark.parametrize("seed", range(100))
def test_two_correct_sides_lose_and_repeat_nothing_over_streams_that_break_anywhere(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_layer, "WINDOW_FRAMES", 5)
    random = Random(seed)
    sides = pair()
    sent: tuple[list[bytes], list[bytes]] = ([], [])
    delivered: tuple[list[bytes], list[bytes]] = ([], [])
    under_way: tuple[list[bytes], list[bytes]] = ([], [])  # to each side
    for step in range(400):
        side = random.randrange(2)
        link = sides[side]
        match random.choices(["send", "acknowledge", "arrive", "break"], [4, 1, 6, 1])[0]:
            case "send" if link.has_room and step < 300:
                body = bytes([step % 256, side])
                sent[side].append(body)
                under_way[1 - side].append(send(link, body))
            case "acknowledge":
                under_way[1 - side].append(link.acknowledgement())
            case "arrive" if under_way[side]:
                frame = under_way[side].pop(0)
                if link.receive(frame):
                    delivered[side].append(frame[HEAD_BYTES:])
            case "break":
                received = [sides[0].received, sides[1].received]
                for each in range(2):
                    under_way[1 - each][:] = sides[each].resume(received[1 - each])
        assert link.statistics().kept_frames <= 5
    for side in range(2):
        under_way[side][:] = sides[1 - side].resume(sides[side].received)
        delivered[side].extend(frame[HEAD_BYTES:] for frame in under_way[side] if sides[side].receive(frame))
        assert delivered[side] == sent[1 - side]
