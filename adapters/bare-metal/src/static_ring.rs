//! A ring in a `static`, whose two ends are taken by safe code, each once.

use core::{error, fmt};

use tailwatch_core::{Clock, Consumer, Gate, Producer, Recorder, Ring, Slot, claim_once::Once};

/// A ring of `N` records for one context, to lie in a `static`: the context takes its producer, the drain its consumer.
///
/// It costs 16 bytes a record and some 30 more, all zero until used, so that it lies in `.bss`. Taking an end is wait-free, by loads and
/// stores alone: no critical section, also on targets without compare-and-swap. The limits: `N` is a power of two, 8 or more, which the
/// compiler checks; an end that was taken is gone for good, also if it is dropped. Of several *cores* that ask for one end
/// in the same moment it may be that none gets it.
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
/// assert_eq!(MAIN.take_producer().unwrap_err(), AlreadyTaken::Producer); // one context, one ring
/// # let _ = consumer;
/// # Ok::<(), AlreadyTaken>(())
/// ```
pub struct StaticRing<const N: usize> {
    ring: Ring<[Slot; N]>,
    producer: Once,
    consumer: Once,
}

impl<const N: usize> StaticRing<N> {
    /// An empty ring.
    #[expect(
        clippy::new_without_default,
        reason = "`const` is the point of it, and `Default::default` is not"
    )]
    pub const fn new() -> Self {
        Self { ring: Ring::new(), producer: Once::new(), consumer: Once::new() }
    }

    fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The producer's end, for the context that records.
    ///
    /// # Errors
    /// If it was taken before.
    pub fn take_producer(&self) -> Result<Producer<'_>, AlreadyTaken> {
        if self.producer.claim() {
            Ok(self.ring().attach_producer())
        } else {
            Err(AlreadyTaken::Producer)
        }
    }

    /// The consumer's end, for the drain.
    ///
    /// # Errors
    /// If it was taken before.
    pub fn take_consumer(&self) -> Result<Consumer<'_>, AlreadyTaken> {
        if self.consumer.claim() {
            Ok(self.ring().attach_consumer())
        } else {
            Err(AlreadyTaken::Consumer)
        }
    }

    /// The producer's end as a recorder of what this gate admits, at the times of this clock.
    ///
    /// # Errors
    /// If it was taken before.
    pub fn take_recorder<'r, C: Clock, const IDS: usize>(
        &'r self,
        gate: &'r Gate<IDS>,
        clock: C,
    ) -> Result<Recorder<'r, C, IDS>, AlreadyTaken> {
        self.take_producer().map(|producer| Recorder::new(producer, gate, clock))
    }

    /// Records published and not drained yet.
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

/// An end of a ring that was taken before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum AlreadyTaken {
    /// The end that records are written at.
    Producer,
    /// The end that they are drained at.
    Consumer,
}

impl fmt::Display for AlreadyTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Producer => {
                "the ring's producer was taken before: each context has a ring of its own, or shares a recorder"
            }
            Self::Consumer => "the ring's consumer was taken before: one drain empties it",
        })
    }
}

impl error::Error for AlreadyTaken {}
