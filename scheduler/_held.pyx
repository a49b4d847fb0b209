"""What a process has sent and the queue for its target's node has no room for.

Such a process waits. It keeps a list, since a guest gives way only when it calls
or loops: code that does neither sends again before.
"""

from luna.scheduler._signals cimport free_signal
from luna.scheduler._types cimport *


cdef void hold_back(Process* process, Signal* signal, int64_t target) noexcept nogil:
    """Keep a signal of the guest that runs now, behind the others, and have the guest give way."""
    cdef Held held
    held.signal = signal
    held.target = target
    if process.held == NULL:
        process.held = new vector[Held]()
    process.held.push_back(held)
    process.held_bytes += <int64_t>signal.size
    let_go_now(process)


cdef Held* first_held(Process* process) noexcept nogil:
    """NULL when nothing is held."""
    return &process.held.at(process.held_first) if process.held != NULL else NULL


cdef void let_go_of_first(Process* process) noexcept nogil:
    """The first signal is somebody else's now."""
    process.held_first += 1
    if process.held_first == process.held.size():
        del process.held
        process.held = NULL
        process.held_first = 0
        process.held_bytes = 0


cdef void drop_held(Process* process) noexcept nogil:
    while process.held != NULL:
        free_signal(process.runtime, first_held(process).signal)
        let_go_of_first(process)
