//! `err` on a function whose future has another output.

use core::{
    future::{Future, ready},
    pin::Pin,
};

use async_trait::async_trait;
use tailwatch::{Trading, measure};

type Alias<T> = Pin<Box<dyn Future<Output = T>>>;

#[measure(Trading::OrderPlacement, err)]
fn hidden() -> impl Future<Output = u32> {
    ready(5)
}

#[measure(Trading::OrderPlacement, err)]
fn pinned() -> Pin<Box<dyn Future<Output = Option<u32>>>> {
    Box::pin(ready(Some(5)))
}

#[measure(Trading::OrderPlacement, err, future)]
fn aliased() -> Alias<u32> {
    Box::pin(ready(5))
}

#[measure(Trading::OrderPlacement, err)]
fn without_future() -> Alias<Result<u32, String>> {
    Box::pin(ready(Ok(5)))
}

struct Desk;

#[async_trait]
trait Venue {
    async fn send(&self) -> u32;
}

#[async_trait]
impl Venue for Desk {
    #[measure(Trading::OrderPlacement, err)]
    async fn send(&self) -> u32 {
        5
    }
}

fn main() {}
