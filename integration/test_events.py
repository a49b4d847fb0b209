"""`luna events` on real nodes: what a node saw, also asked through another, and while it happens."""

from __future__ import annotations

import json
import signal
import subprocess

from .node_process import BIN, NodeStarter


def test_what_a_node_saw_is_told_through_another_and_followed(nodes: NodeStarter) -> None:
    a = nodes.start("a")
    b = nodes.start("b", "--join", a.address)
    follower = subprocess.Popen(
        [BIN / "luna", "events", "--node", "a", "--follow"],
        env={**b.environment, "LUNA_CONNECT": b.address},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = follower.stdout
    assert lines is not None
    seen: list[str] = []

    def read_until(kind: str) -> None:
        while kind not in seen:
            line = lines.readline()
            assert line, "the stream of events ended"
            seen.append(line.split()[1])

    read_until("up")
    c = nodes.start("c", "--join", a.address)
    seen.clear()
    read_until("up")
    seen.clear()
    c.kill()
    read_until("died")
    follower.send_signal(signal.SIGINT)
    _, stderr = follower.communicate(timeout=30)
    assert (follower.returncode, stderr) == (130, "")
    done = b.luna("events", "--node", "a", "--json")
    events = json.loads(done.stdout)["data"]["events"]
    assert [event["kind"] for event in events if event["node"] == "b"][:2] == ["joined", "up"]
    assert {"died", "down"} <= {event["kind"] for event in events if event["node"] == "c"}
