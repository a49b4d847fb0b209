// build: freestanding
/* Every process spawns copies of itself without end; a limit or memory pressure has to stop it.
 *   _start, bomb
 * A process that is refused a child goes on asking. */
#include "luna.h"

LUNA_EXPORT("bomb") void bomb(void) {
    for (;;) luna_spawn("bomb", 0, LUNA_OWN, LUNA_NO_PARAMS);
}

LUNA_EXPORT("_start") void start(void) { bomb(); }
