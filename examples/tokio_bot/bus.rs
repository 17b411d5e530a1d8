//! The event bus, and the market-data stage that fills it.
//!
//! The bus is a bounded channel. A full one makes the sender wait, and the wait is part of what is measured.

use core::net::SocketAddr;
use std::sync::Arc;

use tailwatch::Trading;
use tailwatch_tokio::{DrainTask, MeasureExt, MeasuredSender};
use tokio::{
    net::TcpStream,
    select,
    sync::mpsc::{self, Receiver, error::SendError},
    time::timeout,
};
use tokio_stream::StreamExt;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite};
use tungstenite::Message as Frame;

use crate::{
    lines, measure::RING_CAPACITY, message::Message, net::PATIENCE, stop::Stop,
    summary::MarketDataSummary,
};

/// Messages that wait at most.
const CAPACITY: usize = 4096;

/// How many messages are published before what they recorded has to be drained, as nothing else holds the bot back at full speed. All
/// stages may run on one worker, whose ring then takes at most nine records of each message: these and a full bus fit into it.
const SETTLE_EVERY: u64 = RING_CAPACITY as u64 / 16;
const _: () = assert!(9 * (SETTLE_EVERY + CAPACITY as u64) < RING_CAPACITY as u64);

/// A bus, empty, whose sender records how many messages wait.
pub(crate) fn bus() -> (MeasuredSender<Message>, Receiver<Message>) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    (MeasuredSender::new(sender, Trading::QueueBacklog), receiver)
}

/// The bot's connection to the exchange's streams.
#[derive(Debug)]
pub(crate) struct MarketData {
    socket: WebSocketStream<TcpStream>,
    stop: Stop,
    drain: Arc<DrainTask>,
}

impl MarketData {
    /// Connects. Once `stop` is set, the server has to close the connection within [`PATIENCE`] of its last message.
    pub(crate) async fn connect(
        address: SocketAddr,
        stop: Stop,
        drain: Arc<DrainTask>,
    ) -> Result<Self, String> {
        let stream = lines::connect(address).await.map_err(|error| error.to_string())?;
        let handshake =
            timeout(PATIENCE, client_async(format!("ws://{address}/stream"), stream)).await;
        let (socket, _) =
            handshake.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        Ok(Self { socket, stop, drain })
    }

    /// Decodes and publishes until the connection is closed.
    pub(crate) async fn run(mut self, bus: MeasuredSender<Message>) -> MarketDataSummary {
        let mut summary = MarketDataSummary::default();
        let failure = self.publish_all(&bus, &mut summary.published).await.err();
        summary.failure = failure.map(|failure| format!("market data: {failure}"));
        summary
    }

    async fn publish_all(
        &mut self,
        bus: &MeasuredSender<Message>,
        published: &mut u64,
    ) -> Result<(), String> {
        while let Some(frame) = self.next().await? {
            let Frame::Text(text) = frame else { continue };
            let message = Message::decode(&text).map_err(|error| error.to_string())?;
            let is_stream = message.is_stream();
            publish(bus, message).await.map_err(|_| "the strategy is gone")?;
            *published += u64::from(is_stream);
            if published.is_multiple_of(SETTLE_EVERY) {
                self.drain.flush().await;
            }
        }
        Ok(())
    }

    /// The next frame; `None` once the connection is closed in order.
    async fn next(&mut self) -> Result<Option<Frame>, String> {
        let frame = if self.stop.is_set() {
            let next = timeout(PATIENCE, self.socket.next()).await;
            next.map_err(|_| "stopped, but the server does not close the connection")?
        } else {
            select! {
                frame = self.socket.next() => frame,
                () = self.stop.token().cancelled() => return Ok(Some(Frame::Ping(tungstenite::Bytes::new()))),
            }
        };
        frame.transpose().map_err(|error| error.to_string())
    }
}

async fn publish(
    bus: &MeasuredSender<Message>,
    message: Message,
) -> Result<(), SendError<Message>> {
    if message.is_stream() {
        bus.send(message).try_measured(Trading::EventBusPublish).await
    } else {
        // A snapshot travels on it too, but is not of a stream and comes once a feed.
        bus.inner().send(message).await
    }
}
