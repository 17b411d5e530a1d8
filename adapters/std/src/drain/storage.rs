//! The memory of the aggregator: boxed slices that are allocated when the collector starts.

use bytemuck::{Zeroable, allocation::zeroed_slice_box};
#[cfg(target_os = "linux")]
use rustix::mm::{Advice, madvise};
use tailwatch_core::{
    Exemplar, Moments, OpenSpan, RowState, Rule, Shape, Silence, Storage, StorageParts, Tally,
    WeightedSample, Wide, Window, repr::WideSample,
};

/// Storage in boxed slices, whose lengths a [`Shape`] determines. [`StorageParts`] documents the
/// fields.
///
/// All memory consists of zeroed pages, which the operating system assigns only when they are
/// written to. An event therefore takes memory when it first happens.
#[derive(Debug)]
pub(crate) struct Boxed {
    shape: Shape,
    row_of_id: Box<[u16]>,
    windows: Box<[Window]>,
    rows: Box<[RowState<Wide>]>,
    slices: Box<[Moments]>,
    counts: Box<[u32]>,
    totals: Box<[u64]>,
    folded: Box<[u64]>,
    samples: Box<[WideSample]>,
    scratch: Box<[WeightedSample]>,
    in_flight: Box<[OpenSpan]>,
    slowest: Box<[Exemplar]>,
    limits: Box<[Rule]>,
    tallies: Box<[Tally]>,
    silences: Box<[Silence]>,
}

impl Boxed {
    /// Creates an empty storage of this shape, which must not be compact.
    pub(crate) fn new(shape: &Shape) -> Self {
        fn empty<T: Zeroable>(len: usize) -> Box<[T]> {
            // Unlike `vec!`, this requests zeroed memory from the allocator and does not write to
            // it.
            let mut array = zeroed_slice_box(len);
            if size_of_val(&*array) >= WITHOUT_HUGE_PAGES {
                refuse_huge_pages(&mut array);
            }
            array
        }
        Self {
            shape: *shape,
            row_of_id: empty(shape.ids),
            windows: empty(shape.windows),
            rows: empty(shape.rows()),
            slices: empty(shape.all_slices()),
            counts: empty(shape.all_counts()),
            totals: empty(shape.all_totals()),
            folded: empty(shape.padded_buckets()),
            samples: empty(shape.all_samples()),
            scratch: empty(shape.samples),
            in_flight: empty(shape.in_flight),
            slowest: empty(shape.all_slowest()),
            limits: empty(shape.limits),
            tallies: empty(shape.all_tallies()),
            silences: empty(shape.silences),
        }
    }
}

/// The size in bytes from which an array gets no huge pages. With huge pages, which are the default
/// of some systems, every event that happens would take 2 MiB of it.
///
/// glibc gives an array of this size a mapping of its own, so the advice affects nothing else. The
/// huge pages of smaller arrays waste little, and make them faster.
const WITHOUT_HUGE_PAGES: usize = 32 << 20;

/// Advises the kernel not to use transparent huge pages for an array.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no crate gives advice about memory that it has not mapped itself")]
fn refuse_huge_pages<T>(array: &mut [T]) {
    // Ordinary pages are not larger than this.
    const PAGE: usize = 64 << 10;
    let (start, bytes) = (array.as_mut_ptr().cast::<u8>(), size_of_val(array));
    let before = start.align_offset(PAGE);
    let pages = bytes.saturating_sub(before) / PAGE * PAGE;
    let first = start.wrapping_add(before).cast();
    // The result is ignored, because only a kernel without transparent huge pages rejects the
    // advice.
    // SAFETY: the pages lie in the array, and the advice does not change what they contain.
    let _ = unsafe { madvise(first, pages, Advice::LinuxNoHugepage) };
}

/// Does nothing: other systems do not use huge pages unasked.
#[cfg(not(target_os = "linux"))]
fn refuse_huge_pages<T>(_: &mut [T]) {}

impl Storage for Boxed {
    type Repr = Wide;
    type Count = u32;
    const SHAPE: Option<Shape> = None;

    #[inline(always)]
    fn shape(&self) -> Shape {
        self.shape
    }

    #[inline(always)]
    fn parts(&mut self) -> StorageParts<'_, Wide, u32> {
        StorageParts {
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

#[cfg(test)]
mod tests {
    use tailwatch_core::{Trading, WindowSpec};

    use super::*;

    /// The system may use huge pages only where a program asks for them. The test therefore looks
    /// at what the kernel has noted of the mapping.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_large_arrays_of_a_new_storage_take_no_memory_and_get_no_huge_pages() {
        use procfs_core::{
            FromRead,
            process::{MemoryMaps, VmFlags},
        };

        let shape = Shape { events: 400, ..Shape::server(Trading::ALL, &WindowSpec::DEFAULT) };
        let storage = Boxed::new(&shape);
        assert!(size_of_val(&*storage.counts) > WITHOUT_HUGE_PAGES);
        let maps = MemoryMaps::from_file("/proc/self/smaps").unwrap();
        let middle = &raw const storage.counts[storage.counts.len() / 2] as u64;
        let map = maps.iter().find(|map| (map.address.0..map.address.1).contains(&middle)).unwrap();
        assert!(map.extension.map["Rss"] < 1 << 20, "{map:?}");
        if std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
            assert!(map.extension.vm_flags.contains(VmFlags::NH), "{map:?}");
        }
    }

    /// Whether zeroed memory is valid follows from the types. Whether it is an empty storage does
    /// not.
    #[test]
    fn a_new_storage_is_empty() {
        fn all_empty<T: Default + PartialEq>(elements: &[T]) -> bool {
            !elements.is_empty() && elements.iter().all(|element| *element == T::default())
        }
        let mut storage = Boxed::new(&Shape::server(Trading::ALL, &[WindowSpec::SECOND]));
        let StorageParts {
            row_of_id,
            windows,
            rows,
            slices,
            counts,
            totals,
            folded,
            samples,
            scratch,
            in_flight,
            slowest,
            limits,
            tallies,
            silences,
        } = storage.parts();
        assert!(all_empty(row_of_id) && all_empty(windows) && all_empty(rows));
        assert!(all_empty(slices) && all_empty(counts) && all_empty(totals) && all_empty(folded));
        assert!(all_empty(samples) && all_empty(scratch) && all_empty(in_flight));
        assert!(all_empty(slowest) && all_empty(limits) && all_empty(tallies));
        assert!(all_empty(silences));
    }
}
