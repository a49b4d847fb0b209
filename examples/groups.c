/* A process group, and news of nodes.
 *
 *     luna run groups.wasm                    three workers here
 *     luna spawn --follow groups.wasm         three workers on every node
 *
 * Nobody tells the workers of each other or keeps a list of them: each joins the group "workers", and
 * whoever sends to the group reaches those of all nodes.
 */
#include "luna.h"

enum { NEWS = 1, JOINED = 2, ANSWER = 3, DONE = 4, EACH = 3, MOST_NODES = 64, TIMEOUT_MS = 10000 };

/* What luna_node_subscribe sends. */
typedef struct {
    uint32_t kind, reason;
    uint64_t node;
    uint32_t name_len;
    char name[252];
} node_news;

static const char GROUP[] = "workers";
enum { GROUP_LEN = sizeof GROUP - 1 };

LUNA_EXPORT("worker") void worker(int64_t parent) {
    int64_t self = lunatic_process_process_id();
    luna_group_join(GROUP, GROUP_LEN);
    luna_send(parent, JOINED, &self, sizeof self);
    if (lunatic_message_receive(NULL, 0, TIMEOUT_MS) != LUNA_DATA) return;
    luna_send(parent, ANSWER, &self, sizeof self);
    lunatic_message_receive((int64_t[]){DONE}, 1, TIMEOUT_MS);
} /* a process that ends leaves its groups */

static int32_t await(int64_t tag, int32_t count) {
    int32_t got = 0;
    while (got < count && lunatic_message_receive(&tag, 1, TIMEOUT_MS) == LUNA_DATA) got++;
    return got;
}

static int64_t start(int64_t node) {
    luna_value self = luna_i64(lunatic_process_process_id());
    int64_t pid = -1;
    if (lunatic_distributed_node_id() == 0) return luna_spawn("worker", 0, LUNA_OWN, &self, sizeof self);
    int32_t status = lunatic_distributed_spawn(node, LUNA_OWN, lunatic_distributed_module_id(), "worker", 6,
                                               &self, sizeof self, &pid);
    return status == 0 ? pid : -1;
}

int main(void) {
    int64_t nodes[MOST_NODES] = {lunatic_distributed_node_id()};
    int32_t node_count = 1, workers = 0;

    /* Those that are up are told at once, and from then on every change: there is no gap between. */
    luna_node_subscribe(NEWS);
    while (node_count < MOST_NODES && lunatic_message_receive((int64_t[]){NEWS}, 1, 0) == LUNA_DATA) {
        node_news news;
        lunatic_message_read_data(&news, sizeof news);
        luna_print("node %.*s is %s\n", (int)news.name_len, news.name, news.kind == 1 ? "up" : "down");
        if (news.kind == 1) nodes[node_count++] = (int64_t)news.node;
    }
    luna_node_unsubscribe();

    for (int32_t i = 0; i < node_count; i++) {
        for (int32_t j = 0; j < EACH; j++) workers += start(nodes[i]) >= 0;
    }
    if (await(JOINED, workers) != workers) return 1;

    /* That workers elsewhere have joined is known here a moment later than they know it. */
    while (luna_group_members(GROUP, GROUP_LEN, NULL, 0) < workers) lunatic_process_sleep_ms(1);

    lunatic_message_create_data(0, 0);
    int32_t reached = luna_group_broadcast(GROUP, GROUP_LEN);
    int32_t answered = await(ANSWER, workers);
    luna_print("%d workers on %d node%s, %d reached, %d answered\n", workers, node_count,
               node_count == 1 ? "" : "s", reached, answered);

    lunatic_message_create_data(DONE, 0);
    luna_group_broadcast(GROUP, GROUP_LEN);
    return reached == workers && answered == workers ? 0 : 1;
}
