//! Any counter that runs freely, extended to 64 bits.

use core::{error, fmt};

use tailwatch_core::{Clock, TickRate};

use super::Base;

/// A counter that counts up by itself and begins again at 0. A function that reads one is one.
pub trait FreeRunning {
    /// What it stands at; bits above its own are ignored. Wait-free, and without an effect.
    fn count(&self) -> u32;
}

impl<F: Fn() -> u32> FreeRunning for F {
    #[inline(always)]
    fn count(&self) -> u32 {
        self()
    }
}

/// A free-running counter of 8 to 32 bits as a clock of 64-bit ticks.
///
/// *Resolution*: one count. *Wrap period*: 2^bits counts, within which [`tick`](Self::tick) has to be called; the ticks told wrap after
/// 2^63. Reading costs the counter's own read and some fifteen instructions, is lock-free, and right in any context, also while
/// `tick` is at work.
///
/// # What the caller has to do
///
/// Call [`tick`](Self::tick) before the first reading, and then at least once in 2^bits counts (in 2^31, of a counter of 32 bits): in the idle loop, in the timer's overflow
/// interrupt, wherever it is certain. Each time that it comes too late the clock loses a wrap period, and steps back: what a span or
/// a drain sees of that is counted as a clock anomaly.
///
/// ```
/// use core::sync::atomic::{AtomicU32, Ordering};
/// use tailwatch_bare_metal::clock::Counter;
/// use tailwatch_core::{Clock, TickRate};
///
/// static TIMER: AtomicU32 = AtomicU32::new(0xFFF0); // stands for a timer of 16 bits
/// fn timer() -> u32 {
///     TIMER.load(Ordering::Relaxed)
/// }
///
/// let clock = Counter::new(timer, 16, TickRate::from_hz(1_000_000).unwrap()).unwrap(); // 1 MHz
/// clock.tick(); // at least every 65 ms
/// let start = clock.start();
/// TIMER.store(0x0010, Ordering::Relaxed); // it wrapped
/// assert_eq!(clock.end() - start, 0x20);
/// ```
///
/// In a `static` the function's type is `fn() -> u32`; a type of one's own that is [`FreeRunning`] is inlined instead. A counter that
/// counts down is read as `!count`.
pub struct Counter<F> {
    base: Base,
    /// The bits that it counts in.
    mask: u32,
    rate: TickRate,
    source: F,
}

impl<F> Counter<F> {
    /// A counter of so many bits that runs at this rate.
    ///
    /// # Errors
    /// If it has fewer than 8 bits, or more than 32; the error names them. One of 64 bits needs no extension: implement [`Clock`]
    /// for it.
    pub const fn new(counter: F, bits: u32, rate: TickRate) -> Result<Self, BitsError>
    where
        F: Copy,
    {
        if bits < 8 || bits > 32 {
            return Err(BitsError { bits });
        }
        Ok(Self { base: Base::new(), mask: u32::MAX >> (32 - bits), rate, source: counter })
    }

    /// How many bits it has.
    pub const fn bits(&self) -> u32 {
        self.mask.count_ones()
    }
}

impl<F: FreeRunning> Counter<F> {
    /// The tick now: lock-free, repeated only where [`tick`](Self::tick) ran in the midst of it.
    #[inline]
    pub fn now(&self) -> u64 {
        now(&self.base, self.mask, || self.source.count())
    }

    /// Takes note of where the counter is, so that it may wrap once more: lock-free. It may be called in several contexts, if none of them
    /// is interrupted in the midst of it for as long as a wrap period.
    #[inline]
    pub fn tick(&self) {
        self.base.store(self.now());
    }
}

/// The tick that a counter stands at that was at `base` less than a wrap ago.
#[inline(always)]
pub(super) fn now(base: &Base, mask: u32, count: impl Fn() -> u32) -> u64 {
    loop {
        let (tick, low) = base.load();
        // Of what the base says only these bits are the counter's.
        let elapsed = count().wrapping_sub(low) & mask;
        if base.is_still(low) {
            return tick.wrapping_add(u64::from(elapsed));
        }
    }
}

impl<F: FreeRunning> Clock for Counter<F> {
    #[inline(always)]
    fn start(&self) -> u64 {
        self.now()
    }

    #[inline(always)]
    fn end(&self) -> u64 {
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

/// A number of bits that no [`Counter`] can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BitsError {
    /// The bits that were asked for.
    pub bits: u32,
}

impl fmt::Display for BitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a counter of {} bits: it has 8 to 32; one of 64 needs no extension", self.bits)
    }
}

impl error::Error for BitsError {}

#[cfg(test)]
mod tests;
