//! Sends orders to a mock venue. It can be measured, and knows neither who measures it nor which
//! other libraries do.

use core::time::Duration;

use tailwatch_record::{Quantile, Threshold, measure_tagged};

tailwatch_record::events! {
    /// What this library measures.
    pub enum Venue {
        /// Sending one order. The tag is the number of the order.
        SendOrder {
            limits: &[Threshold::duration(Quantile::P99, Duration::from_millis(50))],
        },
    }
}

/// Sends an order, and returns whether the venue takes it.
pub fn send(order: u64, price: f64) -> bool {
    let _span = measure_tagged(Venue::SendOrder, order);
    price.is_finite() && price > 0.0
}
