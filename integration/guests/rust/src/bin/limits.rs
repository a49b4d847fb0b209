//! Configs: memory, fuel and rights of children; each that breaks a limit dies alone.

use std::hint::black_box;
use std::time::Duration;

use luna_rust_guests::{wait_until, PATIENCE};
use lunatic::panic::catch_panic;
use lunatic::{LunaticError, Mailbox, Process, ProcessConfig, WasmModule};

const MEGABYTE: u64 = 1 << 20;

/// Sends what it could allocate, in megabytes.
fn hoard(parent: Process<u64>, _: Mailbox<()>) {
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut more = Vec::new();
        if more.try_reserve_exact(MEGABYTE as usize).is_err() {
            return parent.send(hoard.len() as u64);
        }
        more.resize(MEGABYTE as usize, 1);
        hoard.push(more);
    }
}

fn count((parent, steps): (Process<u64>, u64), _: Mailbox<()>) {
    let mut sum = 0u64;
    for step in 0..steps {
        sum = black_box(sum + step);
    }
    parent.send(sum);
}

fn with(change: impl FnOnce(&mut ProcessConfig)) -> ProcessConfig {
    let mut config = ProcessConfig::new().unwrap();
    change(&mut config);
    config
}

fn memory(mailbox: &Mailbox<u64>) {
    for limit in [4, 16, 64] {
        let config = with(|config| config.set_max_memory(limit * MEGABYTE));
        Process::spawn_config(&config, mailbox.this(), hoard);
        let allocated = mailbox.receive_timeout(PATIENCE).unwrap();
        assert!((limit / 2 - 1..limit).contains(&allocated), "{allocated} of {limit} MB");
    }
    // Less than the module needs from the start: no process.
    let config = with(|config| config.set_max_memory(1000));
    let refused = catch_panic(|| Process::spawn_config(&config, mailbox.this(), hoard).id());
    assert!(refused.is_err());
}

fn fuel(mailbox: &Mailbox<u64>) {
    let config = with(|config| config.set_max_fuel(1));
    let spender = Process::spawn_config(&config, (mailbox.this(), u64::MAX), count);
    wait_until("who computes too much is gone", || !spender.is_alive());
    let config = with(|config| config.set_max_fuel(1000));
    Process::spawn_config(&config, (mailbox.this(), 100_000), count);
    assert_eq!(mailbox.receive_timeout(PATIENCE).unwrap(), 4_999_950_000);
    // Waiting costs nothing.
    let waiting = Process::spawn_config(&config, mailbox.this(), |parent, _: Mailbox<()>| {
        for _ in 0..20 {
            lunatic::sleep(Duration::from_millis(1));
        }
        parent.send(7);
    });
    assert_eq!(mailbox.receive_timeout(PATIENCE).unwrap(), 7);
    wait_until("it ended", || !waiting.is_alive());
}

fn rights(mailbox: &Mailbox<u64>) {
    let config = with(|_| ());
    assert_eq!((config.get_max_memory(), config.get_max_fuel()), (0xFFFF_FFFF, 0));
    assert!(!config.can_spawn_processes() && !config.can_create_configs() && !config.can_compile_modules());
    Process::spawn_config(&config, mailbox.this(), |parent: Process<u64>, _: Mailbox<()>| {
        let spawned = catch_panic(|| Process::spawn((), |_, _: Mailbox<()>| ()).id()).is_ok();
        let configured = !matches!(ProcessConfig::new(), Err(LunaticError::PermissionDenied));
        let compiled = !matches!(WasmModule::new(b"(module)"), Err(LunaticError::PermissionDenied));
        parent.send(spawned as u64 + 2 * configured as u64 + 4 * compiled as u64);
    });
    assert_eq!(mailbox.receive_timeout(PATIENCE).unwrap(), 0, "a right that was not given");

    let all = with(|config| {
        config.set_can_spawn_processes(true);
        config.set_can_create_configs(true);
        config.set_can_compile_modules(true);
        config.set_max_memory(32 * MEGABYTE);
    });
    assert!(all.can_spawn_processes() && all.can_create_configs() && all.can_compile_modules());
    // A child's config may say more than its parent has; it gets no more.
    Process::spawn_config(&all, mailbox.this(), |parent: Process<u64>, _: Mailbox<()>| {
        let greedy = with(|config| config.set_max_memory(1024 * MEGABYTE));
        Process::spawn_config(&greedy, parent, hoard);
    });
    let allocated = mailbox.receive_timeout(PATIENCE).unwrap();
    assert!(allocated < 32, "{allocated} MB");
}

#[lunatic::main]
fn main(mailbox: Mailbox<u64>) {
    memory(&mailbox);
    fuel(&mailbox);
    rights(&mailbox);
}
