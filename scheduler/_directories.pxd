from libcpp.string cimport string
from luna.scheduler._types cimport *

cdef int hand_on(Config* own, const string& wanted, string* host) noexcept nogil
cdef int open_directory(const string& host) noexcept nogil
