from luna.scheduler._types cimport *

cdef int begin_borrowing(Runtime* runtime) noexcept nogil
cdef void end_borrowing(Runtime* runtime) noexcept nogil
cdef void await_borrower(Runtime* runtime) noexcept nogil
