"""`make demo`: a cluster of three nodes on this machine, explained step by step.

Starts real `luna-node` processes on loopback with state of their own, lets them discover each other, and
runs programs on them with the `luna` command. It uses nothing but what a user has, and checks what it shows:
it ends with 0 only if everything happened. Whatever happens, the nodes are stopped and their state removed.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from generated_file import ROOT

NAMES = ("a", "b", "c")
GUESTS = ROOT / "build" / "guests"

READY_TIMEOUT_S = 60.0  # a node serves within a second; a loaded machine may need many
DISCOVERY_TIMEOUT_S = 10.0  # multicast DNS answers within a second where it works at all
JOIN_TIMEOUT_S = 15.0
COMMAND_TIMEOUT_S = 60.0  # the programs give up by themselves before
STOP_TIMEOUT_S = 15.0  # a node promises less; after this it is killed
POLL_S = 0.2
MAX_LINE_BYTES = 65_536
LOG_LINES = 40  # of each node, shown after a failure

_READY = re.compile(r"ready name=(\S+) id=([0-9]+) listen=(\S+)\n?\Z")


class DemoError(Exception):
    """Something did not happen as it should; the text says what."""


@dataclass(frozen=True, slots=True)
class Node:
    """A running node: `id` and `address` as it announced them, its process and its log file."""

    name: str
    id: str
    address: str
    process: trio.Process
    log: Path


def parse_ready(line: str) -> tuple[str, str, str]:
    """(name, id, address) of the line a node prints once it serves. Raises DemoError for any other line."""
    match = _READY.match(line)
    if match is None:
        raise DemoError(f"a node said {line!r} where its ready line was expected")
    return match[1], match[2], match[3]


def show(text: str) -> None:
    """Say something to whoever watches, at once also through a pipe."""
    print(text, flush=True)


def explain(text: str) -> None:
    """Say what happens next, and why."""
    show(f"\n# {text}")


class Demo:
    """The demo: where its files are, and how it runs commands. `programs` holds `luna` and `luna-node`."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._nodes: list[Node] = []
        # A run directory of our own: commands see the nodes of this demo, and no others.
        self._environment = {
            **os.environ,
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "XDG_STATE_HOME": str(folder / "state"),
            "LUNA_CONNECT": NAMES[0],
            "NO_COLOR": "1",
        }

    async def play(self) -> None:
        """All of it, from start to stop. Raises DemoError at the first thing that does not happen."""
        explain("Three nodes start on this machine. Each is one operating system process: `luna-node start`.")
        # The process id keeps two demos on one machine apart.
        cluster = f"demo-{os.getpid()}"
        for name in NAMES:
            await self._start_node(name, cluster)
        await self._meet()

        explain("This is the cluster, as node a sees it (the star marks the node that is asked).")
        await self._luna("nodes")

        explain("A program runs on every node: it starts a child process, and both talk by messages.")
        show("# --node says where; --follow shows its output and ends with its exit code.")
        for name in NAMES:
            await self._luna("spawn", "--node", name, "--follow", "hello.wasm", expect=["the child says"])

        explain(
            "Now one program on all nodes. It starts on a, finds the others, and starts a worker on each."
        )
        show("# Node b and c do not have the program: node a ships it to them, once, by its hash.")
        show("# Process ids are good anywhere: messages go to the workers and back over the network.")
        show("# Then a worker on another node crashes, and its death comes back over the link.")
        show("# " + ", ".join(f"node {node.name} has the id {node.id}" for node in self._nodes) + ".")
        await self._luna(
            *("spawn", "--node", "a", "--follow", "cluster.wasm"),
            expect=[
                *(f"it runs on node {node.id}" for node in self._nodes),
                *(f"on node {node.id} for " for node in self._nodes),
                "its death came over the link",
                "the monitor told us that it ended",
            ],
        )

        explain("A process can be started at any exported function. This worker on b waits for orders.")
        output = await self._luna(
            *("spawn", "--node", "b", "--entry", "worker", "--param", "i64:0", "cluster.wasm"), expect=["@b"]
        )
        pid = output.strip()
        explain("Every node can list it and kill it; node a, which we ask, carries the request to b.")
        await self._luna("ps", expect=[pid])
        await self._luna("kill", pid, expect=[f"killed {pid}"])
        await self._wait_until_gone(pid)

        explain("The nodes stop when they are told to (SIGTERM), and tell their peers.")
        await self._stop_nodes()

    async def _start_node(self, name: str, cluster: str) -> None:
        command = ["luna-node", "start", "--name", name, "--listen", "127.0.0.1:0", "--cluster", cluster]
        show(f"$ {shlex.join(command)}")
        log = self._folder / f"{name}.log"
        with log.open("wb") as stderr:
            process = await trio.lowlevel.open_process(
                [str(self._programs / command[0]), *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=self._environment,
                start_new_session=True,  # Ctrl-C comes to us, and we stop the nodes
            )
        self._nodes.append(Node(name, "", "", process, log))
        line = ""
        with trio.move_on_after(READY_TIMEOUT_S):
            line = await _first_line(process)
        if not line:
            raise DemoError(f"node {name} did not start; its log is below")
        show(line.rstrip("\n"))
        said_name, node_id, address = parse_ready(line)
        if said_name != name:
            raise DemoError(f"node {name} calls itself {said_name}")
        self._nodes[-1] = Node(name, node_id, address, process, log)

    async def _meet(self) -> None:
        """Wait until every node knows all; where multicast does not work, introduce them by hand."""
        explain("The nodes find each other by multicast DNS on the loopback interface; nobody told them.")
        if await self._all_meet(DISCOVERY_TIMEOUT_S):
            show(f"# Found: all {len(NAMES)} nodes know each other.")
            return
        show(f"# Multicast does not work on this machine: nothing was found in {DISCOVERY_TIMEOUT_S:.0f} s.")
        show(
            "# So they are introduced by address; `luna-node start --join HOST:PORT` does the same at start."
        )
        for node in self._nodes[1:]:
            await self._luna("--connect", node.name, "join", self._nodes[0].address, expect=["a"])
        if not await self._all_meet(JOIN_TIMEOUT_S):
            raise DemoError("the nodes did not become one cluster")

    async def _all_meet(self, timeout_s: float) -> bool:
        async def all_met() -> bool:
            for node in self._nodes:
                data = await self._ask("--connect", node.name, "nodes")
                if {entry["name"] for entry in data["nodes"] if entry["state"] == "alive"} != set(NAMES):
                    return False
            return True

        return await _comes_true(all_met, timeout_s)

    async def _wait_until_gone(self, pid: str) -> None:
        async def gone() -> bool:
            return pid not in {entry["pid"] for entry in (await self._ask("ps"))["processes"]}

        if not await _comes_true(gone, COMMAND_TIMEOUT_S):
            raise DemoError(f"{pid} is still there after it was killed")

    async def _ask(self, *arguments: str) -> dict[str, list[dict[str, str]]]:
        """The data of a command's JSON document, for the demo's own checks; nothing is shown."""
        command = [str(self._programs / "luna"), *arguments, "--json"]
        done = await trio.run_process(
            command,
            env=self._environment,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            start_new_session=True,
        )
        if done.returncode != 0:
            raise DemoError(
                f"$ luna {shlex.join(arguments)} failed: {done.stderr.decode(errors='replace').strip()}"
            )
        data: dict[str, list[dict[str, str]]] = json.loads(done.stdout)["data"]
        return data

    async def _luna(self, *arguments: str, expect: Sequence[str] = ()) -> str:
        """Run a `luna` command, show it and its output as it comes, and return the output.

        Raises DemoError if it fails, takes too long, or says none of a text in `expect`.
        """
        show(f"$ luna {shlex.join(arguments)}")
        process = await trio.lowlevel.open_process(
            [str(self._programs / "luna"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=GUESTS,
            env=self._environment,
            start_new_session=True,
        )
        said = b""
        try:
            with trio.move_on_after(COMMAND_TIMEOUT_S) as scope:
                assert process.stdout is not None
                async for chunk in process.stdout:
                    said += chunk
                    sys.stdout.buffer.write(chunk)
                    sys.stdout.flush()
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
        if scope.cancelled_caught:
            raise DemoError(f"it took longer than {COMMAND_TIMEOUT_S:.0f} s")
        output = said.decode(errors="replace")
        if process.returncode != 0:
            raise DemoError(f"it ended with exit code {process.returncode}")
        for text in expect:
            if text not in output:
                raise DemoError(f"it did not say: {text}")
        return output

    async def _stop_nodes(self) -> None:
        """Stop the nodes the proper way. Raises DemoError for one that does not end with 0 in time."""
        for node in self._nodes:
            show(f"$ kill {node.process.pid}    # node {node.name}")
            node.process.terminate()
        for node in self._nodes:
            with trio.move_on_after(STOP_TIMEOUT_S):
                await node.process.wait()
            if node.process.returncode is None:
                raise DemoError(f"node {node.name} did not stop within {STOP_TIMEOUT_S:.0f} s")
            if node.process.returncode != 0:
                raise DemoError(f"node {node.name} ended with exit code {node.process.returncode}")
        show("# All nodes ended by themselves, with exit code 0.")

    async def clean_up(self) -> None:
        """End whatever still runs: asked first, killed in the end."""
        running = [node.process for node in self._nodes if node.process.poll() is None]
        for process in running:
            process.terminate()
        with trio.move_on_after(STOP_TIMEOUT_S):
            for process in running:
                await process.wait()
        for process in running:
            if process.poll() is None:
                process.kill()
                await process.wait()

    def show_logs(self) -> None:
        """The last lines every node logged, on stderr."""
        for node in self._nodes:
            lines = node.log.read_text(errors="replace").splitlines()
            print(f"\n--- the log of node {node.name}, last {LOG_LINES} lines", file=sys.stderr)
            print("\n".join(lines[-LOG_LINES:]) or "(empty)", file=sys.stderr)


async def _comes_true(condition: Callable[[], Awaitable[bool]], timeout_s: float) -> bool:
    """Whether `condition` comes true within `timeout_s`; it is about other processes, so it is polled."""
    with trio.move_on_after(timeout_s):
        while not await condition():  # noqa: ASYNC110 - other processes set no event of ours
            await trio.sleep(POLL_S)
        return True
    return False


async def _first_line(process: trio.Process) -> str:
    """What a process writes up to the first line end; empty if it writes none. The rest is left alone."""
    assert process.stdout is not None
    data = b""
    while not data.endswith(b"\n") and len(data) < MAX_LINE_BYTES:
        byte = await process.stdout.receive_some(1)
        if not byte:
            return ""
        data += byte
    return data.decode(errors="replace")


@asynccontextmanager
async def _opened(programs: Path) -> AsyncIterator[Demo]:
    """A demo with a folder of its own; in the end its nodes are stopped and the folder is removed."""
    # Short: the path of a unix socket has about 100 bytes.
    folder = Path(tempfile.mkdtemp(prefix="luna-demo-", dir="/tmp"))
    demo = Demo(programs, folder)
    try:
        yield demo
    except DemoError as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        demo.show_logs()
        raise
    finally:
        with trio.CancelScope(shield=True):
            await demo.clean_up()
        shutil.rmtree(folder, ignore_errors=True)


async def _cancel_on_terminate(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


async def _main(programs: Path) -> int:
    code = 128 + signal.SIGTERM
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_on_terminate, nursery.cancel_scope)
        try:
            async with _opened(programs) as demo:
                await demo.play()
            code = 0
            show("\nThat was Luna: one program, three nodes.")
        except DemoError:
            code = 1
        nursery.cancel_scope.cancel()
    return code


def main(programs: Path) -> int:
    """Play the demo with the `luna` and `luna-node` in `programs`; 0 if all of it happened."""
    try:
        return trio.run(_main, programs)
    except* KeyboardInterrupt:
        print("\ninterrupted; the nodes are stopped", file=sys.stderr)
    return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main(Path(sys.executable).parent))
