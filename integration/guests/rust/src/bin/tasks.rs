//! Tasks and protocols: results, failures, a thousand nested ones, sessions that are held to their types.

use std::time::Duration;

use luna_rust_guests::{wait_until, PATIENCE};
use lunatic::panic::catch_panic;
use lunatic::protocol::{Branch, End, Offer, Pop, Protocol, Rec, Recv, Send};
use lunatic::{spawn_link, Mailbox, Process, ProcessConfig};

fn sum(n: u32) -> u32 {
    match n {
        0 => 0,
        _ => n + spawn_link!(@task |n = {n - 1}| sum(n)).result(),
    }
}

/// Doubles numbers until it is told to stop.
type Doubler = Rec<Offer<Recv<u64, Send<u64, Pop>>, End>>;

fn double(_: (), protocol: Protocol<Doubler>) {
    let mut round = protocol.repeat();
    while let Branch::Left(work) = round.offer() {
        let (work, number) = work.receive();
        round = work.send(number * 2).pop().repeat();
    }
}

/// Ends its process without the text of a panic.
fn abort() {
    std::process::abort();
}

#[lunatic::main]
fn main(_: Mailbox<()>) {
    let tasks: Vec<_> = (0..500u64).map(|number| spawn_link!(@task |number| number * number)).collect();
    let squares: u64 = tasks.into_iter().rev().map(|task| task.result()).sum();
    assert_eq!(squares, (0..500u64).map(|number| number * number).sum::<u64>());

    assert_eq!(sum(1000), 500_500);
    let mut config = ProcessConfig::new().unwrap();
    config.set_can_spawn_processes(true);
    config.set_max_memory(8_000_000);
    assert_eq!(spawn_link!(@task &config, |n = 100| sum(n)).result(), 5050);

    // A failing task fails who waits for it, and whoever that one is linked to.
    let waiting = Process::spawn((), |_, _: Mailbox<()>| {
        let _ = catch_panic(|| spawn_link!(@task || abort()).result());
        lunatic::sleep(PATIENCE);
    });
    wait_until("who waits for a failed task is gone", || !waiting.is_alive());
    let late = spawn_link!(@task || lunatic::sleep(Duration::from_millis(200)));
    assert!(late.result_timeout(Duration::from_millis(1)).unwrap_err().is_timed_out());

    let mut round = Process::spawn_link((), double).repeat();
    for number in 0..1000 {
        let (end, doubled) = round.select_left().send(number).receive();
        assert_eq!(doubled, number * 2);
        round = end.pop().repeat();
    }
    let _end = round.select_right();

    // A protocol that is dropped before its end fails its process.
    let unfinished = Process::spawn((), |_, _: Mailbox<()>| {
        drop(Process::spawn_link((), |_, protocol: Protocol<Send<u8, End>>| drop(protocol.send(1))));
        lunatic::sleep(PATIENCE);
    });
    wait_until("who dropped a protocol is gone", || !unfinished.is_alive());
}
