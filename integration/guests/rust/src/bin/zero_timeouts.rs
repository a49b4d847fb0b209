//! Timeouts of 0 ms: what is there is taken, nothing is waited for, and nothing is lost.

use std::time::{Duration, Instant};

use luna_rust_guests::{wait_until, PATIENCE};
use lunatic::ap::handlers::Request;
use lunatic::ap::{AbstractProcess, Config, RequestHandler, State};
use lunatic::serializer::Bincode;
use lunatic::{Mailbox, Process, Tag};

const NOW: Duration = Duration::ZERO;

/// Shorter than a millisecond, thus 0 ms.
const SHORT: Duration = Duration::from_micros(10);

struct Slow;

impl AbstractProcess for Slow {
    type Arg = ();
    type State = Self;
    type Serializer = Bincode;
    type Handlers = (Request<u64>,);
    type StartupError = ();

    fn init(_: Config<Self>, _: ()) -> Result<Self, ()> {
        Ok(Slow)
    }
}

impl RequestHandler<u64> for Slow {
    type Response = u64;

    fn handle(_: State<Self>, milliseconds: u64) -> u64 {
        lunatic::sleep(Duration::from_millis(milliseconds));
        milliseconds
    }
}

#[lunatic::main]
fn main(mailbox: Mailbox<u32>) {
    let this = mailbox.this();
    let began = Instant::now();
    for timeout in [NOW, SHORT] {
        for _ in 0..1000 {
            assert!(mailbox.receive_timeout(timeout).unwrap_err().is_timed_out());
            assert!(mailbox.tag_receive_timeout(&[Tag::new()], timeout).unwrap_err().is_timed_out());
        }
    }
    assert!(began.elapsed() < PATIENCE);

    // What is there is taken, in its order, the tagged out of the middle.
    let (first, second) = (Tag::new(), Tag::new());
    this.send(1);
    this.tag_send(first, 2);
    this.send(3);
    this.tag_send(second, 4);
    this.tag_send(first, 5);
    assert!(mailbox.tag_receive_timeout(&[Tag::new()], NOW).unwrap_err().is_timed_out());
    assert_eq!(mailbox.tag_receive_timeout(&[second, first], NOW).unwrap(), 2);
    assert_eq!(mailbox.receive_timeout(NOW).unwrap(), 1);
    assert_eq!(mailbox.tag_receive_timeout(&[second], NOW).unwrap(), 4);
    assert_eq!(mailbox.receive_timeout(NOW).unwrap(), 3);
    assert_eq!(mailbox.receive_timeout(NOW).unwrap(), 5);
    assert!(mailbox.receive_timeout(NOW).unwrap_err().is_timed_out());

    // A poller sees every message of another process once, in order, however it polls.
    Process::spawn(this.clone(), |parent, _: Mailbox<()>| {
        for number in 0..2000 {
            parent.send(number);
        }
    });
    let mut next = 0;
    wait_until("all messages have come", || {
        while let Ok(number) = mailbox.receive_timeout(NOW) {
            assert_eq!(number, next);
            next += 1;
        }
        next == 2000
    });

    // A request nobody can answer in time; the late answer goes to nobody else's request.
    let slow = Slow::link().start(()).unwrap();
    for timeout in [NOW, SHORT] {
        assert!(slow.with_timeout(timeout).request(3).is_err());
        assert_eq!(slow.request(1), 1);
    }

    // Timers and sleeps of 0 ms.
    let tag = Tag::new();
    this.tag_send_after(tag, 8, NOW);
    assert_eq!(mailbox.tag_receive_timeout(&[tag], PATIENCE).unwrap(), 8);
    for _ in 0..1000 {
        lunatic::sleep(NOW);
    }
    let timer = this.tag_send_after(tag, 9, PATIENCE);
    assert!(timer.cancel());
    assert!(!timer.cancel());
    assert!(mailbox.tag_receive_timeout(&[tag], NOW).unwrap_err().is_timed_out());
}
