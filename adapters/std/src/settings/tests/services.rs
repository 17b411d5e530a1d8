//! Variables that are derived from the names of services, beside those of settings.

use super::*;

#[test]
fn variables_that_are_derived_from_names_of_services_are_ignored() {
    let mut of_services = Vec::new();
    for service in ["", "METRICS_", "RING_CAPACITY_", "A_PORT_", "V2_"] {
        let mut add = |name: &str, value: &str| {
            of_services.push((format!("{service}{name}"), value.to_owned()));
        };
        add("SERVICE_HOST", "10.0.0.1");
        add("SERVICE_PORT", "9090");
        add("SERVICE_PORT_HTTP", "9090");
        add("SERVICE_PORT_HTTP_ADMIN", "9091");
        for (protocol, scheme) in [("TCP", "tcp"), ("UDP", "udp"), ("SCTP", "sctp")] {
            add("PORT", &format!("{scheme}://10.0.0.1:9090"));
            add("PORT", &format!("{scheme}://[fd00::1]:9090"));
            add(&format!("PORT_9090_{protocol}"), &format!("{scheme}://10.0.0.1:9090"));
            add(&format!("PORT_9090_{protocol}_PROTO"), scheme);
            add(&format!("PORT_9090_{protocol}_PORT"), "9090");
            add(&format!("PORT_9090_{protocol}_ADDR"), "10.0.0.1");
            // Docker's variables of a range of ports.
            add(&format!("PORT_9090_{protocol}_START"), &format!("{scheme}://10.0.0.1:9090"));
            add(&format!("PORT_9090_{protocol}_END"), &format!("{scheme}://10.0.0.1:9099"));
            add(&format!("PORT_9090_{protocol}_PORT_START"), "9090");
            add(&format!("PORT_9090_{protocol}_PORT_END"), "9099");
        }
        add("NAME", "/web/tailwatch");
        add("ENV_PATH", "/usr/bin");
        add("ENV_GPG_KEY", "0D96");
    }
    for (name, value) in &of_services {
        let read = variables(&[(name, value)]);
        assert_eq!(read.unwrap_or_else(|error| panic!("{error}")), Settings::default(), "{name}");
    }
    // Settings beside them apply, whether they come before or after them in the alphabet.
    let mut all: Vec<(&str, &str)> =
        of_services.iter().map(|(name, value)| (&**name, &**value)).collect();
    all.extend(VARIABLES);
    assert_eq!(values(&variables(&all).unwrap()), values(&variables(&VARIABLES).unwrap()));
}

#[test]
fn a_misspelt_setting_is_not_taken_for_a_variable_of_a_service() {
    for (name, value) in [
        ("PORT", "9090"),
        ("PORT", "http://10.0.0.1:80"),
        ("METRICS_PORT", "9090"),
        ("NAME", "bot"),
        ("CLOCK_NAME", "relaxed"),
        ("PORT_9090", "tcp://10.0.0.1:9090"),
        ("PORT_RINGS_TCP", "8"),
        ("PORT_9090_TCP_RINGS", "8"),
        ("PORT_65536_TCP", "8"),
        ("SERVICE", "8"),
        ("SERVICE_RINGS", "8"),
        ("ENV", "8"),
        ("ENABLD", "true"),
        ("CONFIG_PATH", "/etc/bot.toml"),
    ] {
        assert!(variable_error(name, value).starts_with("unknown variable; "), "{name}={value}");
    }
}
