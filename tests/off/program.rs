//! A program with recording compiled out: everything can still be called, and nothing is recorded.

use core::time::Duration;

use tailwatch::{
    Collector, HiccupProbe, Reporter, Stamp, Trading, measure, record_since, record_value,
    register_thread,
};

fn main() {
    let collector = Collector::builder().start().expect("the collector starts");
    collector.install().expect("no other collector is installed");
    register_thread("main").expect("registering needs no ring");
    let probe = HiccupProbe::start(&collector, Trading::GcPause, Duration::from_millis(1))
        .expect("the probe starts");
    let reporter = Reporter::json_lines(&collector, Duration::from_secs(1), std::io::sink())
        .expect("the reporter starts");
    drop(measure(Trading::OrderFill));
    record_since(Stamp::now(), Trading::OrderFill, 7);
    assert!(!Stamp::now().is_taken());
    collector.set_enabled(true);
    assert!(!collector.health().enabled, "recording cannot be switched on");
    assert!(!tailwatch::self_test().is_ok());
    record_value(Trading::QueueBacklog, 3);
    collector.flush();
    assert_eq!(collector.total(Trading::OrderFill), Ok(None));
    assert!(!collector.breached(Trading::OrderFill));
    assert!(collector.explain().contains("compiled out"), "{}", collector.explain());
    probe.stop();
    collector.stop();
    reporter.stop().expect("a sink accepts every write");
    let health = collector.health();
    assert_eq!((health.produced, health.unregistered, health.enabled), (0, 0, false));
    println!("nothing was recorded");
}
