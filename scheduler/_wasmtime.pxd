# The part of wasmtime's C API the core uses, declared for one major version
# (pinned in pyproject.toml, checked at import). The symbols come from the
# library inside the installed `wasmtime` package, loaded globally before the
# first module of the core is imported (see scheduler/__init__.py).

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

cdef extern from * nogil:
    """
    #include <stdbool.h>
    #include <stddef.h>
    #include <stdint.h>
    extern "C" {
    typedef struct wasm_engine_t wasm_engine_t;
    typedef struct wasm_functype_t wasm_functype_t;
    typedef struct wasm_valtype_t wasm_valtype_t;
    typedef struct wasm_trap_t wasm_trap_t;
    typedef struct wasm_config_t wasm_config_t;
    typedef struct wasi_config_t wasi_config_t;
    typedef struct wasmtime_error wasmtime_error_t;
    typedef struct wasmtime_store wasmtime_store_t;
    typedef struct wasmtime_context wasmtime_context_t;
    typedef struct wasmtime_caller wasmtime_caller_t;
    typedef struct wasmtime_linker wasmtime_linker_t;
    typedef struct wasmtime_module wasmtime_module_t;
    typedef struct wasmtime_instance_pre wasmtime_instance_pre_t;
    typedef struct wasmtime_call_future wasmtime_call_future_t;

    typedef struct { size_t size; wasm_valtype_t **data; } wasm_valtype_vec_t;
    typedef struct { size_t size; char *data; } wasm_byte_vec_t;
    typedef struct { uint64_t store_id; size_t private_; } wasmtime_instance_t;
    typedef struct { uint64_t store_id; void *private_; } wasmtime_func_t;
    typedef struct { struct { uint64_t store_id; uint32_t private1; }; uint32_t private2; } wasmtime_memory_t;
    typedef struct {
        uint8_t kind;
        union { wasmtime_func_t func; wasmtime_memory_t memory; uint64_t room[3]; } of;
    } wasmtime_extern_t;
    typedef union { int32_t i32; int64_t i64; double f64; uint8_t v128[16]; } wasmtime_val_raw_t;
    typedef struct {
        uint8_t kind;
        union { int32_t i32; int64_t i64; double f64; uint8_t v128[16]; uint64_t room[3]; } of;
    } wasmtime_val_t;
    typedef struct {
        bool (*callback)(void *);
        void *env;
        void (*finalizer)(void *);
    } wasmtime_async_continuation_t;
    typedef struct {
        void *env;
        uint8_t *(*get_stack_memory)(void *, size_t *);
        void (*finalizer)(void *);
    } wasmtime_stack_memory_t;
    typedef wasmtime_error_t *(*luna_new_stack_t)(void *, size_t, bool, wasmtime_stack_memory_t *);
    typedef struct {
        void *env;
        luna_new_stack_t new_stack;
        void (*finalizer)(void *);
    } wasmtime_stack_creator_t;

    typedef struct wasm_memorytype_t wasm_memorytype_t;
    typedef struct {
        void *env;
        uint8_t *(*get_memory)(void *, size_t *, size_t *);
        wasmtime_error_t *(*grow_memory)(void *, size_t);
        void (*finalizer)(void *);
    } wasmtime_linear_memory_t;
    typedef wasmtime_error_t *(*luna_new_memory_t)(
        void *, const wasm_memorytype_t *, size_t, size_t, size_t, size_t, wasmtime_linear_memory_t *);
    typedef struct {
        void *env;
        luna_new_memory_t new_memory;
        void (*finalizer)(void *);
    } wasmtime_memory_creator_t;

    typedef wasm_trap_t *(*wasmtime_func_unchecked_callback_t)(
        void *, wasmtime_caller_t *, wasmtime_val_raw_t *, size_t);
    typedef void (*wasmtime_func_async_callback_t)(
        void *, wasmtime_caller_t *, const wasmtime_val_t *, size_t, wasmtime_val_t *, size_t,
        wasm_trap_t **, wasmtime_async_continuation_t *);

    wasm_valtype_t *wasm_valtype_new(uint8_t);
    void wasm_valtype_vec_new_uninitialized(wasm_valtype_vec_t *, size_t);
    wasm_functype_t *wasm_functype_new(wasm_valtype_vec_t *, wasm_valtype_vec_t *);
    void wasm_functype_delete(wasm_functype_t *);
    const wasm_valtype_vec_t *wasm_functype_results(const wasm_functype_t *);
    wasm_functype_t *wasmtime_func_type(const wasmtime_context_t *, const wasmtime_func_t *);
    void wasm_byte_vec_delete(wasm_byte_vec_t *);
    void wasm_trap_message(const wasm_trap_t *, wasm_byte_vec_t *);
    void wasm_trap_delete(wasm_trap_t *);
    wasm_trap_t *wasmtime_trap_new(const char *, size_t);
    bool wasmtime_trap_code(const wasm_trap_t *, uint8_t *);
    wasmtime_error_t *wasmtime_error_new(const char *);
    void wasmtime_error_message(const wasmtime_error_t *, wasm_byte_vec_t *);
    bool wasmtime_error_exit_status(const wasmtime_error_t *, int *);
    void wasmtime_error_delete(wasmtime_error_t *);

    wasmtime_store_t *wasmtime_store_new(wasm_engine_t *, void *, void (*)(void *));
    void wasmtime_store_delete(wasmtime_store_t *);
    wasmtime_context_t *wasmtime_store_context(wasmtime_store_t *);
    void wasmtime_store_limiter(wasmtime_store_t *, int64_t, int64_t, int64_t, int64_t, int64_t);
    void *wasmtime_context_get_data(const wasmtime_context_t *);
    wasmtime_error_t *wasmtime_context_set_fuel(wasmtime_context_t *, uint64_t);
    wasmtime_error_t *wasmtime_context_set_wasi(wasmtime_context_t *, wasi_config_t *);
    void wasmtime_context_set_epoch_deadline(wasmtime_context_t *, uint64_t);
    void wasmtime_context_epoch_deadline_async_yield_and_update(wasmtime_context_t *, uint64_t);
    void wasmtime_engine_increment_epoch(wasm_engine_t *);
    void wasmtime_config_host_stack_creator_set(wasm_config_t *, wasmtime_stack_creator_t *);
    void wasmtime_config_async_stack_size_set(wasm_config_t *, size_t);
    void wasmtime_config_host_memory_creator_set(wasm_config_t *, wasmtime_memory_creator_t *);

    wasmtime_context_t *wasmtime_caller_context(wasmtime_caller_t *);
    bool wasmtime_caller_export_get(wasmtime_caller_t *, const char *, size_t, wasmtime_extern_t *);
    bool wasmtime_instance_export_get(
        wasmtime_context_t *, const wasmtime_instance_t *, const char *, size_t, wasmtime_extern_t *);
    uint8_t *wasmtime_memory_data(wasmtime_context_t *, const wasmtime_memory_t *);
    size_t wasmtime_memory_data_size(const wasmtime_context_t *, const wasmtime_memory_t *);

    wasmtime_linker_t *wasmtime_linker_new(wasm_engine_t *);
    void wasmtime_linker_delete(wasmtime_linker_t *);
    void wasmtime_linker_allow_shadowing(wasmtime_linker_t *, bool);
    wasmtime_error_t *wasmtime_linker_define_wasi(wasmtime_linker_t *);
    wasmtime_error_t *wasmtime_linker_define_func_unchecked(
        wasmtime_linker_t *, const char *, size_t, const char *, size_t, const wasm_functype_t *,
        wasmtime_func_unchecked_callback_t, void *, void (*)(void *));
    wasmtime_error_t *wasmtime_linker_define_async_func(
        wasmtime_linker_t *, const char *, size_t, const char *, size_t, const wasm_functype_t *,
        wasmtime_func_async_callback_t, void *, void (*)(void *));
    wasmtime_error_t *wasmtime_linker_instantiate_pre(
        const wasmtime_linker_t *, const wasmtime_module_t *, wasmtime_instance_pre_t **);
    void wasmtime_instance_pre_delete(wasmtime_instance_pre_t *);
    wasmtime_linker_t *wasmtime_linker_clone(const wasmtime_linker_t *);
    wasmtime_error_t *wasmtime_linker_define(
        wasmtime_linker_t *, wasmtime_context_t *, const char *, size_t, const char *, size_t,
        const wasmtime_extern_t *);
    wasmtime_call_future_t *wasmtime_linker_instantiate_async(
        const wasmtime_linker_t *, wasmtime_context_t *, const wasmtime_module_t *, wasmtime_instance_t *,
        wasm_trap_t **, wasmtime_error_t **);
    wasmtime_call_future_t *wasmtime_instance_pre_instantiate_async(
        const wasmtime_instance_pre_t *, wasmtime_context_t *, wasmtime_instance_t *,
        wasm_trap_t **, wasmtime_error_t **);
    bool wasmtime_wasm_valtype_equal(const wasm_valtype_t *, const wasm_valtype_t *);
    const wasm_valtype_vec_t *wasm_functype_params(const wasm_functype_t *);
    void wasmtime_val_unroot(wasmtime_val_t *);
    wasmtime_call_future_t *wasmtime_func_call_async(
        wasmtime_context_t *, const wasmtime_func_t *, const wasmtime_val_t *, size_t,
        wasmtime_val_t *, size_t, wasm_trap_t **, wasmtime_error_t **);
    bool wasmtime_call_future_poll(wasmtime_call_future_t *);
    void wasmtime_call_future_delete(wasmtime_call_future_t *);

    wasi_config_t *wasi_config_new(void);
    void wasi_config_delete(wasi_config_t *);
    bool wasi_config_set_argv(wasi_config_t *, size_t, const char **);
    bool wasi_config_set_env(wasi_config_t *, size_t, const char **, const char **);
    void wasi_config_inherit_stdin(wasi_config_t *);
    void wasi_config_set_stdout_custom(
        wasi_config_t *, ptrdiff_t (*)(void *, const unsigned char *, size_t), void *, void (*)(void *));
    void wasi_config_set_stderr_custom(
        wasi_config_t *, ptrdiff_t (*)(void *, const unsigned char *, size_t), void *, void (*)(void *));
    bool wasi_config_preopen_dir(wasi_config_t *, const char *, const char *, bool);
    }
    #define LUNA_WASM_I32 0
    #define LUNA_WASM_I64 1
    #define LUNA_WASM_F64 3
    #define LUNA_WASM_V128 4
    #define LUNA_EXTERN_FUNC 0
    #define LUNA_EXTERN_MEMORY 3
    #define LUNA_TRAP_OUT_OF_FUEL 11
    """
    ctypedef bint wbool "bool"
    ctypedef struct wasm_engine_t:
        pass
    ctypedef struct wasm_functype_t:
        pass
    ctypedef struct wasm_valtype_t:
        pass
    ctypedef struct wasm_trap_t:
        pass
    ctypedef struct wasm_config_t:
        pass
    ctypedef struct wasi_config_t:
        pass
    ctypedef struct wasmtime_error_t:
        pass
    ctypedef struct wasmtime_store_t:
        pass
    ctypedef struct wasmtime_context_t:
        pass
    ctypedef struct wasmtime_caller_t:
        pass
    ctypedef struct wasmtime_linker_t:
        pass
    ctypedef struct wasmtime_module_t:
        pass
    ctypedef struct wasmtime_instance_pre_t:
        pass
    ctypedef struct wasmtime_call_future_t:
        pass
    ctypedef struct wasm_valtype_vec_t:
        size_t size
        wasm_valtype_t** data
    ctypedef struct wasm_byte_vec_t:
        size_t size
        char* data
    ctypedef struct wasmtime_instance_t:
        uint64_t store_id
    ctypedef struct wasmtime_func_t:
        uint64_t store_id
    ctypedef struct wasmtime_memory_t:
        uint64_t store_id
    ctypedef union luna_extern_union "decltype(wasmtime_extern_t::of)":
        wasmtime_func_t func
        wasmtime_memory_t memory
    ctypedef struct wasmtime_extern_t:
        uint8_t kind
        luna_extern_union of
    ctypedef union wasmtime_val_raw_t:
        int32_t i32
        int64_t i64
        double f64
        uint8_t v128[16]
    ctypedef union luna_val_union "decltype(wasmtime_val_t::of)":
        int32_t i32
        int64_t i64
        double f64
        uint8_t v128[16]
    ctypedef struct wasmtime_val_t:
        uint8_t kind
        luna_val_union of
    ctypedef struct wasmtime_async_continuation_t:
        wbool (*callback)(void*) noexcept nogil
        void* env
        void (*finalizer)(void*) noexcept nogil
    ctypedef struct wasmtime_stack_memory_t:
        void* env
        uint8_t* (*get_stack_memory)(void*, size_t*) noexcept nogil
        void (*finalizer)(void*) noexcept nogil
    ctypedef wasmtime_error_t* (*luna_new_stack_t)(
        void*, size_t, wbool, wasmtime_stack_memory_t*) noexcept nogil
    ctypedef struct wasmtime_stack_creator_t:
        void* env
        luna_new_stack_t new_stack
        void (*finalizer)(void*) noexcept nogil

    ctypedef struct wasm_memorytype_t:
        pass
    ctypedef struct wasmtime_linear_memory_t:
        void* env
        uint8_t* (*get_memory)(void*, size_t*, size_t*) noexcept nogil
        wasmtime_error_t* (*grow_memory)(void*, size_t) noexcept nogil
        void (*finalizer)(void*) noexcept nogil
    ctypedef wasmtime_error_t* (*luna_new_memory_t)(
        void*, const wasm_memorytype_t*, size_t, size_t, size_t, size_t, wasmtime_linear_memory_t*) noexcept nogil
    ctypedef struct wasmtime_memory_creator_t:
        void* env
        luna_new_memory_t new_memory
        void (*finalizer)(void*) noexcept nogil

    ctypedef wasm_trap_t* (*wasmtime_func_unchecked_callback_t)(
        void*, wasmtime_caller_t*, wasmtime_val_raw_t*, size_t) noexcept nogil
    ctypedef void (*wasmtime_func_async_callback_t)(
        void*, wasmtime_caller_t*, const wasmtime_val_t*, size_t, wasmtime_val_t*, size_t,
        wasm_trap_t**, wasmtime_async_continuation_t*) noexcept nogil

    int LUNA_WASM_I32, LUNA_WASM_I64, LUNA_WASM_F64, LUNA_WASM_V128
    int LUNA_EXTERN_FUNC, LUNA_EXTERN_MEMORY, LUNA_TRAP_OUT_OF_FUEL

    wasm_valtype_t* wasm_valtype_new(uint8_t)
    void wasm_valtype_vec_new_uninitialized(wasm_valtype_vec_t*, size_t)
    wasm_functype_t* wasm_functype_new(wasm_valtype_vec_t*, wasm_valtype_vec_t*)
    void wasm_functype_delete(wasm_functype_t*)
    const wasm_valtype_vec_t* wasm_functype_results(const wasm_functype_t*)
    wasm_functype_t* wasmtime_func_type(const wasmtime_context_t*, const wasmtime_func_t*)
    void wasm_byte_vec_delete(wasm_byte_vec_t*)
    void wasm_trap_message(const wasm_trap_t*, wasm_byte_vec_t*)
    void wasm_trap_delete(wasm_trap_t*)
    wasm_trap_t* wasmtime_trap_new(const char*, size_t)
    wbool wasmtime_trap_code(const wasm_trap_t*, uint8_t*)
    wasmtime_error_t* wasmtime_error_new(const char*)
    void wasmtime_error_message(const wasmtime_error_t*, wasm_byte_vec_t*)
    wbool wasmtime_error_exit_status(const wasmtime_error_t*, int*)
    void wasmtime_error_delete(wasmtime_error_t*)

    wasmtime_store_t* wasmtime_store_new(wasm_engine_t*, void*, void*)
    void wasmtime_store_delete(wasmtime_store_t*)
    wasmtime_context_t* wasmtime_store_context(wasmtime_store_t*)
    void wasmtime_store_limiter(wasmtime_store_t*, int64_t, int64_t, int64_t, int64_t, int64_t)
    void* wasmtime_context_get_data(const wasmtime_context_t*)
    wasmtime_error_t* wasmtime_context_set_fuel(wasmtime_context_t*, uint64_t)
    wasmtime_error_t* wasmtime_context_set_wasi(wasmtime_context_t*, wasi_config_t*)
    void wasmtime_context_set_epoch_deadline(wasmtime_context_t*, uint64_t)
    void wasmtime_context_epoch_deadline_async_yield_and_update(wasmtime_context_t*, uint64_t)
    void wasmtime_engine_increment_epoch(wasm_engine_t*)
    void wasmtime_config_host_stack_creator_set(wasm_config_t*, wasmtime_stack_creator_t*)
    void wasmtime_config_async_stack_size_set(wasm_config_t*, size_t)
    void wasmtime_config_host_memory_creator_set(wasm_config_t*, wasmtime_memory_creator_t*)

    wasmtime_context_t* wasmtime_caller_context(wasmtime_caller_t*)
    wbool wasmtime_caller_export_get(wasmtime_caller_t*, const char*, size_t, wasmtime_extern_t*)
    wbool wasmtime_instance_export_get(
        wasmtime_context_t*, const wasmtime_instance_t*, const char*, size_t, wasmtime_extern_t*)
    uint8_t* wasmtime_memory_data(wasmtime_context_t*, const wasmtime_memory_t*)
    size_t wasmtime_memory_data_size(const wasmtime_context_t*, const wasmtime_memory_t*)

    wasmtime_linker_t* wasmtime_linker_new(wasm_engine_t*)
    void wasmtime_linker_delete(wasmtime_linker_t*)
    void wasmtime_linker_allow_shadowing(wasmtime_linker_t*, wbool)
    wasmtime_error_t* wasmtime_linker_define_wasi(wasmtime_linker_t*)
    wasmtime_error_t* wasmtime_linker_define_func_unchecked(
        wasmtime_linker_t*, const char*, size_t, const char*, size_t, const wasm_functype_t*,
        wasmtime_func_unchecked_callback_t, void*, void*)
    wasmtime_error_t* wasmtime_linker_define_async_func(
        wasmtime_linker_t*, const char*, size_t, const char*, size_t, const wasm_functype_t*,
        wasmtime_func_async_callback_t, void*, void*)
    wasmtime_error_t* wasmtime_linker_instantiate_pre(
        const wasmtime_linker_t*, const wasmtime_module_t*, wasmtime_instance_pre_t**)
    void wasmtime_instance_pre_delete(wasmtime_instance_pre_t*)
    wasmtime_linker_t* wasmtime_linker_clone(const wasmtime_linker_t*)
    wasmtime_error_t* wasmtime_linker_define(
        wasmtime_linker_t*, wasmtime_context_t*, const char*, size_t, const char*, size_t,
        const wasmtime_extern_t*)
    wasmtime_call_future_t* wasmtime_linker_instantiate_async(
        const wasmtime_linker_t*, wasmtime_context_t*, const wasmtime_module_t*, wasmtime_instance_t*,
        wasm_trap_t**, wasmtime_error_t**)
    wasmtime_call_future_t* wasmtime_instance_pre_instantiate_async(
        const wasmtime_instance_pre_t*, wasmtime_context_t*, wasmtime_instance_t*,
        wasm_trap_t**, wasmtime_error_t**)
    wbool wasmtime_wasm_valtype_equal(const wasm_valtype_t*, const wasm_valtype_t*)
    const wasm_valtype_vec_t* wasm_functype_params(const wasm_functype_t*)
    void wasmtime_val_unroot(wasmtime_val_t*)
    wasmtime_call_future_t* wasmtime_func_call_async(
        wasmtime_context_t*, const wasmtime_func_t*, const wasmtime_val_t*, size_t,
        wasmtime_val_t*, size_t, wasm_trap_t**, wasmtime_error_t**)
    wbool wasmtime_call_future_poll(wasmtime_call_future_t*)
    void wasmtime_call_future_delete(wasmtime_call_future_t*)

    wasi_config_t* wasi_config_new()
    void wasi_config_delete(wasi_config_t*)
    wbool wasi_config_set_argv(wasi_config_t*, size_t, const char**)
    wbool wasi_config_set_env(wasi_config_t*, size_t, const char**, const char**)
    void wasi_config_inherit_stdin(wasi_config_t*)
    void wasi_config_set_stdout_custom(
        wasi_config_t*, ptrdiff_t (*)(void*, const unsigned char*, size_t) noexcept nogil, void*,
        void (*)(void*) noexcept nogil)
    void wasi_config_set_stderr_custom(
        wasi_config_t*, ptrdiff_t (*)(void*, const unsigned char*, size_t) noexcept nogil, void*,
        void (*)(void*) noexcept nogil)
    wbool wasi_config_preopen_dir(wasi_config_t*, const char*, const char*, wbool)
