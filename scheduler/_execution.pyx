"""Runs a process for one turn: instantiate, call, resume, park, preempt, end.

Everything here happens on a scheduler thread's own stack, never on a fiber:
host functions only note what a guest waits for, the work is done after the
fiber was left.
"""

from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport strlen

from luna.scheduler._clock cimport set_timer
from luna.scheduler._code cimport find_code
from luna.scheduler._delivery cimport deliver, settle, tell
from luna.scheduler._events cimport abandon_request, emit
from luna.scheduler._failure cimport end_with_error, end_with_status, end_with_trap, log_failure
from luna.scheduler._links cimport be_watched, link_to
from luna.scheduler._output cimport hold
from luna.scheduler._platform cimport *
from luna.scheduler._process cimport bury, drain, end, free_process
from luna.scheduler._remote_spawn cimport report_to_peer
from luna.scheduler._runqueue cimport requeue_preempted
from luna.scheduler._signals cimport free_signal, new_signal, retain_output, set_text
from luna.scheduler._trace cimport trace_birth, trace_end
from luna.scheduler._types cimport *
from luna.scheduler._wasi cimport give_wasi

cdef uint64_t FUEL_PER_UNIT = 100_000
cdef uint64_t FUEL_MAX = 0x7FFFFFFFFFFFFFFF


# -- how a call ended ----------------------------------------------------------------

cdef void drop_future(Process* process) noexcept nogil:
    """Deleting a pending future unwinds its fiber: this is how a process is stopped."""
    if process.future != NULL:
        wasmtime_call_future_delete(process.future)
        process.future = NULL
        luna_add64(&process.runtime.counters[COUNT_FUTURES], -1)


cdef void take_failure(Process* process) noexcept nogil:
    cdef wasm_trap_t* trap = process.trap
    cdef wasmtime_error_t* error = process.error
    process.trap = NULL
    process.error = NULL
    if process.exiting:
        end_with_status(process, process.exit_status)
    if trap != NULL:
        end_with_trap(process, trap)
    if error != NULL:
        end_with_error(process, error)


# -- birth ---------------------------------------------------------------------------

cdef void ask_for_code(Process* process) noexcept nogil:
    """Have Python link the module for what this process may do."""
    cdef RowSet* refused = <RowSet*>malloc(sizeof(RowSet))
    refused[0] = process.config.refused
    process.wait = WAIT_CODE
    emit(process.runtime, EVENT_CODE, process.pid, process.module.id, process.config.max_fuel != 0, refused, NULL)


cdef void begin(Process* process) noexcept nogil:
    """Make the store and start to instantiate, or wait for code linked for its limits."""
    cdef Module* module = process.module
    cdef Config* config = process.config
    cdef wasm_engine_t* engine = module.engine
    cdef wasmtime_instance_pre_t* code = module.code
    cdef uint64_t fuel
    if config.max_fuel != 0 or config.restricts:
        process.code = find_code(module, config.max_fuel != 0, &config.refused)
        if process.code == NULL:
            ask_for_code(process)
            return
        code = process.code.linked
    if config.max_fuel != 0:
        engine = module.fuel_engine
    process.store = wasmtime_store_new(engine, process, NULL)
    luna_add64(&process.runtime.counters[COUNT_STORES], 1)
    process.context = wasmtime_store_context(process.store)
    wasmtime_store_limiter(
        process.store,
        <int64_t>config.max_memory if config.max_memory < FUEL_MAX else -1,
        TABLE_ELEMENTS_MAX - 1, INSTANCES_MAX, 1, 1,
    )
    wasmtime_context_epoch_deadline_async_yield_and_update(process.context, 1)
    wasmtime_context_set_epoch_deadline(process.context, 1)
    if config.max_fuel != 0:
        fuel = config.max_fuel
        fuel = FUEL_MAX if fuel > FUEL_MAX // FUEL_PER_UNIT else fuel * FUEL_PER_UNIT
        process.error = wasmtime_context_set_fuel(process.context, fuel)
    if process.error != NULL:
        take_failure(process)
        return
    if module.uses_wasi and not give_wasi(process):
        return
    process.future = wasmtime_instance_pre_instantiate_async(
        code, process.context, &process.instance, &process.trap, &process.error
    )
    luna_add64(&process.runtime.counters[COUNT_FUTURES], 1)
    process.phase = PHASE_INSTANTIATING


cdef void report_spawn(Process* process, const char* error) noexcept nogil:
    """Tell whoever spawned this process that it lives, or why it does not."""
    cdef Runtime* runtime = process.runtime
    cdef Signal* answer
    cdef int64_t pid = process.pid if error == NULL else 0
    if process.spawn_token != 0:
        emit(runtime, EVENT_SPAWNED, process.spawn_token, pid, 0, NULL, error)
        return
    if process.parent >> NODE_SHIFT != runtime.node_id:
        report_to_peer(process, error)
        return
    answer = new_signal(runtime, SIGNAL_SPAWNED, process.pid)
    answer.value = pid
    answer.tag = process.parent_wait
    if error != NULL:
        set_text(answer, error)
    if deliver(runtime, answer, process.parent, process.environment, NULL) == 0:
        process.wait = WAIT_NONE  # no parent will tell it to start


cdef void be_born(Process* process) noexcept nogil:
    """Instantiated: link, tell the parent, and wait until it has gone on.

    A child that ran before its parent's spawn returned could end before the
    parent's next call; programs rely on being first. A parent on another node
    is not waited for: it learns of the child and its link at once, by the answer.
    """
    cdef Runtime* runtime = process.runtime
    cdef int is_asked_from_afar = process.spawn_token == 0 and process.parent >> NODE_SHIFT != runtime.node_id
    cdef Signal* link
    process.phase = PHASE_READY
    if runtime.trace & TRACE_LIVES:
        trace_birth(process)
    if process.monitor_parent:
        be_watched(process, process.parent, process.parent_session)
    if process.link_parent and is_asked_from_afar:
        link_to(process, process.parent, process.link_tag, 0, process.parent_session)
    elif process.link_parent:
        # Into the parent's signals first: it must know the link before any death.
        link = new_signal(runtime, SIGNAL_LINK, process.pid)
        link.value = process.link_tag
        link.session = link_to(process, process.parent, process.link_tag, 0, process.parent_session)
        if link.session != NO_SESSION:
            deliver(runtime, link, process.parent, process.environment, NULL)
        else:
            free_signal(runtime, link)
    if process.spawn_token == 0 and not is_asked_from_afar:
        process.wait = WAIT_START
    report_spawn(process, NULL)


cdef int find_entry(Process* process) noexcept nogil:
    cdef wasmtime_extern_t export
    if not wasmtime_instance_export_get(
        process.context, &process.instance, process.entry, strlen(process.entry), &export
    ) or export.kind != LUNA_EXTERN_FUNC:
        return 0
    process.function = export.of.func
    return 1


cdef void make_room_for_results(Process* process) noexcept nogil:
    """For the values that an entry of early Lunatic may return; nobody reads them."""
    cdef wasm_functype_t* kind = wasmtime_func_type(process.context, &process.function)
    process.result_count = wasm_functype_results(kind).size
    wasm_functype_delete(kind)
    process.results = <wasmtime_val_t*>calloc(process.result_count + 1, sizeof(wasmtime_val_t))


cdef void call_entry(Process* process) noexcept nogil:
    cdef char text[512]
    if not find_entry(process):
        snprintf(text, sizeof(text), b"the module exports no function %.400s", process.entry)
        end(process, EXIT_FAILURE, 1, text)
        return
    if process.checks_entry:
        make_room_for_results(process)
    wasmtime_context_set_epoch_deadline(process.context, 1)
    process.future = wasmtime_func_call_async(
        process.context, &process.function, process.params, process.param_count,
        process.results, process.result_count, &process.trap, &process.error,
    )
    luna_add64(&process.runtime.counters[COUNT_FUTURES], 1)
    process.phase = PHASE_CALLING


# -- one turn --------------------------------------------------------------------------

cdef void finish_step(Process* process) noexcept nogil:
    """The future is done: go on to the next phase, or end."""
    cdef char text[512]
    drop_future(process)
    take_failure(process)
    if process.exit_kind >= 0:
        return
    if process.phase == PHASE_INSTANTIATING and process.checks_entry and not find_entry(process):
        snprintf(text, sizeof(text), b"Function '%.400s' not found", process.entry)
        end(process, EXIT_FAILURE, 1, text)
    elif process.phase == PHASE_INSTANTIATING:
        be_born(process)
    else:
        end(process, EXIT_NORMAL, 0, b"returned")


cdef void destroy(Process* process) noexcept nogil:
    """Free a process nobody runs or reaches any more."""
    drop_future(process)
    free_process(process)


cdef void conclude(Process* process) noexcept nogil:
    """The end: tell other processes, free, then tell Python, who may count on what was freed."""
    cdef Runtime* runtime = process.runtime
    cdef Output* output = process.output
    cdef int64_t pid = process.pid
    cdef int kind = process.exit_kind
    cdef int code = process.exit_code
    cdef char* text = process.exit_text
    cdef int is_told
    cdef int owns_foreign
    if process.request != NULL:
        emit(runtime, EVENT_CANCELLED, process.request.id, 0, 0, NULL, NULL)
        abandon_request(process)
    if runtime.trace & TRACE_LIVES:
        trace_end(process)
    owns_foreign = process.owns_foreign
    if process.phase <= PHASE_INSTANTIATING:
        report_spawn(process, process.exit_text)
    elif kind == EXIT_FAILURE:
        log_failure(process)
    bury(process)
    is_told = (process.watched and process.phase > PHASE_INSTANTIATING) or output.size > 0
    if is_told:
        retain_output(output)
    process.exit_text = NULL
    destroy(process)
    if owns_foreign:
        emit(runtime, EVENT_RELEASED, pid, 0, 0, NULL, NULL)
    if is_told:
        emit(runtime, EVENT_EXITED, pid, kind, code, output, text)
    free(text)


cdef int must_pause(Process* process) noexcept nogil:
    """Whether it has filled a log that others empty; SIGNAL_ROOM tells it to go on."""
    if process.blocked_output:
        process.blocked_output = 0
        return hold(process.output, process.pid)
    return 0


cdef int step(Worker* worker, Process* process) noexcept nogil:
    """Run the guest until it lets go; 1 when the process may be looked at again."""
    cdef int done
    if process.phase == PHASE_NEW:
        begin(process)
        return 1
    if must_pause(process):
        process.wait = WAIT_ROOM if process.wait == WAIT_NONE else WAIT_ROOM_DONE
        return 1
    if process.phase == PHASE_READY:
        call_entry(process)
        if process.exit_kind >= 0:
            return 1
    # A whole time slice for each turn. Host calls must not renew it: a guest that
    # makes them without end would never yield.
    wasmtime_context_set_epoch_deadline(process.context, 1)
    done = wasmtime_call_future_poll(process.future)
    if process.newborn:
        tell(process.runtime, SIGNAL_START, process.pid, process.newborn, 0)
        process.newborn = 0
    if done:
        finish_step(process)
        return 1
    if process.has_memory:
        luna_store64(&process.memory_bytes, <int64_t>wasmtime_memory_data_size(process.context, &process.memory))
    if process.exit_kind >= 0 or process.wait != WAIT_NONE:
        return 1
    luna_add64(&process.runtime.counters[TOTAL_PREEMPTED], 1)
    luna_store(&process.state, STATE_QUEUED)
    requeue_preempted(worker, process)
    return 0


cdef inline int is_held_back(Process* process) noexcept nogil:
    """Whether what it sends to other nodes waits for room, and it with that; settles what can be."""
    if process.held == NULL and process.crowded_node == 0 and process.blocked_session == NO_SESSION and \
            process.turn_node == 0:
        return 0
    return settle(process)


cdef void run(Worker* worker, Process* process) noexcept nogil:
    """One turn of a process taken from a run queue."""
    cdef int held_back
    # A full barrier: a sender that sees the old state did push before this reads the inbox.
    luna_exchange(&process.state, STATE_RUNNING)
    while True:
        drain(process)
        held_back = is_held_back(process)
        if process.exit_kind >= 0 and process.held == NULL:
            conclude(process)
            return
        if process.exit_kind < 0 and process.wait <= WAIT_DONE and not held_back:
            if not step(worker, process):
                return
            continue
        if process.has_timer and not process.timer_armed:
            process.timer_armed = 1
            if not set_timer(process.runtime, &process.timer, process.timer.deadline_ns):
                end(process, EXIT_FAILURE, 1, b"no memory for its timer")
                continue
        if luna_cas(&process.state, STATE_RUNNING, STATE_WAITING):
            return
        luna_exchange(&process.state, STATE_RUNNING)
