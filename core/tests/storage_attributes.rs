//! The macro `storage!` passes attributes on to all that it generates.

// The generated code must not cause any warning.
#![deny(warnings, clippy::pedantic)]
#![allow(unexpected_cfgs, reason = "the names stand for features of a user")]

use tailwatch_core::{Shape, Trading, WindowSpec, storage};

const SHAPE: Shape = Shape::small(Trading::ALL, &[WindowSpec::SECOND]);

storage! {
    #[cfg(absent)]
    Statistics: NO_SUCH_SHAPE
}

storage! {
    /// Another storage of the same name.
    #[cfg_attr(not(absent), cfg(not(absent)))]
    Statistics: SHAPE, u16
}

storage! {
    #[deprecated]
    Old: SHAPE
}

storage! {
    #[allow(non_camel_case_types)]
    r#struct: SHAPE
}

#[test]
fn a_storage_that_cfg_leaves_out_does_not_exist() {
    static STATISTICS: Statistics = Statistics::new();
    assert_eq!(format!("{STATISTICS:?}"), "Statistics { .. }");
}

#[test]
fn a_deprecated_storage_warns_only_where_it_is_used() {
    #[expect(deprecated, reason = "this use has to warn")]
    static OLD: Old = Old::new();
    assert_eq!(format!("{OLD:?}"), "Old { .. }");
}

#[test]
fn the_name_of_a_raw_identifier_has_no_prefix() {
    static RAW: r#struct = r#struct::new();
    assert_eq!(format!("{RAW:?}"), "struct { .. }");
}
