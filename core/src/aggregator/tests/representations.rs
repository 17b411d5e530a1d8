//! Both representations of storage, for tests that run on each of them.

#![allow(dead_code, reason = "storage is not created by its function `new`, but on the heap")]

use super::*;

/// Returns the shape for compact storage. A sample has 44 bits there, which are only 16 s in the
/// fine unit. In the coarse unit, the histograms begin at 0.93 ns.
pub(super) const fn compact(shape: Shape) -> Shape {
    Shape { is_compact: true, unit: TimeUnit::Coarse, lowest: 0, octaves: 38, ..shape }
}

/// Storage that can be created empty.
pub(super) trait Empty {
    fn empty() -> Self;
}

/// Declares types of storage.
macro_rules! storages {
    ($($name:ident: $shape:expr, $count:ty;)*) => {$(
        storage!(pub(in crate::aggregator::tests) $name: $shape, $count);

        impl Empty for &'static mut $name {
            /// Creates the storage directly on the heap. Without optimisation, `Box::new` would
            /// first put the whole storage, about a megabyte, on the stack.
            fn empty() -> Self {
                // SAFETY: the storage consists of arrays of integers, for which zero is valid.
                // Storage that is all zero is empty, as the docs of `Shape` say.
                Box::leak(unsafe { Box::new_zeroed().assume_init() })
            }
        }
    )*};
}

storages! {
    WideMemory: SHAPE, u32;
    WideWithoutSamples: WITHOUT_SAMPLES, u32;
    WideWithoutTable: WITHOUT_TABLE, u32;
    WidePaced: PACED_SHAPE, u32;
    WidePacedNarrow: PACED_SHAPE, u16;
    CompactMemory: compact(SHAPE), u32;
    CompactWithoutSamples: compact(WITHOUT_SAMPLES), u32;
    CompactWithoutTable: compact(WITHOUT_TABLE), u32;
    CompactPaced: compact(PACED_SHAPE), u32;
    CompactPacedNarrow: compact(PACED_SHAPE), u16;
}

/// A representation, with types of storage of the shapes above.
pub(super) trait Tested: Repr {
    type Memory: Storage<Repr = Self> + Empty;
    type WithoutSamples: Storage<Repr = Self> + Empty;
    type WithoutTable: Storage<Repr = Self> + Empty;
    type Paced: Storage<Repr = Self> + Empty;
    /// Like `Paced`, but with bucket counters of only 16 bits, so that some of them become
    /// saturated.
    type PacedNarrow: Storage<Repr = Self> + Empty;
}

impl Tested for Wide {
    type Memory = &'static mut WideMemory;
    type WithoutSamples = &'static mut WideWithoutSamples;
    type WithoutTable = &'static mut WideWithoutTable;
    type Paced = &'static mut WidePaced;
    type PacedNarrow = &'static mut WidePacedNarrow;
}

impl Tested for Compact {
    type Memory = &'static mut CompactMemory;
    type WithoutSamples = &'static mut CompactWithoutSamples;
    type WithoutTable = &'static mut CompactWithoutTable;
    type Paced = &'static mut CompactPaced;
    type PacedNarrow = &'static mut CompactPacedNarrow;
}

/// Declares two tests for each of these functions: one for each representation.
macro_rules! tests_on_both {
    ($($name:ident,)*) => {
        mod wide {
            $(#[test]
            fn $name() {
                super::$name::<super::Wide>();
            })*
        }

        mod compact {
            $(#[test]
            fn $name() {
                super::$name::<super::Compact>();
            })*
        }
    };
}
pub(super) use tests_on_both;
