//! Runs the target in `src/shared_file.rs` under cargo-fuzz.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| tailwatch_fuzz::shared_file::run(data));

#[cfg(not(fuzzing))]
fn main() {
    println!("run this target with `cargo fuzz run shared_file`");
}
