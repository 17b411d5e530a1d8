//! The hot path: spans and values of a registered thread, while no drain runs.

use core::{
    error::Error,
    future::Future,
    hint::black_box,
    pin::pin,
    task::{Context, Waker},
};

use tailwatch::{
    Builder, ClockMode, ClockSource, Collector, Event, EventId, Outcome, Stamp, Trading, measure,
    measure_cancel_on_drop, measure_tagged, record_since, record_value,
};

use crate::{count, floor};

const SPANS: u32 = 65_536;

/// More spans than in the other rows: sampling is random, and how many are recorded depends
/// slightly on the address of the recorder.
const SAMPLED_SPANS: u32 = 1_048_576;

type Work = fn(u32);

/// The forms of a span, and the number of records that each writes.
const FORMS: [(&str, u32, Work); 11] = [
    ("guard", 2, guard),
    ("guard_tagged", 2, guard_tagged),
    ("guard_high_id", 2, guard_high_id),
    ("guard_assigned_id", 2, guard_assigned_id),
    ("guard_unknown_id", 2, guard_unknown_id),
    ("guard_send", 2, guard_send),
    ("measure_sync", 2, measure_sync),
    ("measure_async", 2, measure_async),
    ("stamp", 1, stamp),
    ("stamp_tagged", 2, stamp_tagged),
    ("value", 1, value),
];

/// Two readings of the counter and nothing else.
fn floor(times: u32) {
    for _ in 0..times {
        floor::relaxed();
    }
}

fn guard(times: u32) {
    for _ in 0..times {
        let _span = measure(Trading::OrderPlacement);
        black_box(());
    }
}

fn guard_tagged(times: u32) {
    for order in 0..times {
        let _span = measure_tagged(Trading::OrderPlacement, u64::from(order));
        black_box(());
    }
}

/// Spans of an event whose byte of the gate is not among the recorder's copies.
fn guard_high_id(times: u32) {
    const HIGH: EventId = EventId::new(2_047).expect("the highest id");
    for _ in 0..times {
        let _span = measure(HIGH);
        black_box(());
    }
}

tailwatch::events! {
    /// Events whose numbers the collector assigns.
    enum Library {
        First,
        Second,
    }
}

/// Spans of an event whose number the collector has assigned.
fn guard_assigned_id(times: u32) {
    for _ in 0..times {
        let _span = measure(Library::Second);
        black_box(());
    }
}

/// Spans of an event of which the compiler does not know the id.
fn guard_unknown_id(times: u32) {
    let event = black_box(Trading::OrderPlacement.id());
    for _ in 0..times {
        let _span = measure(event);
        black_box(());
    }
}

fn guard_send(times: u32) {
    for _ in 0..times {
        let span = measure_cancel_on_drop(Trading::OrderPlacement);
        black_box(());
        span.end(Outcome::Ok);
    }
}

fn measure_sync(times: u32) {
    #[measure(Trading::OrderPlacement)]
    fn work() {
        black_box(());
    }

    for _ in 0..times {
        work();
    }
}

/// A future that is ready at its first poll, polled in place.
fn measure_async(times: u32) {
    #[measure(Trading::OrderPlacement)]
    async fn work() {
        black_box(());
    }

    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..times {
        let ready = pin!(work()).poll(&mut context).is_ready();
        black_box(ready);
    }
}

/// The interval from a stamp, without a tag.
fn stamp(times: u32) {
    for _ in 0..times {
        let stamp = Stamp::now();
        black_box(());
        record_since(stamp, Trading::OrderPlacement, 0);
    }
}

/// The interval from a stamp, with the tag in a second record.
fn stamp_tagged(times: u32) {
    for order in 1..=times {
        let stamp = Stamp::now();
        black_box(());
        record_since(stamp, Trading::OrderPlacement, u64::from(order));
    }
}

fn value(times: u32) {
    for n in 0..times {
        record_value(Trading::QueueBacklog, u64::from(n));
    }
}

/// Counts the instructions of `times` spans and returns the number of records that they wrote.
fn count_spans(collector: &Collector, row: &str, times: u32, work: Work) -> u64 {
    let produced = || {
        collector.flush();
        collector.health().produced
    };
    let before = produced();
    count(row, times, || work(black_box(times)));
    produced() - before
}

/// Counts the instructions of every form.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let start = |mode, share: Option<&str>| -> Result<Collector, Box<dyn Error>> {
        black_box(Library::First);
        let builder = Collector::builder();
        let builder = share.into_iter().fold(builder, Builder::share);
        let collector = builder
            .ignore_environment()
            .manual_drain()
            .clock_mode(mode)
            .events(Trading::ALL)
            .events(Library::ALL)
            .start()?;
        collector.register_thread("counted")?;
        match collector.report().clock.map(|clock| clock.source) {
            Some(ClockSource::Tsc) => Ok(collector),
            Some(ClockSource::Monotonic) | None => {
                Err("this machine has no reliable counter in the processor, and the rows need it"
                    .into())
            }
        }
    };

    for (name, mode) in [("relaxed", ClockMode::Relaxed), ("ordered", ClockMode::Ordered)] {
        let collector = start(mode, None)?;
        for (form, records, work) in FORMS {
            let written = count_spans(&collector, &format!("span/{form}/{name}"), SPANS, work);
            assert_eq!(written, u64::from(records * SPANS), "{form}: every span is recorded");
        }
        if cfg!(all(target_os = "linux", target_pointer_width = "64")) {
            let collector = start(mode, Some("tailwatch-instructions"))?;
            let written = count_spans(&collector, &format!("span/shared/{name}"), SPANS, guard);
            assert_eq!(written, u64::from(2 * SPANS), "shared: every span is recorded");
        }
    }

    count("span/floor/relaxed", SPANS, || floor(black_box(SPANS)));

    let collector = start(ClockMode::Relaxed, None)?;
    let share = collector.set_sampling_rate(Trading::OrderPlacement, 0.125)?;
    let written = count_spans(&collector, "span/sampled/relaxed", SAMPLED_SPANS, guard);
    let expected = f64::from(2 * SAMPLED_SPANS) * share;
    #[expect(clippy::cast_precision_loss, reason = "the count is far below 2^52")]
    let off = (written as f64 / expected - 1.0).abs();
    assert!(off < 0.02, "{written} records were written, expected about {expected}");

    collector.set_sampling_rate(Trading::OrderPlacement, 1.0)?;
    collector.set_enabled(false);
    let written = count_spans(&collector, "span/disabled", SPANS, guard);
    assert_eq!(written, 0, "a disabled collector records nothing");
    Ok(())
}
