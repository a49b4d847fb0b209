//! Supervisors: a crashed child is back within 10 ms, with its name; somewhat later while others compute without end.

use std::time::{Duration, Instant};

use luna_rust_guests::wait_until;
use lunatic::ap::handlers::{Message, Request};
use lunatic::ap::{AbstractProcess, Config, MessageHandler, ProcessRef, RequestHandler, State};
use lunatic::serializer::Bincode;
use lunatic::supervisor::{Supervisor, SupervisorConfig, SupervisorStrategy};
use lunatic::{Mailbox, Process};

const RESTARTS: usize = 50;

/// What a restart may take, half of the times, when nobody else computes; usually it takes a seventh of that.
const RESTART: Duration = Duration::from_millis(10);

struct Counter(u32);

impl AbstractProcess for Counter {
    type Arg = u32;
    type State = Self;
    type Serializer = Bincode;
    type Handlers = (Message<Crash>, Request<Next>);
    type StartupError = ();

    fn init(_: Config<Self>, start: u32) -> Result<Self, ()> {
        Ok(Counter(start))
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Crash;

impl MessageHandler<Crash> for Counter {
    fn handle(_: State<Self>, _: Crash) {
        std::process::abort(); // without the text of a panic
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Next;

impl RequestHandler<Next> for Counter {
    type Response = u32;

    fn handle(mut state: State<Self>, _: Next) -> u32 {
        state.0 += 1;
        state.0
    }
}

/// Three children under one strategy; they are named `names` + 0, 1, 2.
struct Sup;

impl Supervisor for Sup {
    type Arg = (u8, String);
    type Children = (Counter, Counter, Counter);

    fn init(config: &mut SupervisorConfig<Self>, (strategy, names): Self::Arg) {
        config.set_strategy(match strategy {
            0 => SupervisorStrategy::OneForOne,
            1 => SupervisorStrategy::OneForAll,
            _ => SupervisorStrategy::RestForOne,
        });
        config.set_args((100, 200, 300));
        let name = |index| Some(format!("{names}{index}"));
        config.set_names((name(0), name(1), name(2)));
    }
}

fn child(names: &str, index: usize) -> Option<ProcessRef<Counter>> {
    ProcessRef::lookup(format!("{names}{index}").as_str())
}

/// Crash the middle child again and again; `restarted` tells which of the three are then new.
fn crash(strategy: u8, names: &str, restarted: [bool; 3]) -> Vec<Duration> {
    let sup = Sup::link().start((strategy, names.to_string())).unwrap();
    let mut times = Vec::new();
    for _ in 0..RESTARTS {
        let old = [0, 1, 2].map(|index| child(names, index).unwrap());
        for (index, process) in old.iter().enumerate() {
            assert!(process.request(Next) > 100 * (index as u32 + 1));
        }
        let began = Instant::now();
        old[1].send(Crash);
        // A name stands for the new process once there is one.
        wait_until("the last child is back", || {
            let last = if restarted[2] { 2 } else { 1 };
            child(names, last).is_some_and(|process| process.id() != old[last].id())
        });
        let (first, second, third) = sup.children(); // answered once the supervisor is done
        times.push(began.elapsed());
        for (index, new) in [first, second, third].into_iter().enumerate() {
            assert_eq!(new.id() != old[index].id(), restarted[index], "child {index} of {names}");
            assert_eq!(child(names, index).unwrap().id(), new.id());
            if restarted[index] {
                assert!(!old[index].is_alive());
                assert_eq!(new.request(Next), 100 * (index as u32 + 1) + 1);
            }
        }
    }
    sup.shutdown();
    wait_until("the children are gone with their names", || (0..3).all(|index| child(names, index).is_none()));
    times
}

fn crash_all(round: &str) -> Duration {
    let mut times = crash(0, &format!("{round}/one/"), [false, true, false]);
    times.extend(crash(1, &format!("{round}/all/"), [true, true, true]));
    times.extend(crash(2, &format!("{round}/rest/"), [false, true, true]));
    times.sort();
    let (median, last) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{round}: median {median:?}, longest {last:?}");
    median
}

#[lunatic::main]
fn main(_: Mailbox<()>) {
    let median = crash_all("quiet");
    assert!(median < RESTART, "half of the restarts took more than {median:?}");
    for _ in 0..2 {
        Process::spawn((), |_, _: Mailbox<()>| loop {
            std::hint::black_box(());
        });
    }
    crash_all("computing");
    let dead = unsafe { Process::<u64>::new(lunatic::host::node_id(), 1 << 40) };
    for _ in 0..2 {
        Process::spawn(dead.clone(), |dead, _: Mailbox<()>| loop {
            dead.send(1);
        });
    }
    crash_all("flooding");
}
