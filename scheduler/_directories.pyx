"""Directories that processes hand on to their children.

Who has a directory may hand on one within it. The host path of such a one is the
path of the first, `/./`, and the way from there, and it means just that: the way
is gone without leaving the first directory, whatever symbolic links are made on
it meanwhile. `/./` may occur again, for a directory handed on from such a one.
"""

from libcpp.string cimport npos, string

from luna.scheduler._platform cimport *
from luna.scheduler._types cimport *

cdef extern from * nogil:
    """
    #include <fcntl.h>
    #include <sys/syscall.h>
    /* Linux 5.6: man 2 openat2. */
    static inline int luna_open_beneath(int directory, const char *path) {
        struct { uint64_t flags, mode, resolve; } how = {
            O_PATH | O_DIRECTORY | O_CLOEXEC, 0, 0x08 /* RESOLVE_BENEATH */ | 0x02 /* RESOLVE_NO_MAGICLINKS */
        };
        return (int)syscall(437 /* SYS_openat2 */, directory, path, &how, sizeof(how));
    }
    static inline int luna_open_directory(const char *path) {
        return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    """
    int luna_open_beneath(int, const char*)
    int luna_open_directory(const char*)
    char* getcwd(char*, size_t)


cdef enum:
    PATH_BYTES_MAX = 4096      # the system's own limit


cdef void add_components(const string& path, vector[string]* parts) noexcept nogil:
    """Append the parts of a path; `..` takes the one before it away, without looking."""
    cdef size_t start = 0
    cdef size_t stop
    cdef string part
    while start <= path.size():
        stop = path.find(<const char*>b"/", start)
        if stop == npos:
            stop = path.size()
        part = path.substr(start, stop - start)
        start = stop + 1
        if part.compare(<const char*>b"..") == 0:
            if parts.size() > 0:
                parts.pop_back()
        elif part.size() > 0 and part.compare(<const char*>b".") != 0:
            parts.push_back(part)


cdef void absolute(const string& path, vector[string]* parts) noexcept nogil:
    """The parts of a path from the root; one that is not absolute starts at the current directory."""
    cdef char current[PATH_BYTES_MAX]
    cdef string directory
    if path.size() == 0 or path[0] != b"/":
        if getcwd(current, sizeof(current)) != NULL:
            directory.assign(<const char*>current)
            add_components(directory, parts)
    add_components(path, parts)


cdef int begins_with(const vector[string]& path, const vector[string]& start) noexcept nogil:
    cdef size_t index
    if start.size() > path.size():
        return 0
    for index in range(start.size()):
        if path[index] != start[index]:
            return 0
    return 1


cdef int hand_on(Config* own, const string& wanted, string* host) noexcept nogil:
    """The host path of a directory that lies in one of the config's; 0 if it lies in none.

    Of several that hold it the one with the longest guest name counts.
    """
    cdef vector[string] path, name
    cdef size_t index, part
    cdef size_t longest = 0
    cdef int found = 0
    absolute(wanted, &path)
    for index in range(own.preopens.size()):
        name.clear()
        absolute(own.preopens[index].first, &name)
        if not begins_with(path, name) or found and name.size() <= longest:
            continue
        found = 1
        longest = name.size()
        host[0] = own.preopens[index].second
        for part in range(name.size(), path.size()):
            host[0].append(<const char*>b"/./" if part == name.size() else <const char*>b"/")
            host[0].append(path[part])
    return found


cdef int open_directory(const string& host) noexcept nogil:
    """An O_PATH descriptor of the directory, that the caller closes; -1 if there is none."""
    cdef size_t start = 0
    cdef size_t stop
    cdef string step
    cdef int directory = -1
    cdef int inner
    while True:
        stop = host.find(<const char*>b"/./", start)
        step = host.substr(start, npos if stop == npos else stop - start)
        if start == 0:
            directory = luna_open_directory(step.c_str())
        else:
            inner = luna_open_beneath(directory, step.c_str())
            close(directory)
            directory = inner
        if directory < 0 or stop == npos:
            return directory
        start = stop + 3
