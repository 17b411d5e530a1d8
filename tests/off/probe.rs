//! One unmeasured function, `plain`, and measured functions that do the same work. With recording
//! compiled out, all have the same machine code.
//!
//! Each is exported under its own name, so that tests can find its code.

use core::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tailwatch::{
    Outcome, Stamp, Trading, measure, measure_cancel_on_drop, measure_tagged, record_discard,
    record_duration, record_end, record_since, record_start, record_value, time,
};

fn work(x: u64) -> u64 {
    x.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xA5A5
}

#[unsafe(no_mangle)]
extern "C" fn plain(x: u64) -> u64 {
    work(x)
}

#[unsafe(no_mangle)]
extern "C" fn with_guard(x: u64) -> u64 {
    let _span = measure(Trading::OrderFill);
    work(x)
}

#[unsafe(no_mangle)]
extern "C" fn with_tag_and_outcome(x: u64) -> u64 {
    let span = measure_tagged(Trading::OrderFill, x);
    let result = work(x);
    span.end(if x == 0 { Outcome::Error } else { Outcome::Ok });
    result
}

#[unsafe(no_mangle)]
extern "C" fn with_cancel_on_drop(x: u64) -> u64 {
    let span = measure_cancel_on_drop(Trading::OrderFill);
    let result = work(x);
    span.end(Outcome::Ok);
    result
}

#[unsafe(no_mangle)]
#[measure(Trading::OrderFill, tag = x)]
extern "C" fn with_attribute(x: u64) -> u64 {
    work(x)
}

#[unsafe(no_mangle)]
extern "C" fn with_async_attribute(x: u64) -> u64 {
    #[measure(Trading::OrderFill, err)]
    async fn later(x: u64) -> Result<u64, ()> {
        Ok(work(x))
    }

    match pin!(later(x)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(result)) => result,
        _ => 0,
    }
}

#[unsafe(no_mangle)]
extern "C" fn with_closure(x: u64) -> u64 {
    time(Trading::OrderFill, || work(x))
}

#[unsafe(no_mangle)]
extern "C" fn with_stamp(x: u64) -> u64 {
    let arrived = Stamp::now();
    let result = work(x);
    record_since(arrived, Trading::OrderFill, x);
    result
}

#[unsafe(no_mangle)]
extern "C" fn with_tokens(x: u64) -> u64 {
    let token = record_start(Trading::OrderFill);
    record_discard(record_start(Trading::OrderPlacement));
    let result = work(x);
    record_end(token, Outcome::Ok);
    result
}

#[unsafe(no_mangle)]
extern "C" fn with_values(x: u64) -> u64 {
    record_value(Trading::QueueBacklog, x);
    record_duration(Trading::GcPause, Duration::from_nanos(x));
    work(x)
}
