//! Clocks for microcontrollers, based on their hardware counters.
//!
//! | clock | resolution | the hardware wraps after | what the program must call |
//! |---|---|---|---|
//! | [`SysTick`] | a cycle of the core, or of its reference clock | its period, at most 2^24 ticks (0.17 s at 100 MHz) | [`on_wrap`](SysTick::on_wrap) in the exception |
//! | [`CycleCounter`] | a cycle of the core | 2^32 cycles (43 s at 100 MHz) | [`tick`](CycleCounter::tick) at least every 2^31 cycles |
//! | [`MachineCycle`] | a cycle of the core | 2^64 cycles | nothing |
//! | [`Counter`] | a count of the counter | 2^bits counts | [`tick`](Counter::tick) at least once in that time |
//! | `EmbassyTime` (feature `embassy-time`) | a tick of embassy's time driver | 2^64 ticks | nothing |
//!
//! All clocks return 64-bit ticks and can be read in any context of one core, including interrupts.
//! Reading never blocks, except that a driver of embassy-time may take a critical section. If
//! several cores record into one aggregator, their clocks must agree: use a [`Counter`] over a
//! timer that all cores read.
//!
//! # What they do not do
//!
//! - They do not set up the hardware, apart from enabling the cycle counter. The program chooses
//!   the source and the rate of a timer.
//! - They do not notice that a rate changes, as with dynamic frequency scaling or in a sleep mode
//!   that stops the counter. The measured durations are then wrong.
//!
//! A clock that steps back causes no failure: a span that sees the step has no latency and is
//! counted as a clock anomaly.

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
