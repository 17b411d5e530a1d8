//! The RISC-V board (QEMU's `virt`): the cycle counter is the clock, and the timer of the
//! core-local interruptor (CLINT) causes the interrupts.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

use riscv::register::{mcycle, mie};
pub use riscv_rt::entry;
use tailwatch_core::TickRate;

use crate::work::PERIOD_MICROS;

/// The low word of the timer's 64-bit count.
const MTIME: *mut u32 = 0x0200_BFF8 as *mut u32;
/// The low word of the timer's 64-bit compare register. The timer interrupts when its count reaches
/// this value.
const MTIMECMP: *mut u32 = 0x0200_4000 as *mut u32;
/// The rate of the timer.
const MTIME_HZ: u64 = 10_000_000;

/// The number of counts of the timer from one interrupt to the next.
#[expect(clippy::cast_possible_truncation, reason = "32 bits are enough")]
const PERIOD: usize = (MTIME_HZ * PERIOD_MICROS / 1_000_000) as usize;

/// The number of interrupts so far.
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);

/// The low word of the timer's count at which the next interrupt is due; 0 before the timer is
/// started.
static DUE: AtomicUsize = AtomicUsize::new(0);

/// A clock over the 64-bit cycle counter of the processor.
#[derive(Clone, Copy, Debug)]
pub struct Cycles;

/// The type of the board's clock.
pub type Clock = Cycles;

/// Returns the board's clock.
pub fn clock() -> Clock {
    Cycles
}

impl tailwatch_core::Clock for Cycles {
    #[inline(always)]
    fn start(&self) -> u64 {
        mcycle::read64()
    }

    fn rate(&self) -> TickRate {
        // The emulator's `mcycle` counts nanoseconds.
        TickRate::NANOSECONDS
    }
}

/// Returns how often the timer has interrupted.
pub fn interrupts() -> u32 {
    INTERRUPTS.load(Relaxed)
}

/// Counts an interrupt and schedules the next one. The handler must call it before anything else.
pub fn on_interrupt() {
    // Loads and stores are sufficient: once the timer runs, only the handler writes these
    // variables.
    INTERRUPTS.store(INTERRUPTS.load(Relaxed).wrapping_add(1), Relaxed);
    schedule(DUE.load(Relaxed).wrapping_add(PERIOD));
}

/// Makes the timer interrupt when the low word of its count reaches `due`.
fn schedule(due: usize) {
    DUE.store(due, Relaxed);
    // SAFETY: this is the compare register of the timer, which no other code writes. Its high word
    // can stay 0, because the count exceeds 32 bits only after 7 minutes, and the programs end long
    // before that.
    unsafe {
        MTIMECMP.add(1).write_volatile(0);
        MTIMECMP.write_volatile(due as u32);
    }
}

/// Starts the timer. Returns `false` if it was started before.
pub fn start_timer() -> bool {
    if DUE.load(Relaxed) != 0 {
        return false;
    }
    // SAFETY: this is the count of the timer, and reading it has no side effect.
    let now = unsafe { MTIME.read_volatile() };
    schedule(now as usize + PERIOD);
    // SAFETY: the interrupt has a handler, and no code relies on interrupts being disabled.
    unsafe {
        mie::set_mtimer();
        riscv::interrupt::enable();
    }
    true
}

/// Sleeps until an interrupt occurs.
pub fn wait_for_interrupt() {
    riscv::asm::wfi();
}
