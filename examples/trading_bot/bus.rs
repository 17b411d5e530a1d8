//! The event bus between market data and the strategy, and the market-data stage that fills it.
//!
//! The bus is a bounded channel. The sender waits while it is full, so no message is dropped
//! between the feed and the strategy, and the wait is part of the measured time. Snapshots travel
//! on the bus too, but they are not measured: they belong to no stream and come once per feed.

use core::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use std::{net::TcpStream, sync::Arc, time::Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use tailwatch::{Outcome, Stamp, Trading, measure, record_value};
use tungstenite::{Error as WsError, Message as Frame, WebSocket};

use crate::{measure::RING_CAPACITY, message::Message, net, summary::MarketDataSummary};

/// The most messages that wait in the bus.
const CAPACITY: usize = 4096;

/// How long a read from a quiet connection waits before the stop flag is checked.
const READ_TIMEOUT: Duration = Duration::from_millis(250);

/// The number of published messages after which their records are drained. At full speed nothing
/// else slows the bot down, so a drain that gets no processor time on a busy machine would lose
/// records. A thread writes at most six records per message, so those of this many messages and of
/// a full bus fit into a ring.
const FLUSH_EVERY: u64 = RING_CAPACITY as u64 / 8;
const _: () = assert!(6 * (FLUSH_EVERY + CAPACITY as u64) < RING_CAPACITY as u64);

/// Returns an empty bus.
pub(crate) fn bus() -> (Sender<Message>, Receiver<Message>) {
    bounded(CAPACITY)
}

/// The bot's connection to the exchange's streams.
pub(crate) struct MarketData {
    socket: WebSocket<TcpStream>,
    stop: Arc<AtomicBool>,
    /// Drains all records; called between messages.
    flush_collector: Box<dyn Fn() + Send>,
}

impl MarketData {
    /// Connects. Once `stop` is set, the server has to close the connection within
    /// [`net::PEER_TIMEOUT`] of its last message.
    ///
    /// `flush_collector` is called after every [`FLUSH_EVERY`] messages.
    pub(crate) fn connect(
        address: SocketAddr,
        stop: Arc<AtomicBool>,
        flush_collector: impl Fn() + Send + 'static,
    ) -> Result<Self, String> {
        let stream = net::connect(address).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(net::PEER_TIMEOUT)).map_err(|error| error.to_string())?;
        let (socket, _) = tungstenite::client(format!("ws://{address}/stream"), stream)
            .map_err(|error| error.to_string())?;
        socket.get_ref().set_read_timeout(Some(READ_TIMEOUT)).map_err(|error| error.to_string())?;
        Ok(Self { socket, stop, flush_collector: Box::new(flush_collector) })
    }

    /// Decodes and publishes messages until the connection is closed.
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
                    if quiet_since.get_or_insert_with(Instant::now).elapsed() > net::PEER_TIMEOUT {
                        return Err("the run was stopped, but the server did not close the \
                                    connection"
                            .to_owned());
                    }
                    continue;
                }
                Err(error) => return Err(error.to_string()),
            };
            quiet_since = None;
            let arrived = Stamp::now();
            let message = Message::decode(&text).map_err(|error| error.to_string())?;
            let message = Message { arrived, ..message };
            let is_stream = message.is_stream();
            publish(bus, message).map_err(|Gone| "the strategy has ended")?;
            *published += u64::from(is_stream);
            if published.is_multiple_of(FLUSH_EVERY) {
                (self.flush_collector)();
            }
        }
    }
}

/// The error returned when the bus has no receiver any more.
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

    /// Runs market data against a server that sends `frames` and then closes the connection, or,
    /// unless `closes`, drops it. Returns the summary and the number of messages in the bus.
    fn run(frames: &'static [&'static str], closes: bool) -> (MarketDataSummary, usize) {
        let (listener, address) = net::listen().unwrap();
        let server = thread::spawn(move || {
            let mut socket = tungstenite::accept(net::accept(&listener).unwrap()).unwrap();
            // The client may leave before all frames are sent.
            let sent = frames.iter().try_for_each(|&frame| socket.send(Frame::text(frame)));
            if closes && sent.and_then(|()| socket.close(None)).is_ok() {
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
    fn a_dropped_connection_is_a_failure() {
        let (summary, waiting) = run(&[TICKER], false);
        assert_eq!((summary.published, waiting), (1, 1));
        assert!(summary.failure.is_some());
    }

    #[test]
    fn a_malformed_message_is_a_failure() {
        let (summary, waiting) = run(&[TICKER, "nonsense", TICKER], true);
        assert_eq!((summary.published, waiting), (1, 1));
        assert!(summary.failure.is_some_and(|failure| failure.contains("not JSON")));
    }
}
