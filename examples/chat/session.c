/* A session: one process for each user, on the node the user is connected to.
 *
 * It shows what comes from the room, and does what the user types. When the room's process is lost, it finds
 * or makes it again, and goes on. What it remembers for that: the last lines of the room and who is in it,
 * and its own lines that the room has not confirmed, by sending them round.
 */
#include "chat.h"

#include <stdlib.h>

enum { SHOW_BYTES = 16384, SOCKET_MS = 5000 };

static int64_t self, stream, reader_process;
static char name[NAME_BYTES + 1];
static int64_t badge_process; /* has the name chat/user/NAME; 0 while there is none */
static int closed;
static int reader_waits;     /* for being asked for the next line */

static int64_t room_process; /* 0: in no room */
static char room_name[NAME_BYTES + 1];
static int64_t room_node;    /* the one it was on last */
static int inside;           /* the room has welcomed us */
static int32_t unacknowledged;
static memory lines;
static numbers_seen shown;
static event roster[MEMBERS];
static int32_t roster_count;

static event unconfirmed[UNCONFIRMED];
static int32_t unconfirmed_count;
static int64_t last_line;

/* ---- what the user sees ---- */

static char output[SHOW_BYTES];
static uint32_t output_bytes;

/* Everything there is to show goes out in one write, as soon as no message waits. */
static void flush(void) {
    uint32_t from = 0;
    while (from < output_bytes && !closed) {
        struct { const void *data; uint32_t data_len; } part = {output + from, output_bytes - from};
        int64_t written = 0;
        int32_t status = lunatic_networking_tcp_write_vectored(stream, &part, 1, &written);
        if (status != 0) {
            if (status != LUNA_TIMEOUT) lunatic_error_drop(written);
            closed = 1; /* the connection is gone, or takes nothing for WRITE_MS */
        }
        from += (uint32_t)written;
    }
    output_bytes = 0;
}

__attribute__((format(printf, 1, 2))) static void show(const char *format, ...) {
    char text[TEXT_BYTES + NAME_BYTES + 80];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text - 1, format, arguments);
    va_end(arguments);
    if (length > (int)sizeof text - 2) length = sizeof text - 2;
    text[length++] = '\n';
    if (output_bytes + length > SHOW_BYTES) flush();
    memcpy(output + output_bytes, text, length);
    output_bytes += length;
}

/* ---- the room ---- */

static void send_to_room(int64_t tag, const char *text, int64_t number) {
    event sent;
    make_event(&sent, tag == SAY ? LINE : 0, self, name, "%s", text);
    sent.number = number;
    if (room_process != 0) send_event(room_process, tag, &sent);
}

static void forget_room(void) {
    if (room_process != 0) lunatic_process_stop_monitoring(room_process);
    room_process = inside = 0;
    memset(&lines, 0, sizeof lines);
    memset(&shown, 0, sizeof shown);
    roster_count = unconfirmed_count = 0;
}

/* Joins the room `room_name`; again, when it was lost, with what is remembered of it. */
static void enter(int again) {
    event joining;
    int64_t lost = room_process;
    flush(); /* it may take a while */
    for (int tries = 0; tries < ENTER_TRIES; tries++) {
        if (tries > 0) lunatic_process_sleep_ms(ENTER_PAUSE_MS);
        int64_t found = find_room(room_name);
        /* For a moment after a node is lost the name may stand for the dead room; but if only the connection
         * to its node was lost, and is back, it is the living one. */
        if (found < 0 || (found == lost && !lunatic_process_exists(found))) continue;
        room_process = found;
        unacknowledged = 0;
        lunatic_process_monitor(found);
        make_event(&joining, 0, self, name, "%s", room_name);
        joining.number = again;
        lunatic_message_create_data(JOIN, sizeof joining);
        put_event(&joining);
        for (int64_t place = oldest(&lines); again && place < lines.count; place++) put_event(line_at(&lines, place));
        for (int32_t i = 0; again && i < roster_count; i++) put_event(&roster[i]);
        lunatic_message_send(found);
        for (int32_t i = 0; i < unconfirmed_count; i++) send_event(found, SAY, &unconfirmed[i]);
        return;
    }
    forget_room();
    show("* room %s cannot be reached now; try again with /join %s", room_name, room_name);
}

static void change_room(const char *wanted) {
    send_to_room(LEAVE, "left for another room", 0);
    forget_room();
    strcpy(room_name, wanted);
    enter(0);
}

static int32_t roster_place(int64_t who) {
    int32_t place = 0;
    while (place < roster_count && roster[place].who != who) place++;
    return place;
}

static void note_member(const event *news) {
    int32_t place = roster_place(news->who);
    if (place == MEMBERS) return;
    if (place == roster_count) roster_count++;
    make_event(&roster[place], MEMBER, news->who, news->name, "%s", "");
}

static void note_leaving(const event *news) {
    int32_t place = roster_place(news->who);
    if (place < roster_count) roster[place] = roster[--roster_count];
}

static void take_welcome(const event *news) {
    event other;
    roster_count = 0;
    while (get_event(&other)) note_member(&other);
    int64_t node = luna_node_of(room_process);
    if (!news->number) {
        show("* you are in room %s, which lives on node %s; %d here", room_name, node_of(room_process), roster_count);
    } else if (node != room_node) {
        show("* room %s moved to node %s", room_name, node_of(room_process));
    } else {
        show("* room %s is back, on node %s", room_name, node_of(room_process));
    }
    room_node = node;
    inside = 1;
}

static void take_line(const event *line) {
    if (!is_new(&shown, line)) return; /* another member brought it to the new room */
    remember(&lines, line);
    int32_t confirmed = 0;
    while (line->who == self && confirmed < unconfirmed_count && unconfirmed[confirmed].number <= line->number)
        confirmed++;
    if (confirmed == 0) {
        show("<%s> %s", line->name, line->text); /* of others, or an own one of earlier, out of the history */
        return;
    }
    unconfirmed_count -= confirmed;
    memmove(unconfirmed, unconfirmed + confirmed, unconfirmed_count * sizeof *unconfirmed);
}

static void take_event(void) {
    event news;
    int64_t from = get_number();
    if (!get_event(&news)) return;
    if (from != room_process) {
        /* A room made anew was told that we are there: not if we have changed rooms meanwhile. */
        event answer;
        make_event(&answer, 0, self, name, "left");
        if (news.kind == CALL && strcmp(news.text, room_name) != 0) send_event(from, LEAVE, &answer);
        return;
    }
    switch (news.kind) {
    case LINE: take_line(&news); break;
    case WELCOME: take_welcome(&news); break;
    case NOTE: show("%s", news.text); break;
    case MEMBER: note_member(&news); break;
    case CALL: return; /* we are here */
    case JOINED:
        note_member(&news);
        show("* %s joined", news.name);
        break;
    case LEFT:
        note_leaving(&news);
        show("* %s %s", news.name, news.text);
        break;
    case RENAMED:
        note_member(&news);
        show("* %s is now %s", news.text, news.name);
        break;
    case FULL:
        forget_room();
        show("* room %s is full (%d); try another one", room_name, MEMBERS);
        return;
    case TOO_SLOW:
        show("* you read too slowly: the room was %d lines ahead", BACKLOG);
        flush();
        closed = 1;
        return;
    }
    if (++unacknowledged == ACK_EVERY) {
        send_to_room(ACK, "", unacknowledged);
        unacknowledged = 0;
    }
}

/* ---- what the user types ---- */

/* Has the name: found under it, and passes on what is sent to it. Ends with its session. */
LUNA_EXPORT("badge") void badge(int64_t session) {
    lunatic_process_monitor(session);
    while (lunatic_message_receive(NULL, 0, LUNA_FOREVER) == LUNA_DATA) lunatic_message_send(session);
}

static int take_name(const char *wanted) {
    int64_t made;
    if (!is_name(wanted)) {
        show("* a name has up to %d letters, digits, '-', '_' and '.'; try another one", NAME_BYTES);
        return 0;
    }
    /* Of all who want this name at this moment, in the whole cluster, one gets it. */
    int32_t status = find_or_spawn("chat/user/", wanted, "badge", LUNA_PARAMS(luna_i64(self)), &made);
    if (status != 0) {
        show(status == 2 ? "* somebody is called %s already; try another name"
                         : "* the name %s cannot be had now; try again", wanted);
        return 0;
    }
    if (badge_process != 0) lunatic_process_kill(badge_process);
    badge_process = made;
    strcpy(name, wanted);
    return 1;
}

static void send_private(char *rest) {
    char *text = strchr(rest, ' ');
    if (text == NULL) {
        show("* so: /msg NAME TEXT");
        return;
    }
    *text++ = 0;
    int64_t target = is_name(rest) ? find_process("chat/user/", rest) : -1;
    if (target < 0) {
        show("* nobody is called %s", rest);
        return;
    }
    event sent;
    make_event(&sent, 0, self, name, "%s", text);
    send_event(target, PRIVATE, &sent);
}

static void ask_rooms(void) {
    event asked;
    make_event(&asked, 0, self, name, "%s", "");
    lunatic_message_create_data(DESCRIBE, sizeof asked);
    put_event(&asked);
    int32_t count = luna_group_broadcast("chat/rooms", strlen("chat/rooms"));
    show("* %d %s:", count, count == 1 ? "room" : "rooms");
}

static void help(void) {
    show("* what you type goes to everybody in your room, but for these:\n"
         "*   /join ROOM       go to another room; it is made if need be\n"
         "*   /rooms           which rooms there are, and where they live\n"
         "*   /who             who is in your room, and on which node\n"
         "*   /nick NAME       call yourself something else\n"
         "*   /msg NAME TEXT   tell somebody something, in whatever room\n"
         "*   /quit            leave");
}

static void command(char *text) {
    char *rest = text + strcspn(text, " ");
    while (*rest == ' ') *rest++ = 0;
    if (strcmp(text, "/quit") == 0) {
        show("* goodbye");
        flush();
        closed = 1;
    } else if (strcmp(text, "/help") == 0) {
        help();
    } else if (strcmp(text, "/rooms") == 0) {
        ask_rooms();
    } else if (strcmp(text, "/who") == 0) {
        send_to_room(WHO, "", 0);
    } else if (strcmp(text, "/nick") == 0) {
        if (take_name(rest)) send_to_room(RENAME, "", 0);
    } else if (strcmp(text, "/msg") == 0) {
        send_private(rest);
    } else if (strcmp(text, "/join") != 0) {
        show("* there is no command %s; /help tells what there is", text);
    } else if (!is_name(rest)) {
        show("* a room's name has up to %d letters, digits, '-', '_' and '.'", NAME_BYTES);
    } else if (room_process == 0 || strcmp(rest, room_name) != 0) {
        change_room(rest);
    }
}

static void say(const char *text) {
    if (room_process == 0) {
        show("* you are in no room: /join ROOM");
        return;
    }
    event *line = &unconfirmed[unconfirmed_count++];
    make_event(line, LINE, self, name, "%s", text);
    line->number = ++last_line;
    send_event(room_process, SAY, line);
}

static void take_input(void) {
    event input;
    if (!get_event(&input)) return;
    switch (input.kind) {
    case INPUT_TEXT:
        if (name[0] == 0) {
            if (!take_name(input.text)) break;
            show("* hello %s; /help tells what you can do", name);
            strcpy(room_name, "lobby");
            enter(0);
        } else if (input.text[0] == '/') {
            command(input.text);
        } else if (input.text[0] != 0) {
            say(input.text);
        }
        break;
    case INPUT_LONG: show("* that line was too long (at most %d bytes) and goes nowhere", TEXT_BYTES); break;
    case INPUT_NO_TEXT: show("* that was no text (UTF-8) and goes nowhere"); break;
    case INPUT_SILENT:
        show(name[0] == 0 ? "* no name, no chat: goodbye" : "* you were silent for very long: goodbye");
        flush();
        closed = 1;
        return;
    default: closed = 1; return;
    }
    reader_waits = 1;
}

/* Lets the reader go on, a moment later, once few enough own lines are under way. */
static void allow_input(void) {
    if (!reader_waits || unconfirmed_count == UNCONFIRMED) return;
    int64_t patience = name[0] == 0 ? NAMELESS_MS : SILENCE_MS;
    lunatic_message_create_data(NEXT, sizeof patience);
    lunatic_message_write_data(&patience, sizeof patience);
    lunatic_timer_send_after(reader_process, PACE_MS);
    reader_waits = 0;
}

/* ---- one connection ---- */

static int begin(void) {
    if (lunatic_message_receive((int64_t[]){SOCKET}, 1, SOCKET_MS) != LUNA_DATA) return 0;
    stream = lunatic_message_take_tcp_stream(0);
    lunatic_networking_set_write_timeout(stream, WRITE_MS);
    self = lunatic_process_process_id();
    lunatic_process_die_when_link_dies(0);
    reader_process = luna_spawn("reader", READER_LINK, LUNA_OWN, LUNA_PARAMS(luna_i64(self)));
    if (reader_process < 0) return 0;
    lunatic_message_create_data(SOCKET, 0);
    lunatic_message_push_tcp_stream(lunatic_networking_clone_tcp_stream(stream));
    lunatic_message_send(reader_process);
    show("* welcome to the chat; you are connected to node %s", node_of(self));
    show("* what shall we call you?");
    reader_waits = 1;
    return 1;
}

LUNA_EXPORT("session") void session(void) {
    closed = !begin();
    while (!closed) {
        allow_input();
        int32_t kind = lunatic_message_receive(NULL, 0, output_bytes > 0 ? 0 : LUNA_FOREVER);
        if (kind == LUNA_TIMEOUT) {
            flush();
        } else if (kind == LUNA_LINK_DIED) {
            if (lunatic_message_get_tag() == READER_LINK) closed = 1;
        } else if (kind == LUNA_PROCESS_DIED) {
            if (room_process != 0 && lunatic_message_get_process_id() == room_process) enter(inside);
        } else if (lunatic_message_get_tag() == INPUT) {
            take_input();
        } else if (lunatic_message_get_tag() == FROM_ROOM) {
            take_event();
        } else if (lunatic_message_get_tag() == PRIVATE || lunatic_message_get_tag() == INFO) {
            event told;
            int is_private = lunatic_message_get_tag() == PRIVATE;
            if (!get_event(&told)) continue;
            if (is_private) show("[%s] %s", told.name, told.text);
            else show("%s", told.text);
        }
    }
    send_to_room(LEAVE, "left", 0);
    lunatic_process_unlink(reader_process); /* which waits for the network, and would for ever */
    lunatic_process_kill(reader_process);
}
