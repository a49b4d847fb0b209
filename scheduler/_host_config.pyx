"""Host functions about configs (`lunatic::process`, `lunatic::wasi`) and modules.

A config is data until a spawn uses it: what exceeds the rights of its creator
is cut when the child is made.
"""

from libcpp.string cimport string

from luna.scheduler._code cimport release_module
from luna.scheduler._directories cimport hand_on
from luna.scheduler._early cimport forget_home
from luna.scheduler._guest cimport *
from luna.scheduler._namespaces cimport allow_namespace
from luna.scheduler._process cimport reserve_host_bytes
from luna.scheduler._signals cimport *
from luna.scheduler._types cimport *


cdef Config* config_of(Process* process, int64_t id) noexcept nogil:
    return <Config*>table_get(&process.configs, <uint64_t>id)


cdef wasm_trap_t* unknown_config(const char* function) noexcept nogil:
    cdef char text[160]
    snprintf(text, sizeof(text), b"%s: this process has no config of that id", function)
    return trap(text)


cdef wasm_trap_t* drop_module(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef Module* module = <Module*>table_remove(&process.modules, <uint64_t>args[0].i64)
    if module == NULL:
        return trap(b"lunatic::process::drop_module: this process has no module of that id")
    forget_home(process, args[0].i64)
    release_module(module)
    return NULL


cdef wasm_trap_t* create_config(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef Config* config
    if not process.config.can_create_configs:
        args[0].i64 = -1
        return NULL
    config = new_config(process.runtime)
    args[0].i64 = <int64_t>table_add(&process.configs, config)
    if args[0].i64 == -1:
        release_config(process.runtime, config)
        return trap(b"lunatic::process::create_config: a process holds at most 1000000 configs")
    return NULL


cdef wasm_trap_t* drop_config(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Process* process = caller_process(caller)
    cdef Config* config = <Config*>table_remove(&process.configs, <uint64_t>args[0].i64)
    if config == NULL:
        return unknown_config(b"lunatic::process::drop_config")
    process.host_bytes -= config.bytes
    release_config(process.runtime, config)
    return NULL


cdef wasm_trap_t* set_max_memory(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Config* config = config_of(caller_process(caller), args[0].i64)
    if config == NULL:
        return unknown_config(b"lunatic::process::config_set_max_memory")
    config.max_memory = <uint64_t>args[1].i64
    return NULL


cdef wasm_trap_t* get_max_memory(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Config* config = config_of(caller_process(caller), args[0].i64)
    if config == NULL:
        return unknown_config(b"lunatic::process::config_get_max_memory")
    args[0].i64 = <int64_t>config.max_memory
    return NULL


cdef wasm_trap_t* set_max_fuel(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Config* config = config_of(caller_process(caller), args[0].i64)
    if config == NULL:
        return unknown_config(b"lunatic::process::config_set_max_fuel")
    config.max_fuel = <uint64_t>args[1].i64
    return NULL


cdef wasm_trap_t* get_max_fuel(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Config* config = config_of(caller_process(caller), args[0].i64)
    if config == NULL:
        return unknown_config(b"lunatic::process::config_get_max_fuel")
    args[0].i64 = <int64_t>config.max_fuel
    return NULL


cdef wasm_trap_t* can_compile(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Config* config = config_of(caller_process(caller), args[0].i64)
    if config == NULL:
        return unknown_config(b"lunatic::process::config_can_compile_modules")
    args[0].i32 = config.can_compile
    return NULL


cdef wasm_trap_t* set_can_compile(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Config* config = config_of(caller_process(caller), args[0].i64)
    if config == NULL:
        return unknown_config(b"lunatic::process::config_set_can_compile_modules")
    config.can_compile = args[1].i32 != 0
    return NULL


cdef wasm_trap_t* can_create(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Config* config = config_of(caller_process(caller), args[0].i64)
    if config == NULL:
        return unknown_config(b"lunatic::process::config_can_create_configs")
    args[0].i32 = config.can_create_configs
    return NULL


cdef wasm_trap_t* set_can_create(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Config* config = config_of(caller_process(caller), args[0].i64)
    if config == NULL:
        return unknown_config(b"lunatic::process::config_set_can_create_configs")
    config.can_create_configs = args[1].i32 != 0
    return NULL


cdef wasm_trap_t* can_spawn(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Config* config = config_of(caller_process(caller), args[0].i64)
    if config == NULL:
        return unknown_config(b"lunatic::process::config_can_spawn_processes")
    args[0].i32 = config.can_spawn
    return NULL


cdef wasm_trap_t* set_can_spawn(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef Config* config = config_of(caller_process(caller), args[0].i64)
    if config == NULL:
        return unknown_config(b"lunatic::process::config_set_can_spawn_processes")
    config.can_spawn = args[1].i32 != 0
    return NULL


cdef wasm_trap_t* allow(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef const char* function = (<Row*>env).name
    cdef Process* process = caller_process(caller)
    cdef Config* config
    cdef string prefix
    cdef char text[160]
    cdef wasm_trap_t* wrong = read_text(process, caller, args[1].i32, args[2].i32, function, &prefix)
    if wrong != NULL:
        return wrong
    config = config_of(process, args[0].i64)
    if config == NULL:
        return unknown_config(function)
    if not may_hold(process, config, config.namespaces.size(), prefix.size()):
        return too_much(function)
    if not allow_namespace(process.runtime, config, prefix):
        snprintf(text, sizeof(text), b"%s: a config holds at most 64 namespaces", function)
        return trap(text)
    return NULL


# -- lunatic::wasi -----------------------------------------------------------------------

cdef wasm_trap_t* read_text(Process* process, wasmtime_caller_t* caller, int32_t pointer, int32_t size, const char* function, string* out) noexcept nogil:
    """Copy a guest string; a trap when it is out of bounds, not UTF-8, or has a zero byte."""
    cdef uint8_t* data = span(process, caller, <uint32_t>pointer, <uint32_t>size)
    cdef char text[160]
    cdef uint32_t index
    if data == NULL:
        return out_of_bounds(function)
    if <uint32_t>size > CONFIG_BYTES_MAX:  # before it is copied, and taken apart
        return too_much(function)
    if not is_utf8(data, <uint32_t>size):
        snprintf(text, sizeof(text), b"%s: the text is not UTF-8", function)
        return trap(text)
    for index in range(<uint32_t>size):
        if data[index] == 0:
            snprintf(text, sizeof(text), b"%s: the text contains a zero byte", function)
            return trap(text)
    out.assign(<const char*>data, <size_t><uint32_t>size)
    return NULL


cdef int may_hold(Process* process, Config* config, size_t entries, size_t bytes) noexcept nogil:
    """Count a text for a config; 0 when the config, or the process's configs together, hold too much."""
    cdef int64_t counted = <int64_t>bytes + CONFIG_ENTRY_BYTES
    if entries >= CONFIG_ENTRIES_MAX or config.bytes + counted > CONFIG_BYTES_MAX:
        return 0
    if not reserve_host_bytes(process, counted):
        return 0
    config.bytes += counted
    return 1


cdef wasm_trap_t* too_much(const char* function) noexcept nogil:
    cdef char text[160]
    snprintf(text, sizeof(text), b"%s: a config holds at most 4096 entries and 2 MiB", function)
    return trap(text)


cdef wasm_trap_t* add_variable(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef const char* function = b"lunatic::wasi::config_add_environment_variable"
    cdef Process* process = caller_process(caller)
    cdef Config* config
    cdef pair[string, string] variable
    cdef wasm_trap_t* wrong = read_text(process, caller, args[1].i32, args[2].i32, function, &variable.first)
    if wrong == NULL:
        wrong = read_text(process, caller, args[3].i32, args[4].i32, function, &variable.second)
    if wrong != NULL:
        return wrong
    config = config_of(process, args[0].i64)
    if config == NULL:
        return unknown_config(function)
    if not may_hold(process, config, config.variables.size(), variable.first.size() + variable.second.size()):
        return too_much(function)
    config.variables.push_back(variable)
    return NULL


cdef wasm_trap_t* add_argument(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef const char* function = b"lunatic::wasi::config_add_command_line_argument"
    cdef Process* process = caller_process(caller)
    cdef Config* config
    cdef string argument
    cdef wasm_trap_t* wrong = read_text(process, caller, args[1].i32, args[2].i32, function, &argument)
    if wrong != NULL:
        return wrong
    config = config_of(process, args[0].i64)
    if config == NULL:
        return unknown_config(function)
    if not may_hold(process, config, config.arguments.size(), argument.size()):
        return too_much(function)
    config.arguments.push_back(argument)
    return NULL


cdef wasm_trap_t* preopen_dir(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef const char* function = b"lunatic::wasi::config_preopen_dir"
    cdef Process* process = caller_process(caller)
    cdef Config* config
    cdef string directory
    cdef wasm_trap_t* wrong = read_text(process, caller, args[1].i32, args[2].i32, function, &directory)
    if wrong != NULL:
        return wrong
    config = config_of(process, args[0].i64)
    if config == NULL:
        return unknown_config(function)
    if not hand_on_directory(process, config, directory, function, &wrong):
        return trap(b"lunatic::wasi::config_preopen_dir: this process does not have that directory itself, so it cannot hand it on")
    return wrong


cdef int hand_on_directory(Process* process, Config* config, const string& directory, const char* function, wasm_trap_t** wrong) noexcept nogil:
    """Give a config a directory that its process has, or one within; 0 if it has none of that name."""
    cdef pair[string, string] preopen
    preopen.first = directory
    if not hand_on(process.config, preopen.first, &preopen.second):
        return 0
    if not may_hold(process, config, config.preopens.size(), preopen.first.size() + preopen.second.size()):
        wrong[0] = too_much(function)
    else:
        config.preopens.push_back(preopen)
    return 1


def functions():
    """(namespace, name) -> (address, suspends) of the functions in this module."""
    return {
        ("lunatic::process", "drop_module"): (<size_t>drop_module, False),
        ("lunatic::process", "create_config"): (<size_t>create_config, False),
        ("lunatic::process", "drop_config"): (<size_t>drop_config, False),
        ("lunatic::process", "config_set_max_memory"): (<size_t>set_max_memory, False),
        ("lunatic::process", "config_get_max_memory"): (<size_t>get_max_memory, False),
        ("lunatic::process", "config_set_max_fuel"): (<size_t>set_max_fuel, False),
        ("lunatic::process", "config_get_max_fuel"): (<size_t>get_max_fuel, False),
        ("lunatic::process", "config_can_compile_modules"): (<size_t>can_compile, False),
        ("lunatic::process", "config_set_can_compile_modules"): (<size_t>set_can_compile, False),
        ("lunatic::process", "config_can_create_configs"): (<size_t>can_create, False),
        ("lunatic::process", "config_set_can_create_configs"): (<size_t>set_can_create, False),
        ("lunatic::process", "config_can_spawn_processes"): (<size_t>can_spawn, False),
        ("lunatic::process", "config_set_can_spawn_processes"): (<size_t>set_can_spawn, False),
        ("lunatic::process", "config_allow_namespace"): (<size_t>allow, False),
        ("lunatic::process", "allow_namespace@0.6"): (<size_t>allow, False),
        ("lunatic::wasi", "config_add_environment_variable"): (<size_t>add_variable, False),
        ("lunatic::wasi", "config_add_command_line_argument"): (<size_t>add_argument, False),
        ("lunatic::wasi", "config_preopen_dir"): (<size_t>preopen_dir, False),
    }
