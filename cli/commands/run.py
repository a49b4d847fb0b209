"""`luna run`: run a program in this process, on a runtime without a cluster."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import click

from luna.cli.app import App
from luna.cli.descriptors import raise_descriptor_limit
from luna.cli.following import Exit, shell_code
from luna.cli.module_file import module_name, read_module
from luna.cli.options import VARIABLE, Verb, json_option
from luna.cli.params import check_unicode, is_unicode
from luna.cli.result import NOTHING, Line, Result

if TYPE_CHECKING:
    import trio

    from luna.scheduler.config import ProcessConfig


@dataclass(frozen=True, slots=True)
class RunResult(Result):
    """How the program ended."""

    schema: ClassVar[str] = "luna.run/1"
    file: str
    exit: Exit

    def data(self) -> Mapping[str, object]:
        """`file` and `exit`."""
        return {"file": self.file, "exit": self.exit.data()}

    def view(self) -> Line:
        """Nothing: stdout is the program's."""
        return NOTHING

    def notes(self) -> tuple[str, ...]:
        """Why it died, unless its exit code says so."""
        remark = self.exit.remark()
        return () if remark is None else (f"{self.file}: {remark}",)

    @property
    def exit_code(self) -> int:
        """That of the program."""
        return shell_code(self.exit.code)


@click.command("run", cls=Verb, context_settings={"allow_interspersed_args": False})
@click.option(
    "--dir",
    "directories",
    multiple=True,
    metavar="DIR",
    help="A directory the program may use besides the current one, under the same name. Repeatable.",
)
@click.option(
    "--env",
    "variables",
    multiple=True,
    metavar="NAME=VALUE",
    type=VARIABLE,
    help="An environment variable, besides those of this shell. Repeatable.",
)
@json_option
@click.argument("file")
@click.argument("arguments", nargs=-1, metavar="[ARGS]...", type=click.UNPROCESSED)
@click.pass_obj
def command(
    app: App,
    directories: tuple[str, ...],
    variables: tuple[tuple[str, str], ...],
    file: str,
    arguments: tuple[str, ...],
) -> RunResult:
    """Run the program FILE (.wasm or .wat) and exit with its exit code; 1 if it traps.

    What stands behind FILE are the program's own arguments. Processes it started end with it. With --json
    its stdout goes to stderr, so that stdout holds the document alone.
    """
    check_unicode((*arguments, *directories, *(text for pair in variables for text in pair)))
    module = read_module(file)
    environment = host_environment(os.environ) | dict(variables)
    with _stdout_on_stderr() if app.output.json else nullcontext():
        return RunResult(file, _run(module, module_name(file), arguments, environment, directories))


def host_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of this process that a guest can read: WebAssembly programs expect UTF-8."""
    return {name: value for name, value in environment.items() if is_unicode(name + value)}


def _run(
    module: bytes,
    name: str,
    arguments: tuple[str, ...],
    environment: Mapping[str, str],
    directories: tuple[str, ...],
) -> Exit:
    import trio

    from luna.scheduler.config import ProcessConfig

    config = ProcessConfig.program(
        preopens=((".", "."), *((path, path) for path in directories)),
        arguments=(name, *arguments),
        environment_variables=environment.items(),
    )
    raise_descriptor_limit()
    return trio.run(_run_to_end, module, name, config)


async def _run_to_end(data: bytes, name: str, config: ProcessConfig) -> Exit:
    """Run the program to its end. Raises KeyboardInterrupt, after everything has stopped, on Ctrl-C.

    The signal is waited for: Python would raise KeyboardInterrupt between any two steps of whatever task is
    running, the event loop's own code included.
    """
    import trio

    from luna.scheduler.runtime import open_runtime

    ends: list[Exit] = []
    async with trio.open_nursery() as nursery:
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # a job in the background stays one
            await nursery.start(_cancel_at_interruption, nursery.cancel_scope)
        async with open_runtime(node_id=0) as runtime:
            module = await runtime.load_module(data, name)
            pid = await runtime.spawn(module, config=config, output="inherit")
            status = await runtime.wait_exit(pid)
            ends.append(Exit(status.kind.name.lower(), status.code, status.reason))
        nursery.cancel_scope.cancel()
    if not ends:
        raise KeyboardInterrupt
    return ends[0]


async def _cancel_at_interruption(scope: trio.CancelScope, *, task_status: trio.TaskStatus[None]) -> None:
    import trio

    with trio.open_signal_receiver(signal.SIGINT) as interruptions:
        task_status.started()
        async for _ in interruptions:
            scope.cancel()


@contextmanager
def _stdout_on_stderr() -> Iterator[None]:
    """Send what the program writes to stdout to stderr: guests write to the descriptor, not to sys.stdout."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
