//! `#[measure]` works above and below the attributes of tokio, and with tasks that move.

mod support;

use core::future::Future;

use support::{ERROR, OK, START, on_workers};
use tailwatch::{Collector, Kind, Trading, measure};
use tokio::task::yield_now;

const ORDER: Trading = Trading::OrderPlacement;

/// Runs `work` on a thread that records into a collector, and returns the kinds of its records. The
/// functions under test start runtimes of their own.
fn kinds_of(work: impl FnOnce()) -> Vec<Kind> {
    let log = support::Log::default();
    let collector =
        Collector::builder().ignore_environment().observer(log.observer()).start().unwrap();
    collector.register_thread("main").unwrap();
    work();
    collector.stop();
    log.kinds(ORDER)
}

#[tokio::main(flavor = "current_thread")]
#[measure(ORDER, err)]
async fn main_above(fails: bool) -> Result<u8, String> {
    yield_now().await;
    if fails { Err("on purpose")? } else { Ok(5) }
}

#[measure(ORDER, err)]
#[tokio::main(flavor = "current_thread")]
async fn main_below(fails: bool) -> Result<u8, String> {
    yield_now().await;
    if fails { Err("on purpose")? } else { Ok(5) }
}

#[test]
fn tokio_main_may_stand_above_and_below() {
    let kinds = kinds_of(|| {
        assert_eq!(main_above(false), Ok(5));
        assert!(main_above(true).is_err());
        assert_eq!(main_below(false), Ok(5));
        assert!(main_below(true).is_err());
    });
    assert_eq!(kinds, [START, OK, START, ERROR, START, OK, START, ERROR]);
}

#[tokio::test]
#[measure(ORDER, err)]
async fn tokio_test_may_stand_above() -> Result<(), String> {
    yield_now().await;
    Ok(())
}

#[measure(ORDER, err)]
#[tokio::test]
async fn tokio_test_may_stand_below() -> Result<(), String> {
    yield_now().await;
    Ok(())
}

#[test]
fn tests_of_tokio_are_measured() {
    let kinds = kinds_of(|| {
        tokio_test_may_stand_above().unwrap();
        tokio_test_may_stand_below().unwrap();
    });
    assert_eq!(kinds, [START, OK, START, OK]);
}

#[measure(ORDER, err, tag = number)]
fn returned(number: u64) -> impl Future<Output = Result<u64, String>> + Send + 'static {
    async move {
        yield_now().await;
        number.checked_sub(1).ok_or_else(|| "zero".to_owned())
    }
}

#[test]
fn a_returned_future_is_measured_in_a_task() {
    let bench = on_workers(|builder| builder);
    bench.runtime.block_on(async {
        let future = returned(5);
        assert_eq!(bench.flushed().kinds(ORDER), [], "not polled yet");
        assert_eq!(tokio::spawn(future).await.unwrap(), Ok(4));
        assert!(tokio::spawn(returned(0)).await.unwrap().is_err());
    });
    assert_eq!(bench.flushed().kinds(ORDER), [START, OK, START, ERROR]);
    let tags: Vec<_> = bench.log.records_of(ORDER).iter().filter_map(|seen| seen.tag).collect();
    assert_eq!(tags, [5, 0]);
}
