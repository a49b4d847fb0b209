"""Which host calls a config allows: those whose name begins with one of its prefixes.

The name is `namespace::name`, and the comparison is of plain bytes, as in early
Lunatic: `lunatic::pro` allows all of `lunatic::process::`, nothing at all allows
everything. A config that was never told a prefix allows everything too.
"""

from libc.string cimport memset, strncmp
from libcpp.string cimport string

from luna.scheduler._types cimport *


cdef int starts_with(const string& text, const string& prefix) noexcept nogil:
    return text.size() >= prefix.size() and text.compare(0, prefix.size(), prefix) == 0


cdef void refuse_everything(Runtime* runtime, Config* config) noexcept nogil:
    """From now on the config allows what it is told to allow, and no more."""
    cdef int index
    config.restricts = 1
    config.namespaces.clear()
    memset(&config.refused, 0, sizeof(RowSet))
    for index in range(runtime.row_count):
        config.refused.words[index // 64] |= <uint64_t>1 << (index % 64)


cdef int allow_namespace(Runtime* runtime, Config* config, const string& prefix) noexcept nogil:
    """Allow the host calls with that prefix; 0 when the config has too many prefixes."""
    cdef int index
    if config.namespaces.size() >= NAMESPACES_MAX:
        return 0
    if not config.restricts:
        refuse_everything(runtime, config)
    config.namespaces.push_back(prefix)
    for index in range(runtime.row_count):
        if strncmp(runtime.rows[index].name, prefix.c_str(), prefix.size()) == 0:
            config.refused.words[index // 64] &= ~(<uint64_t>1 << (index % 64))
    return 1


cdef void narrow_namespaces(Runtime* runtime, Config* config, Config* parent) noexcept nogil:
    """Refuse what the parent refuses as well."""
    cdef vector[string] both
    cdef size_t index, other
    if not parent.restricts:
        return
    if not config.restricts:
        config.restricts = 1
        config.refused = parent.refused
        config.namespaces = parent.namespaces
        return
    for index in range(ROW_WORDS):
        config.refused.words[index] |= parent.refused.words[index]
    # Of two prefixes that both hold one begins with the other, and says it all.
    for index in range(config.namespaces.size()):
        for other in range(parent.namespaces.size()):
            if starts_with(parent.namespaces[other], config.namespaces[index]):
                add_once(&both, parent.namespaces[other])
            elif starts_with(config.namespaces[index], parent.namespaces[other]):
                add_once(&both, config.namespaces[index])
    if both.size() <= NAMESPACES_MAX:
        config.namespaces.swap(both)
        return
    # Of each some prefixes are the longer ones: together they are too many, and the last count for nothing.
    refuse_everything(runtime, config)
    for index in range(NAMESPACES_MAX):
        allow_namespace(runtime, config, both[index])


cdef void add_once(vector[string]* texts, const string& text) noexcept nogil:
    cdef size_t index
    for index in range(texts.size()):
        if texts.at(index) == text:
            return
    texts.push_back(text)
