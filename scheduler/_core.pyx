"""The native core as Python sees it: one Core per runtime.

Owns the runtime's threads and everything they use. Every method may be called
from any thread unless it says otherwise; none holds the GIL while it waits.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cython.operator cimport dereference as deref
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, strncpy

from luna.scheduler._borrow cimport await_borrower, begin_borrowing, end_borrowing
from luna.scheduler._code cimport init_modules, list_module
from luna.scheduler._clock cimport empty_clock, init_clock, run_clock
from luna.scheduler._delivery cimport bring_peer_up, deliver, deliver_frame, take_peer_down, take_planned
from luna.scheduler._events cimport *
from luna.scheduler._execution cimport destroy
from luna.scheduler._linker cimport HostTable, Linker
from luna.scheduler._handles cimport NativeModule, NativeOutput, NativeRequest, wrap_output
from luna.scheduler._memories cimport use_slab_memories
from luna.scheduler._names cimport *
from luna.scheduler._namespaces cimport allow_namespace, refuse_everything
from luna.scheduler._output cimport new_output
from luna.scheduler._peers cimport (
    FramePlan, await_frames, close_peers, current_session, find_peer, init_peers, plan_frame, queue_bytes,
    take_ready as take_signalled,
)
from luna.scheduler._platform cimport *
from luna.scheduler._process cimport free_process, launch, new_process
from luna.scheduler._remote_spawn cimport serve_order
from luna.scheduler._runqueue cimport init_queues, wake_everybody
from luna.scheduler._signals cimport *
from luna.scheduler._stacks cimport stacks_in_use, use_slab_stacks
from luna.scheduler._table cimport init_table, is_alive, lock_process, take_slots, unlock_process
from luna.scheduler._types cimport *
from luna.scheduler._worker cimport run_worker

cdef extern from * nogil:
    """
    #include <signal.h>
    /* Signals belong to Python's main thread, all but those wasm traps come as. */
    static inline void luna_mask_signals(sigset_t *old) {
        sigset_t all;
        sigfillset(&all);
        sigdelset(&all, SIGSEGV); sigdelset(&all, SIGBUS); sigdelset(&all, SIGFPE);
        sigdelset(&all, SIGILL); sigdelset(&all, SIGTRAP);
        pthread_sigmask(SIG_SETMASK, &all, old);
    }
    static inline void luna_restore_signals(sigset_t *old) { pthread_sigmask(SIG_SETMASK, old, NULL); }
    """
    ctypedef struct sigset_t:
        pass
    void luna_mask_signals(sigset_t*)
    void luna_restore_signals(sigset_t*)


cdef enum:
    SNAPSHOT_ENTRY_BYTES = 128     # of an entry name shown to people

# Kinds of events, for Python.
REQUEST, CANCELLED, SPAWNED, EXITED, OUTPUT, CODE, RELEASED, DROPPED, FAILED, FLOOD, FORGOTTEN, UNNAMED = (
    EVENT_REQUEST, EVENT_CANCELLED, EVENT_SPAWNED, EVENT_EXITED, EVENT_OUTPUT, EVENT_CODE, EVENT_RELEASED,
    EVENT_DROPPED, EVENT_FAILED, EVENT_FLOOD, EVENT_FORGOTTEN, EVENT_UNNAMED,
)

COUNTER_NAMES = (
    "stores", "futures", "stacks", "signals", "processes", "configs", "modules", "outputs", "requests",
    "timers", "environments", "spawned", "exited", "sent", "sent_remote", "preempted", "stolen",
)
"""Names of the counters; the first BALANCED return to zero when nothing is left."""
BALANCED = TOTAL_SPAWNED
VALUE_KINDS = {"i32": LUNA_WASM_I32, "i64": LUNA_WASM_I64, "v128": LUNA_WASM_V128}
STATES = ("waiting", "runnable", "running", "running")


def prepare_config(size_t config, bint copies_data) -> None:
    """Have engines of a wasm_config_t at that address use the core's fiber stacks.

    And its linear memories, unless they share a module's data by copy-on-write.
    """
    use_slab_stacks(<wasm_config_t*>config)
    if copies_data:
        use_slab_memories(<wasm_config_t*>config)


cdef struct Snapshot:
    int64_t pid
    int64_t parent
    uint64_t environment
    uint8_t sha256[32]
    char entry[SNAPSHOT_ENTRY_BYTES]
    int state
    int64_t messages
    int64_t memory_bytes
    int64_t born_ns


cdef void take_snapshots(Shard* shard, vector[Snapshot]* snapshots) noexcept nogil:
    """Copy what is told about the processes of a shard."""
    cdef Snapshot snapshot
    cdef Process* process
    cdef size_t slot
    pthread_mutex_lock(&shard.lock)
    for slot in range(shard.capacity):
        process = shard.slots[slot]
        if process == NULL:
            continue
        snapshot.pid = process.pid
        snapshot.parent = process.parent
        snapshot.environment = process.environment
        memcpy(snapshot.sha256, process.module.sha256, 32)
        strncpy(snapshot.entry, process.entry, SNAPSHOT_ENTRY_BYTES - 1)
        snapshot.entry[SNAPSHOT_ENTRY_BYTES - 1] = 0
        snapshot.state = luna_load(&process.state)
        snapshot.messages = luna_load64(&process.mailbox.count)
        snapshot.memory_bytes = luna_load64(&process.memory_bytes)
        snapshot.born_ns = process.born_ns
        snapshots.push_back(snapshot)
    pthread_mutex_unlock(&shard.lock)


cdef list decoded(vector[string]* texts):
    return [text.decode() for text in deref(texts)]


cdef void free_texts(vector[string]* texts) noexcept nogil:
    del texts


cdef void discard_events(Runtime* runtime) noexcept nogil:
    """Free events that nobody will take."""
    cdef Event* event = take_events(runtime)
    cdef Event* following
    while event != NULL:
        following = event.next
        if event.kind == EVENT_REQUEST:
            release_request(<Request*>event.pointer)
        elif event.kind == EVENT_EXITED:
            release_output(<Output*>event.pointer)
        elif event.kind == EVENT_CODE:
            free(event.pointer)
        elif event.kind == EVENT_FAILED:
            free_texts(<vector[string]*>event.pointer)
        free_event(event)
        event = following


cdef class Core:
    """The runtime: its threads, its processes, its queues to other nodes."""

    def __cinit__(self, int64_t node_id, int threads, int64_t processes_max):
        cdef int index
        if not 1 <= threads <= 256 or not 0 <= node_id < 1 << 23 or not 1 <= processes_max <= PROCESSES_MAX:
            raise ValueError("threads, node id or process limit out of range")
        self.runtime = <Runtime*>calloc(1, sizeof(Runtime))
        self.runtime.node_id = node_id
        self.runtime.processes_max = processes_max
        self.runtime.worker_count = threads
        self.runtime.workers = <Worker*>calloc(<size_t>threads + 1, sizeof(Worker))
        init_queues(self.runtime)
        init_clock(self.runtime)
        init_table(self.runtime)
        init_names(self.runtime)
        init_modules(self.runtime)
        if not init_events(self.runtime) or not init_peers(self.runtime):
            raise OSError("no file descriptor left for the runtime")

    def __dealloc__(self):
        # Requests, modules and outputs that Python still holds point to the
        # runtime, and other threads may ask it, so it and its locks stay; a
        # stopped one is a few kilobytes.
        if self.runtime != NULL and self.running:
            self.stop()

    def add_engine(self, size_t engine) -> None:
        """Have the clock raise this engine's epochs; it must outlive the core."""
        if self.runtime.engine_count >= ENGINES_MAX:
            raise ValueError(f"at most {ENGINES_MAX} engines")
        self.runtime.engines[self.runtime.engine_count] = <wasm_engine_t*>engine
        luna_add(&self.runtime.engine_count, 1)

    def set_relay(self, size_t engine, size_t relay, Linker wasi) -> None:
        """Pass WASI calls of that engine's guests on by a wasmtime_module_t, linked with `wasi`.

        Before any module is linked that makes such calls; both must outlive the core.
        """
        cdef int index
        for index in range(self.runtime.engine_count):
            if self.runtime.engines[index] == <wasm_engine_t*>engine:
                self.runtime.relays[index].linker = wasi.linker
                self.runtime.relays[index].module = <wasmtime_module_t*>relay

    def set_trace(self, bint lives, bint calls, bint signals, bint is_json) -> None:
        """What is written to stderr of every process. Before anything is linked, and the start."""
        pthread_mutex_init(&self.runtime.trace_lock, NULL)
        self.runtime.trace = TRACE_LIVES * lives | TRACE_CALLS * calls | TRACE_SIGNALS * signals
        self.runtime.trace_is_json = is_json

    def start(self) -> None:
        """Start the scheduler threads and the clock. Raises OSError when the system gives no threads."""
        cdef Runtime* runtime = self.runtime
        cdef int started = 0
        cdef int failed = 0
        cdef bint has_clock
        cdef sigset_t mask
        with nogil:
            luna_mask_signals(&mask)
            failed = pthread_create(&runtime.clock_thread, NULL, run_clock, runtime)
            has_clock = not failed
            while not failed and started < runtime.worker_count:
                failed = pthread_create(&runtime.workers[started].thread, NULL, run_worker, &runtime.workers[started])
                started += not failed
            luna_restore_signals(&mask)
        if failed:
            runtime.worker_count = started
            self.running = has_clock
            self.stop()
            raise OSError(failed, "the system gives no more threads")
        self.running = True

    def stop(self) -> bool:
        """Stop the threads and destroy every process. Nobody is notified. Idempotent.

        Running guests take a time slice at most. False when a thread was still in
        a blocking system call after STOP_PATIENCE_NS (a guest reading a named pipe):
        then everything is left as it is, for the end of the OS process. Afterwards
        the core knows no process and no peer.
        """
        cdef Runtime* runtime = self.runtime
        cdef int index
        cdef int stuck = 0
        cdef int64_t deadline
        if not self.running:
            return True
        self.running = False
        with nogil:
            luna_exchange(&runtime.stopping, 1)
            wake_everybody(runtime)
            await_borrower(runtime)
            deadline = luna_now_ns() + STOP_PATIENCE_NS
            for index in range(runtime.worker_count):
                stuck |= luna_join(runtime.workers[index].thread, max(deadline - luna_now_ns(), <int64_t>0))
            # Always: it ticks engines, and Python may free those as soon as this returns.
            pthread_mutex_lock(&runtime.clock_lock)
            luna_store(&runtime.clock_ends, 1)
            pthread_cond_signal(&runtime.clock_cond)
            pthread_mutex_unlock(&runtime.clock_lock)
            pthread_join(runtime.clock_thread, NULL)
            if not stuck:
                await_frames(runtime)
                self.destroy_processes()
                empty_clock(runtime)
                clear_names(runtime)
                discard_events(runtime)
                close_events(runtime)
        if not stuck:
            close_peers(runtime)  # with the GIL, under which others use their descriptor
        return not stuck

    cdef void destroy_processes(self) noexcept nogil:
        """Destroy every process, once no thread runs them. Other threads may be asking for them."""
        cdef Process** tables[SHARDS]
        cdef size_t capacities[SHARDS]
        cdef int index
        cdef size_t slot
        # All are out of reach before the first is freed: a signal for one queues it behind others.
        for index in range(SHARDS):
            tables[index] = take_slots(&self.runtime.shards[index], &capacities[index])
        for index in range(SHARDS):
            for slot in range(capacities[index]):
                if tables[index][slot] != NULL:
                    destroy(tables[index][slot])
            free(tables[index])

    @property
    def event_fd(self) -> int:
        """Readable when take_events has something."""
        return self.runtime.event_fd

    @property
    def outgoing_fd(self) -> int:
        """Readable when take_ready has something."""
        return self.runtime.outgoing_fd

    def set_host_table(self, HostTable table) -> None:
        """The host calls there are, before any config is made."""
        self.runtime.rows = table.rows
        self.runtime.row_count = table.count
        self.host_table = table

    def module(
        self, bytes sha256, int64_t number, bytes name, bint uses_wasi, size_t engine, size_t fuel_engine, size_t code
    ) -> NativeModule:
        """Wrap linked code (a wasmtime_instance_pre_t, taken over)."""
        cdef NativeModule wrapped = NativeModule.__new__(NativeModule)
        cdef Module* module
        if len(sha256) != 32:
            raise ValueError("a SHA-256 is 32 bytes")
        module = <Module*>calloc(1, sizeof(Module))
        module.references = 1
        module.runtime = self.runtime
        memcpy(module.sha256, PyBytes_AS_STRING(sha256), 32)
        module.id = number
        module.name = copy_text(name, len(name))
        module.uses_wasi = uses_wasi
        module.engine = <wasm_engine_t*>engine
        module.fuel_engine = <wasm_engine_t*>fuel_engine
        module.code = <wasmtime_instance_pre_t*>code
        pthread_mutex_init(&module.codes_lock, NULL)
        module.codes = new vector[Code*]()
        luna_add64(&self.runtime.counters[COUNT_MODULES], 1)
        wrapped.module = module
        wrapped.host_table = self.host_table
        list_module(module)
        return wrapped

    cdef Config* make_config(self, config) except NULL:
        cdef Config* made = new_config(self.runtime)
        cdef pair[string, string] entry
        try:
            made.max_memory = config.max_memory_bytes
            made.max_fuel = config.max_fuel
            made.can_compile = config.can_compile_modules
            made.can_create_configs = config.can_create_configs
            made.can_spawn = config.can_spawn_processes
            for first, second in config.preopens:
                entry.first = first.encode()
                entry.second = second.encode()
                made.preopens.push_back(entry)
            for argument in config.arguments:
                made.arguments.push_back(argument.encode())
            for first, second in config.environment_variables:
                entry.first = first.encode()
                entry.second = second.encode()
                made.variables.push_back(entry)
            if config.namespaces is not None:
                refuse_everything(self.runtime, made)
                for prefix in config.namespaces:
                    if not allow_namespace(self.runtime, made, prefix.encode()):
                        raise ValueError("too many namespaces")
        except BaseException:
            release_config(self.runtime, made)
            raise
        return made

    cdef Output* make_output(self, bint inherit, NativeRequest asker) except NULL:
        cdef Output* theirs
        cdef Output* output
        if asker is None:
            return new_output(self.runtime, 0, OUTPUT_INHERIT if inherit else OUTPUT_BUFFER, NULL)
        theirs = asker.lock().output
        output = new_output(
            self.runtime, 0, theirs.mode, theirs.leader if theirs.leader != NULL else theirs
        )
        asker.unlock()
        return output

    def spawn(
        self, NativeModule module, bytes entry, params, config, uint64_t environment, bint inherit,
        int64_t parent, link_tag, int64_t token, bint watched, bint followed, bint quiet, NativeRequest asker,
    ) -> tuple:
        """Start a process; EVENT_SPAWNED with `token` tells how its birth went.

        `params` are (kind "i32" | "i64" | "v128", 16 bytes little endian). With
        `link_tag` not None it is linked to `parent`, a process of any node. It
        prints where the process that made the request `asker` prints, if given.
        The output returned of a `followed` process is its follower. Of a `quiet` one no
        EVENT_FAILED tells.
        Returns (pid, NativeOutput), or (0, None) when the node is full.
        """
        cdef Process* process
        cdef size_t index
        cdef Output* output
        cdef Config* made
        values = [(VALUE_KINDS[kind], data) for kind, data in params]
        if any([len(data) != 16 for _, data in values]):
            raise ValueError("a parameter is 16 bytes")
        if not self.running:
            return 0, None
        made = self.make_config(config)
        try:
            output = self.make_output(inherit, asker)
        except BaseException:
            release_config(self.runtime, made)
            raise
        process = new_process(self.runtime, module.module, made, environment, output, entry, len(entry))
        release_config(self.runtime, made)
        if process == NULL:
            return 0, None
        output.pid = process.pid
        process.spawn_token = token
        process.watched = watched
        process.logged = LOG_NEVER if quiet else LOG_UNDECIDED
        process.parent = parent
        if link_tag is not None:
            process.link_parent = 1
            process.link_tag = link_tag
            process.parent_session = current_session(self.runtime, <int>(parent >> NODE_SHIFT))
        process.param_count = <uint32_t>len(values)
        process.params = <wasmtime_val_t*>calloc(len(values) + 1, sizeof(wasmtime_val_t))
        for index, (kind, data) in enumerate(values):
            process.params[index].kind = <uint8_t>kind
            memcpy(&process.params[index].of, PyBytes_AS_STRING(data), 16)
        retain_output(output)
        if followed:
            output.followers[0] = 0
        wrapped = wrap_output(output)
        wrapped.place = 0 if followed else -1
        pid = process.pid
        if not launch(process):
            free_process(process)
            return 0, None
        return pid, wrapped

    def take_failures(self) -> int:
        """How many processes failed since the last call, beyond those that EVENT_FAILED told of."""
        return luna_exchange64(&self.runtime.failures_counted, 0)

    def provide_code(self, int64_t pid, error) -> None:
        """Answer EVENT_CODE: the module was given the code, or why it cannot be made."""
        cdef Signal* signal = new_signal(self.runtime, SIGNAL_CODE, 0)
        if error is not None:
            set_text(signal, <bytes>error)
        with nogil:
            deliver(self.runtime, signal, pid, ANY_ENVIRONMENT, NULL)

    def kill(self, int64_t pid) -> bool:
        """Whether there was such a process, on this node."""
        # From the node itself, which is its serial 0: peers refuse what is from nobody of ours.
        cdef Signal* signal = new_signal(self.runtime, SIGNAL_KILL, self.runtime.node_id << NODE_SHIFT)
        cdef int answer
        with nogil:
            answer = deliver(self.runtime, signal, pid, ANY_ENVIRONMENT, NULL)
        return answer != 0

    def exists(self, int64_t pid) -> bool:
        """Whether a process of this node lives, in whatever environment."""
        return pid >> NODE_SHIFT == self.runtime.node_id and is_alive(self.runtime, pid, ANY_ENVIRONMENT) != 0

    def send_message(self, int64_t pid, int64_t tag, bytes data) -> bool:
        """Send a data message to a process of this node, from the node itself; False if it is dead."""
        cdef Signal* signal = new_signal(self.runtime, SIGNAL_MESSAGE, self.runtime.node_id << NODE_SHIFT)
        cdef int answer
        signal.tag = tag
        if not append(signal, PyBytes_AS_STRING(data), len(data)):
            free_signal(self.runtime, signal)
            raise MemoryError
        with nogil:
            answer = deliver(self.runtime, signal, pid, ANY_ENVIRONMENT, NULL)
        return answer != 0

    # -- names --

    def find_name(self, uint64_t environment, bytes name) -> tuple | None:
        """(node id, pid) that a name stands for, held or not; None for none."""
        cdef Registered found
        if find_name(self.runtime, environment, name, len(name), 1, &found) != NAME_TAKEN:
            return None
        return found.node, found.pid

    def put_name(self, uint64_t environment, bytes name, int64_t node, int64_t pid, int64_t stamp_ms) -> bool:
        """Have a name stand for a process, held or not; False when there are too many.

        `stamp_ms` is the wall clock of its registration.
        """
        return put_name(self.runtime, environment, name, len(name), 1, node, pid, stamp_ms) == NAME_TAKEN

    def remove_name(self, uint64_t environment, bytes name) -> None:
        """Forget a name, held or not."""
        remove_name(self.runtime, environment, name, len(name), 1)

    def hold_name(self, uint64_t environment, bytes name, bint held) -> None:
        """Have guests that use a name ask Python for it, or no more."""
        hold_name(self.runtime, environment, name, len(name), held)

    def claim_process(self, int64_t pid) -> bool:
        """Whether a process of this node lives; if so, EVENT_UNNAMED tells of its death once names are shared."""
        return claim_process(self.runtime, pid) != 0

    def share_names(self) -> list:
        """Have guests ask Python for all names but those of this node's processes.

        Returns these as (environment, name, node id, pid, wall clock of the registration in ms); the
        others are forgotten.
        """
        cdef vector[OwnName] found
        cdef OwnName own
        with nogil:
            share_names(self.runtime, &found)
        return [(own.environment, own.name, own.process.node, own.process.pid, own.stamp_ms) for own in found]

    def unshare_names(self) -> None:
        """Have the core answer guests again."""
        unshare_names(self.runtime)

    @property
    def pressure(self) -> bool:
        """Whether the node is short of memory; see set_pressure."""
        return luna_load(&self.runtime.pressure) != 0

    def set_pressure(self, bint pressure) -> None:
        """While set, guests' spawns are refused: the node is short of memory."""
        luna_store(&self.runtime.pressure, pressure)

    def output_of(self, int64_t pid) -> NativeOutput | None:
        """What a live process prints; None if it is dead."""
        cdef Process* process = lock_process(self.runtime, pid)
        if process == NULL:
            return None
        output = process.output
        retain_output(output)
        unlock_process(self.runtime, pid)
        return wrap_output(output)

    def take_events(self) -> list:
        """All events, oldest first, as tuples whose first item is the kind."""
        cdef Event* event
        cdef Event* following
        cdef NativeRequest request
        with nogil:
            event = take_events(self.runtime)
        events = []
        while event != NULL:
            following = event.next
            text = event.text.decode("utf-8", "replace") if event.text != NULL else None
            if event.kind == EVENT_REQUEST:
                request = NativeRequest.__new__(NativeRequest)
                request.request = <Request*>event.pointer
                request.sequence = event.b
                events.append((EVENT_REQUEST, request))
            elif event.kind == EVENT_EXITED:
                output = wrap_output(<Output*>event.pointer)
                events.append((EVENT_EXITED, event.a, event.b, event.c, text, output))
            elif event.kind == EVENT_CODE:
                refused = (<char*>event.pointer)[:sizeof(RowSet)]
                free(event.pointer)
                events.append((EVENT_CODE, event.a, event.b, bool(event.c), refused))
            elif event.kind == EVENT_FAILED:
                names = decoded(<vector[string]*>event.pointer)
                free_texts(<vector[string]*>event.pointer)
                events.append((EVENT_FAILED, event.a, event.b, event.c, names, text))
            else:
                events.append((event.kind, event.a, event.b, text))
            free_event(event)
            event = following
        return events

    def processes(self) -> list:
        """Live processes: (pid, parent, environment, module SHA-256, entry, state, messages, memory bytes, age ns)."""
        cdef int index
        cdef int64_t now = luna_now_ns()
        cdef vector[Snapshot] snapshots
        found = []
        for index in range(SHARDS):
            # No Python object is made under the lock: that may run finalizers, which take locks.
            with nogil:
                snapshots.clear()
                take_snapshots(&self.runtime.shards[index], &snapshots)
            for snapshot in snapshots:
                found.append((
                    snapshot.pid, snapshot.parent, snapshot.environment, (<char*>snapshot.sha256)[:32],
                    snapshot.entry.decode("utf-8", "replace"), STATES[snapshot.state],
                    snapshot.messages, snapshot.memory_bytes, now - snapshot.born_ns,
                ))
        return found

    def counters(self) -> dict:
        """Counter name -> value; the first BALANCED names count what exists now."""
        values = {name: luna_load64(&self.runtime.counters[index]) for index, name in enumerate(COUNTER_NAMES)}
        values["stacks"] = stacks_in_use()
        return values

    # -- other nodes --

    def add_peer(self, int node_id, uint64_t session) -> None:
        """Take signals for this node from now on, for a session; ends the one there is, if it is another."""
        with nogil:
            bring_peer_up(self.runtime, node_id, session)

    def remove_peer(self, int node_id) -> None:
        """The session is over: every link and monitor across fires once, its queue is dropped."""
        with nogil:
            take_peer_down(self.runtime, node_id)

    def take_ready(self) -> list:
        """Node ids whose queue became non-empty since the last call."""
        cdef vector[int] ready
        with nogil:
            take_signalled(self.runtime, &ready)
        return ready

    def take_frame(self, int node_id, uint64_t session, size_t max_bytes, bytes head) -> bytes | None:
        """`head` and the next envelopes of a peer's queue; None when it is empty or in another session."""
        cdef Peer* peer = find_peer(self.runtime, node_id)
        cdef FramePlan plan
        cdef size_t size
        cdef char* out
        if peer == NULL:
            return None
        pthread_mutex_lock(&peer.lock)
        size = plan_frame(peer, session, max_bytes, &plan)
        if size == 0:
            pthread_mutex_unlock(&peer.lock)
            return None
        try:
            frame = PyBytes_FromStringAndSize(NULL, len(head) + <Py_ssize_t>size)
        except MemoryError:
            pthread_mutex_unlock(&peer.lock)
            raise
        out = PyBytes_AS_STRING(frame)
        memcpy(out, PyBytes_AS_STRING(head), len(head))
        out += len(head)
        with nogil:
            take_planned(peer, &plan, out)
        return frame

    def deliver(self, int node_id, uint64_t session, bytes frame, size_t start) -> list | str:
        """Deliver the envelopes of frame[start:] from a peer; a text says what is wrong with them.

        Returns those that are for Python, serialized; nothing of a session that is not the current one.
        """
        cdef Peer* peer = find_peer(self.runtime, node_id)
        cdef vector[pair[size_t, size_t]] extents
        cdef const uint8_t* data = <const uint8_t*>PyBytes_AS_STRING(frame) + start
        cdef size_t size = <size_t>len(frame)
        cdef int good, borrows
        if start > size:
            raise ValueError("the envelopes begin behind the frame's end")
        if peer == NULL:
            return []
        with nogil:
            borrows = size <= BORROW_FRAME_BYTES and begin_borrowing(self.runtime)
            good = deliver_frame(self.runtime, peer, session, data, size - start, &extents)
            if borrows:
                end_borrowing(self.runtime)
        if not good:
            return "sent a malformed frame, or signals in another node's name"
        if good == 2:
            return "asks and links without end, and does not take the answers"
        return [frame[start + extent.first:start + extent.first + extent.second] for extent in extents]

    def send_envelope(self, int node_id, bytes envelope) -> bool:
        """Queue one serialized Envelope; False when there is no such peer."""
        cdef Peer* peer = find_peer(self.runtime, node_id)
        return peer != NULL and queue_bytes(peer, PyBytes_AS_STRING(envelope), len(envelope))

    def serve_spawn(self, int node_id, bytes spawn) -> bool:
        """Start a child for a process of a peer from a serialized Spawn, or refuse it, and answer the peer.

        False when its module is not in memory, no process asked for it, or it is not valid.
        """
        cdef Peer* peer = find_peer(self.runtime, node_id)
        cdef const uint8_t* body = <const uint8_t*>PyBytes_AS_STRING(spawn)
        cdef size_t size = len(spawn)
        cdef int served = 1
        if peer == NULL:
            return True  # nobody waits for an answer
        with nogil:
            pthread_mutex_lock(&peer.inbound_lock)
            if not peer.down:
                served = serve_order(self.runtime, peer, body, size)
            pthread_mutex_unlock(&peer.inbound_lock)
        return served != 0

    def peer_spawns(self, int node_id) -> tuple | None:
        """(asked of a peer, being done for it, refused to it) so far, None if unknown.

        The first two are those not answered yet.
        """
        cdef Peer* peer = find_peer(self.runtime, node_id)
        if peer == NULL:
            return None
        return (
            luna_load(&peer.spawns_asked), luna_load(&peer.spawns_served), luna_load64(&peer.spawns_refused)
        )

    def peer_statistics(self, int node_id) -> tuple | None:
        """The values of a PeerStatistics, None if unknown."""
        cdef Peer* peer = find_peer(self.runtime, node_id)
        if peer == NULL:
            return None
        pthread_mutex_lock(&peer.lock)
        values = (
            peer.lanes[LANE_CONTROL].size + peer.lanes[LANE_DATA].size + peer.lanes[LANE_BULK].size, peer.frames_in, peer.frames_out, peer.envelopes_in, peer.envelopes_out,
            peer.bytes_in, peer.bytes_out, peer.chunks_in, peer.chunks_out,
            peer.lanes[LANE_CONTROL].size, peer.lanes[LANE_DATA].size, peer.lanes[LANE_BULK].size,
            peer.lines[LANE_CONTROL].count + peer.lines[LANE_DATA].count + peer.lines[LANE_BULK].count,
        )
        pthread_mutex_unlock(&peer.lock)
        return values
