//! Clocks of microcontrollers.
//!
//! | clock | resolution | counts by itself for | the caller has to |
//! |---|---|---|---|
//! | [`SysTick`] | a cycle of the core, or of its reference clock | its period, 2^24 ticks at the most (0.17 s at 100 MHz) | call [`on_wrap`](SysTick::on_wrap) in the exception |
//! | [`CycleCounter`] | a cycle of the core | 2^32 cycles (43 s at 100 MHz) | call [`tick`](CycleCounter::tick) every 2^31 cycles |
//! | [`MachineCycle`] | a cycle of the core | 2^64 cycles | nothing |
//! | [`Counter`] | that of the counter | 2^bits ticks | call [`tick`](Counter::tick) in time |
//! | `EmbassyTime` (feature `embassy-time`) | that of embassy's time driver | 2^64 ticks | nothing |
//!
//! All of them tell 64-bit ticks, never block, and can be read in any context of one core, interrupts included. Where
//! several cores record into one collector, their clocks have to tell the same time: take a [`Counter`] of a timer that all of
//! them read.
//!
//! # What they do not do
//!
//! None of them sets up what it reads, but for the cycle counter's switch: which clock feeds the timer, and how fast, is the
//! program's. A clock whose rate changes while it runs (dynamic frequency, a sleep in which it stops) tells wrong lengths. One that steps
//! back is survived: the span is counted as a clock anomaly and has no latency.

mod base;
mod counter;
mod cycle_counter;
#[cfg(feature = "embassy-time")]
mod embassy;
mod hardware;
mod machine_cycle;
mod systick;

#[cfg(feature = "embassy-time")]
pub use self::embassy::EmbassyTime;
pub use self::{
    base::Base,
    counter::{BitsError, Counter, FreeRunning},
    cycle_counter::{CycleCounter, CycleCounterError, CycleRegisters},
    hardware::{CortexM, RiscV},
    machine_cycle::{MachineCycle, MachineCycleError, MachineRegisters},
    systick::{PeriodError, SysTick, SysTickRegisters},
};
