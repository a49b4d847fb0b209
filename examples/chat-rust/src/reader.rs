//! The reader: takes lines from one connection, one at a time, when its session asks for the next.
//!
//! It is a process of its own because it waits for the network while its session waits for messages. Since it
//! reads no further than it is asked to, a user who sends faster than allowed is held back by TCP.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use lunatic::net::TcpStream;
use lunatic::Mailbox;

use crate::messages::*;

/// Asks for the next line: how long to wait for it.
pub type Next = Duration;

pub fn reader((session, stream): (User, TcpStream), mailbox: Mailbox<Next>) {
    let mut lines = Lines { stream, unread: Vec::new() };
    loop {
        let patience = mailbox.receive();
        let input = lines.next(patience);
        let is_last = matches!(input, Input::Silent | Input::Ended);
        session.send(ToSession::Input(input));
        if is_last {
            return;
        }
    }
}

struct Lines {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Lines {
    fn next(&mut self, patience: Duration) -> Input {
        let (mut line, mut discarded) = (Vec::new(), 0);
        if self.stream.set_read_timeout(Some(patience)).is_err() {
            return Input::Ended;
        }
        loop {
            let end = self.unread.iter().position(|&byte| byte == b'\n');
            let rest = self.unread.split_off(end.map_or(self.unread.len(), |end| end + 1));
            line.append(&mut self.unread);
            self.unread = rest;
            if end.is_some() {
                break;
            }
            if line.len() > TEXT_BYTES + 2 {
                discarded += line.len() - TEXT_BYTES;
                line.truncate(TEXT_BYTES);
            }
            if discarded > DISCARD_BYTES {
                return Input::Ended;
            }
            let mut chunk = [0; 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Input::Ended,
                Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::TimedOut => return Input::Silent,
                Err(_) => return Input::Ended,
            }
        }
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop(); // of telnet
        }
        if discarded > 0 || line.len() > TEXT_BYTES {
            return Input::TooLong;
        }
        // No control characters: they could do anything to a terminal.
        match String::from_utf8(line) {
            Ok(text) if text.chars().all(|c| c == '\t' || !c.is_control()) => Input::Line(text),
            _ => Input::NoText,
        }
    }
}
