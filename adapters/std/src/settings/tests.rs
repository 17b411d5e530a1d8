mod invisible;
mod limits;
mod services;

use std::{ffi::OsString, path::Path};

use proptest::prelude::*;
use tailwatch_core::{Event, Limit, Quantile, Threshold, Trading};

use super::{build_error::BuildError, *};

const MS: Duration = Duration::from_millis(1);

/// A file that sets every key to a value other than its default. `VARIABLES` sets the same values.
const FILE: &str = r#"
[tailwatch]
ring_capacity = 0x400
max_ring_capacity = 65_536
rings = 1_0
max_ring_bytes = 1_048_576
clock = "relaxed"
exact_samples = 0
drain_core = 3
drain_priority = "idle"
manual_drain = true
mlock = true
max_period = "1m 30s"
windows = ["1s/10", { length = "2s", slices = 4 }]
outcomes = "any"
enabled = false
share = "bot"
share_bytes = 1_000_000
share_optional = true
keep_shared = true
keep_crashed = 0
"#;
const VARIABLES: [(&str, &str); 19] = [
    ("RING_CAPACITY", "1024"),
    ("MAX_RING_CAPACITY", "65536"),
    ("RINGS", " 1_0 "),
    ("MAX_RING_BYTES", "0x100000"),
    ("CLOCK", "relaxed"),
    ("EXACT_SAMPLES", "0"),
    ("DRAIN_CORE", "3"),
    ("DRAIN_PRIORITY", "idle"),
    ("MANUAL_DRAIN", "true"),
    ("MLOCK", "true"),
    ("MAX_PERIOD", "90s"),
    ("WINDOWS", "1s/10, 2s/4"),
    ("OUTCOMES", "any"),
    ("ENABLED", "false"),
    ("SHARE", "bot"),
    ("SHARE_BYTES", "1000000"),
    ("SHARE_OPTIONAL", "true"),
    ("KEEP_SHARED", "true"),
    ("KEEP_CRASHED", "0"),
];

/// Returns the events that the files may name.
fn preset() -> Selectable<'static> {
    Selectable::new(Trading::ALL, &[])
}

/// Reads settings from the text of a file.
fn file(text: &str) -> Result<Settings, SettingsError> {
    let mut settings = Settings::default();
    settings.read_config(Path::new("bot.toml"), text.as_bytes(), &preset())?;
    Ok(settings)
}

/// Reads settings from variables, whose names are given without `TAILWATCH_`.
fn variables(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let given = variables
        .iter()
        .map(|(name, value)| (format!("TAILWATCH_{name}").into(), OsString::from(value)));
    let mut settings = Settings::default();
    settings.read_environment(&Environment::Given(given.collect()))?;
    Ok(settings)
}

/// Returns each key with its formatted value.
fn values(settings: &Settings) -> Vec<(&'static str, String)> {
    settings.rows().into_iter().map(|(key, value, _)| (key, value)).collect()
}

/// Returns the error message for a file in which `#!` marks the invalid line. Checks that the
/// message begins with the file's name and this line, and returns the rest.
#[track_caller]
fn file_error(text: &str) -> String {
    let marked = text.split('\n').position(|line| line.contains("#!")).expect("a marked line") + 1;
    let error = file(text).expect_err("the file is invalid");
    assert_eq!(error.origin, Origin::File { path: "bot.toml".into(), line: marked }, "{error}");
    let message = error.to_string();
    message
        .strip_prefix(&format!("bot.toml:{marked}: "))
        .expect("the message begins with file and line")
        .to_owned()
}

/// Returns the error message for an invalid variable. Checks that the message begins with the
/// variable's name, and returns the rest.
#[track_caller]
fn variable_error(name: &str, value: &str) -> String {
    let error = variables(&[(name, value)]).expect_err("the variable is invalid");
    let message = error.to_string();
    message
        .strip_prefix(&format!("TAILWATCH_{name}: "))
        .expect("the message begins with the variable's name")
        .to_owned()
}

#[test]
fn every_key_is_read_from_a_file_and_from_its_variable() {
    let (of_file, of_variables) = (file(FILE).unwrap(), variables(&VARIABLES).unwrap());
    assert_eq!(values(&of_file), values(&of_variables));
    let defaults = Settings::default();
    for (number, ((key, value, origin), (_, default, by_default))) in
        of_file.rows().iter().zip(defaults.rows()).enumerate()
    {
        assert_ne!(*value, default, "{key}: a default value would not show whether it is read");
        assert_eq!(**origin, Origin::File { path: "bot.toml".into(), line: 3 + number }, "{key}");
        assert_eq!(*by_default, Origin::Default);
    }
    for ((key, _, origin), (name, _)) in of_variables.rows().iter().zip(VARIABLES) {
        assert_eq!(key.to_uppercase(), name);
        assert_eq!(origin.to_string(), format!("TAILWATCH_{name}"));
    }
    assert_eq!(
        of_file.windows.value,
        [WindowSpec::SECOND, WindowSpec::new(Duration::from_secs(2), 4)]
    );
    assert_eq!(of_file.max_period.value, Duration::from_secs(90));
    assert_eq!(of_file.drain_core.value, Some(3));
}

#[test]
fn formatted_settings_can_be_read_back_from_variables() {
    for settings in [Settings::default(), file(FILE).unwrap()] {
        let formatted: Vec<_> = settings
            .rows()
            .into_iter()
            .map(|(key, value, _)| (key.to_uppercase(), value))
            .collect();
        let formatted: Vec<_> =
            formatted.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(values(&variables(&formatted).unwrap()), values(&settings));
    }
}

#[test]
fn the_origin_of_higher_precedence_wins_in_either_order() {
    let origins = [
        Origin::Default,
        Origin::Builder,
        Origin::File { path: "bot.toml".into(), line: 2 },
        Origin::Environment { variable: "TAILWATCH_RINGS".into() },
    ];
    for (first, one) in origins.iter().enumerate() {
        for (second, other) in origins.iter().enumerate() {
            let mut setting = Setting::new_default(0);
            setting.offer(first, one.clone());
            setting.offer(second, other.clone());
            let expected = first.max(second);
            assert_eq!(setting, Setting { value: expected, origin: origins[expected].clone() });
        }
    }
    let mut twice = Setting::new_default(0);
    twice.offer(1, Origin::Builder);
    twice.offer(2, Origin::Builder);
    assert_eq!(twice.value, 2, "of two values of the same origin, the later one wins");
}

#[test]
fn an_empty_file_changes_nothing() {
    for text in ["", "\n# nothing\n", "[tailwatch]", "\u{feff}[tailwatch]\n"] {
        assert_eq!(file(text).unwrap(), Settings::default(), "{text:?}");
    }
}

#[test]
fn the_error_for_an_invalid_value_names_a_valid_one() {
    for (line, expected) in [
        ("rings = 'many'", "`rings` is \"many\"; expected a whole number, such as 8"),
        ("rings = -1", "`rings` is -1; expected a whole number, such as 8"),
        ("rings = 8.0", "`rings` is 8.0; expected a whole number, such as 8"),
        (
            "rings = 99999999999999999999",
            "`rings` is 99999999999999999999; expected a whole number, such as 8",
        ),
        ("rings = []", "`rings` is an array; expected a whole number, such as 8"),
        ("clock = 'ordred'", "`clock` is \"ordred\"; did you mean \"ordered\"?"),
        ("clock = 'tsc'", "`clock` is \"tsc\"; expected \"ordered\", \"relaxed\" or \"monotonic\""),
        ("clock = 1", "`clock` is 1; expected \"ordered\", \"relaxed\" or \"monotonic\""),
        ("drain_core = 'non'", "`drain_core` is \"non\"; did you mean \"none\"?"),
        (
            "drain_core = '3'",
            "`drain_core` is \"3\"; expected a whole number, such as 1, or \"none\"",
        ),
        ("drain_priority = 'Idle'", "`drain_priority` is \"Idle\"; did you mean \"idle\"?"),
        ("mlock = 'true'", "`mlock` is \"true\"; expected true or false, without quotes"),
        (
            "max_period = 100",
            "`max_period` is 100; expected a duration in quotes, such as \"100ms\"",
        ),
        (
            "max_period = '100'",
            "`max_period` is \"100\": the unit is missing; write ns, us, ms, s, m or h after the \
             number",
        ),
        (
            "max_period = '100mx'",
            "`max_period` is \"100mx\": unknown unit \"mx\"; did you mean \"ms\"?",
        ),
        (
            "windows = '1s/10'",
            "`windows` is \"1s/10\"; expected a list, such as [\"1s/10\", \"60s/12\"]",
        ),
        ("windows = ['1s']", "`windows` is \"1s\"; expected length/slices, such as \"1s/10\""),
        (
            "windows = ['1s/ten']",
            "`windows` is \"1s/ten\"; expected length/slices, such as \"1s/10\"",
        ),
        (
            "windows = ['1x/10']",
            "`windows` is \"1x\": unknown unit \"x\"; expected one of ns, us, ms, s, m, h",
        ),
        ("windows = [1]", "`windows` is 1; expected length/slices, such as \"1s/10\""),
        ("windows = [{ length = '1s' }]", "missing key `slices` in a window"),
        (
            "windows = [{ length = '1s', slice = 1 }]",
            "unknown key \"slice\" in a window; did you mean \"slices\"?",
        ),
        (
            "windows = [{ length = '1s', slices = 65536 }]",
            "`slices` is 65536; expected a whole number up to 65535, such as 10",
        ),
        (
            "ring_capcity = 8",
            "unknown key \"ring_capcity\" in [tailwatch]; did you mean \"ring_capacity\"?",
        ),
    ] {
        assert_eq!(file_error(&format!("\n[tailwatch]\nenabled = true\n{line} #!\n")), expected);
    }
    let message = file_error("[tailwatch]\nx = 1 #!\nrings = 'many'");
    assert!(
        message.starts_with(
            "unknown key \"x\" in [tailwatch]; expected one of ring_capacity, max_ring_capacity, "
        ),
        "{message}"
    );
}

#[test]
fn keys_outside_of_tables_and_tables_of_the_wrong_kind_are_refused() {
    for (text, expected) in [
        ("rings = 8 #!", "unknown top-level key \"rings\"; this key belongs under [tailwatch]"),
        (
            "colour = 8 #!",
            "unknown top-level key \"colour\"; expected [tailwatch], [[sla]] or [[sampling]]",
        ),
        (
            "[tailwach] #!\nrings = 8",
            "unknown top-level key \"tailwach\"; did you mean [tailwatch]?",
        ),
        ("[[samplin]] #!", "unknown top-level key \"samplin\"; did you mean [[sampling]]?"),
        ("[[tailwatch]] #!", "`tailwatch` has type array; write one [tailwatch] table"),
        ("tailwatch = 5 #!", "`tailwatch` has type integer; write one [tailwatch] table"),
        ("[sampling] #!", "`sampling` has type table; write one [[sampling]] table for each event"),
        (
            "sampling = [5] #!",
            "`sampling` has type integer; write one [[sampling]] table for each event",
        ),
        ("[sla] #!", "`sla` is a single table; write one [[sla]] table for each limit"),
    ] {
        assert_eq!(file_error(text), expected);
    }
    assert!(file_error("[tailwatch]\nrings = #!").starts_with("not valid TOML: "));
}

#[test]
fn the_error_for_an_invalid_variable_names_a_valid_value() {
    for (name, value, expected) in [
        ("RINGS", "many", "`rings` is \"many\"; expected a whole number, such as 8"),
        ("RINGS", "", "`rings` is \"\"; expected a whole number, such as 8"),
        ("RINGS", "8\n[x]", "`rings` is \"8\\n[x]\"; expected a whole number, such as 8"),
        ("CLOCK", "montonic", "`clock` is \"montonic\"; did you mean \"monotonic\"?"),
        ("ENABLED", "flase", "`enabled` is \"flase\"; did you mean \"false\"?"),
        ("ENABLED", "1", "`enabled` is \"1\"; expected true or false"),
        (
            "MAX_PERIOD",
            "1sec.",
            "`max_period` is \"1sec.\": not a duration; write numbers with units, such as \"20ms\"",
        ),
        ("WINDOWS", "1s/10,", "`windows` is \"\"; expected length/slices, such as \"1s/10\""),
        (
            "CONFIG",
            "",
            "`config_file` is \"\"; expected the path of a file; without a file, unset the \
             variable",
        ),
        ("RING_CAPCITY", "8", "unknown variable; did you mean TAILWATCH_RING_CAPACITY?"),
        ("CONFG", "8", "unknown variable; did you mean TAILWATCH_CONFIG?"),
        ("rings", "8", "unknown variable; did you mean TAILWATCH_RINGS?"),
    ] {
        assert_eq!(variable_error(name, value), expected);
    }
    let message = variable_error("COLOUR", "red");
    let expected = "unknown variable; expected one of TAILWATCH_CONFIG, TAILWATCH_RING_CAPACITY, ";
    assert!(message.starts_with(expected), "{message}");
    assert_eq!(variables(&[]).unwrap(), Settings::default());
    let mut settings = Settings::default();
    let others = [("TAILWATCH".into(), "x".into()), ("MY_TAILWATCH_RINGS".into(), "x".into())];
    settings.read_environment(&Environment::Given(others.to_vec())).unwrap();
    assert_eq!(settings, Settings::default(), "variables of other programs are ignored");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_unicode_is_refused_unless_it_is_a_path() {
    use std::os::unix::ffi::OsStringExt;

    let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let refused = |name: &[u8], value: &[u8]| {
        let given = vec![(bytes(name), bytes(value))];
        Settings::default().read_environment(&Environment::Given(given)).unwrap_err().to_string()
    };
    assert_eq!(
        refused(b"TAILWATCH_RINGS", b"8\xff"),
        "TAILWATCH_RINGS: the value \"8\u{fffd}\" is not valid Unicode"
    );
    assert!(refused(b"TAILWATCH_RING\xff", b"8").contains("did you mean TAILWATCH_RINGS?"));
    let path = vec![(bytes(b"TAILWATCH_CONFIG"), bytes(b"\xff.toml"))];
    let mut settings = Settings::default();
    settings.read_environment(&Environment::Given(path)).expect("a path need not be Unicode");
    assert_eq!(settings.config_file.value.unwrap().into_os_string(), bytes(b"\xff.toml"));
}

#[test]
fn the_error_for_a_file_that_is_not_unicode_names_the_line() {
    let mut settings = Settings::default();
    let error = settings
        .read_config(Path::new("bot.toml"), b"[tailwatch]\n# \xff\n", &preset())
        .unwrap_err();
    let expected = "bot.toml:2: this line is not valid UTF-8; save the file as UTF-8";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn an_unknown_event_of_a_limit_is_refused() {
    let expected = "unknown event \"order_placment\"; did you mean \"order_placement\"?";
    assert_eq!(file_error("[[sla]]\nevent = 'order_placment' #!"), expected);
}

#[test]
fn empty_lists_of_tables_change_nothing_and_an_empty_list_of_windows_is_refused() {
    for text in ["sla = []", "sampling = []", "sla = []\nsampling = []\ntailwatch = {}"] {
        assert_eq!(file(text).unwrap(), Settings::default(), "{text}");
        let mut settings = Settings::default();
        let limit = Limit::Quantile(Threshold::duration(Quantile::P99, MS));
        settings.override_limits_by_builder(&vec![(Trading::OrderFill.id(), limit)].into());
        settings.offer_sampling(Trading::GcPause.id(), Sampling::Rate(0.5), Origin::Builder);
        let before = settings.clone();
        settings.read_config(Path::new("bot.toml"), text.as_bytes(), &preset()).unwrap();
        assert_eq!(settings, before, "{text}");
    }
    let builder = crate::Collector::builder().ignore_environment();
    let path = std::env::temp_dir().join(format!("tailwatch-windows-{}", std::process::id()));
    std::fs::write(&path, "[tailwatch]\nwindows = []\n").unwrap();
    let error = builder.config_file(&path).start().unwrap_err().to_string();
    std::fs::remove_file(&path).unwrap();
    assert!(error.contains(":2: `windows`: no windows"), "{error}");
}

#[test]
fn sampling_of_the_file_replaces_that_of_the_program_for_the_same_event() {
    let mut settings = Settings::default();
    for event in [Trading::OrderFill, Trading::GcPause] {
        settings.offer_sampling(event.id(), Sampling::Rate(0.5), Origin::Builder);
    }
    let text = "
        [[sampling]]
        event = 'order_fill'
        above = 1_000
        sample = 0.1
        [[sampling]]
        event = 'order_placement'
        rate = 1
        [[sampling]]
        event = 'event_bus_publish'
        max_cpu = 1e-2
    ";
    settings.read_config(Path::new("bot.toml"), text.as_bytes(), &preset()).unwrap();
    let sampling: Vec<_> = settings
        .sampling
        .iter()
        .map(|(id, setting)| (*id, setting.value, setting.origin.to_string()))
        .collect();
    assert_eq!(
        sampling,
        [
            (
                Trading::OrderFill.id(),
                Sampling::RateLimit { above: 1_000.0, sample: 0.1 },
                "bot.toml:2".to_owned()
            ),
            (Trading::GcPause.id(), Sampling::Rate(0.5), "builder".to_owned()),
            (Trading::OrderPlacement.id(), Sampling::Rate(1.0), "bot.toml:6".to_owned()),
            (
                Trading::EventBusPublish.id(),
                Sampling::Budget { max_cpu: 0.01 },
                "bot.toml:9".to_owned()
            ),
        ]
    );
}

#[test]
fn the_error_for_an_invalid_sampling_names_a_valid_one() {
    const FILL: &str = "event = 'order_fill'\n";
    for (text, expected) in [
        ("[[sampling]] #!\nrate = 1", "missing key `event` in [[sampling]]"),
        ("[[sampling]]\nevent = 1 #!", "`event` is 1; expected the name of an event, in quotes"),
        (
            "[[sampling]]\nevent = 'order_fil' #!",
            "unknown event \"order_fil\"; did you mean \"order_fill\"?",
        ),
        (
            &format!("[[sampling]] #!\n{FILL}"),
            "this [[sampling]] sets no sampling; write `rate`, or `above` and `sample`, or \
             `max_cpu`",
        ),
        (&format!("[[sampling]] #!\n{FILL}above = 5"), "missing key `sample` in [[sampling]]"),
        (&format!("[[sampling]] #!\n{FILL}sample = 5"), "missing key `above` in [[sampling]]"),
        (
            &format!("[[sampling]] #!\n{FILL}sample = 5\nrate = 1"),
            "`sample` cannot be combined with `rate`; remove one of them",
        ),
        (
            &format!("[[sampling]] #!\n{FILL}above = 5\nsample = 1\nmax_cpu = 1"),
            "`max_cpu` cannot be combined with `above`; remove one of them",
        ),
        (
            &format!("[[sampling]]\n{FILL}rate = '1' #!"),
            "`rate` is \"1\"; expected a number, such as 0.1",
        ),
        (
            &format!("[[sampling]]\n{FILL}rat = 1 #!"),
            "unknown key \"rat\" in [[sampling]]; did you mean \"rate\"?",
        ),
        (
            &format!("[[sampling]]\n{FILL}rate = 1\n[[sampling]] #!\n{FILL}rate = 1"),
            "the sampling of this event is already set in line 1; remove one of the two",
        ),
        (
            &format!("[[sampling]] #!\n{FILL}max_cpu = 0"),
            "`sampling`: the budget is 0; expected a finite number above 0, such as 0.01 for 1 % \
             of a core",
        ),
    ] {
        assert_eq!(file_error(text), expected);
    }
    for rate in ["0", "nan", "inf", "-0.5", "1.5"] {
        let message = file_error(&format!("[[sampling]] #!\n{FILL}rate = {rate}"));
        assert!(message.starts_with("`sampling`: the sampling rate is "), "{message}");
    }
}

#[test]
fn a_core_or_priority_for_a_drain_thread_that_is_off_is_refused() {
    for (key, value) in [("drain_core", "0"), ("drain_priority", "'idle'")] {
        let mut settings = file(&format!("[tailwatch]\n{key} = {value}")).unwrap();
        settings.check_drain_thread().unwrap();
        settings.manual_drain.offer(true, Origin::Builder);
        let expected = format!(
            "bot.toml:2: `{key}` needs a drain thread, but `manual_drain` (builder) turns it off; \
             remove one of the two"
        );
        assert_eq!(settings.check_drain_thread().unwrap_err().to_string(), expected);
    }
}

#[test]
fn an_error_names_the_origin_of_its_setting_unless_that_is_the_program() {
    let settings = file("[tailwatch]\nrings = 0\n").unwrap();
    let of_file = settings.add_origin(BuildError::NoRings);
    let expected = format!("bot.toml:2: `rings`: {}", BuildError::NoRings);
    assert_eq!(of_file.to_string(), expected);
    let of_default = settings.add_origin(BuildError::TooManySamples { samples: 1 << 30 });
    assert!(matches!(of_default, BuildError::TooManySamples { .. }), "{of_default:?}");
    let of_program = Settings::default().add_origin(BuildError::NoRings);
    assert!(matches!(of_program, BuildError::NoRings));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Settings::default().read_config(Path::new("x"), &bytes, &preset());
    }

    #[test]
    fn no_value_of_any_key_panics(
        key in prop::sample::select(KEYS.to_vec()),
        value in prop_oneof![
            "\\PC{0,20}",
            "\"[0-9a-zµ/ .,_+-]{0,20}\"",
            "\\[(\"[0-9]{0,22}[a-z]{0,3}/[0-9]{0,8}\",?){0,3}\\]",
            "[0-9_xbo.e+-]{0,24}",
        ],
        table in prop::sample::select(vec![
            "[tailwatch]",
            "[[sampling]]\nevent = 'order_fill'",
            "[[sla]]",
        ]),
    ) {
        let _ = file(&format!("{table}\n{key} = {value}\n"));
        let _ = file(&format!("{table}\nrate = {value}\n"));
        let _ = file(&format!("{table}\nrate = 1\nlabels = {value}\n"));
        let _ = file(&format!("{table}\nrate = 1\nlabels.{key} = {value}\n"));
        let bare = value.trim_matches('"');
        if let Ok(settings) = variables(&[(&key.to_uppercase(), bare)]) {
            // The value that was read can also be formatted.
            let is_set =
                |row: &(&str, String, &Origin)| row.0 == key && *row.2 != Origin::Default;
            prop_assert!(settings.rows().iter().any(is_set));
        }
    }

    #[test]
    fn no_variable_panics(name in "\\PC{0,12}", value in "\\PC{0,12}") {
        let _ = variables(&[(&name, &value)]);
    }
}
