/* A room: one process, under the name "chat/room/NAME", on a node that follows from the name.
 *
 * Whatever is said in a room passes through its process, so everybody reads it in one order. The room
 * monitors its members, and they monitor it. When it is lost with its node, each member makes it anew (one of
 * them succeeds, on a node that is left), and brings along what it remembers: who was there, and the last
 * lines. Put together that is the room as it was.
 */
#include "chat.h"

#include <stdlib.h>

typedef enum { FREE, HERE, EXPECTED, GONE } presence; /* EXPECTED: others say so, it has not come yet */

typedef struct {
    int64_t session;
    presence state;
    int32_t behind; /* events sent and not acknowledged */
    int32_t slow;
    char name[NAME_BYTES + 1];
} member;

static member members[SLOTS];
static int32_t member_count; /* HERE and EXPECTED */
static memory history;
static numbers_seen accepted;
static char room_name[NAME_BYTES + 1];

/* ---- members ---- */

static member *find_member(int64_t session) {
    for (int i = 0; i < SLOTS; i++)
        if (members[i].state != FREE && members[i].session == session) return &members[i];
    return NULL;
}

/* A place for one more, at the cost of somebody who left; NULL when the room is full. */
static member *add_member(int64_t session, const char *name, presence state) {
    static int next; /* those who left longest ago make room first, roughly */
    if (member_count == MEMBERS) return NULL;
    for (;;) {
        member *slot = &members[next++ % SLOTS];
        if (slot->state == HERE || slot->state == EXPECTED) continue;
        *slot = (member){.session = session, .state = state};
        strcpy(slot->name, name);
        member_count++;
        lunatic_process_monitor(session); /* one that is dead already is told at once */
        return slot;
    }
}

static void begin_message(const event *first) {
    int64_t self = lunatic_process_process_id();
    lunatic_message_create_data(FROM_ROOM, sizeof self + sizeof *first);
    lunatic_message_write_data(&self, sizeof self);
    put_event(first);
}

static void send_to(member *to, const event *sent) {
    begin_message(sent);
    lunatic_message_send(to->session);
    if (++to->behind > BACKLOG) to->slow = 1;
}

static void send_to_all(const event *sent) {
    for (int i = 0; i < SLOTS; i++)
        if (members[i].state == HERE) send_to(&members[i], sent);
}

static void remove_member(member *leaving, const char *how) {
    event left;
    if (leaving->state == GONE) return;
    make_event(&left, LEFT, leaving->session, leaving->name, "%s", how);
    leaving->state = GONE;
    member_count--;
    lunatic_process_stop_monitoring(leaving->session);
    send_to_all(&left);
}

/* Puts out who reads too slowly; that is news for the others, who may be too slow for that. */
static void remove_slow(void) {
    for (int i = 0; i < SLOTS; i++) {
        if (members[i].state != HERE || !members[i].slow) continue;
        event notice;
        make_event(&notice, TOO_SLOW, members[i].session, "", "%s", "");
        send_to(&members[i], &notice);
        remove_member(&members[i], "reads too slowly and was put out");
        i = -1; /* from the beginning */
    }
}

static void publish(const event *line) {
    if (!is_new(&accepted, line)) return; /* a member that rejoins brings what others brought */
    remember(&history, line);
    send_to_all(line);
}

/* ---- what members ask for ---- */

static event brought[HISTORY + MEMBERS]; /* with a JOIN; too large for the stack */
static numbers_seen theirs;

static void welcome(member *to, int64_t again) {
    event first, other;
    make_event(&first, WELCOME, to->session, to->name, "%s", "");
    first.number = again;
    begin_message(&first);
    for (int i = 0; i < SLOTS; i++) {
        if (members[i].state != HERE && members[i].state != EXPECTED) continue;
        make_event(&other, MEMBER, members[i].session, members[i].name, "%s", "");
        put_event(&other);
    }
    lunatic_message_send(to->session);
    to->behind++;

    int64_t place = oldest(&history);
    if (!again && history.count - SHOWN > place) place = history.count - SHOWN;
    for (; place < history.count; place++) {
        const event *line = line_at(&history, place);
        if (line->number > last_number(&theirs, line->who)) send_to(to, line);
    }
}

/* Somebody says that this one was a member before the room was lost. */
static void expect(const event *who, const event *from) {
    member *known = find_member(who->who);
    event call;
    if (known == NULL && add_member(who->who, who->name, EXPECTED) != NULL) {
        send_to_all(who);
        make_event(&call, CALL, who->who, "", "%s", room_name);
        begin_message(&call);
        lunatic_message_send(who->who);
    } else if (known != NULL && known->state == GONE) {
        make_event(&call, LEFT, who->who, who->name, "is gone");
        begin_message(&call);
        lunatic_message_send(from->who);
    }
}

static void join(const event *from) {
    int count = 0;
    while (count < HISTORY + MEMBERS && get_event(&brought[count])) count++;

    member *joining = find_member(from->who);
    int was_gone = joining != NULL && joining->state == GONE; /* and everybody was told so */
    if (was_gone) {
        joining->state = FREE;
        joining = NULL;
    }
    if (joining == NULL) joining = add_member(from->who, from->name, EXPECTED);
    if (joining == NULL) {
        event full;
        make_event(&full, FULL, from->who, "", "%s", "");
        begin_message(&full);
        lunatic_message_send(from->who);
        return;
    }
    strcpy(room_name, from->text);
    strcpy(joining->name, from->name);
    memset(&theirs, 0, sizeof theirs);
    for (int i = 0; i < count; i++) {
        if (brought[i].kind != LINE) continue;
        publish(&brought[i]);
        is_new(&theirs, &brought[i]);
    }
    event news;
    make_event(&news, from->number && !was_gone ? MEMBER : JOINED, from->who, from->name, "%s", "");
    send_to_all(&news);
    joining->state = HERE;
    joining->behind = joining->slow = 0;
    welcome(joining, from->number);
    for (int i = 0; i < count; i++)
        if (brought[i].kind == MEMBER && brought[i].who != from->who) expect(&brought[i], from);
}

static void tell_who(member *asker) {
    event note;
    make_event(&note, NOTE, 0, "", "* %d here:", member_count);
    for (int i = 0; i < SLOTS; i++) {
        char item[NAME_BYTES + 80];
        if (members[i].state != HERE && members[i].state != EXPECTED) continue;
        uint32_t length = snprintf(item, sizeof item, " %s (on %s)", members[i].name, node_of(members[i].session));
        if (note.text_bytes + length > TEXT_BYTES) {
            send_to(asker, &note);
            make_event(&note, NOTE, 0, "", "*");
        }
        strcpy(note.text + note.text_bytes, item);
        note.text_bytes += length;
    }
    send_to(asker, &note);
}

static void describe(const event *asker) {
    event info;
    make_event(&info, NOTE, 0, "", "*   %s: %d %s, on node %s", room_name, member_count,
               member_count == 1 ? "user" : "users", node_of(lunatic_process_process_id()));
    send_event(asker->who, INFO, &info);
}

static void serve(int64_t tag, const event *from) {
    member *sender = find_member(from->who);
    if (tag == JOIN) {
        join(from);
    } else if (tag == DESCRIBE) {
        describe(from);
    } else if (sender == NULL || sender->state == GONE) {
        return; /* it was put out, and will hear of it */
    } else if (tag == LEAVE) {
        remove_member(sender, from->text);
    } else if (tag == SAY && sender->state == HERE) {
        publish(from);
    } else if (tag == RENAME) {
        event news;
        make_event(&news, RENAMED, from->who, from->name, "%s", sender->name);
        strcpy(sender->name, from->name);
        send_to_all(&news);
    } else if (tag == WHO) {
        tell_who(sender);
    } else if (tag == ACK) {
        sender->behind = sender->behind > from->number ? sender->behind - (int32_t)from->number : 0;
    }
}

LUNA_EXPORT("room") void room(void) {
    event from;
    luna_group_join("chat/rooms", strlen("chat/rooms"));
    for (;;) {
        int32_t kind = lunatic_message_receive(NULL, 0, EMPTY_MS);
        if (kind == LUNA_TIMEOUT && member_count == 0) return;
        if (kind == LUNA_DATA && get_event(&from)) serve(lunatic_message_get_tag(), &from);
        if (kind == LUNA_PROCESS_DIED) {
            member *dead = find_member(lunatic_message_get_process_id());
            int lost = luna_message_exit_reason() == LUNA_EXIT_NO_CONNECTION;
            if (dead != NULL) remove_member(dead, lost ? "is gone: their node was lost" : "is gone");
        }
        remove_slow();
    }
}

/* ---- finding and making rooms ---- */

/* What a node scores for a name. The highest score has the room: all sessions choose the same node, names
 * spread over the nodes, and when a node goes only the rooms it had move. */
static uint64_t score(const char *name, int64_t node) {
    uint64_t mixed = (uint64_t)node * 0x9e3779b97f4a7c15u;
    for (; *name; name++) mixed = (mixed ^ (unsigned char)*name) * 0xff51afd7ed558ccdu;
    mixed = (mixed ^ mixed >> 33) * 0xc4ceb9fe1a85ec53u;
    return mixed ^ mixed >> 33;
}

static int64_t node_for(const char *name) {
    int64_t nodes[NODES], best = lunatic_distributed_node_id();
    int32_t count = lunatic_distributed_get_nodes(nodes, NODES);
    for (int32_t i = 0; i < count; i++)
        if (score(name, nodes[i]) > score(name, best)) best = nodes[i];
    return best;
}

/* Runs on the node that shall have the room, since find_or_spawn spawns where it is called. Of several makers
 * at once, wherever they are, one makes the room and the others find it. */
LUNA_EXPORT("maker") void maker(int64_t session) {
    event wanted;
    int64_t made;
    if (lunatic_message_receive(NULL, 0, START_MS) != LUNA_DATA || !get_event(&wanted)) exit(1);
    if (find_or_spawn("chat/room/", wanted.name, "room", LUNA_NO_PARAMS, &made) == 1) made = -1;
    luna_send(session, ROOM_MADE, &made, sizeof made);
}

int64_t find_room(const char *name) {
    int64_t found = find_process("chat/room/", name);
    if (found >= 0) return found;

    int64_t making = start_on(node_for(name), "maker", MAKER_LINK,
                              LUNA_PARAMS(luna_i64(lunatic_process_process_id())));
    if (making < 0) return -1;
    event wanted;
    make_event(&wanted, 0, 0, name, "%s", "");
    send_event(making, 0, &wanted);
    /* One of the two comes: the answer, or over the link that there will be none. */
    int64_t tags[] = {ROOM_MADE, MAKER_LINK};
    if (lunatic_message_receive(tags, 2, LUNA_FOREVER) != LUNA_DATA) return -1;
    return get_number();
}
