"""Configs and parameters from peers and commands: converted faithfully, and checked."""

from __future__ import annotations

import pytest

from luna.node.convert import (
    check_entry,
    config_from_proto,
    config_to_proto,
    params_from_proto,
)
from luna.proto import node_pb2
from luna.proto.errors import InvalidError
from luna.proto.limits import MAX_ARGUMENT_BYTES, MAX_ENTRY_BYTES, MAX_PARAMS, MAX_PREOPENS
from luna.scheduler.config import Param, ProcessConfig

CONFIG = ProcessConfig(
    max_memory_bytes=65536,
    max_fuel=7,
    can_compile_modules=True,
    can_spawn_processes=True,
    preopens=(("/", "/srv"), ("/data", "/var/data")),
    arguments=("program", "ärg"),
    environment_variables=(("KEY", "value=x"),),
)


def test_a_config_survives_the_wire() -> None:
    message = node_pb2.ProcessConfig.FromString(config_to_proto(CONFIG).SerializeToString())
    assert config_from_proto(message) == CONFIG


def test_parameters_reach_the_scheduler_unchanged() -> None:
    vector = bytes(range(16))
    params = [node_pb2.Param(i32=-1), node_pb2.Param(i64=-(2**63)), node_pb2.Param(v128=vector)]
    assert params_from_proto(params) == [Param.i32(-1), Param.i64(-(2**63)), Param.v128(vector)]


@pytest.mark.parametrize(
    "params",
    [
        [node_pb2.Param()],
        [node_pb2.Param(v128=b"short")],
        [node_pb2.Param(i32=1)] * (MAX_PARAMS + 1),
    ],
)
def test_malformed_or_too_many_parameters_are_invalid(params: list[node_pb2.Param]) -> None:
    with pytest.raises(InvalidError):
        params_from_proto(params)


@pytest.mark.parametrize(
    "message",
    [
        node_pb2.ProcessConfig(arguments=["x" * (MAX_ARGUMENT_BYTES + 1)]),
        node_pb2.ProcessConfig(arguments=["x"] * 5000),
        node_pb2.ProcessConfig(arguments=["x" * 100_000] * 30),
        node_pb2.ProcessConfig(arguments=["a\0b"]),
        node_pb2.ProcessConfig(environment_variables=[node_pb2.Variable(key="k" * (MAX_ARGUMENT_BYTES + 1))]),
        node_pb2.ProcessConfig(preopens=[node_pb2.Preopen(guest="/", host="/")] * (MAX_PREOPENS + 1)),
    ],
    ids=[
        "long argument",
        "many arguments",
        "long together",
        "zero byte",
        "long variable",
        "many directories",
    ],
)
def test_a_config_over_a_limit_is_invalid(message: node_pb2.ProcessConfig) -> None:
    with pytest.raises(InvalidError):
        config_from_proto(message)


def test_an_entry_name_over_its_limit_is_invalid() -> None:
    assert check_entry("e" * MAX_ENTRY_BYTES)
    with pytest.raises(InvalidError):
        check_entry("ä" * MAX_ENTRY_BYTES)
