"""What guests of these tests have in common: WAT that makes sockets, and partners on loopback."""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
from typing import Any, Final

import pytest
import trio
from tests.scheduler.lab import PATIENCE_S, Lab, wait_for

from luna.scheduler import ExitKind
from luna.scheduler.resources import ResourceKind
from luna.scheduler.services.sockets import Handle

START: Final = '(func (export "_start")'

NET: Final = """
    ;; Octets of 127.0.0.1 at 1000, of ::1 at 1008.
    (func $loopback
      (i32.store 1000:i32 0x0100007f:i32)
      (i64.store 1008:i32 0:i64) (i64.store 1016:i32 0x0100000000000000:i64))
    ;; A listener on 127.0.0.1, of any port.
    (func $listen (result i64)
      (call $loopback)
      (if (networking.tcp_bind 4:i32 1000:i32 0:i32 0:i32 0:i32 1032:i32) (then (unreachable)))
      (i64.load 1032:i32))
    ;; The port of the first address of an iterator, which is dropped.
    (func $port (param $iterator i64) (result i32)
      (if (networking.resolve_next (local.get $iterator) 1040:i32 1048:i32 1064:i32 1068:i32 1072:i32)
        (then (unreachable)))
      (networking.drop_dns_iterator (local.get $iterator))
      (i32.load16_u 1064:i32))
    (func $listening_port (param $listener i64) (result i32)
      (if (networking.tcp_local_addr (local.get $listener) 1032:i32) (then (unreachable)))
      (call $port (i64.load 1032:i32)))
    (func $connect (param $port i32) (result i64)
      (call $loopback)
      (if (networking.tcp_connect 4:i32 1000:i32 (local.get $port) 0:i32 0:i32 -1:i64 1032:i32)
        (then (unreachable)))
      (i64.load 1032:i32))
    (func $accept (param $listener i64) (result i64)
      (if (networking.tcp_accept (local.get $listener) 1032:i32 1080:i32) (then (unreachable)))
      (networking.drop_dns_iterator (i64.load 1080:i32))
      (i64.load 1032:i32))
    ;; One read into 0 with room for $size; how much came.
    (func $read_tcp (param $stream i64) (param $size i32) (result i64)
      (if (networking.tcp_read (local.get $stream) 0:i32 (local.get $size) 1032:i32) (then (unreachable)))
      (i64.load 1032:i32))
    ;; One write of one buffer; how much went.
    (func $write_tcp (param $stream i64) (param $at i32) (param $size i32) (result i64)
      (i32.store 1088:i32 (local.get $at)) (i32.store 1092:i32 (local.get $size))
      (if (networking.tcp_write_vectored (local.get $stream) 1088:i32 1:i32 1032:i32) (then (unreachable)))
      (i64.load 1032:i32))
    ;; A UDP socket on 127.0.0.1, of any port.
    (func $udp (result i64)
      (call $loopback)
      (if (networking.udp_bind 4:i32 1000:i32 0:i32 0:i32 0:i32 1032:i32) (then (unreachable)))
      (i64.load 1032:i32))
    (func $udp_port (param $socket i64) (result i32)
      (if (networking.udp_local_addr (local.get $socket) 1032:i32) (then (unreachable)))
      (call $port (i64.load 1032:i32)))
    (func $udp_connect (param $socket i64) (param $port i32)
      (if (networking.udp_connect (local.get $socket)
          4:i32 1000:i32 (local.get $port) 0:i32 0:i32 0:i64 1032:i32)
        (then (unreachable))))
    ;; Prints the error whose id is at this address.
    (func $show (param $at i32) (local $size i32)
      (local.set $size (error.string_size (i64.load (local.get $at))))
      (error.to_string (i64.load (local.get $at)) 2100:i32)
      (error.drop (i64.load (local.get $at)))
      (i32.store 2080:i32 2100:i32) (i32.store 2084:i32 (local.get $size))
      (drop (wasi.fd_write 1:i32 2080:i32 1:i32 2088:i32)))
"""


def net(body: str, more: str = "") -> str:
    """The body of a guest with those functions of NET, or of `more` of that form, that it uses."""
    found: dict[str, str] = {}
    functions = {
        match[1]: match[0]
        for match in re.finditer(
            r"(?:^ *;;.*\n)*^ +\(func \$(\w+)(?:.*\n)+?(?=^ *;;|^ +\(func |\Z)", NET + more, re.M
        )
    }
    pending = [body]
    while pending:
        for name in re.findall(r"\(call \$(\w+)", pending.pop()):
            if name in functions and name not in found:
                found[name] = functions[name]
                pending.append(functions[name])
    return "".join(found.values()) + body


def os_error(code: int) -> str:
    """How guests read an error of the system."""
    return f"{os.strerror(code)} (os error {code})"


def _ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _ipv6(), reason="this machine has no IPv6 loopback")

REFUSED: Final = os_error(errno.ECONNREFUSED)

RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: closing resets the connection."""


def tcp_partner() -> trio.socket.SocketType:
    """A listener for guests that connect; the test closes it."""
    return trio.socket.from_stdlib_socket(socket.create_server(("127.0.0.1", 0)))


def port_of(sock: trio.socket.SocketType) -> int:
    """Where a partner is bound."""
    return int(sock.getsockname()[1])


async def dial(port: int) -> trio.socket.SocketType:
    """Connect to a guest; the test closes it."""
    sock = trio.socket.socket()
    try:
        await sock.connect(("127.0.0.1", port))
    except BaseException:
        sock.close()
        raise
    return sock


def unused_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


async def receive_exactly(sock: trio.socket.SocketType, size: int) -> bytes:
    """So many bytes, or fewer at the end of the stream."""
    data = bytearray()
    with trio.fail_after(PATIENCE_S):
        while len(data) < size and (part := await sock.recv(size - len(data))):
            data += part
    return bytes(data)


async def output_of(lab: Lab, source: str) -> str:
    """What a guest prints, whose own checks must all hold."""
    pid = await lab.spawn(source)
    text = (await lab.output(pid)).decode()
    status = await lab.wait_exit(pid)
    assert status.kind is ExitKind.NORMAL, (status, text)
    return text


async def shared_by(lab: Lab, kind: ResourceKind, pid: int) -> Any:
    """What is behind the first resource of a kind of a process, once it has one."""
    await wait_for(lambda: lab.runtime._resources.find(pid, kind, 0))
    resource = lab.runtime._resources.find(pid, kind, 0)
    assert isinstance(resource, Handle)
    return resource.shared
