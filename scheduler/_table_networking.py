"""Rows of `lunatic::networking`: DNS, TCP, TLS and UDP.

An address goes in as (type 4 or 6, pointer to its octets, port, flow info, scope id) and
comes out as an address iterator, read with `resolve_next`.
"""

from __future__ import annotations

from typing import Final

from luna.scheduler._hostcall import HostCall, Rows, Where

_net = Rows("lunatic::networking", Where.REQUEST)

_ADDRESS = "address_type:i32 address:in port:i32 flow_info:i32 scope_id:i32"
_STREAM = "unknown stream"
_SOCKET = "unknown socket"
_ADDRESS_TRAPS = "address type is not 4 or 6; out of bounds"

_TIMEOUT = "Never waits for a call that is under way, which keeps the time-out it began with."
_DESCRIPTORS = "Code 1 also when the node has no file descriptors left for guests."
_TURN = "The time-out is also that of waiting for a clone's call."
_READ = f"At most 256 KiB at once; a read of no bytes never waits. {_TURN}"
_WRITE = f"At most 256 KiB and 1024 buffers at once. {_TURN}"

_DNS = (
    _net(
        "resolve",
        "name:in name_len:len timeout_ms:i64 id:out64 -> i32",
        "Resolves host:port: 0 address iterator id written, 1 error id written, 9027 timeout and 0 written.",
        traps="out of bounds; not UTF-8",
        suspends=True,
        departs="A name of more than 1024 bytes is code 1.",
    ),
    _net("drop_dns_iterator", "iterator:i64", "Forgets an address iterator.", traps="unknown iterator"),
    _net(
        "resolve_next",
        "iterator:i64 address_type:out32 address:out port:out16 flow_info:out32 scope_id:out32 -> i32",
        "0 the next address is written, flow info and scope id for IPv6 only; 1 there is none.",
        traps="unknown iterator; out of bounds",
    ),
)

_TCP = (
    _net(
        "tcp_bind",
        f"{_ADDRESS} id:out64 -> i32",
        "Listens: 0 listener id written, 1 error id written.",
        traps=_ADDRESS_TRAPS,
        suspends=True,
        departs=_DESCRIPTORS,
    ),
    _net("drop_tcp_listener", "listener:i64", "Closes a listener.", traps="unknown listener"),
    _net(
        "tcp_local_addr",
        "listener:i64 id:out64 -> i32",
        "0 iterator of the listening address written, 1 error id written.",
        traps="unknown listener; out of bounds",
    ),
    _net(
        "tcp_accept",
        "listener:i64 id:out64 peer:out64 -> i32",
        "Waits for a connection: 0 stream id and peer address iterator written, 1 error id and 0 written.",
        traps="unknown listener; out of bounds",
        suspends=True,
        departs=(
            f"{_DESCRIPTORS} The connection is closed then. "
            "One that broke before it was accepted is passed over."
        ),
    ),
    _net(
        "tcp_connect",
        f"{_ADDRESS} timeout_ms:i64 id:out64 -> i32",
        "Connects: 0 stream id written, 1 error id written, 9027 timeout.",
        traps=_ADDRESS_TRAPS,
        suspends=True,
        departs=_DESCRIPTORS,
    ),
    _net("drop_tcp_stream", "stream:i64", "Drops a stream; the last drop closes it.", traps=_STREAM),
    _net(
        "clone_tcp_stream",
        "stream:i64 -> i64",
        "A second id of the same connection, sharing its timeouts.",
        traps=_STREAM,
    ),
    _net(
        "tcp_peer_addr",
        "stream:i64 id:out64 -> i32",
        "0 iterator of the peer's address written, 1 error id written.",
        traps=f"{_STREAM}; out of bounds",
        suspends=True,
    ),
    _net(
        "tcp_write_vectored",
        "stream:i64 vectors:in vectors_len:len written:out64 -> i32",
        "Writes (pointer, length) pairs: 0 byte count written, 1 error id written, 9027 timeout.",
        traps=f"{_STREAM}; out of bounds",
        suspends=True,
        departs=_WRITE,
    ),
    _net(
        "tcp_peek",
        "stream:i64 data:out data_len:len read:out64 -> i32",
        "Reads without consuming: 0 byte count written, 1 error id written, 9027 timeout.",
        traps=f"{_STREAM}; out of bounds",
        suspends=True,
        departs=f"Never consumes what it shows; Lunatic's does unless a peek time-out is set. {_READ}",
    ),
    _net(
        "tcp_read",
        "stream:i64 data:out data_len:len read:out64 -> i32",
        "0 byte count written (0 bytes: the peer closed), 1 error id written, 9027 timeout.",
        traps=f"{_STREAM}; out of bounds",
        suspends=True,
        departs=_READ,
    ),
    _net(
        "set_read_timeout",
        "stream:i64 timeout_ms:i64",
        "Sets the read timeout; -1 clears it.",
        traps=_STREAM,
        suspends=True,
        departs=_TIMEOUT,
    ),
    _net(
        "set_write_timeout",
        "stream:i64 timeout_ms:i64",
        "Sets the write timeout; -1 clears it.",
        traps=_STREAM,
        suspends=True,
        departs=_TIMEOUT,
    ),
    _net(
        "set_peek_timeout",
        "stream:i64 timeout_ms:i64",
        "Sets the peek timeout; -1 clears it.",
        traps=_STREAM,
        suspends=True,
        departs=_TIMEOUT,
    ),
    _net(
        "get_read_timeout",
        "stream:i64 -> i64",
        "The read timeout in ms, -1 for none.",
        traps=_STREAM,
        suspends=True,
        departs="Never waits for a call that is under way.",
    ),
    _net(
        "get_write_timeout",
        "stream:i64 -> i64",
        "The write timeout in ms, -1 for none.",
        traps=_STREAM,
        suspends=True,
        departs="Never waits for a call that is under way.",
    ),
    _net(
        "get_peek_timeout",
        "stream:i64 -> i64",
        "The peek timeout in ms, -1 for none.",
        traps=_STREAM,
        suspends=True,
        departs="Never waits for a call that is under way.",
    ),
    _net(
        "tcp_flush",
        "stream:i64 error:out64 -> i32",
        "0 flushed and 0 written, 1 error id written.",
        traps=f"{_STREAM}; out of bounds",
        suspends=True,
    ),
)

_TLS = (
    _net(
        "tls_bind",
        f"{_ADDRESS} id:out64 certificate:in certificate_len:len key:in key_len:len -> i32",
        "Listens with one PEM certificate and its PKCS#8 key: 0 listener id written, 1 error id written.",
        traps=f"{_ADDRESS_TRAPS}; not exactly one certificate and one key; unusable or not of each other",
        suspends=True,
        departs=(
            "A key that cannot be used traps here; in Lunatic in tls_accept. At most 64 KiB of PEM each. "
            f"{_DESCRIPTORS}"
        ),
    ),
    _net("drop_tls_listener", "listener:i64", "Closes a listener.", traps="unknown listener"),
    _net(
        "tls_local_addr",
        "listener:i64 id:out64 -> i32",
        "0 iterator of the listening address written, 1 error id written.",
        traps="unknown listener; out of bounds",
    ),
    _net(
        "tls_accept",
        "listener:i64 id:out64 peer:out64 -> i32",
        "Waits for a connection and its handshake: 0 stream id and peer address iterator written, "
        "1 error id and 0 written.",
        traps="unknown listener; out of bounds",
        suspends=True,
        departs=(
            "A failed handshake is code 1, about that client only; Lunatic traps. Up to 64 clients shake "
            "hands at the same time and have 10 seconds; in Lunatic a silent one holds up all others for "
            "ever. "
            f"{_DESCRIPTORS} The connection is closed then."
        ),
    ),
    _net(
        "tls_connect",
        "host:in host_len:len port:i32 timeout_ms:i64 id:out64 authorities:in authorities_len:len -> i32",
        "Connects and shakes hands, trusting the authorities given as (pointer, length) pairs of PEM, or the "
        "public ones when there are none: 0 stream id written, 1 error id written, 9027 timeout.",
        traps="out of bounds; not UTF-8; host is neither a DNS name nor an IP address",
        suspends=True,
        departs=(
            "A failed handshake is code 1; Lunatic traps. The time-out covers looking up the name, "
            "connecting and the handshake; in Lunatic connecting only. An entry that is not one certificate "
            "is code 1; Lunatic leaves it out, or trusts the public authorities instead of all. Takes pairs "
            "of (length, pointer) as well, since Lunatic's guest library makes such. At most 256 entries of "
            "64 KiB each, 1 MiB together. "
            f"{_DESCRIPTORS}"
        ),
    ),
    _net(
        "drop_tls_stream",
        "stream:i64",
        "Drops a stream; the last drop closes it.",
        traps=_STREAM,
        departs=(
            "Tells the peer that nothing more comes (close_notify), and has up to 10 seconds to send what "
            "was written last; Lunatic says nothing."
        ),
    ),
    _net(
        "clone_tls_stream",
        "stream:i64 -> i64",
        "A second id of the same connection, sharing its timeouts.",
        traps=_STREAM,
    ),
    _net(
        "tls_write_vectored",
        "stream:i64 vectors:in vectors_len:len written:out64 -> i32",
        "Writes (pointer, length) pairs: 0 byte count written, 1 error id written, 9027 timeout.",
        traps=f"{_STREAM}; out of bounds",
        suspends=True,
        departs=f"What was written is sent without a flush, too. {_WRITE}",
    ),
    _net(
        "tls_read",
        "stream:i64 data:out data_len:len read:out64 -> i32",
        "0 byte count written (0 bytes: the peer closed and said so), 1 error id written (also when the peer "
        "closed without a close_notify), 9027 timeout.",
        traps=f"{_STREAM}; out of bounds",
        suspends=True,
        departs=_READ,
    ),
    _net(
        "set_tls_read_timeout",
        "stream:i64 timeout_ms:i64",
        "Sets the read timeout; -1 clears it.",
        traps=_STREAM,
        suspends=True,
        departs=_TIMEOUT,
    ),
    _net(
        "set_tls_write_timeout",
        "stream:i64 timeout_ms:i64",
        "Sets the write timeout; -1 clears it.",
        traps=_STREAM,
        suspends=True,
        departs=_TIMEOUT,
    ),
    _net(
        "get_tls_read_timeout",
        "stream:i64 -> i64",
        "The read timeout in ms, -1 for none.",
        traps=_STREAM,
        suspends=True,
        departs="Never waits for a call that is under way.",
    ),
    _net(
        "get_tls_write_timeout",
        "stream:i64 -> i64",
        "The write timeout in ms, -1 for none.",
        traps=_STREAM,
        suspends=True,
        departs="Never waits for a call that is under way.",
    ),
    _net(
        "tls_flush",
        "stream:i64 error:out64 -> i32",
        "0 flushed and 0 written, 1 error id written.",
        traps=f"{_STREAM}; out of bounds",
        suspends=True,
    ),
)

_UDP = (
    _net(
        "udp_bind",
        f"{_ADDRESS} id:out64 -> i32",
        "0 socket id written, 1 error id written.",
        traps=_ADDRESS_TRAPS,
        suspends=True,
        departs=_DESCRIPTORS,
    ),
    _net(
        "udp_local_addr",
        "socket:i64 id:out64 -> i32",
        "0 iterator of the bound address written, 1 error id written.",
        traps=f"{_SOCKET}; out of bounds",
    ),
    _net(
        "udp_peer_addr",
        "socket:i64 id:out64 -> i32",
        "0 iterator of the peer's address written, 1 not connected, 2 other error; error id written.",
        traps=f"{_SOCKET}; out of bounds",
    ),
    _net("drop_udp_socket", "socket:i64", "Drops a socket; the last drop closes it.", traps=_SOCKET),
    _net(
        "udp_receive",
        "socket:i64 data:out data_len:len read:out64 -> i32",
        "Waits for a datagram, cut off to data_len: 0 byte count written, 1 error id written.",
        traps=f"{_SOCKET}; out of bounds",
        suspends=True,
    ),
    _net(
        "udp_receive_from",
        "socket:i64 data:out data_len:len read:out64 sender:out64 -> i32",
        "Waits for a datagram, cut off to data_len: 0 byte count and sender address iterator written, "
        "1 error id written.",
        traps=f"{_SOCKET}; out of bounds",
        suspends=True,
    ),
    _net(
        "udp_connect",
        f"socket:i64 {_ADDRESS} timeout_ms:i64 error:out64 -> i32",
        "Fixes the peer: 0 connected and 0 written, 1 error id written; it never takes time.",
        traps=f"{_SOCKET}; {_ADDRESS_TRAPS}",
        suspends=True,
    ),
    _net("clone_udp_socket", "socket:i64 -> i64", "A second id of the same socket.", traps=_SOCKET),
    _net(
        "set_udp_socket_broadcast",
        "socket:i64 allowed:i32",
        "Permits broadcast or forbids it.",
        traps=f"{_SOCKET}; error of the system",
    ),
    _net(
        "get_udp_socket_broadcast",
        "socket:i64 -> i32",
        "1 when broadcast is permitted, else 0.",
        traps=f"{_SOCKET}; error of the system",
    ),
    _net(
        "set_udp_socket_ttl",
        "socket:i64 hops:i32",
        "Sets the time to live, in hops.",
        traps=f"{_SOCKET}; error of the system",
    ),
    _net(
        "get_udp_socket_ttl",
        "socket:i64 -> i32",
        "The time to live, in hops.",
        traps=f"{_SOCKET}; error of the system",
    ),
    _net(
        "udp_send_to",
        f"socket:i64 data:in data_len:len {_ADDRESS} written:out64 -> i32",
        "Sends a datagram: 0 byte count written, 1 error id written.",
        traps=f"{_SOCKET}; {_ADDRESS_TRAPS}",
        suspends=True,
    ),
    _net(
        "udp_send",
        "socket:i64 data:in data_len:len written:out64 -> i32",
        "Sends a datagram to the connected peer: 0 byte count written, 1 error id written.",
        traps=f"{_SOCKET}; out of bounds",
        suspends=True,
    ),
)

ROWS: Final[tuple[HostCall, ...]] = (*_DNS, *_TCP, *_TLS, *_UDP)
