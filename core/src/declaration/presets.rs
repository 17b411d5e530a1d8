//! A predefined set of events.

use core::time::Duration;

use crate::{event::Unit, events, sla::Threshold, statistics::quantile::Quantile};

/// Creates a limit of `millis` milliseconds on a quantile, over the default window of 60 s.
const fn millis(quantile: Quantile, millis: u64) -> Threshold {
    Threshold::duration(quantile, Duration::from_millis(millis))
}

events! {
    /// Eight events of a trading bot. Four of them have typical limits on p95 and p99, over 60 s.
    ///
    /// ```
    /// use tailwatch_core::{Event, Trading};
    ///
    /// assert_eq!(Trading::OrderPlacement.id().get(), 3);
    /// assert_eq!(Trading::ALL[2].name, "order_placement");
    /// ```
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub enum Trading {
        /// Building or closing one candle (a time bar of prices).
        CandleProcessing = 1 { limits: &[millis(Quantile::P95, 50), millis(Quantile::P99, 100)] },
        /// Computing a trading signal: whether to buy or to sell.
        SignalGeneration = 2 { limits: &[millis(Quantile::P95, 10), millis(Quantile::P99, 20)] },
        /// Sending an order, until it is acknowledged.
        OrderPlacement = 3 { limits: &[millis(Quantile::P95, 20), millis(Quantile::P99, 50)] },
        /// The life of an order from being sent to being filled.
        OrderFill = 4,
        /// Publishing a message to the event bus.
        EventBusPublish = 5 { limits: &[millis(Quantile::P95, 5), millis(Quantile::P99, 10)] },
        /// Handling a message from the event bus.
        EventBusHandle = 6,
        /// The number of messages that wait in the event bus.
        QueueBacklog = 7 { unit: Unit::One },
        /// A pause during which the whole process, or the processor core that it runs on, stood
        /// still.
        GcPause = 8,
    }
}
