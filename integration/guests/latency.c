// build: freestanding
/* Latencies measured inside the guest, where a mean is not enough: one page of memory, WASI only for the
 * clock and for printing. Each entry ends with one line on stdout:
 *
 *   {"rounds": N, "mean_ns": N, "p50_ns": N, "p99_ns": N, "max_ns": N}
 *
 * Entries:
 *   pingpong(i64 rounds, i64 pause_ms)            messages of 8 bytes to an echo of its own and back
 *   ping(i64 echo, i64 rounds, i64 pause_ms)      the same to a given echo (entry `echo` here or in bench.c)
 *   ping_sized(i64 echo, i64 rounds, i64 size)    without a pause, with messages of `size` bytes, 8 to 4096
 *   death(i64 node, i64 rounds)                   from the kill of a monitored process to the notice of its
 *                                                 death, on a node or, with -1, in this runtime
 *   echo()                                        answers; runs until it is killed
 *   park()                                        waits until it is killed
 *
 * Between two rounds a pinger sleeps pause_ms; 0 is no pause. A failed step traps.
 */
#include "luna.h"

enum { CLOCK_MONOTONIC = 1, STDOUT = 1 };
enum { BLOCK = 4096 }; /* bytes of the largest message */

/* A histogram with 32 buckets for each power of two: percentiles are right to about 3 %. */
enum { STEP_BITS = 5, STEPS = 1 << STEP_BITS, BUCKETS = (64 - STEP_BITS + 1) * STEPS };

static uint32_t buckets[BUCKETS];
static uint64_t samples, total_ns, most_ns;

static void expect(int holds) {
    if (!holds) __builtin_trap();
}

static uint64_t now_ns(void) {
    int64_t now = 0;
    wasi_clock_time_get(CLOCK_MONOTONIC, 1, &now);
    return (uint64_t)now;
}

static uint32_t bucket_of(uint64_t ns) {
    if (ns < STEPS) return (uint32_t)ns;
    uint32_t shift = 63 - (uint32_t)__builtin_clzll(ns) - STEP_BITS;
    return (shift + 1) * STEPS + ((uint32_t)(ns >> shift) & (STEPS - 1));
}

static uint64_t lowest_of(uint32_t bucket) {
    if (bucket < STEPS) return bucket;
    return (uint64_t)(STEPS + bucket % STEPS) << (bucket / STEPS - 1);
}

static void record(uint64_t ns) {
    buckets[bucket_of(ns)]++;
    samples++;
    total_ns += ns;
    if (ns > most_ns) most_ns = ns;
}

static uint64_t percentile(uint64_t percent) {
    uint64_t rank = (samples * percent + 99) / 100, seen = 0;
    for (uint32_t bucket = 0; bucket < BUCKETS; bucket++) {
        seen += buckets[bucket];
        if (seen >= rank) return lowest_of(bucket);
    }
    return most_ns;
}

/* ---- printing without libc ---- */

static char line[256];
static uint32_t line_len;

static void put_text(const char *text) {
    while (*text) line[line_len++] = *text++;
}

static void put_number(uint64_t number) {
    char digits[20];
    int count = 0;
    do digits[count++] = (char)('0' + number % 10);
    while (number /= 10);
    while (count) line[line_len++] = digits[--count];
}

static void print_summary(void) {
    struct { const void *data; uint32_t data_len; } vector = {line, 0};
    uint32_t written;
    expect(samples > 0);
    put_text("{\"rounds\": ");
    put_number(samples);
    put_text(", \"mean_ns\": ");
    put_number(total_ns / samples);
    put_text(", \"p50_ns\": ");
    put_number(percentile(50));
    put_text(", \"p99_ns\": ");
    put_number(percentile(99));
    put_text(", \"max_ns\": ");
    put_number(most_ns);
    put_text("}\n");
    vector.data_len = line_len;
    wasi_fd_write(STDOUT, &vector, 1, &written);
}

/* ---- entries ---- */

LUNA_EXPORT("echo") void echo(void) {
    for (;;) {
        int64_t sender = 0;
        lunatic_message_receive(NULL, 0, LUNA_FOREVER);
        lunatic_message_read_data(&sender, sizeof sender);
        lunatic_message_send(sender);
    }
}

LUNA_EXPORT("park") void park(void) {
    int64_t never = 1;
    lunatic_message_receive(&never, 1, LUNA_FOREVER);
}

LUNA_EXPORT("ping") void ping(int64_t echo_pid, int64_t rounds, int64_t pause_ms) {
    int64_t sender = lunatic_process_process_id();
    for (int64_t round = 0; round < rounds; round++) {
        uint64_t before = now_ns();
        luna_send(echo_pid, 0, &sender, sizeof sender);
        expect(lunatic_message_receive(NULL, 0, LUNA_FOREVER) == LUNA_DATA);
        record(now_ns() - before);
        if (pause_ms > 0) lunatic_process_sleep_ms(pause_ms);
    }
    print_summary();
}

LUNA_EXPORT("ping_sized") void ping_sized(int64_t echo_pid, int64_t rounds, int64_t size) {
    static int64_t message[BLOCK / sizeof(int64_t)];
    expect(size >= (int64_t)sizeof *message && size <= BLOCK);
    message[0] = lunatic_process_process_id();
    for (int64_t round = 0; round < rounds; round++) {
        uint64_t before = now_ns();
        luna_send(echo_pid, 0, message, (uint32_t)size);
        expect(lunatic_message_receive(NULL, 0, LUNA_FOREVER) == LUNA_DATA);
        record(now_ns() - before);
    }
    print_summary();
}

LUNA_EXPORT("pingpong") void pingpong(int64_t rounds, int64_t pause_ms) {
    int64_t pid = luna_spawn("echo", 0, LUNA_OWN, LUNA_NO_PARAMS);
    expect(pid > 0);
    ping(pid, rounds, pause_ms);
    lunatic_process_kill(pid);
}

LUNA_EXPORT("death") void death(int64_t node, int64_t rounds) {
    for (int64_t round = 0; round < rounds; round++) {
        int64_t pid = -1;
        if (node < 0) {
            pid = luna_spawn("park", 0, LUNA_OWN, LUNA_NO_PARAMS);
        } else {
            expect(lunatic_distributed_spawn(node, LUNA_OWN, lunatic_distributed_module_id(), "park", 4,
                                             NULL, 0, &pid) == 0);
        }
        expect(pid > 0);
        lunatic_process_monitor(pid);
        uint64_t before = now_ns();
        lunatic_process_kill(pid);
        expect(lunatic_message_receive(NULL, 0, LUNA_FOREVER) == LUNA_PROCESS_DIED);
        record(now_ns() - before);
    }
    print_summary();
}
