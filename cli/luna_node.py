"""The `luna-node` command: run one node in the foreground.

Owns its command line, its one line on stdout, its signals and its exit codes. The node itself is
`luna.node`, which is imported only when one is started.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from luna.cli.descriptors import raise_descriptor_limit
from luna.cli.errors import ExitCode, describe, is_bug
from luna.cli.log_filter import filter_from
from luna.cli.node_logging import FORMATS, LEVELS, set_up_logging, trace_of
from luna.proto.errors import LunaError
from luna.proto.limits import (
    FROZEN_PEER_TIMEOUT_S,
    MAX_NODE_TIMEOUT_S,
    MAX_THREADS,
    MIN_NODE_TIMEOUT_S,
    PROCESSES_CEILING,
    STOP_TIMEOUT_S,
)
from luna.proto.version import package_version

if TYPE_CHECKING:
    import trio

    from luna.node.config import NodeOptions
    from luna.node.node import Node
    from luna.proto.run_directory import NodeRecord
    from luna.scheduler.tracing import Trace

EXIT_EXPELLED = 3
"""The cluster took this node for dead. Starting it again is right: it joins with a new id."""

EXIT_FORCED = 4
"""The node did not stop within STOP_TIMEOUT_S and was cut off."""

_EXIT_CODES = f"""\b
Exit codes:
  0    stopped by a signal or by `luna leave`
  1    could not start, or was turned away by the cluster (the reason is on stderr)
  2    wrong command line
  {EXIT_EXPELLED}    expelled from the cluster, or left it: start it again
  {EXIT_FORCED}    did not stop in {STOP_TIMEOUT_S:.0f} s and was cut off
  130  a second Ctrl-C (143: a second SIGTERM) cut it off at once
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_version(), prog_name="luna-node")
def main() -> None:
    """Run a Luna node on this machine."""


@main.command(epilog=_EXIT_CODES)
@click.option("--name", help="Name in the cluster.  [default: the host's name]")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help="Where to serve; port 0 picks a free one.  [default: 127.0.0.1:7010, or the next free port]",
)
@click.option(
    "--join",
    metavar="HOST:PORT",
    multiple=True,
    help="A node of the cluster to join; repeat for more. Tried again for as long as it does not answer.",
)
@click.option(
    "--state",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory for modules, compiled code and the control socket.  "
    "[default: ${XDG_STATE_HOME:-~/.local/state}/luna/NAME]",
)
@click.option(
    "--cluster", default="luna", show_default=True, help="Only nodes of one cluster join each other."
)
@click.option(
    "--label", metavar="KEY=VALUE", multiple=True, help="A label to place processes by; repeatable."
)
@click.option("--no-discovery", is_flag=True, help="Neither announce this node nor look for others by mDNS.")
@click.option(
    "--insecure",
    is_flag=True,
    help="Allow addresses beyond this machine. Traffic is NOT encrypted, and whoever can connect "
    "controls the node.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, MAX_THREADS),
    metavar="N",
    help="Threads that run processes.  [default: one for each core]",
)
@click.option(
    "--max-processes",
    type=click.IntRange(1, PROCESSES_CEILING),
    metavar="N",
    help="Processes alive at once; what would start one more is refused.  [default: 1100000]",
)
@click.option(
    "--module-cache",
    metavar="SIZE",
    help="Most disk space for modules, such as 512MiB; those used least recently go first.  [default: 1GiB]",
)
@click.option(
    "--node-timeout",
    type=click.FloatRange(MIN_NODE_TIMEOUT_S, MAX_NODE_TIMEOUT_S),
    default=FROZEN_PEER_TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long another node may answer nothing before it counts as dead.",
)
@click.option(
    "--metrics",
    metavar="HOST:PORT",
    help="Where to serve metrics to Prometheus, at /metrics, to whoever can connect.  [default: nowhere]",
)
@click.option("--log-format", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True)
def start(
    name: str | None,
    listen: str | None,
    join: tuple[str, ...],
    state: Path | None,
    cluster: str,
    label: tuple[str, ...],
    no_discovery: bool,
    insecure: bool,
    threads: int | None,
    max_processes: int | None,
    node_timeout: float,
    module_cache: str | None,
    metrics: str | None,
    log_format: str,
    log_level: str,
) -> None:
    """Start a node and run it until it is stopped.

    Prints one line `ready name=... id=... listen=...` on stdout when it serves; the log goes to
    stderr; LUNA_LOG in the environment chooses what is in it besides --log-level, also what processes do.
    SIGINT and SIGTERM stop it cleanly and tell the other nodes; a second one stops it at once.
    """
    log_filter = filter_from(os.environ, log_level)
    set_up_logging(log_format, log_filter)
    try:
        options = _options(
            name,
            listen,
            join,
            state,
            cluster,
            label,
            discovery=not no_discovery,
            insecure=insecure,
            threads=threads,
            max_processes=max_processes,
            node_timeout_s=node_timeout,
            module_cache=module_cache,
            metrics=metrics,
            trace=trace_of(log_filter, as_json=log_format == "json"),
        )
    except LunaError as error:
        raise click.UsageError(f"{error.message}\n{error.hint}" if error.hint else error.message) from None
    raise_descriptor_limit()
    sys.exit(_run(options))


def _options(
    name: str | None,
    listen: str | None,
    join: tuple[str, ...],
    state: Path | None,
    cluster: str,
    label: tuple[str, ...],
    *,
    discovery: bool,
    insecure: bool,
    threads: int | None,
    max_processes: int | None,
    node_timeout_s: float,
    module_cache: str | None,
    metrics: str | None,
    trace: Trace | None,
) -> NodeOptions:
    from luna.cli.params import parse_size
    from luna.node.config import NodeOptions, parse_address, parse_labels

    return NodeOptions(
        name=name,
        listen=None if listen is None else parse_address(listen),
        join=tuple(parse_address(address) for address in join),
        state=state,
        cluster=cluster,
        labels=parse_labels(label),
        discovery=discovery,
        insecure=insecure,
        threads=threads,
        max_processes=max_processes,
        node_timeout_s=node_timeout_s,
        module_cache_bytes=None if module_cache is None else parse_size(module_cache),
        metrics=None if metrics is None else parse_address(metrics),
        trace=trace,
    )


def _run(options: NodeOptions) -> int:
    import trio

    if options.insecure:
        click.secho(
            "warning: --insecure: traffic between nodes is not encrypted, and whoever can connect to "
            "this node controls it and can run programs on this machine",
            fg="red",
            bold=True,
            err=True,
        )
    watchdog = _Watchdog()
    try:
        trio.run(_run_until_stopped, options, watchdog)
    except BaseException as error:
        if is_bug(error):
            raise
        failure = describe(error)
        click.echo(f"luna-node: {failure.message}", err=True)
        if failure.hint:
            click.echo(f"hint: {failure.hint}", err=True)
        return EXIT_EXPELLED if failure.kind == "stale" else failure.exit_code
    finally:
        watchdog.done()
    return ExitCode.OK


async def _run_until_stopped(options: NodeOptions, watchdog: _Watchdog) -> None:
    import trio

    from luna.node.node import Node, run_node

    node = Node()
    async with trio.open_nursery() as nursery:
        await nursery.start(_watch_signals, node)
        nursery.start_soon(_watch_stop, node, watchdog)
        await run_node(options, node=node, on_ready=_say_ready)
        nursery.cancel_scope.cancel()


async def _watch_signals(node: Node, task_status: trio.TaskStatus[None]) -> None:
    import trio

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        first = True
        async for number in signals:
            if not first:
                # Whatever hangs would hang again: no clean-up, the kernel closes everything.
                os._exit(128 + number)
            first = False
            node.stop(f"{signal.Signals(number).name} received")


async def _watch_stop(node: Node, watchdog: _Watchdog) -> None:
    await node.wait_stopping()
    watchdog.start()


def _say_ready(record: NodeRecord) -> None:
    try:
        print(f"ready name={record.name} id={record.id} listen={record.listen}", flush=True)
    except OSError:
        pass  # nobody reads it; the node serves all the same


class _Watchdog:
    """Ends the process when stopping takes longer than it may. A thread, since it is for when trio hangs."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def start(self) -> None:
        """Begin to count STOP_TIMEOUT_S."""
        self._timer = threading.Timer(STOP_TIMEOUT_S, self._cut_off)
        self._timer.daemon = True
        self._timer.start()

    def done(self) -> None:
        """The node has stopped in time."""
        if self._timer is not None:
            self._timer.cancel()

    def _cut_off(self) -> None:
        sys.stderr.write(f"luna-node: the node did not stop in {STOP_TIMEOUT_S:.0f} s and is cut off\n")
        sys.stderr.flush()
        os._exit(EXIT_FORCED)
