"""The benchmarks between two nodes on loopback: what is asked of each system, and what its answers mean."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, Protocol

from benchmarks.cluster import open_pair
from benchmarks.lab import Lab
from benchmarks.model import Benchmark, Measure, Probe, Values, on
from benchmarks.session import Session, rate
from benchmarks.systems import open_erlang_pair, open_floors, open_grpc
from luna.proto.limits import TARGET_FRAME_BYTES

__all__ = ["REMOTE"]

SMALL: Final = 64
LARGE: Final = 65_536
ROUNDS: Final = 2_000
WARM_UP: Final = 100
SPAWNERS: Final = 32
MANY_SPAWNERS: Final = 512
MOST_SMALL: Final = 1_000_000
MOST_LARGE: Final = 20_000
SMALL_ENVELOPE_BYTES: Final = 97
"""bytes of a message of 64 on the wire: three numbers of nine bytes each, and the heads."""
SETTLE_S: Final = 0.2
"""seconds between the start of a watch and the end of its node: the watch has reached it."""


class WatchingPair(Protocol):
    """Two nodes of which one watches the other."""

    @property
    def peer_os_pid(self) -> int:
        """The operating system's id of the second node."""
        ...

    def begin_watch(self) -> None:
        """Let a process of the first node watch one of the second."""
        ...

    def wait_noticed(self) -> int:
        """The wall clock's time, in ns, when its death was known."""
        ...


Opener = Callable[[Lab], AbstractContextManager[WatchingPair]]


def round_trip(session: Session, lab: Lab) -> Values:
    """A message of 64 bytes to a process of the other node and back, the median, by the guest's clock. The
    floors are loopback TCP between two processes, and a bare gRPC stream of bytes."""
    return _round_trip(session, lab, "remote_pingpong")


def tcp_round_trip(session: Session, lab: Lab) -> Values:
    """Loopback TCP between two processes."""
    return _round_trip(session, lab, "tcp_pingpong")


def grpc_round_trip(session: Session, lab: Lab) -> Values:
    """A bare gRPC stream of bytes between two processes."""
    return _round_trip(session, lab, "pingpong")


def _round_trip(session: Session, lab: Lab, name: str) -> Values:
    session.ask(name, WARM_UP, SMALL)
    return {"p50": session.ask(name, int(ROUNDS * lab.scale), SMALL)["p50_ns"] * 1e-3}


def throughput(session: Session, lab: Lab) -> Values:
    """Messages to a process of the other node that only takes them, until it has taken the last. The floors
    send ready frames of 256 KiB over TCP and over gRPC, and count the messages that fit in."""
    small = rate(
        session, "remote_oneway", lambda count: (count, SMALL), "/s", scale=lab.scale, most=MOST_SMALL
    )
    large = rate(
        session, "remote_oneway", lambda count: (count, LARGE), "/s", scale=lab.scale, most=MOST_LARGE
    )
    return {"small": small, "large": large * LARGE / 1e6}


def tcp_throughput(session: Session, lab: Lab) -> Values:
    """Frames over loopback TCP between two processes."""
    return _frames(session, lab, "tcp_oneway")


def grpc_throughput(session: Session, lab: Lab) -> Values:
    """Frames over a bare gRPC stream between two processes."""
    return _frames(session, lab, "oneway")


def _frames(session: Session, lab: Lab, name: str) -> Values:
    frames = rate(
        session, name, lambda count: (count, TARGET_FRAME_BYTES), "/s", scale=lab.scale, most=MOST_LARGE
    )
    return {
        "small": frames * (TARGET_FRAME_BYTES // SMALL_ENVELOPE_BYTES),
        "large": frames * TARGET_FRAME_BYTES / 1e6,
    }


def spawn(session: Session, lab: Lab) -> Values:
    """Processes spawned on the other node that send one message back and end: one by one, then by 32 and by
    512 processes at once. The floor is one round trip for each."""
    session.ask("remote_spawn", WARM_UP, 1)

    def by(spawners: int) -> float:
        return rate(
            session,
            "remote_spawn",
            lambda count: (max(count, spawners), spawners),
            "/s",
            scale=lab.scale,
            items=lambda count: max(count, spawners) // spawners * spawners,
        )

    return {"one_by_one": by(1), "at_once": by(SPAWNERS), "pipelined": by(MANY_SPAWNERS)}


def grpc_round_trips(session: Session, lab: Lab) -> Values:
    """Round trips of a bare gRPC stream, one by one."""
    return {"one_by_one": 1e6 / grpc_round_trip(session, lab)["p50"]}


def death(session: Session, lab: Lab) -> Values:
    """From the kill of a monitored process of the other node to the notice of its death, the median, by the
    guest's clock. The floors are a round trip by TCP and by gRPC."""
    session.ask("remote_death", WARM_UP)
    return {"p50": session.ask("remote_death", int(ROUNDS * lab.scale))["p50_ns"] * 1e-3}


def killed(open_one: Opener) -> Probe:
    """The probe of a node that is killed."""

    def probe(lab: Lab) -> Values:
        """From the SIGKILL of a node to the end of a process on the other one that watches one there. The
        floor is the end of a TCP connection that a killed process held."""
        return {"noticed": _noticed_after(open_one(lab), signal.SIGKILL) * 1e-6}

    return probe


def frozen(open_one: Opener) -> Probe:
    """The probe of a node that no longer runs, though its connections stand."""

    def probe(lab: Lab) -> Values:
        """From the SIGSTOP of a node to the end of a process on the other one that watches one there. No
        connection ends, so this is a matter of timeouts; Erlang's takes a minute."""
        return {"noticed": _noticed_after(open_one(lab), signal.SIGSTOP) * 1e-9}

    return probe


def _noticed_after(opened: AbstractContextManager[WatchingPair], number: signal.Signals) -> int:
    """Nanoseconds from the signal to the notice."""
    with opened as pair:
        pair.begin_watch()
        time.sleep(SETTLE_S)
        sent_ns = time.time_ns()
        os.kill(pair.peer_os_pid, number)
        try:
            return pair.wait_noticed() - sent_ns
        finally:
            if number != signal.SIGKILL:
                os.kill(pair.peer_os_pid, signal.SIGKILL)


def tcp_killed(session: Session, lab: Lab) -> Values:
    """The end of a TCP connection that a killed process held."""
    return {"noticed": session.ask("tcp_killed", 20)["p50_ns"] * 1e-6}


REMOTE: Final = (
    Benchmark(
        "remote-round-trip",
        "remote",
        (Measure("p50", "remote round trip, 64 B, p50", "us", "<= 1.3 x gRPC"),),
        on(open_pair, round_trip),
        {"TCP": on(open_floors, tcp_round_trip), "gRPC": on(open_grpc, grpc_round_trip)},
        on(open_erlang_pair, round_trip),
    ),
    Benchmark(
        "remote-throughput",
        "remote",
        (
            Measure("small", "remote one way, 64 B", "/s", ">= 1M"),
            Measure("large", "remote one way, 64 KiB", "MB/s", ">= 500"),
        ),
        on(open_pair, throughput),
        {"TCP": on(open_floors, tcp_throughput), "gRPC": on(open_grpc, grpc_throughput)},
        on(open_erlang_pair, throughput),
    ),
    Benchmark(
        "remote-spawn",
        "remote",
        (
            Measure("one_by_one", "remote spawn, one by one", "/s"),
            Measure("at_once", "remote spawn, 32 at once", "/s"),
            Measure("pipelined", "remote spawn, 512 at once", "/s", ">= 20k"),
        ),
        on(open_pair, spawn),
        {"gRPC": on(open_grpc, grpc_round_trips)},
        on(open_erlang_pair, spawn),
    ),
    Benchmark(
        "remote-death",
        "remote",
        (Measure("p50", "remote death notice, p50", "us", "<= 1000"),),
        on(open_pair, death),
        {"TCP": on(open_floors, tcp_round_trip), "gRPC": on(open_grpc, grpc_round_trip)},
        on(open_erlang_pair, death),
    ),
    Benchmark(
        "node-killed",
        "remote",
        (Measure("noticed", "node killed, noticed after", "ms", "<= 100"),),
        killed(open_pair),
        {"TCP": on(open_floors, tcp_killed)},
        killed(open_erlang_pair),
    ),
    Benchmark(
        "node-frozen",
        "remote",
        (Measure("noticed", "node frozen, noticed after", "s", "<= 6"),),
        frozen(open_pair),
        {},
        frozen(open_erlang_pair),
        slow=True,
    ),
)
