"""One side of one session with one peer: sequence numbers, acknowledgements, and what is sent again.

A session outlives the streams that carry it. Its frames are numbered in each direction; the sender keeps
each until the other side says that it has taken it in, and after a broken stream both say how far they got
and send the rest again. So nothing is lost and nothing is delivered twice, whatever happens to connections;
only a verdict ends a session, and then for good. No clock, no I/O: `luna.node.session` pumps frames, and
decides when to acknowledge by what `unacknowledged_frames` and `unacknowledged_bytes` say.

Not safe for use by two threads at once, but for `received` and `session`, which may be read by any.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from struct import Struct

from luna.proto.errors import InvalidError
from luna.proto.limits import MIB

__all__ = ["HEAD_BYTES", "WINDOW_BYTES", "WINDOW_FRAMES", "Link", "LinkStatistics"]

# Fields 2, 3 and 4 of luna.v1.Frame, each with its tag: a fixed64.
_HEAD = Struct("<BQBQBQ")
_TAGS = (2 << 3 | 1, 3 << 3 | 1, 4 << 3 | 1)

HEAD_BYTES = _HEAD.size
"""bytes that each frame of a session begins with."""

WINDOW_BYTES = 16 * MIB
"""bytes of frames under way and not acknowledged; beyond it (by one frame at most) nothing is sent. What
a link of 10 Gbit/s holds in 13 ms: acknowledgements come far more often."""

WINDOW_FRAMES = 8192
"""frames under way; many small ones cost more than their bytes say."""


@dataclass(frozen=True, slots=True)
class LinkStatistics:
    """Counts of one session; sizes in bytes."""

    sent: int
    received: int
    kept_frames: int
    kept_bytes: int
    resent: int
    duplicates: int


class Link:
    """The numbering of one session, as one side sees it."""

    def __init__(self, session: int) -> None:
        """`session` is the id that both sides agreed upon, not 0."""
        assert session > 0
        self.session = session
        self.received = 0
        """the highest frame of the peer's that was taken in, of the unbroken row from 1"""
        self.unacknowledged_frames = 0
        self.unacknowledged_bytes = 0
        self._sent = 0
        self._kept: deque[tuple[int, bytes]] = deque()  # by sequence, without holes
        self._kept_bytes = 0
        self._resent = 0
        self._duplicates = 0

    # --- sending ----------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether another frame may be sent now."""
        return self._kept_bytes < WINDOW_BYTES and len(self._kept) < WINDOW_FRAMES

    @property
    def is_settled(self) -> bool:
        """Whether the peer has taken in all that was sent."""
        return not self._kept

    def next_head(self) -> bytes:
        """The head of the next frame; pass the frame to `sent` if there is one."""
        return self._head(self._sent + 1)

    def sent(self, frame: bytes) -> None:
        """The frame that begins with `next_head()` is on its way; it is kept until it is acknowledged."""
        self._sent += 1
        self._kept.append((self._sent, frame))
        self._kept_bytes += len(frame)
        self._acknowledged()

    def acknowledgement(self) -> bytes:
        """A frame that only acknowledges; it has no number and is not kept."""
        self._acknowledged()
        return self._head(0)

    # --- receiving --------------------------------------------------------------------------

    def receive(self, frame: bytes) -> bool:
        """Take in a frame's head; True if the envelopes behind it are to be delivered now.

        False for what was delivered before and for a frame that only acknowledges. Raises InvalidError for a
        malformed head, another session, a gap, and an acknowledgement of what was never sent.
        """
        if len(frame) < HEAD_BYTES:
            raise InvalidError("a frame without a head")
        tag, session, tag2, sequence, tag3, acknowledged = _HEAD.unpack_from(frame)
        if (tag, tag2, tag3) != _TAGS:
            raise InvalidError("a frame that does not begin with its session")
        if session != self.session:
            raise InvalidError("a frame of another session")
        self._forget(acknowledged)
        if sequence == 0:
            if len(frame) > HEAD_BYTES:
                raise InvalidError("a frame with envelopes and no number")
            return False
        if sequence <= self.received:
            self._duplicates += 1
            # Its first copy was acknowledged on a stream that broke; the peer waits to hear it again.
            self.unacknowledged_frames += 1
            return False
        if sequence != self.received + 1:
            raise InvalidError(f"a gap: frame {sequence} came after {self.received}")
        self.received = sequence
        self.unacknowledged_frames += 1
        self.unacknowledged_bytes += len(frame)
        return True

    # --- after a broken stream --------------------------------------------------------------

    def resume(self, received: int) -> list[bytes]:
        """The peer has taken in `received` frames: the others, to be sent again, in order, before new ones.

        Raises InvalidError if it has taken in what was never sent, or less than it acknowledged.
        """
        first_kept = self._kept[0][0] if self._kept else self._sent + 1
        if received < first_kept - 1:
            raise InvalidError(f"it has {received} frames, but acknowledged {first_kept - 1}")
        self._forget(received)
        frames = [frame for _, frame in self._kept]
        self._resent += len(frames)
        return frames

    def statistics(self) -> LinkStatistics:
        """A frozen record of counts."""
        return LinkStatistics(
            self._sent, self.received, len(self._kept), self._kept_bytes, self._resent, self._duplicates
        )

    # --- small helpers ----------------------------------------------------------------------

    def _head(self, sequence: int) -> bytes:
        return _HEAD.pack(_TAGS[0], self.session, _TAGS[1], sequence, _TAGS[2], self.received)

    def _acknowledged(self) -> None:
        self.unacknowledged_frames = self.unacknowledged_bytes = 0

    def _forget(self, acknowledged: int) -> None:
        if acknowledged > self._sent:
            raise InvalidError(f"frame {acknowledged} was acknowledged, and {self._sent} were sent")
        while self._kept and self._kept[0][0] <= acknowledged:
            self._kept_bytes -= len(self._kept.popleft()[1])
