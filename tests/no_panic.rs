//! Checks that recording never panics: in a release build, no path leads from a function that
//! records to a function that panics.
//!
//! The functions of `no_panic/probe.rs` are compiled into an archive of object files, whose
//! relocations show which function refers to which. Functions that record through the core are
//! followed completely. Functions that record through the std adapter are followed as far as they
//! serve a thread with a ring and a clock that reads the processor's counter. Taking a ring and
//! reading the operating system's clock lead into the standard library, so they are excluded by
//! name ([`EXCLUDED`]).

mod probe;

use std::{
    collections::{HashMap, HashSet},
    fs,
};

use object::{
    Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionIndex, SymbolSection,
    read::archive::ArchiveFile,
};
use probe::build_example;

/// The functions of the probe that record through the core.
const CORE_FUNCTIONS: [&str; 8] = [
    "core_guard",
    "core_interval",
    "core_tagged",
    "core_discard",
    "core_start",
    "core_end",
    "core_number",
    "core_push",
];
/// The functions of the probe that record through the std adapter.
const STD_FUNCTIONS: [&str; 9] = [
    "with_guard",
    "with_tag_and_outcome",
    "with_cancel_on_drop",
    "with_attribute",
    "with_async_attribute",
    "with_closure",
    "with_tokens",
    "with_stamp",
    "with_values",
];

/// Parts of the names of functions of the std adapter that the recorder of a thread with a ring
/// calls through a pointer, which the search does not find: the thread moves to a larger ring.
const CALLED_BY_POINTER: [&str; 1] = ["take_offer"];

/// Part of the name of a function that is not followed: it reads the operating system's clock.
const EXCLUDED: [&str; 1] = ["read_monotonic"];

/// Parts of the names of functions that panic.
const PANICS: [&str; 6] =
    ["panicking", "unwrap_failed", "expect_failed", "alloc_error", "capacity_overflow", "_fail"];
/// Parts of the names of functions that match [`PANICS`] but start no panic: one counts panics, the
/// others stop a panic that is already unwinding.
const HARMLESS: [&str; 3] = ["panic_count", "panic_cannot_unwind", "panic_in_cleanup"];

/// Builds the probe and returns the bytes of the archive.
fn archive() -> Vec<u8> {
    fs::read(build_example("no_panic_probe", &[]).join("libno_panic_probe.a"))
        .expect("the probe was built")
}

/// A section of an object file, which is given by its number in the archive.
type Place = (usize, SectionIndex);

/// The references between sections. Each function has a section of its own.
#[derive(Debug, Default)]
struct References {
    /// The places that define the symbols visible to other objects.
    defined: HashMap<String, Place>,
    /// The symbols that each section refers to: their names, and their places if they are in the
    /// same object.
    from: HashMap<Place, Vec<(String, Option<Place>)>>,
    /// The names of the sections.
    names: HashMap<Place, String>,
}

impl References {
    fn read(archive: &[u8]) -> Self {
        let mut references = Self::default();
        let file = ArchiveFile::parse(archive).expect("a valid archive");
        for (number, member) in file.members().enumerate() {
            let data =
                member.expect("a valid member").data(archive).expect("the data of the member");
            // The other members of the archive hold metadata.
            let Ok(object) = object::File::parse(data) else { continue };
            for symbol in object.symbols() {
                if let (SymbolSection::Section(section), Ok(name), true) =
                    (symbol.section(), symbol.name(), symbol.is_global())
                {
                    references.defined.insert(name.to_owned(), (number, section));
                }
            }
            for section in object.sections() {
                let name = section.name().unwrap_or_default().to_owned();
                references.names.insert((number, section.index()), name);
                let to = references.from.entry((number, section.index())).or_default();
                for (_, relocation) in section.relocations() {
                    let RelocationTarget::Symbol(symbol) = relocation.target() else { continue };
                    let symbol =
                        object.symbol_by_index(symbol).expect("the symbol of the relocation");
                    let place = symbol.section_index().map(|section| (number, section));
                    // A function that is local to its object is referenced through its section,
                    // whose name contains the function's.
                    let name = symbol.name().ok().filter(|name| !name.is_empty()).or_else(|| {
                        object.section_by_index(symbol.section_index()?).ok()?.name().ok()
                    });
                    to.push((name.unwrap_or_default().to_owned(), place));
                }
            }
        }
        references
    }

    /// Returns the names along the first path found from the function `from` of the probe to a
    /// panic, or `None` if there is no such path.
    fn path_to_panic(&self, from: &str) -> Option<Vec<String>> {
        let start = self.defined.get(from);
        self.path_to_panic_from(
            *start.unwrap_or_else(|| panic!("the probe has no function {from}")),
            from,
        )
    }

    /// Returns the sections whose names contain `part`: each function has one of its own.
    fn named(&self, part: &str) -> Vec<Place> {
        let named = self.names.iter().filter(|(_, name)| name.contains(part));
        named.map(|(place, _)| *place).collect()
    }

    /// Does the same as [`path_to_panic`](Self::path_to_panic), from the function at `start`.
    fn path_to_panic_from(&self, start: Place, from: &str) -> Option<Vec<String>> {
        let mut paths = vec![(start, vec![from.to_owned()])];
        let mut visited = HashSet::from([start]);
        while let Some((place, path)) = paths.pop() {
            for (name, local) in self.from.get(&place).into_iter().flatten() {
                let mut path = path.clone();
                path.push(name.clone());
                let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
                if has(&PANICS) && !has(&HARMLESS) {
                    return Some(path);
                }
                let next = local.or_else(|| self.defined.get(name).copied());
                if let Some(next) = next.filter(|_| !has(&HARMLESS) && !has(&EXCLUDED))
                    && visited.insert(next)
                {
                    paths.push((next, path));
                }
            }
        }
        None
    }
}

#[test]
fn recording_never_panics() {
    let references = References::read(&archive());
    for name in CORE_FUNCTIONS.into_iter().chain(STD_FUNCTIONS) {
        let path = references.path_to_panic(name);
        assert!(path.is_none(), "{name} may panic: {path:#?}");
    }
    for part in CALLED_BY_POINTER {
        let places = references.named(part);
        assert!(!places.is_empty(), "no function is called {part}");
        for place in places {
            let path = references.path_to_panic_from(place, part);
            assert!(path.is_none(), "{part} may panic: {path:#?}");
        }
    }
    let found = references.path_to_panic("core_that_panics");
    assert!(
        found.is_some_and(|path| path.len() >= 2),
        "the check must find the panic of core_that_panics"
    );
}
