//! What nobody outside can bring about at will.

use super::*;
use crate::{Trading, measure};

#[test]
fn what_comes_after_the_last_pass_is_unregistered_whoever_was_about_to_drain() {
    let collector =
        Collector::builder().ignore_environment().ring_capacity(16).manual_drain().start().unwrap();
    collector.register_thread("main").unwrap();
    let open = [(); 4].map(|()| measure(Trading::OrderFill));
    collector.stop();
    drop(open);
    for take in [Take::UpTo(8), Take::Due, Take::All, Take::Last] {
        // As one that found the collector at work, and then waited until the last pass was over.
        collector.pass(take);
        let Health { delivered, unregistered, .. } = collector.health();
        assert_eq!((delivered, unregistered), (4, 4), "{take:?}");
    }
}
