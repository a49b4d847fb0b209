"""`luna spawn`: start a process on a node of the cluster, and follow it if asked to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import click

from luna.cli.app import App
from luna.cli.errors import ExitCode
from luna.cli.following import Transcript, receive, shell_code
from luna.cli.module_file import module_name, read_module
from luna.cli.options import (
    FUEL,
    NODE_NAME,
    PARAMETER,
    SIZE,
    VARIABLE,
    Verb,
    allow_option,
    connect_option,
    json_option,
)
from luna.cli.params import Parameter, ProcessName, check_unicode
from luna.cli.result import NOTHING, Line, Result
from luna.proto.errors import NotFoundError
from luna.proto.limits import MODULE_CHUNK_BYTES

if TYPE_CHECKING:
    from luna.cli.client import Client
    from luna.proto import control_pb2, node_pb2

MAX_MEMORY_BYTES = 2**32 - 1
"""bytes; the memory a process may use unless --max-memory says otherwise: all that 32-bit addresses reach."""

WASM_MAGIC = b"\0asm"


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be started: everything but the module's bytes."""

    node: str
    name: str
    entry: str
    parameters: tuple[Parameter, ...]
    arguments: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]
    directories: tuple[str, ...]
    allowed: tuple[str, ...]
    max_memory_bytes: int
    max_fuel: int
    follow: bool


@dataclass(frozen=True, slots=True)
class SpawnResult(Result):
    """The new process; with `transcript` if it was followed."""

    schema: ClassVar[str] = "luna.spawn/1"
    pid: str
    absolute_pid: int
    node: str
    module: str
    transcript: Transcript | None = None
    interrupted: bool = False

    def data(self) -> Mapping[str, object]:
        """`pid`, `absolute_pid`, `node`, `module`; followed also `output`, `dropped_bytes` and `exit`."""
        data: dict[str, object] = {
            "pid": self.pid,
            "absolute_pid": str(self.absolute_pid),
            "node": self.node,
            "module": self.module,
        }
        return data if self.transcript is None else data | self.transcript.data()

    def view(self) -> Line:
        """The pid. Of a followed process stdout holds its output, and nothing else."""
        return Line(self.pid) if self.transcript is None else NOTHING

    def notes(self) -> tuple[str, ...]:
        """What is missing, and why a followed process died, or that it goes on."""
        if self.transcript is None:
            return ()
        lost = self.transcript.remarks()
        if self.interrupted:
            return (*lost, f"stopped following; {self.pid} goes on (luna logs --follow {self.pid})")
        remark = self.transcript.exit.remark() if self.transcript.exit is not None else None
        return lost if remark is None else (*lost, f"{self.pid}: {remark}")

    @property
    def exit_code(self) -> int:
        """That of the process if it was followed to its end."""
        if self.interrupted:
            return ExitCode.INTERRUPTED
        end = self.transcript.exit if self.transcript is not None else None
        return ExitCode.OK if end is None else shell_code(end.code)


@click.command("spawn", cls=Verb, context_settings={"allow_interspersed_args": False})
@click.option(
    "--node", default="", metavar="NAME", type=NODE_NAME, help="Where (default: the node that is asked)."
)
@click.option("--entry", default="", metavar="FN", help="The exported function to run (default: _start).")
@click.option(
    "--param",
    "parameters",
    multiple=True,
    metavar="TYPE:VALUE",
    type=PARAMETER,
    help="A parameter of the entry function, such as i32:5, i64:-1 or v128:0xff. Repeatable.",
)
@click.option(
    "--arg", "first", multiple=True, metavar="ARG", help="A program argument, before ARGS. Repeatable."
)
@click.option(
    "--env",
    "variables",
    multiple=True,
    metavar="NAME=VALUE",
    type=VARIABLE,
    help="An environment variable; those of this shell are not passed on. Repeatable.",
)
@click.option(
    "--dir",
    "directories",
    multiple=True,
    metavar="DIR",
    help="A directory of the node's machine the process may use, under the same name. Repeatable.",
)
@allow_option
@click.option(
    "--max-memory",
    type=SIZE,
    default=MAX_MEMORY_BYTES,
    metavar="SIZE",
    help="Most memory, such as 64MiB (default: 4GiB).",
)
@click.option(
    "--max-fuel",
    type=FUEL,
    default=0,
    metavar="N",
    help="Most computation, in units of 100 000 instructions (default: 0, no limit).",
)
@click.option("-f", "--follow", is_flag=True, help="Stream its output, and exit with its exit code.")
@json_option
@connect_option
@click.argument("file")
@click.argument("rest", nargs=-1, metavar="[ARGS]...", type=click.UNPROCESSED)
@click.pass_obj
def command(
    app: App,
    node: str,
    entry: str,
    parameters: tuple[Parameter, ...],
    first: tuple[str, ...],
    variables: tuple[tuple[str, str], ...],
    directories: tuple[str, ...],
    allowed: tuple[str, ...],
    max_memory: int,
    max_fuel: int,
    follow: bool,
    file: str,
    rest: tuple[str, ...],
) -> SpawnResult:
    """Start a process of the module FILE (.wasm or .wat) and print its pid as SERIAL@NODE.

    What stands behind FILE are the program's own arguments. Ctrl-C under --follow stops following; the
    process goes on.
    """
    check_unicode((entry, *first, *rest, *directories, *(text for pair in variables for text in pair)))
    name = module_name(file)
    module = read_module(file)
    order = Order(
        node,
        name,
        entry,
        parameters,
        (name, *first, *rest),
        variables,
        directories,
        allowed,
        max_memory,
        max_fuel,
        follow,
    )
    with app.client() as client:
        process = _spawn(client, order, module)
        pid = f"{process.serial}@{process.node}"
        if not follow:
            return SpawnResult(pid, process.pid, process.node, name)
        if not app.output.json:
            app.output.note(f"spawned {pid}")
        transcript = Transcript()
        interrupted = False
        try:
            receive(client, ProcessName(text=pid, pid=process.pid), True, app.output, transcript)
        except KeyboardInterrupt:
            interrupted = True
        return SpawnResult(pid, process.pid, process.node, name, transcript, interrupted)


def _spawn(client: Client, order: Order, module: bytes) -> control_pb2.ProcessRef:
    """Start the process; a large module is sent only if the node lacks it."""
    # One chunk costs less than the question. Text has the hash of what is compiled from it, unknown here.
    if len(module) > MODULE_CHUNK_BYTES and module.startswith(WASM_MAGIC):
        try:
            return client.spawn(spawn_requests(order, b"", hashlib.sha256(module).digest())).process
        except NotFoundError:
            pass  # the module, or else the node, which the next request says again
    return client.spawn(spawn_requests(order, module)).process


def spawn_requests(
    order: Order, module: bytes, sha256: bytes = b""
) -> Iterator[control_pb2.SpawnProcessRequest]:
    """The messages of a SpawnProcess request: the spec, then the module in chunks or, with its hash, none."""
    from luna.proto import control_pb2

    yield control_pb2.SpawnProcessRequest(
        spec=control_pb2.SpawnSpec(
            node=order.node,
            module_name=order.name,
            entry=order.entry,
            params=_params(order.parameters),
            config=_config(order),
            module=sha256,
            follow=order.follow,
        )
    )
    for offset in range(0, len(module), MODULE_CHUNK_BYTES):
        yield control_pb2.SpawnProcessRequest(data=module[offset : offset + MODULE_CHUNK_BYTES])


def _params(parameters: Sequence[Parameter]) -> list[node_pb2.Param]:
    from luna.proto import node_pb2

    made = {
        "i32": lambda parameter: node_pb2.Param(i32=parameter.value),
        "i64": lambda parameter: node_pb2.Param(i64=parameter.value),
        "v128": lambda parameter: node_pb2.Param(v128=parameter.v128_bytes()),
    }
    return [made[parameter.kind](parameter) for parameter in parameters]


def _config(order: Order) -> node_pb2.ProcessConfig:
    """The rights of a program (as of `luna run`), within the limits that were asked for."""
    from luna.proto import node_pb2

    return node_pb2.ProcessConfig(
        max_memory_bytes=order.max_memory_bytes,
        max_fuel=order.max_fuel,
        can_compile_modules=True,
        can_create_configs=True,
        can_spawn_processes=True,
        # The node's current directory is not ours, so a relative path means ours.
        preopens=[
            node_pb2.Preopen(guest=path, host=str(Path(path).absolute())) for path in order.directories
        ],
        arguments=order.arguments,
        environment_variables=[node_pb2.Variable(key=key, value=value) for key, value in order.variables],
        namespaces=node_pb2.Namespaces(prefixes=order.allowed) if order.allowed else None,
    )
