"""Between protobuf messages and the values of the scheduler: configs, parameters, exits; and events.

Every value that came over a wire is checked here against the limits before the scheduler sees it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from luna.node.events import ClusterEvent
from luna.proto import control_pb2, node_pb2
from luna.proto.errors import InvalidError
from luna.proto.limits import (
    MAX_ARGUMENT_BYTES,
    MAX_ARGUMENTS,
    MAX_ARGUMENTS_BYTES,
    MAX_ENTRY_BYTES,
    MAX_NAMESPACES,
    MAX_PARAMS,
    MAX_PREOPENS,
)
from luna.scheduler import ExitStatus
from luna.scheduler.config import Param, ProcessConfig


def config_to_proto(config: ProcessConfig) -> node_pb2.ProcessConfig:
    """The wire form of a process's config."""
    return node_pb2.ProcessConfig(
        max_memory_bytes=config.max_memory_bytes,
        max_fuel=config.max_fuel,
        can_compile_modules=config.can_compile_modules,
        can_create_configs=config.can_create_configs,
        can_spawn_processes=config.can_spawn_processes,
        preopens=[node_pb2.Preopen(guest=guest, host=host) for guest, host in config.preopens],
        arguments=config.arguments,
        environment_variables=[
            node_pb2.Variable(key=key, value=value) for key, value in config.environment_variables
        ],
        namespaces=None if config.namespaces is None else node_pb2.Namespaces(prefixes=config.namespaces),
    )


def config_from_proto(message: node_pb2.ProcessConfig) -> ProcessConfig:
    """The config that a peer or a command sent. Raises InvalidError if it breaks a limit."""
    variables = [(variable.key, variable.value) for variable in message.environment_variables]
    _check_texts("arguments", message.arguments)
    _check_texts("environment variables", [f"{key}={value}" for key, value in variables])
    _check_texts("directories", [path for each in message.preopens for path in (each.guest, each.host)])
    if len(message.preopens) > MAX_PREOPENS:
        raise InvalidError(f"{len(message.preopens)} directories are more than the limit of {MAX_PREOPENS}")
    prefixes = message.namespaces.prefixes
    _check_texts("namespaces", prefixes)
    if len(prefixes) > MAX_NAMESPACES:
        raise InvalidError(f"{len(prefixes)} namespaces are more than the limit of {MAX_NAMESPACES}")
    return ProcessConfig(
        max_memory_bytes=message.max_memory_bytes,
        max_fuel=message.max_fuel,
        can_compile_modules=message.can_compile_modules,
        can_create_configs=message.can_create_configs,
        can_spawn_processes=message.can_spawn_processes,
        preopens=tuple((preopen.guest, preopen.host) for preopen in message.preopens),
        arguments=tuple(message.arguments),
        environment_variables=tuple(variables),
        namespaces=tuple(prefixes) if message.HasField("namespaces") else None,
    )


def check_entry(entry: str) -> str:
    """`entry` itself if an entry function can have that name. Raises InvalidError."""
    if "\0" in entry:
        raise InvalidError("the name of an entry function cannot contain a zero byte")
    if len(entry.encode(errors="surrogatepass")) > MAX_ENTRY_BYTES:
        raise InvalidError(f"the name of the entry function is longer than {MAX_ENTRY_BYTES} bytes")
    return entry


def params_from_proto(messages: Sequence[node_pb2.Param]) -> list[Param]:
    """The parameters that a peer or a command sent. Raises InvalidError."""
    if len(messages) > MAX_PARAMS:
        raise InvalidError(f"{len(messages)} parameters are more than the limit of {MAX_PARAMS}")
    params: list[Param] = []
    for message in messages:
        match message.WhichOneof("value"):
            case "i32":
                params.append(Param.i32(message.i32))
            case "i64":
                params.append(Param.i64(message.i64))
            case "v128" if len(message.v128) == 16:
                params.append(Param.v128(message.v128))
            case _:
                raise InvalidError("a parameter has no value, or is none of i32, i64 and v128")
    return params


def event_to_proto(event: ClusterEvent) -> control_pb2.ClusterEvent:
    """The wire form of something that happened."""
    return control_pb2.ClusterEvent(
        sequence=event.sequence,
        time_ms=event.time_ms,
        kind=event.kind,
        node=event.node,
        node_id=event.node_id,
        detail=event.detail,
    )


def exit_to_proto(status: ExitStatus) -> control_pb2.ProcessExit:
    """The wire form of how a process ended."""
    return control_pb2.ProcessExit(
        kind=node_pb2.ExitKind.Name(int(status.kind)), code=status.code, reason=status.reason
    )


def _check_texts(what: str, texts: Iterable[str]) -> None:
    count = total = 0
    for text in texts:
        count += 1
        size = len(text.encode(errors="surrogatepass"))
        total += size
        if size > MAX_ARGUMENT_BYTES:
            raise InvalidError(f"one of the {what} is longer than {MAX_ARGUMENT_BYTES} bytes")
        if "\0" in text:
            raise InvalidError(f"one of the {what} holds a zero byte")
    if count > MAX_ARGUMENTS or total > MAX_ARGUMENTS_BYTES:
        raise InvalidError(
            f"the {what} are more than {MAX_ARGUMENTS}, or longer than {MAX_ARGUMENTS_BYTES} bytes"
        )
