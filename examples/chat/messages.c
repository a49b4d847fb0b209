/* The messages between the processes of the chat, what is known of lines, and names. */
#include "chat.h"

enum { HEAD_BYTES = offsetof(event, text), NODE_NAME_BYTES = 64 };

void make_event(event *made, int32_t kind, int64_t who, const char *name, const char *format, ...) {
    va_list arguments;
    memset(made, 0, sizeof *made);
    made->kind = kind;
    made->who = who;
    strncpy(made->name, name, NAME_BYTES);
    va_start(arguments, format);
    vsnprintf(made->text, sizeof made->text, format, arguments);
    va_end(arguments);
    made->text_bytes = strlen(made->text);
}

void put_event(const event *source) {
    lunatic_message_write_data(source, HEAD_BYTES + source->text_bytes);
}

int get_event(event *target) {
    memset(target, 0, sizeof *target);
    if (lunatic_message_read_data(target, HEAD_BYTES) != HEAD_BYTES) return 0;
    if (target->text_bytes > TEXT_BYTES) return 0;
    target->name[NAME_BYTES] = 0;
    return lunatic_message_read_data(target->text, target->text_bytes) == (int32_t)target->text_bytes;
}

void send_event(int64_t process, int64_t tag, const event *sent) {
    lunatic_message_create_data(tag, sizeof *sent);
    put_event(sent);
    lunatic_message_send(process);
}

int64_t get_number(void) {
    int64_t number = 0;
    return lunatic_message_read_data(&number, sizeof number) == sizeof number ? number : 0;
}

int64_t last_number(const numbers_seen *seen, int64_t who) {
    for (int i = 0; i < SPEAKERS; i++)
        if (seen->speakers[i].who == who) return seen->speakers[i].number;
    return 0;
}

int is_new(numbers_seen *seen, const event *line) {
    int place = 0; /* of the speaker, or of who has been silent for longest */
    for (int i = 0; i < SPEAKERS; i++) {
        if (seen->speakers[i].who == line->who) {
            place = i;
            break;
        }
        if (seen->speakers[i].at < seen->speakers[place].at) place = i;
    }
    if (seen->speakers[place].who == line->who && seen->speakers[place].number >= line->number) return 0;
    seen->speakers[place].who = line->who;
    seen->speakers[place].number = line->number;
    seen->speakers[place].at = ++seen->now;
    return 1;
}

void remember(memory *kept, const event *line) { kept->lines[kept->count++ % HISTORY] = *line; }

const event *line_at(const memory *kept, int64_t place) { return &kept->lines[place % HISTORY]; }

int64_t oldest(const memory *kept) { return kept->count > HISTORY ? kept->count - HISTORY : 0; }

const char *node_of(int64_t process) {
    static char name[NODE_NAME_BYTES];
    int32_t length = luna_node_name(luna_node_of(process), name, sizeof name - 1);
    if (length < 0 || length >= (int32_t)sizeof name) return "?";
    name[length] = 0;
    return name;
}

int64_t find_process(const char *prefix, const char *name) {
    char path[PATH_BYTES];
    int64_t node, process;
    int length = snprintf(path, sizeof path, "%s%s", prefix, name);
    return lunatic_registry_get(path, length, &node, &process) == 0 ? process : -1;
}

int32_t find_or_spawn(const char *prefix, const char *name, const char *entry, const luna_value *params,
                      uint32_t params_len, int64_t *process) {
    char path[PATH_BYTES];
    int64_t node;
    int length = snprintf(path, sizeof path, "%s%s", prefix, name);
    int32_t status = lunatic_process_get_or_spawn(path, length, 0, LUNA_OWN, LUNA_OWN, entry, strlen(entry),
                                                  params, params_len, &node, process);
    if (status == 1) lunatic_error_drop(*process);
    return status;
}

int64_t start_on(int64_t node, const char *entry, int64_t link_tag, const luna_value *params,
                 uint32_t params_len) {
    int64_t process;
    int32_t status = luna_distributed_spawn_monitored(link_tag, node, LUNA_OWN,
                                                      lunatic_distributed_module_id(), entry, strlen(entry),
                                                      params, params_len, &process);
    if (status == 0) return process;
    lunatic_error_drop(process);
    return -1;
}

int is_name(const char *text) {
    size_t length = strlen(text);
    if (length == 0 || length > NAME_BYTES) return 0;
    return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == length;
}
