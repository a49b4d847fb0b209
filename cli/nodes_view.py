"""How the members of a cluster appear in results: used by `nodes`, `join` and `leave`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from luna.cli.result import Column, Table

if TYPE_CHECKING:
    from luna.proto import control_pb2, node_pb2

_COLUMNS = (
    Column("NAME"),
    Column("ID", number=True),
    Column("STATE"),
    Column("ADDRESS"),
    Column("PROCESSES", number=True),
    Column("LABELS"),
)


def node_data(node: node_pb2.NodeInfo) -> dict[str, object]:
    """The JSON object of a node."""
    return {
        "name": node.name,
        "id": node.id,
        "cluster": node.cluster,
        "address": node.address,
        "labels": dict(sorted(node.labels.items())),
        "started_ms": node.started_ms,
    }


def entry_data(entry: control_pb2.NodeEntry) -> dict[str, object]:
    """The JSON object of a member: the node, and how the node that was asked sees it."""
    return {
        **node_data(entry.member.node),
        "state": state_name(entry.member.state),
        "incarnation": entry.member.incarnation,
        "self": entry.self,
        "connected": entry.connected,
        "processes": entry.processes,
    }


def state_name(state: int) -> str:
    """alive, suspect, dead or left; `unknown` for a state of a newer protocol."""
    return {1: "alive", 2: "suspect", 3: "dead", 4: "left"}.get(state, "unknown")


def nodes_table(entries: Iterable[control_pb2.NodeEntry]) -> Table:
    """The table of members; a star marks the node that was asked."""
    return Table(
        _COLUMNS,
        tuple(
            (
                entry.member.node.name + (" *" if entry.self else ""),
                str(entry.member.node.id),
                state_name(entry.member.state),
                entry.member.node.address,
                str(entry.processes),
                labels_text(entry.member.node),
            )
            for entry in sorted(entries, key=lambda entry: (entry.member.node.name, entry.member.node.id))
        ),
        empty="the node knows no members",
    )


def labels_text(node: node_pb2.NodeInfo) -> str:
    """The labels of a node as `key=value,...`, sorted."""
    return ",".join(f"{key}={value}" for key, value in sorted(node.labels.items()))
