//! Converts receive times of the recording to send times of this run.
//!
//! If two receive times are more than [`LONGEST_GAP`] apart, forwards or backwards, the recording
//! has a hole or a damaged line, and the replay does not wait. A replay that has fallen behind
//! catches up; nothing is dropped.

use core::time::Duration;
use std::time::Instant;

use crate::options::Speed;

/// The longest gap between two receive times that the replay waits for.
const LONGEST_GAP: Duration = Duration::from_mins(1);

/// The time at which a message is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Now,
    At(Instant),
    /// Later than the clock can represent.
    Never,
}

/// Converts receive times to send times.
pub(super) struct Pace {
    speed: Speed,
    /// The send time of the first message, and the newest receive time.
    begin: Option<(Instant, u64)>,
    /// The market time since the first message, without the gaps that are skipped.
    market: Duration,
}

impl Pace {
    pub(super) fn new(speed: Speed) -> Self {
        Self { speed, begin: None, market: Duration::ZERO }
    }

    /// Returns when to send the next message, which was received at `received_ns`.
    pub(super) fn due(&mut self, received_ns: u64) -> Due {
        let Speed::Factor(factor) = self.speed else { return Due::Now };
        let Some((begin, latest)) = &mut self.begin else {
            self.begin = Some((Instant::now(), received_ns));
            return Due::Now;
        };
        let step = Duration::from_nanos(received_ns.abs_diff(*latest));
        if received_ns > *latest {
            if step <= LONGEST_GAP {
                self.market += step;
            }
            *latest = received_ns;
        } else if step > LONGEST_GAP {
            // The line before had a damaged time. After small steps back, the time is kept until
            // the receive times have caught up.
            *latest = received_ns;
        }
        Duration::try_from_secs_f64(self.market.as_secs_f64() / factor)
            .ok()
            .and_then(|after| begin.checked_add(after))
            .map_or(Due::Never, Due::At)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn send_times_follow_receive_times() {
        let second = 1_000_000_000;
        let mut pace = Pace::new(Speed::Factor(2.0));
        assert_eq!(pace.due(100 * second), Due::Now);
        let begin = pace.begin.expect("the first message set it").0;
        let mut after = |received| match pace.due(received) {
            Due::At(instant) => instant.duration_since(begin).as_millis(),
            other => panic!("{other:?}"),
        };
        assert_eq!(after(101 * second), 500);
        // A small step back does not delay the messages after it.
        assert_eq!(after(100 * second), 500);
        assert_eq!(after(102 * second), 1_000);
        // A line far in the future, and the return from it.
        assert_eq!(after(u64::MAX), 1_000);
        assert_eq!(after(103 * second), 1_000);
        assert_eq!(after(105 * second), 2_000);
    }

    #[test]
    fn extreme_speeds_do_not_overflow() {
        let mut pace = Pace::new(Speed::Factor(f64::MIN_POSITIVE));
        assert_eq!((pace.due(1), pace.due(2)), (Due::Now, Due::Never));
        let mut pace = Pace::new(Speed::Max);
        assert_eq!((pace.due(1), pace.due(u64::MAX)), (Due::Now, Due::Now));
    }
}
