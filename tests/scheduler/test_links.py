"""Links: who learns of whose death, with which tag, and who dies of it."""

from __future__ import annotations

import pytest

from luna.scheduler import ExitKind, ProcessConfig

from .lab import Lab, wait_for

START = '(func (export "_start")'
SURVIVE = "(process.die_when_link_dies 0:i32)"
# Ways to end, as bodies of entries, each with whether links learn of it.
FAILS = {
    "trap": "unreachable",
    "exit": "(wasi.proc_exit 3:i32)",
    "kill": "(process.kill (process.process_id)) (call $spin)",
    "link": "(process.link 0:i64 999999:i64) (call $spin)",
}
ENDS_WELL = {"return": "", "exit": "(wasi.proc_exit 0:i32)"}


@pytest.mark.parametrize("end", FAILS.values(), ids=FAILS.keys())
async def test_the_death_of_a_child_is_a_message_with_its_link_tag(lab: Lab, end: str) -> None:
    await lab.passes(f"""
        {START}
          {SURVIVE}
          (drop (call $spawn_link 42:i64 @"child"))
          (is32 (call $receive_any 10000:i64) 1:i32)
          (is64 (message.get_tag) 42:i64)
          (is64 (message.get_process_id) 0:i64)
          (is32 (call $receive_any 5:i64) 9027:i32))
        (func (export "child") {end})""")


@pytest.mark.parametrize("end", FAILS.values(), ids=FAILS.keys())
async def test_the_death_of_a_child_kills_its_parent(lab: Lab, end: str) -> None:
    status = await lab.run(f"""
        {START} (drop (call $spawn_link 42:i64 @"child")) (call $park))
        (func (export "child") {end})""")
    assert status.kind is ExitKind.LINK_DIED
    assert status.reason == "a linked process died: 2"
    assert status.code == 1


@pytest.mark.parametrize("end", ENDS_WELL.values(), ids=ENDS_WELL.keys())
async def test_a_normal_end_says_nothing_to_links(lab: Lab, end: str) -> None:
    await lab.passes(f"""
        {START} (local $child i64)
          (local.set $child (call $spawn_link 42:i64 @"child"))
          (process.monitor (local.get $child))
          (is32 (call $receive_any 10000:i64) 2:i32)
          (is32 (call $receive_any 5:i64) 9027:i32))
        (func (export "child") {end})""")


async def test_the_death_of_the_parent_has_no_tag_at_its_child(lab: Lab) -> None:
    await lab.traps(f"""
        {START} (drop (call $spawn_link 42:i64 @"child")) (drop (call $receive)) unreachable)
        (func (export "child")
          {SURVIVE}
          (call $send 1:i64 0:i64 0:i64)
          (report (i64.extend_i32_u (call $receive_any 10000:i64)))
          (report (message.get_tag)))""")
    await wait_for(lambda: lab.reports == [1, 0])


async def test_the_parent_dies_with_a_child_that_is_busy(lab: Lab) -> None:
    await lab.traps(f"""
        {START} (drop (call $spawn_link 42:i64 @"child")) (drop (call $receive)) unreachable)
        (func (export "child") (call $send 1:i64 0:i64 0:i64) (call $spin))""")
    await wait_for(lambda: not lab.runtime.processes())


async def test_spawning_with_tag_zero_links_nothing(lab: Lab) -> None:
    await lab.passes(f"""
        {START}
          (process.monitor (call $spawn_link 0:i64 @"child"))
          (is32 (call $receive_any 10000:i64) 2:i32)
          (is32 (call $receive_any 5:i64) 9027:i32))
        (func (export "child") unreachable)""")


async def test_a_link_has_the_same_tag_on_both_sides(lab: Lab) -> None:
    await lab.passes(f"""
        {START} (local $a i64)
          (local.set $a (call $spawn @"a"))
          (call $send (local.get $a) 0:i64 (call $spawn @"b"))
          (is64 (call $receive) 77:i64))
        (func (export "a") (local $b i64)
          (local.set $b (call $receive))
          (process.link 77:i64 (local.get $b))
          (call $send (local.get $b) 0:i64 0:i64)
          (process.sleep_ms 2:i64)
          unreachable)
        (func (export "b")
          {SURVIVE}
          (drop (call $receive))
          (is32 (call $receive_any 10000:i64) 1:i32)
          (call $send 1:i64 0:i64 (message.get_tag)))""")
    await lab.passes(f"""
        {START} (local $b i64)
          {SURVIVE}
          (local.set $b (call $spawn @"b"))
          (process.link 78:i64 (local.get $b))
          (call $send (local.get $b) 0:i64 0:i64)
          (is32 (call $receive_any 10000:i64) 1:i32)
          (is64 (message.get_tag) 78:i64))
        (func (export "b") (drop (call $receive)) unreachable)""")


async def test_a_second_link_replaces_the_tag_of_the_first(lab: Lab) -> None:
    await lab.passes(f"""
        {START} (local $b i64)
          {SURVIVE}
          (local.set $b (call $spawn_link 1:i64 @"b"))
          (process.link 2:i64 (local.get $b))
          (call $send (local.get $b) 0:i64 0:i64)
          (is32 (call $receive_any 10000:i64) 1:i32)
          (is64 (message.get_tag) 2:i64)
          (is32 (call $receive_any 5:i64) 9027:i32))
        (func (export "b") (drop (call $receive)) unreachable)""")


async def test_a_link_death_with_a_tag_is_found_by_a_tagged_receive(lab: Lab) -> None:
    await lab.passes(f"""
        {START}
          {SURVIVE}
          (call $send 1:i64 5:i64 0:i64)
          (drop (call $spawn_link 42:i64 @"child"))
          (is32 (call $receive_tag 42:i64 10000:i64) 1:i32))
        (func (export "child") unreachable)""")


async def test_waiting_for_a_reply_ends_with_code_0_on_a_link_death_of_that_tag(lab: Lab) -> None:
    await lab.passes(f"""
        {START}
          {SURVIVE}
          (call $write 0:i64 0:i64)
          (is32 (message.send_receive_skip_search (call $spawn_link 42:i64 @"child") 42:i64 10000:i64) 0:i32)
          (is64 (message.get_tag) 42:i64))
        (func (export "child") (drop (call $receive)) unreachable)""")


@pytest.mark.parametrize("pid", [999999, 0, -1, 5 << 40])
async def test_linking_to_a_dead_process_is_a_link_death(lab: Lab, pid: int) -> None:
    status = await lab.run(f"{START} (process.link 1:i64 {pid}:i64) (call $park))")
    assert status.kind is ExitKind.LINK_DIED
    await lab.passes(f"""
        {START}
          {SURVIVE}
          (process.link 6:i64 {pid}:i64)
          (is32 (call $receive_any 10000:i64) 1:i32)
          (is64 (message.get_tag) 6:i64)
          (is32 (call $receive_any 5:i64) 9027:i32))""")


async def test_linking_to_oneself_does_nothing(lab: Lab) -> None:
    await lab.passes(
        f"{START} (process.link 1:i64 (process.process_id)) (is32 (call $receive_any 5:i64) 9027:i32))"
    )


async def test_an_unlinked_death_concerns_nobody(lab: Lab) -> None:
    await lab.passes(f"""
        {START} (local $child i64)
          (local.set $child (call $spawn_link 42:i64 @"child"))
          (process.unlink (local.get $child))
          (call $send (local.get $child) 0:i64 0:i64)
          (process.monitor (local.get $child))
          (is32 (call $receive_any 10000:i64) 2:i32)
          (is32 (call $receive_any 5:i64) 9027:i32))
        (func (export "child") (drop (call $receive)) unreachable)""")


async def test_unlinking_frees_the_other_side_as_well(lab: Lab) -> None:
    await lab.traps(f"""
        {START} (local $child i64)
          (local.set $child (call $spawn_link 42:i64 @"child"))
          (process.unlink (local.get $child))
          (call $send (local.get $child) 0:i64 0:i64)
          (drop (call $receive))
          unreachable)
        (func (export "child")
          (drop (call $receive))
          (call $send 1:i64 0:i64 0:i64)
          (is32 (call $receive_any 20:i64) 9027:i32)
          (report 1:i64))""")
    await wait_for(lambda: lab.reports == [1])


async def test_unlinking_takes_back_a_death_that_is_on_its_way(lab: Lab) -> None:
    """The link is answered before the next call, and its answer not looked at until the process waits."""
    await lab.passes(f"""{START}
        (process.link 5:i64 999999:i64)
        (process.unlink 999999:i64)
        (is32 (call $receive_any 5:i64) 9027:i32))""")


async def test_unlinking_a_stranger_is_fine(lab: Lab) -> None:
    await lab.passes(f"{START} (process.unlink 999999:i64) (process.unlink 1:i64) (process.unlink -1:i64))")


async def test_link_deaths_kill_again_after_die_when_link_dies_is_set_back(lab: Lab) -> None:
    status = await lab.run(f"""
        {START}
          {SURVIVE}
          (process.link 1:i64 999999:i64)
          (is32 (call $receive_any 10000:i64) 1:i32)
          (process.die_when_link_dies 1:i32)
          (process.link 1:i64 999999:i64)
          (call $park))""")
    assert status.kind is ExitKind.LINK_DIED


async def test_a_chain_of_a_thousand_linked_processes_dies_together(lab: Lab) -> None:
    pid = await lab.spawn(
        """
        (func (export "_start") (call $next 1000:i32) (call $park))
        (func $next (param $left i32)
          (if (i32.eqz (local.get $left)) (then (report 1:i64) (return)))
          (i32.store8 100:i32 0x7f:i32)
          (i32.store 101:i32 (i32.sub (local.get $left) 1:i32))
          (is32 (process.spawn 9:i64 -1:i64 -1:i64 @"link" 100:i32 17:i32 0:i32) 0:i32))
        (func (export "link") (param i32)
          (call $next (local.get 0))
          (if (i32.eqz (local.get 0)) (then unreachable))
          (call $park))""",
    )
    status = await lab.wait_exit(pid)
    assert status.kind is ExitKind.LINK_DIED
    await wait_for(lambda: not lab.runtime.processes())
    assert lab.runtime.statistics().spawned == lab.runtime.statistics().exited == 1001


async def test_both_ends_dying_at_once_leave_one_notice_each(lab: Lab) -> None:
    """Pairs of linked processes are killed at the same time, watched by a third that is linked to both."""
    await lab.passes(
        f"""
        {START} (local $a i64) (local $b i64) (local $n i32)
          {SURVIVE}
          (loop $again
            (local.set $a (call $spawn_link 1:i64 @"partner"))
            (local.set $b (call $spawn_link 1:i64 @"partner"))
            (call $send (local.get $a) 0:i64 (local.get $b))
            (call $send (local.get $b) 0:i64 (local.get $a))
            (process.monitor (local.get $a))
            (process.monitor (local.get $b))
            (process.kill (local.get $a))
            (process.kill (local.get $b))
            (is32 (call $count) 2002:i32)
            (local.set $n (i32.add (local.get $n) 1:i32))
            (br_if $again (i32.lt_u (local.get $n) 100:i32)))
          (is32 (call $receive_any 5:i64) 9027:i32))
        ;; counts 1 for each link death, 1000 for each ended process, in four messages
        (func $count (result i32) (local $sum i32) (local $n i32) (local $kind i32)
          (loop $again
            (local.set $kind (call $receive_any 10000:i64))
            (if (i32.eq (local.get $kind) 1:i32) (then (local.set $sum (i32.add (local.get $sum) 1:i32))))
            (if (i32.eq (local.get $kind) 2:i32) (then (local.set $sum (i32.add (local.get $sum) 1000:i32))))
            (local.set $n (i32.add (local.get $n) 1:i32))
            (br_if $again (i32.lt_u (local.get $n) 4:i32)))
          (local.get $sum))
        (func (export "partner")
          (process.link 7:i64 (call $receive))
          (call $park))"""
    )


async def test_the_kill_of_a_process_reaches_links_with_its_reason(lab: Lab) -> None:
    pid = await lab.spawn(f"{START} (report 0:i64) (call $park))", config=ProcessConfig())
    assert lab.runtime.kill(pid)
    status = await lab.wait_exit(pid)
    assert (status.kind, status.code, status.reason) == (ExitKind.KILLED, 1, "killed")
