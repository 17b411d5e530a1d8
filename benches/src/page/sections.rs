//! The page as text: an introduction, and a section for each processor model.

use std::{fs, io, path::Path};

/// What a section begins with. The heading is the processor model, and in brackets its name, which
/// a hypervisor may change.
const HEADING: &str = "\n## ";

/// Returns the text of the page, or nothing if there is no page yet.
///
/// # Errors
/// Returns an error if there is a page that cannot be read, which must not be overwritten.
pub(super) fn read(page: &Path) -> io::Result<String> {
    match fs::read_to_string(page) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", page.display()))),
        text => text,
    }
}

/// Returns `page` with another introduction and section under `heading`, in place of the section of
/// the same model. A new section comes last; the other sections stay as they are.
pub(super) fn replace(page: &str, intro: &str, heading: &str, section: &str) -> String {
    let new = format!("{heading}\n\n{}\n", section.trim_matches('\n'));
    let mut sections: Vec<&str> = page.split(HEADING).skip(1).collect();
    match sections.iter_mut().find(|section| model(section) == model(heading)) {
        Some(old) => *old = &new,
        None => sections.push(&new),
    }
    let sections = sections.iter().map(|section| format!("{HEADING}{}\n", section.trim_end()));
    sections.fold(format!("{}\n", intro.trim_end()), |page, section| page + &section)
}

/// Returns the model in a heading, or in the heading of a section.
fn model(section: &str) -> &str {
    let heading = section.lines().next().unwrap_or_default();
    heading.split_once(" (").map_or(heading, |(model, _)| model)
}

/// Returns the name of a folder for `model`.
pub(super) fn slug(model: &str) -> String {
    let words = model.split(|letter: char| !letter.is_ascii_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join("-").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_replaces_the_section_of_its_model_only() {
        let page =
            replace("", "# Benchmarks", "One (a)", "- Date: 1\n\n### A\n\n```text\na\n```\n");
        assert_eq!(page, "# Benchmarks\n\n## One (a)\n\n- Date: 1\n\n### A\n\n```text\na\n```\n");
        let page = replace(&page, "# Benchmarks", "Two", "- Date: 2\n");
        let again = replace(&page, "# Other words", "One (b)", "\n- Date: 3\n\n");
        assert_eq!(again, "# Other words\n\n## One (b)\n\n- Date: 3\n\n## Two\n\n- Date: 2\n");
        assert_eq!(replace(&again, "# Other words", "Two", "- Date: 2"), again);
    }

    #[test]
    fn a_model_that_begins_like_another_has_its_own_section() {
        let page = replace("# Benchmarks\n\n## EPYC 2\n\nold\n", "# Benchmarks", "EPYC (x)", "new");
        assert_eq!(page, "# Benchmarks\n\n## EPYC 2\n\nold\n\n## EPYC (x)\n\nnew\n");
        assert_eq!(slug("AMD family 25, model 17"), "amd-family-25-model-17");
    }
}
