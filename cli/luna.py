"""The `luna` command: entry point, global options, and the one place where errors become exit codes.

Imports neither gRPC nor the engine; commands import what they need when they run.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from luna.cli.app import App
from luna.cli.errors import ExitCode, describe, is_bug
from luna.cli.options import connect_option
from luna.cli.output import ReaderGoneError
from luna.cli.result import Result
from luna.cli.verbs import LunaGroup


def _show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from luna.proto.version import package_version

        click.echo(f"luna {package_version()}")
        ctx.exit()


@click.group(
    cls=LunaGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="The node asked is --connect, else $LUNA_CONNECT, else the one running on this machine. "
    "To start one: luna-node start.",
)
@connect_option
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Print the version.",
)
def root() -> None:
    """Run WebAssembly processes on this machine or on a cluster of Luna nodes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` (default: those of this process) and return its exit code.

    Exit codes are in docs/cli.md. Raises nothing but what the interpreter itself does.
    """
    app = App()
    try:
        outcome = root.main(
            args=None if arguments is None else list(arguments),
            prog_name="luna",
            standalone_mode=False,
            obj=app,
        )
        if isinstance(outcome, Result):
            app.output.result(outcome)
            return int(outcome.exit_code)
        return int(outcome or ExitCode.OK)  # --help and --version end with a number
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return ExitCode.USAGE
    except (BrokenPipeError, ReaderGoneError):
        _discard_output()
        return ExitCode.BROKEN_PIPE
    except (Exception, KeyboardInterrupt, BaseExceptionGroup) as error:
        if is_bug(error):
            traceback.print_exception(error)
        failure = describe(error)
        try:
            app.output.failure(failure)
        except BrokenPipeError:
            _discard_output()
        return int(failure.exit_code)


def _discard_output() -> None:
    """Drop what is still buffered for the reader that went away, so that exiting does not complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
