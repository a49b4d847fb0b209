"""Names and address iterators: what is read as an address, codes, time-outs, bounded lookups."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from tests.scheduler.lab import Lab, wait_for

from luna.scheduler.services.addresses import SocketAddress
from luna.scheduler.services.dns import MAX_LOOKUPS, MAX_NAME_BYTES, Resolver, numeric_address, split_port

from .kit import START, net, output_of

RESOLVE = """
    (func $resolve (param $name i32) (param $size i32) (result i32)
      (networking.resolve (local.get $name) (local.get $size) -1:i64 500:i32))
    (func $next (result i32)
      (networking.resolve_next (i64.load 500:i32) 600:i32 608:i32 624:i32 632:i32 640:i32))
"""


class Names:
    """Stands for name servers that do not answer, which loopback has none of."""

    def __init__(self) -> None:
        self.answer = threading.Event()
        self.asked = 0
        self.asking = 0
        self.most = 0
        self._lock = threading.Lock()

    def getaddrinfo(self, host: bytes, port: int, **options: Any) -> list[Any]:
        with self._lock:
            self.asked += 1
            self.asking += 1
            self.most = max(self.most, self.asking)
        self.answer.wait()
        with self._lock:
            self.asking -= 1
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port)),
        ]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    yield names
    names.answer.set()


async def test_a_numeric_ipv4_address_is_one_address(lab: Lab) -> None:
    await lab.passes(
        net(f"""{RESOLVE} {START}
        (memory.fill 600:i32 0xff:i32 48:i32)
        (is32 (call $resolve @"192.168.1.20:8080") 0:i32)
        (is64 (i64.load 500:i32) 0:i64)
        (is32 (call $next) 0:i32)
        (is64 (i64.load 600:i32) 0xffffffff00000004:i64)
        (is64 (i64.load 608:i32) 0xffffffff1401a8c0:i64) (is64 (i64.load 616:i32) -1:i64)
        ;; 2 bytes of port, neither flow info nor scope
        (is64 (i64.load 624:i32) 0xffffffffffff1f90:i64)
        (is64 (i64.load 632:i32) -1:i64) (is64 (i64.load 640:i32) -1:i64)
        (i64.store 600:i32 7:i64)
        (is32 (call $next) 1:i32) (is32 (call $next) 1:i32)
        (is64 (i64.load 600:i32) 7:i64)
        (networking.drop_dns_iterator 0:i64)
        (is32 (call $resolve @"0.0.0.0:0") 0:i32)
        (is64 (i64.load 500:i32) 1:i64))""")
    )


async def test_a_numeric_ipv6_address_has_flow_info_and_scope(lab: Lab) -> None:
    await lab.passes(
        net(f"""{RESOLVE} {START}
        (memory.fill 600:i32 0xff:i32 48:i32)
        (is32 (call $resolve @"[fe80::1%3]:443") 0:i32)
        (is32 (call $next) 0:i32)
        (is64 (i64.load 600:i32) 0xffffffff00000006:i64)
        (is64 (i64.load 608:i32) 0x80fe:i64) (is64 (i64.load 616:i32) 0x0100000000000000:i64)
        (is64 (i64.load 624:i32) 0xffffffffffff01bb:i64)
        (is64 (i64.load 632:i32) 0xffffffff00000000:i64)
        (is64 (i64.load 640:i32) 0xffffffff00000003:i64)
        (is32 (call $next) 1:i32))""")
    )


async def test_a_dropped_iterator_is_unknown(lab: Lab) -> None:
    reason = await lab.traps(
        net(f"""{RESOLVE} {START}
        (is32 (call $resolve @"127.0.0.1:1") 0:i32)
        (networking.drop_dns_iterator 0:i64) (drop (call $next)))""")
    )
    assert "this process has no DNS iterator of id 0" in reason


async def test_a_name_of_this_machine_resolves(lab: Lab) -> None:
    await lab.passes(
        net(f"""{RESOLVE} {START} (local $found i32)
        (is32 (call $resolve @"localhost:7") 0:i32)
        (loop $again
          (if (i32.eqz (call $next)) (then
            (is32 (i32.load16_u 624:i32) 7:i32)
            (if (i32.eq (i32.load 600:i32) 4:i32) (then
              (is32 (i32.load 608:i32) 0x0100007f:i32) (local.set $found 1:i32)))
            (br $again))))
        (is32 (local.get $found) 1:i32))""")
    )


async def test_every_address_of_a_name_comes_in_order(lab: Lab, names: Names) -> None:
    names.answer.set()
    await lab.passes(
        net(f"""{RESOLVE} {START}
        (is32 (call $resolve @"a.example:80") 0:i32)
        (is32 (call $next) 0:i32)
        (is32 (i32.load 600:i32) 6:i32) (is32 (i32.load 608:i32) 0xb80d0120:i32)
        (is32 (call $next) 0:i32)
        (is32 (i32.load 600:i32) 4:i32) (is32 (i32.load 608:i32) 0x010200c0:i32)
        (is32 (i32.load16_u 624:i32) 80:i32)
        (is32 (call $next) 1:i32))""")
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("localhost", "invalid socket address: 'localhost' is not of the form host:port"),
        ("", "invalid socket address: ''"),
        ("127.0.0.1", "invalid socket address"),
        ("[::1]", "invalid port value: '1]'"),
        ("localhost:", "invalid port value: ''"),
        ("localhost:http", "invalid port value: 'http'"),
        ("127.0.0.1:65536", "invalid port value: '65536' is not a number from 0 to 65535"),
        ("localhost:-1", "invalid port value: '-1'"),
        (":80", "failed to lookup address information: "),
        ("a" * 64 + ":80", "failed to lookup address information: "),  # no name server is asked for it
        ("a\\00b:80", "a host name has no zero bytes"),
    ],
)
async def test_what_is_no_address_is_an_error_with_a_text(lab: Lab, text: str, problem: str) -> None:
    output = await output_of(
        lab,
        net(f"""{RESOLVE} {START}
        (is32 (call $resolve @"{text}") 1:i32)
        (is64 (i64.load 500:i32) 0:i64)
        (call $show 500:i32))"""),
    )
    assert problem in output


async def test_a_name_is_bounded(lab: Lab) -> None:
    output = await output_of(
        lab,
        net(f"""{RESOLVE} {START}
        (memory.fill 8192:i32 0x61:i32 {MAX_NAME_BYTES + 1}:i32)
        (is32 (call $resolve 8192:i32 {MAX_NAME_BYTES + 1}:i32) 1:i32)
        (call $show 500:i32))"""),
    )
    assert output == f"a host name has at most {MAX_NAME_BYTES} bytes"


async def test_a_name_that_is_not_utf8_traps(lab: Lab) -> None:
    reason = await lab.traps(net(f'{RESOLVE} {START} (drop (call $resolve @"\\ff:80")))'))
    assert "the text is not UTF-8" in reason


@pytest.mark.parametrize("timeout_ms", [0, 20])
async def test_a_lookup_that_takes_too_long_gives_9027_and_id_0(
    lab: Lab, names: Names, timeout_ms: int
) -> None:
    await lab.passes(
        net(f"""{START}
        (i64.store 500:i32 -1:i64)
        (is32 (networking.resolve @"a.example:80" {timeout_ms}:i64 500:i32) 9027:i32)
        (is64 (i64.load 500:i32) 0:i64))""")
    )


async def test_a_numeric_address_needs_no_time_and_no_lookup(lab: Lab, names: Names) -> None:
    await lab.passes(
        net(f"""{START}
        (is32 (networking.resolve @"127.0.0.1:80" 0:i64 500:i32) 0:i32)
        (is32 (networking.resolve @"[::1]:80" 0:i64 500:i32) 0:i32))""")
    )
    assert names.asked == 0


async def test_lookups_of_killed_processes_keep_no_more_than_their_threads(lab: Lab, names: Names) -> None:
    module = await lab.load(
        net(f'{START} (is32 (networking.resolve @"a.example:80" -1:i64 500:i32) 0:i32) (report 1:i64))')
    )
    pids = [await lab.spawn(module) for _ in range(MAX_LOOKUPS)]
    await wait_for(lambda: names.asking == MAX_LOOKUPS)
    for pid in pids:
        lab.runtime.kill(pid)
        await lab.wait_exit(pid)
    last = await lab.spawn(module)
    await lab.passes("""(func (export "_start") (process.sleep_ms 20:i64))""")
    assert names.asked == MAX_LOOKUPS  # the last one waits for a thread
    names.answer.set()
    await lab.wait_exit(last)
    assert lab.reports == [1]
    assert names.most == MAX_LOOKUPS
    assert names.asked == MAX_LOOKUPS + 1


async def test_a_lookup_can_be_cancelled(names: Names) -> None:
    with trio.move_on_after(0.01) as scope:
        await Resolver().look_up("a.example", 80)
    assert scope.cancelled_caught


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("1.2.3.4:5", ("1.2.3.4", 5)),
        ("1.2.3.4:00080", ("1.2.3.4", 80)),
        ("255.255.255.255:65535", ("255.255.255.255", 65535)),
        ("[::]:0", ("::", 0, 0, 0)),
        ("[2001:DB8::1]:443", ("2001:db8::1", 443, 0, 0)),
        ("[::ffff:1.2.3.4]:1", ("::ffff:1.2.3.4", 1, 0, 0)),
        ("[fe80::1%4294967295]:1", ("fe80::1", 1, 0, 4294967295)),
        ("[fe80::1%4294967296]:1", None),
        ("[fe80::1%eth0]:1", None),
        ("1.2.3.4", None),
        ("1.2.3:5", None),
        ("1.2.3.256:5", None),
        ("01.2.3.4:5", None),
        ("1.2.3.4:65536", None),
        ("::1:80", None),
        ("[::1]", None),
        ("[1.2.3.4]:5", None),
        ("[::g]:5", None),
        (" 1.2.3.4:5", None),
        ("1.2.3.4:٣", None),
        ("localhost:80", None),
    ],
)
def test_numeric_addresses_are_those_of_rust(text: str, address: SocketAddress | None) -> None:
    assert numeric_address(text) == address


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a:1", ("a", 1)),
        ("::1:80", ("::1", 80)),
        ("a:+80", ("a", 80)),
        (":0", ("", 0)),
        ("a:0080", ("a", 80)),
    ],
)
def test_the_port_stands_after_the_last_colon(text: str, parts: tuple[str, int]) -> None:
    assert split_port(text) == parts


@pytest.mark.parametrize("text", ["a", "", "a:", "a:x", "a:65536", "a:+", "a:++1", "a: 1", "a:" + "1" * 5000])
def test_a_bad_port_is_an_error(text: str) -> None:
    with pytest.raises(OSError, match="invalid"):
        split_port(text)
