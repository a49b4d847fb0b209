"""What the core has to tell Python: an event list behind one eventfd.

Python takes all events at once when the descriptor is readable. Events are
bounded by what causes them: at most one request, spawn, end, release and code
event per process, one output event until Python has looked, and one event for
each resource of Python's in a message.

A Request is shared by a parked process and the Python task that serves it. Its
lock decides who may touch the guest's memory: Python while `process` is set,
nobody from Python afterwards.
"""

from libc.stdlib cimport calloc, free, malloc
from libc.string cimport strdup

from luna.scheduler._platform cimport *
from luna.scheduler._types cimport *


cdef int init_events(Runtime* runtime) noexcept nogil:
    """0 when the system has no descriptor left."""
    pthread_mutex_init(&runtime.event_lock, NULL)
    runtime.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    return runtime.event_fd >= 0


cdef void close_events(Runtime* runtime) noexcept nogil:
    """Every event was taken, and none will come."""
    if runtime.event_fd >= 0:
        close(runtime.event_fd)
        runtime.event_fd = -1  # the number may soon be another file's


cdef void emit(Runtime* runtime, int kind, int64_t a, int64_t b, int64_t c, void* pointer, const char* text) noexcept nogil:
    cdef Event* event = <Event*>malloc(sizeof(Event))
    cdef int first
    event.next = NULL
    event.kind = kind
    event.a = a
    event.b = b
    event.c = c
    event.pointer = pointer
    event.text = strdup(text) if text != NULL else NULL
    pthread_mutex_lock(&runtime.event_lock)
    first = runtime.last_event == NULL
    if first:
        runtime.first_event = event
    else:
        runtime.last_event.next = event
    runtime.last_event = event
    pthread_mutex_unlock(&runtime.event_lock)
    if first:
        luna_eventfd_signal(runtime.event_fd)


cdef Event* take_events(Runtime* runtime) noexcept nogil:
    """All events, oldest first; the caller frees each with free_event."""
    cdef Event* events
    luna_eventfd_clear(runtime.event_fd)
    pthread_mutex_lock(&runtime.event_lock)
    events = runtime.first_event
    runtime.first_event = NULL
    runtime.last_event = NULL
    pthread_mutex_unlock(&runtime.event_lock)
    return events


cdef void free_event(Event* event) noexcept nogil:
    free(event.text)
    free(event)


cdef Request* new_request(Process* process, int row) noexcept nogil:
    """A request of this process, with one reference for it and one for Python."""
    cdef Runtime* runtime = process.runtime
    cdef Request* request = <Request*>calloc(1, sizeof(Request))
    request.references = 2
    pthread_mutex_init(&request.lock, NULL)
    request.process = process
    request.runtime = runtime
    request.pid = process.pid
    request.environment = process.environment
    request.row = row
    request.id = luna_add64(&runtime.next_request, 1)
    luna_add64(&runtime.counters[COUNT_REQUESTS], 1)
    return request


cdef void release_request(Request* request) noexcept nogil:
    if luna_add(&request.references, -1) == 0:
        luna_add64(&request.runtime.counters[COUNT_REQUESTS], -1)
        pthread_mutex_destroy(&request.lock)
        free(request)


cdef void abandon_request(Process* process) noexcept nogil:
    """The process goes on or dies: Python must not touch its memory any more."""
    cdef Request* request = process.request
    if request == NULL:
        return
    process.request = NULL
    pthread_mutex_lock(&request.lock)
    request.process = NULL
    pthread_mutex_unlock(&request.lock)
    release_request(request)
