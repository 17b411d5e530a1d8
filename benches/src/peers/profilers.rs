//! Spans of profilers, which keep each one until somebody looks.

use core::hint::black_box;

use hotpath::{Format, HotpathGuardBuilder};
use tailwatch::ClockMode;

use super::Peers;

pub(super) fn add(peers: &mut Peers) {
    add_tracy(peers);
    add_hotpath(peers);
}

/// Without a viewer, as most of the time: memory grows with every span.
fn add_tracy(peers: &mut Peers) {
    tracy_client::Client::start();
    peers.add("peer/tracy_client", Some("guard"), ClockMode::Relaxed, |times| {
        for _ in 0..times {
            let _span = tracy_client::span!("order_placement");
            black_box(());
        }
    });
}

/// A thread of its own counts what the queue brings.
fn add_hotpath(peers: &mut Peers) {
    #[hotpath::measure]
    fn work() {
        black_box(());
    }

    let guard = HotpathGuardBuilder::new("versus").format(Format::None).build();
    // Dropped, it would measure no more.
    let keep = move || _ = &guard;
    peers.add_kept("peer/hotpath", Some("measure_sync"), ClockMode::Relaxed, keep, |times| {
        for _ in 0..times {
            work();
        }
    });
}
