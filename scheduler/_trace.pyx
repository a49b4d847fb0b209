"""The trace: every step of processes, a line each, written to stderr as it happens.

Straight to the descriptor and not by way of Python: the last lines before a
crash or a hang are those that matter, and what guests print stays in its place
between them. Each line is one write, so that none is torn. A reader that stops
reading is waited for only once, for TRACE_PATIENCE_MS; then lines are dropped
and counted until it reads again. So a trace slows a node but never stops it.
"""

from libc.stdio cimport snprintf
from libc.string cimport memchr, memcpy, strlen

from luna.scheduler._platform cimport *
from luna.scheduler._types cimport *

cdef extern from "<errno.h>" nogil:
    int errno
    int EINTR
cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int POLLOUT
    int poll(pollfd*, unsigned long, int)
cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    struct tm:
        int tm_year, tm_mon, tm_mday, tm_hour, tm_min, tm_sec
    int clock_gettime(int, timespec*)
    int CLOCK_REALTIME
    tm* gmtime_r(const long*, tm*)

cdef enum:
    STDERR = 2
    HEAD_BYTES = 160           # of a line, for the time and the process

cdef const char* EXIT_NAMES[6]
EXIT_NAMES[:] = [b"normal", b"failure", b"killed", b"link died", b"no process", b"no connection"]


# -- the text of a line -----------------------------------------------------------------

cdef inline void advance(Line* line, int written) noexcept nogil:
    """After a snprintf at the end of the line, which may have been cut."""
    line.size = min(line.size + <size_t>written, <size_t>TRACE_LINE_BYTES - 1)


cdef void put(Line* line, const char* text) noexcept nogil:
    advance(line, snprintf(line.text + line.size, TRACE_LINE_BYTES - line.size, b"%s", text))


cdef void put_number(Line* line, int64_t number) noexcept nogil:
    advance(line, snprintf(line.text + line.size, TRACE_LINE_BYTES - line.size, b"%lld", <long long>number))


cdef void put_unsigned(Line* line, uint32_t number) noexcept nogil:
    advance(line, snprintf(line.text + line.size, TRACE_LINE_BYTES - line.size, b"%u", number))


cdef void put_float(Line* line, double number) noexcept nogil:
    advance(line, snprintf(line.text + line.size, TRACE_LINE_BYTES - line.size, b"%g", number))


cdef void put_process(Line* line, Runtime* runtime, int64_t pid) noexcept nogil:
    """A process of this node by its number here, others by their absolute pid."""
    if pid >> NODE_SHIFT == runtime.node_id:
        pid &= (<int64_t>1 << NODE_SHIFT) - 1
    put_number(line, pid)


cdef void put_text(Line* line, const char* text, size_t size) noexcept nogil:
    """Bytes of a guest as far as they are shown; all but plain ASCII as escapes."""
    cdef size_t index
    cdef unsigned char byte
    for index in range(min(size, <size_t>TRACE_TEXT_BYTES)):
        byte = <unsigned char>text[index]
        if 0x20 <= byte < 0x7F and byte != 0x5C and byte != 0x22:
            advance(line, snprintf(line.text + line.size, TRACE_LINE_BYTES - line.size, b"%c", byte))
        else:
            advance(line, snprintf(line.text + line.size, TRACE_LINE_BYTES - line.size, b"\\x%02x", byte))
    if size > TRACE_TEXT_BYTES:
        put(line, b"...")


cdef void put_quoted(Line* line, const char* text, size_t size) noexcept nogil:
    put(line, b"\"")
    put_text(line, text, size)
    put(line, b"\"")


cdef void put_message(Line* line, Runtime* runtime, Signal* message) noexcept nogil:
    if message.kind == SIGNAL_PROCESS_DIED:
        put(line, b"process ")
        put_process(line, runtime, message.sender)
        return
    put(line, b"tag ")
    put_number(line, message.tag)
    if message.kind == SIGNAL_MESSAGE:
        put(line, b", ")
        put_number(line, <int64_t>message.size)
        put(line, b" bytes")
    if message.resource_count > 0:
        put(line, b", ")
        put_number(line, message.resource_count)
        put(line, b" resources")


# -- writing ------------------------------------------------------------------------------

cdef int write_head(Runtime* runtime, int64_t pid, char* out, size_t size) noexcept nogil:
    cdef timespec now
    cdef tm parts
    cdef const char* form
    clock_gettime(CLOCK_REALTIME, &now)
    gmtime_r(&now.tv_sec, &parts)
    if runtime.trace_is_json:
        form = b"{\"timestamp\": \"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\", \"level\": \"debug\", \"pid\": %lld, \"event\": \""
    else:
        form = b"[%04d-%02d-%02dT%02d:%02d:%02d.%03dZ DEBUG luna::process %lld] "
        pid &= (<int64_t>1 << NODE_SHIFT) - 1
    return snprintf(
        out, size, form, parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min,
        parts.tm_sec, <int>(now.tv_nsec // 1_000_000), <long long>pid,
    )


cdef size_t escape_json(const char* text, size_t size, char* out) noexcept nogil:
    """Copy a line's text, which is ASCII, into a JSON string; at most twice as long."""
    cdef size_t index
    cdef size_t written = 0
    for index in range(size):
        if text[index] == 0x22 or text[index] == 0x5C:
            out[written] = 0x5C
            written += 1
        out[written] = text[index]
        written += 1
    return written


cdef int takes_line(Runtime* runtime) noexcept nogil:
    """Whether stderr takes a line now, or soon."""
    cdef pollfd poller
    cdef int ready
    poller.fd = STDERR
    poller.events = <short>POLLOUT
    while True:
        poller.revents = 0
        ready = poll(&poller, 1, 0 if runtime.trace_dropped else TRACE_PATIENCE_MS)
        if ready >= 0 or errno != EINTR:
            return ready > 0 and poller.revents & POLLOUT


cdef void write_whole(const char* data, size_t size) noexcept nogil:
    """At once into a pipe: a line is shorter than what it takes undivided (PIPE_BUF, 4096 bytes)."""
    cdef ssize_t written
    while size > 0:
        written = write(STDERR, data, size)
        if written >= 0:
            data += written
            size -= <size_t>written
        elif errno != EINTR:
            return  # nobody reads it any more


cdef void write_line(Process* process, Line* line) noexcept nogil:
    cdef Runtime* runtime = process.runtime
    cdef char out[HEAD_BYTES + 2 * TRACE_LINE_BYTES + 4]
    cdef char remark[64]
    cdef size_t size = <size_t>write_head(runtime, process.pid, out, HEAD_BYTES)
    if runtime.trace_is_json:
        size += escape_json(line.text, line.size, out + size)
        memcpy(out + size, b"\"}\n", 3)
        size += 3
    else:
        memcpy(out + size, line.text, line.size)
        size += line.size
        out[size] = 10
        size += 1
    pthread_mutex_lock(&runtime.trace_lock)
    if takes_line(runtime):
        if runtime.trace_dropped and not runtime.trace_is_json:
            write_whole(remark, <size_t>snprintf(
                remark, sizeof(remark), b"[%lld lines of the trace are lost]\n", <long long>runtime.trace_dropped
            ))
        runtime.trace_dropped = 0
        write_whole(out, size)
    else:
        runtime.trace_dropped += 1
    pthread_mutex_unlock(&runtime.trace_lock)


# -- births, ends, signals ------------------------------------------------------------------

cdef void trace_birth(Process* process) noexcept nogil:
    cdef Line line
    line.size = 0
    put(&line, b"spawned ")
    if process.parent != 0:
        put(&line, b"by ")
        put_process(&line, process.runtime, process.parent)
    else:
        put(&line, b"from outside")
    if process.link_parent:
        put(&line, b", linked with tag ")
        put_number(&line, process.link_tag)
    put(&line, b", runs ")
    put_quoted(&line, process.entry, strlen(process.entry))
    write_line(process, &line)


cdef void trace_end(Process* process) noexcept nogil:
    cdef Line line
    cdef size_t size = strlen(process.exit_text)
    cdef const char* first_line_end = <const char*>memchr(process.exit_text, 10, size)
    line.size = 0
    put(&line, b"ended, ")
    put(&line, EXIT_NAMES[process.exit_kind])
    put(&line, b": ")
    put_text(&line, process.exit_text, <size_t>(first_line_end - process.exit_text) if first_line_end != NULL else size)
    write_line(process, &line)


cdef const char* name_of(int kind) noexcept nogil:
    """NULL for signals between a process and its host."""
    if kind == SIGNAL_MESSAGE:
        return b"message"
    if kind == SIGNAL_KILL:
        return b"kill"
    if kind == SIGNAL_LINK:
        return b"link"
    if kind == SIGNAL_UNLINK:
        return b"unlink"
    if kind == SIGNAL_LINK_DEATH:
        return b"end of a linked process,"
    if kind == SIGNAL_MONITOR:
        return b"monitor"
    if kind == SIGNAL_STOP_MONITORING:
        return b"stop monitoring"
    if kind == SIGNAL_PROCESS_DEATH:
        return b"end of a monitored process,"
    if kind == SIGNAL_DIE_WHEN_LINK_DIES:
        return b"die when link dies"
    if kind == SIGNAL_NODE_DOWN:
        return b"node down"
    return NULL


cdef void trace_signal(Process* process, Signal* signal) noexcept nogil:
    cdef const char* name = name_of(signal.kind)
    cdef Line line
    if name == NULL:
        return
    line.size = 0
    put(&line, b"signal: ")
    put(&line, name)
    if signal.kind == SIGNAL_DIE_WHEN_LINK_DIES or signal.kind == SIGNAL_NODE_DOWN:
        put(&line, b" ")
        put_number(&line, signal.value)
        write_line(process, &line)
        return
    if signal.kind == SIGNAL_LINK_DEATH or signal.kind == SIGNAL_PROCESS_DEATH:
        put(&line, b" ")
        put(&line, EXIT_NAMES[signal.exit])
        put(&line, b",")
    put(&line, b" from ")
    put_process(&line, process.runtime, signal.sender)
    if signal.kind == SIGNAL_LINK:
        put(&line, b", tag ")
        put_number(&line, signal.value)
    elif signal.kind == SIGNAL_MESSAGE or signal.kind == SIGNAL_LINK_DEATH:
        put(&line, b", ")
        put_message(&line, process.runtime, signal)
    write_line(process, &line)
