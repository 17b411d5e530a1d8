//! A ring for a `static`, whose producer and consumer can each be taken once, by safe code.

use core::{error, fmt};

use tailwatch_core::{
    Clock, Consumer, Gate, Producer, Recorder, Ring, Slot, claim_once::ClaimOnce,
};

/// A ring of `N` records for a `static`. One context takes its producer and writes records, and the
/// drain takes its consumer and reads them.
///
/// The ring takes 16 bytes per record, plus 28 bytes on a 32-bit target. All of its memory is zero
/// at first, so a `static` lies in `.bss` and takes no flash. Taking the producer or the consumer
/// is wait-free and needs only loads and stores: no critical section and no compare-and-swap.
///
/// # Limits
///
/// - `N` must be a power of two and at least 8, which is checked at compile time.
/// - The producer and the consumer can each be taken only once, even if they are dropped.
/// - If several threads, on one core or several, try to take the same one at the same moment,
///   possibly all of them get an error. Interrupt handlers that interrupt each other are no such
///   case: exactly one of them gets it.
///
/// ```
/// use tailwatch_bare_metal::{StaticRing, AlreadyTaken};
/// use tailwatch_core::{Gate, Trading};
/// # use tailwatch_core::{Clock, TickRate};
/// # struct Timer;
/// # impl Clock for Timer {
/// #     fn start(&self) -> u64 { 7 }
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

    /// Takes the producer, which writes records into the ring. Give it to the one context (main, an
    /// interrupt handler or a task) that records into this ring. Most programs call
    /// [`take_recorder`](Self::take_recorder) instead.
    ///
    /// # Errors
    ///
    /// Returns an error if the producer or recorder was taken before. If several threads try at the
    /// same moment, possibly none of them gets it, and all later calls fail, too.
    pub fn take_producer(&self) -> Result<Producer<'_>, AlreadyTaken> {
        if self.producer.claim() {
            Ok(self.ring().attach_producer())
        } else {
            Err(AlreadyTaken::Producer)
        }
    }

    /// Takes the consumer, which reads records, for
    /// [`DrainConfig::rings`](crate::DrainConfig::rings).
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

    /// Takes the producer, and returns a recorder that writes into it. The recorder records the
    /// events that `gate` admits, and reads `clock` for the ticks of their records.
    ///
    /// # Errors
    ///
    /// Returns an error if the producer or recorder was taken before.
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

/// The error returned when the producer or the consumer of a [`StaticRing`] was taken before. Names
/// which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum AlreadyTaken {
    /// The producer, which writes records, was taken before.
    Producer,
    /// The consumer, which reads records, was taken before.
    Consumer,
}

impl fmt::Display for AlreadyTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Producer => {
                "the producer of this ring was taken before; give each context a ring of its own, \
                 or share a `SharedRecorder`"
            }
            Self::Consumer => {
                "the consumer of this ring was taken before; only one drain can read a ring"
            }
        })
    }
}

impl error::Error for AlreadyTaken {}
