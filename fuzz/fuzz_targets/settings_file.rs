//! Runs the target in `src/settings_file.rs` under cargo-fuzz.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| tailwatch_fuzz::settings_file::run(data));

#[cfg(not(fuzzing))]
fn main() {
    println!("run this target with `cargo fuzz run settings_file`");
}
