/* Three children break their limits. Each dies alone; the parent learns of every death.
 *
 *     luna run limits.wasm
 *
 * The child `hungry` may use 1 MiB of memory and wants more, `endless` may run 10 million
 * instructions and never ends, `forbidden` may not spawn processes and tries to.
 */
#include "luna.h"

#include <stdlib.h>

enum { HUNGRY = 1, ENDLESS = 2, TIMEOUT_MS = 30000 };

LUNA_EXPORT("hungry") void hungry(void) {
    int kib = 0;
    for (;;) {
        /* At the limit memory cannot grow any more, and malloc says so. */
        volatile char *block = malloc(64 * 1024);
        if (block == NULL) break;
        block[0] = 1;
        kib += 64;
    }
    luna_print("  hungry: no more memory after %d KiB, giving up\n", kib);
    abort();
}

LUNA_EXPORT("endless") void endless(void) {
    luna_print("  endless: looping for ever\n");
    for (volatile unsigned turns = 0;; turns++) {
    }
}

LUNA_EXPORT("forbidden") void forbidden(void) {
    luna_print("  forbidden: spawning without permission\n");
    luna_spawn("endless", 0, LUNA_OWN, LUNA_NO_PARAMS);
    luna_print("  forbidden: this line is never reached\n");
}

int main(void) {
    /* A linked death shall reach us as a message instead of killing us, too. */
    lunatic_process_die_when_link_dies(0);

    /* A new config permits nothing; children get it at their start. */
    int64_t small = lunatic_process_create_config();
    lunatic_process_config_set_max_memory(small, 1 << 20);
    int64_t brief = lunatic_process_create_config();
    lunatic_process_config_set_max_fuel(brief, 100); /* units of 100 000 instructions */
    int64_t strict = lunatic_process_create_config();

    int64_t last = -1;
    if (luna_spawn("hungry", HUNGRY, small, LUNA_NO_PARAMS) < 0 ||
        luna_spawn("endless", ENDLESS, brief, LUNA_NO_PARAMS) < 0 ||
        (last = luna_spawn("forbidden", 0, strict, LUNA_NO_PARAMS)) < 0) {
        luna_print("could not start the children\n");
        return 1;
    }
    /* This one is not linked but monitored: we hear of its end, it never hears of ours. */
    lunatic_process_monitor(last);
    luna_print("parent: three children run\n");

    for (int deaths = 0; deaths < 3; deaths++) {
        switch (lunatic_message_receive(NULL, 0, TIMEOUT_MS)) {
        case LUNA_LINK_DIED:
            luna_print("parent: link died: %s\n",
                       lunatic_message_get_tag() == HUNGRY ? "hungry, at its memory limit"
                                                           : "endless, at its compute limit");
            break;
        case LUNA_PROCESS_DIED:
            if (lunatic_message_get_process_id() != last) return 1;
            luna_print("parent: process died: forbidden, for want of permission\n");
            break;
        default:
            luna_print("parent: not every child died in time\n");
            return 1;
        }
    }
    luna_print("parent: all three are gone, and I am well\n");
    return 0;
}
