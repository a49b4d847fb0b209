//! A mailbox that is flooded without end, by two processes, while its owner makes 5000 requests.

use lunatic::ap::handlers::Request;
use lunatic::ap::{AbstractProcess, Config, RequestHandler, State};
use lunatic::serializer::Json;
use lunatic::{Mailbox, Process, Tag};

const ROUNDS: i32 = 1000;

struct Adder;

impl AbstractProcess for Adder {
    type Arg = ();
    type State = Self;
    type Serializer = Json;
    type Handlers = (Request<(i32, i32)>,);
    type StartupError = ();

    fn init(_: Config<Self>, _: ()) -> Result<Self, ()> {
        Ok(Adder)
    }
}

impl RequestHandler<(i32, i32)> for Adder {
    type Response = i32;

    fn handle(_: State<Self>, (a, b): (i32, i32)) -> i32 {
        a + b
    }
}

fn flood(target: Process<u64>, _: Mailbox<()>) {
    let mut number = 0;
    loop {
        target.send(number);
        number += 1;
    }
}

#[lunatic::main]
fn main(mailbox: Mailbox<u64>) {
    let flooders = [0, 1].map(|_| Process::spawn(mailbox.this(), flood));
    let adder = Adder::link().start(()).unwrap();

    // Requests do not look at what is queued already, however much that is.
    for round in 0..ROUNDS {
        for (a, b) in [(1, 1), (1, 2), (8, 8), (round, -round), (i32::MAX - 1, 1)] {
            assert_eq!(adder.request((a, b)), a + b);
        }
    }

    // What was queued meanwhile comes in the order in which each flooder sent it.
    let mut next = [0, 0];
    for _ in 0..20_000 {
        let number = mailbox.receive();
        let from = next.iter().position(|&expected| expected == number);
        next[from.expect("a message is missing, or came twice, or too early")] += 1;
    }

    for flooder in flooders {
        flooder.kill();
        luna_rust_guests::wait_until("a killed flooder is gone", || !flooder.is_alive());
    }

    // A tag finds its message behind everything else that is queued.
    let tag = Tag::new();
    mailbox.this().tag_send(tag, 4711);
    assert_eq!(mailbox.tag_receive(&[tag]), 4711);
}
