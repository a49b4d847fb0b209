"""`luna run`: run a program in this process, on a runtime without a cluster; or the tests cargo has built."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import click

from luna.cli.app import App
from luna.cli.following import Exit, shell_code
from luna.cli.local_runtime import guest_config, run_on_runtime, stdout_on_stderr
from luna.cli.module_file import module_name, read_module
from luna.cli.options import VARIABLE, Parsed, Verb, allow_option, json_option
from luna.cli.params import check_unicode
from luna.cli.result import NOTHING, Line, Result
from luna.cli.testing.binary import BENCH, find_tests, is_built_by_cargo_test
from luna.cli.testing.mode import TestResult, run_tests

if TYPE_CHECKING:
    from luna.node.config import Address
    from luna.scheduler.config import ProcessConfig
    from luna.scheduler.runtime import Runtime


def _parse_listen(text: str) -> Address:
    from luna.node.config import parse_address

    return parse_address(text)


LISTEN = Parsed("host:port", _parse_listen)


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
@allow_option
@click.option(
    "--metrics",
    metavar="HOST:PORT",
    type=LISTEN,
    help="Where to serve metrics to Prometheus while the program runs, at /metrics; port 0 picks a free one.",
)
@click.option(BENCH, "bench", is_flag=True, help="Give the program --bench as its last argument.")
@json_option
@click.argument("file")
@click.argument("arguments", nargs=-1, metavar="[ARGS]...", type=click.UNPROCESSED)
@click.pass_obj
def command(
    app: App,
    directories: tuple[str, ...],
    variables: tuple[tuple[str, str], ...],
    allowed: tuple[str, ...],
    metrics: Address | None,
    bench: bool,
    file: str,
    arguments: tuple[str, ...],
) -> RunResult | TestResult:
    """Run the program FILE (.wasm or .wat) and exit with its exit code; 1 if it traps.

    What stands behind FILE are the program's own arguments. Processes it started end with it. With --json
    its stdout goes to stderr, so that stdout holds the document alone.

    As the runner of cargo test (see luna init) it runs the tests of FILE; for its options then, see
    cargo test -- --help.
    """
    if bench:
        arguments = (*arguments, BENCH)
    check_unicode((*arguments, *directories, *(text for pair in variables for text in pair)))
    module = read_module(file)
    if is_built_by_cargo_test(os.environ, file, arguments):
        tests = find_tests(module)
        # Without any it is the binary of plain #[test] functions, which holds Rust's own harness as its main
        # function; that one runs them, and also says that there are none.
        if tests:
            return run_tests(app, file, module, tests, arguments, directories, dict(variables), allowed)
    name = module_name(file)
    config = guest_config(directories, dict(variables), (name, *arguments), allowed)
    with stdout_on_stderr() if app.output.json else nullcontext():
        return RunResult(file, run_on_runtime(_Program(module, name, config, metrics)))


@dataclass(frozen=True, slots=True)
class _Program:
    data: bytes
    name: str
    config: ProcessConfig
    metrics: Address | None

    async def __call__(self, runtime: Runtime) -> Exit:
        if self.metrics is None:
            return await self._run(runtime)
        import trio

        from luna.node.metrics import MetricsPage
        from luna.node.metrics_server import PATH, start_metrics_server

        async with trio.open_nursery() as nursery:
            page = MetricsPage(runtime, {})
            address = await start_metrics_server(nursery, self.metrics, page.render)
            click.echo(f"luna: metrics at http://{address}{PATH.decode()}", err=True)
            end = await self._run(runtime)
            nursery.cancel_scope.cancel()
        return end

    async def _run(self, runtime: Runtime) -> Exit:
        module = await runtime.load_module(self.data, self.name)
        config = self.config
        if not module.meaning.names_program:
            config = replace(config, arguments=config.arguments[1:])
        pid = await runtime.spawn(module, config=config, output="inherit", quiet=True)
        status = await runtime.wait_exit(pid)
        return Exit(status.kind.name.lower(), status.code, status.reason)
