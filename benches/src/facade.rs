//! What a library pays for being measurable: the packages of `tailwatch-record`, and the time to
//! build it from scratch, compared with that of the crate `metrics`.

use core::{error::Error, fmt::Write, time::Duration};
use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
    time::Instant,
};

use crate::verdict;

/// The largest number of packages, `tailwatch-record` included.
const MAX_PACKAGES: usize = 4;
/// The largest ratio of the two times.
const MAX_RATIO: f64 = 2.0;

/// A package that depends on one crate only.
struct Probe {
    directory: PathBuf,
    dependency: &'static str,
}

impl Probe {
    fn new(parent: &Path, dependency: &'static str, source: &str) -> Result<Self, Box<dyn Error>> {
        let directory = parent.join(dependency);
        fs::create_dir_all(directory.join("src"))?;
        fs::write(directory.join("src/lib.rs"), "")?;
        let mut manifest = "[package]\nname = \"probe\"\nedition = \"2024\"\n".to_owned();
        write!(manifest, "[dependencies]\n{dependency} = {source}\n[workspace]\n")?;
        fs::write(directory.join("Cargo.toml"), manifest)?;
        let probe = Self { directory, dependency };
        probe.cargo(&["fetch", "--quiet"])?;
        Ok(probe)
    }

    /// Runs cargo and returns what it prints.
    fn cargo(&self, arguments: &[&str]) -> Result<String, Box<dyn Error>> {
        let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(arguments)
            .current_dir(&self.directory)
            .env("CARGO_TARGET_DIR", self.directory.join("target"))
            .output()?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(format!("cargo {}: {errors}", arguments.join(" ")).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Returns the packages that the dependency consists of, itself included.
    fn packages(&self) -> Result<BTreeSet<String>, Box<dyn Error>> {
        let tree = self.cargo(&["tree", "--edges", "normal,build", "--prefix", "none"])?;
        let names = tree.lines().filter_map(|line| line.split_whitespace().next());
        Ok(names.filter(|name| *name != "probe").map(str::to_owned).collect())
    }

    /// Returns the time to build the dependency from scratch.
    fn build(&self) -> Result<Duration, Box<dyn Error>> {
        // A first run has none.
        let _ = fs::remove_dir_all(self.directory.join("target"));
        let start = Instant::now();
        self.cargo(&["build", "--quiet", "--offline"])?;
        Ok(start.elapsed())
    }
}

/// Runs the bench.
pub(crate) fn run(smoke: bool) -> Result<(), Box<dyn Error>> {
    let parent = env::temp_dir().join(format!("tailwatch-facade-{}", process::id()));
    let result = compare(&parent, if smoke { 1 } else { 7 });
    fs::remove_dir_all(&parent)?;
    result
}

fn compare(parent: &Path, rounds: u32) -> Result<(), Box<dyn Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../adapters/record").canonicalize()?;
    let ours =
        Probe::new(parent, "tailwatch-record", &format!("{{ path = \"{}\" }}", path.display()))?;
    let theirs = Probe::new(parent, "metrics", "\"0.24\"")?;
    let mut times = Vec::new();
    for _ in 0..rounds {
        times.push((ours.build()?, theirs.build()?));
    }
    let least = |of: fn(&(Duration, Duration)) -> Duration| {
        times.iter().map(of).min().unwrap_or_default().as_secs_f64()
    };
    let (our_time, their_time) = (least(|times| times.0), least(|times| times.1));
    for (probe, seconds) in [(&ours, our_time), (&theirs, their_time)] {
        let packages = probe.packages()?;
        let names = packages.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        println!("{}: {seconds:.2} s for {}: {names}", probe.dependency, packages.len());
    }
    let packages = ours.packages()?.len();
    let target = format!("at most {MAX_PACKAGES} packages");
    verdict::print(target, packages, packages <= MAX_PACKAGES);
    let ratio = our_time / their_time;
    let target = format!("at most {MAX_RATIO} times the time of metrics");
    verdict::print(target, format_args!("{ratio:.2}"), ratio <= MAX_RATIO);
    Ok(())
}
