/* The workload of the soak: processes that talk across nodes and keep a ledger of it.
 *
 *   flood(i64 to, i64 least, i64 most, i64 burst, i64 pause_ms)  numbered messages of `least` to `most` bytes
 *   sink()                                                       takes the messages of one flood
 *   asker(i64 to, i64 pause_ms)                                  numbered questions, each after the last answer
 *   answerer()                                                   answers one asker
 *   nursery(i64 kind, i64 pause_ms)                              starts children, one after the other, on all nodes
 *   timers(i64 to, i64 pause_ms)                                 messages in the future, half of them cancelled
 *   clock()                                                      takes those of one such process
 *   names(i64 pause_ms)                                          has processes found, or started, by name
 *   stop(i64 process, i64 orphaned)                              has one of these finish
 *
 * The ledger is what they print: a line for each event, a letter and the numbers
 *
 *   TIME      of the wall clock, milliseconds
 *   NUMBER    of the last message sent (flood, asker) or taken (sink, answerer)
 *
 *   A TIME NUMBER             it linked to its partner and monitors it, as from now
 *   K TIME NUMBER             all that it is told from here on happened after that
 *   L, M TIME NUMBER REASON   the link, the monitor told of the partner's end (LUNA_EXIT_...)
 *   U, D TIME NUMBER          the partner's node is up, is down
 *   G TIME FIRST LAST         it got these numbers, one after the other, since the event before
 *   B TIME NUMBER             the bytes of this message are not those that were sent
 *   S TIME NUMBER             how far it is; every REPORT_MS
 *   T TIME COUNT P50 P99 MAX  answers since the last such line, and how long they took, in microseconds
 *   E TIME NUMBER             the end; nothing comes after it
 *   C TIME BORN REFUSED GREETED ENDED LINKS LOST STRANGE
 *                             nursery: children born, and births that were refused; greetings of children; ends
 *                             told by monitor and by link, and how many of these because a node was gone; whatever
 *                             came that had to come otherwise
 *   R TIME ROUND CANCELLED    timers: 16 were set, and which bits of them were cancelled in time
 *   W TIME ROUND ARRIVED AGAIN
 *                             clock: which bits of them arrived, which once more
 *   N TIME DONE WRONG         names: operations done, and those with a wrong result
 *
 * A flood or an asker sends only while it is linked, so what it sends after a D is behind the U of a new session.
 */
#include <stdlib.h>

#include "luna.h"

enum { NUMBERED = 1, ANSWER, STOP, NEWS, LINK, SETTLED, TIMED }; /* tags */
enum { REPORT_MS = 1000, MOST_BYTES = 1 << 20, MOST_SAMPLES = 4096 };
enum { CLOCK_REALTIME = 0, CLOCK_MONOTONIC = 1 };
enum { NODE_UP = 1 };
enum { RUNNING, FINISHING, ORPHANED }; /* phases; an orphan's partner lives no more */

typedef struct {
    int64_t sender;
    int64_t number; /* from 1 */
    int64_t size;   /* bytes of the whole message */
    int64_t last;   /* whether none comes behind it */
    int64_t sum;    /* of the bytes after this */
} numbered;

static int64_t clock_ns(int clock) {
    int64_t now = 0;
    wasi_clock_time_get(clock, 1, &now);
    return now;
}

static int64_t now_ms(void) { return clock_ns(CLOCK_REALTIME) / 1000000; }

static uint64_t random_state;

static int64_t random_between(int64_t least, int64_t most) {
    if (random_state == 0) random_state = (uint64_t)lunatic_process_process_id() * 0x9E3779B97F4A7C15u | 1;
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return least + (int64_t)(random_state % (uint64_t)(most - least + 1));
}

/* ---- the partner, and what is told of it ---- */

static int64_t partner;
static int is_up, has_link, has_monitor, is_gone;
static int64_t number; /* of the last message sent or taken */
static int phase = RUNNING;

/* The numbers taken that are not told yet: of messages, or of answers. */
static int64_t first_of_run, last_of_run;

static void tell_run(void) {
    if (first_of_run != 0) luna_print("G %lld %lld %lld\n", now_ms(), first_of_run, last_of_run);
    first_of_run = 0;
}

static void add_to_run(int64_t taken) {
    if (first_of_run == 0 || taken != last_of_run + 1) {
        tell_run();
        first_of_run = taken;
    }
    last_of_run = taken;
}

static void arm(void) {
    if (!is_up || has_link || has_monitor || is_gone || partner == 0) return;
    tell_run();
    luna_print("A %lld %lld\n", now_ms(), number);
    has_link = has_monitor = 1;
    lunatic_process_link(LINK, partner);
    lunatic_process_monitor(partner);
    /* What waits in the mailbox now, in front of this, may tell of a session that ended before. */
    luna_send(lunatic_process_process_id(), SETTLED, NULL, 0);
}

static void take_notice(int kind) {
    int32_t reason = luna_message_exit_reason();
    tell_run();
    luna_print("%c %lld %lld %d\n", kind == LUNA_LINK_DIED ? 'L' : 'M', now_ms(), number, reason);
    if (kind == LUNA_LINK_DIED) has_link = 0;
    if (kind == LUNA_PROCESS_DIED) has_monitor = 0;
    if (reason != LUNA_EXIT_NO_CONNECTION) is_gone = 1;
    is_up = 0; /* until the next session */
}

static void take_news(void) {
    struct {
        uint32_t kind, reason;
        uint64_t node;
    } news;
    if (lunatic_message_read_data(&news, sizeof news) != sizeof news) __builtin_trap();
    if (partner == 0 || (int64_t)news.node != luna_node_of(partner)) return;
    is_up = news.kind == NODE_UP;
    tell_run();
    luna_print("%c %lld %lld\n", is_up ? 'U' : 'D', now_ms(), number);
    arm();
}

static void take_stop(void) {
    int64_t orphaned = 0;
    lunatic_message_read_data(&orphaned, sizeof orphaned);
    phase = orphaned ? ORPHANED : FINISHING;
}

/* Takes one message. Returns its tag if it is the caller's to read, 0 otherwise, -1 if none came in time. */
static int64_t take(int64_t timeout_ms) {
    int32_t kind = lunatic_message_receive(NULL, 0, timeout_ms);
    if (kind == LUNA_TIMEOUT) return -1;
    if (kind != LUNA_DATA) {
        take_notice(kind);
        return 0;
    }
    int64_t tag = lunatic_message_get_tag();
    switch (tag) {
        case NEWS: take_news(); return 0;
        case STOP: take_stop(); return 0;
        case SETTLED:
            tell_run();
            luna_print("K %lld %lld\n", now_ms(), number);
            return 0;
        default: return tag;
    }
}

static void begin(int64_t with) {
    partner = with;
    lunatic_process_die_when_link_dies(0);
    luna_node_subscribe(NEWS);
}

static int64_t reported_at;

static int is_due(void) {
    int64_t now = now_ms();
    if (now - reported_at < REPORT_MS) return 0;
    reported_at = now;
    return 1;
}

static void end(void) {
    tell_run();
    luna_print("E %lld %lld\n", now_ms(), number);
}

/* ---- sending ---- */

static uint8_t block[MOST_BYTES];

static int64_t sum_of(const uint8_t *bytes, int64_t size) {
    uint64_t sum = 14695981039346656037u;
    int64_t at = 0;
    for (; at + 8 <= size; at += 8) {
        uint64_t word;
        __builtin_memcpy(&word, bytes + at, sizeof word);
        sum = (sum ^ word) * 1099511628211u;
    }
    for (; at < size; at++) sum = (sum ^ bytes[at]) * 1099511628211u;
    return (int64_t)sum;
}

static void send_next(int64_t tag, int64_t size, int64_t last) {
    numbered *message = (numbered *)block;
    number++;
    if (size > (int64_t)sizeof *message) {
        for (int i = 0; i < 16; i++) block[random_between(sizeof *message, size - 1)] = (uint8_t)random_between(0, 255);
    }
    *message = (numbered){lunatic_process_process_id(), number, size, last, 0};
    message->sum = sum_of(block + sizeof *message, size - (int64_t)sizeof *message);
    luna_send(partner, tag, block, (uint32_t)size);
}

static int is_ready(void) { return is_up && has_link && has_monitor; }

LUNA_EXPORT("flood") void flood(int64_t to, int64_t least, int64_t most, int64_t burst, int64_t pause_ms) {
    if (least < (int64_t)sizeof(numbered) || most > MOST_BYTES) __builtin_trap();
    begin(to);
    while (phase == RUNNING) {
        /* Before each message, so that at most one is sent between the end of a session and its notice. */
        for (int64_t i = 0; i < burst && phase == RUNNING; i++) {
            while (take(0) >= 0) {}
            if (is_ready()) send_next(NUMBERED, random_between(least, most), 0);
        }
        if (is_due()) luna_print("S %lld %lld\n", now_ms(), number);
        take(pause_ms);
    }
    while (phase == FINISHING && !is_ready() && !is_gone) take(LUNA_FOREVER);
    if (phase == FINISHING && !is_gone) {
        send_next(NUMBERED, least, 1);
        luna_print("S %lld %lld\n", now_ms(), number);
        while (phase == FINISHING && has_monitor) take(LUNA_FOREVER); /* the sink ends */
    }
    end();
}

/* ---- taking ---- */

static int64_t last_taken;

/* Reads a numbered message into `block`, and notes it. */
static numbered *note(void) {
    numbered *message = (numbered *)block;
    int64_t size = lunatic_message_data_size();
    if (size < (int64_t)sizeof *message || size > MOST_BYTES) __builtin_trap();
    lunatic_message_read_data(block, (uint32_t)size);
    add_to_run(message->number);
    number = message->number;
    last_taken = message->last;
    if (message->size != size || message->sum != sum_of(block + sizeof *message, size - (int64_t)sizeof *message)) {
        luna_print("B %lld %lld\n", now_ms(), number);
    }
    if (partner == 0) {
        partner = message->sender;
        is_up = 1; /* that its node is up came before its message, and was of no interest then */
        arm();
    }
    return message;
}

LUNA_EXPORT("sink") void sink(void) {
    begin(0);
    while (phase == RUNNING && !last_taken) {
        if (take(REPORT_MS) == NUMBERED) note();
        if (is_due()) tell_run();
    }
    end();
}

/* ---- questions and answers ---- */

static int64_t samples[MOST_SAMPLES];
static int sampled;

static int compare(const void *one, const void *other) {
    int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;
    return (a > b) - (a < b);
}

static void tell_samples(void) {
    if (sampled > 0) {
        qsort(samples, (size_t)sampled, sizeof *samples, compare);
        luna_print("T %lld %d %lld %lld %lld\n", now_ms(), sampled, samples[sampled / 2] / 1000,
                   samples[sampled * 99 / 100] / 1000, samples[sampled - 1] / 1000);
    }
    sampled = 0;
}

LUNA_EXPORT("answerer") void answerer(void) {
    begin(0);
    while (phase == RUNNING && !last_taken) {
        if (take(REPORT_MS) == NUMBERED) {
            numbered *question = note();
            luna_send(question->sender, ANSWER, question, sizeof *question);
        }
        if (is_due()) tell_run();
    }
    end();
}

/* Takes one message. 1 if it was the answer to the last question, 0 of others, -1 if none came in time. */
static int take_answer(int64_t timeout_ms) {
    numbered answer;
    int64_t tag = take(timeout_ms);
    if (tag < 0) return -1;
    if (tag != ANSWER) return 0;
    if (lunatic_message_read_data(&answer, sizeof answer) != sizeof answer) __builtin_trap();
    add_to_run(answer.number);
    return answer.number == number;
}

/* Asks and waits for the answer, or for the end of the session. */
static void ask(int64_t is_last) {
    int64_t asked = clock_ns(CLOCK_MONOTONIC);
    send_next(NUMBERED, sizeof(numbered), is_last);
    while (is_ready() && phase != ORPHANED) {
        if (take_answer(LUNA_FOREVER) != 1) continue;
        if (sampled < MOST_SAMPLES) samples[sampled++] = clock_ns(CLOCK_MONOTONIC) - asked;
        return;
    }
}

LUNA_EXPORT("asker") void asker(int64_t to, int64_t pause_ms) {
    begin(to);
    while (phase == RUNNING) {
        int64_t until = now_ms() + pause_ms;
        for (int64_t left = pause_ms; left > 0 && phase == RUNNING; left = until - now_ms()) take_answer(left);
        while (take_answer(0) >= 0) {} /* as a flood does: nothing is sent behind the end of a session */
        if (phase == RUNNING && is_ready()) ask(0);
        if (is_due()) {
            tell_run();
            luna_print("S %lld %lld\n", now_ms(), number);
            tell_samples();
        }
    }
    while (phase == FINISHING && !is_ready() && !is_gone) take_answer(LUNA_FOREVER);
    if (phase == FINISHING && !is_gone) {
        ask(1);
        tell_run();
        luna_print("S %lld %lld\n", now_ms(), number);
        while (phase == FINISHING && has_monitor) take_answer(LUNA_FOREVER); /* the answerer ends */
    }
    end();
}

/* ---- children ---- */

enum { MOST_CHILDREN = 8, MOST_NODES = 16 };
enum { BRIEF, CRASHING }; /* kinds of children */

/* A child's life: a greeting, then a normal end or a trap. */
LUNA_EXPORT("child") void child(int64_t parent, int64_t kind) {
    int64_t self = lunatic_process_process_id();
    luna_send(parent, NUMBERED, &self, sizeof self);
    if (kind == CRASHING) {
        lunatic_process_sleep_ms(random_between(0, 200));
        __builtin_trap();
    }
}

static struct child {
    int64_t pid;
    int has_greeted, has_link, has_monitor;
} children[MOST_CHILDREN];

static int64_t born, refused, greeted, ended, links, lost, strange;

static struct child *child_of(int64_t pid) {
    for (int i = 0; i < MOST_CHILDREN; i++) {
        if (children[i].pid == pid) return &children[i];
    }
    return NULL;
}

/* Links have the child's place as their tag, since a notice of a link does not name the process. */
static void bear(int64_t kind, struct child *place) {
    int64_t nodes[MOST_NODES], pid = 0;
    int64_t tag = kind == CRASHING ? 100 + (place - children) : 0;
    int32_t count = lunatic_distributed_get_nodes(nodes, MOST_NODES);
    if (count <= 0) return;
    int64_t node = nodes[random_between(0, count - 1)];
    int32_t status = luna_distributed_spawn_monitored(
        tag, node, LUNA_OWN, lunatic_distributed_module_id(), "child", 5,
        LUNA_PARAMS(luna_i64(lunatic_process_process_id()), luna_i64(kind)), &pid);
    if (status != 0) {
        lunatic_error_drop(pid);
        refused++;
        return;
    }
    born++;
    *place = (struct child){pid, 0, tag != 0, 1};
}

static void forget_if_told(struct child *of) {
    if (!of->has_link && !of->has_monitor) of->pid = 0;
}

static void take_end(int64_t kind) {
    int32_t reason = luna_message_exit_reason();
    struct child *of = child_of(lunatic_message_get_process_id());
    int32_t expected = kind == CRASHING ? LUNA_EXIT_FAILURE : LUNA_EXIT_NORMAL;
    ended++;
    if (of == NULL || of->pid == 0 || !of->has_monitor) {
        strange++;
        return;
    }
    if (reason == LUNA_EXIT_NO_CONNECTION) lost++;
    else if (reason != expected || !of->has_greeted) strange++; /* its greeting is in front of its end */
    of->has_monitor = 0;
    forget_if_told(of);
}

static void take_link_end(void) {
    int64_t place = lunatic_message_get_tag() - 100;
    int32_t reason = luna_message_exit_reason();
    links++;
    if (place < 0 || place >= MOST_CHILDREN || !children[place].has_link) {
        strange++;
        return;
    }
    if (reason != LUNA_EXIT_NO_CONNECTION && reason != LUNA_EXIT_FAILURE) strange++;
    children[place].has_link = 0;
    forget_if_told(&children[place]);
}

static void take_of_children(int64_t kind, int64_t timeout_ms) {
    switch (lunatic_message_receive(NULL, 0, timeout_ms)) {
        case LUNA_TIMEOUT: return;
        case LUNA_LINK_DIED: take_link_end(); return;
        case LUNA_PROCESS_DIED: take_end(kind); return;
    }
    if (lunatic_message_get_tag() == STOP) {
        take_stop();
        return;
    }
    int64_t pid = 0;
    lunatic_message_read_data(&pid, sizeof pid);
    struct child *of = child_of(pid);
    greeted++;
    if (pid == 0 || of == NULL || of->has_greeted) strange++;
    else of->has_greeted = 1;
}

static int count_children(void) {
    int count = 0;
    for (int i = 0; i < MOST_CHILDREN; i++) count += children[i].pid != 0;
    return count;
}

static void tell_children(void) {
    luna_print("C %lld %lld %lld %lld %lld %lld %lld %lld\n", now_ms(), born, refused, greeted, ended, links, lost,
               strange);
}

LUNA_EXPORT("nursery") void nursery(int64_t kind, int64_t pause_ms) {
    lunatic_process_die_when_link_dies(0);
    while (phase == RUNNING) {
        struct child *place = child_of(0);
        if (place != NULL) bear(kind, place);
        take_of_children(kind, place == NULL ? LUNA_FOREVER : pause_ms);
        if (is_due()) tell_children();
    }
    while (count_children() > 0) take_of_children(kind, LUNA_FOREVER);
    take_of_children(kind, 0); /* one that is told twice */
    tell_children();
    number = born;
    end();
}

/* ---- timers ---- */

enum { ROUND = 16, LONGEST_MS = 200, ROUNDS_KEPT = 64 };

LUNA_EXPORT("timers") void timers(int64_t to, int64_t pause_ms) {
    begin(to);
    while (phase == RUNNING) {
        while (take(0) >= 0) {}
        if (is_ready()) {
            int64_t ids[ROUND], cancelled = 0;
            number++;
            for (int i = 0; i < ROUND; i++) {
                int64_t content[3] = {lunatic_process_process_id(), number, i};
                lunatic_message_create_data(TIMED, sizeof content);
                lunatic_message_write_data(content, sizeof content);
                ids[i] = lunatic_timer_send_after(partner, random_between(LONGEST_MS / 10, LONGEST_MS));
            }
            for (int i = 0; i < ROUND; i += 2) {
                if (lunatic_timer_cancel_timer(ids[i])) cancelled |= 1 << i;
            }
            luna_print("R %lld %lld %lld\n", now_ms(), number, cancelled);
        }
        int64_t until = now_ms() + pause_ms;
        for (int64_t left = pause_ms; left > 0 && phase == RUNNING; left = until - now_ms()) take(left);
    }
    lunatic_process_sleep_ms(LONGEST_MS); /* so that the last of them are on their way */
    while (phase == FINISHING && !is_ready() && !is_gone) take(LUNA_FOREVER);
    if (phase == FINISHING && !is_gone) {
        int64_t last[3] = {lunatic_process_process_id(), 0, 0};
        luna_send(partner, NUMBERED, last, sizeof last);
        while (phase == FINISHING && has_monitor) take(LUNA_FOREVER); /* the clock ends */
    }
    end();
}

/* The rounds of which some arrived lately; older ones are told and forgotten. */
static struct {
    int64_t round;
    int64_t arrived, again;
} rounds[ROUNDS_KEPT];

static void tell_round(int i) {
    if (rounds[i].round != 0) {
        luna_print("W %lld %lld %lld %lld\n", now_ms(), rounds[i].round, rounds[i].arrived, rounds[i].again);
    }
    rounds[i].round = rounds[i].arrived = rounds[i].again = 0;
}

LUNA_EXPORT("clock") void clock_process(void) {
    begin(0);
    for (int is_last = 0; phase == RUNNING && !is_last;) {
        int64_t tag = take(LUNA_FOREVER);
        if (tag != TIMED && tag != NUMBERED) continue;
        int64_t content[3];
        if (lunatic_message_read_data(content, sizeof content) != sizeof content) __builtin_trap();
        is_last = tag == NUMBERED;
        if (tag == TIMED) {
            int i = (int)(content[1] % ROUNDS_KEPT);
            if (rounds[i].round != content[1]) tell_round(i);
            rounds[i].round = content[1];
            rounds[i].again |= rounds[i].arrived & 1 << content[2];
            rounds[i].arrived |= 1 << content[2];
            number = content[1];
        }
        if (partner == 0) {
            partner = content[0];
            is_up = 1;
            arm();
        }
    }
    for (int i = 0; i < ROUNDS_KEPT; i++) tell_round(i);
    end();
}

/* ---- names ---- */

enum { SHARED_NAMES = 6 };

/* What a shared name stands for: ends when it is asked to, or when its name is lost to another. */
LUNA_EXPORT("holder") void holder(void) {
    while (phase == RUNNING) take(LUNA_FOREVER);
}

static int64_t done, wrong;

/* A name nobody else uses: on the node of its process it is found from `put` on until `remove`. */
static void use_own_name(void) {
    char name[32];
    int64_t self = lunatic_process_process_id(), node = 0, process = 0;
    uint32_t length = (uint32_t)snprintf(name, sizeof name, "own-%llx", (unsigned long long)self);
    lunatic_registry_put(name, length, lunatic_distributed_node_id(), self);
    if (lunatic_registry_get(name, length, &node, &process) != 0 || process != self) wrong++;
    lunatic_registry_remove(name, length);
    if (lunatic_registry_get(name, length, &node, &process) == 0) wrong++;
    done += 4;
}

/* A name all nodes use: it stands for a holder, found or started; now and then it is ended. */
static void use_shared_name(void) {
    char name[32];
    int64_t node = 0, process = 0, orphaned = 1;
    uint32_t length = (uint32_t)snprintf(name, sizeof name, "shared-%d", (int)random_between(1, SHARED_NAMES));
    int32_t status = lunatic_process_get_or_spawn(name, length, 0, LUNA_OWN, LUNA_OWN, "holder", 6, LUNA_NO_PARAMS,
                                                  &node, &process);
    if (status == 1) lunatic_error_drop(process);
    else if (random_between(1, 8) == 1) luna_send(process, STOP, &orphaned, sizeof orphaned);
    done++;
}

LUNA_EXPORT("names") void names(int64_t pause_ms) {
    while (phase == RUNNING) {
        use_own_name();
        use_shared_name();
        take(pause_ms);
        if (is_due()) luna_print("N %lld %lld %lld\n", now_ms(), done, wrong);
    }
    luna_print("N %lld %lld %lld\n", now_ms(), done, wrong);
    end();
}

/* What the shared names stand for, in their order, 0 for nothing; with `ends`, and ends those. */
LUNA_EXPORT("holders") void holders(int64_t ends) {
    int64_t orphaned = 1;
    for (int i = 1; i <= SHARED_NAMES; i++) {
        char name[32];
        int64_t node = 0, process = 0;
        uint32_t length = (uint32_t)snprintf(name, sizeof name, "shared-%d", i);
        if (lunatic_registry_get(name, length, &node, &process) != 0) process = 0;
        luna_print("H %lld %d %lld\n", now_ms(), i, process);
        if (ends && process != 0) luna_send(process, STOP, &orphaned, sizeof orphaned);
    }
    end();
}

/* ---- the end ---- */

LUNA_EXPORT("stop") void stop(int64_t process, int64_t orphaned) {
    luna_send(process, STOP, &orphaned, sizeof orphaned);
}

int main(void) {
    luna_print("start one of the functions that the source names, such as flood\n");
    return 2;
}
