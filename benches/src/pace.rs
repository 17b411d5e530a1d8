//! Work that comes at a fixed rate.

use core::time::Duration;
use std::{thread, time::Instant};

const TICK: Duration = Duration::from_millis(1);

/// Calls `work` `per_tick` times in each millisecond of `length`.
pub(crate) fn pace(per_tick: f64, length: Duration, mut work: impl FnMut()) {
    let start = Instant::now();
    let (mut due, mut ticks) = (0.0, 0);
    while start.elapsed() < length {
        due += per_tick;
        while due >= 1.0 {
            due -= 1.0;
            work();
        }
        ticks += 1;
        if let Some(rest) = (start + TICK * ticks).checked_duration_since(Instant::now()) {
            thread::sleep(rest);
        }
    }
}
