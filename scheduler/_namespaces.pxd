from libcpp.string cimport string
from luna.scheduler._types cimport *

cdef void refuse_everything(Runtime* runtime, Config* config) noexcept nogil
cdef int allow_namespace(Runtime* runtime, Config* config, const string& prefix) noexcept nogil
cdef void narrow_namespaces(Runtime* runtime, Config* config, Config* parent) noexcept nogil
