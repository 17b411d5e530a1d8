//! Limits for events with labels.

use super::*;
use crate::{events::numbers, settings::selection::DeclaredFamily};

/// Makes an event of this name, which no other test uses.
pub(super) fn made(name: &str, labels: &[(&str, &str)]) -> EventInfo {
    let labels: Vec<_> =
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    numbers::make(name, &labels, Unit::Time).unwrap().info
}

fn family(name: &str, key: &str) -> DeclaredFamily {
    DeclaredFamily { name: name.to_owned(), key: key.to_owned() }
}

/// Returns the events that have the limit of a table with this selection.
fn selected(selection: &str, events: &[EventInfo]) -> Result<Vec<EventId>, ParseLimitsError> {
    let limits = parse_limits(&format!("[[sla]]\nmax_silence = '5s'\n{selection}\n"), events)?;
    let silence = Limit::Silence(Duration::from_secs(5));
    assert!(limits.iter().all(|(_, limit)| *limit == silence), "{limits:?}");
    Ok(limits.iter().map(|(event, _)| *event).collect())
}

/// Returns the message for a selection that is refused in its line `line`, counted from 0.
#[track_caller]
fn refused_selection(selection: &str, line: usize, events: &[EventInfo]) -> String {
    let error = selected(selection, events).expect_err("the selection is refused");
    assert_eq!(error.line, 3 + line, "{error}");
    error.problem.to_string()
}

#[test]
fn a_limit_is_for_all_events_of_the_name_that_have_the_labels() {
    let plain = made("labels_one", &[]);
    let btc = made("labels_one", &[("symbol", "BTC")]);
    let at_x = made("labels_one", &[("symbol", "BTC"), ("venue", "X")]);
    let quoted = made("labels_one", &[("symbol", "a\"b\\c")]);
    let other = made("labels_one_more", &[("symbol", "BTC")]);
    let events = [plain, btc, at_x, quoted, other];
    for (selection, expected) in [
        ("event = 'labels_one'", &[plain, btc, at_x, quoted][..]),
        ("event = 'labels_one'\nlabels = { symbol = 'BTC' }", &[btc, at_x]),
        ("event = 'labels_one'\nlabels = { venue = 'X' }", &[at_x]),
        ("event = 'labels_one'\nlabels.venue = 'X'\nlabels.symbol = 'BTC'", &[at_x]),
        (r#"event = 'labels_one{symbol="BTC"}'"#, &[btc]),
        (r#"event = 'labels_one{symbol="BTC",venue="X"}'"#, &[at_x]),
        (r#"event = 'labels_one{symbol="a\"b\\c"}'"#, &[quoted]),
        ("event = 'labels_one_more'", &[other]),
    ] {
        let expected: Vec<_> = expected.iter().map(|event| event.id).collect();
        assert_eq!(selected(selection, &events), Ok(expected), "{selection}");
    }
    let twice = [btc, btc];
    assert_eq!(selected("event = 'labels_one'", &twice), Ok(vec![btc.id]));
}

#[test]
fn the_error_for_labels_that_no_event_has_names_those_that_there_are() {
    let events = [made("labels_two", &[]), made("labels_two", &[("symbol", "BTC")])];
    for labels in ["{ symbol = 'DOGE' }", "{ symbol = 'BTC', venue = 'X' }", "{ '' = 'BTC' }"] {
        let selection = format!("event = 'labels_two'\nlabels = {labels}");
        let message = refused_selection(&selection, 1, &events);
        let problem = selected(&selection, &events).unwrap_err().problem;
        let ParseLimitsProblem::UnknownLabels { event, known, .. } = problem else {
            panic!("{problem}");
        };
        assert_eq!((&*event, &known[..]), ("labels_two", &["symbol=\"BTC\"".to_owned()][..]));
        assert!(message.ends_with("; there are symbol=\"BTC\""), "{message}");
    }
    assert_eq!(
        refused_selection("event = 'labels_two'\nlabels = { symbol = 'DOGE' }", 1, &events),
        "no event \"labels_two\" has the labels symbol=\"DOGE\"; there are symbol=\"BTC\""
    );
    assert_eq!(
        refused_selection("event = 'order_fill'\nlabels = { a = 'b' }", 1, Trading::ALL),
        "no event \"order_fill\" has the labels a=\"b\"; the event has no labels"
    );
    let full = r#"labels_two{symbol="BTC"}"#;
    let message =
        refused_selection(&format!("event = '{full}'\nlabels = {{ a = 'b' }}"), 1, &events);
    assert!(message.ends_with("has the labels a=\"b\"; there are symbol=\"BTC\""), "{message}");
    assert_eq!(
        refused_selection(r#"event = 'labels_two{symbol="BTX"}'"#, 0, &events),
        "unknown event \"labels_two{symbol=\\\"BTX\\\"}\"; did you mean \
         \"labels_two{symbol=\\\"BTC\\\"}\"?"
    );
    assert_eq!(
        refused_selection("event = 'labels_tw'", 0, &events),
        "unknown event \"labels_tw\"; did you mean \"labels_two\"?"
    );
}

#[test]
fn labels_of_the_wrong_type_are_refused() {
    let events = [made("labels_three", &[("symbol", "BTC")])];
    for (labels, line, expected) in [
        ("'BTC'", 1, "string; expected a table, such as { symbol = \"BTCUSDT\" }"),
        ("[{ symbol = 'BTC' }]", 1, "array; expected a table, such as { symbol = \"BTCUSDT\" }"),
        (
            "{ symbol =\n 5 }",
            2,
            "integer; expected a text in quotes for each label, such as { symbol = \"BTCUSDT\" }",
        ),
    ] {
        let message =
            refused_selection(&format!("event = 'labels_three'\nlabels = {labels}"), line, &events);
        assert_eq!(message, format!("`labels` has type {expected}"));
    }
    assert_eq!(
        refused_selection("event = 'labels_three'\nlabels = {}", 1, &events),
        "`labels` is empty; write at least one label, or no such key"
    );
}

#[test]
fn the_same_limit_twice_for_one_event_is_refused() {
    let [btc, eth] = ["BTC", "ETH"].map(|symbol| made("labels_four", &[("symbol", symbol)]));
    let of = |labels: &str, limit: &str| {
        format!("[[sla]]\nevent = 'labels_four'\n{labels}\nquantile = 'p95'\nlimit = '{limit}'\n")
    };
    let [all, of_btc, of_eth] = ["", "labels.symbol = 'BTC'", "labels.symbol = 'ETH'"];
    for (one, other) in [(all, all), (all, of_btc), (of_eth, all), (of_btc, of_btc)] {
        let text = of(one, "20ms") + &of(other, "20ms");
        let error = parse_limits(&text, &[btc, eth]).unwrap_err();
        let problem = ParseLimitsProblem::DuplicateLimit { first_line: 1 };
        assert_eq!((error.line, error.problem), (6, problem), "{text}");
    }
    let limits = |text: String| parse_limits(&text, &[btc, eth]).map(|limits| limits.len());
    assert_eq!(limits(of(of_btc, "20ms") + &of(of_eth, "20ms")), Ok(2));
    assert_eq!(limits(of(all, "20ms") + &of(of_btc, "10ms")), Ok(3));
}

#[test]
fn a_limit_has_to_fit_the_units_of_all_its_events() {
    let time = made("labels_five", &[("of", "time")]);
    let labels = [("of".to_owned(), "number".to_owned())];
    let number = numbers::make("labels_five", &labels, Unit::One).unwrap().info;
    let parse = |limit: &str, events: &[EventInfo]| {
        let text = format!("[[sla]]\nevent = 'labels_five'\nquantile = 'p95'\nlimit = {limit}");
        parse_limits(&text, events).map_err(|error| error.problem)
    };
    let event = number.name.to_owned();
    let refused = ParseLimitsProblem::TextForNumber { event, text: "20ms".into() };
    assert_eq!(parse("'20ms'", &[time, number]), Err(refused));
    let event = time.name.to_owned();
    let refused = ParseLimitsProblem::NumberForTime { event, number: "20".into() };
    assert_eq!(parse("20", &[number, time]), Err(refused));
    assert_eq!(parse("20", &[number]).map(|limits| limits.len()), Ok(1));
}

#[test]
fn a_limit_may_be_for_events_of_a_declared_family_that_do_not_exist() {
    let families = [family("labels_six", "symbol")];
    let events = Selectable::new(&[], &families);
    let entries = |text: &str| {
        let document = DeTable::parse(text).unwrap();
        let sla = document.get_ref().get(SLA).unwrap();
        LimitsParser::new(text, &events).entries(sla).map(|entries| entries.len())
    };
    let table = |selection: &str| format!("[[sla]]\nmax_silence = '5s'\nevent = {selection}\n");
    let long = "x".repeat(129);
    for (selection, is_possible) in [
        ("'labels_six'", true),
        ("'labels_six'\nlabels = { symbol = 'BTC' }", true),
        (r#"'labels_six{symbol="BTC"}'"#, true),
        (r#"'labels_six{symbol="a\"b"}'"#, true),
        ("'labels_six'\nlabels = { venue = 'X' }", false),
        ("'labels_six'\nlabels = { symbol = 'BTC', venue = 'X' }", false),
        ("'labels_six'\nlabels = { symbol = '' }", false),
        (&format!("'labels_six'\nlabels = {{ symbol = '{long}' }}"), false),
        (r#"'labels_six{venue="X"}'"#, false),
        (r#"'labels_six{symbol="BTC",venue="X"}'"#, false),
        (r#"'labels_six{symbol="a\b"}'"#, false),
        (r#"'labels_six{symbol=""}'"#, false),
        ("'labels_sixx'", false),
    ] {
        assert_eq!(entries(&table(selection)).is_ok(), is_possible, "{selection}");
    }
    let error = entries(&table("'labels_six'\nlabels = { venue = 'X' }")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 4: no event \"labels_six\" has the labels venue=\"X\"; there are symbol=\"…\""
    );
    let error = entries(&table("'labels_sic'")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 3: unknown event \"labels_sic\"; did you mean \"labels_six\"?"
    );
    let number = "[[sla]]\nevent = 'labels_six'\nquantile = 'p95'\nlimit = 5";
    assert!(
        entries(number).unwrap_err().to_string().contains("\"labels_six\" is measured in time")
    );

    let [all, btc, eth, full] = [
        "'labels_six'",
        "'labels_six'\nlabels = { symbol = 'BTC' }",
        "'labels_six'\nlabels = { symbol = 'ETH' }",
        r#"'labels_six{symbol="BTC"}'"#,
    ]
    .map(table);
    for (one, other) in [(&all, &all), (&all, &btc), (&btc, &full), (&full, &all)] {
        let error = entries(&format!("{one}{other}")).unwrap_err();
        assert_eq!(error.problem, ParseLimitsProblem::DuplicateLimit { first_line: 1 });
    }
    assert_eq!(entries(&format!("{btc}{eth}")), Ok(2));
}
