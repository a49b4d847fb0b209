//! Names of processes, and variables that every process has for itself.

use std::cell::{Cell, RefCell};

use luna_rust_guests::{wait_until, PATIENCE};
use lunatic::host::api::registry;
use lunatic::{process_local, spawn_link, Mailbox, Process, ProcessName};

#[derive(ProcessName)]
struct Printer;

process_local! {
    static COUNT: Cell<u32> = Cell::new(1);
    static LOG: RefCell<Vec<String>> = RefCell::new(vec!["new".to_string()]);
}

fn names(mailbox: &Mailbox<u32>) {
    let this = mailbox.this();
    assert!(Process::<u32>::lookup("nobody").is_none());
    this.register(&Printer);
    assert!(Process::<u32>::lookup(&Printer) == Some(this.clone()));
    // A name belongs to a type of messages: the same text is another name elsewhere.
    this.register(&"same");
    assert!(Process::<String>::lookup("same").is_none());

    // A child finds its parent by name; what it registers outlives it as little as it does itself.
    let child = Process::spawn_link((), |_, own: Mailbox<u32>| {
        own.this().register(&"child");
        Process::<u32>::lookup(&Printer).unwrap().send(own.receive() + 1);
        own.receive();
    });
    wait_until("the child has its name", || Process::<u32>::lookup("child").is_some());
    Process::<u32>::lookup("child").unwrap().send(41);
    assert_eq!(mailbox.receive_timeout(PATIENCE).unwrap(), 42);
    child.send(0);
    wait_until("the name of the dead child is gone", || Process::<u32>::lookup("child").is_none());

    // The last registration counts; names may be empty, long, and of any script.
    let other = Process::spawn_link((), |_, own: Mailbox<u32>| _ = own.receive());
    let long = "x".repeat(2000);
    for name in ["", "päckchen 包裹 📦", "a\0b", long.as_str()] {
        this.register(&name);
        other.register(&name);
        assert!(Process::<u32>::lookup(name) == Some(other.clone()), "{name:?}");
    }
    other.send(0);

    // The host call underneath, with a name of its own: removed twice, the second time it is no longer there.
    let (mut node, mut id) = (7, 7);
    let name = "raw";
    unsafe {
        registry::put(name.as_ptr(), name.len(), this.node_id(), this.id());
        assert_eq!(registry::get(name.as_ptr(), name.len(), &mut node, &mut id), 0);
        assert_eq!((node, id), (this.node_id(), this.id()));
        registry::remove(name.as_ptr(), name.len());
        registry::remove(name.as_ptr(), name.len());
        (node, id) = (7, 7);
        assert_eq!(registry::get(name.as_ptr(), name.len(), &mut node, &mut id), 1);
        assert_eq!((node, id), (7, 7), "nothing is written when there is no such name");
    }
}

/// Many processes want to be the one with the name; they find each other instead.
fn race(mailbox: &Mailbox<u32>) {
    use lunatic::ap::{AbstractProcess, Config, StartupError};
    struct Single;
    impl AbstractProcess for Single {
        type Arg = ();
        type State = ();
        type Serializer = lunatic::serializer::Bincode;
        type Handlers = ();
        type StartupError = ();
        fn init(_: Config<Self>, _: ()) -> Result<(), ()> {
            Ok(())
        }
    }
    for round in 0..20 {
        for _ in 0..10 {
            Process::spawn((mailbox.this(), round), |(parent, round), _: Mailbox<()>| {
                match Single::start_as(&format!("single {round}"), ()) {
                    Ok(_) => parent.send(1),
                    Err(StartupError::NameAlreadyRegistered(_)) => parent.send(0),
                    Err(other) => panic!("{other:?}"),
                }
            });
        }
        let started: u32 = (0..10).map(|_| mailbox.receive_timeout(PATIENCE).unwrap()).sum();
        assert_eq!(started, 1);
    }
}

#[lunatic::main]
fn main(mailbox: Mailbox<u32>) {
    names(&mailbox);
    race(&mailbox);

    COUNT.set(5);
    LOG.with_borrow_mut(|mut log| log.push("parent".to_string()));
    let task = spawn_link!(@task || {
        assert_eq!(COUNT.replace(9), 1);
        assert_eq!(LOG.take(), ["new"]);
        COUNT.get()
    });
    assert_eq!(task.result(), 9);
    assert_eq!(COUNT.get(), 5);
    LOG.with_borrow(|log| assert_eq!(*log, ["new", "parent"]));
    // Globals are per process as well: a child starts with those of the file.
    static mut GLOBAL: u32 = 1;
    unsafe { GLOBAL = 2 };
    assert_eq!(spawn_link!(@task || unsafe { GLOBAL }).result(), 1);
}
