//! Histograms of metrics libraries. Handles are looked up once, durations are in seconds, and no
//! exporter runs.
//!
//! All of them read the operating system's clock, which on Linux waits for the instructions before
//! it.

use core::hint::black_box;
use std::time::Instant;

use metrics_exporter_prometheus::PrometheusBuilder;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::{ManualReader, SdkMeterProvider};
use prometheus::HistogramOpts;
use prometheus_client::metrics::histogram::{self, Histogram};
use tailwatch::ClockMode;

use super::Peers;

/// The upper bound of the first bucket in seconds, and the number of buckets. Each bound is twice
/// the previous one, so they reach from 10 ns to about 5 ms.
const FIRST_BUCKET: f64 = 1e-8;
const BUCKETS: u16 = 20;

pub(super) fn add(peers: &mut Peers) {
    add_prometheus_client(peers);
    add_prometheus(peers);
    add_metrics(peers);
    add_opentelemetry(peers);
}

fn add_prometheus_client(peers: &mut Peers) {
    let histogram = Histogram::new(histogram::exponential_buckets(FIRST_BUCKET, 2.0, BUCKETS));
    peers.add("peer/prometheus_client", Some("explicit"), ClockMode::Ordered, move |times| {
        for _ in 0..times {
            let start = Instant::now();
            black_box(());
            histogram.observe(start.elapsed().as_secs_f64());
        }
    });
}

/// The timer of this library is a guard.
fn add_prometheus(peers: &mut Peers) {
    let buckets = prometheus::exponential_buckets(FIRST_BUCKET, 2.0, BUCKETS.into())
        .expect("the buckets are valid");
    let options = HistogramOpts::new("order_placement", "Order placements").buckets(buckets);
    let histogram = prometheus::Histogram::with_opts(options).expect("the histogram is valid");
    peers.add("peer/prometheus", Some("guard"), ClockMode::Ordered, move |times| {
        for _ in 0..times {
            let _timer = histogram.start_timer();
            black_box(());
        }
    });
}

/// Samples accumulate until the exporter's upkeep, which users run every few seconds.
fn add_metrics(peers: &mut Peers) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let exporter = recorder.handle();
    let histogram =
        metrics::with_local_recorder(&recorder, || metrics::histogram!("order_placement"));
    let upkeep = move || exporter.run_upkeep();
    peers.add_with_upkeep(
        "peer/metrics",
        Some("explicit"),
        ClockMode::Ordered,
        upkeep,
        move |times| {
            for _ in 0..times {
                let start = Instant::now();
                black_box(());
                histogram.record(start.elapsed());
            }
        },
    );
}

fn add_opentelemetry(peers: &mut Peers) {
    let provider = SdkMeterProvider::builder().with_reader(ManualReader::builder().build()).build();
    let histogram = provider.meter("versus").f64_histogram("order_placement").build();
    // Dropping the provider would shut the histogram down.
    let keep = move || _ = &provider;
    peers.add_with_upkeep(
        "peer/opentelemetry",
        Some("explicit"),
        ClockMode::Ordered,
        keep,
        move |times| {
            for _ in 0..times {
                let start = Instant::now();
                black_box(());
                histogram.record(start.elapsed().as_secs_f64(), &[]);
            }
        },
    );
}
