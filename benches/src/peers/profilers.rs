//! Spans of profilers, which keep every span until they are read.

use core::hint::black_box;

use hotpath::{Format, HotpathGuardBuilder};
use tailwatch::ClockMode;

use super::Peers;

pub(super) fn add(peers: &mut Peers) {
    add_tracy(peers);
    add_hotpath(peers);
}

/// Without a connected viewer, as most of the time: memory grows with every span.
fn add_tracy(peers: &mut Peers) {
    tracy_client::Client::start();
    peers.add("peer/tracy_client", Some("guard"), ClockMode::Relaxed, |times| {
        for _ in 0..times {
            let _span = tracy_client::span!("order_placement");
            black_box(());
        }
    });
}

/// The library's own thread evaluates the spans from a queue.
fn add_hotpath(peers: &mut Peers) {
    #[hotpath::measure]
    fn work() {
        black_box(());
    }

    let guard = HotpathGuardBuilder::new("versus").format(Format::None).build();
    // Dropping the guard would end the measurement.
    let keep = move || _ = &guard;
    peers.add_with_upkeep(
        "peer/hotpath",
        Some("measure_sync"),
        ClockMode::Relaxed,
        keep,
        |times| {
            for _ in 0..times {
                work();
            }
        },
    );
}
