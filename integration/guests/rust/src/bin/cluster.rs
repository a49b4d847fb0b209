//! On every node of a cluster: processes and abstract processes, messages there and back, limits that travel.
//!
//! The argument says how many nodes there must be; prints each node's part of the work.

use luna_rust_guests::{wait_until, PATIENCE};
use lunatic::ap::handlers::{Message, Request};
use lunatic::ap::{AbstractProcess, Config, MessageHandler, RequestHandler, State};
use lunatic::distributed::{node_id, nodes};
use lunatic::serializer::MessagePack;
use lunatic::{Mailbox, Process, ProcessConfig};

/// Adds up what it is sent, on whichever node it lives.
struct Sum(u64);

impl AbstractProcess for Sum {
    type Arg = u64;
    type State = Self;
    type Serializer = MessagePack;
    type Handlers = (Message<u64>, Request<()>);
    type StartupError = String;

    fn init(_: Config<Self>, start: u64) -> Result<Self, String> {
        (start < 1000).then_some(Sum(start)).ok_or(format!("{start} is too much for node {}", node_id()))
    }
}

impl MessageHandler<u64> for Sum {
    fn handle(mut state: State<Self>, number: u64) {
        state.0 += number;
    }
}

impl RequestHandler<()> for Sum {
    type Response = (u64, u64);

    fn handle(state: State<Self>, _: ()) -> (u64, u64) {
        (node_id(), state.0)
    }
}

/// Sends everything back, with the node it was on; "" ends it.
fn echo(parent: Process<(u64, String)>, mailbox: Mailbox<String>) {
    loop {
        match mailbox.receive() {
            text if text.is_empty() => return,
            text => parent.send((node_id(), text)),
        }
    }
}

#[lunatic::main]
fn main(mailbox: Mailbox<(u64, String)>) {
    let expected: usize = std::env::args().nth(1).expect("a number of nodes").parse().unwrap();
    let all = nodes();
    assert_eq!(all.len(), expected, "{all:?}");
    assert!(all.contains(&node_id()));

    for &node in &all {
        let process = Process::spawn_node(node, mailbox.this(), echo);
        assert_eq!(process.node_id(), node);
        let long = "x".repeat(3_000_000);
        for text in ["short", "päckchen", long.as_str()] {
            process.send(text.to_string());
            assert_eq!(mailbox.receive_timeout(PATIENCE).unwrap(), (node, text.to_string()));
        }
        process.send(String::new());

        let sum = Sum::on_node(node).start(5).unwrap();
        for number in 1..=1000u64 {
            sum.send(number);
        }
        assert_eq!(sum.request(()), (node, 500_505), "messages came out of order, or not at all");
        sum.shutdown();
        assert!(format!("{:?}", Sum::on_node(node).start(1000)).contains("too much"));
        println!("node {node} did its part");
    }

    // Each node's process talks to the next one's: a ring through all of them, ten times around.
    let mut next = mailbox.this();
    for &node in all.iter().rev() {
        next = Process::spawn_node(node, next, |next: Process<(u64, String)>, own: Mailbox<(u64, String)>| loop {
            let (hops, text) = own.receive();
            next.send((hops + 1, text));
        });
    }
    for round in 0..10 {
        next.send((0, round.to_string()));
        assert_eq!(mailbox.receive_timeout(PATIENCE).unwrap(), (expected as u64, round.to_string()));
    }

    // A config travels: without the right to spawn, nothing is spawned there.
    let config = ProcessConfig::new().unwrap();
    for &node in &all {
        Process::spawn_node_config(node, &config, mailbox.this(), |parent, _: Mailbox<()>| {
            let spawn = || Process::spawn((), |_, _: Mailbox<()>| ()).id();
            parent.send((u64::from(lunatic::panic::catch_panic(spawn).is_ok()), String::new()));
        });
        assert_eq!(mailbox.receive_timeout(PATIENCE).unwrap().0, 0);
    }

    // A monitor reaches across nodes.
    let far = *all.iter().find(|&&node| node != node_id()).unwrap_or(&all[0]);
    let watcher = mailbox.monitorable();
    let watched = Process::spawn_node(far, mailbox.this(), echo);
    watcher.monitor(watched.clone());
    watched.send(String::new());
    let mut died = false;
    wait_until("the end of a process of another node is told", || {
        died |= watcher.receive_timeout(PATIENCE).unwrap().unwrap_signal().0 == watched.id();
        died
    });
}
