from luna.proto import node_pb2 as _node_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatusReply(_message.Message):
    __slots__ = ("node", "version", "processes", "uptime_ms", "scheduler_threads", "resident_bytes", "os_pid")
    NODE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    UPTIME_MS_FIELD_NUMBER: _ClassVar[int]
    SCHEDULER_THREADS_FIELD_NUMBER: _ClassVar[int]
    RESIDENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    OS_PID_FIELD_NUMBER: _ClassVar[int]
    node: _node_pb2.NodeInfo
    version: str
    processes: int
    uptime_ms: int
    scheduler_threads: int
    resident_bytes: int
    os_pid: int
    def __init__(self, node: _Optional[_Union[_node_pb2.NodeInfo, _Mapping]] = ..., version: _Optional[str] = ..., processes: _Optional[int] = ..., uptime_ms: _Optional[int] = ..., scheduler_threads: _Optional[int] = ..., resident_bytes: _Optional[int] = ..., os_pid: _Optional[int] = ...) -> None: ...

class NodesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class NodeEntry(_message.Message):
    __slots__ = ("member", "self", "connected", "processes")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    SELF_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    member: _node_pb2.Member
    self: bool
    connected: bool
    processes: int
    def __init__(self_, member: _Optional[_Union[_node_pb2.Member, _Mapping]] = ..., self: _Optional[bool] = ..., connected: _Optional[bool] = ..., processes: _Optional[int] = ...) -> None: ...

class NodesReply(_message.Message):
    __slots__ = ("nodes",)
    NODES_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[NodeEntry]
    def __init__(self, nodes: _Optional[_Iterable[_Union[NodeEntry, _Mapping]]] = ...) -> None: ...

class JoinRequest(_message.Message):
    __slots__ = ("address",)
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    address: str
    def __init__(self, address: _Optional[str] = ...) -> None: ...

class JoinReply(_message.Message):
    __slots__ = ("nodes",)
    NODES_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[NodeEntry]
    def __init__(self, nodes: _Optional[_Iterable[_Union[NodeEntry, _Mapping]]] = ...) -> None: ...

class LeaveRequest(_message.Message):
    __slots__ = ("node",)
    NODE_FIELD_NUMBER: _ClassVar[int]
    node: str
    def __init__(self, node: _Optional[str] = ...) -> None: ...

class LeaveReply(_message.Message):
    __slots__ = ("node",)
    NODE_FIELD_NUMBER: _ClassVar[int]
    node: _node_pb2.NodeInfo
    def __init__(self, node: _Optional[_Union[_node_pb2.NodeInfo, _Mapping]] = ...) -> None: ...

class SpawnSpec(_message.Message):
    __slots__ = ("node", "module_name", "entry", "params", "config", "module", "follow")
    NODE_FIELD_NUMBER: _ClassVar[int]
    MODULE_NAME_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    MODULE_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    node: str
    module_name: str
    entry: str
    params: _containers.RepeatedCompositeFieldContainer[_node_pb2.Param]
    config: _node_pb2.ProcessConfig
    module: bytes
    follow: bool
    def __init__(self, node: _Optional[str] = ..., module_name: _Optional[str] = ..., entry: _Optional[str] = ..., params: _Optional[_Iterable[_Union[_node_pb2.Param, _Mapping]]] = ..., config: _Optional[_Union[_node_pb2.ProcessConfig, _Mapping]] = ..., module: _Optional[bytes] = ..., follow: _Optional[bool] = ...) -> None: ...

class SpawnProcessRequest(_message.Message):
    __slots__ = ("spec", "data")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    spec: SpawnSpec
    data: bytes
    def __init__(self, spec: _Optional[_Union[SpawnSpec, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class SpawnProcessReply(_message.Message):
    __slots__ = ("process",)
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    process: ProcessRef
    def __init__(self, process: _Optional[_Union[ProcessRef, _Mapping]] = ...) -> None: ...

class ProcessRef(_message.Message):
    __slots__ = ("pid", "serial", "node")
    PID_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    pid: int
    serial: int
    node: str
    def __init__(self, pid: _Optional[int] = ..., serial: _Optional[int] = ..., node: _Optional[str] = ...) -> None: ...

class PsRequest(_message.Message):
    __slots__ = ("node",)
    NODE_FIELD_NUMBER: _ClassVar[int]
    node: str
    def __init__(self, node: _Optional[str] = ...) -> None: ...

class ProcessEntry(_message.Message):
    __slots__ = ("process", "module", "entry", "state", "messages", "memory_bytes", "parent", "age_ms")
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    MODULE_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    AGE_MS_FIELD_NUMBER: _ClassVar[int]
    process: ProcessRef
    module: str
    entry: str
    state: str
    messages: int
    memory_bytes: int
    parent: int
    age_ms: int
    def __init__(self, process: _Optional[_Union[ProcessRef, _Mapping]] = ..., module: _Optional[str] = ..., entry: _Optional[str] = ..., state: _Optional[str] = ..., messages: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., parent: _Optional[int] = ..., age_ms: _Optional[int] = ...) -> None: ...

class PsReply(_message.Message):
    __slots__ = ("processes", "unreachable")
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    UNREACHABLE_FIELD_NUMBER: _ClassVar[int]
    processes: _containers.RepeatedCompositeFieldContainer[ProcessEntry]
    unreachable: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, processes: _Optional[_Iterable[_Union[ProcessEntry, _Mapping]]] = ..., unreachable: _Optional[_Iterable[str]] = ...) -> None: ...

class KillProcessRequest(_message.Message):
    __slots__ = ("process",)
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    process: ProcessRef
    def __init__(self, process: _Optional[_Union[ProcessRef, _Mapping]] = ...) -> None: ...

class KillProcessReply(_message.Message):
    __slots__ = ("was_alive",)
    WAS_ALIVE_FIELD_NUMBER: _ClassVar[int]
    was_alive: bool
    def __init__(self, was_alive: _Optional[bool] = ...) -> None: ...

class LogsRequest(_message.Message):
    __slots__ = ("process", "follow")
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    process: ProcessRef
    follow: bool
    def __init__(self, process: _Optional[_Union[ProcessRef, _Mapping]] = ..., follow: _Optional[bool] = ...) -> None: ...

class ProcessExit(_message.Message):
    __slots__ = ("kind", "code", "reason")
    KIND_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    kind: _node_pb2.ExitKind
    code: int
    reason: str
    def __init__(self, kind: _Optional[_Union[_node_pb2.ExitKind, str]] = ..., code: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class LogsReply(_message.Message):
    __slots__ = ("stdout", "stderr", "exit", "dropped_bytes")
    STDOUT_FIELD_NUMBER: _ClassVar[int]
    STDERR_FIELD_NUMBER: _ClassVar[int]
    EXIT_FIELD_NUMBER: _ClassVar[int]
    DROPPED_BYTES_FIELD_NUMBER: _ClassVar[int]
    stdout: bytes
    stderr: bytes
    exit: ProcessExit
    dropped_bytes: int
    def __init__(self, stdout: _Optional[bytes] = ..., stderr: _Optional[bytes] = ..., exit: _Optional[_Union[ProcessExit, _Mapping]] = ..., dropped_bytes: _Optional[int] = ...) -> None: ...

class EventsRequest(_message.Message):
    __slots__ = ("node", "follow")
    NODE_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    node: str
    follow: bool
    def __init__(self, node: _Optional[str] = ..., follow: _Optional[bool] = ...) -> None: ...

class ClusterEvent(_message.Message):
    __slots__ = ("sequence", "time_ms", "kind", "node", "node_id", "detail")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    time_ms: int
    kind: str
    node: str
    node_id: int
    detail: str
    def __init__(self, sequence: _Optional[int] = ..., time_ms: _Optional[int] = ..., kind: _Optional[str] = ..., node: _Optional[str] = ..., node_id: _Optional[int] = ..., detail: _Optional[str] = ...) -> None: ...

class EventsReply(_message.Message):
    __slots__ = ("events", "lost")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[ClusterEvent]
    lost: int
    def __init__(self, events: _Optional[_Iterable[_Union[ClusterEvent, _Mapping]]] = ..., lost: _Optional[int] = ...) -> None: ...
