//! Spans of tracers, which record more than a duration, and cost more.

use core::hint::black_box;
use std::io;

use fastrace::{
    Span,
    collector::{Config, Reporter, SpanContext, SpanRecord},
    local::LocalSpan,
};
use tailwatch::ClockMode;
use tracing::info_span;
use tracing_subscriber::fmt::format::FmtSpan;

use super::Peers;

pub(super) fn add(peers: &mut Peers) {
    add_fastrace(peers);
    add_tracing(peers);
}

/// A reporter that drops all spans.
struct Sink;

impl Reporter for Sink {
    fn report(&mut self, spans: Vec<SpanRecord>) {
        drop(spans);
    }
}

/// The spans in a trace, such as those of one request.
const TRACE: u32 = 100;

/// The library's own thread collects the traces, as long as there is room.
fn add_fastrace(peers: &mut Peers) {
    fastrace::set_reporter(Sink, Config::default());
    let upkeep = fastrace::flush;
    peers.add_with_upkeep("peer/fastrace", Some("guard"), ClockMode::Relaxed, upkeep, |times| {
        let mut left = times;
        while left > 0 {
            let root = Span::root("request", SpanContext::random());
            let _local = root.set_local_parent();
            for _ in 0..left.min(TRACE) {
                let _span = LocalSpan::enter_with_local_parent("order_placement");
                black_box(());
            }
            left = left.saturating_sub(TRACE);
        }
    });
}

/// Every span is written as a line with its duration when it closes.
fn add_tracing(peers: &mut Peers) {
    let lines =
        tracing_subscriber::fmt().with_writer(io::sink).with_span_events(FmtSpan::CLOSE).finish();
    if tracing::subscriber::set_global_default(lines).is_err() {
        peers
            .left_out
            .push("tracing: another peer has already set the global subscriber".to_owned());
        return;
    }
    peers.add("peer/tracing_fmt", Some("guard"), ClockMode::Ordered, |times| {
        for _ in 0..times {
            let _span = info_span!("order_placement").entered();
            black_box(());
        }
    });
}
