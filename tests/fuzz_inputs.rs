//! Replays the fuzz inputs kept in the repository: seeds, and every input that once crashed a
//! target.

use std::{fs, path::Path};

use tailwatch_fuzz::{TARGETS, Target};

/// Calls `run` with each file of `folder`. Returns the number of files, 0 if there is no such
/// folder.
fn replay(folder: &Path, run: Target) -> usize {
    let Ok(files) = fs::read_dir(folder) else { return 0 };
    let mut count = 0;
    for file in files {
        let path = file.expect("the folder can be listed").path();
        let bytes = fs::read(&path).expect("the input can be read");
        // If the target panics, the output names the input.
        println!("{}", path.display());
        run(&bytes);
        count += 1;
    }
    count
}

#[test]
fn every_target_survives_its_kept_inputs() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    for (name, run) in TARGETS.iter().copied() {
        let seeds = replay(&fuzz.join("corpus").join(name), run);
        assert!(seeds > 0, "there is no seed for {name}");
        replay(&fuzz.join("crashes").join(name), run);
    }
}

#[test]
fn every_folder_of_inputs_belongs_to_a_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let known = |name: &str| TARGETS.iter().any(|(target, _)| *target == name);
    for kept in ["corpus", "crashes"] {
        // There is no folder `crashes` until a target has crashed.
        for folder in fs::read_dir(fuzz.join(kept)).into_iter().flatten() {
            let name = folder.expect("the folder can be listed").file_name();
            assert!(
                name.to_str().is_some_and(known),
                "{kept}/{} belongs to no target",
                name.display()
            );
        }
    }
    for (name, _) in TARGETS {
        assert!(
            fuzz.join("fuzz_targets").join(format!("{name}.rs")).is_file(),
            "there is no fuzz_targets/{name}.rs"
        );
    }
}
