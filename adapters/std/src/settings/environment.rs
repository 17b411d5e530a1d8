//! Reads settings from environment variables.

use std::{env, ffi::OsString, path::PathBuf};

use super::{
    KEYS, Origin, Settings,
    problem::{SettingsError, SettingsProblem},
    service_links::is_service_link,
    suggestion::nearest,
    value::Raw,
    variables::{CONFIG, PREFIX, variable, variables},
};

/// Where environment variables are read from.
#[derive(Clone, Debug, Default)]
pub(crate) enum Environment {
    /// The variables of the process.
    #[default]
    Process,
    /// These names and values, instead of the variables of the process.
    Given(Vec<(OsString, OsString)>),
}

impl Settings {
    /// Applies all variables whose names begin with `TAILWATCH_`. Ignores those that Kubernetes and
    /// Docker derive from the names of services.
    pub(super) fn read_environment(
        &mut self,
        environment: &Environment,
    ) -> Result<(), SettingsError> {
        let mut ours: Vec<(OsString, OsString)> = match environment {
            Environment::Process => env::vars_os().filter(is_ours).collect(),
            Environment::Given(given) => {
                given.iter().filter(|variable| is_ours(variable)).cloned().collect()
            }
        };
        // Sorted, so that always the same error is reported if there are several.
        ours.sort_unstable();
        for (name, value) in ours {
            // If a name is not Unicode, its invalid parts are replaced. No setting has such a name,
            // so the variable is reported as unknown.
            let name = name.to_string_lossy().into_owned();
            let origin = Origin::Environment { variable: name.clone() };
            self.read_variable(&name, value, &origin)
                .map_err(|problem| SettingsError { origin, problem })?;
        }
        Ok(())
    }

    /// Applies one variable.
    fn read_variable(
        &mut self,
        name: &str,
        value: OsString,
        origin: &Origin,
    ) -> Result<(), SettingsProblem> {
        if name == CONFIG {
            if value.is_empty() {
                return Err(Raw::Text("").bad_value(
                    "config_file",
                    "the path of a file; without a file, unset the variable",
                    None,
                ));
            }
            self.config_file.offer(Some(PathBuf::from(value)), origin.clone());
            return Ok(());
        }
        let Some(key) = KEYS.iter().find(|key| variable(key) == name) else {
            if name.strip_prefix(PREFIX).is_some_and(|name| is_service_link(name, &value)) {
                return Ok(());
            }
            let known: Vec<String> = variables().collect();
            // Names are compared without the common prefix, which would make any two of them
            // similar.
            let bare =
                |variable: &'_ str| variable.strip_prefix(PREFIX).unwrap_or_default().to_owned();
            let words: Vec<String> = known.iter().map(|known| bare(known)).collect();
            let nearest = nearest(&bare(name), words.iter().map(String::as_str));
            return Err(SettingsProblem::UnknownVariable {
                nearest: nearest.map(|word| format!("{PREFIX}{word}")),
            });
        };
        let value = value.into_string().map_err(|value| SettingsProblem::NotUnicode {
            text: Some(value.to_string_lossy().into_owned()),
        })?;
        self.read(key, &Raw::Text(value.trim()), origin.clone()).unwrap_or(Ok(()))
    }
}

/// Returns whether the name of a variable begins with `TAILWATCH_`.
fn is_ours((name, _): &(OsString, OsString)) -> bool {
    name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
}
