//! What takes the place of the configuration file without the feature `toml`.

use super::{
    Settings,
    problem::{SettingsError, SettingsProblem},
    selection::Selectable,
};

impl Settings {
    /// Returns an error if the path of a configuration file is set.
    pub(super) fn read_config_file(&mut self, _: &Selectable<'_>) -> Result<(), SettingsError> {
        if self.config_file.value.is_none() {
            return Ok(());
        }
        let origin = self.config_file.origin.clone();
        Err(SettingsError { origin, problem: SettingsProblem::NoFeatureToml })
    }
}
