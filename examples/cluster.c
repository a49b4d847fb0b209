/* One program on all nodes of a cluster.
 *
 *     luna spawn --follow cluster.wasm
 *
 * Started on one node, it finds the others, starts a worker on each, exchanges messages with all of
 * them, and sees two of them die: one over a link, one over a monitor. It ends with 0 when all of
 * that happened in time. With a single node everything happens there.
 */
#include "luna.h"

enum {
    HELLO = 1, ANSWER = 2, ORDER = 3, LINK = 4, /* tags */
    STOP = -1, CRASH = -2,                      /* orders; any other number is to be squared */
    MOST_NODES = 64,
    TIMEOUT_MS = 10000,
};

typedef struct {
    int64_t worker;
    int64_t number;
} report;

/* ---- the worker: one on every node ---- */

static void tell(int64_t parent, int64_t tag, int64_t number) {
    report text = {lunatic_process_process_id(), number};
    lunatic_message_create_data(tag, sizeof text);
    lunatic_message_write_data(&text, sizeof text);
    /* A process id is good on every node: its upper bits name the node the process lives on. */
    if (lunatic_distributed_node_id() == 0) {
        lunatic_message_send(parent); /* `luna run`: there is no cluster */
    } else {
        lunatic_distributed_send(luna_node_of(parent), parent);
    }
}

LUNA_EXPORT("worker") void worker(int64_t parent) {
    tell(parent, HELLO, lunatic_distributed_node_id());
    for (;;) {
        int64_t order = STOP, tag = ORDER;
        if (lunatic_message_receive(&tag, 1, 2 * TIMEOUT_MS) == LUNA_TIMEOUT) return;
        lunatic_message_read_data(&order, sizeof order);
        if (order == STOP) return;
        if (order == CRASH) __builtin_trap();
        tell(parent, ANSWER, order * order);
    }
}

/* ---- the parent ---- */

static int64_t own_node;

static int64_t start_worker(int64_t node) {
    luna_value self = luna_i64(lunatic_process_process_id());
    int64_t pid = -1;
    if (own_node == 0) {
        pid = luna_spawn("worker", 0, LUNA_OWN, &self, sizeof self);
    } else if (lunatic_distributed_spawn(node, LUNA_OWN, lunatic_distributed_module_id(), "worker", 6,
                                         &self, sizeof self, &pid) != 0) {
        pid = -1;
    }
    if (pid < 0) luna_print("FAILED: no worker could be started on node %lld\n", node);
    return pid;
}

/* Waits for a report with this tag; returns 0 when none comes in time. */
static int await_report(int64_t tag, report *text) {
    if (lunatic_message_receive(&tag, 1, TIMEOUT_MS) != LUNA_DATA) return 0;
    return lunatic_message_read_data(text, sizeof *text) == sizeof *text;
}

static void order(int64_t pid, int64_t number) { luna_send(pid, ORDER, &number, sizeof number); }

static int fail(const char *what) {
    luna_print("FAILED: %s within %d seconds\n", what, TIMEOUT_MS / 1000);
    return 1;
}

static int work(const int64_t *nodes, int32_t count, int64_t far) {
    int64_t workers[MOST_NODES];
    report text;

    for (int32_t i = 0; i < count; i++) {
        if ((workers[i] = start_worker(nodes[i])) < 0) return 1;
        luna_print("started worker %lld on node %lld\n", luna_serial_of(workers[i]), nodes[i]);
    }
    for (int32_t i = 0; i < count; i++) {
        if (!await_report(HELLO, &text)) return fail("not every worker said hello");
        luna_print("hello from worker %lld: it runs on node %lld\n", luna_serial_of(text.worker),
                   text.number);
        if (text.number != luna_node_of(text.worker)) return 1;
    }
    for (int32_t i = 0; i < count; i++) {
        int64_t question = 10 + i;
        order(workers[i], question);
        if (!await_report(ANSWER, &text)) return fail("a worker did not answer");
        if (text.worker != workers[i] || text.number != question * question) return 1;
        luna_print("asked worker %lld on node %lld for %lld squared: %lld\n",
                   luna_serial_of(workers[i]), nodes[i], question, text.number);
    }

    /* A link: the worker's crash reaches us as a message, because we asked not to die with it. */
    lunatic_process_die_when_link_dies(0);
    int64_t linked = start_worker(far), tag = LINK;
    if (linked < 0) return 1;
    lunatic_process_link(LINK, linked);
    luna_print("linked to worker %lld on node %lld; telling it to crash\n", luna_serial_of(linked), far);
    order(linked, CRASH);
    if (lunatic_message_receive(&tag, 1, TIMEOUT_MS) != LUNA_LINK_DIED) return fail("no link death came");
    luna_print("its death came over the link\n");

    /* A monitor: the same for any end, and it ties only one side. Hello messages come in between. */
    int64_t monitored = start_worker(far);
    if (monitored < 0) return 1;
    lunatic_process_monitor(monitored);
    luna_print("monitoring worker %lld on node %lld; telling it to stop\n", luna_serial_of(monitored), far);
    order(monitored, STOP);
    int32_t kind;
    while ((kind = lunatic_message_receive(NULL, 0, TIMEOUT_MS)) == LUNA_DATA) {
    }
    if (kind != LUNA_PROCESS_DIED || lunatic_message_get_process_id() != monitored) {
        return fail("no notice of its end came");
    }
    luna_print("the monitor told us that it ended\n");

    for (int32_t i = 0; i < count; i++) order(workers[i], STOP);
    luna_print("all workers told to stop; done\n");
    return 0;
}

int main(void) {
    int64_t nodes[MOST_NODES];
    int32_t count = lunatic_distributed_get_nodes(nodes, MOST_NODES);
    own_node = lunatic_distributed_node_id();
    if (count == 0) nodes[count++] = own_node; /* `luna run`: there is no cluster */

    int64_t far = own_node;
    luna_print("I am process %lld on node %lld; the cluster has %d node%s\n",
               luna_serial_of(lunatic_process_process_id()), own_node, count, count == 1 ? "" : "s");
    for (int32_t i = 0; i < count; i++) {
        if (nodes[i] != own_node) far = nodes[i];
    }
    if (far == own_node) luna_print("there is no other node: everything happens here\n");
    return work(nodes, count, far);
}
