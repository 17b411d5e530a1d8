//! Tests of measured futures.

mod support;

use core::{
    future::{Future, pending, poll_fn, ready},
    pin::{Pin, pin},
    sync::atomic::{AtomicU32, Ordering::SeqCst},
    task::{Context, Poll, Waker},
    time::Duration,
};
use std::{panic::resume_unwind, rc::Rc, thread};

use support::{CANCELLED, ERROR, OK, START, on_both, on_current_thread, paused};
use tailwatch::{Kind, Trading};
use tailwatch_tokio::{MeasureExt, Measured};
use tokio::{
    select,
    sync::oneshot,
    task::{JoinHandle, yield_now},
    time::{advance, sleep, timeout},
};

const ORDER: Trading = Trading::OrderPlacement;
const FILL: Trading = Trading::OrderFill;

fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn panic_quietly() -> ! {
    resume_unwind(Box::new("on purpose"))
}

#[test]
fn a_future_is_a_span_from_its_first_poll_to_its_completion() {
    on_both(
        |builder| builder,
        |bench| {
            let answer = bench.runtime.block_on(async {
                let measured = async {
                    yield_now().await;
                    42
                }
                .measured_tagged(ORDER, 7);
                assert_eq!(bench.flushed().kinds(ORDER), [], "not polled yet");
                measured.await
            });
            assert_eq!(answer, 42);
            let seen = bench.flushed().records_of(ORDER);
            assert_eq!(
                seen.iter().map(|seen| (seen.kind, seen.tag)).collect::<Vec<_>>(),
                [(START, Some(7)), (OK, None)]
            );
        },
    );
}

#[test]
fn an_err_output_is_an_error_only_for_try_measured() {
    let bench = on_current_thread(|builder| builder);
    bench.runtime.block_on(async {
        let _ = ready(Err::<(), _>(1)).measured(ORDER).await;
        let _ = ready(Err::<(), _>(1)).try_measured(ORDER).await;
        let _ = ready(Ok::<_, ()>(1)).try_measured(ORDER).await;
        let _ = ready(Err::<(), _>(1)).try_measured_tagged(ORDER, 9).await;
    });
    let seen = bench.flushed().records_of(ORDER);
    let kinds: Vec<_> = seen.iter().map(|seen| seen.kind).collect();
    assert_eq!(kinds, [START, OK, START, ERROR, START, OK, START, ERROR]);
    assert_eq!(seen[6].tag, Some(9));
}

#[test]
fn a_future_that_is_never_polled_leaves_no_record() {
    let bench = on_current_thread(|builder| builder);
    drop(ready(()).measured(ORDER));
    assert_eq!(bench.flushed().kinds(ORDER), []);
}

#[test]
fn a_branch_that_loses_a_select_is_cancelled() {
    let bench = paused(|builder| builder);
    bench.runtime.block_on(async {
        select! {
            () = sleep(Duration::from_mins(1)).measured(FILL) => unreachable!("it is longer"),
            () = sleep(Duration::from_secs(1)).measured(ORDER) => {}
        }
    });
    assert_eq!(bench.flushed().kinds(ORDER), [START, OK]);
    assert_eq!(bench.log.kinds(FILL), [START, CANCELLED]);
}

#[test]
fn a_future_that_times_out_is_cancelled() {
    let bench = paused(|builder| builder);
    bench.runtime.block_on(async {
        let late = timeout(Duration::from_millis(20), pending::<()>().measured(ORDER));
        assert!(late.await.is_err());
        let soon =
            timeout(Duration::from_millis(20), sleep(Duration::from_millis(10)).measured(FILL));
        assert!(soon.await.is_ok());
    });
    assert_eq!(bench.flushed().kinds(ORDER), [START, CANCELLED]);
    assert_eq!(bench.log.kinds(FILL), [START, OK]);
}

#[test]
fn a_task_that_panics_or_is_aborted_is_cancelled() {
    on_both(
        |builder| builder,
        |bench| {
            bench.runtime.block_on(async {
                let panics = async {
                    yield_now().await;
                    panic_quietly()
                };
                assert!(tokio::spawn(panics.measured(ORDER)).await.unwrap_err().is_panic());

                let (running, is_running) = oneshot::channel();
                let task = tokio::spawn(
                    async {
                        running.send(()).unwrap();
                        pending::<()>().await;
                    }
                    .measured(FILL),
                );
                is_running.await.unwrap();
                task.abort();
                assert!(task.await.unwrap_err().is_cancelled());
            });
            assert_eq!(bench.flushed().kinds(ORDER), [START, CANCELLED], "{}", bench.name);
            assert_eq!(bench.log.kinds(FILL), [START, CANCELLED], "{}", bench.name);
        },
    );
}

#[test]
fn shutting_a_runtime_down_cancels_the_spans_of_unfinished_tasks() {
    on_both(
        |builder| builder,
        |bench| {
            bench.runtime.block_on(async {
                let started: &'static AtomicU32 = Box::leak(Box::default());
                for _ in 0..100 {
                    let work = async {
                        started.fetch_add(1, SeqCst);
                        pending::<()>().await;
                    };
                    tokio::spawn(work.measured(ORDER));
                }
                while started.load(SeqCst) < 100 {
                    yield_now().await;
                }
            });
            drop(bench.runtime);
            bench.collector.stop();
            let outcomes = bench.collector.report().event(ORDER).unwrap().outcomes;
            assert_eq!((outcomes.ok, outcomes.cancelled), (0, 100), "{}", bench.name);
            assert_eq!(bench.collector.health().unregistered, 0, "{}", bench.name);
        },
    );
}

#[test]
fn the_spans_of_nested_futures_end_from_the_inside_out() {
    let bench = paused(|builder| builder);
    let nested = |inner| async move { sleep(inner).measured(FILL).await }.measured(ORDER);
    bench.runtime.block_on(async {
        nested(Duration::from_secs(1)).await;
        assert!(timeout(Duration::from_secs(2), nested(Duration::from_secs(3))).await.is_err());
    });
    let seen: Vec<_> = bench.flushed().all().iter().map(|seen| (seen.event, seen.kind)).collect();
    let [outer, inner] = [ORDER, FILL].map(tailwatch::Event::id);
    let spans = |end| [(outer, START), (inner, START), (inner, end), (outer, end)];
    assert_eq!(seen, [spans(OK), spans(CANCELLED)].concat());
}

#[test]
fn a_span_may_end_on_another_thread() {
    let bench = on_current_thread(|builder| builder);
    let mut polls = 0;
    let mut future = Box::pin(
        poll_fn(move |_| {
            polls += 1;
            if polls == 3 { Poll::Ready(()) } else { Poll::Pending }
        })
        .measured(ORDER),
    );
    assert!(poll_once(future.as_mut()).is_pending());
    let collector = &bench.collector;
    thread::scope(|scope| {
        let elsewhere = scope.spawn(|| {
            collector.register_thread("elsewhere").unwrap();
            assert!(poll_once(future.as_mut()).is_pending());
            assert!(poll_once(future.as_mut()).is_ready());
        });
        elsewhere.join().unwrap();
    });
    let seen: Vec<_> = bench
        .flushed()
        .records_of(ORDER)
        .into_iter()
        .map(|seen| (seen.kind, seen.thread))
        .collect();
    assert_eq!(seen, [(START, "main".to_owned()), (OK, "elsewhere".to_owned())]);
    let in_flight = bench.collector.report().event(ORDER).unwrap().in_flight;
    assert_eq!((in_flight.open, bench.collector.health().orphans), (0, 0));
}

#[test]
fn polling_a_future_after_completion_records_nothing() {
    let bench = on_current_thread(|builder| builder);
    let mut future = pin!(poll_fn(|_| Poll::Ready(1)).measured(ORDER));
    assert_eq!([poll_once(future.as_mut()), poll_once(future.as_mut())], [Poll::Ready(1); 2]);
    assert_eq!(bench.flushed().kinds(ORDER), [START, OK]);
}

#[test]
fn a_measured_future_is_send_only_if_the_future_is() {
    fn is_send<T: Send + Sync + 'static>(_: &T) {}
    is_send(&ready(1).measured(ORDER));

    let bench = on_current_thread(|builder| builder);
    let (local, counted) = (Rc::new(1), core::cell::Cell::new(0));
    bench.runtime.block_on(
        async {
            yield_now().await;
            counted.set(*local);
        }
        .measured(ORDER),
    );
    assert_eq!(counted.get(), 1);
    assert_eq!(bench.flushed().kinds(ORDER), [START, OK]);
}

#[test]
fn a_measured_future_is_larger_by_24_bytes() {
    type Plain = core::future::Ready<u64>;
    assert_eq!(size_of::<Measured<Plain>>(), size_of::<Plain>() + 24);
}

/// Runs `tasks` tasks at once, each in a span of its own, and aborts half of them. Every span must
/// be counted, even if the collector's table of open spans has fewer entries than there are tasks.
/// `ring_capacity` must be enough for the records of all tasks.
fn run_tasks_at_once(tasks: usize, ring_capacity: usize) {
    on_both(
        |builder| builder.ring_capacity(ring_capacity),
        |bench| {
            bench.runtime.block_on(async {
                let (go, _) = tokio::sync::watch::channel(false);
                let started: &'static AtomicU32 = Box::leak(Box::default());
                let spawn = |tag| {
                    let mut go = go.subscribe();
                    let work = async move {
                        started.fetch_add(1, SeqCst);
                        go.wait_for(|go| *go).await.unwrap();
                    };
                    tokio::spawn(work.measured_tagged(ORDER, tag as u64))
                };
                let spawned: Vec<_> = (0..tasks).map(spawn).collect();
                while (started.load(SeqCst) as usize) < tasks {
                    yield_now().await;
                }
                bench.collector.flush();
                let in_flight = bench.collector.report().event(ORDER).unwrap().in_flight;
                assert_eq!(in_flight.open + in_flight.untracked, tasks as u64, "{}", bench.name);
                // By default, the table of open spans has 1,024 entries.
                assert_eq!(in_flight.untracked > 0, tasks > 1_024, "{in_flight:?}");

                spawned[..tasks / 2].iter().for_each(JoinHandle::abort);
                go.send_replace(true);
                for task in spawned {
                    let _ = task.await;
                }
            });
            bench.collector.stop();
            let report = bench.collector.report();
            let event = report.event(ORDER).unwrap();
            assert_eq!(
                (event.outcomes.ok, event.outcomes.cancelled),
                ((tasks - tasks / 2) as u64, tasks as u64 / 2)
            );
            assert_eq!(
                (event.in_flight.open, event.in_flight.untracked, report.health.orphans),
                (0, 0, 0)
            );
            assert_eq!((report.health.overwritten, report.health.unregistered), (0, 0));
            // The records that were delivered are checked independently of the statistics.
            let seen = bench.log.records_of(ORDER);
            let count_of_kind = |kind: Kind| seen.iter().filter(|seen| seen.kind == kind).count();
            assert_eq!(
                [START, OK, CANCELLED].map(count_of_kind),
                [tasks, tasks - tasks / 2, tasks / 2]
            );
            let mut tags: Vec<_> = seen.iter().filter_map(|seen| seen.tag).collect();
            tags.sort_unstable();
            assert!(tags.into_iter().eq(0..tasks as u64));
        },
    );
}

#[test]
fn ten_thousand_concurrent_spans_of_one_event_are_all_counted() {
    run_tasks_at_once(10_000, 65_536);
}

#[test]
fn a_hundred_thousand_concurrent_tasks_are_all_counted_though_the_table_is_smaller() {
    run_tasks_at_once(100_000, 262_144);
}

#[test]
fn advancing_a_paused_clock_does_not_change_durations() {
    let bench = paused(|builder| builder);
    bench.runtime.block_on(
        async {
            advance(Duration::from_hours(24)).await;
        }
        .measured(ORDER),
    );
    let values = bench.flushed().values(ORDER);
    assert!(u128::from(values[0]) < Duration::from_hours(1).as_nanos(), "{values:?}");
}
