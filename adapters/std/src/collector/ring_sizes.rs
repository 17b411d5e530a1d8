//! How many rings a collector may have and how large they may become, from its settings and from
//! the memory that is there.

use tailwatch_core::Ring;

use crate::{
    recording::{pool::Pool, ring_memory::RingMemory, ring_settings::RingSettings},
    settings::{MAX_RINGS, Origin, Settings, build_error::BuildError},
};

/// The memory of the statistics and of two reports, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct StatisticsBytes {
    /// What the start allocates and uses at once.
    pub(super) at_start: usize,
    /// What they can grow to.
    pub(super) at_most: usize,
}

/// Returns how the rings are set.
///
/// # Errors
/// Returns an error if a setting is out of range, or if two contradict each other.
pub(super) fn ring_settings(settings: &Settings) -> Result<RingSettings, BuildError> {
    let Settings { rings, ring_capacity, max_ring_capacity, max_ring_bytes, mlock, .. } = settings;
    let capacity = ring_capacity.value;
    let bytes = Ring::layout(capacity).map_err(BuildError::RingCapacity)?.size();
    if max_ring_capacity.origin != Origin::Default {
        Ring::layout(max_ring_capacity.value).map_err(BuildError::MaxRingCapacity)?;
        if max_ring_capacity.value < capacity {
            let max = max_ring_capacity.value;
            return Err(BuildError::RingCapacityAboveMax { capacity, max });
        }
    }
    match rings.value {
        0 => return Err(BuildError::NoRings),
        rings if rings > MAX_RINGS => return Err(BuildError::TooManyRings { rings }),
        _ => {}
    }
    if bytes > max_ring_bytes.value {
        return Err(BuildError::RingAboveMaxBytes { capacity, bytes, max: max_ring_bytes.value });
    }
    Ok(RingSettings {
        lanes: rings.value,
        capacity,
        max_capacity: max_ring_capacity.value.max(capacity),
        max_bytes: max_ring_bytes.value,
        locked: mlock.value,
    })
}

/// Returns `rings`, with as many bytes less as do not fit into `available` bytes of memory. `None`
/// stands for an unknown amount, which may be any.
///
/// # Errors
/// Returns an error if what the start needs does not fit.
pub(super) fn fit(
    rings: RingSettings,
    statistics: StatisticsBytes,
    available: Option<u64>,
) -> Result<RingSettings, BuildError> {
    let Some(available) = available else { return Ok(rings) };
    let available = usize::try_from(available).unwrap_or(usize::MAX);
    let spare_bytes = |rings: &RingSettings| {
        let bytes = RingMemory::bytes_of(rings.capacity).unwrap_or(usize::MAX);
        Pool::spares_to_keep(rings).max(1).saturating_mul(bytes)
    };
    let needed = spare_bytes(&rings).saturating_add(statistics.at_start);
    if needed > available {
        return Err(BuildError::NotEnoughMemory { needed, available });
    }
    if rings.max_bytes.saturating_add(statistics.at_most) <= available {
        return Ok(rings);
    }
    // The statistics rarely take all that they can. So the rings get a quarter in any case.
    let left = available.saturating_sub(statistics.at_most).max(available / 4);
    let max_bytes = rings.max_bytes.min(left.max(spare_bytes(&rings)));
    Ok(RingSettings { max_bytes, ..rings })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RING: usize = 16_384 * 16 + 256;
    const STATISTICS: StatisticsBytes = StatisticsBytes { at_start: 1_000, at_most: 10_000_000 };

    fn settings() -> Settings {
        Settings::default()
    }

    #[test]
    fn the_largest_capacity_is_at_least_that_of_the_first_ring() {
        let mut large = settings();
        large.ring_capacity.offer(1 << 20, Origin::Builder);
        assert_eq!(ring_settings(&large).unwrap().max_capacity, 1 << 20);
        large.max_ring_capacity.offer(1 << 19, Origin::Builder);
        let error = ring_settings(&large).unwrap_err();
        assert!(
            matches!(
                error,
                BuildError::RingCapacityAboveMax { capacity: 0x10_0000, max: 0x8_0000 }
            ),
            "{error:?}"
        );
        large.max_ring_capacity.offer(1_000, Origin::Builder);
        assert!(matches!(ring_settings(&large), Err(BuildError::MaxRingCapacity(_))));
    }

    #[test]
    fn rings_that_nobody_can_have_meant_are_refused_before_memory_is_taken() {
        for rings in [MAX_RINGS + 1, 100_000, 131_072, usize::MAX] {
            let mut many = settings();
            many.rings.offer(rings, Origin::Builder);
            let error = ring_settings(&many).unwrap_err();
            assert!(matches!(error, BuildError::TooManyRings { rings: named } if named == rings));
        }
        let mut large = settings();
        large.ring_capacity.offer(1 << 30, Origin::Builder);
        let error = ring_settings(&large).unwrap_err();
        assert!(matches!(error, BuildError::RingAboveMaxBytes { capacity: 0x4000_0000, .. }));
    }

    #[test]
    fn what_the_start_needs_has_to_fit_and_what_it_may_grow_to_is_lowered() {
        let rings = ring_settings(&settings()).unwrap();
        let needed = 4 * RING + 1_000;
        let max_bytes =
            |available| fit(rings, STATISTICS, available).map(|settings| settings.max_bytes);
        assert_eq!(max_bytes(None).unwrap(), rings.max_bytes);
        assert_eq!(max_bytes(Some(u64::MAX)).unwrap(), rings.max_bytes);
        let enough = rings.max_bytes + STATISTICS.at_most;
        assert_eq!(max_bytes(Some(enough as u64)).unwrap(), rings.max_bytes);
        assert_eq!(max_bytes(Some(enough as u64 - 1)).unwrap(), rings.max_bytes - 1);
        assert_eq!(max_bytes(Some(12_000_000)).unwrap(), 3_000_000, "a quarter");
        assert_eq!(max_bytes(Some(needed as u64)).unwrap(), 4 * RING, "the spares");
        let error = max_bytes(Some(needed as u64 - 1)).unwrap_err();
        assert!(
            matches!(error, BuildError::NotEnoughMemory { needed: n, available } if n == needed
                && available == needed - 1),
            "{error:?}"
        );
    }
}
