// build: freestanding
/* Passes pointers outside its memory to host calls. Every entry makes one call and must trap in it;
 * one that returns has found a hole.
 *
 * Entries take an i32, the way the range leaves memory:
 *   0  it begins at the end of memory
 *   1  it begins inside and crosses the end by one byte
 *   2  its address and length wrap around 2^32
 */
#include "luna.h"

/* Longer than any single value, so that mode 2 wraps for every range. */
enum { LENGTH = 16 };

static void *outside(int32_t mode, uint32_t length) {
    uint32_t end = __builtin_wasm_memory_size(0) * 65536u;
    uint32_t address = mode == 0 ? end : mode == 1 ? end - length + 1 : 0u - length + 1;
    return (void *)address;
}

#define ENTRY(name) LUNA_EXPORT(#name) void name(int32_t mode)

static int64_t id;

/* ---- lunatic::message ---- */

ENTRY(write_data) {
    lunatic_message_create_data(0, 0);
    lunatic_message_write_data(outside(mode, LENGTH), LENGTH);
}
ENTRY(write_data_huge) {
    lunatic_message_create_data(0, 0);
    lunatic_message_write_data(outside(mode, LENGTH), 0xffffffffu);
}
ENTRY(read_data) {
    lunatic_message_create_data(0, 0);
    lunatic_message_write_data("sixteen bytes...", LENGTH);
    lunatic_message_read_data(outside(mode, LENGTH), LENGTH);
}
ENTRY(receive) { lunatic_message_receive(outside(mode, 2 * sizeof id), 2, 0); }
/* 2^29 tags of 8 bytes are 2^32 bytes: a product in 32 bits would be 0. */
ENTRY(receive_many) { lunatic_message_receive(outside(mode, LENGTH), 0x20000000u, 0); }

/* ---- lunatic::process ---- */

ENTRY(spawn_entry) {
    lunatic_process_spawn(0, LUNA_OWN, LUNA_OWN, outside(mode, LENGTH), LENGTH, NULL, 0, &id);
}
ENTRY(spawn_params) {
    lunatic_process_spawn(0, LUNA_OWN, LUNA_OWN, "nothing", 7, outside(mode, 17), 17, &id);
}
ENTRY(spawn_result) {
    lunatic_process_spawn(0, LUNA_OWN, LUNA_OWN, "nothing", 7, NULL, 0, outside(mode, sizeof id));
}
ENTRY(get_or_spawn_name) {
    lunatic_process_get_or_spawn(outside(mode, LENGTH), LENGTH, 0, LUNA_OWN, LUNA_OWN, "nothing", 7,
                                 NULL, 0, &id, &id);
}
ENTRY(get_or_spawn_result) {
    lunatic_process_get_or_spawn("name", 4, 0, LUNA_OWN, LUNA_OWN, "nothing", 7, NULL, 0,
                                 outside(mode, sizeof id), &id);
}
ENTRY(compile_source) { lunatic_process_compile_module(outside(mode, LENGTH), LENGTH, &id); }
ENTRY(compile_result) { lunatic_process_compile_module("garbage", 7, outside(mode, sizeof id)); }
LUNA_EXPORT("nothing") void nothing(void) {}

/* ---- lunatic::error: a failed compilation gives the error ---- */

ENTRY(error_to_string) {
    if (lunatic_process_compile_module("garbage", 7, &id) != 1) return;
    lunatic_error_to_string(id, outside(mode, (uint32_t)lunatic_error_string_size(id)));
}

/* ---- lunatic::registry ---- */

ENTRY(registry_put) { lunatic_registry_put(outside(mode, LENGTH), LENGTH, 0, 1); }
ENTRY(registry_get_name) { lunatic_registry_get(outside(mode, LENGTH), LENGTH, &id, &id); }
ENTRY(registry_get_result) {
    lunatic_registry_put("name", 4, 0, lunatic_process_process_id());
    lunatic_registry_get("name", 4, &id, outside(mode, sizeof id));
}
ENTRY(registry_remove) { lunatic_registry_remove(outside(mode, LENGTH), LENGTH); }

/* ---- lunatic::wasi ---- */

ENTRY(config_variable) {
    int64_t config = lunatic_process_create_config();
    lunatic_wasi_config_add_environment_variable(config, "key", 3, outside(mode, LENGTH), LENGTH);
}
ENTRY(config_argument) {
    int64_t config = lunatic_process_create_config();
    lunatic_wasi_config_add_command_line_argument(config, outside(mode, LENGTH), LENGTH);
}
ENTRY(config_directory) {
    int64_t config = lunatic_process_create_config();
    lunatic_wasi_config_preopen_dir(config, outside(mode, LENGTH), LENGTH);
}

/* ---- lunatic::distributed: these reach a pointer only in a cluster ---- */

ENTRY(distributed_spawn_entry) {
    lunatic_distributed_spawn(lunatic_distributed_node_id(), LUNA_OWN, lunatic_distributed_module_id(),
                              outside(mode, LENGTH), LENGTH, NULL, 0, &id);
}
ENTRY(distributed_get_nodes) { lunatic_distributed_get_nodes(outside(mode, sizeof id), 1); }
