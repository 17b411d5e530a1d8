//! The feature `off` leaves nothing of the measuring in the measured program: shown by its symbols and their code.

mod probe;

use std::{env, fs, process::Command};

use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};
use probe::build_example;

fn probe(features: &[&str]) -> Vec<u8> {
    let name = format!("{}off_probe{}", env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX);
    fs::read(build_example("off_probe", features).join(name)).expect("the probe")
}

/// The code of a function.
fn code(file: &object::File<'_>, name: &str) -> Vec<u8> {
    let mut symbols = file.symbols().chain(file.dynamic_symbols());
    let symbol = symbols
        .find(|symbol| symbol.name() == Ok(name))
        .unwrap_or_else(|| panic!("no symbol {name}"));
    let section =
        file.section_by_index(symbol.section_index().expect("it is defined")).expect("its section");
    let start = usize::try_from(symbol.address() - section.address()).expect("an offset");
    section.data().expect("code")[start..][..usize::try_from(symbol.size()).expect("a size")]
        .to_vec()
}

const MEASURED: [&str; 8] = [
    "with_guard",
    "with_tag_and_outcome",
    "with_unfinished",
    "with_attribute",
    "with_async_attribute",
    "with_closure",
    "with_tokens",
    "with_values",
];

#[test]
fn nothing_is_left_of_what_is_measured() {
    let off = probe(&["--features", "off"]);
    let off = object::File::parse(&*off).expect("a library");
    let plain = code(&off, "plain");
    for name in MEASURED {
        assert_eq!(code(&off, name), plain, "{name}: as if it were not measured");
    }
    let is_code_or_data = |symbol: &object::Symbol<'_, '_>| {
        matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Data)
    };
    let left = off
        .symbols()
        .filter(is_code_or_data)
        .filter_map(|symbol| symbol.name().ok().map(str::to_owned));
    let left: Vec<_> = left.filter(|name| name.contains("tailwatch")).collect();
    assert!(left.is_empty(), "nothing of the library is left: {left:?}");

    // The check can fail: with recording they are not the same.
    let on = probe(&[]);
    let on = object::File::parse(&*on).expect("a library");
    for name in MEASURED {
        assert!(code(&on, name).len() > 2 * plain.len(), "{name} records");
    }
}

#[test]
fn everything_can_still_be_called() {
    let program = build_example("off_program", &["--features", "off"])
        .join(format!("off_program{}", env::consts::EXE_SUFFIX));
    let run = Command::new(program).output().expect("it runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(String::from_utf8_lossy(&run.stdout).trim(), "nothing was recorded");
}
