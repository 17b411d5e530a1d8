use proptest::{collection::vec, prelude::*};

use super::{
    SlaState::{Unknown, Violated},
    *,
};

/// The threshold of all tests: values above this exceed it.
const MAX: u64 = 5;

/// Returns an unused rule for this threshold, over a window of 60 s in 12 slices.
fn rule(threshold: &Threshold) -> Rule {
    let window = window_for(threshold, &[], 12, TickRate::NANOSECONDS, 0).unwrap();
    Rule::new(1, threshold, false, window, Unit::One, TimeUnit::Fine)
}

/// Returns the value at the quantile, by sorting.
fn quantile_by_sorting(ppm: u32, mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    let rank = (values.len() as u64 * u64::from(ppm)).div_ceil(1_000_000).max(1);
    values[rank as usize - 1]
}

/// Returns the least number of values of which a single high one does not decide the quantile; 1
/// if it always does.
fn least_by_sorting(ppm: u32) -> usize {
    let is_enough = |n: &usize| quantile_by_sorting(ppm, [vec![0; n - 1], vec![1]].concat()) == 0;
    (2..=1_000).find(is_enough).unwrap_or(1)
}

/// Returns what a rule with `min_samples = auto` finds first if `over` of `samples` samples, and
/// `hung` hung spans besides, exceed its threshold.
fn found_with_auto(ppm: u32, samples: u64, over: u64, hung: u64) -> SlaState {
    let quantile = Quantile::from_ppm(ppm).unwrap();
    let mut rule = rule(&Threshold::value(quantile, MAX).auto_min_samples());
    rule.hung = hung;
    // The counts are spread over two slices.
    let first = Tally { samples: samples - over, weight: samples - over, ..Tally::EMPTY };
    let second = Tally { samples: over, weight: over, over, failed: 0 };
    rule.evaluate(&[first, second], 0, TickRate::NANOSECONDS);
    rule.watch.state
}

#[test]
fn with_auto_the_verdict_is_that_of_the_samples_and_the_missing_ones_as_zeros() {
    let mut seen = [0; 3];
    for ppm in [0, 1, 333_333, 500_000, 750_000, 900_000, 950_000, 990_000, 999_000, 1_000_000] {
        let least = if ppm == 0 { 1 } else { least_by_sorting(ppm) };
        for samples in (0..=42).chain([least - 1, least, least + 1, 2 * least, 2 * least + 1]) {
            for over in (0..=5.min(samples)).chain([samples / 2, samples.saturating_sub(1)]) {
                for hung in 0..=2 {
                    let mut values = vec![MAX; samples - over];
                    values.resize(samples + hung, MAX + 1);
                    values.resize(values.len().max(least), 0);
                    let expected = if samples + hung == 0 {
                        Unknown
                    } else if quantile_by_sorting(ppm, values) > MAX {
                        Violated
                    } else if samples < least {
                        Unknown
                    } else {
                        SlaState::Ok
                    };
                    let (n, k, hung) = (samples as u64, over as u64, hung as u64);
                    let found = found_with_auto(ppm, n, k, hung);
                    assert_eq!(found, expected, "{ppm} ppm: {k} of {n} over, {hung} hung");
                    seen[found as usize] += 1;
                }
            }
        }
    }
    assert!(seen.iter().all(|times| *times > 100), "{seen:?}");
}

#[test]
fn with_auto_few_samples_decide_only_what_more_cannot_change() {
    // The rows of the table in the docs of `sla`, and others.
    for (ppm, samples, over, hung, expected) in [
        (950_000, 1, 0, 0, Unknown),
        (950_000, 1, 1, 0, Unknown),
        (950_000, 3, 2, 0, Violated),
        (950_000, 20, 1, 0, SlaState::Ok),
        (950_000, 0, 0, 1, Unknown),
        (950_000, 0, 0, 2, Violated),
        (990_000, 99, 1, 0, Unknown),
        (990_000, 100, 1, 0, SlaState::Ok),
        (990_000, 2, 2, 0, Violated),
        (999_000, 999, 1, 0, Unknown),
        (999_000, 1_000, 1, 0, SlaState::Ok),
        (999_999, 1_000_000, 1, 0, SlaState::Ok),
        (1_000_000, 1, 1, 0, Violated),
        (1_000_000, 1, 0, 0, SlaState::Ok),
        (500_000, 1, 1, 0, Unknown),
        (500_000, 2, 1, 0, SlaState::Ok),
        (500_000, 2, 2, 0, Violated),
        (0, 1, 1, 0, Violated),
    ] {
        let found = found_with_auto(ppm, samples, over, hung);
        assert_eq!(found, expected, "{ppm} ppm: {over} of {samples} over, {hung} hung");
    }
}

#[test]
fn missing_samples_have_a_weight_of_1_whatever_that_of_the_others() {
    let found = |weight, over, samples| {
        let mut rule = rule(&Threshold::value(Quantile::P95, MAX).auto_min_samples());
        rule.evaluate(&[Tally { samples, weight, over, failed: 0 }], 0, TickRate::NANOSECONDS);
        rule.watch.state
    };
    // 11 samples of weight 8, and 9 missing ones: 5 % of 97 are 4.
    assert_eq!(found(88, 8, 11), Violated);
    // 20 samples, so none is missing: 5 % of 160 are 8.
    assert_eq!((found(160, 8, 20), found(160, 16, 20)), (SlaState::Ok, Violated));
}

#[test]
fn a_rule_returns_its_threshold_unchanged() {
    let first = Threshold::value(Quantile::P99, MAX);
    for threshold in [
        first,
        first.min_samples(u32::MAX),
        // Different from auto, although auto is 100 here.
        first.min_samples(100),
        first.auto_min_samples(),
        first.raise_after(Duration::from_millis(1)).clear_after(Duration::ZERO),
        first.raise_after(Threshold::MAX_DELAY).clear_after(Threshold::MAX_DELAY),
    ] {
        assert_eq!(rule(&threshold).threshold(), threshold);
        assert_eq!(impossible_delay(&threshold), None);
    }
}

/// Returns, for each evaluation at a tick with its result, whether a violation was raised or
/// cleared, and the resulting state. Decides each from the whole past, by the definition.
fn by_definition(past: &[(u64, SlaState)], raise: u64, clear: u64) -> Vec<(bool, SlaState)> {
    let mut results = vec![];
    // The index of the first evaluation of the present violation, and whether it was raised.
    let mut violation: Option<(usize, bool)> = None;
    for (index, &(now, found)) in past.iter().enumerate() {
        if violation.is_none() && found == Violated {
            violation = Some((index, false));
        }
        let Some((first, was_raised)) = violation else {
            results.push((false, found));
            continue;
        };
        // The trailing evaluations with the same verdict, without those that decide nothing.
        let decided = || past[first..=index].iter().rev().filter(|(_, found)| *found != Unknown);
        let last = decided().next().unwrap().1;
        let since = decided().take_while(|(_, found)| *found == last).last().unwrap().0;
        let is_over = |delay| now - since >= delay;
        if last == Violated {
            let is_raised = !was_raised && is_over(raise);
            violation = Some((first, was_raised || is_raised));
            results.push((is_raised, Violated));
        } else if found == SlaState::Ok && is_over(clear) {
            violation = None;
            results.push((was_raised, SlaState::Ok));
        } else {
            results.push((false, Violated));
        }
    }
    results
}

/// What evaluations find, with the frequencies of a random sequence.
const FOUND: [SlaState; 5] = [SlaState::Ok, SlaState::Ok, Violated, Violated, Unknown];

proptest! {
    #[test]
    fn violations_are_raised_and_cleared_as_defined(
        steps in vec((0..8_u64, prop::sample::select(FOUND.to_vec())), 1..60),
        raise in prop_oneof![Just(0), 0..20_u64],
        clear in prop_oneof![Just(0), 0..20_u64],
    ) {
        let mut now = 0;
        let past: Vec<_> = steps.into_iter().map(|(pause, found)| {
            now += pause;
            (now, found)
        }).collect();
        let expected = by_definition(&past, raise, clear);
        let (mut watch, mut changes) = (Watch::EMPTY, 0);
        for ((now, found), expected) in past.into_iter().zip(expected) {
            let is_changed = watch.step(found, now, Delays { raise, clear });
            prop_assert_eq!((is_changed, watch.state), expected, "at {}", now);
            changes += u64::from(is_changed);
            // Raising and clearing alternate.
            prop_assert_eq!((watch.raised, watch.cleared), (changes.div_ceil(2), changes / 2));
        }
    }
}

#[test]
fn a_violation_is_raised_only_after_its_delay() {
    let mut watch = Watch::EMPTY;
    let steps = [
        // (tick, state found, whether a violation is raised or cleared, resulting state)
        (1, Violated, false, Violated),
        (10, Violated, false, Violated),
        (11, SlaState::Ok, false, Violated),
        (14, SlaState::Ok, false, Violated),
        (15, Violated, false, Violated), // restarts both delays
        (24, Violated, false, Violated),
        (25, Violated, true, Violated),
        (30, SlaState::Ok, false, Violated),
        (35, SlaState::Ok, true, SlaState::Ok),
        (40, Violated, false, Violated),
        (41, SlaState::Ok, false, Violated),
        (46, SlaState::Ok, false, SlaState::Ok), // ends without having been raised
        (50, Violated, false, Violated),
        (60, Unknown, true, Violated), // nothing has shown that it is over
    ];
    let delays = Delays { raise: 10, clear: 5 };
    for (now, found, changed, state) in steps {
        assert_eq!((watch.step(found, now, delays), watch.state), (changed, state), "at {now}");
    }
    assert_eq!((watch.raised, watch.cleared, watch.since()), (2, 1, Some(60)));
}

#[test]
fn a_clock_that_restarts_restarts_the_delay() {
    let delays = Delays { raise: 10, clear: 5 };
    let mut watch = Watch::EMPTY;
    assert!(!watch.step(Violated, 1_000, delays));
    watch.restart_clock();
    let raised = [(3, Violated), (12, Violated), (13, Unknown)];
    assert_eq!(raised.map(|(now, found)| watch.step(found, now, delays)), [false, false, true]);
}

#[test]
fn a_violation_is_raised_at_once_and_cleared_after_the_hold_time() {
    let mut watch = Watch::EMPTY;
    let steps = [
        // (tick, state found, whether a violation is raised or cleared, resulting state)
        (0, Unknown, false, Unknown),
        (1, SlaState::Ok, false, SlaState::Ok),
        (2, Violated, true, Violated),
        (3, Violated, false, Violated),
        (4, SlaState::Ok, false, Violated),
        (13, SlaState::Ok, false, Violated),
        (13, Violated, false, Violated), // restarts the hold time
        (20, SlaState::Ok, false, Violated),
        (40, Unknown, false, Violated), // too few samples to clear it
        (41, SlaState::Ok, true, SlaState::Ok),
        (42, Unknown, false, Unknown),
        (43, Violated, true, Violated),
    ];
    for (now, found, changed, state) in steps {
        let delays = Delays { raise: 0, clear: 10 };
        assert_eq!((watch.step(found, now, delays), watch.state), (changed, state), "at {now}");
    }
    assert_eq!((watch.raised, watch.cleared, watch.since()), (2, 1, Some(43)));
}

#[test]
fn any_record_ends_a_silence() {
    let mut silence = Silence::new(100, TickRate::NANOSECONDS);
    let steps = [
        // (tick, tick of the last record, resulting state)
        (500, None, Unknown),
        (510, Some(505), SlaState::Ok),
        (605, Some(505), SlaState::Ok),
        (606, Some(505), Violated),
    ];
    for (now, seen, state) in steps {
        silence.evaluate(seen, now, now);
        assert_eq!(silence.watch.state, state, "at {now}");
    }
    assert!(silence.evaluate(Some(607), 607, 608));
    assert_eq!(
        (silence.watch.state, silence.watch.raised, silence.watch.cleared),
        (SlaState::Ok, 1, 1)
    );
}

#[test]
fn a_window_that_serves_a_limit_only_is_cut_evenly() {
    let cut = |nanos, max| slices_for(Duration::from_nanos(nanos), max);
    assert_eq!(
        [cut(60_000_000_000, 12), cut(10_000_000_000, 12), cut(7, 12), cut(13, 12), cut(60, 5)],
        [12, 10, 7, 1, 5]
    );
    assert_eq!(cut(60, 0), 1);
}
