//! The event bus, and the market-data stage that fills it.
//!
//! The bus is a bounded channel. The sender waits while it is full, and the wait is part of the
//! measured time.

use core::net::SocketAddr;
use std::sync::Arc;

use tailwatch::{Stamp, Trading};
use tailwatch_tokio::{DrainTask, MeasureExt, MeasuredSender};
use tokio::{
    net::TcpStream,
    select,
    sync::mpsc::{self, Receiver, Sender, error::SendError},
    time::timeout,
};
use tokio_stream::StreamExt;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite};
use tungstenite::Message as Frame;

use crate::{
    lines, measure::RING_CAPACITY, message::Message, net::PEER_TIMEOUT, stop::Stop,
    summary::MarketDataSummary,
};

/// The most messages that wait in the bus.
const CAPACITY: usize = 4096;

/// The number of published messages after which their records are drained. At full speed nothing
/// else slows the bot down. All stages may run on one worker, which then writes at most
/// eleven records per message, so those of this many messages and of a full bus fit into its ring.
const FLUSH_EVERY: u64 = RING_CAPACITY as u64 / 16;
const _: () = assert!(11 * (FLUSH_EVERY + CAPACITY as u64) < RING_CAPACITY as u64);

/// Returns an empty bus. Its sender records how many messages wait.
pub(crate) fn bus() -> (MeasuredSender<Sender<Message>>, Receiver<Message>) {
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
    /// Connects. Once `stop` is set, the server has to close the connection within [`PEER_TIMEOUT`]
    /// of its last message.
    pub(crate) async fn connect(
        address: SocketAddr,
        stop: Stop,
        drain: Arc<DrainTask>,
    ) -> Result<Self, String> {
        let stream = lines::connect(address).await.map_err(|error| error.to_string())?;
        let handshake =
            timeout(PEER_TIMEOUT, client_async(format!("ws://{address}/stream"), stream)).await;
        let (socket, _) =
            handshake.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        Ok(Self { socket, stop, drain })
    }

    /// Decodes and publishes messages until the connection is closed.
    pub(crate) async fn run(mut self, bus: MeasuredSender<Sender<Message>>) -> MarketDataSummary {
        let mut summary = MarketDataSummary::default();
        let failure = self.publish_all(&bus, &mut summary.published).await.err();
        summary.failure = failure.map(|failure| format!("market data: {failure}"));
        summary
    }

    async fn publish_all(
        &mut self,
        bus: &MeasuredSender<Sender<Message>>,
        published: &mut u64,
    ) -> Result<(), String> {
        while let Some(frame) = self.next().await? {
            let Frame::Text(text) = frame else { continue };
            let arrived = Stamp::now();
            let message = Message::decode(&text).map_err(|error| error.to_string())?;
            let message = Message { arrived, ..message };
            let is_stream = message.is_stream();
            publish(bus, message).await.map_err(|_| "the strategy has ended")?;
            *published += u64::from(is_stream);
            if published.is_multiple_of(FLUSH_EVERY) {
                self.drain.flush().await;
            }
        }
        Ok(())
    }

    /// Waits for the next frame. Returns `None` once the connection is closed in order, and an
    /// empty ping when the run is stopped.
    async fn next(&mut self) -> Result<Option<Frame>, String> {
        let frame = if self.stop.is_set() {
            let next = timeout(PEER_TIMEOUT, self.socket.next()).await;
            next.map_err(|_| "the run was stopped, but the server did not close the connection")?
        } else {
            select! {
                frame = self.socket.next() => frame,
                () = self.stop.token().cancelled() => {
                    return Ok(Some(Frame::Ping(tungstenite::Bytes::new())));
                }
            }
        };
        frame.transpose().map_err(|error| error.to_string())
    }
}

async fn publish(
    bus: &MeasuredSender<Sender<Message>>,
    message: Message,
) -> Result<(), SendError<Message>> {
    if message.is_stream() {
        bus.send(message).try_measured(Trading::EventBusPublish).await
    } else {
        // Snapshots are not measured: they belong to no stream and come once per feed.
        bus.inner().send(message).await
    }
}
