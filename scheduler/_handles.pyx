"""Python's references to things of the core: linked code, logs, parked host calls.

One owner class per handle: it takes a reference when it is made and gives it
back once. None is made from Python. Methods may be called from any thread.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from luna.scheduler._code cimport *
from luna.scheduler._delivery cimport deliver, tell
from luna.scheduler._early cimport *
from luna.scheduler._events cimport release_request
from luna.scheduler._output cimport take_held
from luna.scheduler._platform cimport *
from luna.scheduler._process cimport add_error
from luna.scheduler._signals cimport *
from luna.scheduler._types cimport *


cdef class NativeModule:
    """A reference to linked code."""

    def __init__(self):
        raise TypeError("made by Core.module")

    def __dealloc__(self):
        if self.module != NULL:
            release_module(self.module)

    @property
    def id(self) -> int:
        return self.module.id

    @property
    def sha256(self) -> bytes:
        return (<char*>self.module.sha256)[:32]

    @property
    def in_use(self) -> bool:
        """Whether anything but this reference holds the code: a process, a message, a table."""
        return luna_load(&self.module.references) > 1

    def add_code(self, bint counts_fuel, bytes refused, size_t linked) -> None:
        """Give it code linked in another way (a wasmtime_instance_pre_t, taken over).

        `refused` is the set of rows that trap, as EVENT_CODE tells it.
        """
        add_code(self.module, counts_fuel, <const RowSet*>PyBytes_AS_STRING(refused), <wasmtime_instance_pre_t*>linked)

    def has_code(self, bint counts_fuel, bytes refused) -> bool:
        """Whether such code is there."""
        cdef Code* code = find_code(self.module, counts_fuel, <const RowSet*>PyBytes_AS_STRING(refused))
        release_code(code)
        return code != NULL


cdef NativeModule wrap_module(Module* module):
    cdef NativeModule wrapped = NativeModule.__new__(NativeModule)
    retain_module(module)
    wrapped.module = module
    return wrapped


cdef class NativeOutput:
    """A reference to what a process printed."""

    def __init__(self):
        raise TypeError("made by Core")

    def __dealloc__(self):
        if self.output != NULL:
            self.unfollow()
            release_output(self.output)

    def follow(self) -> NativeOutput:
        """A reader of its own that writers wait for, so that it loses nothing.

        Of more than FOLLOWERS_MAX at a time the last ones may lose text.
        """
        cdef NativeOutput reader
        cdef int index
        retain_output(self.output)
        reader = wrap_output(self.output)
        pthread_mutex_lock(&self.output.lock)
        for index in range(FOLLOWERS_MAX):
            if self.output.followers[index] < 0:
                self.output.followers[index] = self.output.start
                reader.place = index
                break
        pthread_mutex_unlock(&self.output.lock)
        return reader

    def unfollow(self) -> None:
        """Let writers go on without this reader. Idempotent."""
        if self.place < 0:
            return
        pthread_mutex_lock(&self.output.lock)
        self.output.followers[self.place] = -1
        self.place = -1
        pthread_mutex_unlock(&self.output.lock)
        self.release_held()

    cdef void release_held(self) noexcept:
        cdef vector[int64_t] released
        cdef size_t index
        pthread_mutex_lock(&self.output.lock)
        take_held(self.output, &released)
        pthread_mutex_unlock(&self.output.lock)
        for index in range(released.size()):
            tell(self.output.runtime, SIGNAL_ROOM, 0, released[index], 0)

    def read(self, int64_t position) -> tuple:
        """What came since `position` (0 at first).

        Returns ([(stream 1 or 2, pid of the writer, bytes), ...], next position, bytes of text the log
        has given up since its beginning, closed). When nothing came and the process lives, one
        EVENT_OUTPUT follows at its next write or at its end.
        """
        cdef Output* output = self.output
        cdef char* copy = NULL
        cdef size_t size, offset
        cdef uint32_t length
        cdef int64_t writer
        cdef int64_t dropped
        cdef bint closed
        with nogil:
            pthread_mutex_lock(&output.lock)
            if position < output.start:
                position = output.start
            offset = <size_t>(position - output.start)
            size = output.size - offset if offset < output.size else 0
            if size:
                copy = <char*>malloc(size)
                memcpy(copy, output.data + offset, size)
            elif not output.closed:
                output.watched = 1
            if self.place >= 0:
                output.followers[self.place] = position + <int64_t>size
            dropped = output.dropped
            closed = output.closed
            pthread_mutex_unlock(&output.lock)
        if self.place >= 0:
            self.release_held()
        records = []
        offset = 0
        while offset < size:
            memcpy(&length, copy + offset + 1, 4)
            memcpy(&writer, copy + offset + 5, 8)
            records.append((copy[offset], writer, copy[offset + RECORD_HEADER:offset + RECORD_HEADER + length]))
            offset += RECORD_HEADER + length
        free(copy)
        return records, position + <int64_t>size, dropped, closed


cdef NativeOutput wrap_output(Output* output):
    """Takes over the caller's reference."""
    cdef NativeOutput wrapped = NativeOutput.__new__(NativeOutput)
    wrapped.output = output
    wrapped.place = -1
    return wrapped


cdef tuple config_tuple(Config* config):
    return (
        config.max_memory,
        config.max_fuel,
        bool(config.can_compile),
        bool(config.can_create_configs),
        bool(config.can_spawn),
        tuple([(p.first.decode(), p.second.decode()) for p in config.preopens]),
        tuple([argument.decode() for argument in config.arguments]),
        tuple([(v.first.decode(), v.second.decode()) for v in config.variables]),
        tuple([prefix.decode() for prefix in config.namespaces]) if config.restricts else None,
    )


class ProcessGoneError(Exception):
    """The process of a request has ended, or the request was answered."""


cdef class NativeRequest:
    """A host call that Python answers; the process is parked until it does."""

    def __init__(self):
        raise TypeError("made by Core.take_events")

    def __dealloc__(self):
        if self.request != NULL:
            release_request(self.request)

    @property
    def id(self) -> int:
        return self.request.id

    @property
    def pid(self) -> int:
        return self.request.pid

    @property
    def environment(self) -> int:
        return self.request.environment

    @property
    def wasi_start_ns(self) -> int:
        """When the process's monotonic clock of WASI was zero, on the system's."""
        cdef Process* process = self.lock()
        start = process.wasi_start_ns
        self.unlock()
        return start

    @property
    def starting(self) -> bool:
        """Whether the process still runs the start section of its module."""
        cdef Process* process = self.lock()
        cdef bint starting = process.phase < PHASE_CALLING
        self.unlock()
        return starting

    @property
    def row(self) -> int:
        """Index in the host-call table."""
        return self.request.row

    @property
    def arguments(self) -> tuple:
        """Raw values: i32 sign-extended, f64 as the integer of its bits."""
        return tuple([self.request.args[index] for index in range(self.request.arg_count)])

    cdef Process* lock(self) except NULL:
        """The parked process, its memory ours until unlock."""
        pthread_mutex_lock(&self.request.lock)
        if self.request.process == NULL:
            pthread_mutex_unlock(&self.request.lock)
            raise ProcessGoneError()
        return self.request.process

    cdef void unlock(self) noexcept:
        pthread_mutex_unlock(&self.request.lock)

    cdef uint8_t* memory_at(self, Process* process, uint64_t pointer, uint64_t size) noexcept:
        if not process.has_memory:
            return NULL
        if pointer + size > wasmtime_memory_data_size(process.context, &process.memory):
            return NULL
        return wasmtime_memory_data(process.context, &process.memory) + pointer

    def read(self, uint64_t pointer, uint64_t size) -> bytes | None:
        """Copy guest memory; None when it is out of bounds."""
        cdef Process* process = self.lock()
        cdef uint8_t* data
        try:
            if pointer > 0xFFFFFFFF or size > 0xFFFFFFFF:
                return None
            data = self.memory_at(process, pointer, size)
            return None if data == NULL else data[:size]
        finally:
            self.unlock()

    def write(self, uint64_t pointer, bytes data) -> bool:
        """Copy into guest memory; False when it is out of bounds."""
        cdef Process* process = self.lock()
        cdef uint8_t* out
        cdef size_t size = len(data)
        try:
            if pointer > 0xFFFFFFFF or size > 0xFFFFFFFF:
                return False
            out = self.memory_at(process, pointer, size)
            if out == NULL:
                return False
            memcpy(out, PyBytes_AS_STRING(data), size)
            return True
        finally:
            self.unlock()

    def add_error(self, bytes text) -> int:
        """Id of a new entry in the process's table of errors."""
        cdef Process* process = self.lock()
        try:
            return add_error(process, text, len(text))
        finally:
            self.unlock()

    def add_module(self, NativeModule module) -> int:
        """Id of a new entry in the process's table of modules."""
        cdef Process* process = self.lock()
        try:
            id = table_add(&process.modules, module.module)
            if id != <uint64_t>-1:
                retain_module(module.module)
            return id
        finally:
            self.unlock()

    # -- of early Lunatic: what `_early.pyx` owns --

    def add_module_of(self, NativeModule module, int64_t environment) -> int:
        """Id of a new module of an environment in the process's table, -1 when there are too many."""
        cdef Process* process = self.lock()
        try:
            return add_module_of(process, module.module, find_environment(process, environment))
        finally:
            self.unlock()

    def own_environment(self) -> int:
        """The number of the early environment the process runs in, 0 for the root one."""
        cdef EarlyEnvironment* environment = own_environment(self.lock())
        number = environment.id if environment != NULL else 0
        self.unlock()
        return number

    def find_environment(self, int64_t number, bint keeps_names) -> int | None:
        """The number of one in the process's table, None if unknown.

        With `keeps_names` EVENT_FORGOTTEN is told when nobody holds it any more.
        """
        cdef EarlyEnvironment* environment = find_environment(self.lock(), number)
        try:
            if environment == NULL:
                return None
            if keeps_names and environment.id != 0:
                luna_store(&environment.has_names, 1)
            return environment.id
        finally:
            self.unlock()

    def find_handle(self, int64_t number) -> int:
        """The pid behind a handle, 0 if unknown."""
        pid = find_handle(self.lock(), number)
        self.unlock()
        return pid

    def add_handle(self, int64_t pid) -> int:
        """Id of a new handle of a process, -1 when there are too many."""
        id = add_handle(self.lock(), pid)
        self.unlock()
        return id

    def own(self) -> None:
        """Have RELEASED told when the process ends: Python keeps something for it."""
        self.lock().owns_foreign = 1
        self.unlock()

    def push_resource(self, int kind, int64_t number) -> tuple:
        """Put a resource of Python's into the scratch message: (index, None) or (0, what is wrong)."""
        cdef Signal* message = self.lock().scratch
        cdef int index
        try:
            if message == NULL:
                return 0, "there is no message: create or receive one first"
            if message.kind != SIGNAL_MESSAGE:
                return 0, "the message is not a data message"
            index = add_resource(message, kind, <void*>number)
            if index < 0:
                return 0, "a message holds at most 4096 resources"
            return index, None
        finally:
            self.unlock()

    def take_resource(self, int kind, int64_t index) -> tuple:
        """Take a resource of Python's from the scratch message: (number, None) or (0, what is wrong)."""
        cdef Signal* message = self.lock().scratch
        try:
            if message == NULL:
                return 0, "there is no message: create or receive one first"
            if message.kind != SIGNAL_MESSAGE:
                return 0, "the message is not a data message"
            if <uint64_t>index >= message.resource_count or message.resources[index].kind != kind:
                return 0, "the message has no such resource at that index"
            message.resources[index].kind = RESOURCE_TAKEN
            return <int64_t>message.resources[index].pointer, None
        finally:
            self.unlock()

    def message_module(self, int64_t index) -> tuple | None:
        """(hash, sender) of a module in the scratch message that is not in memory; None if there is none."""
        cdef Process* process = self.lock()
        cdef Signal* message = process.scratch
        try:
            if message == NULL or <uint64_t>index >= message.resource_count or \
                    message.resources[index].kind != RESOURCE_HASH:
                return None
            return (<char*>message.resources[index].pointer)[:32], message.sender
        finally:
            self.unlock()

    def module(self, int64_t number) -> NativeModule | None:
        """The module of that id in the process's table, -1 its own; None if unknown."""
        cdef Process* process = self.lock()
        cdef Module* module
        try:
            module = process.module if number == -1 else <Module*>table_get(&process.modules, <uint64_t>number)
            return None if module == NULL else wrap_module(module)
        finally:
            self.unlock()

    def config(self, int64_t number) -> tuple | None:
        """The config of that id in the process's table, -1 its own; None if unknown."""
        cdef Process* process = self.lock()
        cdef Config* config
        try:
            config = process.config if number == -1 else <Config*>table_get(&process.configs, <uint64_t>number)
            return None if config == NULL else config_tuple(config)
        finally:
            self.unlock()

    def complete(self, int64_t result) -> None:
        """Answer the call; the process runs on with this result."""
        self.answer(new_signal(self.request.runtime, SIGNAL_RESULT, 0), result)

    def complete_with_data(self, bytes data, uint32_t size_out) -> None:
        """Answer a call that hands bytes to the guest; their length goes to the address `size_out`."""
        cdef Signal* signal = new_signal(self.request.runtime, SIGNAL_RESULT, 0)
        signal.exit = ANSWER_DATA
        if not append(signal, PyBytes_AS_STRING(data), len(data)):
            signal.exit = ANSWER_TRAP
            set_text(signal, b"the answer is larger than 256 MiB")
        self.answer(signal, size_out)

    def complete_with_module(self, NativeModule module) -> None:
        """Let a call go on that needs a module, which was not in memory."""
        cdef Signal* signal = new_signal(self.request.runtime, SIGNAL_RESULT, 0)
        signal.exit = ANSWER_MODULE
        add_resource(signal, RESOURCE_MODULE, module.module)
        retain_module(module.module)
        self.answer(signal, 0)

    def trap(self, bytes text) -> None:
        """Trap the process with this text."""
        cdef Signal* signal = new_signal(self.request.runtime, SIGNAL_RESULT, 0)
        signal.exit = ANSWER_TRAP
        set_text(signal, text)
        self.answer(signal, 0)

    cdef void answer(self, Signal* signal, int64_t value) noexcept:
        cdef Runtime* runtime = self.request.runtime
        signal.value = value
        signal.tag = self.sequence
        with nogil:
            deliver(runtime, signal, self.request.pid, ANY_ENVIRONMENT, NULL)
