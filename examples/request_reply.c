/* Requests and replies: a client asks a server process and waits for the answer to that question.
 *
 *     luna run request_reply.wasm
 *
 * Every request carries a tag of its own and the server answers with it, so a late answer to an
 * earlier question is never taken for the answer to this one.
 */
#include "luna.h"

enum { SQUARE, IGNORE, STOP };

typedef struct {
    int64_t client;
    int64_t reply_tag;
    int64_t operation;
    int64_t number;
} request;

LUNA_EXPORT("server") void server(void) {
    for (;;) {
        request asked;
        lunatic_message_receive(NULL, 0, LUNA_FOREVER);
        lunatic_message_read_data(&asked, sizeof asked);
        if (asked.operation == STOP) return;
        if (asked.operation == IGNORE) continue;
        int64_t answer = asked.number * asked.number;
        luna_send(asked.client, asked.reply_tag, &answer, sizeof answer);
    }
}

/* Sends the request and waits for its answer; returns 0 or LUNA_TIMEOUT. */
static int32_t ask(int64_t server_pid, int64_t operation, int64_t number, int64_t *answer) {
    /* Tags below 128 are left to the program's other messages. */
    static int64_t last_tag = 128;
    request asked = {lunatic_process_process_id(), ++last_tag, operation, number};

    lunatic_message_create_data(0, sizeof asked);
    lunatic_message_write_data(&asked, sizeof asked);
    /* "Skip search": the answer cannot be in the mailbox yet, so what waits there is not looked at. */
    int32_t status = lunatic_message_send_receive_skip_search(server_pid, asked.reply_tag, 500);
    if (status == 0) lunatic_message_read_data(answer, sizeof *answer);
    return status;
}

int main(void) {
    int64_t server_pid = luna_spawn("server", 1, LUNA_OWN, LUNA_NO_PARAMS);
    if (server_pid < 0) {
        luna_print("could not start the server\n");
        return 1;
    }
    for (int64_t number = 1; number <= 3; number++) {
        int64_t answer = 0;
        if (ask(server_pid, SQUARE, number, &answer) != 0 || answer != number * number) return 1;
        luna_print("%lld squared is %lld\n", number, answer);
    }

    int64_t unused;
    if (ask(server_pid, IGNORE, 0, &unused) != LUNA_TIMEOUT) return 1;
    luna_print("a request without an answer ends after 500 ms\n");

    request stop = {0, 0, STOP, 0};
    luna_send(server_pid, 0, &stop, sizeof stop);
    return 0;
}
