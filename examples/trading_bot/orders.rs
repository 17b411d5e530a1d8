//! The last two stages: orders go out on one thread, fills come in on another.
//!
//! An order is two spans. `OrderPlacement` is from sending it to its acknowledgement and stays on the order thread.
//! `OrderFill` begins there too, but ends on the fills thread: its token travels ahead of the order, so that the fill
//! can never come before it. Both carry the order's id as their tag.

use core::time::Duration;
use std::{collections::HashMap, time::Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use tailwatch::{Outcome, Token, Trading, measure_tagged, record_end, record_start_tagged};

use crate::{
    exchange::{FillStream, NextFill, Order, OrderEntry},
    net::PATIENCE,
    strategy::Intent,
    summary::{FillsSummary, OrdersSummary},
};

/// How often the fills thread looks up from a quiet connection.
pub(crate) const LOOK_UP: Duration = Duration::from_millis(250);

/// An order on its way, with the span that its fill will end.
pub(crate) struct OpenOrder {
    id: u64,
    fill: Token,
}

/// Places an order for every intent, one after the other. After an error the connection's state is unknown, and no
/// further order is sent over it. `hold` is called with each order's id when its placement has begun, before it is sent.
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
            summary.failure = Some("orders: nobody waits for fills any more".to_owned());
            continue;
        }
        let span = measure_tagged(Trading::OrderPlacement, id);
        hold(id);
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

/// Takes fills until the exchange closes the connection; if it does not, until it has been quiet for long enough after
/// the last order.
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
                            "fills: order {} was filled, but is not open",
                            fill.id
                        ));
                    }
                }
            }
            Ok(NextFill::Quiet) if orders_over => {
                if quiet_since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                    break Some("fills: the exchange does not close the connection".to_owned());
                }
            }
            Ok(NextFill::Quiet) => {}
            Ok(NextFill::Closed) => break None,
            Err(error) => break Some(format!("fills: {error}")),
        }
    };
    // Ends with the order thread, also when this side is over first.
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

    use super::*;
    use crate::{exchange::MockExchange, signal::Side};

    fn intent() -> Intent {
        Intent {
            symbol: "A".to_owned(),
            side: Side::Buy,
            price: Decimal::ONE,
            quantity: Decimal::ONE,
        }
    }

    #[test]
    fn every_intent_is_placed_and_filled() {
        let exchange = MockExchange::start(3).unwrap();
        let stream = FillStream::connect(exchange.address, LOOK_UP).unwrap();
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
    fn an_exchange_that_breaks_off_leaves_nothing_open() {
        let (listener, address) = crate::net::listen().unwrap();
        let stream = FillStream::connect(address, LOOK_UP).unwrap();
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
