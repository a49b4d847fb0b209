//! The life of abstract processes: start, names, requests, deferred answers, delays, links, shutdown, failures.

use std::time::Duration;

use luna_rust_guests::{wait_until, PATIENCE};
use lunatic::ap::{AbstractProcess, Config, DeferredResponse, ProcessRef, StartupError};
use lunatic::{abstract_process, Mailbox, Process, Tag};

struct Account {
    balance: i64,
    waiting: Vec<(i64, DeferredResponse<i64, Account>)>,
    deaths: u32,
}

/// What it is started with: below 0 it refuses, at exactly `PANIC` it panics.
const PANIC: i64 = i64::MAX;

#[abstract_process]
impl Account {
    #[init]
    fn init(config: Config<Self>, balance: i64) -> Result<Self, String> {
        config.die_if_link_dies(false);
        match balance {
            PANIC => panic!("told to"),
            0.. => Ok(Account { balance, waiting: Vec::new(), deaths: 0 }),
            _ => Err(format!("{balance} is less than nothing")),
        }
    }

    #[terminate]
    fn terminate(self) {
        if let Some(observer) = Process::<i64>::lookup("observer") {
            observer.send(self.balance);
        }
    }

    #[handle_link_death]
    fn linked_died(&mut self, _tag: Tag) {
        self.deaths += 1;
    }

    #[handle_message]
    fn pay_in(&mut self, amount: i64) {
        self.balance += amount;
        let ready = |limit: &i64| *limit <= self.balance;
        let (now, later) = std::mem::take(&mut self.waiting).into_iter().partition(|(limit, _)| ready(limit));
        self.waiting = later;
        let now: Vec<(i64, DeferredResponse<i64, Account>)> = now;
        for (_, response) in now {
            response.send_response(self.balance);
        }
    }

    #[handle_message]
    fn crash(&self) {
        std::process::abort();
    }

    #[handle_request]
    fn balance(&self) -> i64 {
        self.balance
    }

    #[handle_request]
    fn deaths(&self) -> u32 {
        self.deaths
    }

    #[handle_deferred_request]
    fn wait_for(&mut self, limit: i64, response: DeferredResponse<i64, Self>) {
        self.waiting.push((limit, response));
    }
}

fn starting() {
    assert!(matches!(Account::start(-1), Err(StartupError::Custom(text)) if text.contains("less")));
    assert!(matches!(Account::start(PANIC), Err(StartupError::InitPanicked)));
    let first = Account::start_as(&"savings", 5).unwrap();
    match Account::start_as(&"savings", 6) {
        Err(StartupError::NameAlreadyRegistered(found)) => assert_eq!(found.id(), first.id()),
        other => panic!("{other:?}"),
    }
    assert_eq!(ProcessRef::<Account>::lookup("savings").unwrap().balance(), 5);
    assert!(ProcessRef::<Account>::lookup("no such name").is_none());
    first.shutdown();
    wait_until("it is gone", || !first.is_alive());
    let second = Account::start_as(&"savings", 7).unwrap(); // the name is free again
    assert_eq!(ProcessRef::<Account>::lookup("savings").unwrap().id(), second.id());
    second.kill();
}

fn answering() {
    let account = Account::link().start(0).unwrap();
    // Two others wait for an amount; the third of three payments lets both go on.
    let waiters = [25, 30].map(|limit| {
        lunatic::spawn_link!(@task |account, limit| account.wait_for(limit))
    });
    wait_until("an impatient request times out", || {
        account.with_timeout(Duration::from_millis(1)).wait_for(1_000_000).is_err()
    });
    for _ in 0..2 {
        account.pay_in(10);
    }
    account.with_delay(Duration::from_millis(20)).pay_in(10);
    assert_eq!(waiters.map(|waiter| waiter.result()), [30, 30]);
    assert_eq!(account.balance(), 30);
    let cancelled = account.with_delay(Duration::from_millis(20)).pay_in(1000);
    assert!(cancelled.cancel());
    lunatic::sleep(Duration::from_millis(40));
    assert_eq!(account.balance(), 30);

    let doomed = Account::start(1).unwrap();
    let bereft = lunatic::spawn!(|account = {account}| {
        account.link();
        std::process::abort();
    });
    wait_until("the account hears of a link", || account.deaths() == 1);
    assert!(!bereft.is_alive());
    doomed.crash();
    wait_until("a crashed one is gone", || !doomed.is_alive());
    assert!(doomed.with_timeout(Duration::from_millis(5)).balance().is_err());

    account.shutdown(); // answered after `terminate`
    wait_until("it is gone", || !account.is_alive());
}

#[lunatic::main]
fn main(mailbox: Mailbox<i64>) {
    mailbox.this().register(&"observer");
    starting();
    assert_eq!(mailbox.receive_timeout(PATIENCE).unwrap(), 5);
    answering();
    assert_eq!(mailbox.receive_timeout(PATIENCE).unwrap(), 30);

    // A thousand of them, all alive at once.
    let many: Vec<_> = (0..1000).map(|number| Account::start(number).unwrap()).collect();
    assert_eq!(many.iter().map(|account| account.balance()).sum::<i64>(), 499_500);
}
