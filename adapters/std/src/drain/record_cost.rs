//! What one record costs the thread that writes it, measured when a collector starts.
//!
//! The cost depends on the work in the span. In ordered mode, the reading of the clock at its end
//! waits until the work is done. Without the span, the processor would begin what follows before
//! that. It could not if what follows needs the result of the work, so the span costs less then.
//! What follows rarely needs all of it, and a cost that is stated too low misleads more than one
//! that is stated too high. The work here is therefore of the other kind: nothing that follows
//! needs its result. From a few ten nanoseconds on, its length makes no difference.

use core::hint::black_box;

use tailwatch_core::{Clock, EventId, Gate, Outcome, Recorder};

use crate::{
    clock::HostClock,
    recording::{
        ring_budget::{Purpose, RingBudget},
        ring_memory::RingMemory,
    },
};

/// The spans in a round, and the rounds. All of them take less than 2 ms.
const SPANS: u32 = 300;
const ROUNDS: u32 = 20;

/// The numbers that the work of a span hashes: those in 12 cache lines, which takes about 100 ns.
const WORDS: usize = 96;

/// Measures the cost of one record with this clock, in nanoseconds: what half a span adds to work.
/// Returns 0 if there is no memory for a ring.
pub(super) fn record_ns(clock: HostClock) -> f64 {
    const EVENT: EventId = EventId::new(1).expect("1 is a valid id");
    let budget = RingBudget::new(usize::MAX);
    let Ok(memory) = RingMemory::new(4_096, &budget, Purpose::First) else { return 0.0 };
    let gate = Gate::<2>::new();
    let recorder = Recorder::new(memory.ring().attach_producer(), &gate, clock).with_copies();
    let words = [1; WORDS];
    let plain = |_| {
        black_box(hash(black_box(&words)));
    };
    let measured = |tag| {
        let token = recorder.start(black_box(EVENT), tag);
        black_box(hash(black_box(&words)));
        recorder.end(token, Outcome::Ok);
    };
    let mut fastest = [u64::MAX; 2];
    // Alternating, so that a processor that becomes faster favours neither.
    for _ in 0..ROUNDS {
        fastest[0] = fastest[0].min(round(clock, plain));
        fastest[1] = fastest[1].min(round(clock, measured));
    }
    #[expect(clippy::cast_precision_loss, reason = "a round takes far less than 2^52 ns")]
    let [plain, measured] = fastest.map(|nanos| nanos as f64);
    (measured - plain).max(0.0) / f64::from(2 * SPANS)
}

/// Returns the time of a round in nanoseconds.
fn round(clock: HostClock, span: impl Fn(u64)) -> u64 {
    let start = clock.start();
    (0..u64::from(SPANS)).for_each(span);
    clock.rate().nanos_in_ticks(clock.end().saturating_sub(start))
}

/// Does the work of a span. Each step needs the result of the one before it.
#[inline(never)]
fn hash(words: &[u64; WORDS]) -> u64 {
    let step =
        |hash: u64, word: &u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    words.iter().fold(0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_a_record_is_positive() {
        assert!(record_ns(HostClock::monotonic()) > 0.0);
    }
}
