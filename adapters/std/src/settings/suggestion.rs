//! Suggests the most similar valid word for a misspelt one.

use core::fmt;

use super::visible::{Visible, write_list};

/// How many valid names an error lists if none of them is similar to the wrong one.
const MAX_LISTED: usize = 16;

/// Returns the known word that is most similar to `word`, ignoring case, or `None` if no known word
/// is similar.
///
/// A word is similar if at most a third of its letters differ. The distance is that of optimal
/// string alignment.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    let near = known.into_iter().filter_map(|candidate| {
        let longer = length.max(candidate.chars().count());
        let shorter = length.min(candidate.chars().count());
        let max_distance = (longer / 3).max(1);
        // The difference in length is a lower bound of the distance. Checking it first avoids
        // comparing a long text letter by letter.
        if longer - shorter > max_distance {
            return None;
        }
        let distance = strsim::osa_distance(&word, &candidate.to_lowercase());
        // For words of one letter, the distance 1 is allowed but means that they have nothing in
        // common.
        (distance <= max_distance && distance < longer).then_some((distance, candidate))
    });
    near.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// Writes the end of a message about an unknown word: the most similar valid word, or a list of the
/// valid words.
pub(crate) fn write_suggestion(
    f: &mut fmt::Formatter<'_>,
    nearest: Option<&str>,
    known: &[impl AsRef<str>],
) -> fmt::Result {
    if let Some(nearest) = nearest {
        return write!(f, "; did you mean {nearest:?}?");
    }
    if known.is_empty() {
        return f.write_str("; the list of known names is empty");
    }
    f.write_str("; expected one of ")?;
    write_known(f, known)
}

/// Writes the message about labels that no event of this name has. `known` are those that there
/// are.
pub(crate) fn write_unknown_labels(
    f: &mut fmt::Formatter<'_>,
    event: &str,
    labels: &str,
    known: &[String],
) -> fmt::Result {
    write!(f, "no event {event:?} has the labels {}; ", Visible::text(labels))?;
    if known.is_empty() {
        return f.write_str("the event has no labels");
    }
    f.write_str("there are ")?;
    write_known(f, known)
}

/// Writes the first of these names, and how many more there are.
fn write_known(f: &mut fmt::Formatter<'_>, known: &[impl AsRef<str>]) -> fmt::Result {
    let listed: Vec<&str> = known.iter().take(MAX_LISTED).map(AsRef::as_ref).collect();
    write_list(f, &listed)?;
    if known.len() > listed.len() {
        write!(f, " and {} more", known.len() - listed.len())?;
    }
    Ok(())
}
