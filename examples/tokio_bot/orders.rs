//! The last two stages: one task places orders, another receives their fills.
//!
//! Two spans measure an order. `OrderPlacement` is a measured future from sending the order to its
//! acknowledgement. `OrderFill` is sent to the fills task before the order goes out, and ends there
//! with the fill. `TickToOrder` lasts from the arrival of the market data, whose stamp the intent
//! carries, until the order is sent. All three have the order's id as their tag.

use core::net::SocketAddr;
use std::{collections::HashMap, io};

use tailwatch::{CancelOnDrop, Outcome, Trading, measure_cancel_on_drop_tagged, record_since};
use tailwatch_tokio::MeasureExt;
use tokio::{
    select,
    sync::mpsc::{Receiver, Sender},
    time::{sleep, timeout},
};

use crate::{
    exchange::{Ack, Fill, Hello, Order},
    lines::{Lines, timed_out},
    measure::BotEvent,
    net::PEER_TIMEOUT,
    progress::Notes,
    stall::Stall,
    stop::Stop,
    strategy::Intent,
    summary::{FillsSummary, OrdersSummary},
};

/// A sent order, with the span that its fill ends.
#[derive(Debug)]
pub(crate) struct OpenOrder {
    id: u64,
    fill: CancelOnDrop,
}

/// Delays the order that is to be stalled.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) stall: Option<Stall>,
    pub(crate) stop: Stop,
    pub(crate) notes: Notes,
}

impl Hold {
    async fn order(&self, id: u64) {
        let Some(stall) = self.stall.filter(|stall| stall.order == id) else { return };
        if self.stop.token().run_until_cancelled(sleep(stall.delay)).await.is_none() {
            self.notes.print(&format!(
                "the stall of order {id} was cut short, because the run was stopped"
            ));
        }
    }
}

/// The bot's end of order entry.
#[derive(Debug)]
pub(crate) struct OrderEntry(Lines);

impl OrderEntry {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        Lines::connect(address, Hello::OrderEntry).await.map(Self)
    }

    /// Sends an order and waits for its acknowledgement.
    async fn place(&mut self, order: &Order) -> io::Result<()> {
        self.0.send(order).await?;
        match timeout(PEER_TIMEOUT, self.0.next::<Ack>()).await.map_err(timed_out)?? {
            Some(ack) if ack.id == order.id => Ok(()),
            Some(ack) => Err(io::Error::other(format!(
                "order {} was sent, but order {} was acknowledged",
                order.id, ack.id
            ))),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Places an order for every intent, one after another. After an error the state of the connection
/// is unknown, so no further order is sent over it.
pub(crate) async fn place_all(
    mut entry: OrderEntry,
    mut intents: Receiver<Intent>,
    open: Sender<OpenOrder>,
    hold: Hold,
) -> OrdersSummary {
    let mut summary = OrdersSummary::default();
    let mut id = 0;
    while let Some(intent) = intents.recv().await {
        id += 1;
        if summary.failure.is_some() {
            summary.failed += 1;
            continue;
        }
        let order = Order::new(id, &intent.symbol, intent.side, intent.price, intent.quantity);
        let fill = measure_cancel_on_drop_tagged(Trading::OrderFill, id);
        if let Err(unsent) = open.send(OpenOrder { id, fill }).await {
            unsent.0.fill.end(Outcome::Error);
            summary.failed += 1;
            summary.failure = Some("orders: the fills stage has ended".to_owned());
            continue;
        }
        let placing = async {
            hold.order(id).await;
            record_since(intent.arrived, BotEvent::TickToOrder, id);
            entry.place(&order).await
        };
        match placing.try_measured_tagged(Trading::OrderPlacement, id).await {
            Ok(()) => summary.placed += 1,
            Err(error) => {
                summary.failed += 1;
                summary.failure = Some(format!("orders: {error}"));
            }
        }
    }
    summary
}

/// The bot's end of the stream of fills.
#[derive(Debug)]
pub(crate) struct FillStream(Lines);

impl FillStream {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        Lines::connect(address, Hello::Fills).await.map(Self)
    }
}

/// Receives fills until the exchange closes the connection, or, after the last order, until the
/// connection has been quiet for [`PEER_TIMEOUT`].
pub(crate) async fn take_all(
    mut stream: FillStream,
    mut open: Receiver<OpenOrder>,
) -> FillsSummary {
    let (mut summary, mut waiting) = (FillsSummary::default(), HashMap::new());
    summary.failure = take(&mut stream.0, &mut open, &mut waiting, &mut summary.filled).await.err();
    // Waits for the end of the orders task, even if this task has failed before.
    while let Some(OpenOrder { id, fill }) = open.recv().await {
        waiting.insert(id, fill);
    }
    for fill in waiting.into_values() {
        fill.end(Outcome::Error);
        summary.unfilled += 1;
    }
    summary
}

async fn take(
    stream: &mut Lines,
    open: &mut Receiver<OpenOrder>,
    waiting: &mut HashMap<u64, CancelOnDrop>,
    filled: &mut u64,
) -> Result<(), String> {
    let mut are_orders_over = false;
    loop {
        let next = if are_orders_over {
            let next = timeout(PEER_TIMEOUT, stream.next::<Fill>()).await;
            next.map_err(|_| "fills: the exchange did not close the connection")?
        } else {
            select! {
                next = stream.next::<Fill>() => next,
                order = open.recv() => {
                    are_orders_over = order.is_none();
                    waiting.extend(order.map(|OpenOrder { id, fill }| (id, fill)));
                    continue;
                }
            }
        };
        let Some(Fill { id, .. }) = next.map_err(|error| format!("fills: {error}"))? else {
            return Ok(());
        };
        // The open order was sent here before the order went out, so it has arrived by now.
        while let Ok(OpenOrder { id, fill }) = open.try_recv() {
            waiting.insert(id, fill);
        }
        let fill = waiting
            .remove(&id)
            .ok_or_else(|| format!("fills: order {id} was filled, but it is not open"))?;
        fill.end(Outcome::Ok);
        *filled += 1;
    }
}
