//! Characters in files and variables that nobody sees.

use super::*;
use crate::settings::limits_toml::parse_limits;

/// Returns the message of an error, in which no character may be invisible.
fn visible(error: &SettingsError) -> String {
    let message = error.to_string();
    let is_visible =
        |c: char| c == ' ' || matches!(c, '"' | '\\' | '\'') || c.escape_debug().len() == 1;
    assert!(message.chars().all(is_visible), "{message:?}");
    message
}

#[test]
fn a_path_that_ends_in_white_space_is_named_with_it() {
    for (end, shown) in [
        ("\r", "no such file.toml\\r\" (ends in a carriage return) cannot be read: "),
        (" ", "no such file.toml \" (ends in a space) cannot be read: "),
        ("\n", "no such file.toml\\n\" (ends in a line feed) cannot be read: "),
        ("\u{200b}", "no such file.toml\\u{200b}\" cannot be read: "),
    ] {
        let mut settings = variables(&[("CONFIG", &format!("no such file.toml{end}"))]).unwrap();
        let message = visible(&settings.read_config_file(&preset()).unwrap_err());
        assert!(message.starts_with("TAILWATCH_CONFIG: the configuration file \""), "{message}");
        assert!(message.contains(shown), "{message}");
    }
}

#[test]
fn every_error_shows_the_invisible_characters_of_its_value() {
    // A right-to-left override, a zero-width space, a line feed and an escape sequence.
    for odd in ["\u{202e}", "\u{200b}", "\\nx", "\\u001b"] {
        for line in [
            format!("\"tailwatch{odd}\" = 1"),
            format!("[tailwatch]\n\"rings{odd}\" = 1"),
            format!("[tailwatch]\nrings = \"8{odd}\""),
            format!("[tailwatch]\nclock = \"ordered{odd}\""),
            format!("[tailwatch]\nmax_period = \"5ms{odd}\""),
            format!("[tailwatch]\nwindows = [\"1s/10{odd}\"]"),
            format!("[tailwatch]\nwindows = [\"1s{odd}/10\"]"),
            format!("[tailwatch]\nwindows = [{{ \"length{odd}\" = 1 }}]"),
            format!("[[sampling]]\nevent = \"order_fill{odd}\""),
            format!("[[sampling]]\n\"event{odd}\" = 1"),
            format!("[[sla]]\nevent = \"order_fill{odd}\""),
            format!("[[sla]]\n\"event{odd}\" = 1"),
            format!("[[sla]]\nevent = 'order_fill'\nquantile = \"p99{odd}\"\nlimit = '1s'"),
            format!("[[sla]]\nevent = 'order_fill'\nquantile = 'p99'\nlimit = \"1s{odd}\""),
            format!("[[sla]]\nevent = 'queue_backlog'\nquantile = 'p99'\nlimit = \"1{odd}\""),
            format!("[[sla]]\nevent = 'order_fill'\nmax_silence = \"1s{odd}\""),
            format!("[tailwatch]\nrings = 8{odd}"),
            format!("[tailwatch]\nrings{odd} = 8"),
            format!("\"a{odd}\" = 1\n\"a{odd}\" = 1"),
        ] {
            visible(&file(&line).expect_err(&line));
        }
    }
    for odd in ["\u{202e}", "\u{200b}", "\nx", "\u{1b}[31m"] {
        for name in ["RINGS", "CLOCK", "MAX_PERIOD", "WINDOWS", "ENABLED", "DRAIN_CORE"] {
            visible(&variables(&[(name, &format!("1{odd}"))]).unwrap_err());
        }
        visible(&variables(&[(&format!("RINGS{odd}"), "8")]).unwrap_err());
    }
    let error = variables(&[("RINGS\r", "8")]).unwrap_err();
    assert!(visible(&error).starts_with("\"TAILWATCH_RINGS\\r\" (ends in a carriage return): "));
    let origin = Origin::File { path: "bot.toml\r".into(), line: 3 };
    assert_eq!(origin.to_string(), "\"bot.toml\\r\" (ends in a carriage return):3");
}

#[test]
fn carriage_returns_at_the_ends_of_lines_and_values_are_no_part_of_them() {
    let with_carriage_returns = FILE.replace('\n', "\r\n");
    assert_eq!(values(&file(&with_carriage_returns).unwrap()), values(&file(FILE).unwrap()));
    let ended: Vec<_> =
        VARIABLES.iter().map(|(name, value)| (*name, format!("{value}\r\n"))).collect();
    let ended: Vec<_> = ended.iter().map(|(name, value)| (*name, &**value)).collect();
    assert_eq!(values(&variables(&ended).unwrap()), values(&variables(&VARIABLES).unwrap()));
    let with_mark = format!("\u{feff}{FILE}");
    assert_eq!(values(&file(&with_mark).unwrap()), values(&file(FILE).unwrap()));
    let limits = "[[sla]]\nevent = 'order_fill'\nmax_silence = '1s'\n";
    assert_eq!(
        parse_limits(&limits.replace('\n', "\r\n"), Trading::ALL),
        parse_limits(limits, Trading::ALL)
    );
    let error = file(&"[tailwatch]\n\nrings = 'x'\n".replace('\n', "\r\n")).unwrap_err();
    assert_eq!(error.origin, Origin::File { path: "bot.toml".into(), line: 3 });
}
