//! Tests of measured streams.

mod support;

use core::{pin::pin, time::Duration};

use support::{CANCELLED, ERROR, OK, START, on_current_thread, paused};
use tailwatch::{Kind, Trading};
use tailwatch_tokio::MeasureStreamExt;
use tokio::time::sleep;
use tokio_stream::{Stream, StreamExt};

const FILL: Trading = Trading::OrderFill;
const DISCARDED: Kind = Kind::Forget;

#[test]
fn each_gap_before_an_item_is_a_span_and_the_gap_before_the_end_is_discarded() {
    support::on_both(
        |builder| builder,
        |bench| {
            let items: Vec<_> =
                bench.runtime.block_on(tokio_stream::iter(1..=2).measured_items(FILL).collect());
            assert_eq!(items, [1, 2]);
            // The FORGET has the same tick as its START, so the log may list it first.
            let mut kinds = bench.flushed().kinds(FILL);
            kinds[4..].sort_by_key(|kind| *kind != START);
            assert_eq!(kinds, [START, OK, START, OK, START, DISCARDED]);
        },
    );
}

#[test]
fn an_err_item_is_an_error_only_for_try_measured_items() {
    let bench = on_current_thread(|builder| builder);
    let items = || tokio_stream::iter([Ok(1), Err("lost"), Ok(2)]);
    bench.runtime.block_on(async {
        items().try_measured_items(FILL).collect::<Vec<_>>().await;
        items().measured_items(Trading::OrderPlacement).collect::<Vec<_>>().await;
    });
    let ends = |event| {
        let kinds = bench.flushed().kinds(event);
        kinds.into_iter().filter(|kind| ![START, DISCARDED].contains(kind)).collect::<Vec<_>>()
    };
    assert_eq!(ends(FILL), [OK, ERROR, OK]);
    assert_eq!(ends(Trading::OrderPlacement), [OK, OK, OK]);
}

#[test]
fn dropping_a_stream_cancels_the_open_gap() {
    let bench = paused(|builder| builder);
    bench.runtime.block_on(async {
        // An item every second, and a reader that gives up after two and a half seconds.
        let ticks = tokio_stream::iter(0..).then(|n| async move {
            sleep(Duration::from_secs(1)).await;
            n
        });
        let mut ticks = Box::pin(ticks.measured_items(FILL));
        let read = async { while ticks.next().await.is_some() {} };
        assert!(tokio::time::timeout(Duration::from_millis(2_500), read).await.is_err());
    });
    assert_eq!(bench.flushed().kinds(FILL), [START, OK, START, OK, START, CANCELLED]);
}

#[test]
fn a_stream_that_is_never_polled_leaves_no_record() {
    let bench = on_current_thread(|builder| builder);
    let stream = tokio_stream::iter(1..=2).measured_items(FILL);
    assert_eq!(stream.size_hint(), (2, Some(2)));
    drop(stream);
    assert_eq!(bench.flushed().kinds(FILL), []);
}

#[test]
fn polling_a_stream_after_its_end_records_nothing() {
    let bench = on_current_thread(|builder| builder);
    bench.runtime.block_on(async {
        let mut stream = pin!(tokio_stream::empty::<u8>().measured_items(FILL));
        for _ in 0..3 {
            assert_eq!(stream.next().await, None);
        }
    });
    assert_eq!(bench.flushed().kinds(FILL).len(), 2);
}
