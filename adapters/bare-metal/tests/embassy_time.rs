//! Tests of the clock of embassy-time, with a driver that the test advances.

use core::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    task::Waker,
};

use embassy_time_driver::Driver;
use tailwatch_bare_metal::{clock::EmbassyTime, tailwatch_core::Clock};

/// A time driver whose tick count the test sets.
struct Mock {
    ticks: AtomicU64,
}

impl Driver for Mock {
    fn now(&self) -> u64 {
        self.ticks.load(Relaxed)
    }

    fn schedule_wake(&self, _at: u64, _waker: &Waker) {}
}

embassy_time_driver::time_driver_impl!(static DRIVER: Mock = Mock { ticks: AtomicU64::new(0) });

#[test]
fn it_returns_the_ticks_and_the_rate_of_the_driver() {
    for ticks in [0, 1, u64::MAX] {
        DRIVER.ticks.store(ticks, Relaxed);
        assert_eq!((EmbassyTime.start(), EmbassyTime.end()), (ticks, ticks));
    }
    assert_eq!(EmbassyTime.rate().hz(), embassy_time_driver::TICK_HZ);
}
