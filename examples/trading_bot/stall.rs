//! A fault on request: one order is placed late, to show a violation that is raised and cleared.

use core::{
    str::FromStr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use std::{thread, time::Instant};

/// The longest wait before the stop flag is checked again.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// The longest allowed stall.
const LONGEST: Duration = Duration::from_hours(1);

/// Which order is delayed, and by how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stall {
    /// The delay: more than zero, at most [`LONGEST`].
    pub(crate) delay: Duration,
    /// The order's id: 1 is the first.
    pub(crate) order: u64,
}

impl Stall {
    /// Waits if `order` is the order to delay. Returns `false` if a stop cut the wait short.
    pub(crate) fn hold(self, order: u64, stop: &AtomicBool) -> bool {
        if order != self.order {
            return true;
        }
        let start = Instant::now();
        loop {
            let left = self.delay.saturating_sub(start.elapsed());
            if left.is_zero() {
                return true;
            }
            if stop.load(Ordering::Relaxed) {
                return false;
            }
            thread::sleep(left.min(STOP_CHECK_INTERVAL));
        }
    }
}

/// The error returned for an invalid stall.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum StallError {
    #[error("there is no `@`: expected a duration and the number of an order, such as 200ms@5")]
    NoOrder,
    #[error("`{text}` is not a duration: {cause}; expected one such as 200ms")]
    NoDuration { text: String, cause: humantime::DurationError },
    #[error("`{0}` is out of range: expected a duration greater than 0 and at most 1h")]
    OutOfRange(String),
    #[error("`{0}` is not the number of an order: expected a whole number; 1 is the first order")]
    NoNumber(String),
}

impl FromStr for Stall {
    type Err = StallError;

    fn from_str(text: &str) -> Result<Self, StallError> {
        let (delay_text, order_text) = text.split_once('@').ok_or(StallError::NoOrder)?;
        // `humantime` knows the micro sign, but not the Greek letter, which looks the same.
        let delay = humantime::parse_duration(&delay_text.replace('\u{3bc}', "\u{b5}"))
            .map_err(|cause| StallError::NoDuration { text: delay_text.to_owned(), cause })?;
        if delay.is_zero() || delay > LONGEST {
            return Err(StallError::OutOfRange(delay_text.to_owned()));
        }
        match order_text.parse() {
            Ok(order) if order > 0 => Ok(Self { delay, order }),
            _ => Err(StallError::NoNumber(order_text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_and_an_order_are_parsed() {
        for (text, delay, order) in [
            ("200ms@5", Duration::from_millis(200), 5),
            ("1s@1", Duration::from_secs(1), 1),
            ("1m 30s@2", Duration::from_secs(90), 2),
            ("1ns@18446744073709551615", Duration::from_nanos(1), u64::MAX),
            ("1h@3", LONGEST, 3),
            ("20\u{b5}s@4", Duration::from_micros(20), 4),
            ("20\u{3bc}s@4", Duration::from_micros(20), 4),
        ] {
            assert_eq!(text.parse(), Ok(Stall { delay, order }), "{text}");
        }
    }

    #[test]
    fn errors_name_the_wrong_value_and_the_expected_one() {
        for (text, wrong, right) in [
            ("", "no `@`", "200ms@5"),
            ("200ms", "no `@`", "200ms@5"),
            ("@5", "`` is not a duration", "200ms"),
            ("5@3", "`5` is not a duration", "200ms"),
            ("-1s@3", "`-1s` is not a duration", "200ms"),
            ("0ms@3", "`0ms`", "greater than 0 and at most 1h"),
            ("1h 1ns@3", "`1h 1ns`", "greater than 0 and at most 1h"),
            ("1s@0", "`0` is not the number", "1 is the first"),
            ("1s@", "`` is not the number", "1 is the first"),
            ("1s@-1", "`-1` is not the number", "1 is the first"),
            ("1s@2@3", "`2@3` is not the number", "1 is the first"),
            (
                "1s@18446744073709551616",
                "`18446744073709551616` is not the number",
                "1 is the first",
            ),
        ] {
            let error = text.parse::<Stall>().expect_err(text).to_string();
            assert!(error.contains(wrong) && error.contains(right), "{text}: {error}");
        }
    }

    #[test]
    fn a_stall_lasts_at_least_as_long_as_its_delay() {
        // More than one interval, and not a multiple of it.
        let stall = Stall { delay: Duration::from_millis(70), order: 2 };
        let start = Instant::now();
        assert!(stall.hold(2, &AtomicBool::new(false)));
        assert!(start.elapsed() >= stall.delay);
    }

    /// With the stop flag set, `hold` returns at once, and `false` shows which order it would have
    /// delayed.
    #[test]
    fn no_other_order_is_delayed() {
        let stall = Stall { delay: LONGEST, order: 5 };
        let stop = AtomicBool::new(true);
        let held: Vec<u64> = (1..=20).filter(|&order| !stall.hold(order, &stop)).collect();
        assert_eq!(held, [5]);
    }

    #[test]
    fn a_stop_ends_the_longest_stall() {
        let stall = Stall { delay: LONGEST, order: 2 };
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let held = scope.spawn(|| stall.hold(2, &stop));
            // By now the thread most likely waits; the expected result does not depend on that.
            thread::sleep(STOP_CHECK_INTERVAL);
            stop.store(true, Ordering::Relaxed);
            assert!(!held.join().unwrap());
        });
    }
}
