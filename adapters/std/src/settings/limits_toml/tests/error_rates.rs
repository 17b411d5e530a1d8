//! Limits on the error rate in TOML.

use super::*;

#[test]
fn a_share_is_a_percentage_or_a_number() {
    for (text, ppm) in [
        ("'1%'", 10_000),
        ("'0.5 %'", 5_000),
        ("'99.9999%'", 999_999),
        ("'0.0001%'", 1),
        ("'0%'", 0),
        ("0", 0),
        ("0.0", 0),
        ("0.01", 10_000),
        ("1e-6", 1),
        ("0.999_999", 999_999),
        ("0.07", 70_000),
    ] {
        let limits = read(&format!("{FILL}max_error_rate = {text}"));
        let limit = Limit::Errors(Threshold::error_rate(ppm));
        assert_eq!(limits, Ok(vec![(Trading::OrderFill.id(), limit)]), "{text}");
    }
}

#[test]
fn an_impossible_share_is_refused_with_a_possible_one() {
    for text in [
        "'100%'",
        "'101%'",
        "'-1%'",
        "'1'",
        "'one'",
        "''",
        "'%'",
        "'1%%'",
        "'nan%'",
        "'0.00015%'",
        "0.0000015",
        "'0.00001%'",
        "1",
        "1.0",
        "2",
        "-1",
        "-0.5",
        "nan",
        "inf",
        "1e-7",
    ] {
        let problem = refused(&format!("{FILL}max_error_rate = {text} #!"));
        let ParseLimitsProblem::BadErrorRate { .. } = problem else { panic!("{text}: {problem}") };
    }
    assert_eq!(
        message(&format!("{FILL}max_error_rate = '100%' #!")),
        "`max_error_rate` is \"100%\"; expected a share of at least 0 and less than 1, such as \
         \"1%\" or 0.01, in steps of a millionth"
    );
    let problem = refused(&format!("{FILL}max_error_rate = true #!"));
    let ParseLimitsProblem::WrongType { found, .. } = problem else { panic!("{problem}") };
    assert_eq!(found, "boolean");
}

#[test]
fn a_limit_on_the_error_rate_takes_the_conditions_of_a_quantile_but_not_its_value() {
    let text = format!(
        "{FILL}max_error_rate = '5%'\nwindow = '5s'\nmin_samples = 'auto'\nraise_after = \
         '2s'\nclear_after = '3s'"
    );
    let seconds = Duration::from_secs;
    let threshold = Threshold::error_rate(50_000)
        .over(seconds(5))
        .auto_min_samples()
        .raise_after(seconds(2))
        .clear_after(seconds(3));
    assert_eq!(read(&text), Ok(vec![(Trading::OrderFill.id(), Limit::Errors(threshold))]));
    for (key, value) in [("quantile", "'p95'"), ("limit", "'20ms'")] {
        let problem = refused(&format!("{FILL}max_error_rate = 0.1\n{key} = {value} #!"));
        assert_eq!(problem, ParseLimitsProblem::ConflictsWithErrorRate { key: key.into() });
    }
    assert_eq!(
        message(&format!("{FILL}max_error_rate = 0.1\nlimit = '20ms' #!")),
        "`limit` cannot be combined with `max_error_rate`; write one [[sla]] table for each limit"
    );
}

#[test]
fn plain_numbers_cannot_fail() {
    let text = "[[sla]]\nevent = 'queue_backlog'\nmax_error_rate = 0.1 #!";
    assert_eq!(refused(text), ParseLimitsProblem::NoOutcomes { event: "queue_backlog".into() });
    assert_eq!(
        message(text),
        "\"queue_backlog\" is measured in plain numbers, which cannot fail; remove \
         `max_error_rate`"
    );
}

#[test]
fn the_same_share_over_the_same_window_is_a_duplicate() {
    let twice = |first: &str, second: &str| {
        format!("{FILL}max_error_rate = {first}\n[[sla]] #!\nevent = 'order_fill'\n{second}")
    };
    let problem = refused(&twice("'5%'", "max_error_rate = 0.05\nmin_samples = 3"));
    assert_eq!(problem, ParseLimitsProblem::DuplicateLimit { first_line: 1 });
    for second in ["max_error_rate = 0.06", "max_error_rate = 0.05\nwindow = '5s'"] {
        assert_eq!(read(&twice("'5%'", second)).map(|limits| limits.len()), Ok(2), "{second}");
    }
}
