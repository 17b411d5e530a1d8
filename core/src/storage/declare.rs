//! The macro that declares the type of a storage in arrays.

use crate::repr::{Compact, Repr, Wide};

/// The representation that a shape asks for: [`Compact`] if `IS_COMPACT`, and otherwise [`Wide`].
/// [`storage!`](crate::storage!) uses it to get from a constant to a type.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ReprIf<const IS_COMPACT: bool>;

/// Implemented by [`ReprIf`] alone.
pub trait ChooseRepr {
    /// The chosen representation.
    type Repr: Repr;
}

impl ChooseRepr for ReprIf<true> {
    type Repr = Compact;
}

impl ChooseRepr for ReprIf<false> {
    type Repr = Wide;
}

/// Declares a type of storage in arrays, for a [`Shape`](crate::Shape) that must be a constant.
///
/// `storage!(Name: SHAPE, u16)` declares a struct with a function `new`, which is `const` and
/// creates an empty storage. A mutable reference to it is a [`Storage`](crate::Storage). Attributes
/// such as `cfg`, docs and a visibility may precede the name. The last argument is the type of the
/// bucket counters in the slices of windows: `u16`, `u32` or `u64`. The default is `u32`.
///
/// The shape also chooses the [representation](crate::repr) of the numbers.
///
/// ```
/// use tailwatch_core::{Shape, Trading, WindowSpec, storage};
///
/// const SHAPE: Shape = Shape::small(Trading::ALL, &[WindowSpec::SECOND]);
/// storage! {
///     /// The memory of the statistics.
///     pub Statistics: SHAPE, u16
/// }
/// static STATISTICS: Statistics = Statistics::new(); // all zero, so it takes no flash
/// assert!(size_of::<Statistics>().abs_diff(SHAPE.bytes::<u16>()) < 64);
/// ```
#[macro_export]
macro_rules! storage {
    ($(#[$($attribute:tt)*])* $visibility:vis $name:ident: $shape:expr) => {
        $crate::storage!($(#[$($attribute)*])* $visibility $name: $shape, u32);
    };
    ($(#[$($attribute:tt)*])* $visibility:vis $name:ident: $shape:expr, $count:ty) => {
        $(#[$($attribute)*])*
        // The largest arrays come last, because a Cortex-M0 needs fewer instructions to access
        // fields near the beginning of a struct.
        #[repr(C)]
        $visibility struct $name {
            windows: [$crate::Window; { $shape.windows }],
            row_of_id: [u16; { $shape.ids }],
            rows: [$crate::RowState<$crate::storage!(@repr $shape)>; { $shape.rows() }],
            in_flight: [$crate::OpenSpan; { $shape.in_flight }],
            slices: [
                <$crate::storage!(@repr $shape) as $crate::Repr>::Moments;
                { $shape.all_slices() }
            ],
            samples: [$crate::storage!(@sample $shape); { $shape.all_samples() }],
            scratch: [
                <$crate::storage!(@sample $shape) as $crate::StoredSample>::Scratch;
                { $shape.samples }
            ],
            limits: [$crate::Rule; { $shape.limits }],
            tallies: [$crate::Tally; { $shape.all_tallies() }],
            slowest: [$crate::Exemplar; { $shape.all_slowest() }],
            folded: [$crate::storage!(@counter $shape); { $shape.padded_buckets() }],
            totals: [$crate::storage!(@counter $shape); { $shape.all_totals() }],
            counts: [$count; { $shape.all_counts() }],
            silences: [$crate::Silence; { $shape.silences }],
        }

        $crate::under_cfg! { [] $(#[$($attribute)*])* @
            $crate::storage! { @impls $visibility $name: $shape, $count }
        }
    };
    (@impls $visibility:vis $name:ident: $shape:expr, $count:ty) => {
        // The type may be deprecated, about which only its uses should warn.
        #[allow(deprecated)]
        impl $name {
            /// Creates an empty storage.
            #[allow(
                clippy::new_without_default,
                clippy::large_stack_arrays,
                clippy::large_stack_frames,
                reason = "`new` is for statics: they are not on the stack and cannot use `Default`"
            )]
            $visibility const fn new() -> Self {
                Self {
                    windows: [$crate::Window::EMPTY; { $shape.windows }],
                    row_of_id: [0; { $shape.ids }],
                    rows: [$crate::RowState::EMPTY; { $shape.rows() }],
                    in_flight: [$crate::OpenSpan::EMPTY; { $shape.in_flight }],
                    slices: [$crate::StoredMoments::EMPTY; { $shape.all_slices() }],
                    samples: [$crate::StoredSample::EMPTY; { $shape.all_samples() }],
                    scratch: [
                        <$crate::storage!(@sample $shape) as $crate::StoredSample>::EMPTY_SCRATCH;
                        { $shape.samples }
                    ],
                    limits: [$crate::Rule::EMPTY; { $shape.limits }],
                    tallies: [$crate::Tally::EMPTY; { $shape.all_tallies() }],
                    slowest: [$crate::Exemplar::EMPTY; { $shape.all_slowest() }],
                    folded: [0; { $shape.padded_buckets() }],
                    totals: [0; { $shape.all_totals() }],
                    counts: [0; { $shape.all_counts() }],
                    silences: [$crate::Silence::EMPTY; { $shape.silences }],
                }
            }
        }

        #[allow(deprecated)]
        impl ::core::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                let name = $crate::snake_case::without_raw_prefix(::core::stringify!($name));
                f.debug_struct($crate::snake_case::as_str(name)).finish_non_exhaustive()
            }
        }

        #[allow(deprecated)]
        impl $crate::Storage for &mut $name {
            type Repr = $crate::storage!(@repr $shape);
            type Count = $count;
            const SHAPE: ::core::option::Option<$crate::Shape> =
                ::core::option::Option::Some($shape);

            #[inline(always)]
            fn shape(&self) -> $crate::Shape {
                const { $shape }
            }

            fn parts(&mut self) -> $crate::StorageParts<'_, Self::Repr, $count> {
                $crate::StorageParts {
                    row_of_id: &mut self.row_of_id,
                    windows: &mut self.windows,
                    rows: &mut self.rows,
                    slices: &mut self.slices,
                    counts: &mut self.counts,
                    totals: &mut self.totals,
                    folded: &mut self.folded,
                    samples: &mut self.samples,
                    scratch: &mut self.scratch,
                    in_flight: &mut self.in_flight,
                    slowest: &mut self.slowest,
                    limits: &mut self.limits,
                    tallies: &mut self.tallies,
                    silences: &mut self.silences,
                }
            }
        }
    };
    (@repr $shape:expr) => {
        <$crate::ReprIf<{ $shape.is_compact }> as $crate::ChooseRepr>::Repr
    };
    (@sample $shape:expr) => { <$crate::storage!(@repr $shape) as $crate::Repr>::Sample };
    (@counter $shape:expr) => { <$crate::storage!(@repr $shape) as $crate::Repr>::Counter };
}
