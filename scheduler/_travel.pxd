from luna.scheduler._codec cimport Wire
from luna.scheduler._types cimport *

cdef const char* untravelled(Signal* message) noexcept nogil
cdef void add_modules(Runtime* runtime, Signal* message, Wire* wire) noexcept nogil
