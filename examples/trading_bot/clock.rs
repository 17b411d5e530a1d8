//! Detects whether the clock of a recording was behind the exchange's, so that messages seem to
//! have been received before they were sent.
//!
//! Nothing in the bot depends on it: no latency is computed across the two clocks, and no message
//! is dropped. A notice is printed once, to explain negative differences of the two times in the
//! recording.
//!
//! Limit: `bookTicker` has no event time.

use core::time::Duration;

use crate::feed::Line;

/// Returns by how much a message was received before it was sent, if it was.
pub(crate) fn behind(line: &Line) -> Option<Duration> {
    let sent_ns = line.message.event_time_ms()?.saturating_mul(1_000_000);
    sent_ns.checked_sub(line.received_ns).filter(|behind| *behind > 0).map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    fn trade(received_ns: u64, event_ms: u64) -> Line {
        let text = format!(
            r#"{{"stream":"x@trade","data":{{"E":{event_ms},"s":"X","p":"1","q":"1","T":1}}}}"#
        );
        let message = Message::decode(&text).unwrap();
        Line { number: 1, received_ns, text, message }
    }

    #[test]
    fn only_a_message_received_before_it_was_sent_is_behind() {
        assert_eq!(behind(&trade(3_000_000, 5)), Some(Duration::from_millis(2)));
        assert_eq!(behind(&trade(3_000_000, 3)), None);
        assert_eq!(behind(&trade(9_000_000, 4)), None);
    }

    #[test]
    fn hostile_times_do_not_overflow() {
        assert_eq!(behind(&trade(1, u64::MAX)), Some(Duration::from_nanos(u64::MAX - 1)));
    }
}
