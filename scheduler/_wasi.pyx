"""A process's own WASI context: what it prints to, its arguments, its directories.

Directories are opened when the process first asks for them: each costs a
descriptor, and most of the processes of a program never touch a file.
"""

from libc.stdio cimport snprintf
from libc.string cimport strlen
from libcpp.string cimport string

from luna.scheduler._directories cimport open_directory
from luna.scheduler._output cimport release_output_env, write_stderr, write_stdout
from luna.scheduler._platform cimport *
from luna.scheduler._process cimport end
from luna.scheduler._signals cimport retain_output
from luna.scheduler._types cimport *


cdef int give_wasi(Process* process) noexcept nogil:
    """Set up the context, without directories; 0 when one is not there, with the reason noted."""
    cdef char text[512]
    cdef wasmtime_error_t* error
    if not find_preopens(process.config, text, sizeof(text)):
        end(process, EXIT_FAILURE, 1, text)
        return 0
    process.wasi_start_ns = luna_now_ns()
    error = wasmtime_context_set_wasi(process.context, describe(process))
    if error != NULL:  # it takes whatever it is given
        wasmtime_error_delete(error)
        end(process, EXIT_FAILURE, 1, b"it could not be given standard streams")
        return 0
    return 1


cdef int find_preopens(Config* config, char* text, size_t size) noexcept nogil:
    """Whether the directories are there; else `text` tells which is not."""
    cdef size_t index
    if luna_load(&config.found_preopens):
        return 1
    for index in range(config.preopens.size()):
        if not luna_is_directory(config.preopens[index].second.c_str()):
            snprintf(text, size, b"the directory %s cannot be opened on this node", config.preopens[index].second.c_str())
            return 0
    luna_store(&config.found_preopens, 1)  # maybe by two threads at once, which find the same
    return 1


cdef wasi_config_t* describe(Process* process) noexcept nogil:
    """The context but for directories. Standard input is at its end: reading it is `_host_wasi`'s."""
    cdef wasi_config_t* wasi = wasi_config_new()
    cdef Config* config = process.config
    cdef vector[const char*] names
    cdef vector[const char*] values
    cdef size_t index
    names.reserve(1)  # with no entries the pointers must not be null either
    values.reserve(1)
    for index in range(config.arguments.size()):
        names.push_back(config.arguments[index].c_str())
    wasi_config_set_argv(wasi, names.size(), names.data())
    names.clear()
    for index in range(config.variables.size()):
        names.push_back(config.variables[index].first.c_str())
        values.push_back(config.variables[index].second.c_str())
    wasi_config_set_env(wasi, names.size(), names.data(), values.data())
    retain_output(process.output)
    wasi_config_set_stdout_custom(wasi, write_stdout, process.output, release_output_env)
    retain_output(process.output)
    wasi_config_set_stderr_custom(wasi, write_stderr, process.output, release_output_env)
    return wasi


cdef int open_preopen(wasi_config_t* wasi, const string& guest, const string& host) noexcept nogil:
    """Give the context a directory; 0 when it cannot be opened."""
    cdef char path[64]
    cdef int opened
    cdef int directory = open_directory(host)
    if directory < 0:
        return 0
    # By the descriptor: what the path leads to may have changed since.
    snprintf(path, sizeof(path), b"/proc/self/fd/%d", directory)
    opened = wasi_config_preopen_dir(wasi, path, guest.c_str(), True)
    close(directory)
    return opened


cdef wasm_trap_t* open_files(Process* process) noexcept nogil:
    """Open the directories, in a new context in place of the first; a trap when one cannot be opened."""
    cdef wasi_config_t* wasi = describe(process)
    cdef Config* config = process.config
    cdef wasmtime_error_t* error
    cdef char text[512]
    cdef size_t index
    for index in range(config.preopens.size()):
        if not open_preopen(wasi, config.preopens[index].first, config.preopens[index].second):
            snprintf(text, sizeof(text), b"the directory %s cannot be opened on this node", config.preopens[index].second.c_str())
            wasi_config_delete(wasi)
            return wasmtime_trap_new(text, strlen(text))
    error = wasmtime_context_set_wasi(process.context, wasi)
    if error != NULL:
        wasmtime_error_delete(error)
        return wasmtime_trap_new(b"its directories could not be opened", 35)
    process.has_files = 1
    return NULL
