"""The options and value types that commands share, and the class of all verbs.

Turns the pure parsers of `params.py` into click types. Imports nothing heavy: `luna --help` loads it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from luna.cli.app import App
from luna.cli.params import (
    parse_address,
    parse_allowed,
    parse_fuel,
    parse_parameter,
    parse_process,
    parse_size,
    parse_variable,
)
from luna.proto.errors import InvalidError
from luna.proto.ids import check_name

# Newer versions of click have it generic, older ones cannot be subscripted.
if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType


class Parsed(_ParamType):
    """A click type made of a parser that raises InvalidError."""

    def __init__(self, name: str, parse: Callable[[str], object]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The parsed value; what is already parsed stays as it is."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except InvalidError as error:
            self.fail(f"{error.message}: {error.hint}" if error.hint else error.message, param, ctx)


def _address_text(text: str) -> str:
    parse_address(text)
    return text


def _node_name(text: str) -> str:
    return check_name(text) if text else ""


PARAMETER = Parsed("type:value", parse_parameter)
SIZE = Parsed("size", parse_size)
FUEL = Parsed("fuel", parse_fuel)
VARIABLE = Parsed("name=value", parse_variable)
PROCESS = Parsed("pid", parse_process)
ADDRESS = Parsed("host:port", _address_text)
ALLOWED = Parsed("prefix", parse_allowed)
NODE_NAME = Parsed("name", _node_name)


class Verb(click.Command):
    """A verb of `luna`. A usage error of a command line that asks for JSON is answered in JSON too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does; the option --json itself may stand behind what cannot be parsed."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.UsageError:
            end = given.index("--") if "--" in given else len(given)
            if "--json" in given[:end]:
                ctx.find_root().ensure_object(App).output.json = True
            raise


def _set_json(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.find_root().ensure_object(App).output.json = True


def _set_connect(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.find_root().ensure_object(App).connect = value


json_option = click.option(
    "--json", is_flag=True, expose_value=False, callback=_set_json, help="Print one JSON document on stdout."
)

allow_option = click.option(
    "--allow",
    "allowed",
    multiple=True,
    metavar="PREFIX",
    type=ALLOWED,
    help="Let the program make only host calls whose name begins with PREFIX, such as lunatic::message:: "
    "(default: all). Repeatable.",
)

connect_option = click.option(
    "--connect",
    metavar="NODE",
    expose_value=False,
    callback=_set_connect,
    help="The node to ask: unix:PATH, HOST:PORT, or the name of a node on this machine (also LUNA_CONNECT).",
)
