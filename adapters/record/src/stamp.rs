//! Stamps, which travel with a message and from which any number of intervals is recorded.

use tailwatch_core::{Clock, Event, MAX_PAYLOAD};

use crate::{
    clock::{ReadMethod, tsc},
    thread_recorder,
};

/// The moment at which something arrived: 8 bytes to put into a message.
///
/// [`record_since`] records the interval from a stamp until now. One stamp serves any number of
/// intervals, on any thread: a tick that leads to three orders gives three samples, each with the
/// tag of its order. A stamp that leads to none costs nothing more, because a stamp writes no
/// record. Use a span ([`measure`](crate::measure())) where each beginning has exactly one end:
/// only a span can be open and hang.
///
/// All collectors of a process read the same clock, so a stamp may be taken by a thread of one
/// collector and used by a thread of another one. It means nothing in another process, nor in a
/// plugin that has its own copy of this crate.
///
/// ```
/// use std::time::Duration;
/// use tailwatch::{Collector, Stamp, Trading, record_since};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let collector = Collector::builder().start()?;
/// collector.install()?;
///
/// #[derive(Clone, Copy)]
/// struct Tick { price: u64, arrived: Stamp }
///
/// let tick = Tick { price: 101, arrived: Stamp::now() };
/// for order in [4_711, 4_712, 4_713] {
///     // … send the order …
///     record_since(tick.arrived, Trading::OrderPlacement, order);
/// }
/// collector.stop();
/// assert_eq!(collector.total(Trading::OrderPlacement)?.map(|total| total.count), Some(3));
/// let slowest = collector.slowest(Trading::OrderPlacement, Duration::from_secs(60))?;
/// assert!(slowest.iter().all(|order| order.tag.is_some()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stamp(pub(crate) u64);

/// The tick of a stamp that was not taken. No clock returns it: see [`Stamp::now`].
const NOT_TAKEN: u64 = 0;

impl Stamp {
    /// Takes a stamp: reads the clock once, as the beginning of a span does.
    ///
    /// On a thread that has no ring, the clock is that of the installed collector, which takes
    /// longer to find. If there is none either,
    /// the stamp is not [taken](Self::is_taken). With the Cargo feature `off`, no stamp is.
    ///
    /// Never panics or blocks, and on a thread that has a ring, neither allocates nor locks. Makes
    /// no system call, unless the collector reads the operating system's clock.
    #[inline(always)]
    pub fn now() -> Self {
        if thread_recorder::OFF {
            return Self(NOT_TAKEN);
        }
        if *thread_recorder::state().recorder.clock() == ReadMethod::Monotonic {
            return Self::now_without_counter();
        }
        Self(tsc::relaxed())
    }

    /// Takes a stamp on a thread that has no ring, or whose clock is the operating system's.
    #[cold]
    #[inline(never)]
    fn now_without_counter() -> Self {
        // The operating system's clock may still be at 0 in the first nanosecond.
        Self(thread_recorder::clock().map_or(NOT_TAKEN, |clock| clock.start().max(1)))
    }

    /// Returns whether the stamp stands for a moment. A stamp does not if it was taken before there
    /// was a collector, or was made by [`default`](Self::default).
    #[inline]
    pub const fn is_taken(self) -> bool {
        self.0 != NOT_TAKEN
    }
}

/// Records the time from `stamp` until now as a duration of `event`, with a tag such as an order
/// number.
///
/// The low 46 bits of the tag are kept; pass 0 if there is none. The tag takes a second record in
/// the ring. It is shown where the duration is one of the slowest, and observers receive it with
/// the duration. Whether the interval is recorded depends on what is recorded of the event now, not
/// when the stamp was taken.
///
/// These intervals give no sample:
///
/// - from a stamp that is not [taken](Stamp::is_taken); counted in `Health::unregistered`
/// - from a stamp that is ahead of the clock, as between processors whose counters differ; counted
///   in `Health::negative_differences`
/// - of 2^46 − 1 ticks or more (6.5 hours at 3 GHz); counted in `Health::saturated`
///
/// The event must be measured in time; otherwise the records are invalid. Never panics or blocks,
/// and on a thread that has a ring, neither allocates nor locks.
#[inline(always)]
pub fn record_since(stamp: Stamp, event: impl Event, tag: u64) {
    if thread_recorder::OFF {
        return;
    }
    let id = event.id();
    let recorder = &thread_recorder::state().recorder;
    let decision = recorder.decision(id);
    if decision.is_always()
        && stamp.is_taken()
        && let Some(now) = recorder.clock().end_by_counter()
    {
        recorder.interval_at(id, 0, stamp.0, tag, now);
    } else if !decision.is_switched_off() {
        record_since_rare(stamp, event, tag);
    }
}

/// Records an interval in the cases that [`record_since`] does not handle.
#[cold]
#[inline(never)]
fn record_since_rare(stamp: Stamp, event: impl Event, tag: u64) {
    let records = 1 + usize::from(tag & MAX_PAYLOAD != 0);
    thread_recorder::write_rare(event, records, |state, event, sampling, now| {
        if !stamp.is_taken() {
            state.count_unregistered(records);
            return;
        }
        // `now` is the tick of a record that begins something, which the processor may read before
        // the measured work is done.
        let now = state.recorder.clock().end_by_counter().unwrap_or(now);
        state.recorder.interval_at(event, sampling, stamp.0, tag, now);
    });
}
