//! The names of the environment variables that contain settings.

use super::KEYS;

/// The beginning of the names of all variables.
pub(super) const PREFIX: &str = "TAILWATCH_";
/// The variable that contains the path of the configuration file.
pub(super) const CONFIG: &str = "TAILWATCH_CONFIG";

/// Returns the names of all variables that tailwatch reads.
pub(super) fn variables() -> impl Iterator<Item = String> {
    [CONFIG.to_owned()].into_iter().chain(KEYS.iter().map(|key| variable(key)))
}

/// Returns the name of the variable for a key, such as `TAILWATCH_RINGS` for `rings`.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase())
}
