//! The recording threads. They act at random and count the records that they push.

use core::{
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use std::{
    panic::{catch_unwind, resume_unwind},
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use fastrand::Rng;
use tailwatch::{
    Outcome, SpanGuard, Token, Trading, measure, measure_tagged, record_discard, record_duration,
    record_end, record_start, record_start_tagged, record_value, register_thread, time, try_time,
};

use crate::witness::{SERIAL_BIT, name};

/// The events that are measured by spans.
const SPANS: [Trading; 6] = [
    Trading::CandleProcessing,
    Trading::SignalGeneration,
    Trading::OrderPlacement,
    Trading::OrderFill,
    Trading::EventBusPublish,
    Trading::EventBusHandle,
];

/// How many open spans the pot may hold before a thread that adds one also ends one. This usually
/// keeps the open spans within the room of their table.
const MAX_IN_POT: usize = 300;

/// An open span that any thread may end.
#[derive(Debug)]
enum Span {
    Guard(SpanGuard),
    Token(Token),
}

/// How a thread records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// In every way, as fast as possible, even if there is no ring for the thread.
    Wild,
    /// In every way, but with pauses and on registered threads, so that usually nothing is lost.
    Calm,
    /// On registered threads, while switches and sampling rates change. Only records spans by
    /// tokens, because a token shows whether its span is recorded.
    Gated,
}

/// What all recording threads share.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    /// Open spans that pass from thread to thread.
    pot: Mutex<Vec<Span>>,
    /// The number of threads started, and so the serial number of the newest; the first has 1.
    threads_started: AtomicU64,
}

impl Crowd {
    /// Returns the number of threads started so far.
    pub(crate) fn threads_started(&self) -> u64 {
        self.threads_started.load(Relaxed)
    }

    /// Runs one thread after the other until `until`. Returns the number of records that they
    /// pushed.
    pub(crate) fn keep_busy(&self, manner: Manner, until: Instant, mut rng: Rng) -> u64 {
        let mut pushed = 0;
        while Instant::now() < until {
            let serial = self.threads_started.fetch_add(1, Relaxed) + 1;
            let lifetime = Duration::from_micros(rng.u64(100..500_000));
            let until = until.min(Instant::now() + lifetime);
            let mut worker =
                Worker { crowd: self, mark: serial << SERIAL_BIT, pushed: 0, rng: rng.fork() };
            pushed += thread::scope(|scope| {
                let thread = thread::Builder::new().name(name(serial));
                let thread = thread.spawn_scoped(scope, move || {
                    worker.run(manner, &name(serial), until);
                    worker.pushed
                });
                thread
                    .expect("the thread starts")
                    .join()
                    .unwrap_or_else(|panic| resume_unwind(panic))
            });
        }
        pushed
    }

    /// Ends all spans in the pot.
    pub(crate) fn end_all(&self) {
        while let Some(span) = self.take() {
            end(span, Outcome::Cancelled);
        }
    }

    fn take(&self) -> Option<Span> {
        self.pot.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// Ends `span` with `outcome`.
fn end(span: Span, outcome: Outcome) {
    match span {
        Span::Guard(guard) => guard.end(outcome),
        Span::Token(token) => record_end(token, outcome),
    }
}

/// A recording thread.
struct Worker<'c> {
    crowd: &'c Crowd,
    /// The last mark: the thread's serial number from `SERIAL_BIT` up, below it the count of marks.
    mark: u64,
    /// The records pushed, including those that found no ring.
    pushed: u64,
    rng: Rng,
}

impl Worker<'_> {
    fn run(&mut self, manner: Manner, name: &str, until: Instant) {
        match manner {
            // Otherwise the first record takes a ring.
            Manner::Wild if self.rng.bool() => {
                // All rings may be taken; then the records of this thread count as unregistered.
                let _ = register_thread(name);
            }
            Manner::Wild => (),
            Manner::Calm | Manner::Gated => {
                if register_thread(name).is_err() {
                    return thread::sleep(Duration::from_millis(1));
                }
            }
        }
        // The second condition ends the thread before its marks run out.
        while Instant::now() < until
            && self.mark & ((1 << SERIAL_BIT) - 1) < (1 << SERIAL_BIT) - 100_000
        {
            match manner {
                Manner::Wild => self.act(true),
                Manner::Calm => {
                    self.act(false);
                    thread::sleep(Duration::from_micros(self.rng.u64(..300)));
                }
                Manner::Gated => self.act_gated(),
            }
        }
    }

    /// Returns the next mark.
    fn mark(&mut self) -> u64 {
        self.mark += 1;
        self.mark
    }

    fn event(&mut self) -> Trading {
        SPANS[self.rng.usize(..SPANS.len())]
    }

    fn outcome(&mut self) -> Outcome {
        [Outcome::Ok, Outcome::Error, Outcome::Cancelled][self.rng.usize(..3)]
    }

    /// Returns how often to repeat an action; a wild thread sometimes overflows its ring.
    fn burst(&mut self, wild: bool) -> u64 {
        if wild && self.rng.u32(..200) == 0 {
            self.rng.u64(5_000..20_000)
        } else {
            self.rng.u64(1..400)
        }
    }

    fn pause(&mut self) {
        match self.rng.u32(..4) {
            0 => thread::sleep(Duration::from_micros(self.rng.u64(1..3_000))),
            1 => thread::yield_now(),
            _ => (),
        }
    }

    fn act(&mut self, wild: bool) {
        let event = self.event();
        match self.rng.u32(..10) {
            0 => {
                for _ in 0..self.burst(wild) {
                    record_value(Trading::QueueBacklog, self.mark());
                    self.pushed += 1;
                }
            }
            1 => {
                for _ in 0..self.burst(wild) {
                    drop(measure_tagged(event, self.mark()));
                    self.pushed += 2;
                }
            }
            2 => {
                let outer = measure(event);
                for _ in 0..self.burst(wild) {
                    record_end(record_start(Trading::EventBusHandle), Outcome::Error);
                    self.pushed += 2;
                }
                outer.discard();
                self.pushed += 2;
            }
            3 => {
                let twice = time(event, || try_time(Trading::OrderFill, || Err::<(), ()>(())));
                assert!(twice.is_err(), "`time` must return the result of the closure");
                self.pushed += 4;
            }
            4 => {
                for _ in 0..self.burst(wild) {
                    record_duration(
                        Trading::GcPause,
                        Duration::from_nanos(self.rng.u64(..1 << 40)),
                    );
                    self.pushed += 1;
                }
            }
            5 => {
                let mark = self.mark();
                let unwound = catch_unwind(AssertUnwindSafe(|| {
                    let _span = measure_tagged(event, mark);
                    // Panics without printing a message.
                    resume_unwind(Box::new(()));
                }));
                assert!(unwound.is_err());
                self.pushed += 2;
            }
            6 | 7 => {
                let mark = self.mark();
                let span = if self.rng.bool() {
                    Span::Guard(measure_tagged(event, mark))
                } else {
                    Span::Token(record_start_tagged(event, mark))
                };
                self.pushed += 2;
                self.put(span);
            }
            8 => self.end_one(),
            _ => self.pause(),
        }
    }

    fn act_gated(&mut self) {
        match self.rng.u32(..8) {
            0 => self.end_one(),
            1 => self.pause(),
            2 => {
                let span = self.begin();
                self.put(Span::Token(span));
            }
            _ => {
                for _ in 0..self.burst(true) {
                    let token = self.begin();
                    if self.rng.u32(..16) == 0 {
                        record_discard(token);
                    } else {
                        record_end(token, Outcome::Ok);
                    }
                }
            }
        }
    }

    fn begin(&mut self) -> Token {
        let (event, mark) = (self.event(), self.mark());
        let token = record_start_tagged(event, mark);
        self.pushed += if token.is_recorded() { 2 } else { 0 };
        token
    }

    fn put(&mut self, span: Span) {
        let open = {
            let mut pot = self.crowd.pot.lock().unwrap_or_else(PoisonError::into_inner);
            pot.push(span);
            pot.len()
        };
        if open > MAX_IN_POT {
            self.end_one();
        }
    }

    fn end_one(&mut self) {
        if let Some(span) = self.crowd.take() {
            let outcome = self.outcome();
            end(span, outcome);
        }
    }
}
