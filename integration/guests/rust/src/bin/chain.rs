//! 1000 processes, each linked to the next: they die together, from either end and from the middle.

use luna_rust_guests::{wait_until, PATIENCE};
use lunatic::{Mailbox, Process, Tag};

const LENGTH: usize = 1000;

/// One process of a chain; anything it is sent makes it panic.
type Link = Process<()>;

/// Starts the rest of the chain, then waits. All are linked with their neighbours.
fn link((observer, left): (Process<Link>, usize), mailbox: Mailbox<()>) {
    observer.send(mailbox.this());
    if left > 1 {
        Process::spawn_link((observer, left - 1), link);
    }
    mailbox.receive();
    panic!("asked to die");
}

/// Starts a chain whose first process is linked to this one with `tag`.
fn start(tag: Tag) -> (Mailbox<Link>, Vec<Link>) {
    let mailbox: Mailbox<Link> = unsafe { Mailbox::new() };
    Process::spawn_link_tag((mailbox.this(), LENGTH), tag, link);
    let chain = (0..LENGTH).map(|_| mailbox.receive_timeout(PATIENCE).unwrap());
    let chain: Vec<Link> = chain.collect();
    assert!(chain.iter().all(Process::is_alive));
    (mailbox, chain)
}

/// Let the process at `index` die as `die` does; the whole chain follows and this process is told once.
fn break_at(index: usize, die: fn(&Link)) {
    let tag = Tag::new();
    let (mailbox, chain) = start(tag);
    let mailbox = mailbox.catch_link_failure();
    die(&chain[index]);
    let signal = mailbox.receive_timeout(PATIENCE).unwrap().unwrap_signal();
    assert_eq!(signal.0, tag);
    wait_until("all of the chain are dead", || !chain.iter().any(Process::is_alive));
    let more = mailbox.receive_timeout(std::time::Duration::from_millis(20));
    assert!(more.unwrap_err().is_timed_out());
}

/// A chain whose first process has no link to this one: nobody here hears of its end.
fn unlinked() {
    let (mailbox, chain) = start(Tag::new());
    chain[0].unlink();
    let mailbox = mailbox.catch_link_failure();
    chain[LENGTH - 1].send(());
    wait_until("all of the chain are dead", || !chain.iter().any(Process::is_alive));
    let more = mailbox.receive_timeout(std::time::Duration::from_millis(20));
    assert!(more.unwrap_err().is_timed_out());
}

#[lunatic::main]
fn main(_: Mailbox<()>) {
    break_at(LENGTH - 1, |process| process.send(()));
    break_at(0, |process| process.send(()));
    break_at(LENGTH / 2, Process::kill);
    unlinked();
}
