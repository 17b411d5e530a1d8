//! A ring for a `static`, each end of which can be taken once, by safe code.

use core::{error, fmt};

use tailwatch_core::{
    Clock, Consumer, Gate, Producer, Recorder, Ring, Slot, claim_once::ClaimOnce,
};

/// A ring of `N` records for a `static`: one context takes its producer, the drain its consumer.
///
/// It takes 16 bytes per record, and 28 bytes besides on a 32-bit target. All of it is zero until
/// it is used, so it lies in `.bss`. Taking an end is wait-free and needs only loads and stores: no
/// critical section and no compare-and-swap.
///
/// # Limits
///
/// - `N` must be a power of two and at least 8, which is checked at compile time.
/// - An end can be taken only once, even if it is dropped.
/// - If several *cores* take the same end at the same moment, possibly none gets it.
///
/// ```
/// use tailwatch_bare_metal::{StaticRing, AlreadyTaken};
/// use tailwatch_core::{Gate, Trading};
/// # use tailwatch_core::{Clock, TickRate};
/// # struct Timer;
/// # impl Clock for Timer {
/// #     fn start(&self) -> u64 { 7 }
/// #     fn end(&self) -> u64 { 8 }
/// #     fn rate(&self) -> TickRate { TickRate::NANOSECONDS }
/// # }
/// # static CLOCK: Timer = Timer; // on a Cortex-M: SysTick::new(16_000_000, 16_000)
///
/// static GATE: Gate<9> = Gate::new();
/// static MAIN: StaticRing<64> = StaticRing::new();
///
/// let recorder = MAIN.take_recorder(&GATE, &CLOCK)?; // in main
/// drop(recorder.measure(Trading::OrderFill));
/// let consumer = MAIN.take_consumer()?; // for the drain
/// assert_eq!(MAIN.take_producer().unwrap_err(), AlreadyTaken::Producer);
/// # let _ = consumer;
/// # Ok::<(), AlreadyTaken>(())
/// ```
pub struct StaticRing<const N: usize> {
    ring: Ring<[Slot; N]>,
    producer: ClaimOnce,
    consumer: ClaimOnce,
}

impl<const N: usize> StaticRing<N> {
    /// Creates an empty ring.
    #[expect(
        clippy::new_without_default,
        reason = "it is made in constants, where `Default` cannot be called"
    )]
    pub const fn new() -> Self {
        Self { ring: Ring::new(), producer: ClaimOnce::new(), consumer: ClaimOnce::new() }
    }

    fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Takes the producer, for the context that records.
    ///
    /// # Errors
    ///
    /// Returns an error if the producer was taken before.
    pub fn take_producer(&self) -> Result<Producer<'_>, AlreadyTaken> {
        if self.producer.claim() {
            Ok(self.ring().attach_producer())
        } else {
            Err(AlreadyTaken::Producer)
        }
    }

    /// Takes the consumer, for the drain.
    ///
    /// # Errors
    ///
    /// Returns an error if the consumer was taken before.
    pub fn take_consumer(&self) -> Result<Consumer<'_>, AlreadyTaken> {
        if self.consumer.claim() {
            Ok(self.ring().attach_consumer())
        } else {
            Err(AlreadyTaken::Consumer)
        }
    }

    /// Takes the producer as a recorder, which records the events that `gate` admits, with ticks of
    /// `clock`.
    ///
    /// # Errors
    ///
    /// Returns an error if the producer was taken before.
    pub fn take_recorder<'r, C: Clock, const IDS: usize>(
        &'r self,
        gate: &'r Gate<IDS>,
        clock: C,
    ) -> Result<Recorder<'r, C, IDS>, AlreadyTaken> {
        self.take_producer().map(|producer| Recorder::new(producer, gate, clock))
    }

    /// Returns the number of records that are written and not drained yet.
    pub fn pending(&self) -> usize {
        self.ring().pending()
    }
}

impl<const N: usize> fmt::Debug for StaticRing<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticRing")
            .field("ring", &self.ring())
            .field("producer_taken", &self.producer.is_claimed())
            .field("consumer_taken", &self.consumer.is_claimed())
            .finish()
    }
}

/// The error returned when an end of a [`StaticRing`] was taken before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum AlreadyTaken {
    /// The producer, which writes records.
    Producer,
    /// The consumer, which drains records.
    Consumer,
}

impl fmt::Display for AlreadyTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Producer => {
                "the producer was taken before; use one ring per context, or a `SharedRecorder`"
            }
            Self::Consumer => "the consumer was taken before; only one drain can read a ring",
        })
    }
}

impl error::Error for AlreadyTaken {}
