//! The event bus: what market data hands to the strategy, and the market-data stage that fills it.
//!
//! The bus is a bounded channel. A full one makes the sender wait, and the wait is part of what is measured: nothing is
//! dropped between the feed and the strategy. A snapshot travels on it too, but is not of a stream and comes once a
//! feed, so it would only blur what is measured.

use core::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use std::{net::TcpStream, sync::Arc, time::Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use tailwatch::{Outcome, Trading, measure, record_value};
use tungstenite::{Error as WsError, Message as Frame, WebSocket};

use crate::{measure::RING_CAPACITY, message::Message, net, summary::MarketDataSummary};

/// Messages that wait at most.
const CAPACITY: usize = 4096;

/// How often a quiet connection is left to look whether the run is over.
const LOOK_UP: Duration = Duration::from_millis(250);

/// How many messages are published before what they recorded has to be drained. At full speed nothing else would hold the bot
/// back: a drain that gets no time on a busy machine would be lapped. Of one message at most six records come in one
/// thread, so that this many, and a full bus, fit into a ring.
const SETTLE_EVERY: u64 = RING_CAPACITY as u64 / 8;
const _: () = assert!(6 * (SETTLE_EVERY + CAPACITY as u64) < RING_CAPACITY as u64);

/// A bus, empty.
pub(crate) fn bus() -> (Sender<Message>, Receiver<Message>) {
    bounded(CAPACITY)
}

/// The bot's connection to the exchange's streams.
pub(crate) struct MarketData {
    socket: WebSocket<TcpStream>,
    stop: Arc<AtomicBool>,
    /// Called now and then, between messages.
    settle: Box<dyn Fn() + Send>,
}

impl MarketData {
    /// Connects. Once `stop` is set, the server has to close the connection within [`net::PATIENCE`] of its last message.
    ///
    /// `settle` is called once in [`SETTLE_EVERY`] messages.
    pub(crate) fn connect(
        address: SocketAddr,
        stop: Arc<AtomicBool>,
        settle: impl Fn() + Send + 'static,
    ) -> Result<Self, String> {
        let stream = net::connect(address).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(net::PATIENCE)).map_err(|error| error.to_string())?;
        let (socket, _) = tungstenite::client(format!("ws://{address}/stream"), stream)
            .map_err(|error| error.to_string())?;
        socket.get_ref().set_read_timeout(Some(LOOK_UP)).map_err(|error| error.to_string())?;
        Ok(Self { socket, stop, settle: Box::new(settle) })
    }

    /// Decodes and publishes until the connection is closed.
    pub(crate) fn run(mut self, bus: &Sender<Message>) -> MarketDataSummary {
        let mut summary = MarketDataSummary::default();
        let failure = self.publish_all(bus, &mut summary.published).err();
        summary.failure = failure.map(|failure| format!("market data: {failure}"));
        summary
    }

    fn publish_all(&mut self, bus: &Sender<Message>, published: &mut u64) -> Result<(), String> {
        let mut quiet_since = None;
        loop {
            let text = match self.socket.read() {
                Ok(Frame::Text(text)) => text,
                Ok(_) => continue,
                Err(WsError::ConnectionClosed) => return Ok(()),
                Err(WsError::Io(error)) if net::timed_out(&error) => {
                    if !self.stop.load(Ordering::Relaxed) {
                        continue;
                    }
                    if quiet_since.get_or_insert_with(Instant::now).elapsed() > net::PATIENCE {
                        return Err(
                            "stopped, but the server does not close the connection".to_owned()
                        );
                    }
                    continue;
                }
                Err(error) => return Err(error.to_string()),
            };
            quiet_since = None;
            let message = Message::decode(&text).map_err(|error| error.to_string())?;
            let is_stream = message.is_stream();
            publish(bus, message).map_err(|Gone| "the strategy is gone")?;
            *published += u64::from(is_stream);
            if published.is_multiple_of(SETTLE_EVERY) {
                (self.settle)();
            }
        }
    }
}

/// Nobody receives any more.
struct Gone;

fn publish(bus: &Sender<Message>, message: Message) -> Result<(), Gone> {
    if !message.is_stream() {
        return bus.send(message).map_err(|_| Gone);
    }
    record_value(Trading::QueueBacklog, bus.len() as u64);
    let span = measure(Trading::EventBusPublish);
    let sent = bus.send(message);
    span.end(if sent.is_ok() { Outcome::Ok } else { Outcome::Error });
    sent.map_err(|_| Gone)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const TICKER: &str =
        r#"{"stream":"x@bookTicker","data":{"u":1,"b":"1","B":"1","a":"2","A":"1"}}"#;
    const SNAPSHOT: &str = r#"{"lastUpdateId":7,"bids":[],"asks":[]}"#;

    /// What market data makes of a server that says this and closes, or goes away without a word.
    fn run(frames: &'static [&'static str], closes: bool) -> (MarketDataSummary, usize) {
        let (listener, address) = net::listen().unwrap();
        let server = thread::spawn(move || {
            let mut socket = tungstenite::accept(net::accept(&listener).unwrap()).unwrap();
            // A client that has enough leaves before everything is said.
            let said = frames.iter().try_for_each(|&frame| socket.send(Frame::text(frame)));
            if closes && said.and_then(|()| socket.close(None)).is_ok() {
                while socket.read().is_ok() {}
            }
        });
        let connection = MarketData::connect(address, Arc::default(), || ()).unwrap();
        let (sender, receiver) = bus();
        let summary = connection.run(&sender);
        server.join().unwrap();
        (summary, receiver.len())
    }

    #[test]
    fn everything_is_published_and_stream_messages_are_counted() {
        let (summary, waiting) = run(&[SNAPSHOT, TICKER, TICKER], true);
        assert_eq!(summary, MarketDataSummary { published: 2, failure: None });
        assert_eq!(waiting, 3);
    }

    #[test]
    fn a_connection_that_breaks_off_is_a_failure() {
        let (summary, waiting) = run(&[TICKER], false);
        assert_eq!((summary.published, waiting), (1, 1));
        assert!(summary.failure.is_some());
    }

    #[test]
    fn a_message_that_makes_no_sense_is_a_failure() {
        let (summary, waiting) = run(&[TICKER, "nonsense", TICKER], true);
        assert_eq!((summary.published, waiting), (1, 1));
        assert!(summary.failure.is_some_and(|failure| failure.contains("not JSON")));
    }
}
