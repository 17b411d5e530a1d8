//! Implements `defmt::Format` for the public types that cannot derive it. Each is logged in a short
//! form, without the contents of memory, atomics and registers.

use defmt::{Format, Formatter, write};
use tailwatch_core::{Clock, Storage};

use crate::{
    Drain, DrainConfig, StaticRing,
    clock::{Base, Counter, CycleCounter, MachineCycle, SysTick},
};

impl<const N: usize> Format for StaticRing<N> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "StaticRing {{ capacity: {=usize}, pending: {=usize} }}", N, self.pending());
    }
}

impl<C, const IDS: usize, const RINGS: usize> Format for DrainConfig<'_, C, IDS, RINGS> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "DrainConfig {{ windows: {}, events: {} }}", self.windows, self.events);
    }
}

impl<S: Storage, C: Clock, const IDS: usize, const RINGS: usize> Format
    for Drain<'_, S, C, IDS, RINGS>
{
    fn format(&self, f: Formatter<'_>) {
        write!(
            f,
            "Drain {{ windows: {}, events: {}, rings: {=usize} }}",
            self.windows(),
            self.events(),
            RINGS
        );
    }
}

#[cfg(feature = "critical-section")]
impl<C: Clock + Copy, const IDS: usize, const N: usize> Format
    for crate::SharedRecorder<'_, C, IDS, N>
{
    fn format(&self, f: Formatter<'_>) {
        write!(f, "SharedRecorder {{ refused: {=usize} }}", self.refused());
    }
}

#[cfg(feature = "critical-section")]
impl<C: Clock + Copy, const IDS: usize, const N: usize> Format
    for crate::SharedSpanGuard<'_, '_, C, IDS, N>
{
    fn format(&self, f: Formatter<'_>) {
        write!(f, "SharedSpanGuard");
    }
}

impl Format for Base {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "Base({=u64})", self.load().0);
    }
}

impl<R> Format for SysTick<R> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "SysTick {{ period: {=u32} }}", self.period());
    }
}

impl<F> Format for Counter<F> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "Counter {{ bits: {=u32} }}", self.bits());
    }
}

impl<R> Format for CycleCounter<'_, R> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "CycleCounter");
    }
}

impl<R> Format for MachineCycle<R> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "MachineCycle");
    }
}

#[cfg(feature = "postcard")]
impl Format for crate::wire::Decoder {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "Decoder {{ waiting: {=usize}, rejected: {} }}", self.waiting(), self.rejected());
    }
}
