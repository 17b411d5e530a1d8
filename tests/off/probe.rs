//! Functions that are measured, beside one that is not: with recording compiled out, they are the same.
//!
//! Each is exported under its own name, so that their code can be found.

use core::time::Duration;

use tailwatch::{
    Outcome, Trading, measure, measure_tagged, record_discard, record_duration, record_end, record_start, record_value,
    time,
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
extern "C" fn with_closure(x: u64) -> u64 {
    time(Trading::OrderFill, || work(x))
}

#[unsafe(no_mangle)]
extern "C" fn with_tokens(x: u64) -> u64 {
    let kept = record_start(Trading::OrderFill);
    record_discard(record_start(Trading::OrderPlacement));
    let result = work(x);
    record_end(kept, Outcome::Ok);
    result
}

#[unsafe(no_mangle)]
extern "C" fn with_values(x: u64) -> u64 {
    record_value(Trading::QueueBacklog, x);
    record_duration(Trading::GcPause, Duration::from_nanos(x));
    work(x)
}
