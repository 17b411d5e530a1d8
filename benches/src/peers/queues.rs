//! References that no user would take as they are: a span is two readings of the counter, each
//! pushed into a queue. They do not count losses, sample, or compute statistics.

use core::hint::black_box;

use heapless::spsc;
use tailwatch::ClockMode;

use super::Peers;
use crate::floor::counter;

/// A pushed item: the reading, and a word that identifies it.
type Pushed = (u64, u64);

/// The capacity of the queues; heapless uses one slot less.
const CAPACITY: usize = 16_384;

pub(super) fn add(peers: &mut Peers, times: u32) {
    assert!(2 * (times as usize) < CAPACITY, "the readings of a turn must fit into the queues");
    add_rtrb(peers);
    add_heapless(peers);
}

fn add_rtrb(peers: &mut Peers) {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<Pushed>::new(CAPACITY);
    let empty = move || while consumer.pop().is_ok() {};
    peers.add_with_upkeep("reference/rtrb", None, ClockMode::Relaxed, empty, move |times| {
        for n in 0..u64::from(times) {
            producer.push((counter::relaxed(), n)).expect("the queue has room for a turn");
            black_box(());
            producer.push((counter::relaxed(), n)).expect("the queue has room for a turn");
        }
    });
}

fn add_heapless(peers: &mut Peers) {
    // Leaked, because `split` needs a long-lived queue; there is only one.
    let queue = Box::leak(Box::new(spsc::Queue::<Pushed, CAPACITY>::new()));
    let (mut producer, mut consumer) = queue.split();
    let empty = move || while consumer.dequeue().is_some() {};
    peers.add_with_upkeep("reference/heapless", None, ClockMode::Relaxed, empty, move |times| {
        for n in 0..u64::from(times) {
            producer.enqueue((counter::relaxed(), n)).expect("the queue has room for a turn");
            black_box(());
            producer.enqueue((counter::relaxed(), n)).expect("the queue has room for a turn");
        }
    });
}
