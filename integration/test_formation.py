"""Real nodes that find each other, lose each other, and turn each other away."""

from __future__ import annotations

import logging
import time
from concurrent import futures

import grpc
import pytest

from luna.proto import node_pb2
from luna.proto.limits import FROZEN_PEER_TIMEOUT_S

from .node_process import NodeProcess, NodeStarter, wait_for

_log = logging.getLogger(__name__)


def wait_formed(*formed: NodeProcess, timeout_s: float = 10.0) -> None:
    """Wait until every one of the nodes sees all of them, with sessions between all."""
    names = [node.name for node in formed]
    wait_for(lambda: all(node.sees(*names) for node in formed), f"{names} connected", timeout_s)


def trio_of_nodes(nodes: NodeStarter) -> tuple[NodeProcess, NodeProcess, NodeProcess]:
    a = nodes.start("a")
    b = nodes.start("b", "--join", a.address)
    c = nodes.start("c", "--join", b.address)
    wait_formed(a, b, c)
    return a, b, c


def test_nodes_form_a_cluster_by_join(nodes: NodeStarter) -> None:
    trio_of_nodes(nodes)


def test_a_node_that_is_ready_is_connected_to_whom_it_joined(nodes: NodeStarter) -> None:
    a = nodes.start("a")
    b = nodes.start("b", "--join", a.address)
    assert b.sees("a", "b")


def test_nodes_find_each_other_by_multicast(nodes: NodeStarter) -> None:
    a = nodes.start("a", discovery=True)
    b = nodes.start("b", discovery=True)
    wait_formed(a, b, timeout_s=20)
    assert a.stop() == 0
    wait_for(lambda: b.sees("b"), "the one that left is gone")


def test_luna_join_joins_a_running_node(nodes: NodeStarter) -> None:
    a, b = nodes.start("a"), nodes.start("b")
    done = b.luna("join", a.address)
    assert done.returncode == 0, done.stderr
    wait_formed(a, b)


def test_a_join_target_that_comes_later_is_joined_then(nodes: NodeStarter) -> None:
    a = nodes.start("a")
    a.kill()
    b = nodes.start("b", "--join", a.address)
    assert b.sees("b")
    assert "cannot join yet" in b.errors()
    late = nodes.begin("--name", "a", "--listen", a.address, "--cluster", nodes.cluster, "--no-discovery")
    late.wait_ready()
    wait_formed(late, b)


def test_a_stopped_node_has_left_at_once(nodes: NodeStarter) -> None:
    a, b, c = trio_of_nodes(nodes)
    assert b.stop() == 0
    wait_for(lambda: a.sees("a", "c") and c.sees("a", "c"), "b has left", 2.0)
    assert "node left" in a.errors()
    assert "declared dead" not in a.errors()


@pytest.mark.parametrize("survivor", ["dials", "is dialed"])
def test_a_killed_node_is_declared_dead_since_nobody_listens_there(nodes: NodeStarter, survivor: str) -> None:
    first = nodes.start("a")
    pair = sorted([first, nodes.start("b", "--join", first.address)], key=lambda node: node.id)
    wait_formed(*pair)
    alive, victim = pair if survivor == "dials" else reversed(pair)
    began = time.monotonic()
    victim.kill()
    wait_for(lambda: "node declared dead" in alive.errors(), "the killed one is dead")
    _log.info("a survivor that %s noticed after %.0f ms", survivor, 1000 * (time.monotonic() - began))
    assert "nobody listens at its address any more" in alive.errors()
    assert alive.sees(alive.name)


def test_every_survivor_of_a_killed_node_drops_it(nodes: NodeStarter) -> None:
    a, b, c = trio_of_nodes(nodes)
    b.kill()
    wait_for(lambda: a.sees("a", "c") and c.sees("a", "c"), "b is dead")
    assert "node declared dead" in a.errors() + c.errors()


def test_a_frozen_node_is_declared_dead_and_comes_back_when_it_goes_on(nodes: NodeStarter) -> None:
    a, b, c = trio_of_nodes(nodes)
    began = time.monotonic()
    b.pause()
    wait_for(lambda: a.sees("a", "c") and c.sees("a", "c"), "b is dead", FROZEN_PEER_TIMEOUT_S + 3)
    assert time.monotonic() - began < FROZEN_PEER_TIMEOUT_S + 1
    b.resume()
    wait_formed(a, b, c, timeout_s=20)
    assert a.nodes()["b"].member.node.id == b.id
    assert "node refuted" in b.errors()


def test_a_restarted_node_gets_its_name_back(nodes: NodeStarter) -> None:
    a = nodes.start("a")
    b = nodes.start("b", "--join", a.address)
    b.kill()
    again = nodes.start("b", "--join", a.address)  # while a may still list its predecessor
    wait_formed(a, again)
    assert again.id != b.id


def test_the_newcomer_of_two_equal_names_stops_and_says_why(nodes: NodeStarter) -> None:
    a = nodes.start("a")
    b = nodes.start("b", "--join", a.address)
    late = nodes.begin(*nodes.arguments("a", "--join", b.address, "--state", str(nodes.folder / "other")))
    assert late.wait_exit() == 1
    assert late.lines == []
    assert f"the name a is taken by node {a.id} at {a.address}" in late.errors()
    assert "--name" in late.errors()
    assert a.sees("a", "b")


def test_a_node_that_is_told_at_join_that_it_was_expelled_exits_with_3(nodes: NodeStarter) -> None:
    refusal = node_pb2.Hello(refusal=node_pb2.EXPELLED, detail="it was expelled")
    meet = grpc.unary_unary_rpc_method_handler(lambda hello, context: refusal.SerializeToString())
    with futures.ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("luna.v1.Node", {"Meet": meet}),)
        )
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        node = nodes.begin(*nodes.arguments("a", "--join", f"127.0.0.1:{port}"))
        try:
            assert node.wait_exit() == 3
        finally:
            server.stop(0).wait()
    assert "expelled" in node.errors()
    assert "start the node again" in node.errors()


def test_another_cluster_is_not_joined(nodes: NodeStarter) -> None:
    a = nodes.start("a")
    stranger = nodes.begin(
        "--name", "b", "--listen", "127.0.0.1:0", "--cluster", "other", "--join", a.address, "--no-discovery"
    )
    assert stranger.wait_exit() == 1
    assert f"this is cluster {nodes.cluster}" in stranger.errors()
    assert a.sees("a")


def test_luna_leave_of_another_node(nodes: NodeStarter) -> None:
    a, _, c = trio_of_nodes(nodes)
    done = a.luna("leave", "c")
    assert done.returncode == 0, done.stderr
    assert c.wait_exit() == 0
    wait_for(lambda: a.sees("a", "b"), "c has left")


def test_states_of_the_wire_and_the_table_agree(nodes: NodeStarter) -> None:
    a = nodes.start("a")
    assert a.nodes()["a"].member.state == node_pb2.ALIVE


@pytest.mark.parametrize("count", [5])
def test_many_nodes_form_a_full_mesh(nodes: NodeStarter, count: int) -> None:
    first = nodes.start("n0")
    others = [
        nodes.begin(*nodes.arguments(f"n{number}", "--join", first.address)) for number in range(1, count)
    ]
    for node in others:
        node.wait_ready()
    wait_formed(first, *others, timeout_s=20)
