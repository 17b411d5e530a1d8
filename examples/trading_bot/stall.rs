//! A fault on request: one order that is slow to be placed, so that a limit is seen to be exceeded and kept again.

use core::{
    str::FromStr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use std::{thread, time::Instant};

/// No wait is longer before the stop flag is looked at again.
const NAP: Duration = Duration::from_millis(50);
/// The longest stall that can be asked for.
const LONGEST: Duration = Duration::from_hours(1);

/// Which order is delayed, and by how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stall {
    /// More than zero, and at most [`LONGEST`].
    pub(crate) delay: Duration,
    /// The order's id: 1 is the first.
    pub(crate) order: u64,
}

impl Stall {
    /// Waits if `order` is the one to be delayed; `false` if a stop cut the wait short.
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
            thread::sleep(left.min(NAP));
        }
    }
}

/// A stall that is none.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum StallError {
    #[error("there is no `@`: expected a duration and the number of an order, such as 200ms@5")]
    NoOrder,
    #[error("`{text}` is no duration: {cause}; expected one such as 200ms")]
    NoDuration { text: String, cause: humantime::DurationError },
    #[error("`{0}` cannot be waited for: expected a duration greater than 0 and at most 1h")]
    OutOfRange(String),
    #[error("`{0}` is no number of an order: expected a whole number, where 1 is the first order")]
    NoNumber(String),
}

impl FromStr for Stall {
    type Err = StallError;

    fn from_str(text: &str) -> Result<Self, StallError> {
        let (delay_text, order_text) = text.split_once('@').ok_or(StallError::NoOrder)?;
        let delay = humantime::parse_duration(delay_text)
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
    fn a_duration_and_an_order_are_read() {
        for (text, delay, order) in [
            ("200ms@5", Duration::from_millis(200), 5),
            ("1s@1", Duration::from_secs(1), 1),
            ("1m 30s@2", Duration::from_secs(90), 2),
            ("1ns@18446744073709551615", Duration::from_nanos(1), u64::MAX),
            ("1h@3", LONGEST, 3),
        ] {
            assert_eq!(text.parse(), Ok(Stall { delay, order }), "{text}");
        }
    }

    #[test]
    fn what_is_refused_says_what_is_wrong_and_what_is_right() {
        for (text, wrong, right) in [
            ("", "no `@`", "200ms@5"),
            ("200ms", "no `@`", "200ms@5"),
            ("@5", "`` is no duration", "200ms"),
            ("5@3", "`5` is no duration", "200ms"),
            ("-1s@3", "`-1s` is no duration", "200ms"),
            ("0ms@3", "`0ms`", "greater than 0 and at most 1h"),
            ("1h 1ns@3", "`1h 1ns`", "greater than 0 and at most 1h"),
            ("1s@0", "`0` is no number", "1 is the first"),
            ("1s@", "`` is no number", "1 is the first"),
            ("1s@-1", "`-1` is no number", "1 is the first"),
            ("1s@2@3", "`2@3` is no number", "1 is the first"),
            ("1s@18446744073709551616", "`18446744073709551616` is no number", "1 is the first"),
        ] {
            let error = text.parse::<Stall>().expect_err(text).to_string();
            assert!(error.contains(wrong) && error.contains(right), "{text}: {error}");
        }
    }

    #[test]
    fn a_stall_lasts_as_long_as_was_asked_for() {
        // More than one nap and not a multiple of it.
        let stall = Stall { delay: Duration::from_millis(70), order: 2 };
        let start = Instant::now();
        assert!(stall.hold(2, &AtomicBool::new(false)));
        assert!(start.elapsed() >= stall.delay);
    }

    /// With the stop set, whoever would wait says so, and nothing has to be timed.
    #[test]
    fn no_other_order_is_held() {
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
            // By now it most likely waits; what is expected does not depend on that.
            thread::sleep(NAP);
            stop.store(true, Ordering::Relaxed);
            assert!(!held.join().unwrap());
        });
    }
}
