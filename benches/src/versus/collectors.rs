//! The collectors that spans are recorded into. The collector decides what happens to the records.

use core::{
    cell::Cell,
    error::Error,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};
use std::thread;

use tailwatch::{Builder, ClockMode, Collector, Sampling};

use super::{Work, forms};
use crate::{processor, rounds::Contestant};

/// The capacity of the ring that is meant to overflow.
pub(super) const SMALL_RING: usize = 1_024;

/// What happens to the records of a turn.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// They wait in the ring until the turn has ended.
    Delivered,
    /// The same, but only 1 span in 16 is recorded.
    Sampled,
    /// The drain's thread drains them at its own pace.
    Drained,
    /// They are not drained, in a turn that is as long as a drained one.
    Undrained,
    /// A reader is at work, which pauses for 10 µs between passes.
    Read,
    /// They overwrite each other in a small ring.
    Overwritten,
    /// There are none, because recording is off.
    Unrecorded,
}

/// A collector, with statistics of the turns that record into it.
struct TurnCollector {
    inner: Collector,
    /// Whether the ring is drained between turns.
    flush_between_turns: bool,
    /// The number of records that its contestants were asked for: two for each span, one for each
    /// value.
    asked: Cell<u64>,
    /// The processor time of the recording thread, in long turns only, because reading it is a
    /// system call.
    processor_time: Cell<Duration>,
}

impl TurnCollector {
    fn new(builder: Builder, flush_between_turns: bool) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            inner: builder.start()?,
            flush_between_turns,
            asked: Cell::default(),
            processor_time: Cell::default(),
        })
    }

    /// Runs `work` and adds the processor time that it takes.
    fn timed(&self, work: impl FnOnce()) {
        let before = processor::thread_time();
        work();
        let took = processor::thread_time().saturating_sub(before);
        self.processor_time.set(self.processor_time.get() + took);
    }
}

/// The collectors of one clock mode.
pub(super) struct Collectors {
    spans: TurnCollector,
    values: TurnCollector,
    sampled: TurnCollector,
    drained: TurnCollector,
    undrained: TurnCollector,
    read: TurnCollector,
    overflowing: TurnCollector,
    off: TurnCollector,
}

impl Collectors {
    pub(super) fn start(mode: ClockMode) -> Result<Self, Box<dyn Error>> {
        // Two rings, because the ring that a turn with another collector leaves behind is given
        // back a little later.
        let builder = || Collector::builder().ignore_environment().clock_mode(mode).rings(2);
        let manual = || builder().manual_drain();
        Ok(Self {
            spans: TurnCollector::new(manual(), true)?,
            values: TurnCollector::new(manual(), true)?,
            sampled: TurnCollector::new(
                manual().sampling(forms::SPAN, Sampling::Rate(1.0 / 16.0)),
                true,
            )?,
            drained: TurnCollector::new(builder(), false)?,
            undrained: TurnCollector::new(manual(), true)?,
            read: TurnCollector::new(manual(), false)?,
            overflowing: TurnCollector::new(
                manual().ring_capacity(SMALL_RING).max_ring_capacity(SMALL_RING),
                true,
            )?,
            off: TurnCollector::new(manual().enabled(false), true)?,
        })
    }

    /// Returns a contestant whose records meet this fate.
    pub(super) fn contestant(&self, name: &'static str, work: Work, fate: Fate) -> Contestant<'_> {
        let collector = match fate {
            Fate::Delivered if name.contains("span/value/") => &self.values,
            Fate::Delivered => &self.spans,
            Fate::Sampled => &self.sampled,
            Fate::Drained => &self.drained,
            Fate::Undrained => &self.undrained,
            Fate::Read => &self.read,
            Fate::Overwritten => &self.overflowing,
            Fate::Unrecorded => &self.off,
        };
        let prepare = move || {
            if collector.flush_between_turns {
                collector.inner.flush();
            }
            collector.inner.register_thread("bench").expect("the only thread gets a ring");
        };
        let records = if name.contains("/value/") { 1 } else { 2 };
        let after = move |times| {
            collector.asked.set(collector.asked.get() + records * u64::from(times));
        };
        let work: Box<dyn FnMut(u32)> = match fate {
            Fate::Drained | Fate::Undrained => {
                Box::new(move |times| collector.timed(|| work(times)))
            }
            _ => Box::new(work),
        };
        Contestant {
            prepare: Box::new(prepare),
            after: Box::new(after),
            ..Contestant::new(name, work)
        }
    }

    /// Calls `work` while a reader drains the rings of [`Fate::Read`].
    pub(super) fn with_reader<T>(&self, work: impl FnOnce() -> T) -> T {
        /// Ends the reader, also if `work` panics.
        struct Over<'o>(&'o AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Relaxed);
            }
        }

        let (is_over, reader) = (AtomicBool::new(false), &self.read.inner);
        thread::scope(|scope| {
            let reading = || {
                while !is_over.load(Relaxed) {
                    reader.flush();
                    thread::sleep(Duration::from_micros(10));
                }
            };
            scope.spawn(reading);
            let _over = Over(&is_over);
            work()
        })
    }

    /// Stops the collectors, checks that all records met their intended fate, and returns the
    /// results of the long turns.
    pub(super) fn check(&self) -> Result<LongTurns, Box<dyn Error>> {
        let health = |collector: &TurnCollector| {
            collector.inner.stop();
            collector.inner.health()
        };
        let [kept, values, sampled, read] =
            [&self.spans, &self.values, &self.sampled, &self.read].map(health);
        let [drained, undrained, overflowing, off] =
            [&self.drained, &self.undrained, &self.overflowing, &self.off].map(health);
        let asked = |collector: &TurnCollector| collector.asked.get();
        let expected = [
            ("kept", &kept, asked(&self.spans), kept.overwritten == 0),
            ("values", &values, asked(&self.values), values.overwritten == 0),
            (
                "sampled",
                &sampled,
                sampled.produced,
                sampled.produced > 0 && sampled.overwritten == 0,
            ),
            ("read", &read, asked(&self.read), read.overwritten == 0),
            ("drained", &drained, asked(&self.drained), drained.delivered > 0),
            ("undrained", &undrained, asked(&self.undrained), undrained.overwritten > 0),
            ("overflowing", &overflowing, asked(&self.overflowing), overflowing.overwritten > 0),
            ("off", &off, 0, true),
        ];
        for (name, health, produced, as_meant) in expected {
            if health.produced != produced || health.unregistered > 0 || !as_meant {
                return Err(format!(
                    "{name}: the records did not meet their intended fate, expected {produced} \
                     produced: {health:?}"
                )
                .into());
            }
        }
        let nanos = |collector: &TurnCollector| {
            collector.processor_time.get().as_secs_f64() * 1e9 / float(asked(collector) / 2)
        };
        Ok(LongTurns {
            taken: float(drained.delivered) / float(drained.produced),
            drained_ns: nanos(&self.drained),
            undrained_ns: nanos(&self.undrained),
        })
    }
}

/// The results of the long turns.
pub(super) struct LongTurns {
    /// The share of the records that the drain took.
    pub(super) taken: f64,
    /// The recording thread's processor time per span while the drain runs, in nanoseconds.
    pub(super) drained_ns: f64,
    /// The same without a drain.
    pub(super) undrained_ns: f64,
}

#[allow(clippy::cast_precision_loss, reason = "the figures are printed with a few digits")]
fn float(count: u64) -> f64 {
    count as f64
}
