//! The threads that record: what they do is chance, how many records that makes is counted.

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

/// Events of spans.
const SPANS: [Trading; 6] = [
    Trading::CandleProcessing,
    Trading::SignalGeneration,
    Trading::OrderPlacement,
    Trading::OrderFill,
    Trading::EventBusPublish,
    Trading::EventBusHandle,
];

/// So many spans go from thread to thread: fewer than have room in the table of open spans, most of the time.
const MOST_UNDER_WAY: usize = 300;

/// A span that whoever finds it ends.
#[derive(Debug)]
enum Span {
    SpanGuard(SpanGuard),
    Token(Token),
}

/// How threads record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Everything, in every way, as fast as it goes, also on threads for which there is no ring.
    Wild,
    /// Everything, in every way, but with rests and on registered threads: as a rule nothing is lost.
    Calm,
    /// While switches are turned and rates changed: only spans that say whether they are recorded, on registered threads.
    Gated,
}

/// All threads together.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    /// Spans that go from thread to thread.
    pot: Mutex<Vec<Span>>,
    /// Threads begun, each with a number of its own from 1.
    born: AtomicU64,
}

impl Crowd {
    /// Threads begun so far.
    pub(crate) fn born(&self) -> u64 {
        self.born.load(Relaxed)
    }

    /// One thread after the other, until then; returns how many records they pushed.
    pub(crate) fn keep_busy(&self, manner: Manner, until: Instant, mut rng: Rng) -> u64 {
        let mut pushed = 0;
        while Instant::now() < until {
            let serial = self.born.fetch_add(1, Relaxed) + 1;
            let life = Duration::from_micros(rng.u64(100..500_000));
            let until = until.min(Instant::now() + life);
            let mut worker =
                Worker { crowd: self, mark: serial << SERIAL_BIT, pushed: 0, rng: rng.fork() };
            pushed += thread::scope(|scope| {
                let thread = thread::Builder::new().name(name(serial));
                let thread = thread.spawn_scoped(scope, move || {
                    worker.live(manner, &name(serial), until);
                    worker.pushed
                });
                thread.expect("a thread").join().unwrap_or_else(|panic| resume_unwind(panic))
            });
        }
        pushed
    }

    /// Ends all spans that are under way.
    pub(crate) fn end_all(&self) {
        while let Some(span) = self.take() {
            end(span, Outcome::Cancelled);
        }
    }

    fn take(&self) -> Option<Span> {
        self.pot.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

fn end(span: Span, outcome: Outcome) {
    match span {
        Span::SpanGuard(guard) => guard.end(outcome),
        Span::Token(token) => record_end(token, outcome),
    }
}

/// One thread.
struct Worker<'c> {
    crowd: &'c Crowd,
    /// Its number and that of its last record.
    mark: u64,
    /// Records, those that found no ring included.
    pushed: u64,
    rng: Rng,
}

impl Worker<'_> {
    fn live(&mut self, manner: Manner, name: &str, until: Instant) {
        match manner {
            // Else the first record registers it.
            Manner::Wild if self.rng.bool() => {
                // All rings may be taken: then its records count as unregistered.
                let _ = register_thread(name);
            }
            Manner::Wild => (),
            Manner::Calm | Manner::Gated => {
                if register_thread(name).is_err() {
                    return thread::sleep(Duration::from_millis(1));
                }
            }
        }
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

    /// How many at once; if it is wild, seldom more than a ring holds.
    fn burst(&mut self, wild: bool) -> u64 {
        if wild && self.rng.u32(..200) == 0 {
            self.rng.u64(5_000..20_000)
        } else {
            self.rng.u64(1..400)
        }
    }

    fn rest(&mut self) {
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
                assert!(twice.is_err(), "what is timed is passed on");
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
                    // As a panic, but without a message.
                    resume_unwind(Box::new(()));
                }));
                assert!(unwound.is_err());
                self.pushed += 2;
            }
            6 | 7 => {
                let mark = self.mark();
                let span = if self.rng.bool() {
                    Span::SpanGuard(measure_tagged(event, mark))
                } else {
                    Span::Token(record_start_tagged(event, mark))
                };
                self.pushed += 2;
                self.put(span);
            }
            8 => self.take_one(),
            _ => self.rest(),
        }
    }

    fn act_gated(&mut self) {
        match self.rng.u32(..8) {
            0 => self.take_one(),
            1 => self.rest(),
            2 => {
                let span = self.begin();
                self.put(Span::Token(span));
            }
            _ => {
                for _ in 0..self.burst(true) {
                    let token = self.begin();
                    if self.rng.u32(..16) == 0 {
                        record_discard(token)
                    } else {
                        record_end(token, Outcome::Ok)
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
        let under_way = {
            let mut pot = self.crowd.pot.lock().unwrap_or_else(PoisonError::into_inner);
            pot.push(span);
            pot.len()
        };
        if under_way > MOST_UNDER_WAY {
            self.take_one();
        }
    }

    fn take_one(&mut self) {
        if let Some(span) = self.crowd.take() {
            let outcome = self.outcome();
            end(span, outcome);
        }
    }
}
