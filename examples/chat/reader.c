/* The reader: takes lines from one connection, one at a time, when its session asks for the next.
 *
 * It is a process of its own because it waits for the network while its session waits for messages. Since it
 * reads no further than it is asked to, a user who sends faster than allowed is held back by TCP, and costs
 * the node no memory.
 */
#include "chat.h"

enum { READ_BYTES = 1024 };

static int64_t stream;
static unsigned char unread[READ_BYTES];
static int64_t unread_from, unread_to;

/* The next byte of the connection; a kind of input, negative, when there is none. */
static int32_t next_byte(void) {
    if (unread_from == unread_to) {
        int64_t count = 0;
        int32_t status = lunatic_networking_tcp_read(stream, unread, sizeof unread, &count);
        if (status == LUNA_TIMEOUT) return -INPUT_SILENT;
        if (status != 0) lunatic_error_drop(count);
        if (status != 0 || count == 0) return -INPUT_ENDED;
        unread_from = 0;
        unread_to = count;
    }
    return unread[unread_from++];
}

/* Whether bytes are UTF-8 without control characters, which could do anything to a terminal. */
static int is_text(const char *text, uint32_t length) {
    const unsigned char *at = (const unsigned char *)text, *end = at + length;
    while (at < end) {
        uint32_t code = *at++;
        int more = code < 0x80 ? 0 : code >= 0xf0 ? 3 : code >= 0xe0 ? 2 : 1;
        if (code >= 0xf8 || (code >= 0x80 && code < 0xc0) || end - at < more) return 0;
        if (more) code &= 0x3f >> more;
        for (int i = 0; i < more; i++, at++) {
            if ((*at & 0xc0) != 0x80) return 0;
            code = code << 6 | (*at & 0x3f);
        }
        static const uint32_t least[] = {0, 0x80, 0x800, 0x10000}; /* of a code with so many more bytes */
        if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return 0;
        if ((code < 0x20 && code != '\t') || (code >= 0x7f && code < 0xa0)) return 0;
    }
    return 1;
}

static int32_t read_line(event *line) {
    uint32_t length = 0, discarded = 0;
    for (;;) {
        int32_t byte = next_byte();
        if (byte < 0) return -byte;
        if (byte == '\n') break;
        if (length < TEXT_BYTES) {
            line->text[length++] = (char)byte;
        } else if (byte != '\r' && ++discarded > DISCARD_BYTES) {
            return INPUT_ENDED;
        }
    }
    if (discarded > 0) return INPUT_LONG;
    if (length > 0 && line->text[length - 1] == '\r') length--; /* of telnet */
    if (!is_text(line->text, length)) return INPUT_NO_TEXT;
    line->text[length] = 0;
    line->text_bytes = length;
    return INPUT_TEXT;
}

LUNA_EXPORT("reader") void reader(int64_t session) {
    int64_t tag = SOCKET;
    lunatic_message_receive(&tag, 1, LUNA_FOREVER);
    stream = lunatic_message_take_tcp_stream(0);
    event line;
    do {
        tag = NEXT;
        lunatic_message_receive(&tag, 1, LUNA_FOREVER);
        lunatic_networking_set_read_timeout(stream, get_number());
        make_event(&line, 0, session, "", "");
        line.kind = read_line(&line);
        send_event(session, INPUT, &line);
    } while (line.kind != INPUT_SILENT && line.kind != INPUT_ENDED);
}
