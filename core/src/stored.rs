//! The traits that all types in a storage implement, so that those which contain others can derive
//! the usual ones.

use core::fmt::Debug;

/// What a value in a storage, each of its fields, and the type parameters of both implement.
pub trait Stored: Copy + Debug + Default + PartialEq + Eq + Log + Zero + 'static {}

impl<T: Copy + Debug + Default + PartialEq + Eq + Log + Zero + 'static> Stored for T {}

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

/// A type of which zeroed memory is a value, if the feature `zeroable` is on; otherwise any type.
/// The value is that of an empty storage.
#[cfg(feature = "zeroable")]
pub trait Zero: bytemuck::Zeroable {}
#[cfg(feature = "zeroable")]
impl<T: bytemuck::Zeroable> Zero for T {}
/// A type of which zeroed memory is a value, if the feature `zeroable` is on; otherwise any type.
/// The value is that of an empty storage.
#[cfg(not(feature = "zeroable"))]
pub trait Zero {}
#[cfg(not(feature = "zeroable"))]
impl<T> Zero for T {}
