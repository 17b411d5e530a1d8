//! What `#[measure]` promises: the function behaves as before, and each call is a span with the
//! outcome of the call.

// The generated code must not cause any warning.
#![deny(warnings, clippy::pedantic)]

#[path = "measure_attribute/harness.rs"]
mod harness;
#[path = "measure_attribute/other_attributes.rs"]
mod other_attributes;
#[path = "measure_attribute/returned_futures.rs"]
mod returned_futures;
#[path = "measure_attribute/shapes.rs"]
mod shapes;
mod support;

use core::{cell::Cell, error::Error, marker::PhantomData, num::ParseIntError, pin::Pin};
use std::rc::Rc;

use harness::{
    CANCELLED, ERROR, OK, Order, START, catch, ends_of, kinds_of, order, panic_quietly, pause,
    poll_once, run, seen_of, tags_of,
};
use support::{Log, in_thread, in_turn};
use tailwatch::{Collector, EventId, Trading, measure};

// ---- outcomes ----

#[measure(Trading::OrderPlacement)]
fn parse(text: &str) -> Result<u32, ParseIntError> {
    if text.is_empty() {
        return Ok(0);
    }
    let number = text.parse::<u32>()?;
    Ok(number)
}

#[measure(Trading::OrderPlacement, err)]
fn parse_strictly(text: &str) -> Result<u32, ParseIntError> {
    if text.is_empty() {
        return "none".parse();
    }
    let number = text.parse::<u32>()?;
    Ok(number)
}

#[measure(Trading::OrderPlacement)]
async fn parse_later(text: &str) -> Result<u32, Box<dyn Error>> {
    if text.is_empty() {
        return Ok(0);
    }
    pause().await;
    Ok(text.parse::<u32>()?)
}

#[measure(Trading::OrderPlacement, err)]
async fn parse_strictly_later(text: &str) -> Result<u32, Box<dyn Error>> {
    if text.is_empty() {
        return Err("nothing".into());
    }
    pause().await;
    Ok(text.parse::<u32>()?)
}

#[test]
fn without_err_every_return_is_ok() {
    let ends = ends_of(|| {
        assert_eq!([parse(""), parse("5")], [Ok(0), Ok(5)]);
        assert!(parse("x").is_err());
        assert!(run(parse_later("")).is_ok());
        assert_eq!(run(parse_later("7")).unwrap(), 7);
        assert!(run(parse_later("x")).is_err());
    });
    assert_eq!(ends, [OK; 6]);
}

#[test]
fn with_err_every_returned_err_is_an_error() {
    let ends = ends_of(|| {
        assert!(parse_strictly("").is_err());
        assert!(parse_strictly("x").is_err());
        assert_eq!(parse_strictly("5"), Ok(5));
        assert!(run(parse_strictly_later("")).is_err());
        assert!(run(parse_strictly_later("x")).is_err());
        assert_eq!(run(parse_strictly_later("5")).unwrap(), 5);
    });
    assert_eq!(ends, [ERROR, ERROR, OK, ERROR, ERROR, OK]);
}

#[measure(Trading::OrderPlacement)]
fn panics() -> u8 {
    panic_quietly()
}

#[measure(Trading::OrderPlacement, err)]
fn panics_with_err() -> Result<u8, ()> {
    panic_quietly()
}

#[measure(Trading::OrderPlacement)]
async fn panics_later() {
    pause().await;
    panic_quietly()
}

#[measure(Trading::OrderPlacement)]
fn never() -> ! {
    panic_quietly()
}

#[measure(Trading::OrderPlacement)]
async fn never_later() -> ! {
    pause().await;
    panic_quietly()
}

#[test]
fn a_panic_cancels_the_span() {
    let ends = ends_of(|| {
        catch(|| assert_eq!(panics(), 1));
        catch(|| assert_eq!(panics_with_err(), Ok(1)));
        catch(|| run(panics_later()));
        catch(|| never());
        catch(|| {
            run(never_later());
        });
        parse("").unwrap(); // later spans are not affected
    });
    assert_eq!(ends, [CANCELLED, CANCELLED, CANCELLED, CANCELLED, CANCELLED, OK]);
}

// ---- futures ----

#[test]
fn a_future_that_is_never_polled_records_nothing() {
    assert_eq!(kinds_of(|| drop(parse_later("5"))), []);
    assert_eq!(kinds_of(|| drop(never_later())), []);
}

#[test]
fn a_span_begins_at_the_first_poll_and_is_cancelled_if_the_future_is_dropped() {
    let kinds = kinds_of(|| {
        let mut first = Box::pin(parse_later("1"));
        let mut second = Box::pin(parse_strictly_later("2"));
        let mut third = Box::pin(never_later());
        parse("").unwrap(); // its span comes first, although the futures were made before
        assert!(poll_once(first.as_mut()).is_pending());
        assert!(poll_once(second.as_mut()).is_pending());
        assert!(poll_once(third.as_mut()).is_pending());
        drop(first);
        parse("").unwrap();
        drop(second);
        drop(third);
    });
    assert_eq!(kinds[..5], [START, OK, START, START, START]);
    assert_eq!(kinds[5..], [CANCELLED, START, OK, CANCELLED, CANCELLED]);
}

#[test]
fn a_future_may_end_on_another_thread() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.install().unwrap();
    let mut future = Box::pin(parse_strictly_later("5"));
    let future = in_thread("first", move || {
        assert!(poll_once(future.as_mut()).is_pending());
        SentFuture(future)
    });
    in_thread("second", move || {
        let SentFuture(mut future) = future;
        assert!(poll_once(future.as_mut()).is_ready());
    });
    collector.stop();
    let mut seen = log.all();
    // The rings of different threads are drained in any order.
    seen.sort_by_key(|seen| seen.record.ticks());
    let threads: Vec<_> = seen.iter().map(|seen| (seen.kind, seen.thread.as_str())).collect();
    assert_eq!(threads, [(START, "first"), (OK, "second")]);
    assert_eq!(seen[0].start_tick(), seen[1].start_tick());
}

/// A future that is sent to another thread.
struct SentFuture<F: Send>(Pin<Box<F>>);

#[measure(Trading::OrderPlacement)]
async fn holds<T>(value: T) -> usize {
    pause().await;
    size_of_val(&value)
}

async fn holds_plain<T>(value: T) -> usize {
    pause().await;
    size_of_val(&value)
}

/// Uses its argument across an await point.
#[measure(Trading::OrderPlacement)]
async fn counts(count: Cell<u32>, add: u32) -> u32 {
    pause().await;
    count.set(count.get() + add);
    count.get()
}

/// Detects whether a type is `Send` without requiring it: the inherent method exists only for
/// `Send` types and takes precedence over the trait's.
struct Probe<T>(PhantomData<T>);

impl<T: Send> Probe<T> {
    #[allow(clippy::unused_self, reason = "method resolution prefers it to the trait's method")]
    fn is_send(&self) -> bool {
        true
    }
}

trait Otherwise {
    fn is_send(&self) -> bool {
        false
    }
}

impl<T> Otherwise for Probe<T> {}

macro_rules! is_send {
    ($future:expr) => {{
        fn probe<T>(_: &T) -> Probe<T> {
            Probe(PhantomData)
        }
        probe(&$future).is_send()
    }};
}

#[test]
fn a_measured_future_is_send_if_and_only_if_the_plain_one_is() {
    const fn assert_send<T: Send>(_: &T) {}
    const fn assert_static<T: 'static>(_: &T) {}
    // A `Cell` is `Send` but not `Sync`. The future is `Send`, so the argument was moved into the
    // block, not borrowed.
    let counting = counts(Cell::new(1), 2);
    assert_send(&counting);
    assert_static(&counting);
    assert_eq!(ends_of(|| assert_eq!(run(counting), 3)), [OK]);
    assert_send(&holds(Cell::new(5)));
    assert!(is_send!(holds(5)) && is_send!(holds_plain(5)));
    assert!(!is_send!(holds(Rc::new(5))) && !is_send!(holds_plain(Rc::new(5))));
    // The arguments may borrow.
    let text = String::from("lent");
    let borrowing = holds(&text);
    assert_send(&borrowing);
    assert_eq!(run(borrowing), size_of::<&String>());
}

// ---- events and tags ----

#[measure(Trading::OrderPlacement, tag = order.id)]
fn place(mut order: Order) -> Order {
    order.id += 1;
    order
}

#[measure(Trading::OrderPlacement, tag = order.id, err)]
fn place_strictly(order: &mut Order) -> Result<&mut u64, &'static str> {
    order.id += 1;
    if order.id > 100 { Err("too many") } else { Ok(&mut order.id) }
}

#[measure(Trading::OrderPlacement, err, tag = order.id,)]
async fn place_later(mut order: Order) -> Result<String, String> {
    order.id += 1;
    pause().await;
    if order.id > 100 { Err(order.name) } else { Ok(order.name) }
}

#[test]
fn a_tag_is_evaluated_at_entry() {
    let tags = tags_of(|| {
        assert_eq!(place(order(4)).id, 5);
        *place_strictly(&mut order(5)).unwrap() += 1;
        assert_eq!(place_strictly(&mut order(100)), Err("too many"));
        assert_eq!(run(place_later(order(6))), Ok("order 6".to_owned()));
        assert_eq!(run(place_later(order(100))), Err("order 100".to_owned()));
        parse("").unwrap();
    });
    assert_eq!(tags, [4, 5, 100, 6, 100, 0]);
}

/// Returns an event and counts the calls in `times`.
fn counted_event(times: &Cell<u32>) -> Trading {
    times.set(times.get() + 1);
    Trading::OrderFill
}

#[measure(counted_event(times))]
fn with_counted_event(times: &Cell<u32>) -> u32 {
    times.get()
}

#[measure(if is_fill { Trading::OrderFill } else { Trading::OrderPlacement })]
async fn with_either(is_fill: bool) -> bool {
    is_fill
}

#[measure(event)]
fn with_argument(event: EventId) -> u16 {
    event.get()
}

/// An item of the body does not change what the event means.
#[measure(Trading::OrderFill)]
fn with_items() -> u8 {
    #[derive(Clone, Copy)]
    enum Trading {
        OrderFill = 9,
    }
    Trading::OrderFill as u8
}

#[test]
fn an_event_is_an_expression_that_is_evaluated_once_at_entry() {
    let times = Cell::new(0);
    let seen = seen_of(|| {
        assert_eq!(with_counted_event(&times), 1);
        assert!(!run(with_either(false)));
        assert_eq!(with_argument(tailwatch::Event::id(Trading::CandleProcessing)), 1);
        assert_eq!(with_items(), 9);
    });
    assert_eq!(times.get(), 1);
    let events: Vec<_> =
        seen.iter().filter(|seen| seen.kind == START).map(|seen| seen.event.as_str()).collect();
    assert_eq!(events, ["order_fill", "order_placement", "candle_processing", "order_fill"]);
}
