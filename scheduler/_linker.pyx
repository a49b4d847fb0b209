"""The host-call table for guests: rows with their functions, defined in wasmtime linkers.

A row is native (a function of a _host_* module), a request (parked, served by
Python) or one of wasmtime's own WASI functions.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from luna.scheduler import _host_config, _host_group, _host_message, _host_misc, _host_process, _host_registry, _host_trap, _host_wasi
from luna.scheduler import _host_distributed, _host_early_message, _host_early_process, _host_module, _host_notice
from luna.scheduler._guest cimport snprintf, trap
from luna.scheduler._host_request cimport request, request_data
from luna.scheduler._platform cimport *
from luna.scheduler._trace_calls cimport traced, traced_async
from luna.scheduler._types cimport *

KINDS = {"i": LUNA_WASM_I32, "I": LUNA_WASM_I64, "f": LUNA_WASM_F64}
SENDING = ("send", "broadcast", "send_receive_skip_search", "send_after")
RECEIVING = ("receive", "send_receive_skip_search")
"""Names of host calls of which the trace shows the message, besides their arguments."""
SPAWNING = ("spawn", "spawn_monitored")
"""Those of which it shows the process."""


def native_functions() -> dict:
    """(namespace, name) -> (address, suspends) of every function of the native core."""
    functions: dict = {}
    for module in (
        _host_message, _host_group, _host_process, _host_registry, _host_config, _host_misc, _host_trap, _host_wasi,
        _host_early_message, _host_early_process, _host_distributed, _host_module, _host_notice,
    ):
        functions.update(module.functions())
    return functions


cdef str take_error(wasmtime_error_t* error):
    cdef wasm_byte_vec_t message
    wasmtime_error_message(error, &message)
    text = message.data[:message.size].decode("utf-8", "replace")
    wasm_byte_vec_delete(&message)
    wasmtime_error_delete(error)
    return text


cdef wasm_functype_t* function_type(str parameters, str result) except NULL:
    cdef wasm_valtype_vec_t params
    cdef wasm_valtype_vec_t results
    cdef size_t index
    wasm_valtype_vec_new_uninitialized(&params, len(parameters))
    for index, letter in enumerate(parameters):
        params.data[index] = wasm_valtype_new(KINDS[letter])
    wasm_valtype_vec_new_uninitialized(&results, len(result))
    for index, letter in enumerate(result):
        results.data[index] = wasm_valtype_new(KINDS[letter])
    return wasm_functype_new(&params, &results)


cdef wasm_trap_t* refuse(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t count) noexcept nogil:
    cdef char text[256]
    snprintf(text, sizeof(text), b"%s: this process may not call it: its config does not allow that namespace", (<Row*>env).name)
    return trap(text)


cdef class HostTable:
    """Owner of the host-call table as the core uses it; must outlive all code linked with it.

    `rows` are (namespace, name, key, parameter letters, result letter, suspends,
    where, how arguments are shown) with where one of "native", "request", "request_data" (one that hands
    bytes to the guest), "wasi". The key finds a native function: its name, or that
    and the interface it belongs to, where that is an earlier one. With `traces_calls`
    linkers define functions that write the trace and call those of the rows.
    """

    def __cinit__(self, rows, bint traces_calls=False):
        if len(rows) > ROWS_MAX:
            raise ValueError(f"the core is made for {ROWS_MAX} host calls, not {len(rows)}")
        self.rows = <Row*>calloc(ROWS_MAX, sizeof(Row))
        self.count = len(rows)
        self.traces_calls = traces_calls
        self.signatures = []
        native = native_functions()
        for index, (namespace, name, key, parameters, result, suspends, where, shown) in enumerate(rows):
            text = f"{namespace}::{name}".encode()[:127]
            memcpy(self.rows[index].name, <const char*>text, len(text))
            self.rows[index].index = index
            self.rows[index].result_kind = KINDS[result] if result else 0
            text = shown.encode()
            if len(text) >= sizeof(self.rows[index].shown):
                raise ValueError(f"{namespace}::{name} has more parameters than the trace can show")
            memcpy(self.rows[index].shown, <const char*>text, len(text))
            self.rows[index].result = <char>ord(result) if result else 0
            self.rows[index].sends = name in SENDING
            self.rows[index].receives = name in RECEIVING
            self.rows[index].spawns = where == "native" and name in SPAWNING
            self.rows[index].enters_guest = name == "catch"
            if where == "native":
                address, native_suspends = native.pop((namespace, key))
                if native_suspends != suspends:
                    raise RuntimeError(f"{namespace}::{key}: the table and the native core differ in `suspends`")
            elif where == "wasi":
                address = 0
            else:
                address = <size_t>(request_data if where == "request_data" else request)
            self.rows[index].function = <void*><size_t>address
            self.signatures.append((namespace, name, parameters, result, suspends))
        if native:
            raise RuntimeError(f"native host functions missing in the table: {sorted(native)}")

    def __dealloc__(self):
        free(self.rows)

    def row_set(self, rows) -> bytes:
        """A set of rows in the form the core takes and tells it."""
        cdef RowSet made
        memset(&made, 0, sizeof(RowSet))
        for row in rows:
            made.words[row // 64] |= <uint64_t>1 << (row % 64)
        return (<char*>&made)[:sizeof(RowSet)]


cdef class Linker:
    """Owner of a linker of one engine, with some rows of a table.

    Those in the set `refused` trap when they are called.
    """

    def __cinit__(self, size_t engine, HostTable table, rows, bytes refused):
        cdef wasmtime_error_t* error
        cdef const RowSet* refusals = <const RowSet*>PyBytes_AS_STRING(refused)
        cdef Row* row
        self.linker = wasmtime_linker_new(<wasm_engine_t*>engine)
        wasmtime_linker_allow_shadowing(self.linker, True)
        error = wasmtime_linker_define_wasi(self.linker)
        if error != NULL:
            raise RuntimeError(take_error(error))
        for index in rows:
            row = &table.rows[<int>index]
            if refusals.words[row.index // 64] >> (row.index % 64) & 1:
                self.define(table.signatures[index], <size_t>refuse, False, row)
            elif row.function != NULL and table.traces_calls:
                suspends = table.signatures[index][4]
                address = <size_t>traced_async if suspends else <size_t>traced
                self.define(table.signatures[index], address, suspends, row)
            elif row.function != NULL:
                self.define(table.signatures[index], <size_t>row.function, table.signatures[index][4], row)

    cdef void define(self, signature, size_t address, bint suspends, Row* row) except *:
        cdef wasm_functype_t* kind = function_type(signature[2], signature[3])
        cdef wasmtime_error_t* error
        module = signature[0].encode()
        function = signature[1].encode()
        if suspends:
            error = wasmtime_linker_define_async_func(
                self.linker, module, len(module), function, len(function), kind,
                <wasmtime_func_async_callback_t>address, row, NULL,
            )
        else:
            error = wasmtime_linker_define_func_unchecked(
                self.linker, module, len(module), function, len(function), kind,
                <wasmtime_func_unchecked_callback_t>address, row, NULL,
            )
        wasm_functype_delete(kind)
        if error != NULL:
            raise RuntimeError(take_error(error))

    def __dealloc__(self):
        if self.linker != NULL:
            wasmtime_linker_delete(self.linker)

    def instance_pre(self, size_t module) -> int:
        """Address of a linked wasmtime_instance_pre_t for a wasmtime_module_t.

        The caller owns it. Raises ValueError with wasmtime's words when an import is
        unknown or has another type.
        """
        cdef wasmtime_instance_pre_t* code = NULL
        cdef wasmtime_error_t* error = wasmtime_linker_instantiate_pre(
            self.linker, <const wasmtime_module_t*>module, &code
        )
        if error != NULL:
            raise ValueError(take_error(error))
        return <size_t>code
