/* Traffic for tests of faults between nodes, and those who are told of deaths.
 *
 *   collector()                                       takes numbered messages of any senders
 *   sender(i64 to, i64 size, i64 burst, i64 pause_ms) sends `burst` of them, waits `pause_ms`, and so on
 *   watcher(i64 process)                              links to a process and monitors it
 *   stop(i64 process)                                 makes a sender send its last message and end
 *   spread(i64 node)                                  starts a collector on another node
 *   holder()                                          has the name `held` from now on, and waits
 *   find()                                            looks that name up
 *   hog(i64 mib)                                      takes so much memory, and waits
 *
 * All but `stop` print how things stand as lines of NAME=NUMBER; the last line holds:
 *
 *   collector    received, gaps (numbers that were left out), repeats (numbers not above the last one of
 *                their sender), finished (last messages)
 *   sender       sent, once it has ended
 *   watcher      links, monitors: how many notices of the death came over each
 *   spread       status of the spawn, 0 for success; node of the new process
 *   holder       holding, always 1
 *   find         status, 0 if somebody has it; process, who that is
 *   hog          taken
 */
#include "luna.h"

enum { NUMBERED = 1, STOP = 2, LINK = 3 };  /* tags */
enum { MOST_SENDERS = 64, MOST_BYTES = 65536 };
enum { REPORT_MS = 100, CLOCK_MONOTONIC = 1 };

typedef struct {
    int64_t sender;
    int64_t number; /* from 1 */
    int64_t last;
} numbered;

static int64_t now_ms(void) {
    int64_t now = 0;
    wasi_clock_time_get(CLOCK_MONOTONIC, 1, &now);
    return now / 1000000;
}

/* ---- collector ---- */

static struct {
    int64_t pid;
    int64_t number;
} senders[MOST_SENDERS];

static int64_t received, gaps, repeats, finished;

static int64_t *last_number_of(int64_t pid) {
    for (int i = 0; i < MOST_SENDERS; i++) {
        if (senders[i].pid == 0) senders[i].pid = pid;
        if (senders[i].pid == pid) return &senders[i].number;
    }
    __builtin_trap();
}

static void collect(void) {
    numbered message;
    if (lunatic_message_read_data(&message, sizeof message) != sizeof message) __builtin_trap();
    int64_t *last = last_number_of(message.sender);
    received++;
    finished += message.last;
    if (message.number <= *last) {
        repeats++;
    } else {
        gaps += message.number - *last - 1;
        *last = message.number;
    }
}

LUNA_EXPORT("collector") void collector(void) {
    int64_t reported = -1, reported_at = 0;
    for (uint32_t turn = 0;; turn++) {
        int32_t kind = lunatic_message_receive(NULL, 0, REPORT_MS);
        if (kind == LUNA_DATA) {
            collect();
            if (turn % 64 != 0) continue; /* reading the clock costs more than a message */
        }
        int64_t now = now_ms();
        if (reported != received && (kind == LUNA_TIMEOUT || now - reported_at >= REPORT_MS)) {
            luna_print("received=%lld gaps=%lld repeats=%lld finished=%lld\n", received, gaps, repeats,
                       finished);
            reported = received;
            reported_at = now;
        }
    }
}

/* ---- sender ---- */

static uint8_t block[MOST_BYTES];

static void send_numbered(int64_t to, int64_t size, int64_t number, int64_t last) {
    *(numbered *)block = (numbered){lunatic_process_process_id(), number, last};
    luna_send(to, NUMBERED, block, (uint32_t)size);
}

LUNA_EXPORT("sender") void sender(int64_t to, int64_t size, int64_t burst, int64_t pause_ms) {
    static const int64_t stop_tag = STOP;
    int64_t number = 0;
    if (size < (int64_t)sizeof(numbered) || size > MOST_BYTES) __builtin_trap();
    do {
        for (int64_t i = 0; i < burst; i++) send_numbered(to, size, ++number, 0);
    } while (lunatic_message_receive(&stop_tag, 1, pause_ms) == LUNA_TIMEOUT);
    send_numbered(to, size, ++number, 1);
    luna_print("sent=%lld\n", number);
}

LUNA_EXPORT("stop") void stop(int64_t process) { luna_send(process, STOP, NULL, 0); }

/* ---- watcher ---- */

LUNA_EXPORT("watcher") void watcher(int64_t process) {
    int64_t links = 0, monitors = 0;
    lunatic_process_die_when_link_dies(0);
    lunatic_process_link(LINK, process);
    lunatic_process_monitor(process);
    for (;;) {
        luna_print("links=%lld monitors=%lld\n", links, monitors);
        switch (lunatic_message_receive(NULL, 0, LUNA_FOREVER)) {
            case LUNA_LINK_DIED: links++; break;
            case LUNA_PROCESS_DIED: monitors++; break;
            default: __builtin_trap();
        }
    }
}

/* ---- spread ---- */

LUNA_EXPORT("spread") void spread(int64_t node) {
    int64_t pid = 0;
    int32_t status = lunatic_distributed_spawn(node, LUNA_OWN, lunatic_distributed_module_id(), "collector", 9,
                                               LUNA_NO_PARAMS, &pid);
    luna_print("status=%d node=%lld\n", status, status == 0 ? luna_node_of(pid) : 0);
}

/* ---- names ---- */

enum { NAME_LEN = 4 };
static const char name[] = "held";

static void wait_for_ever(void) {
    for (;;) lunatic_message_receive(NULL, 0, LUNA_FOREVER);
}

LUNA_EXPORT("holder") void holder(void) {
    lunatic_registry_put(name, NAME_LEN, lunatic_distributed_node_id(), lunatic_process_process_id());
    luna_print("holding=1\n");
    wait_for_ever();
}

LUNA_EXPORT("find") void find(void) {
    int64_t node = 0, process = 0;
    int32_t status = lunatic_registry_get(name, NAME_LEN, &node, &process);
    luna_print("status=%d process=%lld\n", status, process);
}

/* ---- memory ---- */

LUNA_EXPORT("hog") void hog(int64_t mib) {
    enum { PAGE = 65536 };
    uintptr_t first = __builtin_wasm_memory_grow(0, (uintptr_t)mib * 16);
    if (first == (uintptr_t)-1) __builtin_trap();
    for (int64_t page = 0; page < mib * 16; page++) *(volatile char *)((first + page) * PAGE) = 1;
    luna_print("taken=1\n");
    wait_for_ever();
}

int main(void) {
    luna_print("start one of the functions: collector, sender, watcher, stop, spread, holder, find, hog\n");
    return 2;
}
