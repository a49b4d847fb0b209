"""The command line behind a test binary: the options of Rust's own harness, libtest, where they apply.

Positionals are filters, as cargo's users know them; what stands behind `--` are the tests' own arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, final

import click

__all__ = ["HelpRequested", "TestOptions", "parse_options"]

THREADS_VARIABLE: Final = "RUST_TEST_THREADS"
NOCAPTURE_VARIABLE: Final = "RUST_TEST_NOCAPTURE"
FORMATS: Final = ("pretty", "terse")
NOT_SUPPORTED: Final = {
    "--report-time": "it is an unstable option of Rust's own harness",
    "--ensure-time": "it is an unstable option of Rust's own harness",
    "--shuffle": "tests run at the same time, so that they have no order",
    "--shuffle-seed": "tests run at the same time, so that they have no order",
    "--fail-fast": "it is an unstable option of Rust's own harness",
    "--exclude-should-panic": "it is an unstable option of Rust's own harness",
    "--force-run-in-process": "every test is a process of its own",
    "--logfile": "redirect stdout instead",
}
"""options of libtest that are refused, and why"""


@final
@dataclass(frozen=True, slots=True)
class TestOptions:
    """What to run and how to show it."""

    __test__ = False  # for pytest, see TestCase

    filters: tuple[str, ...] = ()
    """a test runs if its name contains any, or equals it if `exact`; none: all run"""
    skips: tuple[str, ...] = ()
    """a test whose name contains one, or equals it if `exact`, does not run"""
    exact: bool = False
    ignored: Literal["no", "only", "too"] = "no"
    """whether to run the tests that are marked as ignored"""
    lists: bool = False
    """print the names and run nothing"""
    nocapture: bool = False
    """print what the tests print at once"""
    show_output: bool = False
    """print what passed tests printed, at the end"""
    terse: bool = False
    """a character for each test instead of a line"""
    color: Literal["auto", "always", "never"] = "auto"
    threads: int | None = None
    """tests that run at once; None: all of them"""
    directories: tuple[str, ...] = ()
    """directories the tests may use besides the current one"""
    arguments: tuple[str, ...] = ()
    """what the tests see as their command line"""


@final
class HelpRequested(Exception):
    """`--help` was given; the text is the message."""


def parse_options(arguments: Sequence[str], environment: Mapping[str, str], program: str) -> TestOptions:
    """Read what stands behind the test binary `program`.

    Raises click.UsageError, or HelpRequested.
    """
    own, guests = _split(arguments)
    context = click.Context(_COMMAND, info_name=f"luna run {program}", max_content_width=100)
    context.help_option_names = []
    with context:
        _COMMAND.parse_args(context, list(own))
    given = context.params
    if given["help"]:
        raise HelpRequested(_COMMAND.get_help(context))
    if given["ignored"] and given["include_ignored"]:
        raise click.UsageError("--include-ignored and --ignored exclude each other", context)
    return TestOptions(
        filters=given["filters"],
        skips=given["skip"],
        exact=given["exact"],
        ignored="only" if given["ignored"] else "too" if given["include_ignored"] else "no",
        lists=given["list"],
        nocapture=given["nocapture"] or environment.get(NOCAPTURE_VARIABLE, "0") != "0",
        show_output=given["show_output"],
        terse=given["format"] == "terse" or (given["format"] is None and given["quiet"]),
        color=given["color"],
        threads=given["test_threads"] or _threads(environment, context),
        directories=given["dir"],
        arguments=guests,
    )


def _split(arguments: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What stands before and behind the first `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return tuple(arguments[:end]), tuple(arguments[end + 1 :])


def _threads(environment: Mapping[str, str], context: click.Context) -> int | None:
    text = environment.get(THREADS_VARIABLE)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        raise click.UsageError(f"{THREADS_VARIABLE} is {text!r}, and should be a positive integer", context)
    return int(text)


def _format(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value in ("json", "junit"):
        raise click.BadParameter(
            "it is unstable in Rust's own harness and not supported here", context, parameter
        )
    if value is not None and value not in FORMATS:
        raise click.BadParameter(f"{value!r} is neither pretty nor terse", context, parameter)
    return value


def _refuse(context: click.Context, parameter: click.Parameter, value: object) -> object:
    if value:
        name = parameter.opts[0]
        raise click.UsageError(f"{name} is not supported: {NOT_SUPPORTED[name]}", context)
    return value


def _flag(*names: str, does: str) -> click.Option:
    return click.Option(names, is_flag=True, help=does)


_COMMAND: Final = click.Command(
    "test",
    context_settings={"allow_interspersed_args": True},
    add_help_option=False,
    options_metavar="[OPTIONS]",
    help="Run the tests of a binary that cargo built, those whose names contain any of FILTERS.",
    epilog="What stands behind -- are the arguments that the tests see.",
    params=[
        click.Argument(["filters"], nargs=-1, required=False),
        _flag("--include-ignored", does="Run ignored tests too."),
        _flag("--ignored", does="Run only ignored tests."),
        click.Option(
            ["--skip"],
            multiple=True,
            metavar="FILTER",
            help="Skip tests whose names contain FILTER. Repeatable.",
        ),
        _flag("--exact", does="Filters are whole names, not parts of names."),
        _flag("--list", does="List the tests and run none."),
        _flag("--nocapture", "--no-capture", does="Print what tests print at once."),
        _flag("--show-output", does="Print what passed tests printed, too."),
        click.Option(
            ["--test-threads"],
            type=click.IntRange(min=1),
            metavar="N",
            help="Tests to run at once (also RUST_TEST_THREADS). Default: all.",
        ),
        click.Option(
            ["--format"],
            callback=_format,
            metavar="pretty|terse",
            help="A line or a character for each test.",
        ),
        _flag("-q", "--quiet", does="The same as --format terse."),
        click.Option(
            ["--color"],
            type=click.Choice(["auto", "always", "never"]),
            default="auto",
            help="When to use colours; auto, the default: on a terminal.",
        ),
        click.Option(
            ["--dir"],
            multiple=True,
            metavar="DIR",
            help="A directory the tests may use besides the current one. Repeatable.",
        ),
        click.Option(["-Z"], multiple=True, metavar="FLAG", hidden=True),
        click.Option(["--test"], is_flag=True, hidden=True),
        *(
            click.Option(
                [name], callback=_refuse, hidden=True, is_flag=name not in ("--logfile", "--shuffle-seed")
            )
            for name in NOT_SUPPORTED
        ),
        _flag("-h", "--help", does="Show this."),
    ],
)
"""Parsed by hand and never run: the command is `luna run`."""
