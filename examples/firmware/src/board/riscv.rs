//! The cycle counter as the clock; the core-local interruptor's timer interrupts.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

use riscv::register::{mcycle, mie};
pub use riscv_rt::entry;
use tailwatch_core::TickRate;

use crate::work::PERIOD_MICROS;

const MTIME: *mut u32 = 0x0200_BFF8 as *mut u32;
const MTIMECMP: *mut u32 = 0x0200_4000 as *mut u32;
const MTIME_HZ: u64 = 10_000_000;

#[expect(clippy::cast_possible_truncation, reason = "32 bits are enough")]
const PERIOD: usize = (MTIME_HZ * PERIOD_MICROS / 1_000_000) as usize;

/// Interrupts so far.
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);

/// When the next one is due, in 32 bits of the timer's ticks.
static DUE: AtomicUsize = AtomicUsize::new(0);

/// The processor's cycle counter, of 64 bits.
#[derive(Clone, Copy, Debug)]
pub struct Cycles;

/// The board's clock.
pub type Clock = Cycles;

/// The board's clock.
pub fn clock() -> Clock {
    Cycles
}

impl tailwatch_core::Clock for Cycles {
    #[inline(always)]
    fn start(&self) -> u64 {
        mcycle::read64()
    }

    #[inline(always)]
    fn end(&self) -> u64 {
        mcycle::read64()
    }

    fn rate(&self) -> TickRate {
        // The emulator counts nanoseconds here.
        TickRate::NANOSECONDS
    }
}

/// How often the timer has interrupted.
pub fn interrupts() -> u32 {
    INTERRUPTS.load(Relaxed)
}

/// Counts an interrupt, and asks for the next one: the first thing that its handler does.
pub fn interrupted() {
    // Nobody else writes them.
    INTERRUPTS.store(INTERRUPTS.load(Relaxed).wrapping_add(1), Relaxed);
    ask_for(DUE.load(Relaxed).wrapping_add(PERIOD));
}

fn ask_for(due: usize) {
    DUE.store(due, Relaxed);
    // SAFETY: the timer's compare register, which nobody else writes. The time stays below 32 bits here: 7 minutes.
    unsafe {
        MTIMECMP.add(1).write_volatile(0);
        MTIMECMP.write_volatile(due as u32);
    }
}

/// Starts the timer; whether this is the first time.
pub fn start() -> bool {
    if DUE.load(Relaxed) != 0 {
        return false;
    }
    // SAFETY: the timer's count, which may be read.
    let now = unsafe { MTIME.read_volatile() };
    ask_for(now as usize + PERIOD);
    // SAFETY: there is a handler, and nothing here relies on interrupts being off.
    unsafe {
        mie::set_mtimer();
        riscv::interrupt::enable();
    }
    true
}

/// Waits for an interrupt.
pub fn wait() {
    riscv::asm::wfi();
}
