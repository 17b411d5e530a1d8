//! Recognises the environment variables that Kubernetes and Docker derive from the names of
//! services.
//!
//! If a service or a linked container is named `tailwatch`, or its name begins with `tailwatch-`,
//! the names of its variables begin with `TAILWATCH_`, like those of settings.

use std::ffi::OsStr;

/// The protocols of ports. In variables that are derived from names, they are in capitals.
const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// What follows the protocol in the name of a variable about one port. With an empty end, the
/// variable is the address of the port as a URL. The ends with `START` and `END` belong to a range
/// of ports.
const PORT_ENDS: [&str; 8] =
    ["", "PROTO", "PORT", "ADDR", "START", "END", "PORT_START", "PORT_END"];

/// Returns whether a variable was derived from the name of a service. `name` is the name of the
/// variable after `TAILWATCH_`.
///
/// Most of these names are like no setting. Only `…_PORT` and `…_NAME` might be misspelt settings,
/// so their values decide: a URL such as `tcp://10.0.0.1:80`, and the path of a container, such as
/// `/web/db`.
pub(super) fn is_service_link(name: &str, value: &OsStr) -> bool {
    let words: Vec<&str> = name.split('_').collect();
    // The name of the service may go on in the first words: `METRICS_PORT` for `tailwatch-metrics`.
    (0..words.len()).any(|at| match words[at..] {
        ["SERVICE", "HOST" | "PORT"] | ["SERVICE", "PORT", _, ..] | ["ENV", _, ..] => true,
        ["PORT", number, protocol, ref end @ ..] => {
            number.parse::<u16>().is_ok()
                && PROTOCOLS.contains(&protocol)
                && PORT_ENDS.contains(&end.join("_").as_str())
        }
        ["PORT"] => is_address(value),
        ["NAME"] => value.as_encoded_bytes().starts_with(b"/"),
        _ => false,
    })
}

/// Returns whether a value is the address of a port, such as `tcp://10.0.0.1:80`.
fn is_address(value: &OsStr) -> bool {
    let scheme = value.to_str().and_then(|value| value.split_once("://")).map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| PROTOCOLS.iter().any(|known| known.eq_ignore_ascii_case(scheme)))
}

#[cfg(test)]
mod tests {
    use super::{
        super::variables::{PREFIX, variables},
        *,
    };

    #[test]
    fn no_setting_is_taken_for_a_variable_of_a_service() {
        for variable in variables() {
            let name = variable.strip_prefix(PREFIX).unwrap();
            for value in ["tcp://10.0.0.1:80", "/web/tailwatch", "8"] {
                assert!(!is_service_link(name, OsStr::new(value)), "{name}");
            }
        }
    }
}
