/* A chat over the whole cluster.
 *
 *     luna spawn --follow chat.wasm 4000                  connections from this machine only
 *     luna spawn --follow chat.wasm 0.0.0.0:4000          from everywhere
 *
 * Started once, on any node, it opens a door on every node, and on those that come up later: people connect
 * to whichever they like (`nc 127.0.0.1 4000`) and are in the same chat. Where a port is in use, because the
 * node beside has it, the next one is tried.
 *
 * On each node there is one keeper, registered under the node's number, and its door, which listens.
 */
#include "chat.h"

#include <stdlib.h>

typedef struct {
    uint8_t ip[4];
    int32_t port;
} address;

static int32_t ip_number(address place) {
    int32_t number;
    memcpy(&number, place.ip, sizeof number);
    return number;
}

static address address_of(int32_t ip, int32_t port) {
    address place = {{0}, port};
    memcpy(place.ip, &ip, sizeof place.ip);
    return place;
}

/* ---- the door: hands each connection to a session of its own ---- */

LUNA_EXPORT("door") void door(int64_t keeper, int32_t ip, int32_t port) {
    address place = address_of(ip, port);
    int64_t listener, stream, peer;
    int tries = 0;
    while (lunatic_networking_tcp_bind(4, place.ip, place.port, 0, 0, &listener) != 0) {
        lunatic_error_drop(listener);
        if (++tries == PORTS || place.port == 0) exit(1);
        place.port++;
    }
    uint32_t type, flow, scope;
    uint8_t own_ip[16];
    uint16_t bound = 0;
    if (lunatic_networking_tcp_local_addr(listener, &peer) != 0) exit(1);
    lunatic_networking_resolve_next(peer, &type, own_ip, &bound, &flow, &scope);
    luna_send(keeper, BOUND, &(int64_t){bound}, sizeof(int64_t));

    for (;;) {
        if (lunatic_networking_tcp_accept(listener, &stream, &peer) != 0) {
            lunatic_error_drop(stream); /* the node may have no descriptors left: wait for one */
            lunatic_process_sleep_ms(ENTER_PAUSE_MS);
            continue;
        }
        lunatic_networking_drop_dns_iterator(peer);
        int64_t session = luna_spawn("session", 0, LUNA_OWN, LUNA_NO_PARAMS);
        if (session < 0) {
            lunatic_networking_drop_tcp_stream(stream);
            continue;
        }
        lunatic_message_create_data(SOCKET, 0);
        lunatic_message_push_tcp_stream(stream);
        lunatic_message_send(session);
    }
}

/* ---- the keeper: one on each node ---- */

/* What luna_node_subscribe sends, up to what is needed of it. */
typedef struct {
    uint32_t kind, reason;
    int64_t node;
} node_news;

/* Opens the door; the port it got, or 0. */
static int32_t open_door(address place) {
    luna_spawn("door", DOOR_LINK, LUNA_OWN,
               LUNA_PARAMS(luna_i64(lunatic_process_process_id()), luna_i32(ip_number(place)),
                           luna_i32(place.port)));
    int64_t tags[] = {BOUND, DOOR_LINK};
    if (lunatic_message_receive(tags, 2, START_MS) != LUNA_DATA) return 0;
    return (int32_t)get_number();
}

LUNA_EXPORT("keeper") void keeper(int32_t ip, int32_t port) {
    address place = address_of(ip, port);
    lunatic_process_die_when_link_dies(0); /* a door that fails is a message, and opened again */
    int32_t bound = open_door(place);
    luna_node_subscribe(NEWS);
    for (;;) {
        int32_t kind = lunatic_message_receive(NULL, 0, LUNA_FOREVER);
        if (kind == LUNA_LINK_DIED && lunatic_message_get_tag() == DOOR_LINK) {
            lunatic_process_sleep_ms(RESTART_MS);
            bound = open_door(place);
        } else if (kind == LUNA_DATA && lunatic_message_get_tag() == ASK) {
            address reached = {{0}, bound};
            memcpy(reached.ip, place.ip, sizeof place.ip);
            luna_send(get_number(), ADDRESS, &reached, sizeof reached);
        } else if (kind == LUNA_DATA && lunatic_message_get_tag() == NEWS) {
            node_news news = {0};
            lunatic_message_read_data(&news, sizeof news);
            if (news.kind != 1) continue;
            lunatic_message_create_data(NEW_NODE, sizeof news.node);
            lunatic_message_write_data(&news.node, sizeof news.node);
            lunatic_timer_send_after(lunatic_process_process_id(), NEW_NODE_MS);
        } else if (kind == LUNA_DATA && lunatic_message_get_tag() == NEW_NODE) {
            /* All keepers do that, and the first one succeeds. */
            start_on(get_number(), "start", 0, LUNA_PARAMS(luna_i64(0), luna_i32(ip), luna_i32(port)));
        }
    }
}

/* Makes the keeper of this node, if there is none yet, and has it tell `asker` (0: nobody) its address. */
LUNA_EXPORT("start") void start(int64_t asker, int32_t ip, int32_t port) {
    char number[PATH_BYTES];
    int64_t process;
    snprintf(number, sizeof number, "%lld", lunatic_distributed_node_id());
    if (find_or_spawn("chat/node/", number, "keeper", LUNA_PARAMS(luna_i32(ip), luna_i32(port)), &process) == 1)
        exit(1);
    if (asker != 0) luna_send(process, ASK, &asker, sizeof asker);
}

/* ---- the beginning ---- */

static int parse(const char *text, address *place) {
    int part[5], end = 0;
    if (sscanf(text, "%d.%d.%d.%d:%d%n", &part[0], &part[1], &part[2], &part[3], &part[4], &end) == 5) {
        for (int i = 0; i < 4; i++) {
            if (part[i] < 0 || part[i] > 255) return 0;
            place->ip[i] = (uint8_t)part[i];
        }
        place->port = part[4];
    } else if (sscanf(text, "%d%n", &place->port, &end) != 1) {
        return 0;
    }
    return text[end] == 0 && place->port >= 0 && place->port <= 65535 - PORTS;
}

static int by_name(const void *one, const void *other) {
    char name[PATH_BYTES];
    strncpy(name, node_of(*(const int64_t *)one << 40), sizeof name - 1);
    name[sizeof name - 1] = 0;
    return strcmp(name, node_of(*(const int64_t *)other << 40));
}

int main(int argc, char **argv) {
    address place = {{127, 0, 0, 1}, 4000};
    int64_t nodes[NODES], self = lunatic_process_process_id();
    int32_t count = lunatic_distributed_get_nodes(nodes, NODES), open = 0;
    if (argc > 2 || (argc == 2 && !parse(argv[1], &place))) {
        luna_print("give it a port, or an IPv4 address and a port: chat.wasm 4000, chat.wasm 0.0.0.0:4000\n");
        return 2;
    }
    if (count == 0) {
        luna_print("the chat lives on a cluster: start a node, and then it, with `luna spawn`\n");
        return 1;
    }
    qsort(nodes, count, sizeof *nodes, by_name);
    for (int32_t i = 0; i < count; i++) {
        address reached = {{0}, 0};
        int64_t tag = ADDRESS;
        int64_t started = start_on(
            nodes[i], "start", 0, LUNA_PARAMS(luna_i64(self), luna_i32(ip_number(place)), luna_i32(place.port)));
        if (started >= 0 && lunatic_message_receive(&tag, 1, START_MS) == LUNA_DATA)
            lunatic_message_read_data(&reached, sizeof reached);
        int64_t on_node = nodes[i] << 40; /* any process of it */
        if (reached.port == 0) {
            luna_print("%s: no door could be opened\n", node_of(on_node));
            continue;
        }
        open++;
        luna_print("%s: nc %d.%d.%d.%d %d\n", node_of(on_node), reached.ip[0], reached.ip[1], reached.ip[2],
                   reached.ip[3], reached.port);
    }
    return open == count ? 0 : 1;
}
