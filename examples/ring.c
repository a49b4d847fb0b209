/* A ring of processes passes a token round and round.
 *
 *     luna run ring.wasm [PROCESSES [ROUNDS]]      100 and 100 when not given
 */
#include "luna.h"

#include <stdlib.h>

enum { STOP = -1, TIMEOUT_MS = 60000 };

static int64_t receive_token(void) {
    int64_t token = STOP;
    lunatic_message_read_data(&token, sizeof token);
    return token;
}

/* One member of the ring: hands every token on to the next, one step higher. */
LUNA_EXPORT("member") void member(int64_t next) {
    for (;;) {
        lunatic_message_receive(NULL, 0, LUNA_FOREVER);
        int64_t token = receive_token();
        if (token != STOP) token++;
        luna_send(next, 0, &token, sizeof token);
        if (token == STOP) return;
    }
}

int main(int argc, char **argv) {
    long processes = argc > 1 ? strtol(argv[1], NULL, 10) : 100;
    long rounds = argc > 2 ? strtol(argv[2], NULL, 10) : 100;
    if (processes < 2 || rounds < 1) {
        luna_print("usage: ring [PROCESSES >= 2 [ROUNDS >= 1]]\n");
        return 2;
    }

    /* Made from the end: everyone is told its successor, and the last one's is this process. */
    int64_t next = lunatic_process_process_id();
    for (long made = 1; made < processes; made++) {
        next = luna_spawn("member", 1, LUNA_OWN, LUNA_PARAMS(luna_i64(next)));
        if (next < 0) {
            luna_print("could not start process %ld\n", made);
            return 1;
        }
    }

    int64_t token = 0;
    for (long round = 0; round < rounds; round++) {
        luna_send(next, 0, &token, sizeof token);
        if (lunatic_message_receive(NULL, 0, TIMEOUT_MS) != LUNA_DATA) {
            luna_print("the token was lost in round %ld\n", round + 1);
            return 1;
        }
        token = receive_token() + 1;
    }
    luna_print("%ld processes, %ld rounds: the token made %lld hops\n", processes, rounds, token);

    /* The stop comes back round, too: then every process has ended. */
    int64_t stop = STOP;
    luna_send(next, 0, &stop, sizeof stop);
    lunatic_message_receive(NULL, 0, TIMEOUT_MS);
    return token == (int64_t)processes * rounds ? 0 : 1;
}
