//! What the images share: their runtime, their events, and a clock that is hardly one.

#![no_std]

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

pub mod watched;

use tailwatch_core::{Clock, TickRate, WindowSpec, events};

events! {
    /// Four of them, as the budget has it.
    pub enum Four {
        /// The first.
        Sample = 1,
        /// The second.
        Filter = 2,
        /// The third.
        Control = 3,
        /// The fourth.
        Send = 4,
    }
}

/// The windows of the budget, in five slices each.
pub const WINDOWS: [WindowSpec; 2] = {
    let [second, five] = [WindowSpec::SECOND, WindowSpec::FIVE_SECONDS];
    [WindowSpec::new(second.length, 5), WindowSpec::new(five.length, 5)]
};

/// The least that a clock can cost, so that sizes are those of what is beside it: a word that somebody else counts up.
#[derive(Clone, Copy, Debug)]
pub struct CountWord;

/// What the clock reads.
pub static TICKS: AtomicU32 = AtomicU32::new(0);

impl Clock for CountWord {
    #[inline]
    fn start(&self) -> u64 {
        u64::from(TICKS.load(Relaxed))
    }

    #[inline]
    fn end(&self) -> u64 {
        self.start()
    }

    fn rate(&self) -> TickRate {
        RATE
    }
}

/// A megahertz.
pub const RATE: TickRate = TickRate::from_hz(1_000_000).expect("not zero");

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
