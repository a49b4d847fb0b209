//! Many processes at once: 20 000 alive, a ring of messages through all, then all ended.

use luna_rust_guests::{wait_until, PATIENCE};
use lunatic::{Mailbox, Process};

const CROWD: u64 = 20_000;

/// Passes each number on, one more, to the next; 0 ends it.
fn pass_on(next: Process<u64>, mailbox: Mailbox<u64>) {
    loop {
        match mailbox.receive() {
            0 => return next.send(0),
            number => next.send(number + 1),
        }
    }
}

#[lunatic::main]
fn main(mailbox: Mailbox<u64>) {
    let mut first = mailbox.this();
    let mut all = Vec::new();
    for _ in 0..CROWD {
        first = Process::spawn_link(first, pass_on);
        all.push(first.clone());
    }
    for round in 0..3 {
        first.send(round * 10 + 1);
        assert_eq!(mailbox.receive_timeout(PATIENCE).unwrap(), round * 10 + 1 + CROWD);
    }
    first.send(0);
    assert_eq!(mailbox.receive_timeout(PATIENCE).unwrap(), 0);
    // They ended by themselves, which says nothing to those they are linked with.
    wait_until("all have ended", || !all.iter().any(Process::is_alive));

    // As many children, one after the other, each with an answer.
    for number in 0..CROWD {
        Process::spawn((mailbox.this(), number), |(parent, number), _: Mailbox<()>| parent.send(number));
        assert_eq!(mailbox.receive_timeout(PATIENCE).unwrap(), number);
    }
}
