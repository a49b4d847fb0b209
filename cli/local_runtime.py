"""A runtime inside this command, without a cluster: what `luna run` runs programs and tests on.

Owns how it is opened, how Ctrl-C ends it, and what its guests get of this process: variables, directories,
and the stdout that a JSON document needs for itself.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from luna.cli.code_folder import code_folder
from luna.cli.descriptors import raise_descriptor_limit
from luna.cli.params import is_unicode

if TYPE_CHECKING:
    import trio

    from luna.scheduler.config import ProcessConfig
    from luna.scheduler.runtime import Runtime
    from luna.scheduler.tracing import Trace

__all__ = ["guest_config", "host_environment", "run_on_runtime", "stdout_on_stderr"]

T = TypeVar("T")


def host_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of this process that a guest can read: WebAssembly programs expect UTF-8."""
    return {name: value for name, value in environment.items() if is_unicode(name + value)}


def guest_config(
    directories: tuple[str, ...],
    variables: Mapping[str, str],
    arguments: tuple[str, ...],
    allowed: tuple[str, ...],
) -> ProcessConfig:
    """The config of a program started here: all rights, `.` and `directories` under their own names.

    It may make the host calls whose names begin with one of `allowed`; all, if there is none.
    """
    from luna.scheduler.config import ProcessConfig

    return ProcessConfig.program(
        preopens=((".", "."), *((path, path) for path in directories)),
        arguments=arguments,
        environment_variables=(host_environment(os.environ) | dict(variables)).items(),
        namespaces=allowed or None,
    )


def run_on_runtime(function: Callable[[Runtime], Awaitable[T]], log_level: str = "warn") -> T:
    """What `function` returns when it is given a runtime, which ends with it, and all processes too.

    What is logged from `log_level` on, unless LUNA_LOG says otherwise, goes to stderr. Raises
    KeyboardInterrupt, after everything has stopped, on Ctrl-C; else what `function` raises.
    """
    import trio

    from luna.cli.log_filter import filter_from
    from luna.cli.node_logging import set_up_program_logging, trace_of

    log_filter = filter_from(os.environ, log_level)
    set_up_program_logging(log_filter)
    raise_descriptor_limit()
    return trio.run(_run_to_end, function, trace_of(log_filter))


async def _run_to_end(function: Callable[[Runtime], Awaitable[T]], trace: Trace | None) -> T:
    """The signal is waited for: Python would raise KeyboardInterrupt between any two steps of whatever task
    is running, the event loop's own code included.
    """
    import trio

    from luna.scheduler.runtime import open_runtime

    results: list[T] = []
    async with trio.open_nursery() as nursery:
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # a job in the background stays one
            await nursery.start(_cancel_at_interruption, nursery.cancel_scope)
        folder = code_folder(os.environ, os.getuid())
        async with open_runtime(node_id=0, cache_dir=folder, trace=trace) as runtime:
            results.append(await function(runtime))
        nursery.cancel_scope.cancel()
    if not results:
        raise KeyboardInterrupt
    return results[0]


async def _cancel_at_interruption(scope: trio.CancelScope, *, task_status: trio.TaskStatus[None]) -> None:
    import trio

    with trio.open_signal_receiver(signal.SIGINT) as interruptions:
        task_status.started()
        async for _ in interruptions:
            scope.cancel()


@contextmanager
def stdout_on_stderr() -> Iterator[None]:
    """Send what is written to stdout to stderr: guests write to the descriptor, not to sys.stdout."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
