//! The last two stages: one thread places orders, another receives their fills.
//!
//! Two spans measure an order. `OrderPlacement` lasts from sending it to its acknowledgement, on
//! the orders thread. `OrderFill` begins on that thread too, but ends on the fills thread. Its
//! token is sent to the fills thread before the order goes out, so it always arrives before the
//! fill. `TickToOrder` lasts from the arrival of the market data, whose stamp the intent carries,
//! until the order is sent. All three have the order's id as their tag.

use core::time::Duration;
use std::{collections::HashMap, time::Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use tailwatch::{
    Outcome, Token, Trading, measure_tagged, record_end, record_since, record_start_tagged,
};

use crate::{
    exchange::{FillStream, NextFill, Order, OrderEntry},
    measure::BotEvent,
    net::PEER_TIMEOUT,
    strategy::Intent,
    summary::{FillsSummary, OrdersSummary},
};

/// How long the fills thread waits for a fill before it checks whether the orders have ended.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_millis(250);

/// A sent order, with the token of the span that its fill ends.
pub(crate) struct OpenOrder {
    id: u64,
    fill: Token,
}

/// Places an order for every intent, one after another. After an error the state of the connection
/// is unknown, so no further order is sent over it. `hold` is called with each order's id after the
/// placement has begun and before the order is sent.
pub(crate) fn place_all(
    mut entry: OrderEntry,
    intents: &Receiver<Intent>,
    open: &Sender<OpenOrder>,
    mut hold: impl FnMut(u64),
) -> OrdersSummary {
    let mut summary = OrdersSummary::default();
    for (id, intent) in (1..).zip(intents) {
        if summary.failure.is_some() {
            summary.failed += 1;
            continue;
        }
        let order = Order::new(id, &intent.symbol, intent.side, intent.price, intent.quantity);
        let fill = record_start_tagged(Trading::OrderFill, id);
        if let Err(unsent) = open.send(OpenOrder { id, fill }) {
            record_end(unsent.into_inner().fill, Outcome::Error);
            summary.failed += 1;
            summary.failure = Some("orders: the fills stage has ended".to_owned());
            continue;
        }
        let span = measure_tagged(Trading::OrderPlacement, id);
        hold(id);
        record_since(intent.arrived, BotEvent::TickToOrder, id);
        let placed = entry.place(&order);
        span.end(if placed.is_ok() { Outcome::Ok } else { Outcome::Error });
        match placed {
            Ok(()) => summary.placed += 1,
            Err(error) => {
                summary.failed += 1;
                summary.failure = Some(format!("orders: {error}"));
            }
        }
    }
    summary
}

/// Receives fills until the exchange closes the connection, or, after the last order, until the
/// connection has been quiet for [`PEER_TIMEOUT`].
pub(crate) fn take_all(mut stream: FillStream, open: &Receiver<OpenOrder>) -> FillsSummary {
    let mut summary = FillsSummary::default();
    let mut waiting = HashMap::new();
    let mut quiet_since = None;
    summary.failure = loop {
        let next = stream.next();
        let orders_over = loop {
            match open.try_recv() {
                Ok(order) => waiting.insert(order.id, order.fill),
                Err(TryRecvError::Empty) => break false,
                Err(TryRecvError::Disconnected) => break true,
            };
        };
        match next {
            Ok(NextFill::Fill(fill)) => {
                quiet_since = None;
                match waiting.remove(&fill.id) {
                    Some(token) => {
                        record_end(token, Outcome::Ok);
                        summary.filled += 1;
                    }
                    None => {
                        break Some(format!(
                            "fills: order {} was filled, but it is not open",
                            fill.id
                        ));
                    }
                }
            }
            Ok(NextFill::Quiet) if orders_over => {
                if quiet_since.get_or_insert_with(Instant::now).elapsed() > PEER_TIMEOUT {
                    break Some("fills: the exchange did not close the connection".to_owned());
                }
            }
            Ok(NextFill::Quiet) => {}
            Ok(NextFill::Closed) => break None,
            Err(error) => break Some(format!("fills: {error}")),
        }
    };
    // Waits for the end of the orders thread, even if this thread has failed before.
    waiting.extend(open.iter().map(|order| (order.id, order.fill)));
    for token in waiting.into_values() {
        record_end(token, Outcome::Error);
        summary.unfilled += 1;
    }
    summary
}

#[cfg(test)]
mod tests {
    use std::thread;

    use rust_decimal::Decimal;
    use tailwatch::Stamp;

    use super::*;
    use crate::{exchange::MockExchange, signal::Side};

    fn intent() -> Intent {
        Intent {
            symbol: "A".to_owned(),
            side: Side::Buy,
            price: Decimal::ONE,
            quantity: Decimal::ONE,
            arrived: Stamp::default(),
        }
    }

    #[test]
    fn every_intent_is_placed_and_filled() {
        let exchange = MockExchange::start(3).unwrap();
        let stream = FillStream::connect(exchange.address, READ_TIMEOUT).unwrap();
        let entry = OrderEntry::connect(exchange.address).unwrap();
        let (intents, wanted) = crossbeam_channel::unbounded();
        let (opened, open) = crossbeam_channel::bounded(4);
        let fills = thread::spawn(move || take_all(stream, &open));
        (0..40).for_each(|_| intents.send(intent()).unwrap());
        drop(intents);
        let mut held = Vec::new();
        let placed = place_all(entry, &wanted, &opened, |id| held.push(id));
        drop(opened);
        assert_eq!(placed, OrdersSummary { placed: 40, ..OrdersSummary::default() });
        assert!(held.into_iter().eq(1..=40));
        assert_eq!(fills.join().unwrap(), FillsSummary { filled: 40, ..FillsSummary::default() });
        assert_eq!(exchange.join().unwrap(), 40);
    }

    #[test]
    fn a_broken_connection_leaves_no_order_open() {
        let (listener, address) = crate::net::listen().unwrap();
        let stream = FillStream::connect(address, READ_TIMEOUT).unwrap();
        let entry = OrderEntry::connect(address).unwrap();
        drop(listener);
        let (intents, wanted) = crossbeam_channel::unbounded();
        let (opened, open) = crossbeam_channel::bounded(4);
        let fills = thread::spawn(move || take_all(stream, &open));
        (0..10).for_each(|_| intents.send(intent()).unwrap());
        drop(intents);
        let orders = place_all(entry, &wanted, &opened, |_| ());
        drop(opened);
        assert_eq!((orders.placed, orders.failed), (0, 10));
        assert!(orders.failure.is_some());
        let fills = fills.join().unwrap();
        assert_eq!((fills.filled, fills.unfilled), (0, 1));
    }
}
