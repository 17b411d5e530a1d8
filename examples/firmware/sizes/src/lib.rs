//! What the images share: the panic handler, the events, the windows and a minimal clock. An image
//! is a program whose size is compared with the budgets.

#![no_std]

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

pub mod watched;

use tailwatch_core::{Clock, TickRate, WindowSpec, events};

events! {
    /// The four events for which the budgets are stated.
    pub enum Four {
        /// The first event.
        Sample = 1,
        /// The second event.
        Filter = 2,
        /// The third event.
        Control = 3,
        /// The fourth event.
        Send = 4,
    }
}

/// The windows for which the budgets are stated. Each moves forward in five steps (*slices*).
pub const WINDOWS: [WindowSpec; 2] = {
    let [second, five] = [WindowSpec::SECOND, WindowSpec::FIVE_SECONDS];
    [WindowSpec::new(second.length, 5), WindowSpec::new(five.length, 5)]
};

/// A clock that only reads a variable, so that it adds as little as possible to the size of an
/// image.
#[derive(Clone, Copy, Debug)]
pub struct MinimalClock;

/// The variable that the clock reads. Nothing advances it, because the images are never run.
pub static TICKS: AtomicU32 = AtomicU32::new(0);

impl Clock for MinimalClock {
    #[inline]
    fn start(&self) -> u64 {
        u64::from(TICKS.load(Relaxed))
    }

    fn rate(&self) -> TickRate {
        RATE
    }
}

/// The rate of the clock: 1 MHz.
pub const RATE: TickRate = TickRate::from_hz(1_000_000).expect("not zero");

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
