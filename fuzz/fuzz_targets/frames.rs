//! See `src/frames.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| tailwatch_fuzz::frames::run(data));

#[cfg(not(fuzzing))]
fn main() {
    println!("run by `cargo fuzz run frames`");
}
