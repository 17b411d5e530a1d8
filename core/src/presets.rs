//! Ready-made sets of events.

use core::time::Duration;

use crate::{Quantile, Threshold, Unit, events};

const fn millis(quantile: Quantile, millis: u64) -> Threshold {
    Threshold::duration(quantile, Duration::from_millis(millis))
}

events! {
    /// The eight events of a trading bot, with limits that are usual for them.
    ///
    /// ```
    /// use tailwatch_core::{Event, Trading};
    ///
    /// assert_eq!(Trading::OrderPlacement.id().get(), 3);
    /// assert_eq!(Trading::ALL[2].name, "order_placement");
    /// ```
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub enum Trading {
        /// Building or closing one candle.
        CandleProcessing = 1 { limits: &[millis(Quantile::P95, 50), millis(Quantile::P99, 100)] },
        /// Computing a signal.
        SignalGeneration = 2 { limits: &[millis(Quantile::P95, 10), millis(Quantile::P99, 20)] },
        /// Sending an order, up to its acknowledgement.
        OrderPlacement = 3 { limits: &[millis(Quantile::P95, 20), millis(Quantile::P99, 50)] },
        /// From sending an order to its fill.
        OrderFill = 4,
        /// Handing a message to the event bus.
        EventBusPublish = 5 { limits: &[millis(Quantile::P95, 5), millis(Quantile::P99, 10)] },
        /// Handling a message of the event bus.
        EventBusHandle = 6,
        /// Messages that wait in the event bus.
        QueueBacklog = 7 { unit: Unit::One },
        /// A pause in which the whole process, or its core, stood still.
        GcPause = 8,
    }
}
