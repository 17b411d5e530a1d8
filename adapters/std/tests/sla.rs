//! Limits: a violation is raised once and cleared once, and shows in hooks, the queue of changes,
//! `breached` and the report.

mod support;

use core::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};
use std::sync::{Arc, Mutex};

use support::{in_thread, in_turn, spin, until, without_hanging};
use tailwatch::{
    Builder, Collector, Event, EventId, Limit, LimitError, LimitOverrides, Quantile,
    SetLimitsError, SlaChange, SlaReport, SlaState, Threshold, Trading, WindowSpec, measure,
    measure_tagged, parse_limits, record_duration, record_start, record_value,
};

const MINUTE: Duration = Duration::from_mins(1);
const SHORT: Duration = Duration::from_millis(200);

/// A short window with slices of 50 ms, and the window of one minute.
const WINDOWS: [WindowSpec; 2] = [WindowSpec::new(SHORT, 4), WindowSpec::MINUTE];

fn short_limit(quantile: Quantile, limit: Duration) -> Limit {
    Limit::Quantile(Threshold::duration(quantile, limit).over(SHORT))
}

/// Collects the changes that a hook receives.
#[derive(Clone, Debug, Default)]
struct HookLog(Arc<Mutex<Vec<SlaChange>>>);

impl HookLog {
    fn hook(&self) -> impl FnMut(&SlaChange) + Send + use<> {
        let changes = Arc::clone(&self.0);
        move |change| changes.lock().unwrap().push(change.clone())
    }

    /// Returns for each change whether the limit was raised.
    fn raised(&self) -> Vec<bool> {
        self.0.lock().unwrap().iter().map(|change| change.raised).collect()
    }
}

fn limit_of(collector: &Collector, event: &str) -> SlaReport {
    collector
        .report()
        .sla
        .into_iter()
        .find(|limit| limit.event == event)
        .expect("the event has a limit")
}

#[test]
fn a_hung_span_violates_its_limit_while_it_is_open() {
    let _turn = in_turn();
    for discard in [false, true] {
        without_hanging(move || {
            let log = HookLog::default();
            let limit = Duration::from_millis(5);
            let collector = Collector::builder()
                .windows(&WINDOWS)
                .limits(&[(Trading::OrderFill.id(), short_limit(Quantile::P99, limit))])
                .on_sla_change(log.hook())
                .start()
                .unwrap();
            collector.register_thread("main").unwrap();
            let hung = measure_tagged(Trading::OrderFill, 4_711);
            until(|| collector.breached(Trading::OrderFill));
            spin(9 * limit);
            collector.flush();
            // The span is ten times as old as the limit and has not produced a sample.
            assert_eq!(collector.total(Trading::OrderFill), Ok(None));
            assert_eq!(log.raised(), [true]);
            let violated = collector.sla_violations(SHORT).unwrap();
            assert_eq!(
                (violated.len(), &*violated[0].event, violated[0].raised),
                (1, "order_fill", 1)
            );
            assert_eq!((violated[0].over, violated[0].count), (1, 1));
            let observed = violated[0].observed.expect("the age of the span is shown");
            assert!(observed > 9 * 5_000_000, "{observed}");
            assert!(
                collector.report().to_string().contains("violated: order_fill p99"),
                "{}",
                collector.report()
            );
            let in_flight = collector.report().event(Trading::OrderFill).unwrap().in_flight;
            assert_eq!((in_flight.open, in_flight.oldest_tag), (1, Some(4_711)));

            if discard {
                hung.discard();
            } else {
                drop(hung);
            }
            until(|| {
                // The violation is cleared once samples have been within the limit for a slice.
                drop(measure(Trading::OrderFill));
                spin(Duration::from_millis(1));
                !collector.breached(Trading::OrderFill)
            });
            // `breached` changes before the hooks are called. The flush waits until that pass is
            // over.
            collector.flush();
            assert_eq!(log.raised(), [true, false]);
            let limit = limit_of(&collector, "order_fill");
            assert_eq!((limit.state, limit.raised, limit.cleared), (SlaState::Ok, 1, 1));
            assert_eq!(collector.sla_violations(SHORT), Ok(vec![]));
            collector.stop();
            let in_flight = collector.report().event(Trading::OrderFill).unwrap().in_flight;
            let left =
                (in_flight.open, in_flight.uncertain, in_flight.untracked, in_flight.oldest_ns);
            assert_eq!(left, (0, 0, 0, None), "no span is open any more");
            assert_eq!((collector.health().orphans, collector.health().abandoned), (0, 0));
        });
    }
}

/// The table of open spans has room for 896 spans of all events together.
#[test]
fn a_hung_span_is_noticed_although_leaked_guards_of_another_event_fill_the_table() {
    let _turn = in_turn();
    without_hanging(|| {
        let limit = short_limit(Quantile::P99, Duration::from_millis(5));
        let collector = Collector::builder()
            .windows(&WINDOWS)
            .limits(&[(Trading::OrderFill.id(), limit)])
            .manual_drain()
            .start()
            .unwrap();
        collector.register_thread("main").unwrap();
        let in_flight = |event: Trading| collector.report().event(event).unwrap().in_flight;
        for _ in 0..2_000 {
            core::mem::forget(measure(Trading::OrderPlacement));
        }
        collector.flush();
        let leaked = in_flight(Trading::OrderPlacement);
        assert_eq!((leaked.open, leaked.untracked), (896, 1_104));

        let hung: Vec<_> =
            (4_711..4_731).map(|tag| measure_tagged(Trading::OrderFill, tag)).collect();
        spin(Duration::from_millis(6));
        collector.flush();
        assert!(collector.breached(Trading::OrderFill));
        let found = in_flight(Trading::OrderFill);
        assert_eq!((found.open, found.untracked, found.oldest_tag), (20, 0, Some(4_711)));
        // The other event has given up room.
        let leaked = in_flight(Trading::OrderPlacement);
        assert!(leaked.open < 896, "{leaked:?}");
        assert_eq!(leaked.open + leaked.untracked, 2_000);

        drop(hung);
        collector.flush();
        assert_eq!(in_flight(Trading::OrderFill).open, 0);
        // The violation is cleared once the samples of the hung spans have left the window, and
        // samples have been within the limit for a slice.
        until(|| {
            drop(measure(Trading::OrderFill));
            spin(Duration::from_millis(1));
            collector.flush();
            !collector.breached(Trading::OrderFill)
        });
        assert_eq!(collector.health().orphans, 0);
    });
}

#[test]
fn the_queue_has_the_same_changes_as_the_hooks() {
    let _turn = in_turn();
    let log = HookLog::default();
    let collector = Collector::builder().on_sla_change(log.hook()).start().unwrap();
    collector.register_thread("main").unwrap();
    for event in [Trading::OrderPlacement, Trading::SignalGeneration] {
        record_duration(event, Duration::from_millis(30));
    }
    collector.flush();
    let taken = collector.sla_changes();
    assert_eq!(taken.changes, *log.0.lock().unwrap());
    assert_eq!(taken.missed, 0);
    let raised: Vec<_> =
        taken.changes.iter().map(|change| (&*change.limit.event, change.limit.quantile)).collect();
    // 30 ms exceed both limits of a signal (10 and 20 ms) and one limit of an order (20 ms, not 50
    // ms).
    let expected = [
        ("signal_generation", Quantile::P95),
        ("signal_generation", Quantile::P99),
        ("order_placement", Quantile::P95),
    ];
    assert_eq!(raised, expected.map(|(event, quantile)| (event, Some(quantile))));
    assert!(
        taken
            .changes
            .iter()
            .all(|change| change.raised && change.limit.state == SlaState::Violated)
    );
    assert!(taken.changes.iter().all(|change| change.limit.since_unix_ns == Some(change.unix_ns)));
    collector.flush();
    assert_eq!(collector.sla_changes().changes, [], "each change is returned once");
    assert!(
        collector.breached(Trading::OrderPlacement)
            && collector.breached(Trading::SignalGeneration)
    );
    assert!(
        !collector.breached(Trading::OrderFill) && !collector.breached(Trading::EventBusPublish)
    );
    let violated: Vec<_> = collector.sla_violations(MINUTE).unwrap();
    assert_eq!(violated.len(), 3);
    assert!(collector.sla_violations(Duration::from_secs(17)).is_err(), "there is no such window");
    assert_eq!(
        collector.sla_violations(Duration::from_secs(1)),
        Ok(vec![]),
        "the window has no limits"
    );
}

#[test]
fn a_sample_equal_to_its_limit_is_within_the_limit() {
    let _turn = in_turn();
    let limits = |limit| {
        [(Trading::QueueBacklog.id(), Limit::Quantile(Threshold::value(Quantile::MAX, limit)))]
    };
    for (value, breached) in [(10, false), (11, true)] {
        let collector = Collector::builder().limits(&limits(10)).start().unwrap();
        collector.register_thread("main").unwrap();
        record_value(Trading::QueueBacklog, value);
        collector.flush();
        assert_eq!(collector.breached(Trading::QueueBacklog), breached, "{value}");
        assert_eq!(limit_of(&collector, "queue_backlog").observed, Some(value));
    }
}

#[test]
fn an_ended_span_is_not_hung_while_its_end_waits_to_be_drained() {
    let _turn = in_turn();
    let limit = Duration::from_millis(20);
    let collector = Collector::builder()
        .max_period(Duration::from_millis(300))
        .limits(&[(
            Trading::OrderFill.id(),
            Limit::Quantile(Threshold::duration(Quantile::MAX, limit)),
        )])
        .start()
        .unwrap();
    collector.install().unwrap();
    in_thread("quiet", || {
        tailwatch::register_thread("quiet").unwrap();
        for _ in 0..20 {
            // The drain finds the START, but the END only when it returns to this ring, long after
            // the limit.
            let span = measure(Trading::OrderFill);
            spin(Duration::from_millis(5));
            drop(span);
            spin(Duration::from_millis(35));
        }
    });
    collector.stop();
    let longest = collector.total(Trading::OrderFill).unwrap().unwrap().max;
    // If the machine really delayed a span beyond the limit, the violation is right.
    let is_violated = longest > 20_000_000;
    assert_eq!(
        limit_of(&collector, "order_fill").raised > 0,
        is_violated,
        "the longest span took {longest} ns"
    );
}

#[test]
fn limits_can_be_changed_at_run_time_and_new_ones_begin_as_unknown() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    collector.register_thread("main").unwrap();
    record_duration(Trading::OrderPlacement, Duration::from_millis(30));
    collector.flush();
    assert!(collector.breached(Trading::OrderPlacement));
    let [p95, p99] = [(Quantile::P95, 20), (Quantile::P99, 50)].map(|(quantile, millis)| {
        Limit::Quantile(Threshold::duration(quantile, Duration::from_millis(millis)))
    });
    let states = || -> Vec<_> {
        let report = collector.report();
        let order_limits = report.sla.iter().filter(|limit| limit.event == "order_placement");
        order_limits.map(|limit| (limit.quantile.unwrap(), limit.state, limit.count)).collect()
    };
    let other = Limit::Quantile(Threshold::duration(Quantile::P95, Duration::from_millis(25)));
    collector.set_limits(Trading::OrderPlacement, &[p99, other]).unwrap();
    // An unchanged limit keeps its state. A changed one counts from now on.
    assert_eq!(states(), [(Quantile::P99, SlaState::Ok, 1), (Quantile::P95, SlaState::Unknown, 0)]);
    assert!(!collector.breached(Trading::OrderPlacement));
    record_duration(Trading::OrderPlacement, Duration::from_millis(30));
    collector.flush();
    assert_eq!(
        states(),
        [(Quantile::P99, SlaState::Ok, 2), (Quantile::P95, SlaState::Violated, 1)]
    );
    collector.set_limits(Trading::OrderPlacement, &[]).unwrap();
    assert!(states().is_empty() && !collector.breached(Trading::OrderPlacement));

    for (limits, refused) in [
        (vec![p95, p95], LimitError::Duplicate { limit: p95 }),
        (
            vec![Limit::Quantile(Threshold::value(Quantile::P50, 0))],
            LimitError::Zero { quantile: Some(Quantile::P50) },
        ),
        (vec![Limit::Silence(Duration::ZERO)], LimitError::Zero { quantile: None }),
        (
            vec![Limit::Quantile(Threshold::value(Quantile::P50, 1).over(Duration::ZERO))],
            LimitError::Window { window: Duration::ZERO },
        ),
    ] {
        let error = collector.set_limits(Trading::OrderPlacement, &limits).unwrap_err();
        assert_eq!(error, SetLimitsError::Refused(refused));
        assert!(states().is_empty(), "the limits did not change");
    }
    let many: Vec<_> =
        (1..200).map(|limit| Limit::Quantile(Threshold::value(Quantile::P95, limit))).collect();
    let error = collector.set_limits(Trading::OrderPlacement, &many).unwrap_err();
    assert!(matches!(error, SetLimitsError::Refused(LimitError::NoRoom { .. })), "{error}");
}

#[test]
fn a_limit_may_watch_a_window_that_has_no_statistics() {
    let _turn = in_turn();
    let limit =
        Threshold::duration(Quantile::P50, Duration::from_millis(1)).over(Duration::from_secs(10));
    let collector = Collector::builder()
        .limits(&[(Trading::OrderFill.id(), Limit::Quantile(limit))])
        .start()
        .unwrap();
    collector.register_thread("main").unwrap();
    record_duration(Trading::OrderFill, Duration::from_millis(2));
    collector.flush();
    let violated = collector.sla_violations(Duration::from_secs(10)).unwrap();
    assert_eq!((violated.len(), violated[0].observed), (1, None));
}

#[test]
fn an_event_that_stops_violates_its_limit_on_silence() {
    let _turn = in_turn();
    without_hanging(|| {
        let log = HookLog::default();
        let silence = Limit::Silence(Duration::from_millis(150));
        let collector = Collector::builder()
            .limits(&[
                (Trading::CandleProcessing.id(), silence),
                (Trading::OrderFill.id(), silence),
            ])
            .on_sla_change(log.hook())
            .start()
            .unwrap();
        collector.register_thread("main").unwrap();
        spin(Duration::from_millis(200));
        collector.flush();
        assert_eq!(
            limit_of(&collector, "order_fill").state,
            SlaState::Unknown,
            "an event that never happened is not silent"
        );
        // A START ends the silence as well.
        let _open = record_start(Trading::OrderFill);
        until(|| collector.breached(Trading::OrderFill));
        collector.flush();
        assert_eq!(log.raised(), [true]);
        record_duration(Trading::OrderFill, Duration::from_millis(1));
        collector.flush();
        assert!(!collector.breached(Trading::OrderFill));
        assert_eq!(log.raised(), [true, false]);
        // An event that is switched off does not become silent, but one that is already silent
        // stays violated.
        let before = log.raised().len();
        record_duration(Trading::OrderFill, Duration::from_millis(1));
        collector.set_event_enabled(Trading::OrderFill, false);
        spin(Duration::from_millis(300));
        collector.flush();
        assert!(
            collector.breached(Trading::OrderFill) == (log.raised().len() > before),
            "violated only if a slow machine let it become silent before"
        );
        collector.set_event_enabled(Trading::OrderFill, true);
        record_duration(Trading::OrderFill, Duration::from_millis(1));
        until(|| collector.breached(Trading::OrderFill));
        let cleared = || limit_of(&collector, "order_fill").cleared;
        let before = cleared();
        collector.stop();
        assert!(
            collector.breached(Trading::OrderFill) && cleared() == before,
            "{:?}",
            log.raised()
        );
        let json: serde_json::Value = serde_json::from_str(&collector.report().to_json()).unwrap();
        let limits = json["sla"].as_array().unwrap();
        let is_silence = |limit: &&serde_json::Value| limit["quantile"] == "silence";
        let silences: Vec<_> = limits.iter().filter(is_silence).map(|l| &l["limit"]).collect();
        assert_eq!(silences, [150_000_000, 150_000_000]);
    });
}

#[test]
fn a_sampled_event_never_violates_its_limit_on_silence() {
    let _turn = in_turn();
    let collector = Collector::builder()
        .limits(&[(Trading::QueueBacklog.id(), Limit::Silence(Duration::from_millis(20)))])
        .start()
        .unwrap();
    collector.register_thread("main").unwrap();
    record_value(Trading::QueueBacklog, 1);
    collector.flush();
    let before = limit_of(&collector, "queue_backlog").raised;
    collector.set_sampling_rate(Trading::QueueBacklog, 1e-9).unwrap();
    collector.flush();
    for n in 0..10 {
        spin(Duration::from_millis(10));
        record_value(Trading::QueueBacklog, n);
    }
    collector.flush();
    // A slow machine may have paused between the first record and `set_sampling_rate`, which
    // violates the limit before.
    assert!(limit_of(&collector, "queue_backlog").raised <= before.max(1));
    assert!(!collector.breached(Trading::QueueBacklog) || before > 0);
    collector.stop();
    assert!(collector.breached(Trading::QueueBacklog), "nobody judges the limit any more");
}

#[test]
fn a_hook_may_call_the_collector_and_its_panic_is_counted() {
    let _turn = in_turn();
    let slot: Arc<Mutex<Option<Arc<Collector>>>> = Arc::default();
    let asked = Arc::new(AtomicU64::new(0));
    let hook = {
        let (slot, asked) = (Arc::clone(&slot), Arc::clone(&asked));
        move |change: &SlaChange| {
            let slot = slot.lock().unwrap();
            let collector = slot.as_ref().unwrap();
            assert_eq!(
                collector.report().sla.iter().find(|limit| **limit == change.limit),
                Some(&change.limit)
            );
            assert!(collector.breached(Trading::OrderPlacement));
            assert_eq!(
                collector.set_limits(Trading::OrderPlacement, &[]),
                Err(SetLimitsError::InsidePass),
                "refused instead of a deadlock"
            );
            collector.set_sampling_rate(Trading::EventBusPublish, 0.5).unwrap();
            collector.flush();
            asked.fetch_add(1, SeqCst);
        }
    };
    let panics = |_: &SlaChange| panic!("a panic in a hook");
    let builder: Builder = Collector::builder().on_sla_change(panics).on_sla_change(hook);
    let collector = Arc::new(builder.start().unwrap());
    *slot.lock().unwrap() = Some(Arc::clone(&collector));
    collector.register_thread("main").unwrap();
    record_duration(Trading::OrderPlacement, Duration::from_millis(30));
    without_hanging({
        let collector = Arc::clone(&collector);
        move || collector.stop()
    });
    assert_eq!(asked.load(SeqCst), 1);
    assert_eq!(collector.health().observer_panics, 1);
    slot.lock().unwrap().take();
}

#[test]
fn a_parsed_limit_is_added_to_those_declared_with_the_events() {
    let _turn = in_turn();
    let text = "[[sla]]\nevent = 'order_fill'\nquantile = 'p100'\nlimit = '2ms'\nwindow = '1s'\n";
    let limits = parse_limits(text, Trading::ALL).unwrap();
    let declared = Collector::builder().start().unwrap().report().sla.len();
    let collector = Collector::builder().limits(&limits).start().unwrap();
    let report = collector.report();
    assert_eq!((declared, report.sla.len()), (8, 9));
    let SlaReport { quantile, window, limit, state, .. } = limit_of(&collector, "order_fill");
    assert_eq!((quantile, window), (Some(Quantile::MAX), Duration::from_secs(1)));
    assert_eq!((limit, state), (2_000_000, SlaState::Unknown));
}

#[test]
fn a_parsed_limit_with_replace_drops_all_other_limits_of_its_event() {
    let _turn = in_turn();
    let text = "[[sla]]\nevent = 'order_placement'\nmax_silence = '2ms'\nreplace = true\n";
    let limits = parse_limits(text, Trading::ALL).unwrap();
    let report = Collector::builder().limits(limits).start().unwrap().report();
    let of_order = report.sla.iter().filter(|limit| limit.event == "order_placement");
    assert_eq!(of_order.map(|limit| limit.quantile).collect::<Vec<_>>(), [None]);
    assert_eq!(report.sla.len(), 7);
    let error = parse_limits(&text.replace("true", "'yes'"), Trading::ALL).unwrap_err();
    let expected = "line 4: `replace` has type string; expected true or false";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn the_list_of_limits_shows_when_they_are_judged_and_reported() {
    let _turn = in_turn();
    let text = "[[sla]]\nevent = 'order_placement'\nquantile = 'p95'\nlimit = '20ms'\n\
        min_samples = 4_000\nraise_after = '2s'\nclear_after = '500ms'\n\
        [[sla]]\nevent = 'order_placement'\nquantile = 'p99'\nlimit = '50ms'\n\
        min_samples = 'auto'\n";
    let limits = parse_limits(text, Trading::ALL).unwrap();
    let list = Collector::builder().limits(limits).start().unwrap().explain_limits();
    for line in [
        "  order_placement p95 over 60 s: at most 20.0 ms, judged from 4,000 samples on, raised \
         after 2 s, cleared after 500 ms (builder)\n",
        "  order_placement p99 over 60 s: at most 50.0 ms, judged with as many samples as it needs \
         (builder)\n",
        "  order_placement p95 over 60 s: at most 20.0 ms (declared), by builder\n",
    ] {
        assert!(list.contains(line), "{line}{list}");
    }
}

#[test]
fn limits_of_an_event_that_the_collector_does_not_have_are_refused() {
    let _turn = in_turn();
    let unknown = EventId::new(2_000).unwrap();
    let limit = Limit::Silence(Duration::from_secs(1));
    for overrides in
        [LimitOverrides::new().with(unknown, limit), LimitOverrides::new().dropping_others(unknown)]
    {
        let error = Collector::builder().limits(overrides).start().unwrap_err().to_string();
        assert!(error.contains("2000"), "{error}");
    }
}
