//! Functions of every shape compile and behave with the attribute as without it.

// `Future` and `TryFrom` are not in the prelude of Rust 2018.
use core::{convert::TryFrom, error::Error, fmt::Display, future::Future, ops::Not, pin::Pin};
use std::io;

use tailwatch::{Kind, Trading, measure};

use crate::harness::{ERROR, OK, ends_of, kinds_of, pause, run, tags_of};

#[derive(Clone, Debug, Default, PartialEq)]
struct Desk {
    placed: Vec<u64>,
    name: String,
}

impl Desk {
    const MOST: usize = 3;

    #[measure(Trading::OrderPlacement)]
    fn placed(&self) -> &[u64] {
        &self.placed
    }

    #[measure(Trading::OrderPlacement, err)]
    fn place(&mut self, id: u64) -> Result<&mut u64, &str> {
        if self.placed.len() == Self::MOST {
            return Err(&self.name);
        }
        self.placed.push(id);
        self.placed.last_mut().ok_or("just pushed")
    }

    #[measure(Trading::OrderPlacement, err)]
    async fn place_later(&mut self, id: u64) -> Result<&mut u64, &str> {
        pause().await;
        self.placed.push(id);
        self.placed.last_mut().ok_or("just pushed")
    }

    #[measure(Trading::OrderPlacement, err, tag = self.placed.len() as u64)]
    fn close(mut self) -> Result<Vec<u64>, Self> {
        if self.name.is_empty() {
            return Err(self);
        }
        self.placed.clear();
        Ok(self.placed)
    }

    #[measure(Trading::OrderPlacement)]
    async fn close_later(mut self: Box<Self>) -> Vec<u64> {
        pause().await;
        self.placed.clear();
        self.placed
    }

    #[measure(Trading::OrderPlacement)]
    async fn rename(mut self: Pin<&mut Self>, name: impl Into<String>) {
        pause().await;
        self.name = name.into();
    }
}

#[test]
fn every_form_of_self_works() {
    let ends = ends_of(|| {
        let mut desk = Desk { name: "desk".to_owned(), ..Desk::default() };
        *desk.place(1).unwrap() += 1;
        *run(desk.place_later(3)).unwrap() += 1;
        desk.place(6).unwrap();
        assert_eq!(desk.place(8), Err("desk"));
        assert_eq!(desk.placed(), [2, 4, 6]);
        run(Pin::new(&mut desk).rename(""));
        let mut desk = desk.close().unwrap_err();
        run(Pin::new(&mut desk).rename(String::from("again")));
        assert_eq!(desk.close(), Ok(vec![]));
        assert_eq!(run(Box::new(Desk::default()).close_later()), [0; 0]);
    });
    assert_eq!(ends, [OK, OK, OK, ERROR, OK, OK, ERROR, OK, OK, OK]);
}

trait Venue {
    const NAME: &'static str;

    fn send(&self, id: u64) -> Result<u64, String>;

    #[measure(Trading::OrderPlacement, tag = id, err)]
    fn send_twice(&self, id: u64) -> Result<u64, String> {
        self.send(id)?;
        self.send(id)
    }

    async fn fill(&mut self, id: u64) -> Result<&'static str, String>;

    #[measure(Trading::OrderFill, tag = id)]
    async fn fill_by_default(&mut self, id: u64) -> Result<&'static str, String> {
        pause().await;
        self.fill(id).await
    }
}

struct Echo;

impl Venue for Echo {
    const NAME: &'static str = "echo";

    #[measure(Trading::OrderPlacement, tag = id, err)]
    fn send(&self, id: u64) -> Result<u64, String> {
        id.checked_add(1).ok_or_else(|| format!("{id} is the last"))
    }

    #[measure(Trading::OrderFill, tag = id, err)]
    async fn fill(&mut self, id: u64) -> Result<&'static str, String> {
        pause().await;
        self.send(id)?;
        Ok(Self::NAME)
    }
}

#[test]
fn default_and_implemented_trait_methods_are_measured() {
    let tags = tags_of(|| {
        assert_eq!(Echo.send_twice(4), Ok(5));
        assert_eq!(run(Echo.fill_by_default(7)), Ok("echo"));
    });
    assert_eq!(tags, [4, 4, 4, 7, 7, 7]);
    let kinds = kinds_of(|| assert!(Echo.send_twice(u64::MAX).is_err()));
    assert_eq!(kinds, [Kind::Start, Kind::Start, ERROR, ERROR]);
}

#[measure(Trading::SignalGeneration)]
fn largest<'a, T, const N: usize>(values: &'a [T; N], otherwise: &'a T) -> &'a T
where
    T: PartialOrd,
{
    values.iter().fold(otherwise, |largest, value| if value > largest { value } else { largest })
}

#[measure(Trading::SignalGeneration, err)]
fn longer_than<'a>(
    words: &'a [&'a str],
    least: impl Fn() -> usize,
) -> Result<impl Iterator<Item = &'a str>, Box<dyn Error>> {
    let least = least();
    if least > 9 {
        return Err("too long".into());
    }
    Ok(words.iter().copied().filter(move |word| word.len() > least))
}

#[measure(Trading::SignalGeneration)]
fn shown(value: impl Display) -> impl Display {
    format!("<{value}>")
}

#[measure(Trading::SignalGeneration)]
async fn shown_later(value: impl Display) -> impl Display {
    pause().await;
    format!("<{value}>")
}

#[measure(Trading::SignalGeneration, err)]
async fn shown_strictly(value: impl Display) -> io::Result<(impl Display, usize)> {
    pause().await;
    let text = format!("<{value}>");
    let length = i32::try_from(text.len()).map_err(io::Error::other)?;
    Ok((text, usize::try_from(length).map_err(io::Error::other)?))
}

/// Both types are inferred from the return type alone.
#[measure(Trading::SignalGeneration, err)]
fn boxed(is_long: bool) -> Result<Box<dyn Display>, Box<dyn Error>> {
    if is_long { Err("too long")? } else { Ok(Box::new(5)) }
}

#[measure(Trading::SignalGeneration)]
async fn boxed_later<N>(value: N, collect: bool) -> Result<Box<dyn Send>, Box<dyn Error>>
where
    N: Not<Output = N> + Send + 'static,
{
    if !collect {
        return Err("not collected")?;
    }
    Ok(Box::new(!value))
}

#[test]
fn generics_lifetimes_and_impl_trait_work() {
    let ends = ends_of(|| {
        assert_eq!(largest(&[2, 7, 1], &3), &7);
        assert_eq!(longer_than(&["a", "abc"], || 1).unwrap().collect::<Vec<_>>(), ["abc"]);
        assert!(longer_than(&[], || 10).is_err());
        assert_eq!(shown(5).to_string(), "<5>");
        assert_eq!(run(shown_later("x")).to_string(), "<x>");
        assert_eq!(
            run(shown_strictly(5)).map(|(shown, length)| (shown.to_string(), length)).unwrap(),
            ("<5>".into(), 3)
        );
        assert_eq!(boxed(false).unwrap().to_string(), "5");
        assert!(boxed(true).is_err());
        assert!(run(boxed_later(true, true)).is_ok());
        assert!(run(boxed_later(1, false)).is_err());
    });
    assert_eq!(ends, [OK, OK, ERROR, OK, OK, OK, OK, ERROR, OK, OK]);
}

struct Pair {
    left: String,
    right: String,
}

#[measure(Trading::SignalGeneration, err)]
fn joined(Pair { left, mut right }: Pair, [first, .., last]: [u8; 4], _: ()) -> Result<String, ()> {
    right.push_str(&left);
    Ok(format!("{right}{first}{last}"))
}

#[measure(Trading::SignalGeneration, tag = u64::from(first))]
async fn joined_later(
    Pair { left, ref right }: Pair,
    (mut first, _): (u8, u8),
    mut times: u8,
) -> String {
    while times > 0 {
        pause().await;
        times -= 1;
        first += 1;
    }
    format!("{right}{left}{first}")
}

#[test]
fn arguments_may_be_patterns() {
    let pair = || Pair { left: "l".to_owned(), right: "r".to_owned() };
    let tags = tags_of(|| {
        assert_eq!(joined(pair(), [1, 2, 3, 4], ()), Ok("rl14".to_owned()));
        assert_eq!(run(joined_later(pair(), (5, 6), 3)), "rl8");
    });
    assert_eq!(tags, [0, 5]);
}

/// Counts down.
#[measure(Trading::EventBusHandle, tag = n, err)]
fn down(n: u64) -> Result<u64, u64> {
    if n == 0 { Err(0) } else { down(n - 1).map_err(|depth| depth + 1) }
}

#[measure(Trading::EventBusHandle, tag = n)]
async fn down_later(n: u64) -> u64 {
    if n == 0 {
        return 0;
    }
    pause().await;
    Box::pin(down_later(n - 1)).await + 1
}

#[test]
fn recursive_functions_work() {
    assert_eq!(tags_of(|| assert_eq!(down(3), Err(3))), [3, 2, 1, 0]);
    assert_eq!(tags_of(|| assert_eq!(run(down_later(3)), 3)), [3, 2, 1, 0]);
}

/// # Safety
/// `number` points to a number.
#[measure(Trading::EventBusHandle, err)]
unsafe fn read(number: *const u32) -> Result<u32, ()> {
    // SAFETY: the caller guarantees that `number` points to a number.
    Ok(unsafe { number.read() })
}

/// # Safety
/// `number` points to a number.
#[measure(Trading::EventBusHandle)]
async unsafe fn read_later(number: *const u32) -> u32 {
    pause().await;
    // SAFETY: the caller guarantees that `number` points to a number.
    unsafe { number.read() }
}

#[measure(Trading::EventBusHandle)]
extern "C" fn add(left: u32, right: u32) -> u32 {
    left + right
}

#[measure(Trading::EventBusHandle)]
#[must_use]
#[inline(never)]
pub(crate) fn kept(count: u32) -> u32 {
    #![allow(
        clippy::items_after_statements,
        reason = "an attribute inside the body holds for all of it"
    )]
    let two = TWO * count;
    const TWO: u32 = 2;
    two
}

#[test]
fn qualifiers_and_attributes_are_kept() {
    let pointer: extern "C" fn(u32, u32) -> u32 = add;
    let numbers = [5, 6];
    let ends = ends_of(|| {
        // SAFETY: the pointer points to a number.
        assert_eq!(unsafe { read(&raw const numbers[0]) }, Ok(5));
        // SAFETY: the pointer points to a number.
        assert_eq!(run(unsafe { read_later(&raw const numbers[1]) }), 6);
        assert_eq!(pointer(1, 2), 3);
        assert_eq!(kept(4), 8);
    });
    assert_eq!(ends, [OK; 4]);
}

/// Items and variables of the user with the names that the generated code uses.
mod names {
    // A relative path in the generated code would find these.
    mod tailwatch {}
    #[derive(Debug, PartialEq)]
    pub(super) struct Outcome;
    #[expect(dead_code, reason = "the generated code must not use it")]
    enum Result {
        Ok,
        Err,
    }

    use ::tailwatch::{Trading, measure as measured};

    #[measured(Trading::OrderFill, err)]
    pub(super) fn same(
        span: u8,
        returned: u8,
        __tailwatch_span: u8,
    ) -> core::result::Result<u8, Outcome> {
        let __tailwatch_returned = span + returned;
        core::result::Result::Ok(__tailwatch_returned + __tailwatch_span)
    }

    #[measured(Trading::OrderFill)]
    pub(super) async fn same_later(measure: u8, __tailwatch_returned: u8) -> u8 {
        let __tailwatch_span = measure;
        __tailwatch_span + __tailwatch_returned
    }
}

#[test]
fn names_do_not_clash() {
    let ends = ends_of(|| {
        assert_eq!(names::same(1, 2, 3), Ok(6));
        assert_eq!(run(names::same_later(1, 2)), 3);
    });
    assert_eq!(ends, [OK, OK]);
}

/// Defines measured functions.
macro_rules! functions {
    ($(
        $name:ident($argument:ident: $type:ty) -> $returned:ty, $event:expr, $tag:expr, $body:block;
    )+) => {$(
        #[measure($event, err, tag = $tag)]
        fn $name($argument: $type) -> $returned $body
    )+};
}

functions! {
    half(number: u64) -> Result<u64, u64>, Trading::OrderFill, number, {
        if number > 1 { Ok(number / 2) } else { Err(1_u8)? }
    };
    length(text: &str) -> Result<usize, ()>, Trading::OrderFill, 3 + 4, { Ok(text.len()) };
}

#[test]
fn a_macro_may_define_a_measured_function() {
    let tags = tags_of(|| {
        assert_eq!([half(4), half(1)], [Ok(2), Err(1)]);
        assert_eq!(length("abc"), Ok(3));
    });
    assert_eq!(tags, [4, 1, 7]);
}

/// Re-exports the library under another path.
mod metrics {
    pub(crate) mod watch {
        use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

        pub(crate) use ::tailwatch::{
            __private, Outcome, measure, measure_cancel_on_drop_tagged, measure_tagged,
        };

        pub(crate) static CALLS: AtomicU32 = AtomicU32::new(0);

        /// Counts its calls, which shows that the generated code used this path and not
        /// `::tailwatch`.
        pub(crate) fn measure_cancel_on_drop(
            event: impl ::tailwatch::Event,
        ) -> ::tailwatch::CancelOnDrop {
            CALLS.fetch_add(1, Relaxed);
            ::tailwatch::measure_cancel_on_drop(event)
        }
    }
}

#[metrics::watch::measure(Trading::OrderFill, crate = crate::shapes::metrics::watch)]
fn reexported() {}

#[metrics::watch::measure(Trading::OrderFill, tag = 5, crate = metrics::watch)]
fn reexported_tagged() {}

#[metrics::watch::measure(Trading::OrderFill, crate = metrics::watch, err)]
async fn reexported_later() -> Result<(), ()> {
    Err(())
}

#[metrics::watch::measure(Trading::OrderFill, tag = 6, crate = metrics::watch)]
async fn reexported_later_tagged() {}

#[metrics::watch::measure(Trading::OrderFill, err, tag = 6, crate = metrics::watch)]
fn reexported_strictly() -> Result<(), ()> {
    Ok(())
}

#[test]
fn the_library_may_be_re_exported_under_another_path() {
    let ends = ends_of(|| {
        reexported();
        reexported_tagged();
        assert!(run(reexported_later()).is_err());
        run(reexported_later_tagged());
        reexported_strictly().unwrap();
    });
    assert_eq!(ends, [OK, OK, ERROR, OK, OK]);
    assert_eq!(metrics::watch::CALLS.load(core::sync::atomic::Ordering::Relaxed), 1);
}

// The compiler would warn about unnecessary braces around a single expression on one line.
#[rustfmt::skip]
#[measure(Trading::OrderFill)]
fn on_one_line(number: u8) -> u8 { number }

#[rustfmt::skip]
#[measure(Trading::OrderFill)]
async fn on_one_line_later(number: u8) -> u8 { core::future::ready(number).await }

/// A future whose output is another future. In a block, clippy would suspect a missing `await`.
#[measure(Trading::OrderFill)]
async fn another() -> impl Future<Output = u8> {
    pause().await;
    core::future::ready(5)
}

#[test]
fn the_attribute_causes_no_lint() {
    let ends = ends_of(|| {
        assert_eq!(on_one_line(1), 1);
        assert_eq!(run(on_one_line_later(2)), 2);
        assert_eq!(run(run(another())), 5);
    });
    assert_eq!(ends, [OK; 3]);
}
