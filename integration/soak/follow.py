"""Processes of the workload, whose ledgers are read while they write them, so that a `kill -9` loses little.

Owns the threads that read; each ends with its process or its node.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import grpc
from integration.hosts.fault_cluster import spawn
from integration.node_process import NodeProcess

from luna.proto import control_pb2, node_pb2

from .ledger import Ledger, LedgerError, parse_entry

GUEST = Path(__file__).parent.parent.parent / "build" / "guests" / "soak.wasm"

AGAIN_S = 0.2
"""seconds between two attempts to read from a node that does not answer"""


class Followed:
    """A process on a node, and its ledger so far."""

    def __init__(self, node: NodeProcess, entry: str, *params: int) -> None:
        self.node = node
        self.ledger = Ledger(f"{entry} on {node.name}")
        self._problem = ""
        self._read_bytes = 0
        self._rest = ""  # of a line
        self.pid = spawn(node, entry, *params, guest=GUEST).pid
        self._thread = threading.Thread(target=self._read, name=self.ledger.process, daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str:
        """What is wrong with its ledger or its end; "" if nothing is, or if its node ended before it did."""
        return "" if self.ledger.is_lost else self._problem

    def stop(self, *, orphaned: bool) -> None:
        """Ask it to come to its end; `orphaned` if its partner lives no more."""
        spawn(self.node, "stop", self.pid, int(orphaned), guest=GUEST)

    def join(self, timeout_s: float) -> bool:
        """Wait until its ledger was read to the end; whether it was."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def lose(self) -> None:
        """Its node has ended."""
        self._thread.join()
        self.ledger.is_lost = not self.ledger.has_ended

    def _read(self) -> None:
        while not self.ledger.has_ended:
            try:
                self._follow()
                return
            except grpc.RpcError as error:
                # Its node has ended, or was frozen and gave up this connection when it thawed.
                if not self._may_go_on():
                    self._problem = f"its ledger cannot be read: {error.details()}"
                    return
                time.sleep(AGAIN_S)
            except LedgerError as error:
                self._problem = str(error)
                return

    def _may_go_on(self) -> bool:
        return self.node.process.poll() is None

    def _follow(self) -> None:
        """Read from the beginning, skipping what was read before, until it ends."""
        request = control_pb2.LogsRequest(process=control_pb2.ProcessRef(pid=self.pid), follow=True)
        position = 0
        with self.node.control() as stub:
            for part in stub.Logs(request):
                position += part.dropped_bytes
                if position > self._read_bytes:
                    self._problem = f"{position - self._read_bytes} bytes of its ledger were dropped"
                fresh = part.stdout[max(0, self._read_bytes - position) :]
                position += len(part.stdout)
                self._read_bytes = max(self._read_bytes, position)
                *lines, self._rest = (self._rest + fresh.decode()).split("\n")
                self.ledger.entries.extend(map(parse_entry, lines))
                if part.HasField("exit") and part.exit.kind != node_pb2.EXIT_NORMAL:
                    self._problem = f"it ended otherwise than planned: {part.exit.reason}"
