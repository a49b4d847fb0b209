// build: freestanding
/* Work for benchmarks: one page of memory, no WASI. Processes are driven and timed from outside: the
 * measured time is that of the process running the entry, from its start to its end.
 *
 * Entries that end:
 *   done()                              returns at once
 *   report(i64 parent)                  sends an empty message to parent and returns
 *   spawn_loop(i64 count, i64 window)   spawns `count` processes that report, at most `window` at a time
 *   spawn_monitored(i64 count)          spawns, monitors and awaits the end of `count` processes, one by one
 *   spawn_on(i64 node, i64 count)       the like of spawn_loop with a window of 1, on another node
 *   spawn_on_by(i64 node, i64 count, i64 spawners)    `count` by each of `spawners` processes at once
 *   spawn_parked(i64 count)             spawns `count` processes that park, returns when all of them are about to
 *   watch(i64 process)                  returns when the process has died
 *   pingpong(i64 rounds)                `rounds` messages of 8 bytes there and back, to an echo of its own
 *   ping(i64 echo, i64 rounds, i64 size)      the same to a given echo, anywhere, with `size` >= 8 bytes
 *   ring(i64 processes, i64 rounds)     a token goes round `processes` processes
 *   oneway(i64 count, i64 size)         `count` messages of `size` >= 16 bytes to a sink of its own
 *   flood(i64 sink, i64 count, i64 size)      the same to a given sink, anywhere
 *
 * Entries that run until they are killed:
 *   echo()                              sends each message back to the process id in its first 8 bytes
 *   sink()                              takes messages; 16 bytes: sender, and 1 when it wants an answer
 *   park()                              waits for a message that never comes
 *   busy()                              computes without end
 *
 * A failed step traps, so that no wrong measurement looks like a fast one.
 */
#include "luna.h"

enum { BLOCK = 16384 };  /* bytes written to a message at a time */
enum { PARKING = 1000 }; /* processes on their way to park: bounds the messages that wait for the parent */

static uint8_t block[BLOCK];

static void expect(int holds) {
    if (!holds) __builtin_trap();
}

static int64_t self(void) { return lunatic_process_process_id(); }

static int64_t start(const char *entry, const luna_value *params, uint32_t params_len) {
    int64_t pid = luna_spawn(entry, 0, LUNA_OWN, params, params_len);
    expect(pid > 0);
    return pid;
}

static void await_data(void) { expect(lunatic_message_receive(NULL, 0, LUNA_FOREVER) == LUNA_DATA); }

/* Sends `size` bytes whose first 16 are `first` and `second`; at least 8. */
static void send_sized(int64_t process, int64_t first, int64_t second, int64_t size) {
    int64_t *words = (int64_t *)block;
    words[0] = first;
    words[1] = second;
    lunatic_message_create_data(0, size);
    for (int64_t rest = size; rest > 0; rest -= BLOCK) {
        lunatic_message_write_data(block, (uint32_t)(rest < BLOCK ? rest : BLOCK));
    }
    lunatic_message_send(process);
}

/* ---- spawning ---- */

LUNA_EXPORT("done") void done(void) {}

LUNA_EXPORT("report") void report(int64_t parent) {
    lunatic_message_create_data(0, 0);
    lunatic_message_send(parent);
}

LUNA_EXPORT("spawn_loop") void spawn_loop(int64_t count, int64_t window) {
    luna_value parent = luna_i64(self());
    int64_t running = 0;
    for (int64_t made = 0; made < count; made++) {
        if (running == window) {
            await_data();
            running--;
        }
        start("report", &parent, sizeof parent);
        running++;
    }
    for (; running > 0; running--) await_data();
}

LUNA_EXPORT("spawn_monitored") void spawn_monitored(int64_t count) {
    for (int64_t made = 0; made < count; made++) {
        int64_t pid = start("done", LUNA_NO_PARAMS);
        lunatic_process_monitor(pid);
        expect(lunatic_message_receive(NULL, 0, LUNA_FOREVER) == LUNA_PROCESS_DIED);
        expect(lunatic_message_get_process_id() == pid);
    }
}

LUNA_EXPORT("spawn_on") void spawn_on(int64_t node, int64_t count) {
    luna_value parent = luna_i64(self());
    for (int64_t made = 0; made < count; made++) {
        int64_t pid = 0;
        expect(lunatic_distributed_spawn(node, LUNA_OWN, lunatic_distributed_module_id(), "report", 6,
                                         &parent, sizeof parent, &pid) == 0);
        await_data();
    }
}

LUNA_EXPORT("spawner") void spawner(int64_t parent, int64_t node, int64_t count) {
    spawn_on(node, count);
    report(parent);
}

LUNA_EXPORT("spawn_on_by") void spawn_on_by(int64_t node, int64_t count, int64_t spawners) {
    luna_value params[] = {luna_i64(self()), luna_i64(node), luna_i64(count)};
    for (int64_t made = 0; made < spawners; made++) start("spawner", params, sizeof params);
    for (int64_t ended = 0; ended < spawners; ended++) await_data();
}

LUNA_EXPORT("watch") void watch(int64_t process) {
    lunatic_process_monitor(process);
    expect(lunatic_message_receive(NULL, 0, LUNA_FOREVER) == LUNA_PROCESS_DIED);
}

LUNA_EXPORT("park") void park(void) {
    static const int64_t never = 1; /* not on the stack, which would be a page more of memory */
    lunatic_message_receive(&never, 1, LUNA_FOREVER);
}

LUNA_EXPORT("settle") void settle(int64_t parent) {
    report(parent);
    park();
}

LUNA_EXPORT("spawn_parked") void spawn_parked(int64_t count) {
    luna_value parent = luna_i64(self());
    int64_t settled = 0;
    for (int64_t made = 0; made < count; made++) {
        if (made - settled == PARKING) {
            await_data();
            settled++;
        }
        start("settle", &parent, sizeof parent);
    }
    for (; settled < count; settled++) await_data();
}

LUNA_EXPORT("busy") void busy(void) {
    for (volatile uint32_t turns = 0;; turns++) {
    }
}

/* ---- messages there and back ---- */

LUNA_EXPORT("echo") void echo(void) {
    for (;;) {
        int64_t sender = 0;
        await_data();
        lunatic_message_read_data(&sender, sizeof sender);
        lunatic_message_send(sender);
    }
}

LUNA_EXPORT("ping") void ping(int64_t echo_pid, int64_t rounds, int64_t size) {
    int64_t sender = self();
    expect(size >= 8);
    for (int64_t round = 0; round < rounds; round++) {
        send_sized(echo_pid, sender, 0, size);
        await_data();
    }
}

LUNA_EXPORT("pingpong") void pingpong(int64_t rounds) {
    int64_t pid = start("echo", LUNA_NO_PARAMS);
    ping(pid, rounds, 8);
    lunatic_process_kill(pid);
}

/* ---- ring ---- */

LUNA_EXPORT("member") void member(int64_t next) {
    for (;;) {
        int64_t stop = 0;
        await_data();
        lunatic_message_read_data(&stop, sizeof stop);
        lunatic_message_send(next);
        if (stop) return;
    }
}

LUNA_EXPORT("ring") void ring(int64_t processes, int64_t rounds) {
    int64_t next = self();
    for (int64_t made = 1; made < processes; made++) {
        luna_value successor = luna_i64(next);
        next = start("member", &successor, sizeof successor);
    }
    for (int64_t round = 0; round <= rounds; round++) {
        /* One round more, after the measured ones, ends the members. */
        send_sized(next, round == rounds, 0, 8);
        await_data();
    }
}

/* ---- messages one way ---- */

LUNA_EXPORT("sink") void sink(void) {
    for (;;) {
        int64_t words[2] = {0, 0};
        await_data();
        lunatic_message_read_data(words, sizeof words);
        if (words[1]) report(words[0]);
    }
}

LUNA_EXPORT("flood") void flood(int64_t sink_pid, int64_t count, int64_t size) {
    int64_t sender = self();
    expect(size >= 16);
    for (int64_t sent = 1; sent <= count; sent++) send_sized(sink_pid, sender, sent == count, size);
    await_data();
}

LUNA_EXPORT("oneway") void oneway(int64_t count, int64_t size) {
    int64_t pid = start("sink", LUNA_NO_PARAMS);
    flood(pid, count, size);
    lunatic_process_kill(pid);
}
