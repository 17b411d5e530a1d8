//! The texts from which tags were made, in the report and the trace.

mod support;

use std::sync::Arc;

use serde_json::Value;
use support::{MemoryFile, in_turn};
use tailwatch::{
    Collector, Outcome, TagNames, TraceWriter, Trading, WindowSpec, measure, measure_tagged, tag_of,
};

/// Returns the slowest samples of `order_fill` since the start: their tags and texts.
fn slowest(collector: &Collector) -> Vec<(Option<u64>, Option<String>)> {
    let report = collector.report();
    let total = report.event(Trading::OrderFill).unwrap().total.as_ref().unwrap();
    let text = |name: &Arc<str>| name.to_string();
    total.slowest.iter().map(|slow| (slow.tag, slow.tag_name.as_ref().map(text))).collect()
}

#[test]
fn the_report_shows_the_texts_of_tags() {
    let _turn = in_turn();
    let names = TagNames::new(100);
    let collector = Collector::builder().tag_names(&names).manual_drain().start().unwrap();
    collector.register_thread("main").unwrap();
    let tag = names.tag_of("ORD-000123, or so");
    drop(measure_tagged(Trading::OrderFill, tag));
    // A tag without a text, and a span without a tag.
    drop(measure_tagged(Trading::OrderFill, tag_of("unknown")));
    drop(measure(Trading::OrderFill));
    collector.stop();
    let mut found = slowest(&collector);
    found.sort();
    let mut expected = [
        (Some(0), None),
        (Some(tag_of("unknown")), None),
        (Some(tag), Some("ORD-000123, or so".to_owned())),
    ];
    expected.sort();
    assert_eq!(found, expected);
    let window = collector.slowest(Trading::OrderFill, WindowSpec::MINUTE.length).unwrap();
    assert_eq!(window.iter().filter(|slow| slow.tag_name.is_some()).count(), 1);

    let json: Value = serde_json::from_str(&collector.report().to_json()).unwrap();
    let fill = json["events"].as_array().unwrap().iter().find(|event| event["id"] == 4).unwrap();
    for slow in fill["total"]["slowest"].as_array().unwrap() {
        let name = (slow["tag"] == tag).then_some("ORD-000123, or so");
        assert_eq!(slow.get("tag_name").map(|name| name.as_str().unwrap()), name);
    }
    let table = collector.report().table().width(usize::MAX).with_slowest().to_string();
    assert_eq!(table.matches(&format!(", tag {tag} (ORD-000123, or so), thread main")).count(), 1);
}

#[test]
fn a_report_keeps_the_texts_that_it_has_found() {
    let _turn = in_turn();
    let names = TagNames::new(4);
    let collector = Collector::builder().tag_names(&names).manual_drain().start().unwrap();
    collector.register_thread("main").unwrap();
    let slow = measure_tagged(Trading::OrderFill, names.tag_of("slow"));
    support::spin(core::time::Duration::from_millis(20));
    slow.end(Outcome::Ok);
    // Two reports exist at a time. Each has to find the text by itself.
    collector.flush();
    collector.flush();
    // Only the slowest sample is compared: the others may trade places.
    for number in 0..20 {
        drop(measure_tagged(Trading::OrderFill, names.tag_of(&number.to_string())));
        collector.flush();
        assert_eq!(slowest(&collector)[0], (Some(tag_of("slow")), Some("slow".to_owned())));
    }
    assert_eq!(names.name(tag_of("slow")), None, "it was overwritten");
}

#[test]
fn a_tag_of_two_texts_is_shown_without_a_text() {
    let _turn = in_turn();
    let names = TagNames::new(4);
    let collector = Collector::builder().tag_names(&names).manual_drain().start().unwrap();
    collector.register_thread("main").unwrap();
    // A search among 33 million texts has found these.
    let tags = ["ORD-15578245", "ORD-22159214"].map(|text| names.tag_of(text));
    assert_eq!(tags[0], tags[1]);
    drop(measure_tagged(Trading::OrderFill, tags[0]));
    collector.stop();
    assert_eq!(slowest(&collector), [(Some(tags[0]), None)]);
    assert_eq!(names.collisions(), 1);
}

#[test]
fn a_trace_has_a_column_for_the_texts_of_tags() {
    let _turn = in_turn();
    let names = TagNames::new(100);
    let files = [MemoryFile::default(), MemoryFile::default()];
    let traces =
        [TraceWriter::new(files[0].clone()), TraceWriter::with_tag_names(files[1].clone(), &names)];
    let builder = Collector::builder().observer(traces[0].observer());
    let collector = builder.observer(traces[1].observer()).manual_drain();
    let collector = collector.start().unwrap();
    collector.register_thread("main").unwrap();
    drop(measure_tagged(Trading::OrderFill, names.tag_of("a, b")));
    drop(measure_tagged(Trading::OrderFill, 1));
    collector.stop();
    for trace in traces {
        trace.finish().unwrap();
    }
    let [plain, with_names] = files.map(|file| file.text());
    let last = ["tag_name", "\"a, b\"", "\"a, b\"", "", ""];
    let expected: Vec<_> =
        plain.lines().zip(last).map(|(line, last)| format!("{line},{last}")).collect();
    assert_eq!(with_names.lines().collect::<Vec<_>>(), expected);
    assert_eq!(plain.lines().count(), 5);
}
