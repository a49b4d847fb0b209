# Atomics, threads, clock and descriptors the core stands on. Declarations only.
#
# Atomics are the compiler's builtins on plain fields, so that the structs of
# _types.pxd stay plain C structs; ThreadSanitizer understands them.

from libc.stdint cimport int64_t, uint64_t

cdef extern from * nogil:
    """
    #include <pthread.h>
    #include <stdint.h>
    #include <time.h>
    #include <errno.h>
    #include <unistd.h>
    #include <sys/eventfd.h>
    #include <sys/mman.h>
    #include <sys/stat.h>

    static inline int luna_load(const int *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline int luna_load_seq(const int *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
    static inline void luna_store(int *p, int v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    static inline int luna_exchange(int *p, int v) { return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); }
    static inline int luna_cas(int *p, int expected, int desired) {
        return __atomic_compare_exchange_n(p, &expected, desired, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    static inline int luna_add(int *p, int v) { return __atomic_add_fetch(p, v, __ATOMIC_SEQ_CST); }
    static inline int64_t luna_load64(const int64_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
    static inline void luna_store64(int64_t *p, int64_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
    static inline int64_t luna_add64(int64_t *p, int64_t v) { return __atomic_add_fetch(p, v, __ATOMIC_RELAXED); }
    static inline int64_t luna_exchange64(int64_t *p, int64_t v) { return __atomic_exchange_n(p, v, __ATOMIC_RELAXED); }
    static inline void *luna_load_ptr(void *const *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void luna_store_ptr(void **p, void *v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    static inline void *luna_exchange_ptr(void **p, void *v) { return __atomic_exchange_n(p, v, __ATOMIC_ACQ_REL); }
    static inline int luna_cas_ptr(void **p, void *expected, void *desired) {
        return __atomic_compare_exchange_n(p, &expected, desired, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    static inline int64_t luna_now_ns(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    }
    static inline int luna_is_directory(const char *path) {
        struct stat found;
        return stat(path, &found) == 0 && S_ISDIR(found.st_mode) && access(path, X_OK) == 0;
    }
    static inline void luna_pause(void) {
    #if defined(__x86_64__)
        __builtin_ia32_pause();
    #endif
    }
    static inline void luna_cond_init(pthread_cond_t *c) {
        pthread_condattr_t a;
        pthread_condattr_init(&a);
        pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
        pthread_cond_init(c, &a);
        pthread_condattr_destroy(&a);
    }
    static inline void luna_cond_wait_until(pthread_cond_t *c, pthread_mutex_t *m, int64_t deadline_ns) {
        struct timespec t;
        t.tv_sec = deadline_ns / 1000000000;
        t.tv_nsec = deadline_ns % 1000000000;
        pthread_cond_timedwait(c, m, &t);
    }
    static inline int64_t luna_wall_ms(void) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    }
    /* Nonzero when the thread has not ended by then. */
    static inline int luna_join(pthread_t thread, int64_t patience_ns) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        t.tv_sec += patience_ns / 1000000000 + (t.tv_nsec + patience_ns % 1000000000) / 1000000000;
        t.tv_nsec = (t.tv_nsec + patience_ns % 1000000000) % 1000000000;
        return pthread_timedjoin_np(thread, NULL, &t) != 0;
    }
    static inline void luna_eventfd_signal(int fd) {
        uint64_t one = 1;
        ssize_t n = write(fd, &one, sizeof one);
        (void)n; /* EAGAIN: already readable */
    }
    static inline void luna_eventfd_clear(int fd) {
        uint64_t value;
        ssize_t n = read(fd, &value, sizeof value);
        (void)n;
    }
    """
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    ctypedef unsigned long pthread_t

    int pthread_mutex_init(pthread_mutex_t*, void*)
    int pthread_mutex_destroy(pthread_mutex_t*)
    int pthread_mutex_lock(pthread_mutex_t*)
    int pthread_mutex_unlock(pthread_mutex_t*)
    int pthread_cond_wait(pthread_cond_t*, pthread_mutex_t*)
    int pthread_cond_signal(pthread_cond_t*)
    int pthread_create(pthread_t*, void*, void* (*)(void*) noexcept nogil, void*)
    int pthread_join(pthread_t, void**)
    int luna_join(pthread_t, int64_t)

    int luna_load(const int*)
    int luna_load_seq(const int*)
    void luna_store(int*, int)
    int luna_exchange(int*, int)
    int luna_cas(int*, int, int)
    int luna_add(int*, int)
    int64_t luna_load64(const int64_t*)
    void luna_store64(int64_t*, int64_t)
    int64_t luna_add64(int64_t*, int64_t)
    int64_t luna_exchange64(int64_t*, int64_t)
    void* luna_load_ptr(void**)
    void luna_store_ptr(void**, void*)
    void* luna_exchange_ptr(void**, void*)
    int luna_cas_ptr(void**, void*, void*)
    int64_t luna_now_ns()
    int64_t luna_wall_ms()
    int luna_is_directory(const char*)
    void luna_pause()
    void luna_cond_init(pthread_cond_t*)
    void luna_cond_wait_until(pthread_cond_t*, pthread_mutex_t*, int64_t)
    void luna_eventfd_signal(int)
    void luna_eventfd_clear(int)

    int EFD_CLOEXEC, EFD_NONBLOCK
    int eventfd(unsigned int, int)
    int close(int)
    ssize_t write(int, const void*, size_t)

    int PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_ANONYMOUS, MAP_NORESERVE
    int MADV_DONTNEED, MADV_NOHUGEPAGE
    void* MAP_FAILED
    void* mmap(void*, size_t, int, int, int, long)
    int munmap(void*, size_t)
    int madvise(void*, size_t, int)
