"""What generated guests do: orders of host calls that get somewhere, and what else belongs to them.

Pure data, and which rows of the table are of a theme.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, final

__all__ = [
    "CONSUMING", "EARLIER", "GIVES", "NEED_DATA", "NEED_MESSAGE", "RARE", "THEMES", "Theme", "pool_given",
]  # fmt: skip

SPAWN: Final = "@spawn"
"""a step that is no host call of the table: a child at an entry, told ports and parent"""
TCP_PORT, TLS_PORT, UDP_PORT = "@tcp_port", "@tls_port", "@udp_port"
"""steps that ask where the last listener or socket is bound, for later connects"""
TABLE: Final = "@table"
"""a step that makes the table that most SQL is about"""

EARLIER: Final = "earlier interfaces"
"""the theme of guests that import what only earlier interfaces have"""

CONSUMING: Final = (
    "drop", "push_t", "push_u", "take_", "cancel_", "copy_", "sqlite3_finalize", "fd_close",
)  # fmt: skip
"""beginnings of the names of calls after which an id they were given means nothing"""
NEED_DATA: Final = frozenset(
    {
        "write_data", "read_data", "seek_data", "data_size", "push_module", "take_module", "push_process",
        "take_process", "push_tcp_stream", "take_tcp_stream", "push_tls_stream", "take_tls_stream",
        "push_udp_socket", "take_udp_socket",
    }
)  # fmt: skip
"""calls that trap without a data message"""
NEED_MESSAGE: Final = frozenset(
    {"get_tag", "get_process_id", "send", "send_receive_skip_search", "send_after"}
)
"""calls that trap without a message"""


@final
@dataclass(frozen=True, slots=True)
class Theme:
    """What one function of a guest is about."""

    steps: Sequence[str]
    """calls in an order that works"""
    more: Sequence[str]
    """beginnings of the names of what is mixed in"""


def _theme(steps: str, *more: str) -> Theme:
    return Theme(tuple(steps.split()), more)


THEMES: Final[Mapping[str, Theme]] = MappingProxyType(
    {
        "processes": _theme(
            "process.die_when_link_dies @spawn process.link process.monitor process.exists @spawn",
            "process.", "error.", "timer.", "message.", "registry.",
        ),
        "configs": _theme(
            "process.create_config wasi.config_preopen_dir process.config_set_can_spawn_processes @spawn",
            "process.config_", "process.create_config", "process.drop_config", "wasi.", "process.spawn",
            "error.",
        ),
        "modules": _theme(
            "process.compile_module process.spawn message.create_data message.push_module"
            " message.take_module",
            "process.compile_module", "process.drop_module", "message.", "process.", "error.",
        ),
        "messages": _theme(
            "message.create_data message.write_data message.read_data message.send message.receive"
            " message.read_data message.get_tag",
            "message.", "timer.", "distributed.send",
        ),
        "names": _theme(
            "registry.put registry.get process.get_or_spawn registry.remove",
            "registry.", "process.get_or_spawn", "metrics.", "version.", "distributed.", "process.kill",
        ),
        "dns": _theme(
            "networking.resolve networking.resolve_next networking.drop_dns_iterator",
            "networking.resolve", "networking.drop_dns_iterator", "error.",
        ),
        "tcp": _theme(
            "networking.tcp_bind @tcp_port networking.tcp_connect networking.tcp_accept"
            " networking.tcp_write_vectored networking.set_read_timeout networking.tcp_read @spawn",
            "networking.tcp_", "networking.set_read", "networking.set_write", "networking.set_peek",
            "networking.get_read", "networking.get_write", "networking.get_peek",
            "networking.clone_tcp_stream", "networking.drop_tcp_stream", "error.",
        ),
        "tcp streams": _theme(
            "networking.tcp_connect networking.set_read_timeout networking.clone_tcp_stream"
            " networking.tcp_write_vectored networking.tcp_read networking.set_peek_timeout"
            " networking.tcp_peek networking.tcp_peer_addr",
            "networking.tcp_", "networking.set_read", "networking.get_peek", "networking.clone_tcp_stream",
        ),
        "tcp in messages": _theme(
            "networking.tcp_bind @tcp_port networking.tcp_connect @spawn message.create_data"
            " message.push_tcp_stream message.send networking.tcp_accept message.receive"
            " message.take_tcp_stream networking.tcp_write_vectored",
            "message.push_tcp_stream", "message.take_tcp_stream", "message.", "networking.tcp_w",
        ),
        "tls": _theme(
            "networking.tls_bind @tls_port @spawn @spawn networking.tls_accept"
            " networking.set_tls_read_timeout networking.tls_write_vectored networking.tls_read"
            " networking.tls_flush",
            "networking.tls_", "networking.set_tls", "networking.get_tls", "networking.clone_tls_stream",
            "networking.drop_tls",
        ),
        "tls streams": _theme(
            "networking.tls_connect networking.set_tls_read_timeout networking.tls_write_vectored"
            " networking.tls_read networking.clone_tls_stream networking.tls_flush message.create_data"
            " message.push_tls_stream message.take_tls_stream",
            "networking.tls_w", "networking.tls_r", "networking.set_tls", "networking.get_tls",
            "networking.clone_tls_stream", "networking.drop_tls_stream", "message.push_tls",
            "message.take_tls",
        ),
        "udp": _theme(
            "networking.udp_bind @udp_port networking.udp_send_to networking.udp_receive_from"
            " networking.udp_connect networking.udp_send networking.udp_receive message.create_data"
            " message.push_udp_socket message.take_udp_socket",
            "networking.udp_s", "networking.udp_l", "networking.udp_p", "networking.udp_c",
            "networking.set_udp", "networking.get_udp", "networking.clone_udp_socket", "networking.udp_bind",
            "message.push_udp", "message.take_udp",
        ),
        "databases": _theme(
            "sqlite.open @table sqlite.execute sqlite.query_prepare sqlite.bind_value sqlite.sqlite3_step"
            " sqlite.read_row sqlite.read_column sqlite.column_name sqlite.sqlite3_step sqlite.last_error",
            "sqlite.", "sqlite.execute", "sqlite.sqlite3_step", "sqlite.query_prepare",
        ),
        "files": _theme(
            "wasi_snapshot_preview1.path_create_directory wasi_snapshot_preview1.path_open"
            " wasi_snapshot_preview1.fd_write wasi_snapshot_preview1.fd_seek wasi_snapshot_preview1.fd_read"
            " wasi_snapshot_preview1.path_open wasi_snapshot_preview1.fd_pwrite",
            "wasi_snapshot_preview1.", "wasi_snapshot_preview1.fd_", "wasi_snapshot_preview1.path_",
        ),
        "certificates": _theme(
            "distributed.test_root_cert distributed.default_server_certificates distributed.sign_node",
            "distributed.",
        ),
        EARLIER: _theme(
            "process.create_config process.allow_namespace process.create_environment process.add_this_module"
            " process.this process.spawn message.create_data message.push_process message.take_process",
        ),
        "everything": _theme("", ""),
    }
)  # fmt: skip

RARE: Final[Mapping[str, float]] = MappingProxyType(
    {
        "wasi_snapshot_preview1.proc_exit": 0.03,
        "wasi_snapshot_preview1.proc_raise": 0.05,
        "wasi_snapshot_preview1.fd_close": 0.3,
        "wasi_snapshot_preview1.fd_renumber": 0.3,
        "process.kill": 0.2,
        "process.compile_module": 0.4,
        "process.get_or_spawn": 0.5,
        "networking.tcp_accept": 0.1,
        "networking.tls_accept": 0.1,
        "networking.udp_receive": 0.15,
        "networking.udp_receive_from": 0.15,
        "networking.tls_bind": 0.3,
        "networking.tls_connect": 0.3,
        "sqlite.open": 0.2,
    }
)
"""Weights of calls that end a process, wait for what may not come, or cost much; others have 1."""

_POOLS: Final[Sequence[tuple[str, str]]] = (
    ("compile_module", "module"),
    ("take_module", "module"),
    ("spawn", "process"),
    ("get_or_spawn", "process"),
    ("get_process_id", "process"),
    ("process_id", "process"),
    ("resolve", "dns"),
    ("create_config", "config"),
    ("send_after", "timer"),
    ("query_prepare", "statement"),
    ("open", "connection"),
    ("exec_lookup_nodes", "query"),
    ("get_tag", "tag"),
    ("node_id", "node"),
    ("this", "process"),
    ("clone_process", "process"),
    ("take_process", "process"),
    ("push_process", "process_index"),
    ("inherit_spawn", "process"),
    ("lookup", "process"),
    ("create_environment", "environment"),
    ("this_env", "environment"),
    ("add_module", "module"),
    ("add_this_module", "module"),
    ("local_addr", "dns"),
)


def _pools() -> Mapping[str, str]:
    pools = dict(_POOLS)
    for kind in ("tcp", "tls", "udp"):
        one = "udp" if kind == "udp" else f"{kind}_stream"
        named = "udp_socket" if kind == "udp" else one
        pools[f"{kind}_bind"] = "udp" if kind == "udp" else f"{kind}_listener"
        for ending in ("accept", "connect"):
            pools[f"{kind}_{ending}"] = one
        for ending in ("local_addr", "peer_addr"):
            pools[f"{kind}_{ending}"] = "dns"
        pools[f"clone_{named}"] = pools[f"take_{named}"] = one
        pools[f"push_{named}"] = f"{named}_index"
    pools["push_module"] = "module_index"
    return MappingProxyType(pools)


GIVES: Final = _pools()
"""The pool that a call's id goes to, by the call's name."""


def pool_given(name: str, out: str) -> str | None:
    """The pool of what a call stores for one of its parameters."""
    match out:
        case "peer" | "sender":
            return "dns"
        case "node" | "process":
            return out
        case "opened":
            return "fd"
        case "id":
            return GIVES.get(name)
    return None
