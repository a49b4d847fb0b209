"""Host functions of `lunatic::process` and `lunatic::plugin` that only early guests import.

Processes are known by handles of the caller's own. What a child may do is said
by the environment that its module was added to; nothing is, until it is allowed.
"""

from libc.string cimport memset
from libcpp.string cimport string

from luna.scheduler._delivery cimport deliver
from luna.scheduler._early cimport *
from luna.scheduler._guest cimport *
from luna.scheduler._host_config cimport config_of, hand_on_directory, read_text, unknown_config
from luna.scheduler._host_process cimport Birth, bear, may_spawn, narrowed, read_birth
from luna.scheduler._links cimport forget_link, link_with
from luna.scheduler._namespaces cimport allow_namespace, refuse_everything
from luna.scheduler._platform cimport *
from luna.scheduler._process cimport add_error
from luna.scheduler._signals cimport *
from luna.scheduler._types cimport *

cdef uint32_t ID_BYTES = 8
cdef uint32_t UUID_BYTES = 16


cdef wasm_trap_t* unknown(const Row* row, const char* what) noexcept nogil:
    cdef char text[256]
    snprintf(text, sizeof(text), b"%s: this process has no %s of that id", row.name, what)
    return trap(text)


cdef wasm_trap_t* full(const Row* row, const char* what) noexcept nogil:
    cdef char text[256]
    snprintf(text, sizeof(text), b"%s: this process holds too many %s: drop some", row.name, what)
    return trap(text)


cdef inline wasm_trap_t* fail_with(Process* process, uint8_t* out, wasmtime_val_raw_t* args, const char* text) noexcept nogil:
    """Answer with code 1 and the id of an error at `out`."""
    cdef uint64_t id = add_error(process, text, strlen(text))
    memcpy(out, &id, ID_BYTES)
    args[0].i32 = 1
    return NULL


# -- handles -----------------------------------------------------------------------------------

cdef wasm_trap_t* give_handle(const Row* row, Process* process, wasmtime_val_raw_t* args, int64_t pid) noexcept nogil:
    args[0].i64 = add_handle(process, pid)
    return full(row, b"processes") if args[0].i64 == -1 else NULL


cdef wasm_trap_t* this(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    return give_handle(<Row*>env, process, args, process.pid)


cdef wasm_trap_t* clone_process(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef int64_t pid = find_handle(process, args[0].i64)
    if pid == 0:
        return unknown(<Row*>env, b"process")
    return give_handle(<Row*>env, process, args, pid)


cdef wasm_trap_t* drop_process(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    if remove_handle(caller_process(caller), args[0].i64) == 0:
        return unknown(<Row*>env, b"process")
    return NULL


cdef wasm_trap_t* id_of_process(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    # A UUID in Lunatic; a pid is as unique and needs half the bytes.
    cdef Process* process = caller_process(caller)
    cdef int64_t pid = find_handle(process, args[0].i64)
    cdef uint8_t* out
    if pid == 0:
        return unknown(<Row*>env, b"process")
    out = span(process, caller, <uint32_t>args[1].i32, UUID_BYTES)
    if out == NULL:
        return out_of_bounds((<Row*>env).name)
    memset(out, 0, UUID_BYTES)
    memcpy(out, &pid, sizeof(int64_t))
    return NULL


cdef wasm_trap_t* link(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef int64_t tag = args[0].i64
    cdef int64_t pid = find_handle(process, args[1].i64)
    if pid == 0:
        return unknown(<Row*>env, b"process")
    if pid != process.pid:
        link_with(process, pid, tag, LINK_QUIETLY)
    return NULL


cdef wasm_trap_t* unlink(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef int64_t pid = find_handle(process, args[0].i64)
    if pid == 0:
        return unknown(<Row*>env, b"process")
    forget_link(process, pid)
    deliver(
        process.runtime, new_signal(process.runtime, SIGNAL_UNLINK, process.pid),
        pid, process.environment, process,
    )
    return NULL


# -- spawning ----------------------------------------------------------------------------------

cdef void spawn_early(Process* process, wasmtime_caller_t* caller, Module* module, EarlyEnvironment* home, int64_t link_tag, const wasmtime_val_t* args) noexcept nogil:
    """Spawn with the rights of an environment; NULL: the caller's own."""
    cdef Birth birth
    cdef Config* config = process.config
    cdef EarlyEnvironment* own = own_environment(process)
    if not read_birth(process, caller, args, &birth):
        return
    birth.link_tag = link_tag
    birth.monitor = 0
    birth.params_size -= birth.params_size % 17  # what is left of a last record counts for nothing
    birth.early = 1
    if home == NULL or home == own:
        home = own
        retain_config(config)
    else:
        config = narrowed(process, home.config)
    bear(process, module, config, home, &birth)


cdef void spawn(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef int64_t module_id = args[1].of.i64
    cdef Module* module
    prepare_spawn(process, results, nresults, trap_out, continuation)
    if not may_spawn(process):
        return
    module = <Module*>table_get(&process.modules, <uint64_t>module_id)
    if module == NULL:
        fail(process, b"lunatic::process::spawn: this process has no module of that id")
        return
    spawn_early(process, caller, module, home_of(process, module_id), args[0].of.i64, args + 2)


cdef void inherit_spawn(void* env, wasmtime_caller_t* caller, const wasmtime_val_t* args, size_t nargs, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    cdef Process* process = caller_process(caller)
    prepare_spawn(process, results, nresults, trap_out, continuation)
    if may_spawn(process):
        spawn_early(process, caller, process.module, NULL, args[0].of.i64, args + 1)


cdef inline void prepare_spawn(Process* process, wasmtime_val_t* results, size_t nresults, wasm_trap_t** trap_out, wasmtime_async_continuation_t* continuation) noexcept nogil:
    prepare(process, results, nresults, trap_out, continuation)
    continuation.callback = resume_with_handle


cdef wbool resume_with_handle(void* env) noexcept nogil:
    """The child is known to its parent by a handle."""
    cdef Process* process = <Process*>env
    cdef int64_t id
    if process.wait == WAIT_DONE and process.wait_writes and process.wait_result == 0:
        id = add_handle(process, <int64_t>process.wait_value)
        if id == -1:
            process.wait = WAIT_NONE
            process.wait_trap_out[0] = trap(b"lunatic::process::spawn: this process holds too many processes: drop some")
            return True
        process.wait_value = <uint64_t>id
    return resume(env)


# -- configs and environments --------------------------------------------------------------------

cdef wasm_trap_t* create_config(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef Config* config
    if not process.config.can_create_configs:
        return trap(b"lunatic::process::create_config: this process may not create configs (config can_create_configs)")
    config = new_config(process.runtime)
    config.max_memory = <uint64_t>args[0].i64
    config.max_fuel = <uint64_t>args[1].i64
    # What is not about host calls early guests were never refused.
    config.can_compile = config.can_create_configs = config.can_spawn = 1
    refuse_everything(process.runtime, config)
    # Early Lunatic never refused this one, and the two that read the environment come together.
    allow_namespace(process.runtime, config, string(b"wasi_snapshot_preview1::environ_sizes_get"))
    args[0].i64 = <int64_t>table_add(&process.configs, config)
    if args[0].i64 == -1:
        release_config(process.runtime, config)
        return full(<Row*>env, b"configs")
    return NULL


cdef wasm_trap_t* preopen_dir(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef Config* config = config_of(process, args[0].i64)
    cdef string directory
    cdef wasm_trap_t* wrong = NULL
    cdef uint8_t* out
    wrong = read_text(process, caller, args[1].i32, args[2].i32, (<Row*>env).name, &directory)
    if wrong != NULL:
        return wrong
    out = span(process, caller, <uint32_t>args[3].i32, ID_BYTES)
    if out == NULL:
        return out_of_bounds((<Row*>env).name)
    if config == NULL:
        return unknown_config((<Row*>env).name)
    if not hand_on_directory(process, config, directory, (<Row*>env).name, &wrong):
        return fail_with(process, out, args, b"this process does not have that directory itself, so it cannot hand it on")
    if wrong == NULL:
        memset(out, 0, ID_BYTES)
        args[0].i32 = 0
    return wrong


cdef wasm_trap_t* give_environment(const Row* row, Process* process, EarlyEnvironment* environment, int64_t* out) noexcept nogil:
    """A new entry for an environment, whose reference is taken over."""
    out[0] = hold_environment(process, environment)
    release_environment(environment)
    return full(row, b"environments") if out[0] == -1 else NULL


cdef wasm_trap_t* create_environment(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef Runtime* runtime = process.runtime
    cdef Config* config = config_of(process, args[0].i64)
    cdef uint8_t* out = span(process, caller, <uint32_t>args[1].i32, ID_BYTES)
    cdef wasm_trap_t* wrong
    cdef int64_t id
    if config == NULL:
        return unknown_config((<Row*>env).name)
    if out == NULL:
        return out_of_bounds((<Row*>env).name)
    config = copy_config(runtime, config)
    wrong = give_environment(
        <Row*>env, process,
        new_environment(runtime, config, luna_add64(&runtime.next_environment, 1)), &id,
    )
    release_config(runtime, config)
    memcpy(out, &id, ID_BYTES)
    args[0].i32 = 0
    return wrong


cdef wasm_trap_t* create_remote_environment(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef string node
    cdef wasm_trap_t* wrong
    cdef uint8_t* out
    if config_of(process, args[0].i64) == NULL:
        return unknown_config((<Row*>env).name)
    wrong = read_text(process, caller, args[1].i32, args[2].i32, (<Row*>env).name, &node)
    if wrong != NULL:
        return wrong
    out = span(process, caller, <uint32_t>args[3].i32, ID_BYTES)
    if out == NULL:
        return out_of_bounds((<Row*>env).name)
    return fail_with(process, out, args, b"programs of early Lunatic have no environments on other nodes here")


cdef wasm_trap_t* drop_an_environment(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    if not drop_environment(caller_process(caller), args[0].i64):
        return unknown(<Row*>env, b"environment")
    return NULL


cdef wasm_trap_t* this_env(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef EarlyEnvironment* own = own_environment(process)
    if own == NULL:
        return give_environment(<Row*>env, process, new_environment(process.runtime, process.config, 0), &args[0].i64)
    args[0].i64 = hold_environment(process, own)
    return full(<Row*>env, b"environments") if args[0].i64 == -1 else NULL


cdef wasm_trap_t* add_this_module(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef EarlyEnvironment* environment = find_environment(process, args[0].i64)
    cdef uint8_t* out = span(process, caller, <uint32_t>args[1].i32, ID_BYTES)
    cdef int64_t id
    if environment == NULL:
        return unknown(<Row*>env, b"environment")
    if out == NULL:
        return out_of_bounds((<Row*>env).name)
    id = add_module_of(process, process.module, environment)
    if id == -1:
        return full(<Row*>env, b"modules")
    memcpy(out, &id, ID_BYTES)
    args[0].i32 = 0
    return NULL


# -- plugins ---------------------------------------------------------------------------------------

cdef wasm_trap_t* add_plugin(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef uint8_t* plugin = span(process, caller, <uint32_t>args[1].i32, <uint32_t>args[2].i32)
    cdef uint8_t* out = span(process, caller, <uint32_t>args[3].i32, ID_BYTES)
    if config_of(process, args[0].i64) == NULL:
        return unknown_config((<Row*>env).name)
    if plugin == NULL or out == NULL:
        return out_of_bounds((<Row*>env).name)
    return fail_with(process, out, args, b"this runtime takes no plugins")


cdef wasm_trap_t* in_plugins_only(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef char text[256]
    snprintf(text, sizeof(text), b"%s: only a plugin may call it, and this runtime takes none", (<Row*>env).name)
    return trap(text)


def functions():
    """(namespace, key) -> (address, suspends) of the functions in this module."""
    return {
        ("lunatic::process", "this@0.6"): (<size_t>this, False),
        ("lunatic::process", "clone_process@0.6"): (<size_t>clone_process, False),
        ("lunatic::process", "drop_process@0.6"): (<size_t>drop_process, False),
        ("lunatic::process", "id@0.6"): (<size_t>id_of_process, False),
        ("lunatic::process", "link@0.6"): (<size_t>link, False),
        ("lunatic::process", "unlink@0.6"): (<size_t>unlink, False),
        ("lunatic::process", "spawn@0.6"): (<size_t>spawn, True),
        ("lunatic::process", "inherit_spawn@0.6"): (<size_t>inherit_spawn, True),
        ("lunatic::process", "create_config@0.6"): (<size_t>create_config, False),
        ("lunatic::process", "create_environment@0.6"): (<size_t>create_environment, False),
        ("lunatic::process", "drop_environment@0.6"): (<size_t>drop_an_environment, False),
        ("lunatic::process", "this_env@0.6"): (<size_t>this_env, False),
        ("lunatic::process", "add_this_module@0.6"): (<size_t>add_this_module, False),
        ("lunatic::process", "add_plugin@0.6"): (<size_t>add_plugin, False),
        ("lunatic::process", "preopen_dir@0.7"): (<size_t>preopen_dir, False),
        ("lunatic::process", "create_remote_environment@0.7"): (<size_t>create_remote_environment, False),
        ("lunatic::plugin", "add_function@0.6"): (<size_t>in_plugins_only, False),
        ("lunatic::plugin", "add_function_type@0.6"): (<size_t>in_plugins_only, False),
        ("lunatic::plugin", "add_function_export@0.6"): (<size_t>in_plugins_only, False),
    }
