"""What a node holds and does at a moment: from /proc and from its page of metrics.

Owns the model of such a sample and how it is taken. What may have leaked is the business of `leaks`.
"""

from __future__ import annotations

import ctypes
import http.client
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from integration.node_process import NodeProcess
from prometheus_client.parser import text_string_to_metric_families

METRICS_PORT = 7020
METRICS = ("--metrics", f"127.0.0.1:{METRICS_PORT}")
"""arguments of a node whose figures are taken"""

PAGE_TIMEOUT_S = 2.0
"""seconds a node may take for its page; one that is frozen never answers"""

_CLONE_NEWNET = 0x40000000


class FiguresError(Exception):
    """A node does not tell its figures: it is frozen, busy or gone."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One node at `time_s` of the wall clock."""

    time_s: float
    os_pid: int
    resident_bytes: int
    mappings: int
    files: int
    threads: Mapping[str, int]
    """by the name that the system has for them"""
    processes: int
    queued_bytes: int
    """that wait to be sent, or were sent and not acknowledged, to all peers"""
    held: Mapping[str, int]
    """of the native core: stores, stacks, signals, timers, ..."""
    messages_sent: int
    """since it started, as are those below"""
    processes_spawned: int
    bytes_sent: Mapping[str, int]
    """by peer; one that is gone is not there"""


def take_figures(node: NodeProcess) -> Figures:
    """Raises FiguresError."""
    try:
        page = _Page(fetch_page(node.pid))
        return Figures(
            time_s=time.time(),
            os_pid=node.pid,
            resident_bytes=node.resident_bytes(),
            mappings=node.mappings(),
            files=node.files(),
            threads=node.threads(),
            processes=page.sum("luna_node_processes"),
            queued_bytes=page.sum("luna_node_peer_queued_bytes") + page.sum("luna_node_peer_kept_bytes"),
            held=page.by("luna_node_held", "kind"),
            messages_sent=page.sum("luna_node_messages_sent"),
            processes_spawned=page.sum("luna_node_processes_spawned"),
            bytes_sent=page.by("luna_node_peer_bytes_sent", "peer"),
        )
    except (OSError, http.client.HTTPException) as error:
        raise FiguresError(f"{node.name} does not tell its figures: {error!r}") from error


class _Page:
    """A page of metrics."""

    def __init__(self, text: str) -> None:
        self._families = {family.name: family.samples for family in text_string_to_metric_families(text)}

    def sum(self, name: str) -> int:
        """Of all samples of a family."""
        return int(sum(sample.value for sample in self._families[name]))

    def by(self, name: str, label: str) -> dict[str, int]:
        """The samples of a family by one of their labels."""
        return {sample.labels[label]: int(sample.value) for sample in self._families[name]}


def fetch_page(os_pid: int) -> str:
    """The metrics of a process that serves them on loopback, in whatever network it is.

    Raises OSError or http.client.HTTPException.
    """
    result: list[str | BaseException] = []

    def fetch() -> None:
        try:
            result.append(_fetch_there(os_pid))
        except BaseException as error:  # for the caller's thread
            result.append(error)

    # A thread belongs to one network at a time, so this one ends when it has seen the other.
    thread = threading.Thread(target=fetch)
    thread.start()
    thread.join()
    [outcome] = result
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _fetch_there(os_pid: int) -> str:
    network = os.open(f"/proc/{os_pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(network, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"cannot enter the network of process {os_pid}: {os.strerror(number)}")
    finally:
        os.close(network)
    connection = http.client.HTTPConnection("127.0.0.1", METRICS_PORT, timeout=PAGE_TIMEOUT_S)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()
