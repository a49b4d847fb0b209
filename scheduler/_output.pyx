"""What guests print: a bounded log per process, or the node's own streams.

A process started from outside leads a group: what its local descendants print
goes into its log as well as into their own, as with the group leader of an
Erlang process. The oldest text is given up when a log is full, but not while
somebody follows it: then the writers wait for the reader.
"""

from libc.stddef cimport ptrdiff_t
from libc.stdlib cimport calloc, realloc
from libc.string cimport memcpy, memmove

from luna.scheduler._events cimport emit
from luna.scheduler._platform cimport *
from luna.scheduler._signals cimport release_output, retain_output
from luna.scheduler._types cimport *

cdef extern from "<errno.h>" nogil:
    int errno
    int EINTR
    int EAGAIN
cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int POLLOUT
    int poll(pollfd*, unsigned long, int)

cdef Output* new_output(Runtime* runtime, int64_t pid, int mode, Output* leader) noexcept nogil:
    cdef Output* output = <Output*>calloc(1, sizeof(Output))
    cdef int index
    output.references = 1
    output.runtime = runtime
    output.pid = pid
    output.mode = mode
    output.leader = leader
    if leader != NULL:
        retain_output(leader)
    for index in range(FOLLOWERS_MAX):
        output.followers[index] = -1
    pthread_mutex_init(&output.lock, NULL)
    luna_add64(&runtime.counters[COUNT_OUTPUTS], 1)
    return output


cdef void release_output_env(void* env) noexcept nogil:
    release_output(<Output*>env)


cdef void close_output(Output* output) noexcept nogil:
    """Its process has ended; readers stop at the end of the log."""
    cdef int watched
    pthread_mutex_lock(&output.lock)
    output.closed = 1
    output.process = NULL
    watched = output.watched
    output.watched = 0
    pthread_mutex_unlock(&output.lock)
    if watched:
        emit(output.runtime, EVENT_OUTPUT, output.pid, 0, 0, NULL, NULL)


cdef inline uint32_t record_size(Output* output, size_t position) noexcept nogil:
    cdef uint32_t size
    memcpy(&size, output.data + position + 1, 4)
    return size


cdef int make_room(Output* output, size_t needed) noexcept nogil:
    cdef size_t position = 0
    cdef size_t capacity
    cdef char* grown
    if output.size + needed > OUTPUT_BYTES_MAX:
        while position < output.size and output.size - position + needed > OUTPUT_BYTES_MAX // 2:
            output.dropped += record_size(output, position)
            position += RECORD_HEADER + record_size(output, position)
        memmove(output.data, output.data + position, output.size - position)
        output.size -= position
        output.start += <int64_t>position
    if output.size + needed > output.capacity:
        capacity = output.capacity * 2 if output.capacity else 256
        while capacity < output.size + needed:
            capacity *= 2
        grown = <char*>realloc(output.data, capacity)
        if grown == NULL:
            return 0
        output.data = grown
        output.capacity = capacity
    return 1


cdef int64_t lag(Output* output) noexcept nogil:
    """Bytes the slowest follower has not read; 0 when nobody follows."""
    cdef int64_t behind = 0
    cdef int64_t end = output.start + <int64_t>output.size
    cdef int index
    for index in range(FOLLOWERS_MAX):
        if output.followers[index] >= 0 and end - output.followers[index] > behind:
            behind = end - output.followers[index]
    return behind


cdef int hold(Output* output, int64_t pid) noexcept nogil:
    """Whether a writer must wait for followers; it gets SIGNAL_ROOM when it may go on."""
    cdef int must_wait
    cdef Output* read_by = output.leader if output.leader != NULL else output
    pthread_mutex_lock(&read_by.lock)
    must_wait = lag(read_by) > OUTPUT_RELEASE_BYTES
    if must_wait:
        if read_by.held == NULL:
            read_by.held = new vector[int64_t]()
        read_by.held.push_back(pid)
    pthread_mutex_unlock(&read_by.lock)
    return must_wait


cdef int take_held(Output* output, vector[int64_t]* released) noexcept nogil:
    """Move the waiting writers to `released` if they may go on. The lock is the caller's."""
    if output.held == NULL or output.held.size() == 0 or lag(output) > OUTPUT_RELEASE_BYTES:
        return 0
    released.swap(output.held[0])
    return 1


cdef int record(Output* output, int64_t writer, int stream, const unsigned char* data, size_t size) noexcept nogil:
    """Append to a log; 1 when its followers lag behind."""
    cdef uint32_t length
    cdef int watched = 0
    cdef int crowded
    pthread_mutex_lock(&output.lock)
    if make_room(output, RECORD_HEADER + size):
        length = <uint32_t>size
        output.data[output.size] = <char>stream
        memcpy(output.data + output.size + 1, &length, 4)
        memcpy(output.data + output.size + 5, &writer, 8)
        memcpy(output.data + output.size + RECORD_HEADER, data, size)
        output.size += RECORD_HEADER + size
        watched = output.watched
        output.watched = 0
    crowded = lag(output) > OUTPUT_CROWDED_BYTES
    pthread_mutex_unlock(&output.lock)
    if watched:
        emit(output.runtime, EVENT_OUTPUT, output.pid, 0, 0, NULL, NULL)
    return crowded


cdef void write_through(int fd, const unsigned char* data, size_t size) noexcept nogil:
    cdef ssize_t written
    cdef pollfd poller
    while size > 0:
        written = write(fd, data, size)
        if written >= 0:
            data += written
            size -= <size_t>written
        elif errno == EAGAIN:
            poller.fd = fd
            poller.events = <short>POLLOUT
            poll(&poller, 1, -1)
        elif errno != EINTR:
            return  # the reader is gone; a guest that prints is not to blame


cdef ptrdiff_t write_output(Output* output, int stream, const unsigned char* data, size_t size) noexcept nogil:
    """Take what a guest prints; may take less than all, the guest then writes the rest."""
    cdef int crowded
    if size == 0:
        return 0
    if output.mode == OUTPUT_INHERIT:
        write_through(stream, data, size)
        return <ptrdiff_t>size
    if size > OUTPUT_RECORD_BYTES:
        size = OUTPUT_RECORD_BYTES
    crowded = record(output, output.pid, stream, data, size)
    if output.leader != NULL:
        crowded |= record(output.leader, output.pid, stream, data, size)
    if crowded and output.process != NULL:
        # This runs inside a WASI call, which cannot wait: the guest yields right after it.
        output.process.blocked_output = 1
        let_go_now(output.process)
    return <ptrdiff_t>size


cdef ptrdiff_t write_stdout(void* env, const unsigned char* data, size_t size) noexcept nogil:
    return write_output(<Output*>env, 1, data, size)


cdef ptrdiff_t write_stderr(void* env, const unsigned char* data, size_t size) noexcept nogil:
    return write_output(<Output*>env, 2, data, size)
