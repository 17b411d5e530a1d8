//! `#[measure]` works together with other attributes, in every order.

use core::{future::Future, pin::Pin};

use async_trait::async_trait;
use tailwatch::{Trading, measure};
use tracing::instrument;

use crate::{
    harness::{ERROR, OK, Order, order, pause, run, tags_of},
    returned_futures::{assert_measured, checked},
};

#[async_trait]
trait Venue {
    async fn send(&self, number: u64) -> Result<u64, String>;

    async fn fill<T: Into<u64> + Send>(&mut self, number: T, order: Order) -> String;

    #[measure(Trading::OrderFill, err, tag = number)]
    async fn send_by_default(&self, number: u64) -> Result<u64, String> {
        pause().await;
        self.send(number).await?;
        Ok(0)
    }

    async fn measured_first(&self, number: u64, order: Order) -> Result<u64, String>;

    async fn instrumented_first(&self, number: u64, order: Order) -> Result<u64, String>;
}

struct Desk {
    id: u64,
}

#[async_trait]
impl Venue for Desk {
    #[measure(Trading::OrderPlacement, err, tag = self.id)]
    async fn send(&self, number: u64) -> Result<u64, String> {
        checked(number).await?;
        Ok(number + self.id)
    }

    #[measure(Trading::OrderPlacement, tag = order.id)]
    async fn fill<T: Into<u64> + Send>(&mut self, number: T, order: Order) -> String {
        pause().await;
        self.id += number.into();
        order.name
    }

    #[measure(Trading::OrderPlacement, err, tag = order.id)]
    #[instrument(err, skip(self))]
    async fn measured_first(&self, number: u64, order: Order) -> Result<u64, String> {
        drop(order);
        checked(number).await
    }

    #[instrument(err, skip(self))]
    #[measure(Trading::OrderPlacement, err, tag = order.id)]
    async fn instrumented_first(&self, number: u64, order: Order) -> Result<u64, String> {
        drop(order);
        checked(number).await
    }
}

#[async_trait(?Send)]
trait LocalVenue {
    #[measure(Trading::OrderPlacement, err)]
    async fn send(self: Box<Self>, number: u64) -> Result<u64, String>
    where
        Self: 'async_trait,
    {
        checked(number).await
    }
}

impl LocalVenue for Desk {}

#[test]
fn methods_under_async_trait_are_measured() {
    let mut desk = Desk { id: 3 };
    assert_eq!(assert_measured(OK, || desk.send(5)), Ok(8));
    assert!(assert_measured(ERROR, || desk.send(0)).is_err());
    assert_eq!(assert_measured(OK, || desk.fill(5_u8, order(9))), "order 9");
    assert_eq!(desk.id, 8);
    assert_eq!(tags_of(|| drop(run(desk.send_by_default(4)))), [4, 8]);
    assert!(assert_measured(ERROR, || LocalVenue::send(Box::new(Desk { id: 1 }), 0)).is_err());
}

#[measure(Trading::OrderFill, err)]
#[instrument(err)]
async fn measured_first(order: Order) -> Result<u64, String> {
    checked(order.id).await
}

#[instrument(err)]
#[measure(Trading::OrderFill, err)]
async fn instrumented_first(order: Order) -> Result<u64, String> {
    checked(order.id).await
}

#[measure(Trading::OrderFill, err)]
#[instrument(err)]
fn hidden_measured_first(order: Order) -> impl Future<Output = Result<u64, String>> {
    async move { checked(order.id).await }
}

#[instrument(err)]
#[measure(Trading::OrderFill, err)]
fn hidden_instrumented_first(order: Order) -> impl Future<Output = Result<u64, String>> {
    async move { checked(order.id).await }
}

#[measure(Trading::OrderFill, err)]
#[instrument(err)]
fn pinned_measured_first(order: Order) -> Pin<Box<dyn Future<Output = Result<u64, String>>>> {
    Box::pin(async move { checked(order.id).await })
}

#[instrument(err)]
#[measure(Trading::OrderFill, err)]
fn pinned_instrumented_first(order: Order) -> Pin<Box<dyn Future<Output = Result<u64, String>>>> {
    let id = order.id;
    Box::pin(async move { checked(id).await })
}

#[test]
fn instrument_may_stand_above_and_below() {
    let desk = Desk { id: 3 };
    for (end, id) in [(OK, 5), (ERROR, 0)] {
        let _ = assert_measured(end, || desk.measured_first(id, order(id)));
        let _ = assert_measured(end, || desk.instrumented_first(id, order(id)));
        let _ = assert_measured(end, || measured_first(order(id)));
        let _ = assert_measured(end, || instrumented_first(order(id)));
        let _ = assert_measured(end, || hidden_measured_first(order(id)));
        let _ = assert_measured(end, || hidden_instrumented_first(order(id)));
        let _ = assert_measured(end, || pinned_measured_first(order(id)));
        let _ = assert_measured(end, || pinned_instrumented_first(order(id)));
    }
}
