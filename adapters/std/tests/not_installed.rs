//! Checks recording in a process that never installs a collector. The test is alone in its file,
//! and so in its process, because other tests install collectors.

use core::time::Duration;

use tailwatch::{
    Outcome, RegisterError, Trading, measure, record_discard, record_duration, record_end,
    record_start, record_value, register_thread, time, try_time,
};

#[test]
fn without_a_collector_recording_does_nothing_and_registering_is_an_error() {
    assert_eq!(register_thread("main"), Err(RegisterError::NotInstalled));
    assert!(RegisterError::NotInstalled.to_string().contains("install"));
    drop(measure(Trading::OrderFill));
    measure(Trading::OrderFill).discard();
    record_end(record_start(Trading::OrderFill), Outcome::Error);
    record_discard(record_start(Trading::OrderFill));
    record_value(Trading::QueueBacklog, 1);
    record_duration(Trading::GcPause, Duration::from_nanos(1));
    assert_eq!(time(Trading::OrderFill, || 5), 5);
    assert_eq!(try_time(Trading::OrderFill, || Err::<(), _>(6)), Err(6));

    // A collector that is started but not installed receives nothing either.
    let collector = tailwatch::Collector::builder().start().unwrap();
    assert_eq!(register_thread("main"), Err(RegisterError::NotInstalled));
    record_value(Trading::QueueBacklog, 1);
    collector.stop();
    let health = collector.health();
    assert_eq!((health.produced, health.unregistered), (0, 0));
}
