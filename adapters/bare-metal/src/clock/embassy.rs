//! The clock of embassy-time.

use tailwatch_core::{Clock, TickRate};

/// The time of the program's embassy-time driver: for programs that have one anyway.
///
/// *Resolution*: a tick of the driver, as the features `tick-hz-…` of embassy-time say, often 1 MHz or 32,768 Hz: too coarse for what lasts
/// microseconds. *Wrap period*: 2^64 ticks. Nothing to call. What reading costs, and whether it is lock-free in an interrupt, is the
/// driver's; many take a critical section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EmbassyTime;

impl EmbassyTime {
    /// Its rate.
    pub const RATE: TickRate = TickRate::from_hz(embassy_time_driver::TICK_HZ)
        .expect("embassy-time ticks at least once a second");
}

impl Clock for EmbassyTime {
    #[inline(always)]
    fn start(&self) -> u64 {
        embassy_time_driver::now()
    }

    #[inline(always)]
    fn end(&self) -> u64 {
        embassy_time_driver::now()
    }

    fn rate(&self) -> TickRate {
        Self::RATE
    }
}
