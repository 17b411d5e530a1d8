//! Fixed pieces of work whose instructions are counted: `python3 .ci/check_instructions.py` runs
//! this program under callgrind.
//!
//! Each piece of work is one call of [`tailwatch_counted`], the only function that callgrind
//! counts. A line on stdout before the call names the row that the piece belongs to, and the number
//! of units in it. Everything that could change the counts is fixed: the number of spans and, where
//! time matters, the ticks.

mod drain;
#[path = "../src/floor.rs"]
#[expect(dead_code, reason = "only one of the floors is counted")]
mod floor;
#[path = "../../core/tests/recount/memory.rs"]
mod memory;
mod spans;

use core::error::Error;

/// Runs `work`. Callgrind finds this function by its name, and counts from its beginning to its
/// end.
// SAFETY: nothing else has this name.
#[inline(never)]
#[unsafe(no_mangle)]
extern "Rust" fn tailwatch_counted(work: &mut dyn FnMut()) {
    work();
}

/// Counts the instructions of `work` as `units` units of `row`.
fn count(row: &str, units: u32, mut work: impl FnMut()) {
    println!("{row} {units}");
    tailwatch_counted(&mut work);
}

fn main() -> Result<(), Box<dyn Error>> {
    spans::run()?;
    drain::run()
}
