//! Clocks for microcontrollers. Each reads a hardware counter and extends it to 64 bits.
//!
//! To *wrap* means that a counter passes its largest value and starts over.
//!
//! | clock | resolution | the hardware wraps after | what the program must call |
//! |---|---|---|---|
//! | [`SysTick`] | a cycle of the core, or of its reference clock | its period, at most 2^24 ticks (0.17 s at 100 MHz) | [`on_wrap`](SysTick::on_wrap) in the exception handler |
//! | [`CycleCounter`] | a cycle of the core | 2^32 cycles (43 s at 100 MHz) | [`tick`](CycleCounter::tick) at least every 2^31 cycles |
//! | [`MachineCycle`] | a cycle of the core | 2^64 cycles | nothing |
//! | [`Counter`] | a count of the counter | 2^bits counts | [`tick`](Counter::tick) at least once in 2^bits counts, but at least every 2^31 counts |
//! | `EmbassyTime` (feature `embassy-time`) | a tick of embassy's time driver | never: the driver counts the wraps | nothing |
//!
//! All clocks return 64-bit ticks and can be read in any context of one core, including interrupt
//! handlers. Reading never blocks, except that a driver of embassy-time may enter a critical
//! section. If several cores record for one drain, their ticks must be comparable: on each core,
//! use a clock that reads a timer which all cores share.
//!
//! # What the clocks do not do
//!
//! - They do not set up the hardware, except that [`CycleCounter`] switches its counter on. The
//!   program chooses the source and the rate of a timer.
//! - They do not notice that the rate of a counter changes, for example because the core changes
//!   its frequency, or because a sleep mode stops the counter. The measured durations are then
//!   wrong.
//!
//! A clock that steps back does not make anything fail. A span whose END has an earlier tick than
//! its START gives no sample, and is counted in
//! [`clock_anomalies`](tailwatch_core::Counters::clock_anomalies). If a span lasts longer than the
//! step, its END has a later tick nevertheless. The span then gives a sample that is too short.

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
