//! Recording never panics: from none of its functions, as a release build has them, leads a way to a panic.
//!
//! The functions of `no_panic/probe.rs` are compiled into an archive of objects, whose relocations say who refers to whom. Every
//! function of the core is followed to the end. Of the std adapter it is what a thread does that has a ring, on a clock that is a
//! counter: to take a ring, and to ask the operating system for the time, is the standard library's, and left out by name.

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

const OF_CORE: [&str; 7] = [
    "core_guard",
    "core_tagged",
    "core_discard",
    "core_start",
    "core_end",
    "core_number",
    "core_push",
];
const OF_STD: [&str; 8] = [
    "with_guard",
    "with_tag_and_outcome",
    "with_unfinished",
    "with_attribute",
    "with_async_attribute",
    "with_closure",
    "with_tokens",
    "with_values",
];

/// Where the std adapter takes a ring for its thread, or finds that it has none; and where it asks for the time.
const LEFT_OUT: [&str; 3] = ["register_late", "end_without_ring", "read_monotonic"];

/// Parts of the names of what panics.
const PANICS: [&str; 6] =
    ["panicking", "unwrap_failed", "expect_failed", "alloc_error", "capacity_overflow", "_fail"];
/// Named alike: whether the thread panics; and what stops a panic on its way, from wherever it came.
const HARMLESS: [&str; 3] = ["panic_count", "panic_cannot_unwind", "panic_in_cleanup"];

fn archive() -> Vec<u8> {
    fs::read(build_example("no_panic_probe", &[]).join("libno_panic_probe.a")).expect("the probe")
}

/// A section of one of the objects.
type Place = (usize, SectionIndex);

/// Who refers to whom: sections, as each function has one of its own.
#[derive(Debug, Default)]
struct References {
    /// Where the symbols that are visible to other objects are defined.
    defined: HashMap<String, Place>,
    /// What each section refers to: symbols by name, and where they are if that is in the same object.
    from: HashMap<Place, Vec<(String, Option<Place>)>>,
}

impl References {
    fn read(archive: &[u8]) -> Self {
        let mut references = Self::default();
        let file = ArchiveFile::parse(archive).expect("an archive");
        for (number, member) in file.members().enumerate() {
            let data = member.expect("a member").data(archive).expect("its data");
            // Others hold metadata.
            let Ok(object) = object::File::parse(data) else { continue };
            for symbol in object.symbols() {
                if let (SymbolSection::Section(section), Ok(name), true) =
                    (symbol.section(), symbol.name(), symbol.is_global())
                {
                    references.defined.insert(name.to_owned(), (number, section));
                }
            }
            for section in object.sections() {
                let to = references.from.entry((number, section.index())).or_default();
                for (_, relocation) in section.relocations() {
                    let RelocationTarget::Symbol(symbol) = relocation.target() else { continue };
                    let symbol = object.symbol_by_index(symbol).expect("a symbol");
                    let place = symbol.section_index().map(|section| (number, section));
                    // A function that only its object knows is referred to by its section.
                    let name = symbol.name().ok().filter(|name| !name.is_empty()).or_else(|| {
                        object.section_by_index(symbol.section_index()?).ok()?.name().ok()
                    });
                    to.push((name.unwrap_or_default().to_owned(), place));
                }
            }
        }
        references
    }

    /// The first way found from a function to a panic, by the names on it.
    fn way_to_a_panic(&self, from: &str) -> Option<Vec<String>> {
        let start = *self.defined.get(from).unwrap_or_else(|| panic!("the probe has no {from}"));
        let mut ways = vec![(start, vec![from.to_owned()])];
        let mut visited = HashSet::from([start]);
        while let Some((place, way)) = ways.pop() {
            for (name, local) in self.from.get(&place).into_iter().flatten() {
                let mut way = way.clone();
                way.push(name.clone());
                let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
                if has(&PANICS) && !has(&HARMLESS) {
                    return Some(way);
                }
                let next = local.or_else(|| self.defined.get(name).copied());
                if let Some(next) = next.filter(|_| !has(&HARMLESS) && !has(&LEFT_OUT))
                    && visited.insert(next)
                {
                    ways.push((next, way));
                }
            }
        }
        None
    }
}

#[test]
fn recording_never_panics() {
    let references = References::read(&archive());
    for name in OF_CORE.into_iter().chain(OF_STD) {
        let way = references.way_to_a_panic(name);
        assert!(way.is_none(), "{name} may panic: {way:#?}");
    }
    let found = references.way_to_a_panic("core_that_panics");
    assert!(found.is_some_and(|way| way.len() >= 2), "the check can fail");
}
