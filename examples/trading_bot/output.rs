//! The outputs of a run. Files are opened before the run, so that a file that cannot be written
//! costs no run.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tailwatch::Report;

use crate::options::Options;

/// The error of an output.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    #[error("{option} {path}: the file cannot be written: {cause}", path = path.display())]
    Open { option: &'static str, path: PathBuf, cause: io::Error },
    #[error("{option} {path}: the file is also the one of {other}", path = path.display())]
    SameFile { option: &'static str, path: PathBuf, other: &'static str },
    #[error("{0}: writing failed: {1}")]
    Write(String, io::Error),
}

/// The outputs that the options ask for.
pub(crate) struct Outputs {
    json: Option<Json>,
    pub(crate) trace: Option<File>,
}

enum Json {
    Stdout,
    File(PathBuf, File),
}

impl Outputs {
    pub(crate) fn open(options: &Options) -> Result<Self, OutputError> {
        // Opening a file truncates it, so an output must not be one of the inputs.
        let mut taken: Vec<(&'static str, PathBuf)> = Vec::new();
        for (option, input) in [("--feed", &options.feed), ("--sla", &options.sla)] {
            let known = input.as_deref().and_then(|path| fs::canonicalize(path).ok());
            taken.extend(known.map(|path| (option, path)));
        }
        let json = match &options.json {
            None => None,
            Some(_) if options.json_to_stdout() => Some(Json::Stdout),
            Some(path) => Some(Json::File(path.clone(), create("--json", path, &mut taken)?)),
        };
        let trace =
            options.trace.as_deref().map(|path| create("--trace", path, &mut taken)).transpose()?;
        Ok(Self { json, trace })
    }

    /// Writes the table and the JSON report, each even if the other fails, and returns the errors.
    /// `traced` is the result of the trace, which was written during the run.
    pub(crate) fn write(mut self, report: &Report, traced: io::Result<()>) -> Vec<String> {
        let table = self.write_table(report);
        let json = self.write_json(report);
        let traced = traced.map_err(|error| {
            format!("--trace: writing failed, so the file is incomplete: {error}")
        });
        let failed = [table, json]
            .into_iter()
            .filter_map(|written| written.err().map(|error| error.to_string()));
        failed.chain(traced.err()).collect()
    }

    /// Writes the JSON report, if the options ask for one.
    fn write_json(&mut self, report: &impl Serialize) -> Result<(), OutputError> {
        match &mut self.json {
            None => Ok(()),
            Some(Json::Stdout) => unless_closed(write_json(io::stdout().lock(), report))
                .map_err(|error| OutputError::Write("standard output".to_owned(), error)),
            Some(Json::File(path, file)) => write_json(file, report)
                .map_err(|error| OutputError::Write(path.display().to_string(), error)),
        }
    }

    /// Writes the table to standard output, or to standard error if the JSON report goes to
    /// standard output.
    fn write_table(&self, report: &Report) -> Result<(), OutputError> {
        let table = report.table();
        let (written, name) = if matches!(self.json, Some(Json::Stdout)) {
            let to = io::stderr().lock();
            (write_line(&table.for_terminal(&to).to_string(), to), "standard error")
        } else {
            let to = io::stdout().lock();
            (write_line(&table.for_terminal(&to).to_string(), to), "standard output")
        };
        unless_closed(written).map_err(|error| OutputError::Write(name.to_owned(), error))
    }
}

/// Writes a text and the end of its line by one call.
fn write_line(text: &str, mut to: impl Write) -> io::Result<()> {
    to.write_all(format!("{text}\n").as_bytes())
}

/// Ignores that nobody reads a stream any more, as with `| head -1`.
fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes the report by one call.
fn write_json(mut to: impl Write, report: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(report)?;
    text.push(b'\n');
    to.write_all(&text)?;
    to.flush()
}

fn create(
    option: &'static str,
    path: &Path,
    taken: &mut Vec<(&'static str, PathBuf)>,
) -> Result<File, OutputError> {
    if let Ok(known) = fs::canonicalize(path)
        && let Some(&(other, _)) = taken.iter().find(|(_, path)| *path == known)
    {
        return Err(OutputError::SameFile { option, path: path.to_owned(), other });
    }
    let file = File::create(path).map_err(|cause| OutputError::Open {
        option,
        path: path.to_owned(),
        cause,
    })?;
    // Only regular files are remembered: a terminal or a null device may be used twice. The path
    // can be resolved only now, because the file may not have existed before.
    if path.is_file() {
        taken.extend(fs::canonicalize(path).ok().map(|path| (option, path)));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn open(arguments: &[&str]) -> Result<Outputs, OutputError> {
        let options =
            Options::try_parse_from(core::iter::once(&"trading_bot").chain(arguments)).unwrap();
        Outputs::open(&options)
    }

    #[test]
    fn a_path_that_cannot_be_written_is_named_with_its_cause() {
        for option in ["--json", "--trace"] {
            let error = open(&[option, "no/such/folder/file"]).err().unwrap().to_string();
            assert!(
                error.starts_with(&format!(
                    "{option} no/such/folder/file: the file cannot be written: "
                )),
                "{error}"
            );
            assert!(open(&[option, "."]).is_err());
        }
    }

    #[test]
    fn an_output_never_replaces_an_input_or_another_output() {
        let folder =
            std::env::temp_dir().join(format!("trading_bot_output_{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let input = folder.join("input");
        fs::write(&input, "1 {}\n").unwrap();
        let input = input.to_str().unwrap();
        for input_option in ["--feed", "--sla"] {
            for option in ["--json", "--trace"] {
                let error = open(&[input_option, input, option, input]).err().unwrap().to_string();
                assert_eq!(
                    error,
                    format!("{option} {input}: the file is also the one of {input_option}")
                );
            }
        }
        assert_eq!(fs::read_to_string(input).unwrap(), "1 {}\n");
        let (one, other) = (folder.join("one"), folder.join("other"));
        let (one, other) = (one.to_str().unwrap(), other.to_str().unwrap());
        assert!(matches!(
            open(&["--json", one, "--trace", one]),
            Err(OutputError::SameFile { .. })
        ));
        assert!(open(&["--json", one, "--trace", other]).is_ok());
        fs::remove_dir_all(folder).unwrap();
    }
}
