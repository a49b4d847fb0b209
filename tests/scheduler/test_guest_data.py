"""Bytes that the host gives to a guest: placed by the guest's own lunatic_alloc."""

from __future__ import annotations

import trio

from luna.scheduler import GuestData, Request
from luna.scheduler.resources import ResourceKind

from .lab import Lab, wait_for

ALLOC = '(func (export "lunatic_alloc") (param i32) (result i32) (i32.const 700))'


def answer_with(lab: Lab, data: bytes) -> None:
    async def answer(request: Request) -> GuestData:
        return GuestData(data, int(request.args[1]))

    lab.runtime.set_handler("lunatic::sqlite", "last_error", answer)


async def test_the_bytes_and_their_length_are_stored(lab: Lab) -> None:
    answer_with(lab, b"hello")
    await lab.passes(
        f"""{ALLOC}
        (func (export "_start")
          (i64.store (i32.const 100) (i64.const -1))
          (is32 (sqlite.last_error 0:i64 100:i32) 700:i32)
          (is32 (i32.load (i32.const 100)) 5:i32)
          (is32 (i32.load (i32.const 104)) -1:i32)
          (is32 (i32.load (i32.const 700)) 0x6c6c6568:i32)
          (is32 (i32.load8_u (i32.const 704)) 0x6f:i32))"""
    )


async def test_no_bytes_are_an_allocation_of_nothing(lab: Lab) -> None:
    answer_with(lab, b"")
    await lab.passes(
        f"""{ALLOC}
        (func (export "_start")
          (is32 (sqlite.last_error 0:i64 100:i32) 700:i32)
          (is32 (i32.load (i32.const 100)) 0:i32))"""
    )


async def test_the_allocator_may_suspend_and_grow_memory(lab: Lab) -> None:
    answer_with(lab, b"x" * 60_000)
    await lab.passes(
        """(func (export "lunatic_alloc") (param i32) (result i32)
          (process.sleep_ms 1:i64)
          (drop (wasi.sched_yield))
          (i32.mul (memory.grow (i32.const 1)) (i32.const 65536)))
        (func (export "_start")
          (is32 (sqlite.last_error 0:i64 100:i32) 65536:i32)
          (is32 (i32.load8_u (i32.const 125535)) 0x78:i32)
          (is32 (i32.load8_u (i32.const 125536)) 0:i32)
          (is64 (process.process_id) (process.process_id)))"""
    )


async def test_without_an_allocator_the_guest_traps(lab: Lab) -> None:
    answer_with(lab, b"hello")
    reason = await lab.traps('(func (export "_start") (drop (sqlite.last_error 0:i64 100:i32)))')
    assert "exports no function lunatic_alloc" in reason


async def test_an_allocator_that_traps(lab: Lab) -> None:
    answer_with(lab, b"hello")
    reason = await lab.traps(
        """(func (export "lunatic_alloc") (param i32) (result i32) (unreachable))
        (func (export "_start") (drop (sqlite.last_error 0:i64 100:i32)))"""
    )
    assert "lunatic_alloc, called to give the guest an answer, trapped" in reason


async def test_addresses_outside_memory_trap(lab: Lab) -> None:
    answer_with(lab, b"hello")
    for allocated, size_out in ((65533, 100), (-1, 100), (700, 65533), (700, -1)):
        reason = await lab.traps(
            f"""(func (export "lunatic_alloc") (param i32) (result i32) {allocated}:i32)
            (func (export "_start") (drop (sqlite.last_error 0:i64 {size_out}:i32)))"""
        )
        assert "outside its memory" in reason


async def test_a_process_killed_in_its_allocator_leaves_nothing(lab: Lab) -> None:
    answer_with(lab, b"hello")
    pid = await lab.spawn(
        """(func (export "lunatic_alloc") (param i32) (result i32) (gate) 700:i32)
        (func (export "_start") (drop (sqlite.last_error 0:i64 100:i32)))"""
    )
    await wait_for(lambda: lab.at_gate == 1)
    lab.runtime.kill(pid)
    await lab.wait_exit(pid)


async def test_a_long_error_is_cut_between_two_characters(lab: Lab) -> None:
    async def fail(request: Request) -> int:
        return request.add_error("x" + "\N{LATIN SMALL LETTER E WITH ACUTE}" * 4000)

    lab.runtime.set_handler("lunatic::distributed", "nodes_count", fail)
    await lab.passes(
        """(memory (export "memory") 1)
        (func (export "_start")
          (is32 (distributed.nodes_count) 0:i32)
          (is32 (error.string_size 0:i64) 4095:i32)
          (error.to_string 0:i64 100:i32)
          (is32 (i32.load8_u 4193:i32) 0xc3:i32)
          (is32 (i32.load8_u 4194:i32) 0xa9:i32)
          (is32 (i32.load8_u 4195:i32) 0:i32))"""
    )


# -- resources of Python's -------------------------------------------------------------------


class Thing:
    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def serve_things(lab: Lab) -> list[Thing]:
    """tcp_bind makes a thing, drop_tcp_stream closes one, push and take move them."""
    made: list[Thing] = []
    kind = ResourceKind.TCP_STREAM

    async def make(request: Request) -> int:
        made.append(Thing())
        return request.add_resource(kind, made[-1])

    async def drop(request: Request) -> None:
        request.remove_resource(kind, request.args[0]).close()

    async def push(request: Request) -> int:
        return request.push_resource(kind, request.args[0])

    async def take(request: Request) -> int:
        return request.take_resource(kind, request.args[0])

    lab.runtime.set_handler("lunatic::networking", "tcp_bind", make)
    lab.runtime.set_handler("lunatic::networking", "drop_tcp_stream", drop)
    lab.runtime.set_handler("lunatic::message", "push_tcp_stream", push)
    lab.runtime.set_handler("lunatic::message", "take_tcp_stream", take)
    return made


MAKE = "(networking.tcp_bind 4:i32 0:i32 0:i32 0:i32 0:i32 0:i32)"


async def test_ids_count_from_zero_and_are_not_used_again(lab: Lab) -> None:
    made = serve_things(lab)
    await lab.passes(
        f"""(func (export "_start")
          (is32 {MAKE} 0:i32) (is32 {MAKE} 1:i32)
          (networking.drop_tcp_stream 1:i64)
          (is32 {MAKE} 2:i32))"""
    )
    await wait_for(lambda: [thing.closed for thing in made] == [1, 1, 1])


async def test_a_dropped_resource_is_unknown(lab: Lab) -> None:
    serve_things(lab)
    reason = await lab.traps(
        f"""(func (export "_start") (drop {MAKE})
          (networking.drop_tcp_stream 0:i64) (networking.drop_tcp_stream 0:i64))"""
    )
    assert "this process has no TCP stream of id 0" in reason


async def test_the_resources_of_a_killed_process_are_closed(lab: Lab) -> None:
    made = serve_things(lab)
    pid = await lab.spawn(f'(func (export "_start") (drop {MAKE}) (gate))')
    await wait_for(lambda: lab.at_gate == 1)
    assert not made[0].closed
    lab.runtime.kill(pid)
    await wait_for(lambda: made[0].closed == 1)


async def test_a_resource_moves_in_a_message(lab: Lab) -> None:
    made = serve_things(lab)
    await lab.passes(
        f"""(func (export "child")
          (is32 (call $receive_any -1:i64) 0:i32)
          (is64 (message.take_tcp_stream 0:i64) 0:i64)
          (report 1:i64) (gate))
        (func (export "_start") (local $child i64)
          (local.set $child (call $spawn @"child"))
          (drop {MAKE})
          (message.create_data 0:i64 0:i64)
          (is64 (message.push_tcp_stream 0:i64) 0:i64)
          (drop (message.send (local.get $child))))"""
    )
    await wait_for(lambda: lab.reports == [1])
    assert not made[0].closed
    lab.gate.set()
    await wait_for(lambda: made[0].closed == 1)


async def test_a_resource_that_was_sent_away_is_unknown(lab: Lab) -> None:
    made = serve_things(lab)
    reason = await lab.traps(
        f"""(func (export "_start") (drop {MAKE})
          (message.create_data 0:i64 0:i64)
          (drop (message.push_tcp_stream 0:i64))
          (networking.drop_tcp_stream 0:i64))"""
    )
    assert "no TCP stream of id 0" in reason
    await wait_for(lambda: made[0].closed == 1)


async def test_a_message_that_is_lost_closes_what_it_holds(lab: Lab) -> None:
    made = serve_things(lab)
    pid = await lab.spawn(
        f"""(func (export "_start") (drop {MAKE}) (drop {MAKE})
          (message.create_data 0:i64 0:i64)
          (is64 (message.push_tcp_stream 0:i64) 0:i64)
          (is64 (message.push_tcp_stream 1:i64) 1:i64)
          (drop (message.send 999:i64))
          (gate))"""
    )
    await wait_for(lambda: [thing.closed for thing in made] == [1, 1])
    lab.gate.set()
    await lab.wait_exit(pid)


async def test_pushing_without_a_message_loses_the_resource(lab: Lab) -> None:
    made = serve_things(lab)
    reason = await lab.traps(f'(func (export "_start") (drop {MAKE}) (drop (message.push_tcp_stream 0:i64)))')
    assert "there is no message" in reason
    await wait_for(lambda: made[0].closed == 1)


async def test_taking_what_is_not_there_traps(lab: Lab) -> None:
    serve_things(lab)
    for index in ("0:i64", "1:i64", "-1:i64"):
        reason = await lab.traps(
            f"""(func (export "_start")
              (message.create_data 0:i64 0:i64)
              (drop (message.take_tcp_stream {index})))"""
        )
        assert "no such resource at that index" in reason
    reason = await lab.traps('(func (export "_start") (drop (message.take_tcp_stream 0:i64)))')
    assert "there is no message" in reason


async def test_a_resource_for_a_process_that_died_meanwhile_is_closed(lab: Lab) -> None:
    made: list[Thing] = []
    asked = trio.Event()

    async def make(request: Request) -> int:
        asked.set()
        with trio.CancelScope(shield=True):
            await lab.gate.wait()
        made.append(Thing())
        return request.add_resource(ResourceKind.UDP_SOCKET, made[-1])

    lab.runtime.set_handler("lunatic::networking", "udp_bind", make)
    pid = await lab.spawn(
        '(func (export "_start") (drop (networking.udp_bind 4:i32 0:i32 0:i32 0:i32 0:i32 0:i32)))'
    )
    await asked.wait()
    lab.runtime.kill(pid)
    await lab.wait_exit(pid)
    lab.gate.set()
    await wait_for(lambda: made and made[0].closed == 1)
