/* Floors: what this machine's kernel takes for the least that each benchmark has to do, without a runtime.
 *
 * Reads one request per line on stdin (`NAME NUMBER...`) and answers each with one line of JSON:
 *
 *   spawn_loop COUNT WINDOW     threads made and joined, WINDOW at a time
 *   fork_loop COUNT             processes forked, ended and waited for, one by one
 *   parked COUNT                threads with the smallest stack, waiting; at most PARKED_MOST of them
 *   pingpong ROUNDS             two threads wake each other by a futex
 *   ring THREADS ROUNDS         a token goes round threads, by a futex each
 *   oneway COUNT SIZE           messages written to a pipe and read by another thread
 *   under_load BUSY ROUNDS MS   ping-pong of two threads, MS between rounds, beside BUSY threads that compute
 *   tcp_pingpong ROUNDS SIZE    two processes over loopback TCP
 *   tcp_oneway COUNT SIZE       one process writes, another reads; answered when all is read
 *   tcp_killed ROUNDS           from SIGKILL of a process to the end of a TCP connection it held
 *
 * Any failing system call ends the program with a message on stderr.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STACK_BYTES = 32768, PARKED_MOST = 2000, THREADS_MOST = 4096, SIZE_MOST = 1 << 20 };

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int64_t check(int64_t result, const char *what) {
    if (result < 0) fail(what);
    return result;
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void sleep_ms(int64_t ms) {
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

static void answer_elapsed(int64_t began) {
    printf("{\"elapsed_ns\": %lld}\n", (long long)(now_ns() - began));
}

/* ---- samples ---- */

static int64_t *samples;
static int64_t sampled;

static void start_sampling(int64_t most) {
    free(samples);
    samples = malloc((size_t)most * sizeof *samples);
    if (!samples) fail("malloc");
    sampled = 0;
}

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int64_t percentile(int64_t percent) { return samples[(sampled * percent + 99) / 100 - 1]; }

static void answer_samples(void) {
    qsort(samples, (size_t)sampled, sizeof *samples, compare);
    printf("{\"rounds\": %lld, \"p50_ns\": %lld, \"p99_ns\": %lld, \"max_ns\": %lld}\n", (long long)sampled,
           (long long)percentile(50), (long long)percentile(99), (long long)samples[sampled - 1]);
}

/* ---- threads ---- */

static pthread_t start_thread(void *(*run)(void *), void *argument) {
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    errno = pthread_create(&thread, &attributes, run, argument);
    if (errno) fail("pthread_create");
    pthread_attr_destroy(&attributes);
    return thread;
}

/* A counter that one thread raises and another waits for. */
typedef _Atomic uint32_t baton;

static void pass(baton *to) {
    atomic_fetch_add(to, 1);
    syscall(SYS_futex, to, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void await(baton *own, uint32_t value) {
    for (uint32_t seen; (seen = atomic_load(own)) < value;) {
        syscall(SYS_futex, own, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    }
}

struct member {
    baton own;
    char apart[60]; /* a cache line each */
    baton *next;
    uint32_t rounds;
};

static void *run_member(void *argument) {
    struct member *self = argument;
    for (uint32_t round = 1; round <= self->rounds; round++) {
        await(&self->own, round);
        pass(self->next);
    }
    return NULL;
}

/* `wait_ms` between rounds; every round is a sample. */
static void go_round(int64_t threads, int64_t rounds, int64_t wait_ms) {
    static struct member members[THREADS_MOST];
    static pthread_t handles[THREADS_MOST];
    for (int64_t i = 0; i < threads; i++) {
        members[i] = (struct member){.next = &members[(i + 1) % threads].own, .rounds = (uint32_t)rounds};
    }
    for (int64_t i = 1; i < threads; i++) handles[i] = start_thread(run_member, &members[i]);
    start_sampling(rounds);
    for (uint32_t round = 1; round <= rounds; round++) {
        int64_t began = now_ns();
        pass(members[0].next);
        await(&members[0].own, round);
        samples[sampled++] = now_ns() - began;
        if (wait_ms > 0) sleep_ms(wait_ms);
    }
    for (int64_t i = 1; i < threads; i++) pthread_join(handles[i], NULL);
}

static void ring(int64_t threads, int64_t rounds) {
    int64_t began = now_ns();
    go_round(threads, rounds, 0);
    answer_elapsed(began);
}

static atomic_int stop_busy;

static void *run_busy(void *argument) {
    while (!atomic_load_explicit(&stop_busy, memory_order_relaxed)) {
    }
    return argument;
}

static void under_load(int64_t busy, int64_t rounds, int64_t wait_ms) {
    static pthread_t handles[THREADS_MOST];
    atomic_store(&stop_busy, 0);
    for (int64_t i = 0; i < busy; i++) handles[i] = start_thread(run_busy, NULL);
    go_round(2, rounds, wait_ms);
    atomic_store(&stop_busy, 1);
    for (int64_t i = 0; i < busy; i++) pthread_join(handles[i], NULL);
    answer_samples();
}

static void *run_nothing(void *argument) { return argument; }

static void spawn_loop(int64_t count, int64_t window) {
    pthread_t *handles = calloc((size_t)window, sizeof *handles);
    int64_t began = now_ns();
    for (int64_t made = 0; made < count;) {
        int64_t batch = count - made < window ? count - made : window;
        for (int64_t i = 0; i < batch; i++) handles[i] = start_thread(run_nothing, NULL);
        for (int64_t i = 0; i < batch; i++) pthread_join(handles[i], NULL);
        made += batch;
    }
    answer_elapsed(began);
    free(handles);
}

static void fork_loop(int64_t count) {
    int64_t began = now_ns();
    for (int64_t i = 0; i < count; i++) {
        pid_t child = (pid_t)check(fork(), "fork");
        if (child == 0) _exit(0);
        check(waitpid(child, NULL, 0), "waitpid");
    }
    answer_elapsed(began);
}

static int64_t resident_kib(void) {
    char line[256];
    long long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    if (!status) fail("/proc/self/status");
    while (fgets(line, sizeof line, status)) sscanf(line, "VmRSS: %lld", &kib);
    fclose(status);
    return kib;
}

static baton never, parked_count;

static void *run_parked(void *argument) {
    pass(&parked_count);
    await(&never, 1);
    return argument;
}

static void parked(int64_t count) {
    static pthread_t handles[PARKED_MOST];
    if (count > PARKED_MOST) count = PARKED_MOST;
    int64_t before = resident_kib(), began = now_ns();
    for (int64_t i = 0; i < count; i++) handles[i] = start_thread(run_parked, NULL);
    await(&parked_count, (uint32_t)count);
    int64_t elapsed = now_ns() - began, after = resident_kib();
    atomic_store(&never, 1);
    syscall(SYS_futex, &never, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
    for (int64_t i = 0; i < count; i++) pthread_join(handles[i], NULL);
    printf("{\"count\": %lld, \"elapsed_ns\": %lld, \"before_kib\": %lld, \"after_kib\": %lld}\n",
           (long long)count, (long long)elapsed, (long long)before, (long long)after);
}

/* ---- bytes ---- */

static char buffer[SIZE_MOST];

static void write_all(int file, int64_t size) {
    for (int64_t done = 0; done < size;) done += check(write(file, buffer, (size_t)(size - done)), "write");
}

static void read_all(int file, int64_t size) {
    static char taken[SIZE_MOST];
    for (int64_t done = 0; done < size;) {
        int64_t more = check(read(file, taken, (size_t)(size - done < SIZE_MOST ? size - done : SIZE_MOST)), "read");
        if (more == 0) {
            fprintf(stderr, "the other side is gone\n");
            exit(1);
        }
        done += more;
    }
}

struct reading {
    int file;
    int64_t bytes;
};

static void *run_reader(void *argument) {
    struct reading *reading = argument;
    read_all(reading->file, reading->bytes);
    return NULL;
}

static void oneway(int64_t count, int64_t size) {
    int files[2];
    check(pipe(files), "pipe");
    struct reading reading = {files[0], count * size};
    pthread_t reader = start_thread(run_reader, &reading);
    int64_t began = now_ns();
    for (int64_t i = 0; i < count; i++) write_all(files[1], size);
    pthread_join(reader, NULL);
    answer_elapsed(began);
    close(files[0]);
    close(files[1]);
}

/* ---- TCP between two processes ---- */

/* Forks a child that runs `serve` on one end of a connection; returns the other end. */
static int connect_child(void (*serve)(int), pid_t *child) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int one = 1, listener = (int)check(socket(AF_INET, SOCK_STREAM, 0), "socket");
    check(bind(listener, (struct sockaddr *)&address, length), "bind");
    check(listen(listener, 1), "listen");
    check(getsockname(listener, (struct sockaddr *)&address, &length), "getsockname");
    *child = (pid_t)check(fork(), "fork");
    if (*child == 0) {
        int end = (int)check(accept(listener, NULL, NULL), "accept");
        setsockopt(end, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        close(listener);
        serve(end);
        _exit(0);
    }
    close(listener);
    int end = (int)check(socket(AF_INET, SOCK_STREAM, 0), "socket");
    check(connect(end, (struct sockaddr *)&address, length), "connect");
    setsockopt(end, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return end;
}

static int64_t served_bytes; /* set before the fork */

static void serve_echo(int end) {
    for (int64_t more; (more = read(end, buffer, SIZE_MOST)) > 0;) write_all(end, more);
}

static void serve_sink(int end) {
    read_all(end, served_bytes);
    write_all(end, 1);
}

static void serve_nothing(int end) {
    (void)end;
    pause();
}

static void tcp_pingpong(int64_t rounds, int64_t size) {
    pid_t child;
    int end = connect_child(serve_echo, &child);
    start_sampling(rounds);
    for (int64_t round = 0; round < rounds; round++) {
        int64_t began = now_ns();
        write_all(end, size);
        read_all(end, size);
        samples[sampled++] = now_ns() - began;
    }
    close(end);
    waitpid(child, NULL, 0);
    answer_samples();
}

static void tcp_oneway(int64_t count, int64_t size) {
    pid_t child;
    served_bytes = count * size;
    int end = connect_child(serve_sink, &child);
    int64_t began = now_ns();
    for (int64_t i = 0; i < count; i++) write_all(end, size);
    read_all(end, 1);
    answer_elapsed(began);
    close(end);
    waitpid(child, NULL, 0);
}

static void tcp_killed(int64_t rounds) {
    start_sampling(rounds);
    for (int64_t round = 0; round < rounds; round++) {
        pid_t child;
        int end = connect_child(serve_nothing, &child);
        int64_t began = now_ns();
        kill(child, SIGKILL);
        while (read(end, buffer, 1) > 0) {
        }
        samples[sampled++] = now_ns() - began;
        close(end);
        waitpid(child, NULL, 0);
    }
    answer_samples();
}

int main(void) {
    char line[256], name[64];
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin)) {
        long long a = 0, b = 0, c = 0;
        if (sscanf(line, "%63s %lld %lld %lld", name, &a, &b, &c) < 2) continue;
        if (!strcmp(name, "spawn_loop")) spawn_loop(a, b);
        else if (!strcmp(name, "fork_loop")) fork_loop(a);
        else if (!strcmp(name, "parked")) parked(a);
        else if (!strcmp(name, "pingpong")) ring(2, a);
        else if (!strcmp(name, "ring") && a <= THREADS_MOST) ring(a, b);
        else if (!strcmp(name, "oneway") && b <= SIZE_MOST) oneway(a, b);
        else if (!strcmp(name, "under_load") && a <= THREADS_MOST) under_load(a, b, c);
        else if (!strcmp(name, "tcp_pingpong") && b <= SIZE_MOST) tcp_pingpong(a, b);
        else if (!strcmp(name, "tcp_oneway") && b <= SIZE_MOST) tcp_oneway(a, b);
        else if (!strcmp(name, "tcp_killed")) tcp_killed(a);
        else {
            fprintf(stderr, "no such floor: %s", line);
            return 2;
        }
        fflush(stdout);
    }
    return 0;
}
