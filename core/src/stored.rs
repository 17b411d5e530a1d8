//! The traits that every type in a storage implements.

use core::fmt::Debug;

/// A type whose values a storage holds, or a part of one.
pub trait Stored: Copy + Debug + Default + PartialEq + Eq + Log + 'static {}

impl<T: Copy + Debug + Default + PartialEq + Eq + Log + 'static> Stored for T {}

/// A type that defmt can log, if the feature `defmt` is on; otherwise any type.
#[cfg(feature = "defmt")]
pub trait Log: defmt::Format {}
#[cfg(feature = "defmt")]
impl<T: defmt::Format> Log for T {}
/// A type that defmt can log, if the feature `defmt` is on; otherwise any type.
#[cfg(not(feature = "defmt"))]
pub trait Log {}
#[cfg(not(feature = "defmt"))]
impl<T> Log for T {}
