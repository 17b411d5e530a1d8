//! What is wrong with a use of `#[measure]` is told in plain words, at its place.
//!
//! The expected messages stand beside each file, in the words of the compiler that the root `Cargo.toml` names. After a
//! change of either, `TRYBUILD=overwrite cargo test -p tailwatch --test ui` writes them anew: read what has changed.

#[test]
fn mistakes_are_told_in_plain_words() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
