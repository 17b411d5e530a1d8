//! A measured future is not `Send` if the plain one is not.

use core::{future::Future, pin::Pin};
use std::rc::Rc;

use tailwatch::{Trading, measure};

async fn send(number: Rc<u32>) -> u32 {
    *number
}

#[measure(Trading::OrderPlacement)]
fn pinned(number: u32) -> Pin<Box<dyn Future<Output = u32> + Send>> {
    let number = Rc::new(number);
    Box::pin(send(number))
}

fn main() {}
