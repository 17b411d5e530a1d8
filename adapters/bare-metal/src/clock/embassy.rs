//! The clock of embassy-time.

use tailwatch_core::{Clock, TickRate};

/// A clock that reads the embassy-time driver of the program.
///
/// The resolution is one tick of the driver. The features `tick-hz-…` of embassy-time set the
/// rate of the ticks. It is often 1 MHz or 32,768 Hz, which is too coarse to measure durations of a
/// few microseconds. The tick count wraps after 2^64 ticks. The driver counts the wraps of its
/// hardware, so, unlike with [`SysTick`](super::SysTick) or
/// [`CycleCounter`](super::CycleCounter), the program need not call a method for this. The driver
/// also determines how long a reading takes and whether it is lock-free; many drivers enter a
/// critical section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EmbassyTime;

impl EmbassyTime {
    /// The number of ticks of the driver per second.
    pub const RATE: TickRate = TickRate::from_hz(embassy_time_driver::TICK_HZ)
        .expect("embassy-time ticks at least once a second");
}

impl Clock for EmbassyTime {
    #[inline(always)]
    fn start(&self) -> u64 {
        embassy_time_driver::now()
    }

    fn rate(&self) -> TickRate {
        Self::RATE
    }
}
