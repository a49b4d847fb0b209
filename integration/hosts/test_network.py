"""The network that tests of faults run on: it carries, it breaks on demand, and nothing of it stays."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ..node_process import wait_for
from .network import PREFIX, Network, open_network, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=f"there are no networks here: {why_not()}")

COUNT = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
    receiver.bind((sys.argv[1], 5000))
    print("ready", flush=True)
    count = 0
    while receiver.recv(100) != b"end":
        count += 1
print(count, flush=True)
"""
SEND = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    for _ in range(int(sys.argv[2])):
        sender.sendto(sys.argv[3].encode(), (sys.argv[1], 5000))
"""


def send(network: Network, source: str, target: str, count: int, text: str = "x") -> None:
    """Send packets from one host to another."""
    command = [sys.executable, "-c", SEND, network.address(target), str(count), text]
    subprocess.run([*network.within(source), *command], check=True, timeout=30)


def start_counting(network: Network, host: str) -> subprocess.Popen[str]:
    """Count packets on a host until one says `end`."""
    command = [sys.executable, "-c", COUNT, network.address(host)]
    counting = subprocess.Popen([*network.within(host), *command], stdout=subprocess.PIPE, text=True)
    assert counting.stdout is not None
    assert counting.stdout.readline() == "ready\n"
    return counting


def test_packets_pass_but_where_a_path_is_cut_and_a_share_gets_lost() -> None:
    with open_network(["a", "b", "c"], seed=3) as network, start_counting(network, "b") as counting:
        send(network, "a", "b", 100)
        network.cut_one_way("a", "b")
        send(network, "a", "b", 100)
        send(network, "c", "b", 100)
        network.degrade(loss=0.5)
        send(network, "a", "b", 100)
        network.heal()
        network.degrade(delay_s=0.01)
        send(network, "a", "b", 1)
        network.heal()
        wait_for(lambda: not network.switch.delayed, "late packets")
        send(network, "a", "b", 1, "end")
        assert counting.stdout is not None
        count = int(counting.stdout.readline())
        assert 201 + 25 < count < 201 + 75
        assert network.switch.dropped == 401 - count


def test_nothing_stays_of_a_network_nor_of_one_whose_owner_died() -> None:
    with subprocess.Popen(["true"]) as dead:
        pass
    abandoned = f"{PREFIX}{dead.pid}-a"
    subprocess.run(["ip", "netns", "add", abandoned], check=True)
    left = subprocess.Popen(["ip", "netns", "exec", abandoned, "sleep", "1000"])
    wait_for(lambda: pids(abandoned), "a process in it")
    with open_network(["a"]) as network:
        assert left.wait(10) == -9
        assert abandoned not in namespaces()
        inside = subprocess.Popen([*network.within("a"), "sleep", "1000"])
        name = network.within("a")[3]
        wait_for(lambda: pids(name), "a process in it")
        assert name in namespaces()
    assert inside.wait(10) == -9
    assert name not in namespaces()


def namespaces() -> list[str]:
    listed = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout
    return [line.partition(" ")[0] for line in listed.splitlines()]


def pids(namespace: str) -> str:
    return subprocess.run(
        ["ip", "netns", "pids", namespace], check=True, capture_output=True, text=True
    ).stdout
