"""Signals between processes of two nodes: the same promises as on one."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import trio

from luna.proto import node_pb2
from luna.proto.errors import InvalidError
from luna.scheduler import ExitKind, _core

from .lab import PATIENCE_S, Lab, wait_for
from .pump import A, B, Pump, pid

START = '(func (export "_start")'
SURVIVE = "(process.die_when_link_dies 0:i32)"
PARK = f"{START} {SURVIVE} (call $park))"
# Reports what it receives: the value of a message, -1 - tag for a link death, -1000 for an ended process.
OBSERVER = f"""
    {START} (local $kind i32)
      {SURVIVE}
      (report 0:i64)
      (loop $again
        (local.set $kind (call $receive_any -1:i64))
        (if (i32.eqz (local.get $kind)) (then (report (call $read))))
        (if (i32.eq (local.get $kind) 1:i32) (then (report (i64.sub -1:i64 (message.get_tag)))))
        (if (i32.eq (local.get $kind) 2:i32) (then (report -1000:i64)))
        (br $again)))"""


async def observe(lab: Lab) -> int:
    """A process that reports what it receives, and waits."""
    seen = len(lab.reports)
    process = await lab.spawn(OBSERVER)
    await wait_for(lambda: len(lab.reports) > seen)
    lab.reports.clear()
    return process


async def test_pids_hold_their_node(pump: Pump) -> None:
    assert await pump.a.spawn(PARK) == pid(A, 1)
    assert await pump.b.spawn(PARK) == pid(B, 1)
    await pump.b.passes(
        f"{START} (is64 (process.process_id) {pid(B, 2)}:i64) (is64 (distributed.node_id) {B}:i64))"
    )


async def test_a_module_has_the_same_id_on_every_node(pump: Pump) -> None:
    source = f"{START} (report (distributed.module_id)))"
    await pump.a.passes(source)
    await pump.b.passes(source)
    assert pump.a.reports == pump.b.reports
    module = await pump.a.load(source)
    assert pump.a.reports == [module.id] == [int.from_bytes(module.sha256[:8], "big") & (1 << 63) - 1]
    assert pump.a.runtime.find_module_by_id(module.id) is module


async def test_messages_arrive_in_the_order_sent(pump: Pump) -> None:
    target = await pump.b.spawn(f"""
        {START} (local $n i64)
          (loop $again
            (is64 (call $receive) (local.get $n))
            (is64 (message.get_tag) (i64.sub 0:i64 (local.get $n)))
            (local.set $n (i64.add (local.get $n) 1:i64))
            (br_if $again (i64.lt_u (local.get $n) 20000:i64)))
          (report (message.data_size)))""")
    await pump.a.passes(f"""
        {START} (local $n i64)
          (loop $again
            (call $write (i64.sub 0:i64 (local.get $n)) (local.get $n))
            (drop (message.write_data 3000:i32 (i32.wrap_i64 (i64.rem_u (local.get $n) 997:i64))))
            (drop (message.send {target}:i64))
            (local.set $n (i64.add (local.get $n) 1:i64))
            (br_if $again (i64.lt_u (local.get $n) 20000:i64))))""")
    assert (await pump.b.wait_exit(target)).kind is ExitKind.NORMAL
    assert pump.b.reports == [8 + 19999 % 997]


async def test_request_and_reply_go_both_ways(pump: Pump) -> None:
    echo = await pump.b.spawn(f"{START} (loop $again (call $send (call $receive) 5:i64 42:i64) (br $again)))")
    for send in ("message.send_receive_skip_search", f"distributed.send_receive_skip_search {B}:i64"):
        await pump.a.passes(f"""
            {START} (local $n i32)
              (loop $again
                (call $write 0:i64 (process.process_id))
                (is32 ({send} {echo}:i64 5:i64 10000:i64) 0:i32)
                (is64 (call $read) 42:i64)
                (local.set $n (i32.add (local.get $n) 1:i32))
                (br_if $again (i32.lt_u (local.get $n) 100:i32))))""")


async def test_a_large_message_arrives_whole(pump: Pump) -> None:
    target = await pump.b.spawn(f"""
        {START}
          (is32 (call $receive_any -1:i64) 0:i32)
          (is64 (message.data_size) 20000000:i64)
          (message.seek_data 19999999:i64)
          (is64 (call $read) 0x5a:i64))""")
    await pump.a.passes(f"""
        (memory (export "memory") 400)
        {START}
          (memory.fill 65536:i32 0x5a:i32 20000000:i32)
          (message.create_data 0:i64 0:i64)
          (drop (message.write_data 65536:i32 20000000:i32))
          (drop (message.send {target}:i64)))""")
    await pump.b.wait_exit(target)


async def test_a_timer_reaches_another_node(pump: Pump) -> None:
    target = await observe(pump.b)
    await pump.a.passes(f"{START} (call $write 0:i64 42:i64) (drop (timer.send_after {target}:i64 1:i64)))")
    await wait_for(lambda: pump.b.reports == [42])


@pytest.mark.parametrize(
    "send",
    [
        "(drop (message.send (call $read)))",
        f"(drop (distributed.send {A}:i64 (call $read)))",
        "(drop (timer.send_after (call $read) 0:i64))",
    ],
    ids=["send", "distributed send", "timer"],
)
async def test_a_message_sent_on_is_from_who_sends_it_on(pump: Pump, send: str) -> None:
    """A node takes no signal in another's name, so it would not even get back."""
    echo = await pump.b.spawn(
        f"{START} (loop $again (is32 (call $receive_any -1:i64) 0:i32) {send} (br $again)))"
    )
    await pump.a.passes(f"""
        {START}
          (call $send {echo}:i64 7:i64 (process.process_id))
          (is32 (call $receive_tag 7:i64 10000:i64) 0:i32)
          (message.seek_data 0:i64)
          (is64 (call $read) (process.process_id)))""")
    assert pump.b.runtime.exists(echo)


# -- links -------------------------------------------------------------------------------------

ENDS = {
    "trap": "unreachable",
    "exit": "(wasi.proc_exit 3:i32)",
    "kill": "(process.kill (process.process_id)) (call $spin)",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
async def test_a_link_death_crosses_with_its_tag(pump: Pump, end: str) -> None:
    target = await observe(pump.b)
    await pump.a.run(
        f"{START} (process.link 7:i64 {target}:i64) (call $send {target}:i64 0:i64 1:i64) {end})"
    )
    await wait_for(lambda: pump.b.reports == [1, -8])


async def test_a_link_death_kills_across(pump: Pump) -> None:
    target = await pump.b.spawn(f"{START} (call $park))")
    await pump.a.run(f"{START} (process.link 7:i64 {target}:i64) unreachable)")
    assert (await pump.b.wait_exit(target)).kind is ExitKind.LINK_DIED


async def test_the_death_of_the_linked_process_comes_back_with_the_tag(pump: Pump) -> None:
    target = await pump.b.spawn(PARK)
    await pump.a.passes(f"""
        {START}
          {SURVIVE}
          (process.link 7:i64 {target}:i64)
          (process.kill {target}:i64)
          (is32 (call $receive_any 10000:i64) 1:i32)
          (is64 (message.get_tag) 7:i64)
          (is32 (call $receive_any 5:i64) 9027:i32))""")
    assert (await pump.b.wait_exit(target)).kind is ExitKind.KILLED


async def test_a_normal_end_says_nothing_to_links_across(pump: Pump) -> None:
    target = await observe(pump.b)
    await pump.a.passes(f"{START} (process.link 7:i64 {target}:i64))")
    await pump.a.passes(f"{START} (call $send {target}:i64 0:i64 2:i64))")
    await wait_for(lambda: pump.b.reports == [2])


async def test_an_unlinked_death_does_not_cross(pump: Pump) -> None:
    target = await observe(pump.b)
    await pump.a.traps(
        f"{START} (process.link 7:i64 {target}:i64) (process.unlink {target}:i64) unreachable)"
    )
    await pump.a.passes(f"{START} (call $send {target}:i64 0:i64 2:i64))")
    await wait_for(lambda: pump.b.reports == [2])


@pytest.mark.parametrize("environment", [1, 2], ids=["dead", "of another environment"])
async def test_linking_and_monitoring_what_is_not_there_is_answered(pump: Pump, environment: int) -> None:
    target = await pump.b.spawn(PARK, environment=3) if environment == 2 else pid(B, 999)
    await pump.a.passes(
        f"""
        {START}
          {SURVIVE}
          (process.link 7:i64 {target}:i64)
          (is32 (call $receive_any 10000:i64) 1:i32)
          (is64 (message.get_tag) 7:i64)
          (process.monitor {target}:i64)
          (is32 (call $receive_any 10000:i64) 2:i32)
          (is64 (message.get_process_id) {target}:i64)
          (process.kill {target}:i64)
          (call $send {target}:i64 0:i64 1:i64)
          (is32 (process.exists {target}:i64) 0:i32))""",
        environment=environment,
    )
    assert all(process.messages == 0 for process in pump.b.runtime.processes())
    assert pump.b.runtime.exists(target) == (environment == 2)


# -- monitors, kill, exists ----------------------------------------------------------------------


async def test_a_monitored_end_crosses_once(pump: Pump) -> None:
    target = await pump.b.spawn(f"{START} (drop (call $receive)))")
    await pump.a.passes(f"""
        {START}
          (process.monitor {target}:i64)
          (process.monitor {target}:i64)
          (is32 (process.exists {target}:i64) 1:i32)
          (call $send {target}:i64 0:i64 0:i64)
          (is32 (call $receive_any 10000:i64) 2:i32)
          (is64 (message.get_process_id) {target}:i64)
          (is32 (process.exists {target}:i64) 0:i32)
          (is32 (call $receive_any 5:i64) 9027:i32))""")


async def test_after_stop_monitoring_nothing_crosses(pump: Pump) -> None:
    target = await pump.b.spawn(PARK)
    await pump.a.passes(f"""
        {START}
          (process.monitor {target}:i64)
          (process.stop_monitoring {target}:i64)
          (process.kill {target}:i64)
          (loop $again (br_if $again (process.exists {target}:i64)))
          (is32 (call $receive_any 5:i64) 9027:i32))""")


async def test_the_owner_of_a_runtime_can_kill_across(pump: Pump) -> None:
    target = await pump.b.spawn(f"{START} (call $spin))")
    assert pump.a.runtime.kill(target)
    assert (await pump.b.wait_exit(target)).kind is ExitKind.KILLED


# -- spawned for a parent elsewhere ----------------------------------------------------------------


async def test_a_child_of_a_remote_parent_is_linked_from_the_start(pump: Pump) -> None:
    parent = await observe(pump.a)
    child = await pump.b.spawn(f"{START} unreachable)", parent=parent, link_tag=9)
    assert (await pump.b.wait_exit(child)).kind is ExitKind.FAILURE
    await wait_for(lambda: pump.a.reports == [-10])


async def test_a_child_dies_with_its_remote_parent(pump: Pump) -> None:
    parent = await observe(pump.a)
    child = await pump.b.spawn(f"{START} (call $spin))", parent=parent, link_tag=9)
    pump.a.runtime.kill(parent)
    assert (await pump.b.wait_exit(child)).kind is ExitKind.LINK_DIED


async def test_a_child_of_a_remote_parent_that_is_dead_dies(pump: Pump) -> None:
    child = await pump.b.spawn(f"{START} (call $park))", parent=pid(A, 999), link_tag=9)
    assert (await pump.b.wait_exit(child)).kind is ExitKind.LINK_DIED


async def test_a_child_of_a_parent_on_an_unknown_node_dies(pump: Pump) -> None:
    child = await pump.b.spawn(f"{START} (call $park))", parent=pid(5, 1), link_tag=9)
    assert (await pump.b.wait_exit(child)).kind is ExitKind.LINK_DIED


# -- nodes that are gone ------------------------------------------------------------------------------


async def test_a_node_down_fires_every_link_and_monitor_once_on_both_sides(pump: Pump) -> None:
    far = [await pump.b.spawn(PARK) for _ in range(20)]
    near = await observe(pump.a)
    mourner = await observe(pump.b)
    links = "".join(
        f"(process.link {n}:i64 {p}:i64) (process.monitor {p}:i64)" for n, p in enumerate(far, 100)
    )
    watcher = await pump.a.spawn(f"""
        {START} (local $n i32) (local $links i64) (local $ends i64) (local $kind i32)
          {SURVIVE}
          {links}
          (process.link 55:i64 {mourner}:i64)
          (is32 (process.exists {far[-1]}:i64) 1:i32)
          (call $send {near}:i64 0:i64 1:i64)
          (loop $again
            (local.set $kind (call $receive_any 10000:i64))
            (if (i32.eq (local.get $kind) 1:i32) (then (local.set $links (i64.add (local.get $links)
              (message.get_tag)))))
            (if (i32.eq (local.get $kind) 2:i32) (then (local.set $ends (i64.add (local.get $ends)
              (message.get_process_id)))))
            (local.set $n (i32.add (local.get $n) 1:i32))
            (br_if $again (i32.lt_u (local.get $n) 41:i32)))
          (is64 (local.get $links) {sum(range(100, 120)) + 55}:i64)
          (is64 (local.get $ends) {(sum(far) + 2**63) % 2**64 - 2**63}:i64)
          (is32 (call $receive_any 10:i64) 9027:i32))""")
    await wait_for(lambda: pump.a.reports == [1])
    pump.disconnect()
    status = await pump.a.wait_exit(watcher)
    assert status.kind is ExitKind.NORMAL, status
    await wait_for(lambda: pump.b.reports == [-56])
    pump.disconnect()  # again: nothing fires twice
    await pump.b.passes(f"{START} (call $send {mourner}:i64 0:i64 3:i64))")
    await wait_for(lambda: pump.b.reports == [-56, 3])


async def test_a_node_down_kills_linked_processes_that_do_not_survive_it(pump: Pump) -> None:
    target = await pump.b.spawn(PARK)
    local = await pump.a.spawn(f"{START} (process.link 1:i64 {target}:i64) (report 1:i64) (call $spin))")
    await wait_for(lambda: pump.a.reports == [1])
    pump.disconnect()
    assert (await pump.a.wait_exit(local)).kind is ExitKind.LINK_DIED


async def test_what_was_delivered_comes_before_the_node_down(pump: Pump) -> None:
    local = await pump.a.spawn(f"""
        {START} (local $n i64)
          {SURVIVE}
          (report 1:i64)
          (process.link 1:i64 (call $receive))
          (report 2:i64)
          (loop $again
            (is64 (call $receive) (local.get $n))
            (local.set $n (i64.add (local.get $n) 1:i64))
            (br_if $again (i64.lt_u (local.get $n) 100:i64)))
          (is32 (call $receive_any 10000:i64) 1:i32))""")
    await wait_for(lambda: pump.a.reports == [1])
    await pump.b.spawn(f"""
        {START} (local $n i64)
          (call $send {local}:i64 0:i64 (process.process_id))
          (gate)
          (loop $again
            (call $send {local}:i64 0:i64 (local.get $n))
            (local.set $n (i64.add (local.get $n) 1:i64))
            (br_if $again (i64.lt_u (local.get $n) 100:i64)))
          (report 3:i64)
          (call $park))""")
    await wait_for(lambda: pump.a.reports == [1, 2])
    pump.b.gate.set()
    await wait_for(lambda: pump.b.reports == [3])
    await wait_for(lambda: pump.a.runtime.peers.statistics(B).envelopes_in >= 101)
    pump.disconnect()
    status = await pump.a.wait_exit(local)
    assert status.kind is ExitKind.NORMAL, status


IN_A_FRAME = 10


def _deliver_until_down(lab: Lab, node: int, frame: bytes) -> None:
    """Deliver a frame many times while another thread declares its node down."""
    delivered = threading.Event()

    def end() -> None:
        delivered.wait(PATIENCE_S)
        lab.runtime.peers.remove_peer(node)

    ender = threading.Thread(target=end)
    ender.start()
    for _ in range(200):
        lab.runtime.peers.deliver(node, 1, frame, 0)
        delivered.set()
    ender.join()


async def test_nothing_arrives_after_the_end_of_its_node_and_frames_arrive_whole(lab: Lab) -> None:
    peers = lab.runtime.peers
    peers.add_peer(B, 1)
    module = await lab.load(f"""
        {START} (local $n i64)
          {SURVIVE}
          (process.link 1:i64 (call $receive))
          (report 0:i64)
          (loop $again
            (if (i32.eqz (call $receive_any -1:i64))
              (then (local.set $n (i64.add (local.get $n) 1:i64)) (br $again))))
          (is64 (message.get_tag) 1:i64)
          (is32 (call $receive_any -1:i64) 0:i32)
          (is64 (message.get_tag) 99:i64)  ;; of another node, sent after all
          (report (local.get $n)))""")
    for node in range(1, 101):
        process = await lab.spawn(module)
        peers.add_peer(node, 1)
        peers.deliver(B, 1, _messages(pid(B, 1), process, 0, value=pid(node, 1)), 0)
        await wait_for(lambda: lab.reports == [0])
        frame = _messages(pid(node, 1), process, *(2,) * IN_A_FRAME)
        await trio.to_thread.run_sync(_deliver_until_down, lab, node, frame)
        peers.deliver(B, 1, _messages(pid(B, 1), process, 99), 0)
        status = await lab.wait_exit(process)
        assert status.kind is ExitKind.NORMAL, status
        assert lab.reports[1] >= IN_A_FRAME
        assert lab.reports[1] % IN_A_FRAME == 0
        lab.reports.clear()


async def test_a_node_down_answers_exists(pump: Pump) -> None:
    pump.hold()
    asker = await pump.a.spawn(f"{START} (report 1:i64) (is32 (process.exists {pid(B, 1)}:i64) 0:i32))")
    await wait_for(lambda: pump.a.runtime.peers.statistics(B).queued_bytes > 0)
    pump.a.runtime.peers.remove_peer(B)
    status = await pump.a.wait_exit(asker)
    assert status.kind is ExitKind.NORMAL, status


async def test_a_node_that_is_gone_is_a_dead_target(pump: Pump) -> None:
    pump.disconnect()
    for node in (B, 5):
        await pump.a.passes(f"""
            {START}
              {SURVIVE}
              (call $send {pid(node, 1)}:i64 0:i64 1:i64)
              (is32 (process.exists {pid(node, 1)}:i64) 0:i32)
              (process.kill {pid(node, 1)}:i64)
              (process.unlink {pid(node, 1)}:i64)
              (process.link 7:i64 {pid(node, 1)}:i64)
              (is32 (call $receive_any 10000:i64) 1:i32)
              (is64 (message.get_tag) 7:i64)
              (process.monitor {pid(node, 1)}:i64)
              (is32 (call $receive_any 10000:i64) 2:i32)
              (is32 (call $receive_any 5:i64) 9027:i32))""")
        assert not pump.a.runtime.kill(pid(node, 1))


async def test_of_a_node_that_is_gone_nothing_is_taken(pump: Pump) -> None:
    pump.disconnect()
    target = await pump.a.spawn(PARK)
    frame = _frame(kill=(pid(B, 1), target))
    assert pump.a.runtime.peers.deliver(B, 1, frame, 0) == []
    assert pump.a.runtime.peers.take_frame(B, 1, 1000, b"") is None
    assert not pump.a.runtime.peers.send(B, b"")
    assert pump.a.runtime.exists(target)


async def test_adding_a_peer_twice_changes_nothing(pump: Pump) -> None:
    target = await observe(pump.b)
    pump.a.runtime.peers.add_peer(B, 1)
    await pump.a.passes(f"{START} (call $send {target}:i64 0:i64 1:i64))")
    await wait_for(lambda: pump.b.reports == [1])


@pytest.mark.parametrize("sender", [pid(A, 1), pid(5, 1), 1, 0])
async def test_a_signal_in_another_nodes_name_is_refused(pump: Pump, sender: int) -> None:
    target = await pump.a.spawn(PARK)
    with pytest.raises(InvalidError, match="another node's name"):
        pump.a.runtime.peers.deliver(B, 1, _frame(kill=(sender, target)), 0)
    assert pump.a.runtime.exists(target)


@pytest.mark.parametrize("target", [pid(B, 1), pid(5, 1), 0])
async def test_a_signal_for_another_node_is_refused(pump: Pump, target: int) -> None:
    with pytest.raises(InvalidError):
        pump.a.runtime.peers.deliver(B, 1, _frame(kill=(pid(B, 1), target)), 0)


def _frame(kill: tuple[int, int]) -> bytes:
    return _frame_of(
        node_pb2.Envelope(kill=node_pb2.Kill(**{"from": kill[0], "to": kill[1], "environment": 1}))
    )


def _messages(sender: int, target: int, *tags: int, value: int = 0) -> bytes:
    """A frame of messages of 8 bytes, one for each tag."""
    fields: dict[str, Any] = {"from": sender, "to": target}
    message = node_pb2.Message(**fields, environment=1, data=value.to_bytes(8, "little"))
    envelopes = [node_pb2.Envelope(message=message) for _ in tags]
    for envelope, tag in zip(envelopes, tags, strict=True):
        envelope.message.tag = tag
    return _frame_of(*envelopes)


def _frame_of(*envelopes: node_pb2.Envelope) -> bytes:
    return node_pb2.Frame(envelopes=envelopes).SerializeToString()


# -- answers that nobody asked for ---------------------------------------------------------------------


def _exists_reply(sender: int, target: int, reference: int, alive: bool) -> bytes:
    reply = node_pb2.ExistsReply(**{"from": sender, "to": target}, reference=reference, alive=alive)
    return _frame_of(node_pb2.Envelope(exists_reply=reply))


async def test_an_answer_to_exists_answers_no_other_call(lab: Lab) -> None:
    lab.runtime.peers.add_peer(B, 1)
    caller = await lab.spawn(f"{START} (gate) (report 1:i64))")
    await wait_for(lambda: lab.at_gate == 1)
    for reference in range(16):
        lab.runtime.peers.deliver(B, 1, _exists_reply(pid(B, 1), caller, reference, True), 0)
    lab.runtime.peers.deliver(B, 1, _messages(pid(B, 1), caller, 1), 0)
    # The message came last: with it in the mailbox, all answers were looked at.
    await wait_for(lambda: [process.messages for process in lab.runtime.processes()] == [1])
    assert (lab.at_gate, lab.reports) == (1, [])
    lab.gate.set()
    await lab.wait_exit(caller)
    assert lab.reports == [1]


async def test_only_the_node_that_was_asked_answers_exists(lab: Lab) -> None:
    other = 5
    lab.runtime.peers.add_peer(B, 1)
    lab.runtime.peers.add_peer(other, 1)
    asker = await lab.spawn(
        f"{START} (report (i64.extend_i32_u (process.exists {pid(B, 1)}:i64))) (call $park))"
    )
    frames: list[bytes] = []

    def asked() -> bool:
        frames.extend(filter(None, [lab.runtime.peers.take_frame(B, 1, 1000, b"")]))
        return bool(frames)

    await wait_for(asked)
    (question,) = node_pb2.Frame.FromString(frames[0]).envelopes
    reference = question.exists.reference
    lab.runtime.peers.deliver(other, 1, _exists_reply(pid(other, 1), asker, reference, True), 0)
    lab.runtime.peers.deliver(B, 1, _exists_reply(pid(B, 1), asker, reference + 1, True), 0)
    lab.runtime.peers.deliver(B, 1, _messages(pid(B, 1), asker, 1), 0)
    await wait_for(lambda: [process.messages for process in lab.runtime.processes()] == [1])
    assert lab.reports == []
    lab.runtime.peers.deliver(B, 1, _exists_reply(pid(B, 1), asker, reference, False), 0)
    await wait_for(lambda: lab.reports == [0])


# -- backpressure -----------------------------------------------------------------------------------------

HIGH_WATER = 8 * 1024 * 1024
MESSAGE = 65536
# Sends 1000 messages of 64 KiB, with something between them.
FLOOD = """
    (memory (export "memory") 2)
    (func (export "_start") (local $n i64)
      (loop $again
        (call $write 0:i64 (local.get $n))
        (drop (message.write_data 65536:i32 65528:i32))
        (drop (message.send TARGET:i64))
        BETWEEN
        (local.set $n (i64.add (local.get $n) 1:i64))
        (br_if $again (i64.lt_u (local.get $n) 1000:i64)))
      (report 1:i64))"""
BETWEEN = {
    "nothing": "",
    "a look into the mailbox": "(drop (call $receive_any 0:i64))",
    "a yield": "(drop (wasi.sched_yield))",
    "a question": "(drop (process.exists 1:i64))",
    "a sleep of nothing": "(process.sleep_ms 0:i64)",
}


def is_suspended(pump: Pump) -> bool:
    """Whether the one process of A waits for room."""
    states = [process.state for process in pump.a.runtime.processes()]
    return states == ["waiting"] and pump.a.runtime.peers.statistics(B).suspended > 0


@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN.keys())
async def test_a_full_queue_suspends_the_sender_until_there_is_room(pump: Pump, between: str) -> None:
    target = await pump.b.spawn(f"""
        {START} (local $n i64)
          (loop $again
            (is64 (call $receive) (local.get $n))
            (local.set $n (i64.add (local.get $n) 1:i64))
            (br_if $again (i64.lt_u (local.get $n) 1000:i64))))""")
    pump.hold()
    sender = await pump.a.spawn(FLOOD.replace("TARGET", str(target)).replace("BETWEEN", between))
    await wait_for(lambda: pump.a.runtime.peers.statistics(B).queued_bytes > HIGH_WATER - 2 * MESSAGE)
    await wait_for(lambda: is_suspended(pump))
    assert pump.a.reports == []
    assert pump.a.runtime.peers.statistics(B).queued_bytes <= HIGH_WATER
    # Control signals have room, and others go on.
    await pump.a.passes(f"{START} (process.kill {pid(B, 999)}:i64))")
    pump.release()
    assert (await pump.a.wait_exit(sender)).kind is ExitKind.NORMAL
    status = await pump.b.wait_exit(target)
    assert status.kind is ExitKind.NORMAL, status


@pytest.mark.parametrize("size", [30_000, MESSAGE], ids=["data", "bulk"])
async def test_a_full_queue_suspends_who_sends_by_timers(pump: Pump, size: int) -> None:
    pump.hold()
    flood = FLOOD.replace("TARGET:i64", f"{pid(B, 1)}:i64 0:i64").replace("BETWEEN", "")
    flood = flood.replace("65536:i32", f"{size}:i32")
    sender = await pump.a.spawn(flood.replace("message.send", "timer.send_after"))
    await wait_for(lambda: pump.a.runtime.peers.statistics(B).queued_bytes > HIGH_WATER - 2 * MESSAGE)
    await wait_for(lambda: is_suspended(pump))
    await pump.a.passes(f"{START} (process.sleep_ms 20:i64))")
    assert pump.a.reports == []  # nor does it go on later
    pump.release()
    assert (await pump.a.wait_exit(sender)).kind is ExitKind.NORMAL
    await wait_for(lambda: pump.b.runtime.peers.statistics(A).envelopes_in == 1000)


async def test_a_suspended_sender_goes_on_when_the_node_is_down(pump: Pump) -> None:
    pump.hold()
    sender = await pump.a.spawn(FLOOD.replace("TARGET", str(pid(B, 1))).replace("BETWEEN", ""))
    await wait_for(lambda: is_suspended(pump))
    pump.a.runtime.peers.remove_peer(B)
    assert (await pump.a.wait_exit(sender)).kind is ExitKind.NORMAL
    assert pump.a.reports == [1]


async def test_a_suspended_sender_can_be_killed(pump: Pump) -> None:
    pump.hold()
    sender = await pump.a.spawn(FLOOD.replace("TARGET", str(pid(B, 1))).replace("BETWEEN", ""))
    await wait_for(lambda: is_suspended(pump))
    pump.a.runtime.kill(sender)
    assert (await pump.a.wait_exit(sender)).kind is ExitKind.KILLED
    pump.release()
    await wait_for(lambda: pump.a.runtime.peers.statistics(B).queued_bytes == 0)


async def test_statistics_count_what_went_through(pump: Pump) -> None:
    target = await pump.b.spawn(f"{START} (drop (call $receive)))")
    await pump.a.passes(f"{START} (call $send {target}:i64 0:i64 1:i64))")
    await pump.b.wait_exit(target)
    out, into = pump.a.runtime.peers.statistics(B), pump.b.runtime.peers.statistics(A)
    assert (out.frames_out, out.envelopes_out, out.queued_bytes) == (1, 1, 0)
    assert (into.frames_in, into.envelopes_in, into.bytes_in) == (1, 1, out.bytes_out)
    assert pump.a.runtime.statistics().messages_sent_remote == 1
    assert pump.a.runtime.counters().keys() == set(_core.COUNTER_NAMES)


async def test_stopping_with_frames_under_way_leaves_nothing(pump: Pump) -> None:
    target = await pump.b.spawn(f"{START} (call $park))")
    flood = f"{START} (loop $again (call $send {target}:i64 0:i64 1:i64) (br $again)))"
    for _ in range(4):
        await pump.a.spawn(flood)
    with trio.fail_after(10):
        await wait_for(lambda: pump.frames > 20)
