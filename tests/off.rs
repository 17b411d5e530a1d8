//! Checks, by symbols and machine code, that the feature `off` leaves nothing of tailwatch in a
//! measured program.

mod probe;

use std::{env, fs, process::Command};

use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};
use probe::build_example;

/// Builds the probe with these cargo arguments and returns the bytes of the library.
fn probe(features: &[&str]) -> Vec<u8> {
    let name = format!("{}off_probe{}", env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX);
    fs::read(build_example("off_probe", features).join(name)).expect("the probe was built")
}

/// Returns the machine code of the function `name`.
fn code(file: &object::File<'_>, name: &str) -> Vec<u8> {
    let mut symbols = file.symbols().chain(file.dynamic_symbols());
    let symbol = symbols
        .find(|symbol| symbol.name() == Ok(name))
        .unwrap_or_else(|| panic!("no symbol {name}"));
    let section = file
        .section_by_index(symbol.section_index().expect("a defined symbol"))
        .expect("the section of the symbol");
    let start =
        usize::try_from(symbol.address() - section.address()).expect("the offset fits `usize`");
    section.data().expect("the section has data")[start..]
        [..usize::try_from(symbol.size()).expect("the size fits `usize`")]
        .to_vec()
}

/// The measured functions of the probe.
const MEASURED: [&str; 9] = [
    "with_guard",
    "with_tag_and_outcome",
    "with_cancel_on_drop",
    "with_attribute",
    "with_async_attribute",
    "with_closure",
    "with_stamp",
    "with_tokens",
    "with_values",
];

#[test]
fn off_leaves_no_code_or_data_in_the_measured_program() {
    let off = probe(&["--features", "off"]);
    let off = object::File::parse(&*off).expect("a valid library");
    let plain = code(&off, "plain");
    for name in MEASURED {
        assert_eq!(code(&off, name), plain, "{name} must have the code of the unmeasured function");
    }
    let is_code_or_data = |symbol: &object::Symbol<'_, '_>| {
        matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Data)
    };
    let left = off
        .symbols()
        .filter(is_code_or_data)
        .filter_map(|symbol| symbol.name().ok().map(str::to_owned));
    let left: Vec<_> = left.filter(|name| name.contains("tailwatch")).collect();
    assert!(left.is_empty(), "symbols of the library are left: {left:?}");

    // With recording, the functions are much larger. So the comparison above can fail.
    let on = probe(&[]);
    let on = object::File::parse(&*on).expect("a valid library");
    for name in MEASURED {
        assert!(code(&on, name).len() > 2 * plain.len(), "{name} must contain recording code");
    }
}

#[test]
fn everything_can_still_be_called_when_off() {
    let program = build_example("off_program", &["--features", "off"])
        .join(format!("off_program{}", env::consts::EXE_SUFFIX));
    let run = Command::new(program).output().expect("the program starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(String::from_utf8_lossy(&run.stdout).trim(), "nothing was recorded");
    let warned = String::from_utf8_lossy(&run.stderr);
    assert!(warned.contains("compiled out by the feature `off`"), "{warned}");
}
