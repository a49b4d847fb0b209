from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MemberState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MEMBER_STATE_UNSPECIFIED: _ClassVar[MemberState]
    ALIVE: _ClassVar[MemberState]
    SUSPECT: _ClassVar[MemberState]
    DEAD: _ClassVar[MemberState]
    LEFT: _ClassVar[MemberState]

class Refusal(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REFUSAL_UNSPECIFIED: _ClassVar[Refusal]
    PROTOCOL: _ClassVar[Refusal]
    OTHER_CLUSTER: _ClassVar[Refusal]
    NAME_TAKEN: _ClassVar[Refusal]
    ID_TAKEN: _ClassVar[Refusal]
    DECLARED_DEAD: _ClassVar[Refusal]
    EXPELLED: _ClassVar[Refusal]

class ExitKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXIT_NORMAL: _ClassVar[ExitKind]
    EXIT_FAILURE: _ClassVar[ExitKind]
    EXIT_KILLED: _ClassVar[ExitKind]
    EXIT_LINK_DIED: _ClassVar[ExitKind]
    EXIT_NO_PROCESS: _ClassVar[ExitKind]
    EXIT_NO_CONNECTION: _ClassVar[ExitKind]

class SpawnFailure(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SPAWN_FAILURE_UNSPECIFIED: _ClassVar[SpawnFailure]
    MODULE_UNKNOWN: _ClassVar[SpawnFailure]
    MODULE_INVALID: _ClassVar[SpawnFailure]
    INSTANTIATION: _ClassVar[SpawnFailure]
    LIMIT: _ClassVar[SpawnFailure]
    STOPPING: _ClassVar[SpawnFailure]
MEMBER_STATE_UNSPECIFIED: MemberState
ALIVE: MemberState
SUSPECT: MemberState
DEAD: MemberState
LEFT: MemberState
REFUSAL_UNSPECIFIED: Refusal
PROTOCOL: Refusal
OTHER_CLUSTER: Refusal
NAME_TAKEN: Refusal
ID_TAKEN: Refusal
DECLARED_DEAD: Refusal
EXPELLED: Refusal
EXIT_NORMAL: ExitKind
EXIT_FAILURE: ExitKind
EXIT_KILLED: ExitKind
EXIT_LINK_DIED: ExitKind
EXIT_NO_PROCESS: ExitKind
EXIT_NO_CONNECTION: ExitKind
SPAWN_FAILURE_UNSPECIFIED: SpawnFailure
MODULE_UNKNOWN: SpawnFailure
MODULE_INVALID: SpawnFailure
INSTANTIATION: SpawnFailure
LIMIT: SpawnFailure
STOPPING: SpawnFailure

class NodeInfo(_message.Message):
    __slots__ = ("id", "name", "cluster", "address", "labels", "started_ms", "succession")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    STARTED_MS_FIELD_NUMBER: _ClassVar[int]
    SUCCESSION_FIELD_NUMBER: _ClassVar[int]
    id: int
    name: str
    cluster: str
    address: str
    labels: _containers.ScalarMap[str, str]
    started_ms: int
    succession: int
    def __init__(self, id: _Optional[int] = ..., name: _Optional[str] = ..., cluster: _Optional[str] = ..., address: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., started_ms: _Optional[int] = ..., succession: _Optional[int] = ...) -> None: ...

class Member(_message.Message):
    __slots__ = ("node", "state", "incarnation")
    NODE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    node: NodeInfo
    state: MemberState
    incarnation: int
    def __init__(self, node: _Optional[_Union[NodeInfo, _Mapping]] = ..., state: _Optional[_Union[MemberState, str]] = ..., incarnation: _Optional[int] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol_min", "protocol_max", "node", "members", "refusal", "detail", "incarnation", "session")
    PROTOCOL_MIN_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_MAX_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    protocol_min: int
    protocol_max: int
    node: NodeInfo
    members: _containers.RepeatedCompositeFieldContainer[Member]
    refusal: Refusal
    detail: str
    incarnation: int
    session: SessionOffer
    def __init__(self, protocol_min: _Optional[int] = ..., protocol_max: _Optional[int] = ..., node: _Optional[_Union[NodeInfo, _Mapping]] = ..., members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ..., refusal: _Optional[_Union[Refusal, str]] = ..., detail: _Optional[str] = ..., incarnation: _Optional[int] = ..., session: _Optional[_Union[SessionOffer, _Mapping]] = ...) -> None: ...

class SessionOffer(_message.Message):
    __slots__ = ("session", "proposed", "received")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    PROPOSED_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    session: int
    proposed: int
    received: int
    def __init__(self, session: _Optional[int] = ..., proposed: _Optional[int] = ..., received: _Optional[int] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("envelopes", "session", "sequence", "acknowledged", "hello", "goodbye")
    ENVELOPES_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    envelopes: _containers.RepeatedCompositeFieldContainer[Envelope]
    session: int
    sequence: int
    acknowledged: int
    hello: Hello
    goodbye: Goodbye
    def __init__(self, envelopes: _Optional[_Iterable[_Union[Envelope, _Mapping]]] = ..., session: _Optional[int] = ..., sequence: _Optional[int] = ..., acknowledged: _Optional[int] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., goodbye: _Optional[_Union[Goodbye, _Mapping]] = ...) -> None: ...

class Goodbye(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class Envelope(_message.Message):
    __slots__ = ("message", "link", "unlink", "link_died", "monitor", "stop_monitoring", "process_died", "kill", "exists", "exists_reply", "chunk", "spawn", "spawn_reply", "gossip", "probe", "probe_reply", "names", "groups")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    UNLINK_FIELD_NUMBER: _ClassVar[int]
    LINK_DIED_FIELD_NUMBER: _ClassVar[int]
    MONITOR_FIELD_NUMBER: _ClassVar[int]
    STOP_MONITORING_FIELD_NUMBER: _ClassVar[int]
    PROCESS_DIED_FIELD_NUMBER: _ClassVar[int]
    KILL_FIELD_NUMBER: _ClassVar[int]
    EXISTS_FIELD_NUMBER: _ClassVar[int]
    EXISTS_REPLY_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    SPAWN_FIELD_NUMBER: _ClassVar[int]
    SPAWN_REPLY_FIELD_NUMBER: _ClassVar[int]
    GOSSIP_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    PROBE_REPLY_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    message: Message
    link: Link
    unlink: Unlink
    link_died: LinkDied
    monitor: Monitor
    stop_monitoring: StopMonitoring
    process_died: ProcessDied
    kill: Kill
    exists: Exists
    exists_reply: ExistsReply
    chunk: Chunk
    spawn: Spawn
    spawn_reply: SpawnReply
    gossip: Gossip
    probe: Probe
    probe_reply: ProbeReply
    names: Names
    groups: Groups
    def __init__(self, message: _Optional[_Union[Message, _Mapping]] = ..., link: _Optional[_Union[Link, _Mapping]] = ..., unlink: _Optional[_Union[Unlink, _Mapping]] = ..., link_died: _Optional[_Union[LinkDied, _Mapping]] = ..., monitor: _Optional[_Union[Monitor, _Mapping]] = ..., stop_monitoring: _Optional[_Union[StopMonitoring, _Mapping]] = ..., process_died: _Optional[_Union[ProcessDied, _Mapping]] = ..., kill: _Optional[_Union[Kill, _Mapping]] = ..., exists: _Optional[_Union[Exists, _Mapping]] = ..., exists_reply: _Optional[_Union[ExistsReply, _Mapping]] = ..., chunk: _Optional[_Union[Chunk, _Mapping]] = ..., spawn: _Optional[_Union[Spawn, _Mapping]] = ..., spawn_reply: _Optional[_Union[SpawnReply, _Mapping]] = ..., gossip: _Optional[_Union[Gossip, _Mapping]] = ..., probe: _Optional[_Union[Probe, _Mapping]] = ..., probe_reply: _Optional[_Union[ProbeReply, _Mapping]] = ..., names: _Optional[_Union[Names, _Mapping]] = ..., groups: _Optional[_Union[Groups, _Mapping]] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("total", "data")
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    total: int
    data: bytes
    def __init__(self, total: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class Probe(_message.Message):
    __slots__ = ("reference", "node")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    reference: int
    node: int
    def __init__(self, reference: _Optional[int] = ..., node: _Optional[int] = ...) -> None: ...

class ProbeReply(_message.Message):
    __slots__ = ("reference", "reached")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    REACHED_FIELD_NUMBER: _ClassVar[int]
    reference: int
    reached: bool
    def __init__(self, reference: _Optional[int] = ..., reached: _Optional[bool] = ...) -> None: ...

class Message(_message.Message):
    __slots__ = ("to", "environment", "tag", "data", "modules")
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    MODULES_FIELD_NUMBER: _ClassVar[int]
    to: int
    environment: int
    tag: int
    data: bytes
    modules: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, to: _Optional[int] = ..., environment: _Optional[int] = ..., tag: _Optional[int] = ..., data: _Optional[bytes] = ..., modules: _Optional[_Iterable[bytes]] = ..., **kwargs) -> None: ...

class Link(_message.Message):
    __slots__ = ("to", "environment", "tag", "death_tag")
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    DEATH_TAG_FIELD_NUMBER: _ClassVar[int]
    to: int
    environment: int
    tag: int
    death_tag: int
    def __init__(self, to: _Optional[int] = ..., environment: _Optional[int] = ..., tag: _Optional[int] = ..., death_tag: _Optional[int] = ..., **kwargs) -> None: ...

class Unlink(_message.Message):
    __slots__ = ("to",)
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    to: int
    def __init__(self, to: _Optional[int] = ..., **kwargs) -> None: ...

class LinkDied(_message.Message):
    __slots__ = ("to", "tag", "kind", "code", "text")
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    to: int
    tag: int
    kind: ExitKind
    code: int
    text: str
    def __init__(self, to: _Optional[int] = ..., tag: _Optional[int] = ..., kind: _Optional[_Union[ExitKind, str]] = ..., code: _Optional[int] = ..., text: _Optional[str] = ..., **kwargs) -> None: ...

class Monitor(_message.Message):
    __slots__ = ("to", "environment")
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    to: int
    environment: int
    def __init__(self, to: _Optional[int] = ..., environment: _Optional[int] = ..., **kwargs) -> None: ...

class StopMonitoring(_message.Message):
    __slots__ = ("to",)
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    to: int
    def __init__(self, to: _Optional[int] = ..., **kwargs) -> None: ...

class ProcessDied(_message.Message):
    __slots__ = ("to", "kind", "code", "text")
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    to: int
    kind: ExitKind
    code: int
    text: str
    def __init__(self, to: _Optional[int] = ..., kind: _Optional[_Union[ExitKind, str]] = ..., code: _Optional[int] = ..., text: _Optional[str] = ..., **kwargs) -> None: ...

class Kill(_message.Message):
    __slots__ = ("to", "environment")
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    to: int
    environment: int
    def __init__(self, to: _Optional[int] = ..., environment: _Optional[int] = ..., **kwargs) -> None: ...

class Exists(_message.Message):
    __slots__ = ("to", "environment", "reference")
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    to: int
    environment: int
    reference: int
    def __init__(self, to: _Optional[int] = ..., environment: _Optional[int] = ..., reference: _Optional[int] = ..., **kwargs) -> None: ...

class ExistsReply(_message.Message):
    __slots__ = ("to", "reference", "alive")
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    ALIVE_FIELD_NUMBER: _ClassVar[int]
    to: int
    reference: int
    alive: bool
    def __init__(self, to: _Optional[int] = ..., reference: _Optional[int] = ..., alive: _Optional[bool] = ..., **kwargs) -> None: ...

class Param(_message.Message):
    __slots__ = ("i32", "i64", "v128")
    I32_FIELD_NUMBER: _ClassVar[int]
    I64_FIELD_NUMBER: _ClassVar[int]
    V128_FIELD_NUMBER: _ClassVar[int]
    i32: int
    i64: int
    v128: bytes
    def __init__(self, i32: _Optional[int] = ..., i64: _Optional[int] = ..., v128: _Optional[bytes] = ...) -> None: ...

class Preopen(_message.Message):
    __slots__ = ("guest", "host")
    GUEST_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    guest: str
    host: str
    def __init__(self, guest: _Optional[str] = ..., host: _Optional[str] = ...) -> None: ...

class Variable(_message.Message):
    __slots__ = ("key", "value")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: str
    def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class ProcessConfig(_message.Message):
    __slots__ = ("max_memory_bytes", "max_fuel", "can_compile_modules", "can_create_configs", "can_spawn_processes", "preopens", "arguments", "environment_variables", "namespaces")
    MAX_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_FUEL_FIELD_NUMBER: _ClassVar[int]
    CAN_COMPILE_MODULES_FIELD_NUMBER: _ClassVar[int]
    CAN_CREATE_CONFIGS_FIELD_NUMBER: _ClassVar[int]
    CAN_SPAWN_PROCESSES_FIELD_NUMBER: _ClassVar[int]
    PREOPENS_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_VARIABLES_FIELD_NUMBER: _ClassVar[int]
    NAMESPACES_FIELD_NUMBER: _ClassVar[int]
    max_memory_bytes: int
    max_fuel: int
    can_compile_modules: bool
    can_create_configs: bool
    can_spawn_processes: bool
    preopens: _containers.RepeatedCompositeFieldContainer[Preopen]
    arguments: _containers.RepeatedScalarFieldContainer[str]
    environment_variables: _containers.RepeatedCompositeFieldContainer[Variable]
    namespaces: Namespaces
    def __init__(self, max_memory_bytes: _Optional[int] = ..., max_fuel: _Optional[int] = ..., can_compile_modules: _Optional[bool] = ..., can_create_configs: _Optional[bool] = ..., can_spawn_processes: _Optional[bool] = ..., preopens: _Optional[_Iterable[_Union[Preopen, _Mapping]]] = ..., arguments: _Optional[_Iterable[str]] = ..., environment_variables: _Optional[_Iterable[_Union[Variable, _Mapping]]] = ..., namespaces: _Optional[_Union[Namespaces, _Mapping]] = ...) -> None: ...

class Namespaces(_message.Message):
    __slots__ = ("prefixes",)
    PREFIXES_FIELD_NUMBER: _ClassVar[int]
    prefixes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, prefixes: _Optional[_Iterable[str]] = ...) -> None: ...

class Spawn(_message.Message):
    __slots__ = ("reference", "parent", "environment", "module", "entry", "params", "config", "link", "link_tag", "monitor", "module_name")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    MODULE_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    LINK_TAG_FIELD_NUMBER: _ClassVar[int]
    MONITOR_FIELD_NUMBER: _ClassVar[int]
    MODULE_NAME_FIELD_NUMBER: _ClassVar[int]
    reference: int
    parent: int
    environment: int
    module: bytes
    entry: str
    params: _containers.RepeatedCompositeFieldContainer[Param]
    config: ProcessConfig
    link: bool
    link_tag: int
    monitor: bool
    module_name: str
    def __init__(self, reference: _Optional[int] = ..., parent: _Optional[int] = ..., environment: _Optional[int] = ..., module: _Optional[bytes] = ..., entry: _Optional[str] = ..., params: _Optional[_Iterable[_Union[Param, _Mapping]]] = ..., config: _Optional[_Union[ProcessConfig, _Mapping]] = ..., link: _Optional[bool] = ..., link_tag: _Optional[int] = ..., monitor: _Optional[bool] = ..., module_name: _Optional[str] = ...) -> None: ...

class SpawnReply(_message.Message):
    __slots__ = ("reference", "pid", "failure", "error", "to")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    reference: int
    pid: int
    failure: SpawnFailure
    error: str
    to: int
    def __init__(self, reference: _Optional[int] = ..., pid: _Optional[int] = ..., failure: _Optional[_Union[SpawnFailure, str]] = ..., error: _Optional[str] = ..., to: _Optional[int] = ...) -> None: ...

class Gossip(_message.Message):
    __slots__ = ("members",)
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    members: _containers.RepeatedCompositeFieldContainer[Member]
    def __init__(self, members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ...) -> None: ...

class Names(_message.Message):
    __slots__ = ("signals",)
    SIGNALS_FIELD_NUMBER: _ClassVar[int]
    signals: _containers.RepeatedCompositeFieldContainer[NameSignal]
    def __init__(self, signals: _Optional[_Iterable[_Union[NameSignal, _Mapping]]] = ...) -> None: ...

class NameSignal(_message.Message):
    __slots__ = ("announce", "retract", "get", "put", "remove", "reserve", "cancel", "register", "answer", "granted", "revoke", "lost", "viewing")
    ANNOUNCE_FIELD_NUMBER: _ClassVar[int]
    RETRACT_FIELD_NUMBER: _ClassVar[int]
    GET_FIELD_NUMBER: _ClassVar[int]
    PUT_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    RESERVE_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    REGISTER_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    REVOKE_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    VIEWING_FIELD_NUMBER: _ClassVar[int]
    announce: NameAnnounce
    retract: NameRetract
    get: NameGet
    put: NamePut
    remove: NameRemove
    reserve: NameReserve
    cancel: NameCancel
    register: NameRegister
    answer: NameAnswer
    granted: NameGranted
    revoke: NameRevoke
    lost: NameLost
    viewing: NameViewing
    def __init__(self, announce: _Optional[_Union[NameAnnounce, _Mapping]] = ..., retract: _Optional[_Union[NameRetract, _Mapping]] = ..., get: _Optional[_Union[NameGet, _Mapping]] = ..., put: _Optional[_Union[NamePut, _Mapping]] = ..., remove: _Optional[_Union[NameRemove, _Mapping]] = ..., reserve: _Optional[_Union[NameReserve, _Mapping]] = ..., cancel: _Optional[_Union[NameCancel, _Mapping]] = ..., register: _Optional[_Union[NameRegister, _Mapping]] = ..., answer: _Optional[_Union[NameAnswer, _Mapping]] = ..., granted: _Optional[_Union[NameGranted, _Mapping]] = ..., revoke: _Optional[_Union[NameRevoke, _Mapping]] = ..., lost: _Optional[_Union[NameLost, _Mapping]] = ..., viewing: _Optional[_Union[NameViewing, _Mapping]] = ...) -> None: ...

class ProcessName(_message.Message):
    __slots__ = ("environment", "text")
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    environment: int
    text: str
    def __init__(self, environment: _Optional[int] = ..., text: _Optional[str] = ...) -> None: ...

class NameEntry(_message.Message):
    __slots__ = ("name", "node", "pid", "stamp_ms")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    STAMP_MS_FIELD_NUMBER: _ClassVar[int]
    name: ProcessName
    node: int
    pid: int
    stamp_ms: int
    def __init__(self, name: _Optional[_Union[ProcessName, _Mapping]] = ..., node: _Optional[int] = ..., pid: _Optional[int] = ..., stamp_ms: _Optional[int] = ...) -> None: ...

class NameAnnounce(_message.Message):
    __slots__ = ("entry", "reference")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    entry: NameEntry
    reference: int
    def __init__(self, entry: _Optional[_Union[NameEntry, _Mapping]] = ..., reference: _Optional[int] = ...) -> None: ...

class NameRetract(_message.Message):
    __slots__ = ("name", "pid")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    name: ProcessName
    pid: int
    def __init__(self, name: _Optional[_Union[ProcessName, _Mapping]] = ..., pid: _Optional[int] = ...) -> None: ...

class NameGet(_message.Message):
    __slots__ = ("reference", "name")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    reference: int
    name: ProcessName
    def __init__(self, reference: _Optional[int] = ..., name: _Optional[_Union[ProcessName, _Mapping]] = ...) -> None: ...

class NamePut(_message.Message):
    __slots__ = ("reference", "entry")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    reference: int
    entry: NameEntry
    def __init__(self, reference: _Optional[int] = ..., entry: _Optional[_Union[NameEntry, _Mapping]] = ...) -> None: ...

class NameRemove(_message.Message):
    __slots__ = ("reference", "name")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    reference: int
    name: ProcessName
    def __init__(self, reference: _Optional[int] = ..., name: _Optional[_Union[ProcessName, _Mapping]] = ...) -> None: ...

class NameReserve(_message.Message):
    __slots__ = ("reference", "name", "granted")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    reference: int
    name: ProcessName
    granted: bool
    def __init__(self, reference: _Optional[int] = ..., name: _Optional[_Union[ProcessName, _Mapping]] = ..., granted: _Optional[bool] = ...) -> None: ...

class NameCancel(_message.Message):
    __slots__ = ("reference", "name")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    reference: int
    name: ProcessName
    def __init__(self, reference: _Optional[int] = ..., name: _Optional[_Union[ProcessName, _Mapping]] = ...) -> None: ...

class NameRegister(_message.Message):
    __slots__ = ("reference", "entry")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    reference: int
    entry: NameEntry
    def __init__(self, reference: _Optional[int] = ..., entry: _Optional[_Union[NameEntry, _Mapping]] = ...) -> None: ...

class NameAnswer(_message.Message):
    __slots__ = ("reference", "entry", "refused")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    reference: int
    entry: NameEntry
    refused: bool
    def __init__(self, reference: _Optional[int] = ..., entry: _Optional[_Union[NameEntry, _Mapping]] = ..., refused: _Optional[bool] = ...) -> None: ...

class NameGranted(_message.Message):
    __slots__ = ("reference",)
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    reference: int
    def __init__(self, reference: _Optional[int] = ...) -> None: ...

class NameRevoke(_message.Message):
    __slots__ = ("name", "pid")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    name: ProcessName
    pid: int
    def __init__(self, name: _Optional[_Union[ProcessName, _Mapping]] = ..., pid: _Optional[int] = ...) -> None: ...

class NameLost(_message.Message):
    __slots__ = ("name", "pid", "winner")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    WINNER_FIELD_NUMBER: _ClassVar[int]
    name: ProcessName
    pid: int
    winner: int
    def __init__(self, name: _Optional[_Union[ProcessName, _Mapping]] = ..., pid: _Optional[int] = ..., winner: _Optional[int] = ...) -> None: ...

class NameViewing(_message.Message):
    __slots__ = ("number", "complete")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    number: int
    complete: bool
    def __init__(self, number: _Optional[int] = ..., complete: _Optional[bool] = ...) -> None: ...

class Groups(_message.Message):
    __slots__ = ("changes", "received")
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[GroupChange]
    received: bool
    def __init__(self, changes: _Optional[_Iterable[_Union[GroupChange, _Mapping]]] = ..., received: _Optional[bool] = ...) -> None: ...

class GroupChange(_message.Message):
    __slots__ = ("environment", "name", "joined", "left")
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    JOINED_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    environment: int
    name: str
    joined: _containers.RepeatedScalarFieldContainer[int]
    left: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, environment: _Optional[int] = ..., name: _Optional[str] = ..., joined: _Optional[_Iterable[int]] = ..., left: _Optional[_Iterable[int]] = ...) -> None: ...

class ModuleRequest(_message.Message):
    __slots__ = ("sha256", "offset")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    sha256: bytes
    offset: int
    def __init__(self, sha256: _Optional[bytes] = ..., offset: _Optional[int] = ...) -> None: ...

class ModuleChunk(_message.Message):
    __slots__ = ("total_bytes", "data")
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    total_bytes: int
    data: bytes
    def __init__(self, total_bytes: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...
