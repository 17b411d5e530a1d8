//! A clock over any free-running counter of 8 to 32 bits, extended to 64 bits.

use core::{error, fmt};

use tailwatch_core::{Clock, TickRate};

use super::Base;

/// Access to a hardware counter that counts up by itself and wraps to 0.
///
/// Functions and closures that return a `u32` implement this trait.
pub trait FreeRunning {
    /// Returns the current count. If the counter has fewer than 32 bits, the bits above them are
    /// ignored.
    ///
    /// The implementation must be wait-free and must not have side effects.
    fn count(&self) -> u32;
}

impl<F: Fn() -> u32> FreeRunning for F {
    #[inline(always)]
    fn count(&self) -> u32 {
        self()
    }
}

/// A clock with 64-bit ticks over a free-running counter of 8 to 32 bits.
///
/// The resolution is one count. The hardware wraps after 2^bits counts, the 64-bit tick count after
/// 2^63. A reading of the clock takes as long as a reading of the counter, plus about fifteen
/// instructions. It is lock-free and correct in any context, even in a context that interrupts
/// [`tick`](Self::tick).
///
/// # What the program must do
///
/// Call [`tick`](Self::tick) before the first reading, and then at least once in 2^bits counts, or
/// in 2^31 counts for a counter of 32 bits. Call it from code that is certain to run in time, such
/// as the idle loop or the overflow interrupt of the timer. If a call comes later than that:
///
/// - Each time that 2^bits counts pass without a call, the clock steps back by 2^bits counts, which
///   it loses. A span during which this happens is certain to be counted in
///   [`clock_anomalies`](tailwatch_core::Counters::clock_anomalies) only if it is shorter than
///   2^bits counts, so that its END reads less than its START. The duration of a longer span is
///   2^bits counts too short, and usually nothing shows this. Likewise, a pass of the drain is
///   counted only if it reads less than the pass before.
/// - With a counter of 32 bits, a call from 2^31 to 2^32 counts after the previous one loses
///   nothing. But a context that interrupts this call may read a tick that is 2^32 too low.
///
/// ```
/// use core::sync::atomic::{AtomicU32, Ordering};
/// use tailwatch_bare_metal::clock::Counter;
/// use tailwatch_core::{Clock, TickRate};
///
/// static TIMER: AtomicU32 = AtomicU32::new(0xFFF0); // stands for a 16-bit timer
/// fn timer() -> u32 {
///     TIMER.load(Ordering::Relaxed)
/// }
///
/// let clock = Counter::new(timer, 16, TickRate::from_hz(1_000_000).unwrap()).unwrap(); // 1 MHz
/// clock.tick(); // call it at least every 65 ms
/// let start = clock.start();
/// TIMER.store(0x0010, Ordering::Relaxed); // the timer has wrapped
/// assert_eq!(clock.end() - start, 0x20);
/// ```
///
/// If the hardware counts down, return `!count` from the function. For a clock in a `static`, `F`
/// can be `fn() -> u32`, which is called through a pointer. To have the reading inlined, implement
/// [`FreeRunning`] for a type of your own instead.
pub struct Counter<F> {
    /// The tick count at the last call of `tick`.
    base: Base,
    /// The largest count: 2^bits − 1.
    mask: u32,
    rate: TickRate,
    source: F,
}

impl<F> Counter<F> {
    /// Creates a clock over `counter`, which has `bits` bits and counts at `rate`.
    ///
    /// # Errors
    ///
    /// Returns an error if `bits` is not between 8 and 32. For a counter of 64 bits, implement
    /// [`Clock`] directly.
    pub const fn new(counter: F, bits: u32, rate: TickRate) -> Result<Self, BitsError>
    where
        F: Copy,
    {
        if bits < 8 || bits > 32 {
            return Err(BitsError { bits });
        }
        Ok(Self { base: Base::new(), mask: u32::MAX >> (32 - bits), rate, source: counter })
    }

    /// Returns the number of bits of the counter.
    pub const fn bits(&self) -> u32 {
        self.mask.count_ones()
    }
}

impl<F: FreeRunning> Counter<F> {
    /// Returns the current tick.
    ///
    /// Lock-free: the reading is repeated only if [`tick`](Self::tick) ran in the middle of it.
    #[inline]
    pub fn now(&self) -> u64 {
        now(&self.base, self.mask, || self.source.count())
    }

    /// Stores the current tick count. The next call must follow within 2^bits counts, or within
    /// 2^31 counts for a counter of 32 bits. Lock-free.
    ///
    /// Calls must not interrupt each other, so call this method from one context, or from contexts
    /// of the same priority. No call may be interrupted for this long.
    #[inline]
    pub fn tick(&self) {
        self.base.store(self.now());
    }
}

/// Returns the current tick of a clock whose counter has counted at most `mask` counts since its
/// tick count was `base`. `count` reads the counter.
#[inline(always)]
pub(super) fn now(base: &Base, mask: u32, count: impl Fn() -> u32) -> u64 {
    loop {
        let (tick, low) = base.load();
        // The bits of `mask` in `low` are what the counter read at the last `tick`. The difference
        // is masked, because the other bits do not correspond to the counter.
        let elapsed = count().wrapping_sub(low) & mask;
        if base.is_unchanged(low) {
            return tick.wrapping_add(u64::from(elapsed));
        }
    }
}

impl<F: FreeRunning> Clock for Counter<F> {
    #[inline(always)]
    fn start(&self) -> u64 {
        self.now()
    }

    fn rate(&self) -> TickRate {
        self.rate
    }
}

impl<F> fmt::Debug for Counter<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter")
            .field("base", &self.base)
            .field("bits", &self.bits())
            .field("rate", &self.rate)
            .finish_non_exhaustive()
    }
}

/// The error returned by [`Counter::new`] for a number of bits outside 8 to 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct BitsError {
    /// The requested number of bits.
    pub bits: u32,
}

impl fmt::Display for BitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a counter must have 8 to 32 bits, not {}; for one of 64 bits, implement `Clock`",
            self.bits
        )
    }
}

impl error::Error for BitsError {}

#[cfg(test)]
mod tests;
