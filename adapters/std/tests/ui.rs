//! The errors for wrong uses of `#[measure]`.
//!
//! The `.stderr` file beside each source file has the expected messages. They are those of the
//! compiler version that the root `Cargo.toml` names. After a change of the compiler or of a
//! message, run `TRYBUILD=overwrite cargo test -p tailwatch --test ui` and read what has changed.

#[test]
fn wrong_uses_of_measure_produce_the_expected_errors() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
