//! Limits, the messages between processes, and what is remembered of lines.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use lunatic::ap::ProcessRef;
use lunatic::net::TcpStream;
use lunatic::{Process, Tag};
use serde::{Deserialize, Serialize};

use crate::room::Room;

// What people may write.
pub const NAME_BYTES: usize = 24;
/// Of one line: a paragraph, and small enough to be kept by the hundred.
pub const TEXT_BYTES: usize = 400;
/// Of one line that is too long: who sends more than that is no person.
pub const DISCARD_BYTES: usize = 65_536;
/// Between two lines of a user: 50 a second, more than anybody types.
pub const PACE: Duration = Duration::from_millis(20);
/// For saying who one is.
pub const NAMELESS: Duration = Duration::from_secs(60);
/// Of a user, until the connection is taken for forgotten.
pub const SILENCE: Duration = Duration::from_secs(60 * 60);
/// That a connection may take no bytes at all.
pub const WRITE: Duration = Duration::from_secs(5);
/// Bytes that are shown in one write.
pub const SHOW_BYTES: usize = 16_384;

// What a room keeps.
pub const MEMBERS: usize = 128;
/// Who left lately, so that nobody is told of them twice.
pub const DEPARTED: usize = 128;
/// Lines that a room and each of its members remember.
pub const HISTORY: usize = 256;
/// Of these, to somebody new.
pub const SHOWN: usize = 20;
/// Events a member may be behind before it is put out; below HISTORY, so that whatever one member lacks when
/// the room is lost, all others remember.
pub const BACKLOG: usize = 192;
/// Events after which a member tells the room that it has read them.
pub const ACK_EVERY: usize = 16;
/// Speakers whose last line is remembered, to know what was seen already.
pub const SPEAKERS: usize = 512;
/// Own lines under way to the room; then the user waits.
pub const UNCONFIRMED: usize = 16;
/// How often a room looks whether it is empty, and whether it is on the list of its node.
pub const LOOK_AROUND: Duration = Duration::from_secs(10);
/// So many times it is empty before it ends: after ten minutes.
pub const EMPTY_LOOKS: u32 = 60;

// The cluster.
/// To find or make a room, while nodes come and go ...
pub const ENTER_TRIES: u32 = 100;
/// ... and the pause between them: 20 seconds.
pub const ENTER_PAUSE: Duration = Duration::from_millis(200);
/// Ports tried from the given one on: several nodes may be on one machine.
pub const PORTS: u16 = 10;
/// For something on this or another node to begin.
pub const START: Duration = Duration::from_secs(10);
/// Before a door that failed is opened again.
pub const RESTART: Duration = Duration::from_secs(1);
/// How often a keeper looks for new nodes.
pub const NEW_NODES: Duration = Duration::from_secs(1);

/// A user, as others know it: its process lives as long as its connection.
pub type User = Process<ToSession>;

#[derive(Clone, Serialize, Deserialize)]
pub struct Member {
    pub user: User,
    pub name: String,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Line {
    pub user: User,
    /// Counted by the user, from 1.
    pub number: u64,
    pub name: String,
    pub text: String,
}

/// Everything that a session receives.
#[derive(Serialize, Deserialize)]
pub enum ToSession {
    /// The connection; the first message.
    Socket(TcpStream),
    Input(Input),
    Room(ProcessRef<Room>, Event),
    Private { from: String, text: String },
    /// An answer of a room that the user need not be in.
    Info(String),
    /// None: it could not be made.
    RoomMade(Option<ProcessRef<Room>>),
}

/// What a reader has read.
#[derive(Serialize, Deserialize)]
pub enum Input {
    Line(String),
    TooLong,
    NoText,
    /// No line in time; the last one of a reader, as is the end.
    Silent,
    Ended,
}

/// What a room tells its members.
#[derive(Clone, Serialize, Deserialize)]
pub enum Event {
    Line(Line),
    /// You are in; with all who are, you included.
    Welcome { again: bool, roster: Vec<Member> },
    Joined(Member),
    Left { who: Member, how: String },
    Renamed { who: Member, before: String },
    /// Who is there, without saying so to people.
    Present(Member),
    /// Are you still in this room? I was told you are.
    Call(String),
    Note(String),
    /// You cannot come in.
    Full,
    /// You are out.
    TooSlow,
}

/// Tags of links, and of the answer of a maker.
pub fn tag(number: i64) -> Tag {
    Tag::special(number).expect("between 64 and 128")
}
pub const READER: i64 = 64;
pub const MAKER: i64 = 65;
pub const DOOR: i64 = 66;

/// The name under which a process that was started with `start_as` is looked up.
///
/// `start_as` takes the name first and sends the process its arguments then; who found it in between, and sent
/// it something, would be taken for the sender of the arguments. So it registers this one itself, in `init`.
pub fn ready(name: &str) -> String {
    format!("ready {name}")
}

/// Links to a process with a tag, which the crate's own `link` has not.
pub fn link_with<M>(process: Process<M>, tag: Tag) {
    unsafe { lunatic::host::api::process::link(tag.id(), process.id()) };
}

/// The name of a node: a function that Luna has and Lunatic has not.
pub fn node_name(node: u64) -> String {
    #[link(wasm_import_module = "luna::node")]
    extern "C" {
        fn name(node: u64, name: *mut u8, name_len: usize) -> i32;
    }
    let mut text = vec![0; 256];
    let length = unsafe { name(node, text.as_mut_ptr(), text.len()) };
    if length < 0 {
        return "?".to_string();
    }
    text.truncate(length as usize);
    String::from_utf8_lossy(&text).into_owned()
}

/// Whether a text may be the name of a user or of a room.
pub fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && text.len() <= NAME_BYTES && text.bytes().all(allowed)
}

/// The last number of each speaker.
#[derive(Default)]
pub struct Seen {
    speakers: HashMap<u64, (u64, u64)>,
    now: u64,
}

impl Seen {
    /// Whether a line is newer than all of its speaker so far; from now on it is not.
    pub fn is_new(&mut self, line: &Line) -> bool {
        if self.last(line) >= line.number {
            return false;
        }
        self.now += 1;
        self.speakers.insert(line.user.id(), (line.number, self.now));
        if self.speakers.len() > SPEAKERS {
            let silent = self.speakers.iter().min_by_key(|(_, &(_, at))| at).map(|(&id, _)| id);
            silent.map(|id| self.speakers.remove(&id));
        }
        true
    }

    /// The last number of a line's speaker; 0 for an unknown one.
    pub fn last(&self, line: &Line) -> u64 {
        self.speakers.get(&line.user.id()).map_or(0, |&(number, _)| number)
    }
}

/// The latest lines.
#[derive(Default)]
pub struct Memory(pub VecDeque<Line>);

impl Memory {
    pub fn keep(&mut self, line: Line) {
        self.0.push_back(line);
        if self.0.len() > HISTORY {
            self.0.pop_front();
        }
    }
}
