// build: freestanding
/* Takes memory and writes to it, 64 KiB at a time, and traps when it gets no more.
 *   _start, hog */
#include "luna.h"

LUNA_EXPORT("hog") void hog(void) {
    for (;;) {
        uintptr_t page = __builtin_wasm_memory_grow(0, 1);
        if (page == (uintptr_t)-1) __builtin_trap();
        *(volatile char *)(page * 65536) = 1;
    }
}

LUNA_EXPORT("_start") void start(void) { hog(); }
