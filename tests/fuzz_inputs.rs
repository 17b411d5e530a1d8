//! The inputs that are kept of fuzzing: seeds, and everything that ever crashed.

use std::{fs, path::Path};

use tailwatch_fuzz::{TARGETS, Target};

/// Replays the files of a folder; how many there were.
fn replay(folder: &Path, run: Target) -> usize {
    let Ok(files) = fs::read_dir(folder) else { return 0 };
    let mut count = 0;
    for file in files {
        let path = file.expect("a file").path();
        let bytes = fs::read(&path).expect("it can be read");
        // What panics then says of which input.
        println!("{}", path.display());
        run(&bytes);
        count += 1;
    }
    count
}

#[test]
fn every_input_that_is_kept_is_survived() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    for (name, run) in TARGETS {
        let seeds = replay(&fuzz.join("corpus").join(name), run);
        assert!(seeds > 0, "there is no seed for {name}");
        replay(&fuzz.join("crashes").join(name), run);
    }
}

#[test]
fn every_folder_of_inputs_is_that_of_a_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let known = |name: &str| TARGETS.iter().any(|(target, _)| *target == name);
    for kept in ["corpus", "crashes"] {
        // Nothing has crashed as long as there is no such folder.
        for folder in fs::read_dir(fuzz.join(kept)).into_iter().flatten() {
            let name = folder.expect("a folder").file_name();
            assert!(name.to_str().is_some_and(known), "{kept}/{} is of no target", name.display());
        }
    }
    for (name, _) in TARGETS {
        assert!(
            fuzz.join("fuzz_targets").join(format!("{name}.rs")).is_file(),
            "{name} has no binary"
        );
    }
}
