"""What all sockets of guests have in common: TCP, TLS and UDP.

Owns how they are made within the node's descriptors, how a host call waits for its turn
and for the socket, how several handles share one socket, and how errors read.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar, final

import trio

from luna.scheduler.requests import Request
from luna.scheduler.services.addresses import SocketAddress, family_of
from luna.scheduler.waiting import FOREVER, TIMED_OUT, seconds_of

__all__ = [
    "DONE",
    "FAILED",
    "RESERVED_DESCRIPTORS",
    "Handle",
    "Shared",
    "accept_nowait",
    "answer_when_ready",
    "check_descriptor",
    "close_socket",
    "connect",
    "error_text",
    "listen",
    "open_socket",
    "tell_error",
    "when_ready",
]

RESERVED_DESCRIPTORS: Final = 64
"""descriptors that sockets of guests leave to the node: its peers, the control service, files.
At most a quarter of what the system allows, so that a low limit still leaves some to guests."""
LISTEN_BACKLOG: Final = 1024
"""connections that wait to be accepted, as in Lunatic; the system may allow fewer."""

DONE, FAILED = 0, 1

Result = TypeVar("Result")
SharedT = TypeVar("SharedT", bound="Shared")

# Of one connection that broke while it waited to be accepted: the next one may be good (accept(2)).
_BROKEN_WHILE_WAITING: Final = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPROTO,
        errno.ENETDOWN,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.ENONET,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
    }
)


class Shared(ABC):
    """Something behind any number of handles, possibly of several processes; closed with the last."""

    def __init__(self) -> None:
        self._handles = 0

    def retain(self) -> None:
        """One more handle."""
        self._handles += 1

    def release(self) -> None:
        """One handle less; waiters of the others go on."""
        self._handles -= 1
        if self._handles == 0:
            self.shut()

    @abstractmethod
    def shut(self) -> None:
        """The last handle is gone: give up the descriptor at once. Must not raise."""


@final
class Handle(Generic[SharedT]):
    """One entry in a process's table, or one in a message: a resource. Clones are further handles."""

    __slots__ = ("_closed", "shared")

    def __init__(self, shared: SharedT) -> None:
        shared.retain()
        self.shared: Final = shared
        self._closed = False

    def clone(self) -> Handle[SharedT]:
        """Another handle of the same."""
        return Handle(self.shared)

    def close(self) -> None:
        """Give up this handle."""
        if not self._closed:
            self._closed = True
            self.shared.release()


def answer_when_ready(
    request: Request,
    out: int,
    turn: trio.Lock,
    attempt: Callable[[], Result],
    wait: Callable[[], Awaitable[None]],
    deliver: Callable[[Result], int],
    timeout_ms: int = FOREVER,
) -> int | Awaitable[int]:
    """Answer a host call by `deliver` of what `attempt` gives: now, or as soon as it can be had.

    Codes are those of `deliver`, 1 with the id of an error at `out`, and 9027 after
    `timeout_ms`, as guests give it (0 tries once); see `when_ready`.
    """
    if not turn.locked():
        try:
            result = attempt()
        except BlockingIOError:
            pass
        except OSError as error:
            return tell_error(request, out, error)
        else:
            return deliver(result)
    return _answer_later(request, out, when_ready(turn, attempt, wait, timeout_ms), deliver)


async def _answer_later(
    request: Request, out: int, result: Awaitable[Result], deliver: Callable[[Result], int]
) -> int:
    try:
        found = await result
    except trio.TooSlowError:
        return TIMED_OUT
    except OSError as error:
        return tell_error(request, out, error)
    return deliver(found)


async def when_ready(
    turn: trio.Lock,
    attempt: Callable[[], Result],
    wait: Callable[[], Awaitable[None]],
    timeout_ms: int = FOREVER,
) -> Result:
    """What `attempt` gives, as soon as it does not raise BlockingIOError; `wait` waits until it may not.

    Who comes later waits for its turn. Nothing is awaited once an attempt succeeded, so
    neither cancellation nor a time-out loses what it gave. Raises TooSlowError after
    `timeout_ms`, OSError of the attempt.
    """
    with trio.move_on_after(seconds_of(timeout_ms)):  # fail_after costs twice as much
        if turn.locked():
            await turn.acquire()
        else:
            turn.acquire_nowait()
        try:
            while True:
                try:
                    return attempt()
                except BlockingIOError:
                    await wait()
        except trio.ClosedResourceError:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None
        finally:
            turn.release()
    raise trio.TooSlowError


def open_socket(family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
    """A new socket that never blocks. Raises OSError, also when guests have too many descriptors."""
    return _admit(socket.socket(family, kind))


def listen(address: SocketAddress) -> socket.socket:
    """A TCP socket that listens. Raises OSError."""
    sock = open_socket(family_of(address), socket.SOCK_STREAM)
    try:
        # As Lunatic does: a server that starts again may have its port at once.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(LISTEN_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


async def connect(address: SocketAddress, timeout_ms: int = FOREVER) -> socket.socket:
    """A connected TCP socket. Raises OSError; TooSlowError after `timeout_ms`, as guests give it."""
    sock = open_socket(family_of(address), socket.SOCK_STREAM)
    try:
        with trio.fail_after(seconds_of(timeout_ms)):
            try:
                sock.connect(address)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(sock)
                problem = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if problem:
                    raise OSError(problem, os.strerror(problem)) from None
    except BaseException:
        sock.close()
        raise
    return sock


def accept_nowait(listener: socket.socket) -> tuple[socket.socket, SocketAddress]:
    """The next connection and its peer. Raises BlockingIOError when none waits, OSError.

    When guests have too many descriptors, the connection is closed.
    """
    while True:
        try:
            sock, address = listener.accept()
        except OSError as error:
            if error.errno not in _BROKEN_WHILE_WAITING:
                raise
        else:
            return _admit(sock), address


def close_socket(sock: socket.socket) -> None:
    """Close a socket, waking who waits for it."""
    if sock.fileno() != -1:
        trio.lowlevel.notify_closing(sock)
        sock.close()


def error_text(error: OSError) -> str:
    """What a guest reads: as Rust's standard library words errors of the system."""
    if error.errno is None:
        return str(error)
    text = f"{error.strerror} (os error {error.errno})"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        text += (
            ": this node has no descriptors left for its guests; drop sockets, or raise its limit (ulimit -n)"
        )
    return text


def tell_error(request: Request, out: float, error: OSError) -> int:
    """Store an error's id at `out`; the code of failed calls."""
    request.write_u64(int(out), request.add_error(error_text(error)))
    return FAILED


def check_descriptor(descriptor: int) -> None:
    """Raise OSError (EMFILE) for a descriptor just opened for a guest when few are left to the node."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The system gives the lowest number that is free, so a high one says that few are.
    if limit != resource.RLIM_INFINITY and descriptor >= limit - min(RESERVED_DESCRIPTORS, limit // 4):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def _admit(sock: socket.socket) -> socket.socket:
    try:
        check_descriptor(sock.fileno())
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock
