/* Two processes talk: the program starts a child, sends it a name and prints its greeting.
 *
 *     luna run hello.wasm
 */
#include "luna.h"

enum { GREETING_TAG = 1 };

/* Runs in a process of its own, with a memory of its own; only messages cross. */
LUNA_EXPORT("child") void child(int64_t parent) {
    char name[32], greeting[64];

    lunatic_message_receive(NULL, 0, LUNA_FOREVER);
    int length = lunatic_message_read_data(name, sizeof name);
    luna_print("child %lld: got a message of %d bytes\n", luna_serial_of(lunatic_process_process_id()), length);

    int greeting_len = snprintf(greeting, sizeof greeting, "hello, %.*s", length, name);
    luna_send(parent, GREETING_TAG, greeting, (uint32_t)greeting_len);
}

int main(void) {
    int64_t self = lunatic_process_process_id();

    /* The link (its tag is 1) ties both together: if the child fails, so does this process. */
    int64_t pid = luna_spawn("child", 1, LUNA_OWN, LUNA_PARAMS(luna_i64(self)));
    if (pid < 0) {
        luna_print("could not start the child\n");
        return 1;
    }
    luna_print("parent %lld: started child %lld\n", luna_serial_of(self), luna_serial_of(pid));
    luna_send(pid, 0, "world", 5);

    int64_t tag = GREETING_TAG;
    if (lunatic_message_receive(&tag, 1, 5000) == LUNA_TIMEOUT) {
        luna_print("no answer within 5 seconds\n");
        return 1;
    }
    char greeting[64];
    int length = lunatic_message_read_data(greeting, sizeof greeting);
    luna_print("parent %lld: the child says \"%.*s\"\n", luna_serial_of(self), length, greeting);
    return 0;
}
