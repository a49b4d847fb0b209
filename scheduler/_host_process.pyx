"""Host functions of `lunatic::process` and `lunatic::distributed` about processes.

Spawning notes the child and suspends; the child is instantiated on a scheduler
thread and answers with a signal.
"""

from libc.stdlib cimport malloc
from libc.string cimport memchr

from luna.scheduler._delivery cimport deliver
from luna.scheduler._early cimport enter_environment, own_environment
from luna.scheduler._guest cimport *
from luna.scheduler._links cimport bind_to_node, forget_link, forget_watched, link_with, watch
from luna.scheduler._namespaces cimport narrow_namespaces
from luna.scheduler._output cimport new_output
from luna.scheduler._platform cimport *
from luna.scheduler._process cimport add_error, free_process, launch, new_process
from luna.scheduler._signals cimport *
from luna.scheduler._table cimport is_alive
from luna.scheduler._types cimport *

cdef uint32_t PARAM_BYTES = 17


# -- spawn -----------------------------------------------------------------------------

cdef Config* child_config(Process* process, int64_t id) noexcept nogil:
    """The config a child gets (a new reference). NULL: unknown id."""
    cdef Config* config
    if id == -1:
        retain_config(process.config)
        return process.config
    config = <Config*>table_get(&process.configs, <uint64_t>id)
    return narrowed(process, config) if config != NULL else NULL


cdef Config* narrowed(Process* process, Config* wanted) noexcept nogil:
    """A new config: what is wanted for a child, but never more than its parent's."""
    cdef Config* own = process.config
    cdef Config* config = copy_config(process.runtime, wanted)
    if config.max_memory > own.max_memory:
        config.max_memory = own.max_memory
    if own.max_fuel != 0 and (config.max_fuel == 0 or config.max_fuel > own.max_fuel):
        config.max_fuel = own.max_fuel
    config.can_compile = config.can_compile and own.can_compile
    config.can_create_configs = config.can_create_configs and own.can_create_configs
    config.can_spawn = config.can_spawn and own.can_spawn
    narrow_namespaces(process.runtime, config, own)
    return config


cdef const char* read_params(Process* child, const uint8_t* records, uint32_t size) noexcept nogil:
    """Decode 17-byte records (type, 16 bytes little endian); NULL or what is wrong."""
    cdef uint32_t count = size // PARAM_BYTES
    cdef uint32_t index
    cdef const uint8_t* record
    if size % PARAM_BYTES != 0:
        return b"lunatic::process::spawn: the parameters are not a whole number of 17-byte records"
    if count > ENTRY_PARAMS_MAX:
        return b"lunatic::process::spawn: at most 128 parameters"
    if count == 0:
        return NULL
    child.params = <wasmtime_val_t*>malloc(count * sizeof(wasmtime_val_t))
    child.param_count = count
    for index in range(count):
        record = records + index * PARAM_BYTES
        if record[0] == 0x7F:
            child.params[index].kind = <uint8_t>LUNA_WASM_I32
            memcpy(&child.params[index].of, record + 1, 4)
        elif record[0] == 0x7E:
            child.params[index].kind = <uint8_t>LUNA_WASM_I64
            memcpy(&child.params[index].of, record + 1, 8)
        elif record[0] == 0x7B:
            child.params[index].kind = <uint8_t>LUNA_WASM_V128
            memcpy(&child.params[index].of, record + 1, 16)
        else:
            return b"lunatic::process::spawn: a parameter type is not 0x7F (i32), 0x7E (i64) or 0x7B (v128)"
    return NULL


cdef void spawn_failed(Process* process, const char* text) noexcept nogil:
    """Answer the spawn with code 1 and an error id."""
    process.wait_value = add_error(process, text, strlen(text))
    process.wait = WAIT_SPAWN
    end_wait(process, 1)


cdef void spawn(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef Module* module = process.module
    cdef Config* config
    cdef Birth birth
    prepare(process, results, nresults, trap_out, continuation)
    if not may_spawn(process):
        return
    if args[2].of.i64 != -1:
        module = <Module*>table_get(&process.modules, <uint64_t>args[2].of.i64)
        if module == NULL:
            fail(process, b"lunatic::process::spawn: this process has no module of that id")
            return
    if not read_birth(process, caller, args + 3, &birth):
        return
    config = child_config(process, args[1].of.i64)
    if config == NULL:
        fail(process, b"lunatic::process::spawn: this process has no config of that id")
        return
    birth.link_tag = args[0].of.i64
    birth.monitor = 0
    birth.early = 0
    bear(process, module, config, own_environment(process), &birth)


cdef int may_spawn(Process* process) noexcept nogil:
    """0 when it fails: the process has not the right, or does not run yet."""
    if not process.config.can_spawn:
        fail(process, b"lunatic::process::spawn: this process may not spawn processes (config can_spawn_processes)")
        return 0
    if process.phase < PHASE_CALLING:
        fail(process, b"lunatic::process::spawn: not possible in the start section of a module")
        return 0
    return 1


cdef int read_birth(Process* process, wasmtime_caller_t* caller, const wasmtime_val_t* args, Birth* birth) noexcept nogil:
    """Read the name of an entry, its parameters and where the answer goes; 0 when it fails for them."""
    birth.name_size = <uint32_t>args[1].of.i32
    birth.params_size = <uint32_t>args[3].of.i32
    birth.out = <uint32_t>args[4].of.i32
    birth.name = span(process, caller, <uint32_t>args[0].of.i32, birth.name_size)
    birth.params = span(process, caller, <uint32_t>args[2].of.i32, birth.params_size)
    if birth.name == NULL or birth.params == NULL:
        fail_out_of_bounds(process, b"lunatic::process::spawn")
        return 0
    if birth.name_size > ENTRY_NAME_MAX or not is_utf8(birth.name, birth.name_size) or \
            memchr(birth.name, 0, birth.name_size) != NULL:
        fail(process, b"lunatic::process::spawn: the function name is not UTF-8 of at most 4096 bytes without a zero")
        return 0
    return 1


cdef void bear(Process* process, Module* module, Config* config, EarlyEnvironment* environment, Birth* birth) noexcept nogil:
    """Make a child and wait until it is born; takes the config over."""
    cdef Runtime* runtime = process.runtime
    cdef Process* child
    cdef const char* wrong
    process.wait_writes = 1
    process.wait_out = birth.out
    process.wait_node = -1
    process.spawn_monitors = birth.monitor
    if luna_load(&runtime.pressure):
        release_config(runtime, config)
        spawn_failed(process, b"this node is short of memory and takes no new processes now")
        return
    child = new_process(
        runtime, module, config, process.environment,
        new_output(
            runtime, 0, process.output.mode,
            process.output.leader if process.output.leader != NULL else process.output,
        ),
        <const char*>birth.name, birth.name_size,
    )
    release_config(runtime, config)
    if child == NULL:
        spawn_failed(process, b"this node holds as many processes as it may: see --max-processes")
        return
    child.output.pid = child.pid
    wrong = read_params(child, birth.params, birth.params_size)
    if wrong != NULL:
        free_process(child)
        fail(process, wrong)
        return
    child.parent = process.pid
    child.link_parent = birth.link_tag != 0
    child.link_tag = birth.link_tag
    child.monitor_parent = birth.monitor
    child.checks_entry = birth.early
    enter_environment(child, environment)
    child.parent_wait = process.wait_sequence
    process.wait = WAIT_SPAWN
    if not launch(child):
        free_process(child)
        spawn_failed(process, b"no memory for another process")


# -- itself ------------------------------------------------------------------------------

cdef wasm_trap_t* process_id(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    args[0].i64 = caller_process(caller).pid
    return NULL


cdef wasm_trap_t* environment_id(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    args[0].i64 = <int64_t>caller_process(caller).environment
    return NULL


cdef wasm_trap_t* node_id(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    args[0].i64 = caller_process(caller).runtime.node_id
    return NULL


cdef wasm_trap_t* module_id(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    args[0].i64 = process.module.id if process.runtime.node_id != 0 else 0
    return NULL


cdef wasm_trap_t* die_when_link_dies(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    # Through its own signals: a link death that arrived before still meets the old setting.
    cdef Process* process = caller_process(caller)
    cdef Signal* signal = new_signal(process.runtime, SIGNAL_DIE_WHEN_LINK_DIES, process.pid)
    signal.value = args[0].i32 != 0
    deliver(process.runtime, signal, process.pid, process.environment, process)
    return NULL


cdef void sleep_ms(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cdef Process* process = caller_process(caller)
    prepare(process, results, nresults, trap_out, continuation)
    process.wait = WAIT_SLEEP
    set_deadline(process, <uint64_t>args[0].of.i64)


# -- others --------------------------------------------------------------------------------

cdef wasm_trap_t* link(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    if args[1].i64 != process.pid:
        link_with(process, args[1].i64, args[0].i64, 0)
        let_go_soon(process)
    return NULL


cdef void send_plain(Process* process, int kind, int64_t target) noexcept nogil:
    deliver(
        process.runtime, new_signal(process.runtime, kind, process.pid),
        target, process.environment, process,
    )


cdef wasm_trap_t* unlink(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    forget_link(process, args[0].i64)
    send_plain(process, SIGNAL_UNLINK, args[0].i64)
    return NULL


cdef wasm_trap_t* monitor(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    watch(process, args[0].i64, process.environment)
    if process.exit_kind >= 0:
        let_go_soon(process)
    return NULL


cdef wasm_trap_t* stop_monitoring(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    forget_watched(process, args[0].i64)
    send_plain(process, SIGNAL_STOP_MONITORING, args[0].i64)
    return NULL


cdef wasm_trap_t* kill(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    send_plain(process, SIGNAL_KILL, args[0].i64)
    if args[0].i64 == process.pid:
        let_go_soon(process)
    return NULL


cdef void exists(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef Runtime* runtime = process.runtime
    cdef int64_t target = args[0].of.i64
    cdef int node = <int>(target >> NODE_SHIFT)
    cdef Signal* question
    cdef uint32_t session
    prepare(process, results, nresults, trap_out, continuation)
    session = bind_to_node(process, target, CURRENT_SESSION)
    process.wait = WAIT_RESULT
    if node == runtime.node_id:
        end_wait(process, is_alive(runtime, target, process.environment))
        return
    if session == NO_SESSION:
        end_wait(process, 0)
        return
    process.wait_node = node
    question = new_signal(runtime, SIGNAL_EXISTS, process.pid)
    question.value = process.wait_sequence
    question.session = session
    deliver(runtime, question, target, process.environment, process)


def functions():
    """(namespace, name) -> (address, suspends) of the functions in this module."""
    return {
        ("lunatic::process", "spawn"): (<size_t>spawn, True),
        ("lunatic::process", "process_id"): (<size_t>process_id, False),
        ("lunatic::process", "environment_id"): (<size_t>environment_id, False),
        ("lunatic::process", "die_when_link_dies"): (<size_t>die_when_link_dies, False),
        ("lunatic::process", "sleep_ms"): (<size_t>sleep_ms, True),
        ("lunatic::process", "link"): (<size_t>link, False),
        ("lunatic::process", "unlink"): (<size_t>unlink, False),
        ("lunatic::process", "monitor"): (<size_t>monitor, False),
        ("lunatic::process", "stop_monitoring"): (<size_t>stop_monitoring, False),
        ("lunatic::process", "kill"): (<size_t>kill, False),
        ("lunatic::process", "exists"): (<size_t>exists, True),
        ("lunatic::distributed", "node_id"): (<size_t>node_id, False),
        ("lunatic::distributed", "module_id"): (<size_t>module_id, False),
    }
