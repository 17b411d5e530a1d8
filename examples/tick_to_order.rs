//! Measures from the arrival of market data to each of the orders that it leads to, by a stamp in
//! the message. A span would not do: one message leads to several orders, on another thread.
//!
//! `cargo run --release --example tick_to_order`

use core::{error::Error, hint::black_box, time::Duration};
use std::{sync::mpsc, thread};

use tailwatch::{Collector, Stamp, events, record_since};
use tailwatch_examples::console::print_line;

events! {
    /// The events of this program.
    pub enum Bot {
        /// From the arrival of market data until an order is sent.
        TickToOrder = 1,
    }
}

/// The venues, to each of which an order goes.
const VENUES: [&str; 3] = ["north", "south", "west"];

/// Market data, which carries the moment of its arrival along.
#[derive(Clone, Copy)]
struct Tick {
    price: u64,
    arrived: Stamp,
}

/// Sends an order to each venue for every tick, and returns the number of orders.
fn send_orders(ticks: &mpsc::Receiver<Tick>) -> u64 {
    let mut order = 0;
    for Tick { price, arrived } in ticks {
        for venue in VENUES {
            order += 1;
            black_box((venue, price)); // stands for sending the order
            record_since(arrived, Bot::TickToOrder, order);
        }
    }
    order
}

fn main() -> Result<(), Box<dyn Error>> {
    let collector = Collector::builder().events(Bot::ALL).start()?;
    collector.install()?;

    let (publish, ticks) = mpsc::channel();
    let orders = thread::Builder::new().name("orders".to_owned());
    let orders = orders.spawn(move || send_orders(&ticks))?;
    for price in 0..1_000 {
        publish.send(Tick { price, arrived: Stamp::now() })?;
    }
    drop(publish);
    let sent = orders.join().map_err(|_| "the thread panicked")?;

    collector.stop();
    let total = collector.total(Bot::TickToOrder)?.ok_or("no order was sent")?;
    print_line(format_args!("{sent} orders sent, {} measured, p99 {} ns", total.count, total.p99))?;
    for slow in collector.slowest(Bot::TickToOrder, Duration::from_mins(1))? {
        let order = slow.tag.ok_or("each order has a tag")?;
        print_line(format_args!("order {order}: {} ns", slow.duration))?;
    }
    Ok(())
}
