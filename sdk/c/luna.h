/* The guest interface of Luna for C. Made by tools/generate_header.py from the host-call table;
 * edit the table, not this file.
 *
 * Build a guest with
 *
 *     python -m ziglang cc -target wasm32-wasi -O2 -s -Wl,-z,stack-size=65536 -Isdk/c \
 *         program.c -o program.wasm
 *
 * A function that `luna_spawn` starts is exported with LUNA_EXPORT, takes int32_t and int64_t
 * parameters and returns nothing. Every process has a memory of its own: globals are not shared.
 */
#ifndef LUNA_H
#define LUNA_H

#include <stddef.h>
#include <stdint.h>

#define LUNA_IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define LUNA_EXPORT(name) __attribute__((export_name(name)))

enum {
    LUNA_OWN = -1,          /* config or module: the caller's own */
    LUNA_FOREVER = -1,      /* timeout: none */
    LUNA_TIMEOUT = 9027,    /* result: the timeout passed */
    LUNA_DATA = 0,          /* result of receive: a data message */
    LUNA_LINK_DIED = 1,     /* result of receive: a linked process failed; get_tag gives the link's tag */
    LUNA_PROCESS_DIED = 2,  /* result of receive: a monitored process ended; get_process_id names it */
    LUNA_EXIT_NORMAL = 0,   /* result of exit_reason, of a LUNA_LINK_DIED or LUNA_PROCESS_DIED */
    LUNA_EXIT_FAILURE = 1,
    LUNA_EXIT_KILLED = 2,
    LUNA_EXIT_LINK_DIED = 3,
    LUNA_EXIT_NO_PROCESS = 4,
    LUNA_EXIT_NO_CONNECTION = 5,
};

/* ---- lunatic::message ---- */

/* Makes an empty data message the scratch; tag 0 is no tag, the capacity in bytes is a hint. */
LUNA_IMPORT("lunatic::message", "create_data")
void lunatic_message_create_data(int64_t tag, int64_t capacity);

/* Appends bytes to the scratch; returns data_len. Traps: no scratch; scratch is not a data
 * message; out of bounds; message too large. */
LUNA_IMPORT("lunatic::message", "write_data")
int32_t lunatic_message_write_data(const void *data, uint32_t data_len);

/* Copies up to data_len bytes from the read offset and advances it; returns how many, 0 at the
 * end. Traps: no scratch; scratch is not a data message; out of bounds; read offset beyond the
 * end. */
LUNA_IMPORT("lunatic::message", "read_data")
int32_t lunatic_message_read_data(void *data, uint32_t data_len);

/* Sets the read offset, in bytes from the start of the scratch. Traps: no scratch; scratch is
 * not a data message. */
LUNA_IMPORT("lunatic::message", "seek_data")
void lunatic_message_seek_data(int64_t offset);

/* The tag of the scratch, 0 when it has none. Traps: no scratch. */
LUNA_IMPORT("lunatic::message", "get_tag")
int64_t lunatic_message_get_tag(void);

/* The process that died when the scratch is a ProcessDied, else 0. Traps: no scratch. */
LUNA_IMPORT("lunatic::message", "get_process_id")
int64_t lunatic_message_get_process_id(void);

/* Length of the whole scratch in bytes. Traps: no scratch; scratch is not a data message. */
LUNA_IMPORT("lunatic::message", "data_size")
int64_t lunatic_message_data_size(void);

/* Adds a module to the scratch, keeping it here too; returns its index in the message. Traps:
 * unknown module; no scratch; scratch is not a data message. */
LUNA_IMPORT("lunatic::message", "push_module")
int64_t lunatic_message_push_module(int64_t module);

/* Takes a module out of the scratch; returns its new id in this process. Traps: unknown index,
 * already taken or of another kind; one of another node that cannot be had; no scratch; scratch
 * is not a data message. */
LUNA_IMPORT("lunatic::message", "take_module")
int64_t lunatic_message_take_module(int64_t index);

/* Moves a TCP stream into the scratch; returns its index in the message. Traps: unknown stream;
 * no scratch; scratch is not a data message. */
LUNA_IMPORT("lunatic::message", "push_tcp_stream")
int64_t lunatic_message_push_tcp_stream(int64_t stream);

/* Takes a TCP stream out of the scratch; returns its new id in this process. Traps: unknown
 * index, already taken or of another kind; no scratch; scratch is not a data message. */
LUNA_IMPORT("lunatic::message", "take_tcp_stream")
int64_t lunatic_message_take_tcp_stream(int64_t index);

/* Moves a TLS stream into the scratch; returns its index in the message. Traps: unknown stream;
 * no scratch; scratch is not a data message. */
LUNA_IMPORT("lunatic::message", "push_tls_stream")
int64_t lunatic_message_push_tls_stream(int64_t stream);

/* Takes a TLS stream out of the scratch; returns its new id in this process. Traps: unknown
 * index, already taken or of another kind; no scratch; scratch is not a data message. */
LUNA_IMPORT("lunatic::message", "take_tls_stream")
int64_t lunatic_message_take_tls_stream(int64_t index);

/* Moves a UDP socket into the scratch; returns its index in the message. Traps: unknown socket;
 * no scratch; scratch is not a data message. */
LUNA_IMPORT("lunatic::message", "push_udp_socket")
int64_t lunatic_message_push_udp_socket(int64_t socket);

/* Takes a UDP socket out of the scratch; returns its new id in this process. Traps: unknown
 * index, already taken or of another kind; no scratch; scratch is not a data message. */
LUNA_IMPORT("lunatic::message", "take_udp_socket")
int64_t lunatic_message_take_udp_socket(int64_t index);

/* Sends the scratch, which is empty afterwards: 0, or 1 the scratch cannot go to another node,
 * and is lost. A dead target is silent. Traps: no scratch. */
LUNA_IMPORT("lunatic::message", "send")
int32_t lunatic_message_send(int64_t process);

/* Sends the scratch and waits for a later message with wait_tag, not looking at queued ones: 0
 * it is the scratch now, 1 the scratch cannot go to another node, and is lost, 9027 timeout (-1
 * waits for ever). Traps: no scratch. */
LUNA_IMPORT("lunatic::message", "send_receive_skip_search")
int32_t lunatic_message_send_receive_skip_search(int64_t process, int64_t wait_tag,
    int64_t timeout_ms);

/* Waits for a message with one of tags_len 64-bit tags, or any message when tags_len is 0; it
 * becomes the scratch: 0 data, 1 link died, 2 process died, 9027 timeout (-1 waits for ever).
 * Traps: out of bounds. */
LUNA_IMPORT("lunatic::message", "receive")
int32_t lunatic_message_receive(const void *tags, uint32_t tags_len, int64_t timeout_ms);

/* ---- lunatic::error ---- */

/* Length of an error's text in bytes. Traps: unknown error. */
LUNA_IMPORT("lunatic::error", "string_size")
int32_t lunatic_error_string_size(int64_t error);

/* Writes an error's text, string_size bytes of UTF-8 without terminator. Traps: unknown error;
 * out of bounds. */
LUNA_IMPORT("lunatic::error", "to_string")
void lunatic_error_to_string(int64_t error, void *text);

/* Forgets an error. Traps: unknown error. */
LUNA_IMPORT("lunatic::error", "drop")
void lunatic_error_drop(int64_t error);

/* ---- lunatic::timer ---- */

/* Sends the scratch after a delay; returns a timer id. The timer outlives its process. Traps: no
 * scratch; for another node, a scratch that cannot go there (as `send`). */
LUNA_IMPORT("lunatic::timer", "send_after")
int64_t lunatic_timer_send_after(int64_t process, int64_t delay_ms);

/* 1 when the timer was still pending and now never fires, else 0. */
LUNA_IMPORT("lunatic::timer", "cancel_timer")
int32_t lunatic_timer_cancel_timer(int64_t timer);

/* ---- lunatic::registry ---- */

/* Registers a process under a name of its environment, replacing an older entry. Traps: out of
 * bounds; not UTF-8. */
LUNA_IMPORT("lunatic::registry", "put")
void lunatic_registry_put(const void *name, uint32_t name_len, int64_t node, int64_t process);

/* 0 found and both ids written, 1 not found and nothing written. Traps: out of bounds; not
 * UTF-8. */
LUNA_IMPORT("lunatic::registry", "get")
int32_t lunatic_registry_get(const void *name, uint32_t name_len, int64_t *node, int64_t *process);

/* Forgets a name; an unknown one is fine. Traps: out of bounds; not UTF-8. */
LUNA_IMPORT("lunatic::registry", "remove")
void lunatic_registry_remove(const void *name, uint32_t name_len);

/* ---- lunatic::process ---- */

/* Compiles WebAssembly: 0 module id written, 1 error id written, -1 not permitted. Traps: out of
 * bounds. */
LUNA_IMPORT("lunatic::process", "compile_module")
int32_t lunatic_process_compile_module(const void *source, uint32_t source_len, int64_t *id);

/* Forgets a module id. Traps: unknown module. */
LUNA_IMPORT("lunatic::process", "drop_module")
void lunatic_process_drop_module(int64_t module);

/* Makes a config for spawning; returns its id, or -1 when not permitted. */
LUNA_IMPORT("lunatic::process", "create_config")
int64_t lunatic_process_create_config(void);

/* Forgets a config. Traps: unknown config. */
LUNA_IMPORT("lunatic::process", "drop_config")
void lunatic_process_drop_config(int64_t config);

/* Limits the memory of processes spawned with the config, in bytes. Traps: unknown config. */
LUNA_IMPORT("lunatic::process", "config_set_max_memory")
void lunatic_process_config_set_max_memory(int64_t config, int64_t bytes);

/* The memory limit in bytes. Traps: unknown config. */
LUNA_IMPORT("lunatic::process", "config_get_max_memory")
int64_t lunatic_process_config_get_max_memory(int64_t config);

/* Limits the compute of processes spawned with the config, in units of 100 000 instructions; 0
 * is no limit. Traps: unknown config. */
LUNA_IMPORT("lunatic::process", "config_set_max_fuel")
void lunatic_process_config_set_max_fuel(int64_t config, int64_t units);

/* The compute limit in units of 100 000 instructions; 0 is no limit. Traps: unknown config. */
LUNA_IMPORT("lunatic::process", "config_get_max_fuel")
int64_t lunatic_process_config_get_max_fuel(int64_t config);

/* 1 when the config permits compile_module, else 0. Traps: unknown config. */
LUNA_IMPORT("lunatic::process", "config_can_compile_modules")
int32_t lunatic_process_config_can_compile_modules(int64_t config);

/* Permits or forbids compile_module. Traps: unknown config. */
LUNA_IMPORT("lunatic::process", "config_set_can_compile_modules")
void lunatic_process_config_set_can_compile_modules(int64_t config, int32_t allowed);

/* 1 when the config permits create_config, else 0. Traps: unknown config. */
LUNA_IMPORT("lunatic::process", "config_can_create_configs")
int32_t lunatic_process_config_can_create_configs(int64_t config);

/* Permits or forbids create_config. Traps: unknown config. */
LUNA_IMPORT("lunatic::process", "config_set_can_create_configs")
void lunatic_process_config_set_can_create_configs(int64_t config, int32_t allowed);

/* 1 when the config permits spawning, else 0. Traps: unknown config. */
LUNA_IMPORT("lunatic::process", "config_can_spawn_processes")
int32_t lunatic_process_config_can_spawn_processes(int64_t config);

/* Permits or forbids spawning. Traps: unknown config. */
LUNA_IMPORT("lunatic::process", "config_set_can_spawn_processes")
void lunatic_process_config_set_can_spawn_processes(int64_t config, int32_t allowed);

/* Allows the host calls whose name (namespace::name) begins with the text. The first of these
 * calls forbids all others, which trap; a config without any allows everything. Traps: unknown
 * config; out of bounds; not UTF-8; more than 64 namespaces. */
LUNA_IMPORT("lunatic::process", "config_allow_namespace")
void lunatic_process_config_allow_namespace(int64_t config, const void *prefix,
    uint32_t prefix_len);

/* Spawns a process running an exported function: 0 process id written, 1 error id written. Link
 * tag 0 links nothing; config and module -1 are the caller's own; params are 17-byte records.
 * Traps: spawning not permitted; unknown config or module; malformed params; out of bounds; not
 * UTF-8. */
LUNA_IMPORT("lunatic::process", "spawn")
int32_t lunatic_process_spawn(int64_t link_tag, int64_t config, int64_t module, const void *entry,
    uint32_t entry_len, const void *params, uint32_t params_len, int64_t *id);

/* Finds a registered process or spawns and registers one: 0 spawned, 1 error id written, 2 it
 * existed; on 0 and 2 both ids are written. Traps: spawning not permitted; unknown config or
 * module; malformed params; out of bounds; not UTF-8. */
LUNA_IMPORT("lunatic::process", "get_or_spawn")
int32_t lunatic_process_get_or_spawn(const void *name, uint32_t name_len, int64_t link_tag,
    int64_t config, int64_t module, const void *entry, uint32_t entry_len, const void *params,
    uint32_t params_len, int64_t *node, int64_t *id);

/* Sleeps. */
LUNA_IMPORT("lunatic::process", "sleep_ms")
void lunatic_process_sleep_ms(int64_t duration_ms);

/* Whether the failure of a linked process kills this one (1, at the start) or becomes a message
 * (0). */
LUNA_IMPORT("lunatic::process", "die_when_link_dies")
void lunatic_process_die_when_link_dies(int32_t die);

/* The caller's process id. */
LUNA_IMPORT("lunatic::process", "process_id")
int64_t lunatic_process_process_id(void);

/* The caller's environment. */
LUNA_IMPORT("lunatic::process", "environment_id")
int64_t lunatic_process_environment_id(void);

/* Links to a process, here or on another node; a dead one is a link death at once. Tag 0 is no
 * tag. */
LUNA_IMPORT("lunatic::process", "link")
void lunatic_process_link(int64_t tag, int64_t process);

/* Removes a link. */
LUNA_IMPORT("lunatic::process", "unlink")
void lunatic_process_unlink(int64_t process);

/* Asks for a ProcessDied message when a process ends; a dead one answers at once. */
LUNA_IMPORT("lunatic::process", "monitor")
void lunatic_process_monitor(int64_t process);

/* Ends monitoring. */
LUNA_IMPORT("lunatic::process", "stop_monitoring")
void lunatic_process_stop_monitoring(int64_t process);

/* Kills a process, here or on another node; may be the caller itself. */
LUNA_IMPORT("lunatic::process", "kill")
void lunatic_process_kill(int64_t process);

/* 1 while the process lives in the caller's environment, else 0; for a remote one its node is
 * asked. */
LUNA_IMPORT("lunatic::process", "exists")
int32_t lunatic_process_exists(int64_t process);

/* ---- lunatic::wasi ---- */

/* Adds an environment variable to the config. Traps: unknown config; out of bounds; not UTF-8. */
LUNA_IMPORT("lunatic::wasi", "config_add_environment_variable")
void lunatic_wasi_config_add_environment_variable(int64_t config, const void *key, uint32_t key_len,
    const void *value, uint32_t value_len);

/* Appends a command line argument to the config. Traps: unknown config; out of bounds; not
 * UTF-8. */
LUNA_IMPORT("lunatic::wasi", "config_add_command_line_argument")
void lunatic_wasi_config_add_command_line_argument(int64_t config, const void *argument,
    uint32_t argument_len);

/* Gives processes spawned with the config a directory, under the same name. Traps: unknown
 * config; out of bounds; not UTF-8. */
LUNA_IMPORT("lunatic::wasi", "config_preopen_dir")
void lunatic_wasi_config_preopen_dir(int64_t config, const void *directory, uint32_t directory_len);

/* ---- lunatic::trap ---- */

/* Calls the export _lunatic_catch_trap with both values and returns its result, or 0 when it
 * trapped. Traps: _lunatic_catch_trap is not exported. */
LUNA_IMPORT("lunatic::trap", "catch")
int32_t lunatic_trap_catch(int32_t function, int32_t argument);

/* ---- lunatic::version ---- */

/* Major version of the guest interface. */
LUNA_IMPORT("lunatic::version", "major")
int32_t lunatic_version_major(void);

/* Minor version of the guest interface. */
LUNA_IMPORT("lunatic::version", "minor")
int32_t lunatic_version_minor(void);

/* Patch version of the guest interface. */
LUNA_IMPORT("lunatic::version", "patch")
int32_t lunatic_version_patch(void);

/* ---- lunatic::networking ---- */

/* Resolves host:port: 0 address iterator id written, 1 error id written, 9027 timeout and 0
 * written. Traps: out of bounds; not UTF-8. */
LUNA_IMPORT("lunatic::networking", "resolve")
int32_t lunatic_networking_resolve(const void *name, uint32_t name_len, int64_t timeout_ms,
    int64_t *id);

/* Forgets an address iterator. Traps: unknown iterator. */
LUNA_IMPORT("lunatic::networking", "drop_dns_iterator")
void lunatic_networking_drop_dns_iterator(int64_t iterator);

/* 0 the next address is written, flow info and scope id for IPv6 only; 1 there is none. Traps:
 * unknown iterator; out of bounds. */
LUNA_IMPORT("lunatic::networking", "resolve_next")
int32_t lunatic_networking_resolve_next(int64_t iterator, uint32_t *address_type, void *address,
    uint16_t *port, uint32_t *flow_info, uint32_t *scope_id);

/* Listens: 0 listener id written, 1 error id written. Traps: address type is not 4 or 6; out of
 * bounds. */
LUNA_IMPORT("lunatic::networking", "tcp_bind")
int32_t lunatic_networking_tcp_bind(int32_t address_type, const void *address, int32_t port,
    int32_t flow_info, int32_t scope_id, int64_t *id);

/* Closes a listener. Traps: unknown listener. */
LUNA_IMPORT("lunatic::networking", "drop_tcp_listener")
void lunatic_networking_drop_tcp_listener(int64_t listener);

/* 0 iterator of the listening address written, 1 error id written. Traps: unknown listener; out
 * of bounds. */
LUNA_IMPORT("lunatic::networking", "tcp_local_addr")
int32_t lunatic_networking_tcp_local_addr(int64_t listener, int64_t *id);

/* Waits for a connection: 0 stream id and peer address iterator written, 1 error id and 0
 * written. Traps: unknown listener; out of bounds. */
LUNA_IMPORT("lunatic::networking", "tcp_accept")
int32_t lunatic_networking_tcp_accept(int64_t listener, int64_t *id, int64_t *peer);

/* Connects: 0 stream id written, 1 error id written, 9027 timeout. Traps: address type is not 4
 * or 6; out of bounds. */
LUNA_IMPORT("lunatic::networking", "tcp_connect")
int32_t lunatic_networking_tcp_connect(int32_t address_type, const void *address, int32_t port,
    int32_t flow_info, int32_t scope_id, int64_t timeout_ms, int64_t *id);

/* Drops a stream; the last drop closes it. Traps: unknown stream. */
LUNA_IMPORT("lunatic::networking", "drop_tcp_stream")
void lunatic_networking_drop_tcp_stream(int64_t stream);

/* A second id of the same connection, sharing its timeouts. Traps: unknown stream. */
LUNA_IMPORT("lunatic::networking", "clone_tcp_stream")
int64_t lunatic_networking_clone_tcp_stream(int64_t stream);

/* 0 iterator of the peer's address written, 1 error id written. Traps: unknown stream; out of
 * bounds. */
LUNA_IMPORT("lunatic::networking", "tcp_peer_addr")
int32_t lunatic_networking_tcp_peer_addr(int64_t stream, int64_t *id);

/* Writes (pointer, length) pairs: 0 byte count written, 1 error id written, 9027 timeout. Traps:
 * unknown stream; out of bounds. */
LUNA_IMPORT("lunatic::networking", "tcp_write_vectored")
int32_t lunatic_networking_tcp_write_vectored(int64_t stream, const void *vectors,
    uint32_t vectors_len, int64_t *written);

/* Reads without consuming: 0 byte count written, 1 error id written, 9027 timeout. Traps:
 * unknown stream; out of bounds. */
LUNA_IMPORT("lunatic::networking", "tcp_peek")
int32_t lunatic_networking_tcp_peek(int64_t stream, void *data, uint32_t data_len, int64_t *read);

/* 0 byte count written (0 bytes: the peer closed), 1 error id written, 9027 timeout. Traps:
 * unknown stream; out of bounds. */
LUNA_IMPORT("lunatic::networking", "tcp_read")
int32_t lunatic_networking_tcp_read(int64_t stream, void *data, uint32_t data_len, int64_t *read);

/* Sets the read timeout; -1 clears it. Traps: unknown stream. */
LUNA_IMPORT("lunatic::networking", "set_read_timeout")
void lunatic_networking_set_read_timeout(int64_t stream, int64_t timeout_ms);

/* Sets the write timeout; -1 clears it. Traps: unknown stream. */
LUNA_IMPORT("lunatic::networking", "set_write_timeout")
void lunatic_networking_set_write_timeout(int64_t stream, int64_t timeout_ms);

/* Sets the peek timeout; -1 clears it. Traps: unknown stream. */
LUNA_IMPORT("lunatic::networking", "set_peek_timeout")
void lunatic_networking_set_peek_timeout(int64_t stream, int64_t timeout_ms);

/* The read timeout in ms, -1 for none. Traps: unknown stream. */
LUNA_IMPORT("lunatic::networking", "get_read_timeout")
int64_t lunatic_networking_get_read_timeout(int64_t stream);

/* The write timeout in ms, -1 for none. Traps: unknown stream. */
LUNA_IMPORT("lunatic::networking", "get_write_timeout")
int64_t lunatic_networking_get_write_timeout(int64_t stream);

/* The peek timeout in ms, -1 for none. Traps: unknown stream. */
LUNA_IMPORT("lunatic::networking", "get_peek_timeout")
int64_t lunatic_networking_get_peek_timeout(int64_t stream);

/* 0 flushed and 0 written, 1 error id written. Traps: unknown stream; out of bounds. */
LUNA_IMPORT("lunatic::networking", "tcp_flush")
int32_t lunatic_networking_tcp_flush(int64_t stream, int64_t *error);

/* Listens with one PEM certificate and its PKCS#8 key: 0 listener id written, 1 error id
 * written. Traps: address type is not 4 or 6; out of bounds; not exactly one certificate and one
 * key; unusable or not of each other. */
LUNA_IMPORT("lunatic::networking", "tls_bind")
int32_t lunatic_networking_tls_bind(int32_t address_type, const void *address, int32_t port,
    int32_t flow_info, int32_t scope_id, int64_t *id, const void *certificate,
    uint32_t certificate_len, const void *key, uint32_t key_len);

/* Closes a listener. Traps: unknown listener. */
LUNA_IMPORT("lunatic::networking", "drop_tls_listener")
void lunatic_networking_drop_tls_listener(int64_t listener);

/* 0 iterator of the listening address written, 1 error id written. Traps: unknown listener; out
 * of bounds. */
LUNA_IMPORT("lunatic::networking", "tls_local_addr")
int32_t lunatic_networking_tls_local_addr(int64_t listener, int64_t *id);

/* Waits for a connection and its handshake: 0 stream id and peer address iterator written, 1
 * error id and 0 written. Traps: unknown listener; out of bounds. */
LUNA_IMPORT("lunatic::networking", "tls_accept")
int32_t lunatic_networking_tls_accept(int64_t listener, int64_t *id, int64_t *peer);

/* Connects and shakes hands, trusting the authorities given as (pointer, length) pairs of PEM,
 * or the public ones when there are none: 0 stream id written, 1 error id written, 9027 timeout.
 * Traps: out of bounds; not UTF-8; host is neither a DNS name nor an IP address. */
LUNA_IMPORT("lunatic::networking", "tls_connect")
int32_t lunatic_networking_tls_connect(const void *host, uint32_t host_len, int32_t port,
    int64_t timeout_ms, int64_t *id, const void *authorities, uint32_t authorities_len);

/* Drops a stream; the last drop closes it. Traps: unknown stream. */
LUNA_IMPORT("lunatic::networking", "drop_tls_stream")
void lunatic_networking_drop_tls_stream(int64_t stream);

/* A second id of the same connection, sharing its timeouts. Traps: unknown stream. */
LUNA_IMPORT("lunatic::networking", "clone_tls_stream")
int64_t lunatic_networking_clone_tls_stream(int64_t stream);

/* Writes (pointer, length) pairs: 0 byte count written, 1 error id written, 9027 timeout. Traps:
 * unknown stream; out of bounds. */
LUNA_IMPORT("lunatic::networking", "tls_write_vectored")
int32_t lunatic_networking_tls_write_vectored(int64_t stream, const void *vectors,
    uint32_t vectors_len, int64_t *written);

/* 0 byte count written (0 bytes: the peer closed and said so), 1 error id written (also when the
 * peer closed without a close_notify), 9027 timeout. Traps: unknown stream; out of bounds. */
LUNA_IMPORT("lunatic::networking", "tls_read")
int32_t lunatic_networking_tls_read(int64_t stream, void *data, uint32_t data_len, int64_t *read);

/* Sets the read timeout; -1 clears it. Traps: unknown stream. */
LUNA_IMPORT("lunatic::networking", "set_tls_read_timeout")
void lunatic_networking_set_tls_read_timeout(int64_t stream, int64_t timeout_ms);

/* Sets the write timeout; -1 clears it. Traps: unknown stream. */
LUNA_IMPORT("lunatic::networking", "set_tls_write_timeout")
void lunatic_networking_set_tls_write_timeout(int64_t stream, int64_t timeout_ms);

/* The read timeout in ms, -1 for none. Traps: unknown stream. */
LUNA_IMPORT("lunatic::networking", "get_tls_read_timeout")
int64_t lunatic_networking_get_tls_read_timeout(int64_t stream);

/* The write timeout in ms, -1 for none. Traps: unknown stream. */
LUNA_IMPORT("lunatic::networking", "get_tls_write_timeout")
int64_t lunatic_networking_get_tls_write_timeout(int64_t stream);

/* 0 flushed and 0 written, 1 error id written. Traps: unknown stream; out of bounds. */
LUNA_IMPORT("lunatic::networking", "tls_flush")
int32_t lunatic_networking_tls_flush(int64_t stream, int64_t *error);

/* 0 socket id written, 1 error id written. Traps: address type is not 4 or 6; out of bounds. */
LUNA_IMPORT("lunatic::networking", "udp_bind")
int32_t lunatic_networking_udp_bind(int32_t address_type, const void *address, int32_t port,
    int32_t flow_info, int32_t scope_id, int64_t *id);

/* 0 iterator of the bound address written, 1 error id written. Traps: unknown socket; out of
 * bounds. */
LUNA_IMPORT("lunatic::networking", "udp_local_addr")
int32_t lunatic_networking_udp_local_addr(int64_t socket, int64_t *id);

/* 0 iterator of the peer's address written, 1 not connected, 2 other error; error id written.
 * Traps: unknown socket; out of bounds. */
LUNA_IMPORT("lunatic::networking", "udp_peer_addr")
int32_t lunatic_networking_udp_peer_addr(int64_t socket, int64_t *id);

/* Drops a socket; the last drop closes it. Traps: unknown socket. */
LUNA_IMPORT("lunatic::networking", "drop_udp_socket")
void lunatic_networking_drop_udp_socket(int64_t socket);

/* Waits for a datagram, cut off to data_len: 0 byte count written, 1 error id written. Traps:
 * unknown socket; out of bounds. */
LUNA_IMPORT("lunatic::networking", "udp_receive")
int32_t lunatic_networking_udp_receive(int64_t socket, void *data, uint32_t data_len,
    int64_t *read);

/* Waits for a datagram, cut off to data_len: 0 byte count and sender address iterator written, 1
 * error id written. Traps: unknown socket; out of bounds. */
LUNA_IMPORT("lunatic::networking", "udp_receive_from")
int32_t lunatic_networking_udp_receive_from(int64_t socket, void *data, uint32_t data_len,
    int64_t *read, int64_t *sender);

/* Fixes the peer: 0 connected and 0 written, 1 error id written; it never takes time. Traps:
 * unknown socket; address type is not 4 or 6; out of bounds. */
LUNA_IMPORT("lunatic::networking", "udp_connect")
int32_t lunatic_networking_udp_connect(int64_t socket, int32_t address_type, const void *address,
    int32_t port, int32_t flow_info, int32_t scope_id, int64_t timeout_ms, int64_t *error);

/* A second id of the same socket. Traps: unknown socket. */
LUNA_IMPORT("lunatic::networking", "clone_udp_socket")
int64_t lunatic_networking_clone_udp_socket(int64_t socket);

/* Permits broadcast or forbids it. Traps: unknown socket; error of the system. */
LUNA_IMPORT("lunatic::networking", "set_udp_socket_broadcast")
void lunatic_networking_set_udp_socket_broadcast(int64_t socket, int32_t allowed);

/* 1 when broadcast is permitted, else 0. Traps: unknown socket; error of the system. */
LUNA_IMPORT("lunatic::networking", "get_udp_socket_broadcast")
int32_t lunatic_networking_get_udp_socket_broadcast(int64_t socket);

/* Sets the time to live, in hops. Traps: unknown socket; error of the system. */
LUNA_IMPORT("lunatic::networking", "set_udp_socket_ttl")
void lunatic_networking_set_udp_socket_ttl(int64_t socket, int32_t hops);

/* The time to live, in hops. Traps: unknown socket; error of the system. */
LUNA_IMPORT("lunatic::networking", "get_udp_socket_ttl")
int32_t lunatic_networking_get_udp_socket_ttl(int64_t socket);

/* Sends a datagram: 0 byte count written, 1 error id written. Traps: unknown socket; address
 * type is not 4 or 6; out of bounds. */
LUNA_IMPORT("lunatic::networking", "udp_send_to")
int32_t lunatic_networking_udp_send_to(int64_t socket, const void *data, uint32_t data_len,
    int32_t address_type, const void *address, int32_t port, int32_t flow_info, int32_t scope_id,
    int64_t *written);

/* Sends a datagram to the connected peer: 0 byte count written, 1 error id written. Traps:
 * unknown socket; out of bounds. */
LUNA_IMPORT("lunatic::networking", "udp_send")
int32_t lunatic_networking_udp_send(int64_t socket, const void *data, uint32_t data_len,
    int64_t *written);

/* ---- lunatic::distributed ---- */

/* Number of live nodes, this one included; 0 without a cluster. */
LUNA_IMPORT("lunatic::distributed", "nodes_count")
int32_t lunatic_distributed_nodes_count(void);

/* Writes up to nodes_len 64-bit node ids, this one's included; returns how many. Traps: out of
 * bounds. */
LUNA_IMPORT("lunatic::distributed", "get_nodes")
int32_t lunatic_distributed_get_nodes(void *nodes, uint32_t nodes_len);

/* This node's id; 0 without a cluster. */
LUNA_IMPORT("lunatic::distributed", "node_id")
int64_t lunatic_distributed_node_id(void);

/* The id of the caller's module, the same on every node; 0 without a cluster. */
LUNA_IMPORT("lunatic::distributed", "module_id")
int64_t lunatic_distributed_module_id(void);

/* Spawns a process on a node: 0 process id written; 1 node unknown, gone or unwilling, 2 module
 * unknown, 9027 no answer in time, with an error id written. Config -1 is the caller's own;
 * module is a module_id; params are 17-byte records, a trailing part of one is ignored. Traps:
 * spawning not permitted; no cluster; unknown config; malformed params; out of bounds; not
 * UTF-8. */
LUNA_IMPORT("lunatic::distributed", "spawn")
int32_t lunatic_distributed_spawn(int64_t node, int64_t config, int64_t module, const void *entry,
    uint32_t entry_len, const void *params, uint32_t params_len, int64_t *id);

/* Sends the scratch, which is empty afterwards: 0, or 1 the scratch cannot go to another node,
 * and is lost. A dead node or process is silent. Traps: no scratch. */
LUNA_IMPORT("lunatic::distributed", "send")
int32_t lunatic_distributed_send(int64_t node, int64_t process);

/* Sends the scratch and waits for a later message with wait_tag, not looking at queued ones: 0
 * it is the scratch now, 1 the scratch cannot go to another node, and is lost, 9027 timeout (-1
 * waits for ever). Traps: no scratch. */
LUNA_IMPORT("lunatic::distributed", "send_receive_skip_search")
int32_t lunatic_distributed_send_receive_skip_search(int64_t node, int64_t process,
    int64_t wait_tag, int64_t timeout_ms);

/* Finds the live nodes with all these labels (k=v&k2=v2, escaped as in a URL; none: all nodes):
 * 0 query id and node count written, 1 error id written. Traps: no cluster; out of bounds; not
 * UTF-8; query too long. */
LUNA_IMPORT("lunatic::distributed", "exec_lookup_nodes")
int32_t lunatic_distributed_exec_lookup_nodes(const void *query, uint32_t query_len, int64_t *id,
    uint32_t *nodes_len, int64_t *error);

/* Writes up to nodes_len 64-bit node ids of a query and forgets it; returns how many, or -1 with
 * an error id written. Traps: no cluster; out of bounds. */
LUNA_IMPORT("lunatic::distributed", "copy_lookup_nodes_results")
int32_t lunatic_distributed_copy_lookup_nodes_results(int64_t query, void *nodes,
    uint32_t nodes_len, int64_t *error);

/* A certificate authority for tests, as bincode in guest memory: certificate and private key in
 * PEM. Traps: lunatic_alloc is missing or fails; out of bounds. */
LUNA_IMPORT("lunatic::distributed", "test_root_cert")
int32_t lunatic_distributed_test_root_cert(uint32_t *len);

/* A new certificate of a control server (ctrl.lunatic.cloud), signed by the given authority, as
 * bincode in guest memory: certificate and private key in PEM. Traps: malformed certificate or
 * key in PEM; not of each other; not UTF-8; lunatic_alloc is missing or fails; out of bounds. */
LUNA_IMPORT("lunatic::distributed", "default_server_certificates")
int32_t lunatic_distributed_default_server_certificates(const void *certificate,
    uint32_t certificate_len, const void *key, uint32_t key_len, uint32_t *len);

/* The certificate of a node with the names in its signing request, signed by the given
 * authority, as bincode in guest memory: a PEM text. Traps: malformed certificate or key in PEM;
 * not of each other; not UTF-8; malformed signing request, or not signed with its own key;
 * lunatic_alloc is missing or fails; out of bounds. */
LUNA_IMPORT("lunatic::distributed", "sign_node")
int32_t lunatic_distributed_sign_node(const void *certificate, uint32_t certificate_len,
    const void *key, uint32_t key_len, const void *request, uint32_t request_len, uint32_t *len);

/* ---- lunatic::sqlite ---- */

/* Opens a database: 0 connection id written, 1 error id written. Traps: out of bounds; not
 * UTF-8. */
LUNA_IMPORT("lunatic::sqlite", "open")
int64_t lunatic_sqlite_open(const void *path, uint32_t path_len, int64_t *id);

/* Runs SQL without results: 0, or the SQLite error code. Traps: unknown connection; out of
 * bounds; not UTF-8. */
LUNA_IMPORT("lunatic::sqlite", "execute")
int32_t lunatic_sqlite_execute(int64_t connection, const void *sql, uint32_t sql_len);

/* Prepares a statement; returns its id. Traps: unknown connection; out of bounds; not UTF-8; SQL
 * error. */
LUNA_IMPORT("lunatic::sqlite", "query_prepare")
int64_t lunatic_sqlite_query_prepare(int64_t connection, const void *sql, uint32_t sql_len);

/* Binds a bincode list of values. Traps: unknown statement; out of bounds; malformed list; bind
 * error. */
LUNA_IMPORT("lunatic::sqlite", "bind_value")
void lunatic_sqlite_bind_value(int64_t statement, const void *values, uint32_t values_len);

/* Rows changed by the last statement. Traps: unknown connection. */
LUNA_IMPORT("lunatic::sqlite", "sqlite3_changes")
int32_t lunatic_sqlite_sqlite3_changes(int64_t connection);

/* Makes a statement ready to be bound and to run again. Traps: unknown statement; SQLite error
 * of the last step. */
LUNA_IMPORT("lunatic::sqlite", "statement_reset")
void lunatic_sqlite_statement_reset(int64_t statement);

/* 100 a row is ready, 101 done. Traps: unknown statement; SQLite error. */
LUNA_IMPORT("lunatic::sqlite", "sqlite3_step")
int32_t lunatic_sqlite_sqlite3_step(int64_t statement);

/* Forgets a statement. Traps: unknown statement. */
LUNA_IMPORT("lunatic::sqlite", "sqlite3_finalize")
void lunatic_sqlite_sqlite3_finalize(int64_t statement);

/* Columns of the result. Traps: unknown statement. */
LUNA_IMPORT("lunatic::sqlite", "column_count")
int32_t lunatic_sqlite_column_count(int64_t statement);

/* The error of the connection's last call, if it failed, as bincode in guest memory. Traps:
 * unknown connection; no error; lunatic_alloc is missing or fails; out of bounds. */
LUNA_IMPORT("lunatic::sqlite", "last_error")
int32_t lunatic_sqlite_last_error(int64_t connection, uint32_t *len);

/* A value of the current row as bincode in guest memory; null without a row. Traps: unknown
 * statement; unknown column; text that is not UTF-8; lunatic_alloc is missing or fails; out of
 * bounds. */
LUNA_IMPORT("lunatic::sqlite", "read_column")
int32_t lunatic_sqlite_read_column(int64_t statement, int32_t column, uint32_t *len);

/* The current row as bincode in guest memory; nulls without one. Traps: unknown statement; text
 * that is not UTF-8; lunatic_alloc is missing or fails; out of bounds. */
LUNA_IMPORT("lunatic::sqlite", "read_row")
int32_t lunatic_sqlite_read_row(int64_t statement, uint32_t *len);

/* A column's name as UTF-8 in guest memory. Traps: unknown statement; unknown column;
 * lunatic_alloc is missing or fails; out of bounds. */
LUNA_IMPORT("lunatic::sqlite", "column_name")
int32_t lunatic_sqlite_column_name(int64_t statement, int32_t column, uint32_t *len);

/* All column names as bincode in guest memory. Traps: unknown statement; lunatic_alloc is
 * missing or fails; out of bounds. */
LUNA_IMPORT("lunatic::sqlite", "column_names")
int32_t lunatic_sqlite_column_names(int64_t statement, uint32_t *len);

/* ---- lunatic::metrics ---- */

/* Sets a counter; less than it has changes nothing. Traps: out of bounds; not UTF-8. */
LUNA_IMPORT("lunatic::metrics", "counter")
void lunatic_metrics_counter(const void *name, uint32_t name_len, int64_t value);

/* Adds one to a counter. Traps: out of bounds; not UTF-8. */
LUNA_IMPORT("lunatic::metrics", "increment_counter")
void lunatic_metrics_increment_counter(const void *name, uint32_t name_len);

/* Sets a gauge. Traps: out of bounds; not UTF-8. */
LUNA_IMPORT("lunatic::metrics", "gauge")
void lunatic_metrics_gauge(const void *name, uint32_t name_len, double value);

/* Adds to a gauge. Traps: out of bounds; not UTF-8. */
LUNA_IMPORT("lunatic::metrics", "increment_gauge")
void lunatic_metrics_increment_gauge(const void *name, uint32_t name_len, double value);

/* Subtracts from a gauge. Traps: out of bounds; not UTF-8. */
LUNA_IMPORT("lunatic::metrics", "decrement_gauge")
void lunatic_metrics_decrement_gauge(const void *name, uint32_t name_len, double value);

/* Records a value. Traps: out of bounds; not UTF-8. */
LUNA_IMPORT("lunatic::metrics", "histogram")
void lunatic_metrics_histogram(const void *name, uint32_t name_len, double value);

/* ---- luna::message ---- */

/* How the process ended that the scratch, a LinkDied or ProcessDied, tells of: 0 normally, 1 it
 * failed, 2 it was killed, 3 it died of a link, 4 there was no such process, 5 its node is gone;
 * -1 of any other scratch. Traps: no scratch. */
LUNA_IMPORT("luna::message", "exit_reason")
int32_t luna_message_exit_reason(void);

/* The exit code of that process: 0 of a normal end, else what it exited with, or 1; 0 where
 * there is none. Traps: no scratch. */
LUNA_IMPORT("luna::message", "exit_code")
int32_t luna_message_exit_code(void);

/* Writes up to text_len bytes of why it ended, a line of at most 256; returns how many there
 * are. None of a normal end, nor of a process that was not there or whose node is gone. Traps:
 * no scratch; out of bounds. */
LUNA_IMPORT("luna::message", "exit_text")
int32_t luna_message_exit_text(void *text, uint32_t text_len);

/* ---- luna::distributed ---- */

/* As lunatic::distributed::spawn, of a child that the caller monitors and, unless the tag is 0,
 * is linked to from its birth on: its end comes as a ProcessDied, however soon. Traps: spawning
 * not permitted; no cluster; unknown config; malformed params; out of bounds; not UTF-8. */
LUNA_IMPORT("luna::distributed", "spawn_monitored")
int32_t luna_distributed_spawn_monitored(int64_t link_tag, int64_t node, int64_t config,
    int64_t module, const void *entry, uint32_t entry_len, const void *params, uint32_t params_len,
    int64_t *id);

/* ---- luna::node ---- */

/* From now on the caller gets a data message with this tag for each other node that comes up or
 * goes down; first, before this returns, one for each that is up. Subscribing again changes the
 * tag, and sends those that are up again. The message: u32 kind (1 up, 2 down), u32 reason (of a
 * down: 1 it left, 2 it was declared dead), u64 node id, u32 length of the name, the name;
 * little endian. */
LUNA_IMPORT("luna::node", "subscribe")
void luna_node_subscribe(int64_t tag);

/* No more news of nodes; those already sent stay in the mailbox. */
LUNA_IMPORT("luna::node", "unsubscribe")
void luna_node_unsubscribe(void);

/* Writes up to name_len bytes of a node's name, this node's included; returns how long it is.
 * -1: no member has that id, or had it lately. Traps: out of bounds. */
LUNA_IMPORT("luna::node", "name")
int32_t luna_node_name(int64_t node, void *name, uint32_t name_len);

/* The id of the live node of that name, this one included; 0 if there is none. Traps: out of
 * bounds; not UTF-8; a name of more than 252 bytes. */
LUNA_IMPORT("luna::node", "find")
int64_t luna_node_find(const void *name, uint32_t name_len);

/* ---- luna::group ---- */

/* Makes the caller a member of a group of its environment, on all nodes: 0 it joined, 1 it was
 * one already, 2 a limit is reached. It leaves when it ends. Traps: out of bounds; not UTF-8; a
 * name of more than 255 bytes. */
LUNA_IMPORT("luna::group", "join")
int32_t luna_group_join(const void *name, uint32_t name_len);

/* Makes the caller a member no more: 0 it left, 1 it was none. Traps: out of bounds; not UTF-8;
 * a name of more than 255 bytes. */
LUNA_IMPORT("luna::group", "leave")
int32_t luna_group_leave(const void *name, uint32_t name_len);

/* Writes up to members_len 64-bit process ids of members; returns how many there are, which may
 * be more. Traps: out of bounds; not UTF-8; a name of more than 255 bytes. */
LUNA_IMPORT("luna::group", "members")
int32_t luna_group_members(const void *name, uint32_t name_len, void *members,
    uint32_t members_len);

/* Sends a copy of the scratch, which is empty afterwards, to each member, also to the caller if
 * it is one; returns to how many. Traps: no scratch; one that is not plain data of at most 16
 * MiB; out of bounds; not UTF-8; a name of more than 255 bytes. */
LUNA_IMPORT("luna::group", "broadcast")
int32_t luna_group_broadcast(const void *name, uint32_t name_len);

/* ---- wasi_snapshot_preview1 ---- */

/* Writes the arguments. */
LUNA_IMPORT("wasi_snapshot_preview1", "args_get")
int32_t wasi_args_get(void *argv, void *buffer);

/* Number and total size of the arguments. */
LUNA_IMPORT("wasi_snapshot_preview1", "args_sizes_get")
int32_t wasi_args_sizes_get(uint32_t *count, uint32_t *size);

/* Writes the environment. */
LUNA_IMPORT("wasi_snapshot_preview1", "environ_get")
int32_t wasi_environ_get(void *environ, void *buffer);

/* Number and total size of the environment. */
LUNA_IMPORT("wasi_snapshot_preview1", "environ_sizes_get")
int32_t wasi_environ_sizes_get(uint32_t *count, uint32_t *size);

/* Resolution of a clock. */
LUNA_IMPORT("wasi_snapshot_preview1", "clock_res_get")
int32_t wasi_clock_res_get(int32_t clock, int64_t *resolution_ns);

/* Time of a clock. */
LUNA_IMPORT("wasi_snapshot_preview1", "clock_time_get")
int32_t wasi_clock_time_get(int32_t clock, int64_t precision_ns, int64_t *time_ns);

/* Announces how a file will be used. */
LUNA_IMPORT("wasi_snapshot_preview1", "fd_advise")
int32_t wasi_fd_advise(int32_t fd, int64_t offset, int64_t len, int32_t advice);

/* Makes room in a file. */
LUNA_IMPORT("wasi_snapshot_preview1", "fd_allocate")
int32_t wasi_fd_allocate(int32_t fd, int64_t offset, int64_t len);

/* Closes a file. */
LUNA_IMPORT("wasi_snapshot_preview1", "fd_close")
int32_t wasi_fd_close(int32_t fd);

/* Flushes a file's data. */
LUNA_IMPORT("wasi_snapshot_preview1", "fd_datasync")
int32_t wasi_fd_datasync(int32_t fd);

/* Type, flags and rights of a descriptor. */
LUNA_IMPORT("wasi_snapshot_preview1", "fd_fdstat_get")
int32_t wasi_fd_fdstat_get(int32_t fd, void *stat);

/* Sets the flags of a descriptor. */
LUNA_IMPORT("wasi_snapshot_preview1", "fd_fdstat_set_flags")
int32_t wasi_fd_fdstat_set_flags(int32_t fd, int32_t flags);

/* Reduces a descriptor's rights. */
LUNA_IMPORT("wasi_snapshot_preview1", "fd_fdstat_set_rights")
int32_t wasi_fd_fdstat_set_rights(int32_t fd, int64_t base, int64_t inheriting);

/* Attributes of an open file. */
LUNA_IMPORT("wasi_snapshot_preview1", "fd_filestat_get")
int32_t wasi_fd_filestat_get(int32_t fd, void *stat);

/* Truncates or extends a file. */
LUNA_IMPORT("wasi_snapshot_preview1", "fd_filestat_set_size")
int32_t wasi_fd_filestat_set_size(int32_t fd, int64_t size);

/* Sets the times of an open file. */
LUNA_IMPORT("wasi_snapshot_preview1", "fd_filestat_set_times")
int32_t wasi_fd_filestat_set_times(int32_t fd, int64_t access_ns, int64_t modify_ns, int32_t flags);

/* Reads at an offset. */
LUNA_IMPORT("wasi_snapshot_preview1", "fd_pread")
int32_t wasi_fd_pread(int32_t fd, const void *vectors, uint32_t vectors_len, int64_t offset,
    uint32_t *read);

/* Writes at an offset. */
LUNA_IMPORT("wasi_snapshot_preview1", "fd_pwrite")
int32_t wasi_fd_pwrite(int32_t fd, const void *vectors, uint32_t vectors_len, int64_t offset,
    uint32_t *written);

/* Describes a directory given at start. */
LUNA_IMPORT("wasi_snapshot_preview1", "fd_prestat_get")
int32_t wasi_fd_prestat_get(int32_t fd, void *stat);

/* Name of a directory given at start. */
LUNA_IMPORT("wasi_snapshot_preview1", "fd_prestat_dir_name")
int32_t wasi_fd_prestat_dir_name(int32_t fd, void *path, uint32_t path_len);

/* Reads. */
LUNA_IMPORT("wasi_snapshot_preview1", "fd_read")
int32_t wasi_fd_read(int32_t fd, const void *vectors, uint32_t vectors_len, uint32_t *read);

/* Writes. */
LUNA_IMPORT("wasi_snapshot_preview1", "fd_write")
int32_t wasi_fd_write(int32_t fd, const void *vectors, uint32_t vectors_len, uint32_t *written);

/* Reads directory entries. */
LUNA_IMPORT("wasi_snapshot_preview1", "fd_readdir")
int32_t wasi_fd_readdir(int32_t fd, void *buffer, uint32_t buffer_len, int64_t cookie,
    uint32_t *used);

/* Renames a descriptor, closing the one it replaces. */
LUNA_IMPORT("wasi_snapshot_preview1", "fd_renumber")
int32_t wasi_fd_renumber(int32_t from, int32_t to);

/* Moves a file's offset. */
LUNA_IMPORT("wasi_snapshot_preview1", "fd_seek")
int32_t wasi_fd_seek(int32_t fd, int64_t delta, int32_t whence, int64_t *position);

/* A file's offset. */
LUNA_IMPORT("wasi_snapshot_preview1", "fd_tell")
int32_t wasi_fd_tell(int32_t fd, int64_t *position);

/* Flushes a file. */
LUNA_IMPORT("wasi_snapshot_preview1", "fd_sync")
int32_t wasi_fd_sync(int32_t fd);

/* Makes a directory. */
LUNA_IMPORT("wasi_snapshot_preview1", "path_create_directory")
int32_t wasi_path_create_directory(int32_t fd, const void *path, uint32_t path_len);

/* Attributes of a file. */
LUNA_IMPORT("wasi_snapshot_preview1", "path_filestat_get")
int32_t wasi_path_filestat_get(int32_t fd, int32_t lookup_flags, const void *path,
    uint32_t path_len, void *stat);

/* Sets the times of a file. */
LUNA_IMPORT("wasi_snapshot_preview1", "path_filestat_set_times")
int32_t wasi_path_filestat_set_times(int32_t fd, int32_t lookup_flags, const void *path,
    uint32_t path_len, int64_t access_ns, int64_t modify_ns, int32_t flags);

/* Makes a hard link. */
LUNA_IMPORT("wasi_snapshot_preview1", "path_link")
int32_t wasi_path_link(int32_t fd, int32_t lookup_flags, const void *path, uint32_t path_len,
    int32_t new_fd, const void *new_path, uint32_t new_path_len);

/* Opens a file. */
LUNA_IMPORT("wasi_snapshot_preview1", "path_open")
int32_t wasi_path_open(int32_t fd, int32_t lookup_flags, const void *path, uint32_t path_len,
    int32_t open_flags, int64_t rights, int64_t inheriting, int32_t fd_flags, uint32_t *opened);

/* Reads a symbolic link. */
LUNA_IMPORT("wasi_snapshot_preview1", "path_readlink")
int32_t wasi_path_readlink(int32_t fd, const void *path, uint32_t path_len, void *buffer,
    uint32_t buffer_len, uint32_t *used);

/* Removes an empty directory. */
LUNA_IMPORT("wasi_snapshot_preview1", "path_remove_directory")
int32_t wasi_path_remove_directory(int32_t fd, const void *path, uint32_t path_len);

/* Renames a file. */
LUNA_IMPORT("wasi_snapshot_preview1", "path_rename")
int32_t wasi_path_rename(int32_t fd, const void *path, uint32_t path_len, int32_t new_fd,
    const void *new_path, uint32_t new_path_len);

/* Makes a symbolic link. */
LUNA_IMPORT("wasi_snapshot_preview1", "path_symlink")
int32_t wasi_path_symlink(const void *target, uint32_t target_len, int32_t fd, const void *path,
    uint32_t path_len);

/* Removes a file. */
LUNA_IMPORT("wasi_snapshot_preview1", "path_unlink_file")
int32_t wasi_path_unlink_file(int32_t fd, const void *path, uint32_t path_len);

/* Waits for a clock or a descriptor. */
LUNA_IMPORT("wasi_snapshot_preview1", "poll_oneoff")
int32_t wasi_poll_oneoff(const void *subscriptions, void *events, uint32_t subscriptions_len,
    uint32_t *events_len);

/* Ends the process; code 0 is a normal end, any other a failure. */
LUNA_IMPORT("wasi_snapshot_preview1", "proc_exit")
_Noreturn void wasi_proc_exit(int32_t code);

/* Raises a signal. */
LUNA_IMPORT("wasi_snapshot_preview1", "proc_raise")
int32_t wasi_proc_raise(int32_t signal);

/* Writes random bytes. */
LUNA_IMPORT("wasi_snapshot_preview1", "random_get")
int32_t wasi_random_get(void *buffer, uint32_t buffer_len);

/* Lets other processes run. */
LUNA_IMPORT("wasi_snapshot_preview1", "sched_yield")
int32_t wasi_sched_yield(void);

/* Accepts a connection. */
LUNA_IMPORT("wasi_snapshot_preview1", "sock_accept")
int32_t wasi_sock_accept(int32_t fd, int32_t flags, uint32_t *accepted);

/* Receives from a socket. */
LUNA_IMPORT("wasi_snapshot_preview1", "sock_recv")
int32_t wasi_sock_recv(int32_t fd, const void *vectors, uint32_t vectors_len, int32_t flags,
    uint32_t *read, uint32_t *out_flags);

/* Sends to a socket. */
LUNA_IMPORT("wasi_snapshot_preview1", "sock_send")
int32_t wasi_sock_send(int32_t fd, const void *vectors, uint32_t vectors_len, int32_t flags,
    uint32_t *written);

/* Shuts down a socket. */
LUNA_IMPORT("wasi_snapshot_preview1", "sock_shutdown")
int32_t wasi_sock_shutdown(int32_t fd, int32_t how);

/* ---- helpers ---- */

/* One parameter of a spawned function, as the interface wants it: a type byte and 16 bytes. */
typedef struct {
    uint8_t type;
    uint8_t value[16];
} luna_value;

static inline luna_value luna_i32(int32_t value) {
    luna_value record = {0x7f, {0}};
    __builtin_memcpy(record.value, &value, sizeof value);
    return record;
}

static inline luna_value luna_i64(int64_t value) {
    luna_value record = {0x7e, {0}};
    __builtin_memcpy(record.value, &value, sizeof value);
    return record;
}

/* The last two arguments of luna_spawn: LUNA_PARAMS(luna_i64(pid), luna_i32(3)) or LUNA_NO_PARAMS. */
#define LUNA_PARAMS(...) (const luna_value[]){__VA_ARGS__}, sizeof((luna_value[]){__VA_ARGS__})
#define LUNA_NO_PARAMS NULL, 0

/* Spawns a process of this module. A link tag other than 0 links it to the caller; config is an id
 * or LUNA_OWN. Returns the process id, or -1 when it could not be started. */
static inline int64_t luna_spawn(const char *entry, int64_t link_tag, int64_t config,
                                 const luna_value *params, uint32_t params_len) {
    int64_t id = 0;
    uint32_t entry_len = 0;
    while (entry[entry_len]) entry_len++; /* not strlen: there may be no libc */
    int32_t status = lunatic_process_spawn(link_tag, config, LUNA_OWN, entry, entry_len, params,
                                           params_len, &id);
    if (status == 0) return id;
    lunatic_error_drop(id);
    return -1;
}

/* Sends bytes to a process, on whichever node it lives. */
static inline void luna_send(int64_t process, int64_t tag, const void *data, uint32_t data_len) {
    lunatic_message_create_data(tag, data_len);
    lunatic_message_write_data(data, data_len);
    lunatic_message_send(process);
}

/* The node a process lives on: the upper 23 bits of its id. */
static inline int64_t luna_node_of(int64_t process) { return process >> 40; }

/* The number of a process on its node: the lower 40 bits of its id. */
static inline int64_t luna_serial_of(int64_t process) { return process & 0xffffffffffLL; }

#ifndef LUNA_NO_LIBC
#include <stdarg.h>
#include <stdio.h>

/* Prints at once, up to 511 bytes: stdio keeps text back, and a process that is killed never writes it. */
__attribute__((format(printf, 1, 2))) static inline void luna_print(const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0) return;
    if (length >= (int)sizeof text) length = sizeof text - 1;
    struct { const void *data; uint32_t data_len; } vector = {text, (uint32_t)length};
    uint32_t written;
    wasi_fd_write(1, &vector, 1, &written);
}
#endif

#endif
