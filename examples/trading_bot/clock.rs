//! Whether a recording's clock was behind the exchange's, so that messages were received before they were sent.
//!
//! Nothing in the bot depends on it: no latency is computed across the two clocks, and nothing is dropped. It is said
//! once, because whoever subtracts the two times will wonder.
//!
//! Limits: only the first [`LOOKED_AT`] items of the feed are looked at, and `bookTicker` carries no event time.

use core::time::Duration;

use crate::feed::{Feed, FeedItem};

/// How many lines and problems, at most.
const LOOKED_AT: usize = 1_000;

/// How far behind it was at the first message that tells, and on which line that is.
pub(crate) fn behind(feed: Feed) -> Option<(u64, Duration)> {
    feed.take(LOOKED_AT).find_map(|item| match item {
        FeedItem::Line(line) => {
            let sent_ns = line.message.event_time_ms()?.saturating_mul(1_000_000);
            let behind_ns = sent_ns.checked_sub(line.received_ns).filter(|&behind| behind > 0)?;
            Some((line.number, Duration::from_nanos(behind_ns)))
        }
        FeedItem::Problem(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn behind_of(name: &str, text: &str) -> Option<(u64, Duration)> {
        let path = std::env::temp_dir().join(format!("trading_bot-clock-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        let feed = Feed::open(&path);
        fs::remove_file(&path).unwrap();
        behind(feed.unwrap())
    }

    fn trade(received_ns: u64, event_ms: u64) -> String {
        format!(
            "{received_ns} {{\"stream\":\"x@trade\",\"data\":{{\"E\":{event_ms},\"s\":\"X\",\"p\":\"1\",\"q\":\"1\",\"T\":1}}}}\n"
        )
    }

    #[test]
    fn the_first_message_received_before_it_was_sent_is_found() {
        let text = "nonsense\n".to_owned() + &trade(3_000_000, 2) + &trade(3_000_000, 5) + &trade(3_000_000, 9);
        assert_eq!(behind_of("found", &text), Some((3, Duration::from_millis(2))));
    }

    #[test]
    fn a_clock_that_is_right_is_not_mentioned() {
        assert_eq!(behind_of("right", &(trade(3_000_000, 3) + &trade(9_000_000, 4))), None);
        assert_eq!(behind_of("none", "nonsense\n"), None);
    }

    #[test]
    fn hostile_times_do_not_overflow() {
        let expected = Duration::from_nanos(u64::MAX - 1);
        assert_eq!(behind_of("hostile", &trade(1, u64::MAX)), Some((1, expected)));
    }
}
