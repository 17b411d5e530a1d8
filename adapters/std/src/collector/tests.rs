//! A race between `stop` and a pass that tests of the public API cannot provoke reliably.

use tailwatch_core::Trading;

use super::*;
use crate::{measure, report::health::Health};

#[test]
fn records_after_the_last_pass_are_unregistered_even_if_a_pass_was_about_to_begin() {
    let collector =
        Collector::builder().ignore_environment().ring_capacity(16).manual_drain().start().unwrap();
    collector.register_thread("main").unwrap();
    let open = [(); 4].map(|()| measure(Trading::OrderFill));
    collector.stop();
    drop(open);
    for kind in [PassKind::DueUpTo(8), PassKind::Due, PassKind::All, PassKind::Last] {
        // The same happens on a thread that calls `drain` or `flush` before the stop and then waits
        // for the lock until the last pass is over.
        collector.pass(kind);
        let Health { delivered, unregistered, .. } = collector.health();
        assert_eq!((delivered, unregistered), (4, 4), "{kind:?}");
    }
}
