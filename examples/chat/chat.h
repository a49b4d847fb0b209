/* What the parts of the chat share: limits, and the messages that pass between their processes.
 *
 *   door.c       listens on every node, and brings the chat to nodes that come up
 *   session.c    one process for each user: what is typed, and what is shown
 *   reader.c     one more for each user: waits for the next line of the connection
 *   room.c       one process for each room, on a node that follows from its name
 *   messages.c   the messages, put together and taken apart
 *
 * docs/chat.md is a walk through all of it.
 */
#ifndef CHAT_H
#define CHAT_H

#include "luna.h"

#include <stddef.h>
#include <string.h>

enum {
    /* What people may write */
    NAME_BYTES = 24,          /* of a user or a room: letters, digits, '-', '_' and '.' */
    TEXT_BYTES = 400,         /* of one line: a paragraph, and small enough to be kept by the hundred */
    DISCARD_BYTES = 65536,    /* of one line that is too long: who sends more than that is no person */
    PACE_MS = 20,             /* between two lines of a user: 50 a second, more than anybody types */
    NAMELESS_MS = 60 * 1000,  /* for saying who one is */
    SILENCE_MS = 60 * 60 * 1000, /* of a user, until the connection is taken for forgotten */
    WRITE_MS = 5000,          /* that a connection may take no bytes at all */

    /* What a room keeps */
    MEMBERS = 128,            /* of one room */
    SLOTS = 2 * MEMBERS,      /* members, and those who left lately, so that nobody is told of them twice */
    HISTORY = 256,            /* lines that a room and each of its members remember */
    SHOWN = 20,               /* of these, to somebody new */
    BACKLOG = 192,            /* events a member may be behind before it is put out; below HISTORY, so that
                                 whatever one member lacks when the room is lost, all others remember */
    ACK_EVERY = 16,           /* events after which a member tells the room that it has read them */
    SPEAKERS = 512,           /* whose last line is remembered, to know what was seen already */
    UNCONFIRMED = 16,         /* own lines under way to the room; then the user waits */
    EMPTY_MS = 10 * 60 * 1000, /* that a room stays when nobody is in it */

    /* The cluster */
    NODES = 256,
    ENTER_TRIES = 100,        /* to find or make a room, while nodes come and go ... */
    ENTER_PAUSE_MS = 200,     /* ... and the pause between them: 20 seconds */
    PORTS = 10,               /* tried from the given one on: several nodes may be on one machine */
    START_MS = 10000,         /* for something on this or another node to begin */
    RESTART_MS = 1000,        /* before a door that failed is opened again */
    NEW_NODE_MS = 1000,       /* after a node is up; who starts the chat has brought it to all by then, in order */
    PATH_BYTES = 64,          /* of a registered name: "chat/user/" and a name */
};

/* Tags. Behind each: who sends it, and what comes with it. */
enum {
    SOCKET = 1,   /* door to session, session to reader: the connection */
    NEXT,         /* session to reader: give me the next line; i64: milliseconds to wait for it */
    INPUT,        /* reader to session: event, of a kind of input */
    PRIVATE,      /* session to badge to session: event */
    FROM_ROOM,    /* room to session: i64 room, event; after WELCOME an event for each member */
    INFO,         /* room to session: event; its text is the answer to DESCRIBE */
    ROOM_MADE,    /* maker to session: i64 room, or -1 */

    JOIN,         /* session to room: event (number: 1 again, after the room was lost; text: the room's
                     name), then events of what the session knows: MEMBER and LINE */
    LEAVE,        /* the rest, too: event */
    SAY,
    RENAME,       /* name: the new one */
    WHO,
    ACK,          /* number: events read */
    DESCRIBE,     /* also from who is no member */

    NEWS,         /* of nodes: luna_node_subscribe */
    NEW_NODE,     /* keeper to itself, a moment later: i64 node */
    BOUND,        /* door to keeper: i64 port */
    ASK,          /* start to keeper: i64 who wants to know the address */
    ADDRESS,      /* keeper to main: address */

    READER_LINK,  /* tags of links */
    DOOR_LINK,
    MAKER_LINK,
};

/* Kinds of events. */
enum {
    LINE = 1,     /* who said it, as the number-th of its lines */
    WELCOME,      /* you are in; number: 1 again */
    JOINED,
    LEFT,         /* text: how */
    RENAMED,      /* name: the new one, text: the old one */
    MEMBER,       /* who is there, without saying so to people */
    CALL,         /* are you still here? I was told you are; text: the room's name */
    NOTE,         /* text is for the user as it is */
    FULL,         /* you cannot come in */
    TOO_SLOW,     /* you are out */

    INPUT_TEXT,   /* kinds of input: a good line, */
    INPUT_LONG,   /* a longer one than allowed, */
    INPUT_NO_TEXT, /* one with bytes that are no text, */
    INPUT_SILENT, /* no line in time: the last one of a reader, as is */
    INPUT_ENDED,  /* the end of the connection */
};

typedef struct {
    int64_t who;         /* the process of the user it is about */
    int64_t number;
    int32_t kind;
    uint32_t text_bytes; /* only so much of the text is sent */
    char name[NAME_BYTES + 1];
    char text[TEXT_BYTES + 1];
} event;

/* An event with a text made by printf; one that is too long is cut off. */
__attribute__((format(printf, 5, 6)))
void make_event(event *made, int32_t kind, int64_t who, const char *name, const char *format, ...);

/* Appends an event to the message in the making. */
void put_event(const event *source);

/* Reads the next event of the message received; 0 when there is none. */
int get_event(event *target);

/* Sends an event as a message of its own. */
void send_event(int64_t process, int64_t tag, const event *sent);

/* Reads a number; 0 when there is none. */
int64_t get_number(void);

/* The last number of each speaker. Clear with memset. */
typedef struct {
    struct { int64_t who, number, at; } speakers[SPEAKERS];
    int64_t now;
} numbers_seen;

/* The last number noted of a speaker; 0 for an unknown one. */
int64_t last_number(const numbers_seen *seen, int64_t who);

/* Whether a line is newer than all of its speaker so far; from now on it is not. */
int is_new(numbers_seen *seen, const event *line);

/* The latest lines. Clear with memset. */
typedef struct {
    event lines[HISTORY];
    int64_t count; /* of all that were ever kept */
} memory;

void remember(memory *kept, const event *line);

/* The line at a place from oldest() to count - 1. */
const event *line_at(const memory *kept, int64_t place);
int64_t oldest(const memory *kept);

/* The name of the node a process lives on, or lived on lately. Good until the next call. */
const char *node_of(int64_t process);

/* The process that is registered under PREFIX and NAME, on whatever node; -1 if there is none. */
int64_t find_process(const char *prefix, const char *name);

/* As that, but makes the process here if there is none: 0 it is new, 2 it was there, 1 it cannot be made. */
int32_t find_or_spawn(const char *prefix, const char *name, const char *entry, const luna_value *params,
                      uint32_t params_len, int64_t *process);

/* Starts an entry on a node, monitored and linked (tag 0: not linked); -1 when that cannot be. */
int64_t start_on(int64_t node, const char *entry, int64_t link_tag, const luna_value *params,
                 uint32_t params_len);

/* Whether a text may be the name of a user or of a room. */
int is_name(const char *text);

/* The process of a room, wherever it is; makes it if need be. -1 when that did not work now. */
int64_t find_room(const char *name);

#endif
