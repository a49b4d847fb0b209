//! What the programs share. Each checks itself: it ends with exit code 0, or panics.

use std::time::Duration;

/// Milliseconds to wait for what takes a few: the machine may be busy. Only a failing program waits this long.
pub const PATIENCE_MS: u64 = 20_000;

/// `PATIENCE_MS` as a duration.
pub const PATIENCE: Duration = Duration::from_millis(PATIENCE_MS);

/// Wait until `condition` holds; other processes decide when.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..PATIENCE_MS {
        if condition() {
            return;
        }
        lunatic::sleep(Duration::from_millis(1));
    }
    panic!("still not true: {what}");
}
