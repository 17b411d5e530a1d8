//! See `src/in_flight.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| tailwatch_fuzz::in_flight::run(data));

#[cfg(not(fuzzing))]
fn main() {
    println!("run by `cargo fuzz run in_flight`");
}
