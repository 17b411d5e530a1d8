//! Writes `BENCHMARKS.md`, which has a section for each processor model: the printed table of every
//! bench, plots, the machine, the versions and the date. A run replaces the section of its own
//! model.

mod sections;

use core::{error::Error, fmt::Write as _};
use std::{
    collections::BTreeMap,
    env, fs,
    path::Path,
    process::{Command, Stdio},
    time::SystemTime,
};

use serde::Deserialize;

use crate::{
    plot::{self, Axes, Bar},
    processor, series,
};

/// The page, and the directory of the plots and their data, relative to that of the page.
const PAGE: &str = "BENCHMARKS.md";
const PLOTS: &str = "benches/plots";

/// The lock file, which has the versions of all crates that are compiled in.
const LOCK: &str = include_str!("../../Cargo.lock");

/// The benches: name, title, and whether there is a plot of its results.
const BENCHES: [(&str, &str, bool); 15] = [
    ("versus", "The cost of a span, by form and by peer", true),
    ("drain", "The drain, from the ring to quantiles", false),
    ("rate", "The drain at different record rates", true),
    ("query", "Queries", true),
    ("scale", "Two recording threads", false),
    ("memory", "Memory", false),
    ("burst", "Bursts, many threads and many events", false),
    ("many", "Many events", false),
    ("overhead", "The cost of a span, and what the collector reports", false),
    ("idle", "Processor time while idle", false),
    ("jitter", "Variation of a single record's cost", false),
    ("shared", "A span in a shared ring", false),
    ("guest", "Measuring a program that needs the cache", false),
    ("realistic", "Candle processing", false),
    ("tokio", "Tokio tasks", false),
];

/// Runs every bench in a process of its own: a process has one installed collector, and the memory
/// that one bench leaves behind would count for the next one. Writes the page into `directory`, if
/// there is one.
pub(crate) fn run(smoke: bool, directory: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let model = processor::model();
    let folder = format!("{PLOTS}/{}", sections::slug(&model));
    let plots = directory.map(|directory| directory.join(&folder));
    if let Some(plots) = &plots {
        fs::create_dir_all(plots)?;
    }
    // Read first, so that a page that cannot be read is found before the benches run.
    let page = directory.map(|directory| sections::read(&directory.join(PAGE))).transpose()?;
    let mut tables = String::new();
    for (name, title, is_plotted) in BENCHES {
        println!("\n== {name}");
        let mut command = Command::new(env::current_exe()?);
        command.arg(name).args(smoke.then_some("--smoke"));
        let data = plots
            .as_ref()
            .filter(|_| is_plotted)
            .map(|plots| plots.join(name).with_extension("json"));
        if let Some(data) = &data {
            command.arg("--json").arg(data);
        }
        let output = command.stderr(Stdio::inherit()).output()?;
        let text = String::from_utf8(output.stdout)?;
        print!("{text}");
        if !output.status.success() {
            return Err(format!("bench {name} failed: {}", output.status).into());
        }
        write!(tables, "\n### {title}\n\n")?;
        if let Some(data) = data {
            let picture = data.with_extension("svg");
            draw(name, &data, &picture)?;
            write!(tables, "![{title}]({folder}/{name}.svg)\n\n")?;
        }
        write!(
            tables,
            "`cargo run --release -p tailwatch-benches{} -- {name}`\n\n",
            features(name)
        )?;
        write!(tables, "```text\n{}\n```\n", text.trim_matches('\n'))?;
    }
    if let (Some(directory), Some(page)) = (directory, page) {
        let section = head(smoke)? + &tables;
        let heading = format!("{model} ({})", processor::name());
        let page = sections::replace(&page, &intro()?, &heading, &section);
        fs::write(directory.join(PAGE), page)?;
    }
    Ok(())
}

fn features(bench: &str) -> &'static str {
    if bench == "versus" && cfg!(feature = "peers") { " --features peers" } else { "" }
}

/// Draws the plot of `bench` from the data that it wrote.
fn draw(bench: &str, data: &Path, picture: &Path) -> Result<(), Box<dyn Error>> {
    match bench {
        "versus" => {
            let axes = Axes { title: "A span, nanoseconds", x: "ns, logarithmic", y: "" };
            plot::bars(picture, &axes, &spans(&fs::read_to_string(data)?)?)
        }
        "rate" => {
            let axes = Axes {
                title: "The drain's processor time",
                x: "records per second",
                y: "ns per record",
            };
            plot::lines(picture, &axes, &series::read(data)?)
        }
        "query" => {
            let axes = Axes {
                title: "Querying everything: 8 events, 3 windows",
                x: "spans recorded",
                y: "ns",
            };
            plot::lines(picture, &axes, &series::read(data)?)
        }
        other => Err(format!("bench {other} has no plot").into()),
    }
}

/// The cost of a warm span in the results of `versus`, cheapest first: the floors, some of
/// tailwatch's forms, the peers and the references.
fn spans(outcome: &str) -> Result<Vec<Bar>, Box<dyn Error>> {
    #[derive(Deserialize)]
    struct Outcome {
        rows: Vec<Row>,
    }
    #[derive(Deserialize)]
    struct Row {
        name: String,
        median_ns: f64,
    }

    const OURS: [&str; 4] = [
        "span/guard/relaxed",
        "span/guard/ordered",
        "span/guard_send/relaxed",
        "span/measure_async/relaxed",
    ];
    let Outcome { rows } = serde_json::from_str(outcome)?;
    let is_shown = |name: &str| {
        OURS.contains(&name)
            || ["floor/", "peer/", "reference/"].iter().any(|kind| name.starts_with(kind))
    };
    let mut bars: Vec<_> = rows
        .into_iter()
        .filter(|row| is_shown(&row.name))
        .map(|Row { name, median_ns }| {
            let is_ours = OURS.contains(&name.as_str());
            Bar { name, length: median_ns, is_ours }
        })
        .collect();
    bars.sort_by(|one, other| one.length.total_cmp(&other.length));
    Ok(bars)
}

/// The beginning of the page, above the sections.
fn intro() -> Result<String, Box<dyn Error>> {
    let mut intro = String::from("# Benchmarks\n\n");
    let all = if cfg!(feature = "peers") { " --features peers" } else { "" };
    writeln!(
        intro,
        "This page has a section for each processor model.\n\
         `cargo run --release -p tailwatch-benches{all} -- all --page .`\n\
         replaces the section of the model that it runs on; do not edit it. Compare ratios within \
         one\nsection: the times are those of one machine on one day."
    )?;
    Ok(intro)
}

/// The beginning of a section, above the tables.
fn head(smoke: bool) -> Result<String, Box<dyn Error>> {
    let mut head = String::new();
    if smoke {
        writeln!(head, "**This section is from a smoke test: its figures mean nothing.**\n")?;
    }
    for (what, text) in [
        ("Date", humantime::format_rfc3339_seconds(SystemTime::now()).to_string()),
        ("Cores", std::thread::available_parallelism().map_or(0, usize::from).to_string()),
        ("System", system()),
        ("Compiler", output_of("rustc", &["-V"])),
        ("Compared with", versions()?),
    ] {
        writeln!(head, "- {what}: {text}")?;
    }
    Ok(head)
}

fn system() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} {} {}", env::consts::OS, release.trim(), env::consts::ARCH)
}

/// Returns the standard output of a program, or `unknown` if it cannot be run.
fn output_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// Returns the versions of the peers and references, from the lock file.
fn versions() -> Result<String, Box<dyn Error>> {
    #[derive(Deserialize)]
    struct Lock {
        package: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
    }

    let Lock { package } = toml::from_str(LOCK)?;
    // If a crate has several versions, the newest one wins, because it comes last.
    let locked: BTreeMap<_, _> =
        package.into_iter().map(|package| (package.name, package.version)).collect();
    let versions = crate::peers::CRATES
        .iter()
        .filter_map(|name| Some(format!("{name} {}", locked.get(*name)?)));
    Ok(versions.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_is_in_the_lock_file() {
        assert_eq!(versions().unwrap().split(", ").count(), crate::peers::CRATES.len());
    }
}
