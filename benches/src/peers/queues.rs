//! References, which no user would take as they are: a span is two readings of the counter, each pushed into a queue.
//! Nothing counts, samples or tells what was lost.

use core::hint::black_box;

use heapless::spsc;
use tailwatch::ClockMode;

use super::Peers;
use crate::floor::counter;

/// What is pushed: the reading, and a word that says what of.
type Pushed = (u64, u64);

/// The queues are this long; that of heapless holds one less.
const ROOM: usize = 16_384;

pub(super) fn add(peers: &mut Peers, times: u32) {
    assert!(2 * (times as usize) < ROOM, "a turn fits into the queues");
    add_rtrb(peers);
    add_heapless(peers);
}

fn add_rtrb(peers: &mut Peers) {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<Pushed>::new(ROOM);
    let empty = move || while consumer.pop().is_ok() {};
    peers.add_kept("reference/rtrb", None, ClockMode::Relaxed, empty, move |times| {
        for n in 0..u64::from(times) {
            producer.push((counter::relaxed(), n)).expect("room for a turn");
            black_box(());
            producer.push((counter::relaxed(), n)).expect("room for a turn");
        }
    });
}

fn add_heapless(peers: &mut Peers) {
    // As a `static` it would be; there is only one.
    let queue = Box::leak(Box::new(spsc::Queue::<Pushed, ROOM>::new()));
    let (mut producer, mut consumer) = queue.split();
    let empty = move || while consumer.dequeue().is_some() {};
    peers.add_kept("reference/heapless", None, ClockMode::Relaxed, empty, move |times| {
        for n in 0..u64::from(times) {
            producer.enqueue((counter::relaxed(), n)).expect("room for a turn");
            black_box(());
            producer.enqueue((counter::relaxed(), n)).expect("room for a turn");
        }
    });
}
