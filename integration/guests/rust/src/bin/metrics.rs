//! Metrics of a guest: every kind, from several processes; without anybody who collects they cost little and fail never.

use lunatic::metrics::{counter, decrement_gauge, gauge, histogram, increment_counter, increment_gauge};
use lunatic::{spawn_link, Mailbox};

fn work(number: u32) {
    for round in 0..1000 {
        increment_counter("guest::rounds");
        increment_gauge("guest::level", 1.5);
        decrement_gauge("guest::level", 0.5);
        histogram("guest::sizes", f64::from(round % 50));
    }
    counter("guest::last", u64::from(number));
    gauge(&format!("guest::worker {number} päckchen"), f64::MAX);
    for odd in [f64::NAN, f64::INFINITY, -0.0] {
        gauge("guest::odd", odd);
        histogram("guest::odd sizes", odd);
    }
    counter("", u64::MAX);
}

#[lunatic::main]
fn main(_: Mailbox<()>) {
    let workers: Vec<_> = (0..4).map(|number| spawn_link!(@task |number| work(number))).collect();
    workers.into_iter().for_each(|worker| worker.result());
}
