/* A web server that counts its visitors: sockets, a database, metrics.
 *
 *     luna run web.wasm 8080
 *     luna run --metrics 127.0.0.1:9927 web.wasm 8080
 *
 * Every connection is served by a process of its own, which gets the socket in a message. One that fails, or
 * takes its time, does so alone. The visits are in visits.db in the current directory.
 */
#include "luna.h"

#include <stdlib.h>
#include <string.h>

enum { DATABASE_ROW = 100, DATABASE_INTEGER = 4, REQUEST_MAX = 4096 };

/* Luna calls it for the results that it puts into this program's memory. */
LUNA_EXPORT("lunatic_alloc") void *allocate(uint32_t size) { return malloc(size); }

/* Notes a visit; its number. */
static int64_t count_visit(void) {
    static const char *const steps[] = {
        "PRAGMA busy_timeout = 2000", /* milliseconds: others may be writing */
        "CREATE TABLE IF NOT EXISTS visits (at DEFAULT CURRENT_TIMESTAMP)",
        "INSERT INTO visits DEFAULT VALUES",
    };
    static const char query[] = "SELECT last_insert_rowid()";
    int64_t database, number = -1;
    uint32_t length;

    if (lunatic_sqlite_open("visits.db", strlen("visits.db"), &database) != 0) return -1;
    for (size_t step = 0; step < sizeof steps / sizeof *steps; step++)
        if (lunatic_sqlite_execute(database, steps[step], strlen(steps[step])) != 0) return -1;
    int64_t statement = lunatic_sqlite_query_prepare(database, query, strlen(query));
    if (lunatic_sqlite_sqlite3_step(statement) == DATABASE_ROW) {
        /* A value is its type, 4 bytes, and then for an integer 8 bytes. */
        const char *value = (const char *)(intptr_t)lunatic_sqlite_read_column(statement, 0, &length);
        uint32_t type;
        memcpy(&type, value, sizeof type);
        if (type == DATABASE_INTEGER) memcpy(&number, value + sizeof type, sizeof number);
    }
    return number;
}

static void answer(int64_t stream, int64_t visitor) {
    char body[64], text[256];
    int length = snprintf(body, sizeof body, "You are visitor %lld.\n", visitor);
    length = snprintf(text, sizeof text,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
        length, body);
    struct { const void *data; uint32_t length; } vector = {text, (uint32_t)length};
    int64_t written;
    lunatic_networking_tcp_write_vectored(stream, &vector, 1, &written); /* as small, it goes out whole */
}

LUNA_EXPORT("serve") void serve(void) {
    char request[REQUEST_MAX + 1];
    int64_t size = 0, part;

    lunatic_message_receive(NULL, 0, LUNA_FOREVER);
    int64_t stream = lunatic_message_take_tcp_stream(0);
    lunatic_networking_set_read_timeout(stream, 5000); /* milliseconds */
    do { /* a request ends with an empty line */
        if (size == REQUEST_MAX) return;
        if (lunatic_networking_tcp_read(stream, request + size, REQUEST_MAX - size, &part) != 0) return;
        if (part == 0) return;
        request[size += part] = 0;
    } while (strstr(request, "\r\n\r\n") == NULL);
    lunatic_metrics_increment_counter("web_requests", strlen("web_requests"));
    answer(stream, count_visit());
    /* What a process holds is closed when it ends: the connection, the database. */
}

int main(int argc, char **argv) {
    static const uint8_t loopback[] = {127, 0, 0, 1};
    int32_t port = argc > 1 ? atoi(argv[1]) : 8080;
    int64_t listener, stream, peer;
    uint32_t type, flow, scope;
    uint8_t address[16];
    uint16_t bound;

    if (lunatic_networking_tcp_bind(4, loopback, port, 0, 0, &listener) != 0) {
        luna_print("cannot listen on port %d\n", port);
        return 1;
    }
    /* Addresses come from iterators, as those of a DNS name do. */
    lunatic_networking_tcp_local_addr(listener, &peer);
    lunatic_networking_resolve_next(peer, &type, address, &bound, &flow, &scope);
    luna_print("listening on http://127.0.0.1:%d\n", bound);

    while (lunatic_networking_tcp_accept(listener, &stream, &peer) == 0) {
        lunatic_networking_drop_dns_iterator(peer); /* who it is does not matter here */
        int64_t server = luna_spawn("serve", 0, LUNA_OWN, LUNA_NO_PARAMS);
        if (server < 0) {
            lunatic_networking_drop_tcp_stream(stream);
            continue;
        }
        lunatic_message_create_data(0, 0);
        lunatic_message_push_tcp_stream(stream);
        lunatic_message_send(server);
    }
    return 1;
}
