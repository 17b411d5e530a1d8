//! Fixed pieces of work for who counts instructions: `python3 .ci/check_instructions.py` runs them under callgrind.
//!
//! Each piece is one call of [`tailwatch_counted`], all that callgrind is to count. Before it, a line on stdout tells the row
//! that it belongs to and of how many units it consists. Everything that could make the counts vary is fixed: the number of spans,
//! and where time matters, the time.

mod drain;
#[path = "../../core/tests/recount/memory.rs"]
mod memory;
mod spans;

use core::error::Error;

/// Does the work. Callgrind counts from the beginning of this function to its end, and finds it by its name.
// SAFETY: nothing else has this name.
#[inline(never)]
#[unsafe(no_mangle)]
extern "Rust" fn tailwatch_counted(work: &mut dyn FnMut()) {
    work();
}

/// Has the work counted, as so many units of this row.
fn count(row: &str, units: u32, mut work: impl FnMut()) {
    println!("{row} {units}");
    tailwatch_counted(&mut work);
}

fn main() -> Result<(), Box<dyn Error>> {
    spans::run()?;
    drain::run()
}
