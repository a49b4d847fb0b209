//! Children that are killed before they ran a single instruction, and after they ended.

use luna_rust_guests::{wait_until, PATIENCE};
use lunatic::{Mailbox, Process, Tag};
use std::time::Duration;

/// Tells that it ran, then waits for its end.
fn tell(parent: Process<u32>, _: Mailbox<()>) {
    parent.send(1);
    lunatic::sleep(PATIENCE);
}

fn wait(_: (), _: Mailbox<()>) {
    lunatic::sleep(PATIENCE);
}

/// Children that are killed at once. Another thread may have begun with one of them, but not with many.
fn killed_first(mailbox: &Mailbox<u32>) {
    let this = mailbox.this();
    for _ in 0..1000 {
        let child = Process::spawn(this.clone(), tell);
        child.kill();
        wait_until("a killed child is gone", || !child.is_alive());
    }
    this.send(2); // had one of them run, its message would be here before this one
    let ran = std::iter::from_fn(|| Some(mailbox.receive())).take_while(|&message| message == 1).count();
    assert!(ran < 100, "{ran} of 1000 ran");
}

#[lunatic::main]
fn main(mailbox: Mailbox<u32>) {
    killed_first(&mailbox);

    // The parent of a linked child dies of the kill.
    let watcher = mailbox.monitorable();
    let parent = Process::spawn((), |_, _: Mailbox<()>| {
        Process::spawn_link((), wait).kill();
        lunatic::sleep(PATIENCE);
    });
    watcher.monitor(parent.clone());
    let death = watcher.receive_timeout(PATIENCE).unwrap().unwrap_signal();
    assert_eq!(death.0, parent.id());

    // A parent that catches the deaths of its links is told, with the tag of the link.
    let catcher = watcher.catch_link_failure();
    for _ in 0..1000 {
        let tag = Tag::new();
        let child = Process::spawn_link_tag((), tag, wait);
        child.kill();
        match catcher.receive_timeout(PATIENCE).unwrap().unwrap_signal() {
            lunatic::Signal::LinkDied(died) => assert_eq!(died, tag),
            other => panic!("{other:?}"),
        }
    }

    // Without the link nobody hears of it.
    let child = Process::spawn_link((), wait);
    child.unlink();
    child.kill();
    assert!(catcher.receive_timeout(Duration::from_millis(20)).unwrap_err().is_timed_out());

    // Killing what has ended, and what never was, does nothing.
    wait_until("the child is gone", || !child.is_alive());
    child.kill();
    unsafe { Process::<()>::new(child.node_id(), 1 << 40) }.kill();

    // Monitors and links hear of a death that has been, so that nobody waits for it.
    watcher.monitor(child.clone());
    child.link();
    let signals = [(); 2].map(|_| catcher.receive_timeout(PATIENCE).unwrap().unwrap_signal());
    assert!(signals.iter().any(|signal| matches!(signal, lunatic::Signal::ProcessDied(id) if *id == child.id())));
    assert!(signals.iter().any(|signal| matches!(signal, lunatic::Signal::LinkDied(_))));
}
