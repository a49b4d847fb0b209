//! A session: one process for each user, on the node the user is connected to.
//!
//! It shows what comes from the room, and does what the user types. When the room's process is lost, it finds or
//! makes it again, and goes on. What it remembers for that: the last lines of the room and who is in it, and its
//! own lines that the room has not confirmed, by sending them round.

use std::collections::VecDeque;
use std::io::Write;
use std::time::Duration;

use lunatic::ap::handlers::Message;
use lunatic::ap::{AbstractProcess, Config, MessageHandler, ProcessRef, State};
use lunatic::net::TcpStream;
use lunatic::panic::catch_panic;
use lunatic::serializer::Bincode;
use lunatic::{distributed, sleep, Mailbox, MailboxError, MessageSignal, Process, Signal};
use serde::{Deserialize, Serialize};

use crate::door::{DescribeRooms, Keeper};
use crate::messages::*;
use crate::reader::{reader, Next};
use crate::room::{self, Ack, Join, Leave, Rename, Room, Say, Who};

type Inbox = Mailbox<ToSession, Bincode, Signal>;

struct Session {
    this: User,
    inbox: Inbox,
    stream: TcpStream,
    reader: Process<Next>,
    reader_waits: bool,
    closed: bool,
    output: Vec<u8>,

    name: String,
    badge: Option<ProcessRef<Badge>>,

    room: Option<ProcessRef<Room>>,
    room_name: String,
    room_node: u64,
    /// The room has welcomed us.
    inside: bool,
    unacknowledged: usize,
    lines: Memory,
    shown: Seen,
    roster: Vec<Member>,

    unconfirmed: VecDeque<Line>,
    last_number: u64,
}

/// Has the name of a user: found under it, and passes on what is sent to it.
pub struct Badge(User);

#[derive(Serialize, Deserialize)]
pub struct Private {
    from: String,
    text: String,
}

impl AbstractProcess for Badge {
    type Arg = (User, String);
    type State = Self;
    type Serializer = Bincode;
    type Handlers = (Message<Private>,);
    type StartupError = ();

    fn init(config: Config<Self>, (user, name): (User, String)) -> Result<Self, ()> {
        config.self_ref().register(&ready(&name));
        Ok(Badge(user))
    }
}

impl MessageHandler<Private> for Badge {
    fn handle(state: State<Self>, Private { from, text }: Private) {
        state.0.send(ToSession::Private { from, text });
    }
}

/// The whole life of one connection.
pub fn session(_: (), mailbox: Mailbox<ToSession>) {
    let Ok(ToSession::Socket(mut stream)) = mailbox.receive_timeout(START) else { return };
    if stream.set_write_timeout(Some(WRITE)).is_err() {
        return;
    }
    let this = mailbox.this();
    let inbox = mailbox.catch_link_failure().monitorable();
    let reader = Process::spawn_link_tag((this, stream.clone()), tag(READER), reader);
    let mut session = Session {
        this,
        inbox,
        stream,
        reader,
        reader_waits: true,
        closed: false,
        output: Vec::new(),
        name: String::new(),
        badge: None,
        room: None,
        room_name: String::new(),
        room_node: 0,
        inside: false,
        unacknowledged: 0,
        lines: Memory::default(),
        shown: Seen::default(),
        roster: Vec::new(),
        unconfirmed: VecDeque::new(),
        last_number: 0,
    };
    session.show(&format!("* welcome to the chat; you are connected to node {}", node_name(this.node_id())));
    session.show("* what shall we call you?");
    session.serve();
    session.end();
}

impl Session {
    fn serve(&mut self) {
        while !self.closed {
            self.allow_input();
            // Everything there is to show goes out in one write, as soon as no message waits.
            let patience = if self.output.is_empty() { Duration::MAX } else { Duration::ZERO };
            let received = match patience {
                Duration::ZERO => self.inbox.receive_timeout(patience),
                _ => self.inbox.try_receive(),
            };
            match received {
                Err(MailboxError::TimedOut) => self.flush(),
                Err(MailboxError::DeserializationFailed(_)) => {} // from nobody of ours
                Ok(MessageSignal::Message(message)) => self.take(message),
                Ok(MessageSignal::Signal(Signal::LinkDied(link))) => self.closed |= link == tag(READER),
                Ok(MessageSignal::Signal(Signal::ProcessDied(id))) => {
                    if self.room.is_some_and(|room| room.id() == id) {
                        self.enter(self.inside);
                    }
                }
            }
        }
    }

    fn end(&mut self) {
        self.leave_room("left");
        if let Some(badge) = self.badge {
            badge.unlink();
            badge.kill();
        }
        self.reader.unlink(); // it waits for the network, and would for ever
        self.reader.kill();
    }

    fn take(&mut self, message: ToSession) {
        match message {
            ToSession::Input(input) => self.take_input(input),
            ToSession::Room(room, event) => self.take_event(room, event),
            ToSession::Private { from, text } => self.show(&format!("[{from}] {text}")),
            ToSession::Info(text) => self.show(&text),
            ToSession::Socket(_) | ToSession::RoomMade(_) => {}
        }
    }

    // ---- what the user sees ----

    fn show(&mut self, text: &str) {
        self.output.extend_from_slice(text.as_bytes());
        self.output.push(b'\n');
        if self.output.len() > SHOW_BYTES {
            self.flush();
        }
    }

    /// Ends the session when the connection is gone, or takes nothing for a while.
    fn flush(&mut self) {
        if !self.closed && self.stream.write_all(&self.output).is_err() {
            self.closed = true;
        }
        self.output.clear();
    }

    fn say_goodbye(&mut self, text: &str) {
        self.show(text);
        self.flush();
        self.closed = true;
    }

    // ---- the room ----

    fn member(&self) -> Member {
        Member { user: self.this, name: self.name.clone() }
    }

    fn leave_room(&mut self, how: &str) {
        if let Some(room) = self.room {
            room.send(Leave { user: self.this, how: how.to_string() });
        }
        self.forget_room();
    }

    fn forget_room(&mut self) {
        if let Some(room) = self.room.take() {
            self.stop_monitoring(room);
        }
        self.inside = false;
        self.lines = Memory::default();
        self.shown = Seen::default();
        self.roster.clear();
        self.unconfirmed.clear();
    }

    fn monitor(&self, room: ProcessRef<Room>) {
        unsafe { lunatic::host::api::process::monitor(room.id()) };
    }

    fn stop_monitoring(&self, room: ProcessRef<Room>) {
        unsafe { lunatic::host::api::process::stop_monitoring(room.id()) };
    }

    /// Joins the room `room_name`; again, when it was lost, with what is remembered of it.
    fn enter(&mut self, again: bool) {
        self.flush(); // it may take a while
        let lost = self.room;
        for attempt in 0..ENTER_TRIES {
            if attempt > 0 {
                sleep(ENTER_PAUSE);
            }
            // For a moment after a node is lost the name may stand for the dead room; but if only the connection
            // to its node was lost, and is back, it is the living one.
            let Some(found) = self.find_room().filter(|&found| Some(found) != lost || room::exists(found)) else {
                continue;
            };
            self.room = Some(found);
            self.unacknowledged = 0;
            self.monitor(found);
            found.send(Join {
                member: self.member(),
                again,
                lines: self.lines.0.iter().cloned().collect(),
                roster: self.roster.clone(),
            });
            self.unconfirmed.iter().for_each(|line| found.send(Say(line.clone())));
            return;
        }
        self.forget_room();
        self.show(&format!("* room {0} cannot be reached now; try again with /join {0}", self.room_name));
    }

    /// The process of the room, wherever it is; makes it if need be.
    fn find_room(&self) -> Option<ProcessRef<Room>> {
        if let Some(found) = ProcessRef::<Room>::lookup(&ready(&self.room_name)) {
            return Some(found);
        }
        let wanted = (self.this, self.room_name.clone());
        let node = room::node_for(&self.room_name);
        // It panics where the node is gone.
        let maker = catch_panic(|| Process::spawn_node(node, wanted, room::maker)).ok()?;
        link_with(maker, tag(MAKER));
        // One of the two comes: the answer, or over the link that there will be none.
        match self.inbox.tag_receive(&[tag(MAKER)]) {
            MessageSignal::Message(ToSession::RoomMade(made)) => made,
            _ => None,
        }
    }

    fn take_event(&mut self, from: ProcessRef<Room>, event: Event) {
        if self.room != Some(from) {
            // A room made anew was told that we are there: not if we have changed rooms meanwhile.
            if matches!(event, Event::Call(name) if name != self.room_name) {
                from.send(Leave { user: self.this, how: "left".to_string() });
            }
            return;
        }
        match event {
            Event::Line(line) => self.take_line(line),
            Event::Welcome { again, roster } => self.take_welcome(from, again, roster),
            Event::Present(who) => self.note_member(who),
            Event::Joined(who) => {
                self.show(&format!("* {} joined", who.name));
                self.note_member(who);
            }
            Event::Left { who, how } => {
                self.show(&format!("* {} {how}", who.name));
                self.roster.retain(|member| member.user != who.user);
            }
            Event::Renamed { who, before } => {
                self.show(&format!("* {before} is now {}", who.name));
                self.note_member(who);
            }
            Event::Call(_) => return,
            Event::Note(text) => self.show(&text),
            Event::Full => {
                self.forget_room();
                return self.show(&format!("* room {} is full ({MEMBERS}); try another one", self.room_name));
            }
            Event::TooSlow => {
                return self.say_goodbye(&format!("* you read too slowly: the room was {BACKLOG} lines ahead"));
            }
        }
        self.unacknowledged += 1;
        if self.unacknowledged == ACK_EVERY {
            from.send(Ack { user: self.this, count: self.unacknowledged });
            self.unacknowledged = 0;
        }
    }

    fn note_member(&mut self, who: Member) {
        self.roster.retain(|member| member.user != who.user);
        self.roster.push(who);
    }

    fn take_welcome(&mut self, room: ProcessRef<Room>, again: bool, roster: Vec<Member>) {
        let (name, node) = (&self.room_name, node_name(room_node(room)));
        let text = if !again {
            format!("* you are in room {name}, which lives on node {node}; {} here", roster.len())
        } else if room_node(room) != self.room_node {
            format!("* room {name} moved to node {node}")
        } else {
            format!("* room {name} is back, on node {node}")
        };
        self.show(&text);
        self.roster = roster;
        self.room_node = room_node(room);
        self.inside = true;
    }

    fn take_line(&mut self, line: Line) {
        if !self.shown.is_new(&line) {
            return; // another member brought it to the new room
        }
        let before = self.unconfirmed.len();
        if line.user == self.this {
            self.unconfirmed.retain(|own| own.number > line.number);
        }
        if self.unconfirmed.len() == before {
            // Of others, or an own one of earlier, out of the history.
            self.show(&format!("<{}> {}", line.name, line.text));
        }
        self.lines.keep(line);
    }

    // ---- what the user types ----

    fn take_input(&mut self, input: Input) {
        self.reader_waits = true;
        match input {
            Input::Line(text) if self.name.is_empty() => self.introduce(&text),
            Input::Line(text) if text.starts_with('/') => self.command(&text),
            Input::Line(text) if text.is_empty() => {}
            Input::Line(text) => self.say(text),
            Input::TooLong => {
                self.show(&format!("* that line was too long (at most {TEXT_BYTES} bytes) and goes nowhere"));
            }
            Input::NoText => self.show("* that was no text (UTF-8) and goes nowhere"),
            Input::Silent if self.name.is_empty() => self.say_goodbye("* no name, no chat: goodbye"),
            Input::Silent => self.say_goodbye("* you were silent for very long: goodbye"),
            Input::Ended => self.closed = true,
        }
    }

    /// Lets the reader go on, a moment later, once few enough own lines are under way.
    fn allow_input(&mut self) {
        if self.reader_waits && self.unconfirmed.len() < UNCONFIRMED {
            self.reader.send_after(if self.name.is_empty() { NAMELESS } else { SILENCE }, PACE);
            self.reader_waits = false;
        }
    }

    fn introduce(&mut self, wanted: &str) {
        if self.take_name(wanted) {
            self.show(&format!("* hello {wanted}; /help tells what you can do"));
            self.room_name = "lobby".to_string();
            self.enter(false);
        }
    }

    fn take_name(&mut self, wanted: &str) -> bool {
        if !is_name(wanted) {
            self.show(&format!(
                "* a name has up to {NAME_BYTES} letters, digits, '-', '_' and '.'; try another one"
            ));
            return false;
        }
        // Of all who want this name at this moment, in the whole cluster, one gets it.
        let Ok(made) = Badge::link().start_as(&wanted, (self.this, wanted.to_string())) else {
            self.show(&format!("* somebody is called {wanted} already; try another name"));
            return false;
        };
        if let Some(before) = self.badge.replace(made) {
            before.unlink();
            before.kill();
        }
        self.name = wanted.to_string();
        true
    }

    fn say(&mut self, text: String) {
        let Some(room) = self.room else { return self.show("* you are in no room: /join ROOM") };
        self.last_number += 1;
        let line = Line { user: self.this, number: self.last_number, name: self.name.clone(), text };
        self.unconfirmed.push_back(line.clone());
        room.send(Say(line));
    }

    fn command(&mut self, text: &str) {
        let (command, rest) = text.split_once(' ').unwrap_or((text, ""));
        let rest = rest.trim_start();
        match (command, self.room) {
            ("/quit", _) => self.say_goodbye("* goodbye"),
            ("/help", _) => self.show(
                "* what you type goes to everybody in your room, but for these:\n\
                 *   /join ROOM       go to another room; it is made if need be\n\
                 *   /rooms           which rooms there are, and where they live\n\
                 *   /who             who is in your room, and on which node\n\
                 *   /nick NAME       call yourself something else\n\
                 *   /msg NAME TEXT   tell somebody something, in whatever room\n\
                 *   /quit            leave",
            ),
            ("/rooms", _) => self.ask_rooms(),
            ("/who", Some(room)) => room.send(Who(self.this)),
            ("/who", None) => self.show("* you are in no room: /join ROOM"),
            ("/nick", room) => {
                if let (true, Some(room)) = (self.take_name(rest), room) {
                    room.send(Rename(self.member()));
                }
            }
            ("/msg", _) => self.send_private(rest),
            ("/join", _) if !is_name(rest) => {
                self.show(&format!("* a room's name has up to {NAME_BYTES} letters, digits, '-', '_' and '.'"));
            }
            ("/join", Some(_)) if rest == self.room_name => {}
            ("/join", _) => {
                self.leave_room("left for another room");
                self.room_name = rest.to_string();
                self.enter(false);
            }
            _ => self.show(&format!("* there is no command {command}; /help tells what there is")),
        }
    }

    fn ask_rooms(&mut self) {
        self.show("* rooms:");
        for node in distributed::nodes() {
            if let Some(keeper) = ProcessRef::<Keeper>::lookup(&ready(&Keeper::name_on(node))) {
                keeper.send(DescribeRooms(self.this));
            }
        }
    }

    fn send_private(&mut self, rest: &str) {
        let Some((name, text)) = rest.split_once(' ') else { return self.show("* so: /msg NAME TEXT") };
        match ProcessRef::<Badge>::lookup(&ready(name)) {
            Some(badge) => badge.send(Private { from: self.name.clone(), text: text.to_string() }),
            None => self.show(&format!("* nobody is called {name}")),
        }
    }
}

/// The node a room lives on: the upper bits of its process id, for a name tells the process only.
fn room_node(room: ProcessRef<Room>) -> u64 {
    room.id() >> 40
}
