//! A function that is not `async` but returns a future is measured from the first poll of this
//! future to its completion.

use core::{
    cell::Cell,
    error::Error,
    fmt::Display,
    future::{Future, ready},
    pin::Pin,
};
use std::rc::Rc;

use futures_core::future::{BoxFuture, LocalBoxFuture};
use tailwatch::{Kind, Trading, measure};

use crate::harness::{
    CANCELLED, ERROR, OK, Order, START, catch, kinds_of, order, panic_quietly, pause, poll_once,
    run, seen_of, tags_of,
};

#[measure(Trading::QueueBacklog)]
fn mark() {}

/// Asserts that the future that `make` returns is a span from its first poll to its completion,
/// which ends with `end`. The future must be pending at its first poll. The spans of [`mark`] show
/// when the records are written.
#[track_caller]
pub(crate) fn assert_measured<F: Future>(end: Kind, make: impl FnOnce() -> F) -> F::Output {
    let mut output = None;
    let kinds = kinds_of(|| {
        let mut future = Box::pin(make());
        mark();
        assert!(poll_once(future.as_mut()).is_pending());
        mark();
        output = Some(run(future));
        mark();
    });
    assert_eq!(kinds, [START, OK, START, START, OK, end, START, OK]);
    output.unwrap()
}

/// Returns the number after a pause, or an error for 0.
pub(crate) async fn checked(number: u64) -> Result<u64, String> {
    pause().await;
    if number == 0 { Err("zero".to_owned()) } else { Ok(number) }
}

#[measure(Trading::OrderFill)]
fn hidden(number: u64) -> impl Future<Output = u64> {
    async move {
        pause().await;
        number
    }
}

/// The block borrows, and the error is converted to the type that only the return type names.
#[measure(Trading::OrderFill, err, tag = text.len() as u64)]
fn hidden_strictly<'a>(
    text: &'a str,
    base: impl Display + Send + 'a,
) -> impl Future<Output = Result<u64, Box<dyn Error + Send + Sync>>> + Send + 'a {
    let text = text.trim();
    async move {
        pause().await;
        if text.is_empty() {
            return Err("empty".into());
        }
        let number = u64::from_str_radix(text, base.to_string().parse()?)?;
        Ok(number)
    }
}

#[measure(Trading::OrderFill, err)]
fn hidden_without_a_block<T>(value: T) -> impl Future<Output = Result<u64, String>>
where
    T: Into<u64>,
{
    checked(value.into())
}

#[test]
fn an_impl_future_is_measured() {
    assert_eq!(assert_measured(OK, || hidden(5)), 5);
    let text = String::from(" ff ");
    assert_eq!(assert_measured(OK, || hidden_strictly(&text, 16)).unwrap(), 255);
    assert!(assert_measured(ERROR, || hidden_strictly("x", 16)).is_err());
    assert!(assert_measured(ERROR, || hidden_strictly(" ", 16)).is_err());
    assert_eq!(tags_of(|| drop(run(hidden_strictly("12", 10)))), [2]);
    assert_eq!(assert_measured(OK, || hidden_without_a_block(5_u8)), Ok(5));
    assert!(assert_measured(ERROR, || hidden_without_a_block(0_u8)).is_err());
}

#[measure(Trading::OrderFill, err)]
fn pinned(number: u64) -> Pin<Box<dyn Future<Output = Result<u64, String>>>> {
    if number == 7 {
        return Box::pin(async {
            pause().await;
            Err("early".to_owned())
        });
    }
    Box::pin(checked(number))
}

#[measure(Trading::OrderFill)]
fn pinned_block<'a>(order: &'a Order) -> Pin<Box<dyn Future<Output = &'a str> + Send + 'a>> {
    Box::pin(async move {
        pause().await;
        &*order.name
    })
}

#[measure(Trading::OrderFill)]
fn pinned_and_hidden(number: u64) -> Pin<Box<impl Future<Output = u64>>> {
    let next = number + 1;
    Box::pin(hidden_plain(next))
}

async fn hidden_plain(number: u64) -> u64 {
    pause().await;
    number
}

#[test]
fn a_pinned_box_is_measured() {
    assert_eq!(assert_measured(OK, || pinned(5)), Ok(5));
    assert_eq!(assert_measured(ERROR, || pinned(0)), Err("zero".to_owned()));
    assert_eq!(assert_measured(ERROR, || pinned(7)), Err("early".to_owned()));
    let order = order(5);
    assert_eq!(assert_measured(OK, || pinned_block(&order)), "order 5");
    assert_eq!(assert_measured(OK, || pinned_and_hidden(5)), 6);
}

#[measure(Trading::OrderFill, err)]
fn box_future(number: &u64) -> BoxFuture<'_, Result<u64, String>> {
    Box::pin(async move { checked(*number).await })
}

#[measure(Trading::OrderFill, err)]
fn local_box_future(number: Rc<u64>) -> LocalBoxFuture<'static, Result<u64, String>> {
    let number = Rc::clone(&number);
    Box::pin(async move { checked(*number).await })
}

#[test]
fn the_aliases_of_the_crate_futures_are_measured() {
    assert_eq!(assert_measured(OK, || box_future(&5)), Ok(5));
    assert!(assert_measured(ERROR, || box_future(&0)).is_err());
    assert_eq!(assert_measured(OK, || local_box_future(Rc::new(5))), Ok(5));
    assert!(assert_measured(ERROR, || local_box_future(Rc::new(0))).is_err());
}

#[measure(Trading::OrderFill, err)]
fn unpin(number: u64) -> impl Future<Output = Result<u64, String>> + Unpin {
    Box::pin(checked(number))
}

#[measure(Trading::OrderFill)]
fn boxed_unpin(number: u64) -> Box<dyn Future<Output = u64> + Send + Unpin> {
    Box::new(Box::pin(hidden_plain(number)))
}

#[measure(Trading::OrderFill)]
fn boxed(number: u64) -> Box<dyn Future<Output = u64>> {
    Box::new(hidden_plain(number))
}

#[test]
fn a_future_that_must_be_unpin_and_a_plain_box_are_measured() {
    const fn assert_unpin<T: Unpin>(_: &T) {}
    assert_unpin(&unpin(5));
    assert_eq!(assert_measured(OK, || unpin(5)), Ok(5));
    assert!(assert_measured(ERROR, || unpin(0)).is_err());
    assert_eq!(assert_measured(OK, || boxed_unpin(5)), 5);
    assert_eq!(assert_measured(OK, || Pin::from(boxed(5))), 5);
}

type Alias<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

trait MyFuture: Future<Output = Result<u64, String>> {}

impl<F: Future<Output = Result<u64, String>>> MyFuture for F {}

#[measure(Trading::OrderFill, future, err, tag = *number)]
fn aliased(number: &u64) -> Alias<'_, Result<u64, String>> {
    Box::pin(async move { checked(*number).await })
}

#[measure(Trading::OrderFill, err, future)]
fn my_future(number: u64) -> impl MyFuture {
    checked(number)
}

#[measure(Trading::OrderFill, future)]
fn pinned_my_future(number: u64) -> Pin<Box<dyn MyFuture>> {
    Box::pin(checked(number))
}

#[measure(Trading::OrderFill, future)]
fn stated_needlessly(number: u64) -> impl Future<Output = u64> {
    hidden_plain(number)
}

#[test]
fn the_argument_future_measures_what_the_return_type_does_not_show() {
    assert_eq!(assert_measured(OK, || aliased(&5)), Ok(5));
    assert!(assert_measured(ERROR, || aliased(&0)).is_err());
    assert_eq!(assert_measured(OK, || my_future(5)), Ok(5));
    assert!(assert_measured(ERROR, || my_future(0)).is_err());
    assert!(assert_measured(OK, || pinned_my_future(0)).is_err());
    assert_eq!(assert_measured(OK, || stated_needlessly(5)), 5);
}

#[measure(Trading::OrderFill, err)]
fn maybe(number: u64) -> Result<impl Future<Output = u64>, String> {
    if number == 0 { Err("zero".to_owned()) } else { Ok(hidden_plain(number)) }
}

#[measure(Trading::OrderFill)]
fn named(number: u64) -> core::future::Ready<u64> {
    ready(number)
}

#[test]
fn other_functions_are_measured_until_they_return() {
    let kinds = kinds_of(|| {
        let future = maybe(5).unwrap();
        mark();
        assert_eq!(run(future), 5);
        assert!(maybe(0).is_err());
        assert_eq!(run(named(6)), 6);
    });
    assert_eq!(kinds, [START, OK, START, OK, START, ERROR, START, OK]);
}

struct Desk {
    id: u64,
    sum: u64,
}

trait Venue {
    fn send(&mut self, number: u64) -> impl Future<Output = Result<u64, String>> + Send;

    #[measure(Trading::OrderFill, err, tag = number)]
    fn send_by_default(&mut self, number: u64) -> impl Future<Output = Result<u64, String>> + Send
    where
        Self: Send,
    {
        self.send(number)
    }
}

impl Venue for Desk {
    #[measure(Trading::OrderFill, err, tag = self.id)]
    fn send(&mut self, number: u64) -> impl Future<Output = Result<u64, String>> + Send {
        self.sum += number;
        async move {
            self.sum += 1;
            checked(number).await
        }
    }
}

#[test]
fn methods_are_measured() {
    let mut desk = Desk { id: 3, sum: 0 };
    assert_eq!(assert_measured(OK, || desk.send(5)), Ok(5));
    assert!(assert_measured(ERROR, || desk.send(0)).is_err());
    assert_eq!(tags_of(|| drop(run(desk.send_by_default(4)))), [4, 3]);
    assert_eq!(desk.sum, 12);
}

/// # Safety
/// `number` points to a number for as long as the future lives.
#[measure(Trading::OrderFill)]
unsafe fn read(number: *const u64) -> impl Future<Output = u64> {
    // SAFETY: the caller guarantees that `number` points to a number.
    let number = unsafe { number.read() };
    hidden_plain(number)
}

#[test]
fn an_unsafe_function_is_measured() {
    let number = 5;
    // SAFETY: the pointer points to a number.
    assert_eq!(assert_measured(OK, || unsafe { read(&raw const number) }), 5);
}

/// Defines measured functions. The types arrive in invisible groups.
macro_rules! functions {
    ($(
        $(#[$attribute:meta])*
        $name:ident($argument:ident: $type:ty) -> $returned:ty $body:block
    )+) => {
        $($(#[$attribute])* fn $name($argument: $type) -> $returned $body)+
    };
}

macro_rules! functions_of_parts {
    ($output:ty, $future:ty, $boxed:ty, $value:expr) => {
        #[measure(Trading::OrderFill, err)]
        fn of_output(number: u64) -> impl Future<Output = $output> {
            $value(number)
        }

        #[measure(Trading::OrderFill, err)]
        fn of_future(number: u64) -> Pin<Box<$future>> {
            Box::pin($value(number))
        }

        #[measure(Trading::OrderFill, err)]
        fn of_box(number: u64) -> Pin<$boxed> {
            Box::pin($value(number))
        }
    };
}

functions! {
    #[measure(Trading::OrderFill, err)]
    passed_hidden(number: u64) -> impl Future<Output = Result<u64, String>> {
        checked(number)
    }
    #[measure(Trading::OrderFill, err)]
    passed_pinned(number: u64) -> Pin<Box<dyn Future<Output = Result<u64, String>>>> {
        Box::pin(async move { checked(number).await })
    }
}

functions_of_parts!(
    Result<u64, String>,
    dyn Future<Output = Result<u64, String>>,
    Box<dyn Future<Output = Result<u64, String>>>,
    checked
);

#[test]
fn types_that_a_macro_passes_on_are_recognised() {
    assert_eq!(assert_measured(OK, || passed_hidden(5)), Ok(5));
    assert!(assert_measured(ERROR, || passed_hidden(0)).is_err());
    assert!(assert_measured(ERROR, || passed_pinned(0)).is_err());
    assert!(assert_measured(ERROR, || of_output(0)).is_err());
    assert!(assert_measured(ERROR, || of_future(0)).is_err());
    assert!(assert_measured(ERROR, || of_box(0)).is_err());
}

#[measure(Trading::OrderFill)]
fn panics_at_once(panics: bool) -> impl Future<Output = u64> {
    if panics {
        panic_quietly();
    }
    hidden_plain(5)
}

#[measure(Trading::OrderFill)]
fn panics_later() -> impl Future<Output = ()> {
    async {
        pause().await;
        panic_quietly()
    }
}

#[test]
fn a_future_that_panics_or_is_dropped_is_cancelled() {
    let kinds = kinds_of(|| catch(|| run(panics_later())));
    assert_eq!(kinds, [START, CANCELLED]);
    let kinds = kinds_of(|| {
        let mut future = pinned(5);
        assert!(poll_once(future.as_mut()).is_pending());
    });
    assert_eq!(kinds, [START, CANCELLED]);
    let kinds = kinds_of(|| {
        drop(pinned(5));
        catch(|| drop(panics_at_once(true)));
    });
    assert_eq!(kinds, [], "never polled");
}

#[measure(counted(&times), tag = u64::from(times.get()))]
fn with_counted_event(times: Rc<Cell<u32>>) -> impl Future<Output = u32> {
    times.set(times.get() + 10);
    async move {
        pause().await;
        times.get()
    }
}

/// Returns an event and counts the calls in `times`.
fn counted(times: &Cell<u32>) -> Trading {
    times.set(times.get() + 1);
    Trading::OrderPlacement
}

#[test]
fn event_and_tag_are_evaluated_once_before_the_body() {
    let times = Rc::new(Cell::new(0));
    let seen = seen_of(|| {
        let future = with_counted_event(Rc::clone(&times));
        assert_eq!(times.get(), 11);
        assert_eq!(run(future), 11);
    });
    assert_eq!((seen[0].event.as_str(), seen[0].tag), ("order_placement", Some(1)));
}

#[measure(Trading::OrderFill)]
fn holds<T>(value: T) -> impl Future<Output = usize> {
    async move {
        pause().await;
        size_of_val(&value)
    }
}

#[allow(clippy::manual_async_fn, reason = "an async function would hold the argument twice")]
fn holds_plain<T>(value: T) -> impl Future<Output = usize> {
    async move {
        pause().await;
        size_of_val(&value)
    }
}

#[test]
fn a_measured_future_is_send_and_static_if_the_plain_one_is() {
    const fn assert_send<T: Send + 'static>(_: &T) {}
    assert_send(&holds(Cell::new(5)));
}

#[test]
fn a_measured_future_is_at_most_twice_as_large_and_40_bytes() {
    let plain = size_of_val(&holds_plain([0_u8; 1_000]));
    let measured = size_of_val(&holds([0_u8; 1_000]));
    assert!(measured <= 2 * plain + 40, "{measured} and {plain} bytes");
}
