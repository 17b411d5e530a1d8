//! The keys that decide when a violation is found, and when it is reported.

use super::*;

#[test]
fn the_minimum_may_be_auto_and_no_other_text() {
    let placement = Threshold::duration(Quantile::P95, Duration::from_millis(20));
    let limit = |threshold| vec![(Trading::OrderPlacement.id(), Limit::Quantile(threshold))];
    let auto = read(&format!("{PLACEMENT}min_samples = 'auto'"));
    assert_eq!(auto, Ok(limit(placement.auto_min_samples())));
    assert_eq!(read(PLACEMENT), Ok(limit(placement.min_samples(1))));
    for text in ["Auto", "auto ", "5", ""] {
        let problem = refused(&format!("{PLACEMENT}min_samples = '{text}' #!"));
        assert_eq!(problem, ParseLimitsProblem::BadMinSamples { text: text.into() });
    }
    assert_eq!(
        message(&format!("{PLACEMENT}min_samples = 'aut' #!")),
        "`min_samples` is \"aut\"; expected a whole number without quotes, such as 20, or \"auto\""
    );
}

#[test]
fn delays_are_whole_milliseconds_of_at_most_a_day() {
    let placement = Threshold::duration(Quantile::P95, Duration::from_millis(20));
    let text = format!("{PLACEMENT}raise_after = '1ms'\nclear_after = '24h'");
    let delayed = placement.raise_after(Duration::from_millis(1)).clear_after(Threshold::MAX_DELAY);
    assert_eq!(read(&text).unwrap()[0].1, Limit::Quantile(delayed));
    for key in ["raise_after", "clear_after"] {
        for (text, delay) in [
            ("24h 1ms", Threshold::MAX_DELAY + Duration::from_millis(1)),
            ("1.5ms", Duration::from_micros(1_500)),
            ("1ns", Duration::from_nanos(1)),
        ] {
            let problem = refused(&format!("{PLACEMENT}{key} = '{text}' #!"));
            assert_eq!(problem, ParseLimitsProblem::DelayOutOfRange { key, delay });
        }
        let problem = refused(&format!("{PLACEMENT}{key} = '2' #!"));
        assert_eq!(problem, bad_duration(key, "2", DurationProblem::NoUnit));
    }
    assert_eq!(
        message(&format!("{PLACEMENT}raise_after = '25h' #!")),
        "`raise_after` is 90000s; expected a whole number of milliseconds, at most 24 h"
    );
}
