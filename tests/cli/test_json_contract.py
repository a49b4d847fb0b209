"""The JSON documents: schema and keys are a promise (docs/cli.md); a change here is a new version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from luna.cli.verbs import VERBS
from luna.proto.run_directory import NodeRecord

from .conftest import Luna

NODE = {"name", "id", "cluster", "address", "labels", "started_ms"}
MEMBER = NODE | {"state", "incarnation", "self", "connected", "processes"}
PROCESS = {
    *("pid", "absolute_pid", "node", "module", "entry", "state"),
    *("messages", "memory_bytes", "parent", "age_ms"),
}
EXIT = {"kind", "code", "reason"}
FOLLOWED = {"output", "dropped_bytes", "exit"}
SPAWNED = {"pid", "absolute_pid", "node", "module"}

# arguments -> schema, keys of `data`, keys of the objects inside it.
DOCUMENTS: list[tuple[list[str], str, set[str], dict[str, set[str]]]] = [
    (["nodes"], "luna.nodes/1", {"nodes"}, {"nodes": MEMBER}),
    (["join", "h:1"], "luna.join/1", {"address", "nodes"}, {"nodes": MEMBER}),
    (["leave"], "luna.leave/1", {"node"}, {"node": NODE}),
    (
        ["status"],
        "luna.status/1",
        {"node", "version", "processes", "uptime_ms", "scheduler_threads", "resident_bytes", "os_pid"},
        {"node": NODE},
    ),
    (["health"], "luna.health/1", {"status"}, {}),
    (
        ["events"],
        "luna.events/1",
        {"events", "lost"},
        {"events": {"sequence", "time_ms", "kind", "node", "node_id", "detail"}},
    ),
    (["ps"], "luna.ps/1", {"processes", "unreachable"}, {"processes": PROCESS}),
    (["kill", "1@alpha"], "luna.kill/1", {"pid", "was_alive"}, {}),
    (["logs", "1@alpha"], "luna.logs/1", {"pid"} | FOLLOWED, {"output": {"stream", "text"}, "exit": EXIT}),
    (["spawn", "p.wasm"], "luna.spawn/1", SPAWNED, {}),
    (
        ["spawn", "--follow", "p.wasm"],
        "luna.spawn/1",
        SPAWNED | FOLLOWED,
        {"output": {"stream", "text"}, "exit": EXIT},
    ),
    (["xyzzy"], "luna.error/1", {"kind", "message", "hint", "exit_code"}, {}),
]


@pytest.mark.parametrize(("arguments", "schema", "keys", "inner"), DOCUMENTS)
def test_document_has_its_schema_and_keys(
    luna: Luna,
    node: NodeRecord,
    own_environment: Path,
    arguments: list[str],
    schema: str,
    keys: set[str],
    inner: dict[str, set[str]],
) -> None:
    (own_environment / "p.wasm").write_bytes(b"\0asm\1\0\0\0")
    verb, *others = arguments
    outcome = luna(verb, "--json", *others)
    assert outcome.stdout.count("\n") == 1  # one document, one line
    document = json.loads(outcome.stdout)
    assert list(document) == ["schema", "data"]
    assert document["schema"] == schema
    assert set(document["data"]) == keys
    for key, expected in inner.items():
        value = document["data"][key]
        for entry in value if isinstance(value, list) else [value]:
            assert set(entry) == expected


def test_every_verb_has_a_pinned_document() -> None:
    pinned = {arguments[0] for arguments, *_ in DOCUMENTS}
    # `run` needs the runtime and `init` a project: theirs are pinned in their own files of commands/.
    assert {verb.name for verb in VERBS} - {"run", "init"} <= pinned


def test_pids_are_strings(luna: Luna, node: NodeRecord, own_environment: Path) -> None:
    data = json.loads(luna("ps", "--json").stdout)["data"]
    assert data["processes"][1]["pid"] == "7@beta"
    assert data["processes"][1]["parent"] == "1@alpha"
    assert data["processes"][0]["parent"] is None
    for process in data["processes"]:
        assert isinstance(process["absolute_pid"], str)
