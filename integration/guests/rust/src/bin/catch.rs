//! `catch_panic` around everything that can go wrong, nested, again and again.

use std::hint::black_box;
use std::time::Duration;

use luna_rust_guests::{wait_until, PATIENCE};
use lunatic::host::api;
use lunatic::panic::{catch_panic, Panicked};
use lunatic::{Mailbox, Process, ProcessConfig};

/// What ends a process when nothing catches it.
const FAULTS: [(&str, fn()); 9] = [
    ("a panic", || panic!("on purpose")),
    ("an index out of range", || _ = black_box(black_box(vec![1, 2, 3])[black_box(7)])),
    ("an abort", || std::process::abort()),
    ("an unreachable instruction", || core::arch::wasm32::unreachable()),
    ("an access outside of memory", || {
        black_box(unsafe { (black_box(0xFFFF_FFF0usize) as *const u64).read_volatile() });
    }),
    ("a call through a bad pointer", || {
        let function: fn(u64) -> u64 = unsafe { std::mem::transmute(black_box(1 << 20) as *const ()) };
        black_box(function(1));
    }),
    ("a host call that traps", || unsafe { api::process::drop_config(4711) }),
    ("a host call with a bad pointer", || unsafe {
        api::registry::remove(black_box(0xFFFF_FFF0usize) as *const u8, 64)
    }),
    ("exit", || std::process::exit(3)),
];

fn nested(depth: u32) -> u32 {
    match catch_panic(|| if depth == 0 { panic!("at the bottom") } else { nested(depth - 1) }) {
        Ok(below) => below + 1,
        Err(Panicked) => 0,
    }
}

/// Waits inside of `catch_panic`; `wait` says for what.
fn child(wait: u8, mailbox: Mailbox<()>) {
    let _ = catch_panic(|| match wait {
        0 => mailbox.receive(),
        1 => lunatic::sleep(PATIENCE),
        _ => loop {
            black_box(());
        },
    });
    lunatic::sleep(PATIENCE); // not reached: a kill is not caught
}

#[lunatic::main]
fn main(mailbox: Mailbox<u64>) {
    for (name, fault) in FAULTS {
        let kept = Box::new(name.len());
        assert_eq!(catch_panic(fault), Err(Panicked), "{name}");
        assert_eq!(*kept, name.len(), "memory is as it was");
        // Nothing catches it in a process of its own.
        let doomed = Process::spawn(name.to_string(), |name: String, _: Mailbox<()>| {
            FAULTS.iter().find(|(known, _)| *known == name).unwrap().1();
            lunatic::sleep(PATIENCE);
        });
        wait_until(name, || !doomed.is_alive());
    }
    assert_eq!(catch_panic(|| 42), Ok(42));
    assert_eq!(nested(20), 20);

    // Everything works inside: messages, names, children, timeouts, more of the same.
    let this = mailbox.this();
    let sum = catch_panic(|| {
        this.register(&"inside");
        let child = Process::spawn_link(this.clone(), |parent, own: Mailbox<u64>| {
            parent.send(own.receive() * 2);
            own.receive();
        });
        child.send(21);
        let answer = mailbox.receive_timeout(PATIENCE).unwrap();
        assert!(mailbox.receive_timeout(Duration::from_millis(5)).unwrap_err().is_timed_out());
        assert_eq!(catch_panic(|| panic!("inner")), Err(Panicked));
        child.unlink();
        child.kill();
        answer
    });
    assert_eq!(sum, Ok(42));
    assert!(Process::<u64>::lookup("inside") == Some(this.clone()));

    // What was begun before the fault can be gone on with: here, a message that waits.
    this.send(7);
    assert_eq!(catch_panic(|| panic!("with a message waiting")), Err(Panicked));
    assert_eq!(mailbox.receive(), 7);

    // The death of a linked process and a kill are not caught.
    for wait in [0, 1, 2] {
        let process = Process::spawn(wait, child);
        lunatic::sleep(Duration::from_millis(2));
        process.kill();
        wait_until("a process that was killed inside is gone", || !process.is_alive());
    }
    let parent = Process::spawn((), |_, _: Mailbox<()>| {
        let _ = catch_panic(|| {
            Process::spawn_link((), |_, _: Mailbox<()>| std::process::abort());
            lunatic::sleep(PATIENCE);
        });
        lunatic::sleep(PATIENCE);
    });
    wait_until("a process whose link died inside is gone", || !parent.is_alive());

    // Running out of fuel is caught, but what comes next has none either.
    let mut config = ProcessConfig::new().unwrap();
    config.set_max_fuel(5);
    let spender = Process::spawn_config(&config, (), |_, _: Mailbox<()>| loop {
        let _ = catch_panic(|| loop {
            black_box(());
        });
    });
    wait_until("a process that spent its fuel is gone", || !spender.is_alive());

    for round in 0..20_000u32 {
        assert!(catch_panic(|| if black_box(round) < 20_000 { core::arch::wasm32::unreachable() }).is_err());
        assert_eq!(catch_panic(|| round), Ok(round));
    }
}
