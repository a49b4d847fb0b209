"""Programs of early Lunatic as they were written: a first process, limits, an echo server.

They do what the three examples in the readme of the crate lunatic 0.6 compile to: a spawned
function is an index passed to one export, and its context comes as the first message.
"""

from __future__ import annotations

import socket

import pytest
import trio

from luna.scheduler import ExitKind

from .lab import Lab, wait_for

SPAWN_BY_INDEX = """
    (type $entry (func))
    (func (export "_lunatic_spawn_by_index") (param $function i32) (param $argument i32)
      (call_indirect (type $entry) (local.get $function)))
    ;; Parameters at 3000: the index, and an argument that nobody reads.
    (func $index (param $function i32)
      (i32.store8 3000:i32 0x7f:i32) (i64.store 3001:i32 (i64.extend_i32_s (local.get $function)))
      (i64.store 3009:i32 0:i64)
      (i32.store8 3017:i32 0x7f:i32) (i64.store 3018:i32 0:i64) (i64.store 3026:i32 0:i64))
    (func $print (param $at i32) (param $size i32)
      (i32.store 3040:i32 (local.get $at)) (i32.store 3044:i32 (local.get $size))
      (if (wasi.fd_write 1:i32 3040:i32 1:i32 3048:i32) (then (unreachable))))
"""

HELLO = f"""{SPAWN_BY_INDEX}
    (table funcref (elem $child))
    (func $child (local $parent i64)
      (if (message.receive@0.6 0:i64 0:i32) (then (unreachable)))
      (drop (message.read_data 3100:i32 8:i32))
      (local.set $parent (message.take_process@0.6 (i64.load 3100:i32)))
      (call $print @"Hi! I'm a process.\\n")
      (process.drop_process@0.6 (local.get $parent)))
    (func (export "_start") (local $this i64) (local $child i64)
      (local.set $this (process.this@0.6))
      (call $index 0:i32)
      (if (process.inherit_spawn@0.6 0:i64 @"_lunatic_spawn_by_index" 3000:i32 34:i32 3080:i32)
        (then (unreachable)))
      (local.set $child (i64.load 3080:i32))
      (message.create_data 0:i64 128:i64)
      (i64.store 3100:i32 (message.push_process@0.6 (local.get $this)))
      (drop (message.write_data 3100:i32 8:i32))
      (message.send@0.6 (local.get $child))
      (drop (message.receive@0.6 0:i64 0:i32)))
"""

LIMITS = f"""{SPAWN_BY_INDEX}
    (memory (export "memory") 17)
    (table funcref (elem $prints $allocates $spins))
    (func $prints (call $print @"Hi from different env\\n"))
    (func $allocates (if (i32.lt_s (memory.grow 3:i32) 0:i32) (then (unreachable))))
    (func $spins (loop $again (br $again)))
    (func $dies (param $module i64) (param $function i32)
      (process.die_when_link_dies 0:i32)
      (call $index (local.get $function))
      (if (process.spawn@0.6 1:i64 (local.get $module) @"_lunatic_spawn_by_index" 3000:i32 34:i32 3080:i32)
        (then (unreachable)))
      (is32 (message.receive@0.6 0:i64 0:i32) 1:i32)
      (is64 (message.get_tag) 1:i64))
    (func (export "_start") (local $config i64) (local $module i64) (local $environment i64)
      (local.set $config (process.create_config@0.6 1200000:i64 1:i64))
      (process.allow_namespace@0.6 (local.get $config) @"wasi_snapshot_preview1::environ")
      (is32 (process.create_environment@0.6 (local.get $config) 3080:i32) 0:i32)
      (local.set $environment (i64.load 3080:i32))
      (process.drop_config (local.get $config))
      (is32 (process.add_this_module@0.6 (local.get $environment) 3088:i32) 0:i32)
      (local.set $module (i64.load 3088:i32))
      (call $dies (local.get $module) 0:i32)
      (call $dies (local.get $module) 1:i32)
      (call $dies (local.get $module) 2:i32)
      (process.drop_module (local.get $module))
      (process.drop_environment@0.6 (local.get $environment)))
"""

ECHO = f"""{SPAWN_BY_INDEX}
    (table funcref (elem $handle))
    (func $write (param $stream i64) (param $size i32)
      (i32.store 3040:i32 8192:i32) (i32.store 3044:i32 (local.get $size))
      (if (networking.tcp_write_vectored@0.6 (local.get $stream) 3040:i32 1:i32 0:i32 3048:i32)
        (then (unreachable))))
    (func $handle (local $stream i64) (local $reader i64)
      (if (message.receive@0.6 0:i64 0:i32) (then (unreachable)))
      (drop (message.read_data 3100:i32 8:i32))
      (local.set $stream (message.take_tcp_stream (i64.load 3100:i32)))
      (local.set $reader (networking.clone_tcp_stream (local.get $stream)))
      (loop $again
        (if (networking.tcp_read@0.6 (local.get $reader) 8192:i32 1024:i32 0:i32 3048:i32)
          (then (unreachable)))
        (if (i32.eqz (i32.load 3048:i32)) (then (return)))
        (if (i32.eq (i32.load 8192:i32) 0x74697865:i32) (then (return)))
        (call $write (local.get $stream) (i32.load 3048:i32))
        (br $again)))
    (func (export "_start") (local $listener i64)
      (if (networking.resolve@0.6 @"127.0.0.1:PORT" 0:i32 3080:i32) (then (unreachable)))
      (if (networking.resolve_next (i64.load 3080:i32) 3100:i32 3104:i32 3120:i32 3124:i32 3128:i32)
        (then (unreachable)))
      (networking.drop_dns_iterator (i64.load 3080:i32))
      (if (networking.tcp_bind (i32.load 3100:i32) 3104:i32 (i32.load16_u 3120:i32) 0:i32 0:i32 3080:i32)
        (then (unreachable)))
      (local.set $listener (i64.load 3080:i32))
      (report 1:i64)
      (call $index 0:i32)
      (loop $again
        (if (networking.tcp_accept (local.get $listener) 3100:i32 3108:i32) (then (unreachable)))
        (networking.drop_dns_iterator (i64.load 3108:i32))
        (if (process.inherit_spawn@0.6 0:i64 @"_lunatic_spawn_by_index" 3000:i32 34:i32 3080:i32)
          (then (unreachable)))
        (message.create_data 0:i64 128:i64)
        (i64.store 3108:i32 (message.push_tcp_stream (i64.load 3100:i32)))
        (drop (message.write_data 3108:i32 8:i32))
        (message.send@0.6 (i64.load 3080:i32))
        (process.drop_process@0.6 (i64.load 3080:i32))
        (br $again)))
"""


async def test_a_first_process_prints_and_its_parent_waits_for_ever(lab: Lab) -> None:
    # Nothing is ever sent to it: so it was, and the readme of 0.7 has another program.
    pid = await lab.spawn(HELLO)
    await wait_for(lambda: lab.runtime.counters()["exited"] == 1)
    await wait_for(lambda: [process.state for process in lab.runtime.processes()] == ["waiting"])
    lab.runtime.kill(pid)
    assert await lab.output(pid) == b"Hi! I'm a process.\n"


async def test_three_children_die_of_their_limits_and_the_program_goes_on(lab: Lab) -> None:
    pid = await lab.spawn(LIMITS)
    assert await lab.output(pid) == b""
    assert (await lab.wait_exit(pid)).kind is ExitKind.NORMAL
    assert lab.runtime.counters()["exited"] == 4


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


async def test_an_echo_server_serves_many_and_ends_connections(lab: Lab, port: int) -> None:
    pid = await lab.spawn(ECHO.replace("PORT", str(port)))
    await wait_for(lambda: lab.reports == [1])
    with trio.fail_after(20):
        streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(20)]
        for stream in streams:
            await stream.send_all(b"hello\n")
        for stream in streams:
            assert await stream.receive_some() == b"hello\n"
            await stream.send_all(b"exit\n")
            assert await stream.receive_some() == b""
            await stream.aclose()
    await wait_for(lambda: lab.runtime.counters()["exited"] == 20)
    lab.runtime.kill(pid)
