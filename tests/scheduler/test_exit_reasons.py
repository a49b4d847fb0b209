"""Why a process ended, as its links and monitors learn it, on its node and on others."""

from __future__ import annotations

from typing import Any

import pytest

from luna.proto import node_pb2
from luna.scheduler import ExitKind

from .lab import Lab, open_lab, wait_for
from .pump import A, B, Pump, pid

START = '(func (export "_start")'
SURVIVE = "(process.die_when_link_dies 0:i32)"
NORMAL, FAILURE, KILLED, LINK_DIED, NO_PROCESS, NO_CONNECTION = range(6)
SESSION = 5
LONG = 256

ENDS = {
    "normal": ("", NORMAL, 0, ""),
    "trap": ("unreachable", FAILURE, 1, "wasm trap: wasm `unreachable` instruction executed"),
    "exit": ("(wasi.proc_exit 3:i32)", FAILURE, 3, "exited with code 3"),
    "kill": ("(process.kill (process.process_id)) (call $spin)", KILLED, 1, "killed"),
    "link": (
        f"(process.link 1:i64 {pid(B, 999)}:i64) (process.link 1:i64 {pid(A, 999)}:i64) (call $spin)",
        LINK_DIED,
        1,
        None,
    ),
}


def notice(result: int, kind: int, code: int, text: str | None) -> str:
    """Checks of a guest that receives one; the text is written to 1000."""
    size = (
        ""
        if text is None
        else f"""
        (is32 (luna_message.exit_text 1000:i32 {LONG}:i32) {len(text)}:i32)
        (call $same @"{text}")"""
    )
    return f"""
        (is32 (call $receive_any 10000:i64) {result}:i32)
        (is32 (luna_message.exit_reason) {kind}:i32)
        (is32 (luna_message.exit_code) {code}:i32) {size}"""


SAME = """
    (func $same (param $want i32) (param $size i32)
      (loop $again
        (if (local.get $size) (then
          (local.set $size (i32.sub (local.get $size) 1:i32))
          (is32 (i32.load8_u (i32.add 1000:i32 (local.get $size)))
                (i32.load8_u (i32.add (local.get $want) (local.get $size))))
          (br $again)))))"""


@pytest.mark.parametrize("node", [A, B])
@pytest.mark.parametrize(("body", "kind", "code", "text"), ENDS.values(), ids=ENDS.keys())
async def test_a_monitor_learns_why(
    pump: Pump, node: int, body: str, kind: int, code: int, text: str | None
) -> None:
    far = pump.a if node == A else pump.b
    target = await far.spawn(f"{START} (drop (call $receive)) {body})")
    await pump.a.passes(f"""{SAME} {START}
        (process.monitor {target}:i64)
        (call $send {target}:i64 0:i64 0:i64)
        {notice(2, kind, code, text)})""")


@pytest.mark.parametrize("node", [A, B])
@pytest.mark.parametrize("end", ["trap", "exit", "kill"])
async def test_a_link_learns_why(pump: Pump, node: int, end: str) -> None:
    body, kind, code, text = ENDS[end]
    far = pump.a if node == A else pump.b
    target = await far.spawn(f"{START} (drop (call $receive)) {body})")
    await pump.a.passes(f"""{SAME} {START} {SURVIVE}
        (process.link 7:i64 {target}:i64)
        (call $send {target}:i64 0:i64 0:i64)
        {notice(1, kind, code, text)})""")


@pytest.mark.parametrize("node", [A, B])
async def test_what_is_not_there_has_its_own_reason(pump: Pump, node: int) -> None:
    await pump.a.passes(f"""{SAME} {START} {SURVIVE}
        (process.monitor {pid(node, 999)}:i64) {notice(2, NO_PROCESS, 0, "")}
        (process.link 1:i64 {pid(node, 999)}:i64) {notice(1, NO_PROCESS, 0, "")}
        (process.monitor {pid(5, 1)}:i64) {notice(2, NO_CONNECTION, 0, "")}
        (process.link 1:i64 {pid(5, 1)}:i64) {notice(1, NO_CONNECTION, 0, "")})""")


async def test_a_node_that_goes_down_is_a_reason(pump: Pump) -> None:
    target = await pump.b.spawn(f"{START} (call $park))")
    watcher = await pump.a.spawn(f"""{SAME} {START} {SURVIVE}
        (process.monitor {target}:i64) (report 1:i64) {notice(2, NO_CONNECTION, 0, "")})""")
    await wait_for(lambda: pump.a.reports == [1])
    pump.disconnect()
    assert (await pump.a.wait_exit(watcher)).kind is ExitKind.NORMAL


async def test_other_messages_have_no_reason(pump: Pump) -> None:
    await pump.a.passes(f"""{START}
        (message.create_data 1:i64 0:i64)
        (is32 (luna_message.exit_reason) -1:i32)
        (is32 (luna_message.exit_code) 0:i32)
        (is32 (luna_message.exit_text 0:i32 8:i32) 0:i32))""")


@pytest.mark.parametrize(
    "call", ["(luna_message.exit_reason)", "(luna_message.exit_code)", "(luna_message.exit_text 0:i32 8:i32)"]
)
async def test_without_a_message_it_traps(pump: Pump, call: str) -> None:
    assert "there is no message" in await pump.a.traps(f"{START} (drop {call}))")


async def test_a_text_that_does_not_fit_is_cut_and_its_length_told(pump: Pump) -> None:
    await pump.a.passes(f"""{SAME} {START} {SURVIVE}
        (drop (call $spawn_link 1:i64 @"child"))
        (is32 (call $receive_any 10000:i64) 1:i32)
        (i32.store 1004:i32 0x11111111:i32)
        (is32 (luna_message.exit_text 1000:i32 4:i32) 18:i32)
        (call $same @"exit")
        (is32 (i32.load 1004:i32) 0x11111111:i32))
        (func (export "child") (wasi.proc_exit 9:i32))""")
    assert "outside" in await pump.a.traps(f"""{START} {SURVIVE}
        (drop (call $spawn_link 1:i64 @"child"))
        (is32 (call $receive_any 10000:i64) 1:i32)
        (drop (luna_message.exit_text 65535:i32 4:i32)))
        (func (export "child") unreachable)""")


@pytest.mark.parametrize(
    ("text", "want"),
    [("why", 3), ("x" * 256, 256), ("x" * 257, 0), ("", 0)],
    ids=["short", "limit", "over", "none"],
)
async def test_a_peer_s_words_are_bounded(text: str, want: int) -> None:
    async with open_lab(A) as lab:
        lab.runtime.peers.add_peer(B, SESSION)
        target = pid(B, 1)
        watcher = await lab.spawn(f"""{START}
            (process.monitor {target}:i64) (report 1:i64)
            (is32 (call $receive_any -1:i64) 2:i32)
            (is32 (luna_message.exit_code) -7:i32)
            (is32 (luna_message.exit_text 1000:i32 {LONG}:i32) {want}:i32))""")
        await reported(lab)
        fields: Any = {"from": target, "to": watcher, "kind": node_pb2.EXIT_FAILURE, "code": -7, "text": text}
        died = node_pb2.Envelope(process_died=node_pb2.ProcessDied(**fields))
        lab.runtime.peers.deliver(B, SESSION, node_pb2.Frame(envelopes=[died]).SerializeToString(), 0)
        status = await lab.wait_exit(watcher)
        assert status.kind is ExitKind.NORMAL, status


async def reported(lab: Lab) -> None:
    await wait_for(lambda: lab.reports == [1])
