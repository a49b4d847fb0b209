"""Defines every host call of the table in a wasmtime linker.

A row is native (a function of a _host_* module), a request (parked, served by
Python) or one of wasmtime's own WASI functions.
"""

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from luna.scheduler import _host_config, _host_message, _host_misc, _host_process, _host_trap
from luna.scheduler._host_request cimport request, request_data
from luna.scheduler._platform cimport *
from luna.scheduler._types cimport *

KINDS = {"i": LUNA_WASM_I32, "I": LUNA_WASM_I64, "f": LUNA_WASM_F64}


def native_functions() -> dict:
    """(namespace, name) -> (address, suspends) of every function of the native core."""
    functions: dict = {}
    for module in (_host_message, _host_process, _host_config, _host_misc, _host_trap):
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


cdef class Linker:
    """Owner of one engine's linker and of the rows its functions point to.

    Must outlive every module linked with it. `rows` are (namespace, name,
    parameter letters, result letter, index, suspends, where) with where one of
    "native", "request", "request_data" (one that hands bytes to the guest), "wasi".
    """

    def __cinit__(self, size_t engine, rows):
        cdef wasmtime_error_t* error
        self.linker = wasmtime_linker_new(<wasm_engine_t*>engine)
        wasmtime_linker_allow_shadowing(self.linker, True)
        error = wasmtime_linker_define_wasi(self.linker)
        if error != NULL:
            raise RuntimeError(take_error(error))
        self.rows = <Row*>calloc(len(rows), sizeof(Row))
        native = native_functions()
        for position, (namespace, name, parameters, result, index, suspends, where) in enumerate(rows):
            if where == "wasi":
                continue
            text = f"{namespace}::{name}".encode()[:127]
            memcpy(self.rows[position].name, <const char*>text, len(text))
            self.rows[position].index = index
            self.rows[position].result_kind = KINDS[result] if result else 0
            address = 0
            if where == "native":
                address, native_suspends = native.pop((namespace, name))
                if native_suspends != suspends:
                    raise RuntimeError(f"{namespace}::{name}: the table and the native core differ in `suspends`")
            else:
                address, suspends = <size_t>(request_data if where == "request_data" else request), True
            self.define(namespace, name, parameters, result, address, suspends, &self.rows[position])
        if native:
            raise RuntimeError(f"native host functions missing in the table: {sorted(native)}")

    cdef void define(self, str namespace, str name, str parameters, str result, size_t address, bint suspends, Row* row) except *:
        cdef wasm_functype_t* kind = function_type(parameters, result)
        cdef wasmtime_error_t* error
        module = namespace.encode()
        function = name.encode()
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
        free(self.rows)

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
