//! A room: one process, registered under its name, on a node that follows from the name.
//!
//! Whatever is said in a room passes through its process, so everybody reads it in one order. The room links to
//! its members, and they monitor it. When it is lost with its node, each member makes it anew (one of them
//! succeeds, on a node that is left), and brings along what it remembers: who was there, and the last lines.
//! Put together that is the room as it was.

use std::collections::VecDeque;

use lunatic::ap::handlers::Message;
use lunatic::ap::{AbstractProcess, Config, MessageHandler, ProcessRef, StartupError, State};
use lunatic::serializer::Bincode;
use lunatic::{distributed, Mailbox, Tag};
use serde::{Deserialize, Serialize};

use crate::door::{Keeper, RoomOpened};
use crate::messages::*;

pub struct Room {
    this: ProcessRef<Room>,
    name: String,
    places: Vec<Place>,
    departed: VecDeque<User>,
    history: Memory,
    accepted: Seen,
    empty_looks: u32,
    listed: bool,
}

struct Place {
    member: Member,
    link: Tag,
    /// False: others say that it is here, but it has not come yet.
    here: bool,
    /// Events sent and not acknowledged.
    behind: usize,
}

// ---- what is asked of a room ----

#[derive(Serialize, Deserialize)]
pub struct Join {
    pub member: Member,
    /// It was there before the room was lost, and brings what it knows.
    pub again: bool,
    pub lines: Vec<Line>,
    pub roster: Vec<Member>,
}

#[derive(Serialize, Deserialize)]
pub struct Leave {
    pub user: User,
    pub how: String,
}

#[derive(Serialize, Deserialize)]
pub struct Say(pub Line);

#[derive(Serialize, Deserialize)]
pub struct Rename(pub Member);

#[derive(Serialize, Deserialize)]
pub struct Who(pub User);

#[derive(Serialize, Deserialize)]
pub struct Ack {
    pub user: User,
    pub count: usize,
}

/// Also from who is no member.
#[derive(Serialize, Deserialize)]
pub struct Describe(pub User);

#[derive(Serialize, Deserialize)]
pub struct LookAround;

impl AbstractProcess for Room {
    type Arg = String;
    type State = Self;
    type Serializer = Bincode;
    type Handlers = (
        Message<Join>,
        Message<Leave>,
        Message<Say>,
        Message<Rename>,
        Message<Who>,
        Message<Ack>,
        Message<Describe>,
        Message<LookAround>,
    );
    type StartupError = ();

    fn init(config: Config<Self>, name: String) -> Result<Self, ()> {
        config.die_if_link_dies(false);
        config.self_ref().send(LookAround);
        config.self_ref().register(&ready(&name));
        Ok(Room {
            this: config.self_ref(),
            name,
            places: Vec::new(),
            departed: VecDeque::new(),
            history: Memory::default(),
            accepted: Seen::default(),
            empty_looks: 0,
            listed: false,
        })
    }

    fn handle_link_death(mut state: State<Self>, tag: Tag) {
        if let Some(dead) = state.places.iter().position(|place| place.link == tag) {
            let lost = !distributed::nodes().contains(&state.places[dead].member.user.node_id());
            state.remove(dead, if lost { "is gone: their node was lost" } else { "is gone" });
            state.remove_slow();
        }
    }
}

impl Room {
    // ---- members ----

    fn place_of(&self, user: User) -> Option<usize> {
        self.places.iter().position(|place| place.member.user == user)
    }

    /// Makes a place that nobody has taken yet; None when the room is full.
    fn add(&mut self, member: Member) -> Option<usize> {
        if self.places.len() == MEMBERS {
            return None;
        }
        let link = Tag::new();
        link_with(member.user, link); // one that is dead already is told at once
        self.departed.retain(|&user| user != member.user);
        self.places.push(Place { member, link, here: false, behind: 0 });
        Some(self.places.len() - 1)
    }

    fn remove(&mut self, index: usize, how: &str) {
        let who = self.places.remove(index).member;
        who.user.unlink();
        self.departed.push_back(who.user);
        if self.departed.len() > DEPARTED {
            self.departed.pop_front();
        }
        self.send_to_all(&Event::Left { who, how: how.to_string() });
    }

    /// Puts out who reads too slowly; that is news for the others, who may be too slow for that.
    fn remove_slow(&mut self) {
        while let Some(slow) = self.places.iter().position(|place| place.here && place.behind > BACKLOG) {
            self.send_to(slow, Event::TooSlow);
            self.remove(slow, "reads too slowly and was put out");
        }
    }

    fn tell(&self, user: User, event: Event) {
        user.send(ToSession::Room(self.this, event));
    }

    fn send_to(&mut self, index: usize, event: Event) {
        self.tell(self.places[index].member.user, event);
        self.places[index].behind += 1;
    }

    fn send_to_all(&mut self, event: &Event) {
        for index in 0..self.places.len() {
            if self.places[index].here {
                self.send_to(index, event.clone());
            }
        }
    }

    fn publish(&mut self, line: &Line) {
        if self.accepted.is_new(line) {
            // Else another member that came back has brought it.
            self.history.keep(line.clone());
            self.send_to_all(&Event::Line(line.clone()));
        }
    }

    // ---- coming in ----

    fn join(&mut self, join: Join) {
        let Join { member, again, lines, roster } = join;
        let was_gone = self.departed.contains(&member.user); // and everybody was told so
        let Some(index) = self.place_of(member.user).or_else(|| self.add(member.clone())) else {
            return self.tell(member.user, Event::Full);
        };
        self.places[index].member = member.clone();
        let mut theirs = Seen::default();
        for line in &lines {
            self.publish(line);
            theirs.is_new(line);
        }
        let silent = again && !was_gone;
        self.send_to_all(&if silent { Event::Present(member.clone()) } else { Event::Joined(member.clone()) });
        self.places[index].here = true;
        self.places[index].behind = 0;

        let everybody = self.places.iter().map(|place| place.member.clone()).collect();
        self.send_to(index, Event::Welcome { again, roster: everybody });
        let skipped = if again { 0 } else { self.history.0.len().saturating_sub(SHOWN) };
        let lacking: Vec<Line> = self.history.0.iter().skip(skipped).cloned().collect();
        for line in lacking {
            if line.number > theirs.last(&line) {
                self.send_to(index, Event::Line(line));
            }
        }
        for other in roster {
            self.expect(other, member.user);
        }
    }

    /// `informer` says that this one was a member before the room was lost.
    fn expect(&mut self, member: Member, informer: User) {
        if self.departed.contains(&member.user) {
            self.tell(informer, Event::Left { who: member, how: "is gone".to_string() });
        } else if self.place_of(member.user).is_none() && self.add(member.clone()).is_some() {
            self.tell(member.user, Event::Call(self.name.clone()));
            self.send_to_all(&Event::Present(member));
        }
    }
}

impl MessageHandler<Join> for Room {
    fn handle(mut state: State<Self>, join: Join) {
        state.join(join);
        state.remove_slow();
    }
}

impl MessageHandler<Leave> for Room {
    fn handle(mut state: State<Self>, leave: Leave) {
        if let Some(index) = state.place_of(leave.user) {
            state.remove(index, &leave.how);
            state.remove_slow();
        }
    }
}

impl MessageHandler<Say> for Room {
    fn handle(mut state: State<Self>, Say(line): Say) {
        if state.place_of(line.user).is_some_and(|index| state.places[index].here) {
            state.publish(&line);
            state.remove_slow();
        }
    }
}

impl MessageHandler<Rename> for Room {
    fn handle(mut state: State<Self>, Rename(who): Rename) {
        if let Some(index) = state.place_of(who.user) {
            let before = std::mem::replace(&mut state.places[index].member, who.clone()).name;
            state.send_to_all(&Event::Renamed { who, before });
            state.remove_slow();
        }
    }
}

impl MessageHandler<Who> for Room {
    fn handle(mut state: State<Self>, Who(asker): Who) {
        let Some(index) = state.place_of(asker) else { return };
        let mut note = format!("* {} here:", state.places.len());
        for Member { user, name } in state.places.iter().map(|place| place.member.clone()).collect::<Vec<_>>() {
            let item = format!(" {name} (on {})", node_name(user.node_id()));
            if note.len() + item.len() > TEXT_BYTES {
                state.send_to(index, Event::Note(std::mem::replace(&mut note, "*".to_string())));
            }
            note += &item;
        }
        state.send_to(index, Event::Note(note));
        state.remove_slow();
    }
}

impl MessageHandler<Ack> for Room {
    fn handle(mut state: State<Self>, ack: Ack) {
        if let Some(index) = state.place_of(ack.user) {
            let place = &mut state.places[index];
            place.behind = place.behind.saturating_sub(ack.count);
        }
    }
}

impl MessageHandler<Describe> for Room {
    fn handle(state: State<Self>, Describe(asker): Describe) {
        let (count, node) = (state.places.len(), node_name(distributed::node_id()));
        let users = if count == 1 { "user" } else { "users" };
        asker.send(ToSession::Info(format!("*   {}: {count} {users}, on node {node}", state.name)));
    }
}

impl MessageHandler<LookAround> for Room {
    fn handle(mut state: State<Self>, _: LookAround) {
        state.empty_looks = if state.places.is_empty() { state.empty_looks + 1 } else { 0 };
        if state.empty_looks > EMPTY_LOOKS {
            std::process::exit(0);
        }
        state.be_listed();
        state.this.with_delay(LOOK_AROUND).send(LookAround);
    }
}

impl Room {
    /// Has the keeper of this node know of the room; a node that has just come up may have none yet.
    fn be_listed(&mut self) {
        if self.listed {
            return;
        }
        if let Some(keeper) = ProcessRef::<Keeper>::lookup(&ready(&Keeper::name_on(distributed::node_id()))) {
            keeper.send(RoomOpened(self.this));
            self.listed = true;
        }
    }
}

// ---- finding and making rooms ----

/// What a node scores for a name. The highest score has the room: all sessions choose the same node, names
/// spread over the nodes, and when a node goes only the rooms it had move.
fn score(name: &str, node: u64) -> u64 {
    let mut mixed = node.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for byte in name.bytes() {
        mixed = (mixed ^ u64::from(byte)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    }
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

/// The node that shall have a room.
pub fn node_for(name: &str) -> u64 {
    distributed::nodes().into_iter().max_by_key(|&node| score(name, node)).unwrap_or_else(distributed::node_id)
}

/// Runs on the node that shall have the room, since `start_as` starts where it is called. Of several makers at
/// once, wherever they are, one makes the room and the others find it.
pub fn maker((session, name): (User, String), _: Mailbox<()>) {
    // Linked: should the room be killed at its birth, the maker does not wait for it, and the session is told.
    let made = match Room::link().start_as(&name, name.clone()) {
        Ok(room) => {
            room.unlink();
            Some(room)
        }
        Err(StartupError::NameAlreadyRegistered(_)) => ProcessRef::lookup(&ready(&name)),
        Err(_) => None,
    };
    session.tag_send(tag(MAKER), ToSession::RoomMade(made));
}

/// Whether a room's process still runs, on whatever node.
pub fn exists(room: ProcessRef<Room>) -> bool {
    unsafe { lunatic::host::api::process::exists(room.id()) != 0 }
}
