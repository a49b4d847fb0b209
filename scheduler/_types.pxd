# The structs of the core and who may touch them. Declarations only.
#
# A Process belongs to the scheduler thread that runs it (state RUNNING). Other
# threads reach it through the process table, under its shard's lock, and then
# touch only what is marked shared here. Python reads the
# memory of a process that is parked in a request, under the request's lock.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libcpp.deque cimport deque
from libcpp.string cimport string
from libcpp.unordered_map cimport unordered_map
from libcpp.unordered_set cimport unordered_set
from libcpp.utility cimport pair
from libcpp.vector cimport vector

from luna.scheduler._limits cimport *
from luna.scheduler._platform cimport pthread_cond_t, pthread_mutex_t, pthread_t
from luna.scheduler._wasmtime cimport *

cdef extern from *:
    """
    #define LUNA_ANY_ENVIRONMENT UINT64_MAX
    #define LUNA_TIMED_OUT 9027
    """
    uint64_t ANY_ENVIRONMENT "LUNA_ANY_ENVIRONMENT"    # whichever it is; no process lives there
    int64_t TIMED_OUT "LUNA_TIMED_OUT"                 # result code of every wait that timed out

cdef enum:
    NODE_SHIFT = 40
    SHARDS = 256
    ENGINES_MAX = 8
    ROWS_MAX = 512             # of the host-call table
    ROW_WORDS = ROWS_MAX // 64
    REQUEST_ARGS_MAX = 12
    FOLLOWERS_MAX = 8          # of one log at a time; further ones may lose text

cdef enum:
    # What a guest can receive; the numbers are the result codes of `receive`.
    SIGNAL_MESSAGE = 0
    SIGNAL_LINK_DIED = 1
    SIGNAL_PROCESS_DIED = 2
    # What the process itself handles.
    SIGNAL_KILL
    SIGNAL_LINK
    SIGNAL_UNLINK
    SIGNAL_LINK_DEATH          # a linked process ended; `exit` tells how
    SIGNAL_MONITOR
    SIGNAL_STOP_MONITORING
    SIGNAL_PROCESS_DEATH       # a monitored process ended
    SIGNAL_DIE_WHEN_LINK_DIES
    SIGNAL_SPAWNED             # answer to a spawn: value = pid, or text = error; exit = result of the host call
    SIGNAL_START               # the parent has run on: the child may
    SIGNAL_CODE                # compiled code for a compute limit is there, or text = error
    SIGNAL_RESULT              # answer to a request or to `exists`
    SIGNAL_NODE_DOWN           # the session with a node ended: value = node id
    SIGNAL_ROOM                # a log has room again, or in a `session` the queue for a peer: value = node id
    SIGNAL_EXISTS_REPLY        # value = reference, tag = alive
    # Between nodes only; never in an inbox.
    SIGNAL_EXISTS              # value = reference

cdef enum:            # sessions with a peer, where one is asked for
    NO_SESSION = 0
    CURRENT_SESSION = 0xFFFFFFFF

cdef enum:            # numbers of luna.v1.ExitKind
    EXIT_NORMAL = 0
    EXIT_FAILURE = 1
    EXIT_KILLED = 2
    EXIT_LINK_DIED = 3
    EXIT_NO_PROCESS = 4
    EXIT_NO_CONNECTION = 5

cdef enum:
    STATE_WAITING = 0
    STATE_QUEUED = 1
    STATE_RUNNING = 2
    STATE_NOTIFIED = 3         # running, and woken meanwhile

cdef enum:
    PHASE_NEW = 0
    PHASE_INSTANTIATING = 1
    PHASE_READY = 2            # instantiated, not yet called
    PHASE_CALLING = 3

cdef enum:
    WAIT_NONE = 0
    WAIT_DONE                  # what was waited for is there; the guest may go on
    WAIT_RECEIVE
    WAIT_REPLY                 # a message with one tag, later than now
    WAIT_NEXT                  # any message later than now
    WAIT_SLEEP
    WAIT_SPAWN
    WAIT_RESULT                # of a request or of a remote `exists`
    WAIT_START
    WAIT_CODE
    WAIT_ROOM                  # in its log
    WAIT_ROOM_DONE             # the same, of a process whose last wait is done

cdef enum:            # what a SIGNAL_LINK wants, in `exit`
    LINK_QUIETLY = 1           # no notice if its target is dead

cdef enum:            # what a SIGNAL_RESULT holds, in `exit`
    ANSWER_VALUE = 0           # value = result
    ANSWER_TRAP = 1            # data = text
    ANSWER_DATA = 2            # data = bytes for the guest, value = where it wants their length
    ANSWER_MODULE = 3          # its one resource is the module that the call waits for

cdef enum:
    RESOURCE_TAKEN = 0
    RESOURCE_MODULE = 1
    RESOURCE_PROCESS = 2       # `pointer` is a pid
    RESOURCE_HASH = 3          # SHA-256 of a module that came from another node and was not in memory here
    # Python's, known here by a number (`pointer`); kinds from here on are ResourceKind's
    RESOURCE_FOREIGN = 16

cdef enum:            # what the trace has
    TRACE_LIVES = 1
    TRACE_CALLS = 2
    TRACE_SIGNALS = 4

cdef enum:            # whether the log tells that a process failed
    LOG_UNDECIDED = 0
    LOG_FULL
    LOG_COUNTED
    LOG_NEVER                  # whoever started it tells

cdef enum:
    OUTPUT_BUFFER = 0
    OUTPUT_INHERIT = 1
    RECORD_HEADER = 13         # bytes of a record before its text

cdef enum:
    COUNT_STORES = 0
    COUNT_FUTURES
    COUNT_STACKS
    COUNT_SIGNALS
    COUNT_PROCESSES
    COUNT_CONFIGS
    COUNT_MODULES
    COUNT_OUTPUTS
    COUNT_REQUESTS
    COUNT_TIMERS
    COUNT_ENVIRONMENTS
    # from here on: totals that only grow
    TOTAL_SPAWNED
    TOTAL_EXITED
    TOTAL_SENT
    TOTAL_SENT_REMOTE
    TOTAL_PREEMPTED
    TOTAL_STOLEN
    COUNTERS

# A row of the host-call table; host functions get theirs.
cdef struct Row:
    int32_t index
    uint8_t result_kind
    void* function             # NULL: one of wasmtime's WASI
    char name[128]             # namespace::name
    # for the trace
    char shown[16]             # how each argument is: i, I, f, u (unsigned), P (process), t (text, its length behind it)
    char result                # i, I, f; 0: none
    int sends                  # the scratch message
    int receives               # one into the scratch
    int spawns                 # a process of this node
    int enters_guest           # so that other lines come before its result

cdef struct Resource:
    uint8_t kind
    void* pointer

# A signal in flight, or a message in a mailbox, or a scratch message.
cdef struct Signal:
    Signal* next
    uint8_t kind
    uint8_t exit               # LINK: see LINK_QUIETLY
    uint32_t session           # the peer's session it belongs to, by its `session_count`; 0: whichever there is
    int64_t sender
    int64_t tag                # 0: none
    int64_t value              # LINK: tag for its receiver when the sender dies; a death: exit code
    char* data                 # `inline_data`, or its own allocation; a death: why, in words
    size_t size
    size_t capacity
    size_t offset              # read position
    Resource* resources
    uint32_t resource_count
    char inline_data[MESSAGE_INLINE_BYTES]

cdef struct Mailbox:
    Signal* first
    Signal* last
    int64_t count              # read by others, relaxed
    int64_t bytes

# Ids from 0, growing, never used again; removed entries leave holes that are squeezed out.
cdef struct IdTable:
    uint64_t next_id
    uint64_t* ids
    void** values
    size_t count
    size_t capacity
    size_t removed

cdef struct TimerNode:
    int64_t deadline_ns
    int64_t index              # in the heap; -1: not in it
    int32_t kind
    void* owner

cdef enum:
    TIMER_PROCESS = 0          # ends the owner's wait
    TIMER_SEND = 1             # delivers a Timer's message

# Some rows of the host-call table.
cdef struct RowSet:
    uint64_t words[ROW_WORDS]

cdef cppclass Config:
    int references
    uint64_t max_memory
    uint64_t max_fuel
    int can_compile
    int can_create_configs
    int can_spawn
    int restricts              # `refused` has rows
    RowSet refused             # host calls that trap
    vector[string] namespaces  # prefixes of the names of all others
    vector[pair[string, string]] preopens      # guest name, host path
    vector[string] arguments
    vector[pair[string, string]] variables
    int found_preopens         # the directories were looked for, and are there
    int64_t bytes              # of the texts in these lists

# What early Lunatic called an environment: what its processes may do, and names.
cdef struct EarlyEnvironment:
    int references
    Runtime* runtime
    int64_t id                 # 0: the root one of the process that made it
    Config* config             # never changed
    int has_names              # Python keeps names in it

# What only guests of early Lunatic have; made when first needed.
cdef struct Early:
    EarlyEnvironment* own      # NULL: the root one
    IdTable handles            # of processes: the values are pids
    IdTable environments
    unordered_map[int64_t, EarlyEnvironment*]* homes   # of modules, by their ids

# A module's code, linked for processes with a compute limit, or that may not call everything.
cdef struct Code:
    int references
    int counts_fuel
    RowSet refused
    wasmtime_instance_pre_t* linked

cdef struct Module:
    int references
    Runtime* runtime
    uint8_t sha256[32]
    int64_t id
    char* name                 # for people, also those of other nodes
    int uses_wasi
    wasm_engine_t* engine
    wasm_engine_t* fuel_engine
    wasmtime_instance_pre_t* code          # for processes without limits of what they may call or compute
    pthread_mutex_t codes_lock
    vector[Code*]* codes                   # for others, made when asked for; used last comes first

cdef struct Output:
    int references
    Runtime* runtime
    Output* leader             # NULL: is its own
    int64_t pid
    int mode
    pthread_mutex_t lock
    char* data                 # records: stream (1 byte), length (4), writer's pid (8), bytes
    size_t size
    size_t capacity
    int64_t start              # stream offset of data[0]
    int64_t dropped            # bytes of text given up to the bound
    int watched                # Python wants an event at the next write
    int closed                 # its process has ended
    Process* process           # NULL once it has ended
    int64_t followers[FOLLOWERS_MAX]   # how far each has read; -1: a free place
    vector[int64_t]* held      # processes that wait for followers to catch up

cdef struct Request:
    int references
    pthread_mutex_t lock
    Process* process           # NULL once the process is gone
    Runtime* runtime
    int64_t id
    int64_t pid
    uint64_t environment
    int32_t row                # index in the host-call table
    int32_t arg_count
    int64_t args[REQUEST_ARGS_MAX]

# A call into the guest from one of its host calls.
cdef struct NestedCall:
    Process* process
    wasmtime_call_future_t* future
    wasmtime_func_t function
    int has_function
    wasmtime_val_t args[REQUEST_ARGS_MAX]
    size_t arg_count
    const char* export
    int streams                # bits as of Process.replaced_streams, set if the call succeeds
    wasmtime_linker_t* linker
    wasmtime_val_t result[1]
    wasm_trap_t* trap
    wasmtime_error_t* error
    wasmtime_val_t* results_out    # of the outer call
    wasm_trap_t** trap_out         # the same
    Signal* data                   # what the guest is to be given

# Its place in a line for room in the queue for a peer. Owned by the peer's lock.
cdef struct Waiter:
    Waiter* before
    Waiter* after
    int64_t pid                # 0: `timer` waits
    Timer* timer
    size_t needed              # bytes
    int lane
    int listed

cdef struct WaitingLine:
    Waiter* first
    Waiter* last
    int64_t count

# A signal that the queue for its target's node had no room for.
cdef struct Held:
    Signal* signal
    int64_t target

cdef struct Timer:
    TimerNode node
    Waiter waiter
    int references
    int dropped                # its target died first
    # Its place among those for the same process of this node. Owned by the lock of the target's shard.
    int listed
    Timer* listed_before
    Timer* listed_after
    Runtime* runtime
    int64_t target
    uint64_t environment
    Signal* signal
    int64_t bytes              # counted for the process that set it

cdef struct LinkTags:
    int64_t theirs             # what the peer gets when this process dies
    int64_t mine               # what this process gets when the peer dies

cdef struct Process:
    # shared
    void* inbox                # Signal*, newest first
    int state                  # RunState
    int timer_fired
    int has_names              # it is, or was, registered; set under its shard's lock
    Process* queue_next        # owned by the queue it is in
    Timer* incoming            # timers whose messages are for it; owned by the lock of its shard
    # fixed at birth
    Runtime* runtime
    int64_t pid
    int64_t parent
    uint32_t parent_session    # with the parent's node, when it asked for this process
    uint64_t environment
    int64_t born_ns
    Config* config
    Module* module
    Code* code                 # NULL: the module's own
    Output* output
    char* entry
    int64_t spawn_token        # Python's, 0: a guest spawned it
    int watched                # Python wants to know how it ends
    int link_parent
    int monitor_parent         # the parent watches it from its birth on
    int checks_entry           # to be born it needs its entry, which may return values
    int64_t link_tag
    int64_t parent_wait        # the parent's wait_sequence when it spawned; what a parent elsewhere calls the spawn
    wasmtime_val_t* params
    uint32_t param_count
    # owned by the thread that runs it
    int phase
    wasmtime_store_t* store
    wasmtime_context_t* context
    wasmtime_instance_t instance
    wasmtime_memory_t memory
    int has_memory
    wasmtime_func_t function
    wasmtime_val_t* results    # of its entry
    size_t result_count
    wasmtime_call_future_t* future
    wasm_trap_t* trap
    wasmtime_error_t* error
    int nested_depth           # calls into the guest from its host calls
    Mailbox mailbox
    Signal* scratch
    unordered_map[int64_t, LinkTags]* links
    unordered_set[int64_t]* watchers
    unordered_set[int64_t]* watching
    vector[pair[int, uint32_t]]* bound_nodes   # sessions with peers, whose end must be told to this process
    int die_when_link_dies
    int exit_kind              # -1: alive
    int exit_code
    char* exit_text
    int logged                 # LOG_...
    int exiting                # proc_exit was called with `exit_status`; it unwinds as a trap
    int exit_status
    int64_t newborn            # child to be started when this one next lets go
    int64_t spawn_link_tag     # of the child it waits for, if that is on another node; 0: no link
    int spawn_monitors         # it watches the child it waits for
    vector[Held]* held         # what it sent and no queue has taken yet; NULL: nothing
    size_t held_first          # index of the first that is left
    int64_t held_bytes         # of messages in it
    int crowded_node           # peer whose queue its timers would overfill; 0: none
    int crowded_lane           # of that peer
    int blocked_node           # peer whose queue it waits for
    uint32_t blocked_session   # and the session; NO_SESSION: it does not wait
    int turn_node              # peer whose queue has room for it now; 0: none
    Waiter waiter
    int blocked_output         # its followers lag behind
    int yielding               # in sched_yield, until it was pending once
    IdTable errors
    IdTable configs
    IdTable modules
    IdTable timers
    Early* early               # NULL: nothing yet
    # what it waits for
    int wait
    int has_timer              # the wait ends at timer.deadline_ns
    int timer_armed            # set_timer was called and cancel_timer not: the clock may be firing it
    TimerNode timer
    int64_t wait_sequence      # tells answers to this wait from late ones
    int64_t wait_tag
    int wait_node              # whose answer to `exists` or to a spawn is awaited; -1: none
    int64_t* wait_tags
    uint32_t wait_tag_count
    int64_t wait_result
    int wait_writes            # store `wait_value` at `wait_out` before returning
    uint32_t wait_out
    uint64_t wait_value
    char* wait_trap            # trap with this text
    wasmtime_val_t* wait_results
    size_t wait_result_count
    wasm_trap_t** wait_trap_out
    Request* request
    Signal* wait_data          # answer to a request that hands bytes to the guest, or a module to the core
    int owns_foreign           # Python keeps, or kept, something for it
    int64_t memory_bytes       # last seen, for people; relaxed
    int64_t host_bytes         # kept for the guest in configs, timers and errors
    int64_t wasi_start_ns      # when its WASI clock began to count
    int has_files              # its directories are open
    int replaced_streams       # bits 0 to 2: that descriptor is closed, or another file
    int has_relay
    wasmtime_instance_t relay

cdef struct Queue:
    Process* first
    Process* last
    int64_t count

cdef struct Worker:
    Runtime* runtime
    int index
    pthread_t thread
    pthread_mutex_t lock       # the four below
    Queue woken
    Queue preempted
    Process* next              # woken last by what runs here now; runs next
    int64_t next_since         # epoch
    int64_t preempted_since    # epoch a preempted process last ran, owner only
    uint32_t picks
    uint32_t streak            # picks of `next` in a row
    int64_t injector_since     # epoch of the last look at the injector
    uint32_t random
    pthread_cond_t wake
    int parked
    int waking

# What passes WASI calls on in stores of one engine; Python's.
cdef struct Relay:
    wasmtime_linker_t* linker
    wasmtime_module_t* module

cdef struct Shard:
    pthread_mutex_t lock
    Process** slots
    size_t capacity            # power of two
    size_t count

cdef enum:
    EVENT_REQUEST = 0          # request
    EVENT_CANCELLED = 1        # request id: its process died
    EVENT_SPAWNED = 2          # token, pid, text (error)
    EVENT_EXITED = 3           # pid, exit kind, code, text
    EVENT_OUTPUT = 4           # pid of the output's owner
    EVENT_CODE = 5             # pid wants code of module, that counts fuel or not, without some RowSet
    EVENT_RELEASED = 6         # pid has ended, for which Python keeps something: resources, memberships
    EVENT_DROPPED = 7          # number of a resource of Python's, lost with its message
    EVENT_FAILED = 8           # pid, how many it is linked to, how many names it has and the first, text: for the log
    EVENT_FLOOD = 9            # more fail than the log takes; failures_counted grows until Python takes it
    EVENT_FORGOTTEN = 10       # id of an EarlyEnvironment with names, which nobody holds any more
    EVENT_UNNAMED = 11         # pid of a process that has ended, and had or was to get names that are shared

cdef struct Event:
    Event* next
    uint8_t kind
    int64_t a
    int64_t b
    int64_t c
    void* pointer
    char* text

cdef enum:            # of the queue for a peer; the first goes first
    LANE_CONTROL = 0           # links, monitors, deaths, questions, answers, what Python sends
    LANE_DATA = 1              # messages
    LANE_BULK = 2              # large messages
    LANES = 3
    CHUNK_FIELD = 11           # of luna.v1.Envelope

cdef struct Lane:
    char* data                 # encoded envelopes, as they are in a frame; of the bulk lane none
    size_t start
    size_t size                # bytes that are queued
    size_t capacity
    vector[uint32_t]* lengths  # of the envelopes in data, from `head`
    size_t head
    uint64_t queued            # envelopes so far
    uint64_t taken             # of those
    uint64_t* last             # by the place of a pair: `queued` when it queued its last one

# What is queued in the bulk lane.
cdef struct BulkItem:
    Signal* signal
    uint8_t* head              # of its encoded envelope, all but the message's data
    size_t head_size
    size_t total               # bytes of the envelope
    uint64_t after_control     # `taken` that the other lanes must have reached
    uint64_t after_data

# An envelope that comes in pieces.
cdef struct Partial:
    char* data
    size_t size
    size_t capacity
    size_t total               # 0: none is under way

cdef struct Peer:
    Peer* next                 # of all; constant, as the next three
    Peer* next_in_place
    Runtime* runtime
    int node_id
    Peer* next_ready           # while signalled; owned by the runtime's peers_lock
    pthread_mutex_t lock
    pthread_mutex_t inbound_lock   # held while a frame is delivered, and a session begins or ends
    uint64_t session           # the current one's id
    uint32_t session_count     # how many there were; owned by both locks
    int down                   # the last one has ended; owned by both locks
    int signalled              # the transport is told, and has not looked yet
    Lane lanes[LANES]
    WaitingLine lines[LANES]          # who waits for room in each
    deque[BulkItem]* bulk      # in the bulk lane
    size_t bulk_sent           # bytes of its first item
    Partial partial            # owned by the inbound lock
    unordered_set[int64_t]* bound     # local processes with links or monitors across
    int64_t chunks_in
    int64_t chunks_out
    int64_t frames_in
    int64_t frames_out
    int64_t envelopes_in
    int64_t envelopes_out
    int64_t bytes_in
    int64_t bytes_out
    # spawns: see _remote_spawn
    int spawns_asked           # of the peer, and not answered yet
    int spawns_served          # for the peer, and not answered yet
    int64_t spawns_refused     # of the peer's, because too many were under way
    Config* config             # of its last spawn; owned by inbound_lock, as the next
    string* config_text        # what it was made of

cdef struct Runtime:
    int64_t node_id
    int worker_count
    Worker* workers            # and one more, for a thread that borrows
    int borrowed               # a thread does: see _borrow
    int64_t borrowed_since_ns      # owned by that thread, as the next
    int64_t borrow_not_before_ns
    int stopping
    int started
    int64_t processes_max
    void* names                # see _names
    int trace                  # TRACE_...; fixed before the start, as the next
    int trace_is_json
    pthread_mutex_t trace_lock
    int64_t trace_dropped      # lines since stderr took one
    Row* rows                  # the host-call table, Python's
    int row_count
    int pressure               # no memory for new processes
    int64_t next_serial
    int64_t next_environment   # id of the last EarlyEnvironment made
    Shard shards[SHARDS]
    # run queues
    Queue injector
    pthread_mutex_t injector_lock
    int queued                 # processes in any queue but `next` slots
    pthread_mutex_t park_lock
    int idle
    # clock
    pthread_t clock_thread
    pthread_mutex_t clock_lock     # the heap and the three below
    pthread_cond_t clock_cond
    int clock_ends             # after the scheduler threads, whose guests need it to yield
    int clock_sleeping
    int64_t clock_deadline_ns
    TimerNode** heap
    int64_t heap_count
    int64_t heap_capacity
    int64_t epoch
    wasm_engine_t* engines[ENGINES_MAX]
    Relay relays[ENGINES_MAX]  # of the same index
    int engine_count
    # to Python
    pthread_mutex_t event_lock
    Event* first_event
    Event* last_event
    int event_fd
    int64_t next_request
    int64_t failures_since     # when the second began that failures_logged counts in
    int failures_logged
    int64_t failures_counted   # that the log has no place for
    # to other nodes
    pthread_mutex_t peers_lock     # the next two, and changes of the places
    Peer* peers
    Peer* ready_peers          # those that are signalled
    Peer* peer_places[PEER_PLACES]     # by node id; read without a lock
    int outgoing_fd
    int64_t counters[COUNTERS]
    pthread_mutex_t modules_lock
    unordered_map[int64_t, Module*]* modules   # those that exist, by their ids; it holds no references


cdef inline void let_go_soon(Process* process) noexcept nogil:
    """Have the guest yield at its next call, or at the next epoch if it loops: something has changed."""
    wasmtime_context_set_epoch_deadline(process.context, 0)


cdef inline void let_go_now(Process* process) noexcept nogil:
    """Have the guest yield at its next call or turn of a loop: it must not produce more now.

    Compiled loops look at the deadline again only when the epoch has passed the
    one they remember, so the epoch is raised; whoever else runs yields once too early.
    """
    wasmtime_context_set_epoch_deadline(process.context, 0)
    wasmtime_engine_increment_epoch(
        process.module.fuel_engine if process.config.max_fuel else process.module.engine
    )
