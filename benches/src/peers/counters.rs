//! Two readings of a clock, into a histogram from another crate.

use core::hint::black_box;
use std::time::Instant;

use hdrhistogram::Histogram;
use histogram::AtomicHistogram;
use tailwatch::ClockMode;

use super::Peers;

/// The longest duration that the histogram covers: a minute.
const LONGEST_NS: u64 = 60_000_000_000;

pub(super) fn add(peers: &mut Peers) {
    add_instant(peers);
    add_quanta(peers);
    add_minstant(peers);
    add_latency(peers);
}

/// The two readings alone, without a histogram. The clock of Linux waits for the instructions
/// before it.
fn add_instant(peers: &mut Peers) {
    peers.add("peer/instant", None, ClockMode::Ordered, |times| {
        for _ in 0..times {
            let start = Instant::now();
            black_box(());
            black_box(start.elapsed());
        }
    });
}

/// The histogram belongs to one thread: it has no windows, and no other thread can read it.
fn add_quanta(peers: &mut Peers) {
    let clock = quanta::Clock::new();
    let mut histogram =
        Histogram::<u64>::new_with_bounds(1, LONGEST_NS, 3).expect("the bounds are valid");
    peers.add("peer/quanta_hdrhistogram", Some("explicit"), ClockMode::Relaxed, move |times| {
        for _ in 0..times {
            let start = clock.raw();
            black_box(());
            let end = clock.raw();
            histogram.saturating_record(clock.delta_as_nanos(start, end));
        }
    });
}

fn add_minstant(peers: &mut Peers) {
    let histogram = AtomicHistogram::new(7, 64).expect("the configuration is valid");
    peers.add(
        "peer/minstant_atomic_histogram",
        Some("explicit"),
        ClockMode::Relaxed,
        move |times| {
            for _ in 0..times {
                let start = minstant::Instant::now();
                black_box(());
                let nanos = start.elapsed().as_nanos();
                // The histogram covers all durations.
                let _ = histogram.increment(u64::try_from(nanos).unwrap_or(u64::MAX));
            }
        },
    );
}

fn add_latency(peers: &mut Peers) {
    if !cfg!(target_arch = "x86_64") || !latency::rdtsc::has_invariant_tsc() {
        peers
            .left_out
            .push("latency: needs an x86-64 processor with an invariant counter".to_owned());
        return;
    }
    latency::init();
    let histogram = latency::Histogram::new();
    peers.add("peer/latency", Some("explicit"), ClockMode::Ordered, move |times| {
        for _ in 0..times {
            let start = latency::TimePoint::now();
            black_box(());
            histogram.record(start.elapsed_ns());
        }
    });
}
