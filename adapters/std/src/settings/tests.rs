use std::{ffi::OsString, path::Path};

use proptest::prelude::*;
use tailwatch_core::{Event, Limit, LimitError, Quantile, Threshold, Trading};

use super::*;

const MS: Duration = Duration::from_millis(1);

/// Every key in a file, none with its default, and the same as variables have them.
const FILE: &str = r#"
[tailwatch]
ring_capacity = 0x400
rings = 1_0
clock = "relaxed"
exact_samples = 0
drain_core = 3
drain_priority = "idle"
manual_drain = true
mlock = true
max_period = "1m 30s"
windows = ["1s/10", { length = "2s", slices = 4 }]
enabled = false
"#;
const VARIABLES: [(&str, &str); 11] = [
    ("RING_CAPACITY", "1024"),
    ("RINGS", " 1_0 "),
    ("CLOCK", "relaxed"),
    ("EXACT_SAMPLES", "0"),
    ("DRAIN_CORE", "3"),
    ("DRAIN_PRIORITY", "idle"),
    ("MANUAL_DRAIN", "true"),
    ("MLOCK", "true"),
    ("MAX_PERIOD", "90s"),
    ("WINDOWS", "1s/10, 2s/4"),
    ("ENABLED", "false"),
];

fn file(text: &str) -> Result<Settings, SettingsError> {
    let mut settings = Settings::default();
    settings.read_config(Path::new("bot.toml"), text.as_bytes(), Trading::ALL)?;
    Ok(settings)
}

fn variables(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let given = variables
        .iter()
        .map(|(name, value)| (format!("TAILWATCH_{name}").into(), OsString::from(value)));
    let mut settings = Settings::default();
    settings.read_environment(&Environment::Given(given.collect()))?;
    Ok(settings)
}

fn values(settings: &Settings) -> Vec<(&'static str, String)> {
    settings.rows().into_iter().map(|(key, value, _)| (key, value)).collect()
}

/// What is told of a file that is wrong in the line marked by `#!`.
#[track_caller]
fn told(text: &str) -> String {
    let marked = text.split('\n').position(|line| line.contains("#!")).expect("a marked line") + 1;
    let error = file(text).expect_err("a wrong file");
    assert_eq!(error.origin, Origin::File { path: "bot.toml".into(), line: marked }, "{error}");
    let told = error.to_string();
    let told =
        told.strip_prefix(&format!("bot.toml:{marked}: ")).expect("it begins with file and line");
    told.to_owned()
}

#[track_caller]
fn told_of(name: &str, value: &str) -> String {
    let error = variables(&[(name, value)]).expect_err("a wrong variable");
    let told = error.to_string();
    told.strip_prefix(&format!("TAILWATCH_{name}: "))
        .expect("it begins with the variable")
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
        assert_ne!(*value, default, "{key}: the test would not see that it is not read");
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
fn what_is_told_of_a_setting_can_be_said_again() {
    for settings in [Settings::default(), file(FILE).unwrap()] {
        let told: Vec<_> = settings
            .rows()
            .into_iter()
            .map(|(key, value, _)| (key.to_uppercase(), value))
            .collect();
        let told: Vec<_> =
            told.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(values(&variables(&told).unwrap()), values(&settings));
    }
}

#[test]
fn the_word_of_the_operator_counts_whoever_speaks_first() {
    let origins = [
        Origin::Default,
        Origin::Builder,
        Origin::File { path: "bot.toml".into(), line: 2 },
        Origin::Environment { variable: "TAILWATCH_RINGS".into() },
    ];
    for (first, one) in origins.iter().enumerate() {
        for (second, other) in origins.iter().enumerate() {
            let mut setting = Setting::unless_set(0);
            setting.offer(first, one.clone());
            setting.offer(second, other.clone());
            let expected = first.max(second);
            assert_eq!(setting, Setting { value: expected, origin: origins[expected].clone() });
        }
    }
    let mut twice = Setting::unless_set(0);
    twice.offer(1, Origin::Builder);
    twice.offer(2, Origin::Builder);
    assert_eq!(twice.value, 2, "the program may change its mind");
}

#[test]
fn an_empty_file_says_nothing() {
    for text in ["", "\n# nothing\n", "[tailwatch]", "\u{feff}[tailwatch]\n"] {
        assert_eq!(file(text).unwrap(), Settings::default(), "{text:?}");
    }
}

#[test]
fn a_wrong_value_is_told_with_what_is_right() {
    for (line, expected) in [
        ("rings = 'many'", "`rings` of \"many\": write a whole number, such as 8"),
        ("rings = -1", "`rings` of -1: write a whole number, such as 8"),
        ("rings = 8.0", "`rings` of 8.0: write a whole number, such as 8"),
        (
            "rings = 99999999999999999999",
            "`rings` of 99999999999999999999: write a whole number, such as 8",
        ),
        ("rings = []", "`rings` of type array: write a whole number, such as 8"),
        ("clock = 'ordred'", "`clock` of \"ordred\"; did you mean \"ordered\"?"),
        ("clock = 'tsc'", "`clock` of \"tsc\": write \"ordered\", \"relaxed\" or \"monotonic\""),
        ("clock = 1", "`clock` of 1: write \"ordered\", \"relaxed\" or \"monotonic\""),
        ("drain_core = 'non'", "`drain_core` of \"non\"; did you mean \"none\"?"),
        ("drain_core = '3'", "`drain_core` of \"3\": write a whole number, such as 1, or \"none\""),
        ("drain_priority = 'Idle'", "`drain_priority` of \"Idle\"; did you mean \"idle\"?"),
        ("mlock = 'true'", "`mlock` of \"true\": write true or false, without quotes"),
        ("max_period = 100", "`max_period` of 100: write a duration in quotes, such as \"100ms\""),
        (
            "max_period = '100'",
            "`max_period` of \"100\" has no unit: write ns, us, ms, s, m or h after the number",
        ),
        (
            "max_period = '100mx'",
            "`max_period` of \"100mx\" has the unknown unit \"mx\"; did you mean \"ms\"?",
        ),
        (
            "windows = '1s/10'",
            "`windows` of \"1s/10\": write a list, such as [\"1s/10\", \"60s/12\"]",
        ),
        ("windows = ['1s']", "`windows` of \"1s\": write length/slices, such as \"1s/10\""),
        ("windows = ['1s/ten']", "`windows` of \"1s/ten\": write length/slices, such as \"1s/10\""),
        (
            "windows = ['1x/10']",
            "`windows` of \"1x\" has the unknown unit \"x\"; there are ns, us, ms, s, m, h",
        ),
        ("windows = [1]", "`windows` of 1: write length/slices, such as \"1s/10\""),
        ("windows = [{ length = '1s' }]", "this window has no `slices`"),
        (
            "windows = [{ length = '1s', slice = 1 }]",
            "unknown key \"slice\" in window; did you mean \"slices\"?",
        ),
        (
            "windows = [{ length = '1s', slices = 65536 }]",
            "`slices` of 65536: write a whole number up to 65535, such as 10",
        ),
        (
            "ring_capcity = 8",
            "unknown key \"ring_capcity\" in [tailwatch]; did you mean \"ring_capacity\"?",
        ),
    ] {
        assert_eq!(told(&format!("\n[tailwatch]\nenabled = true\n{line} #!\n")), expected);
    }
    let told = told("[tailwatch]\nx = 1 #!\nrings = 'many'");
    assert!(
        told.starts_with("unknown key \"x\" in [tailwatch]; there are ring_capacity, rings, "),
        "{told}"
    );
}

#[test]
fn what_stands_in_no_table_or_another_kind_of_it_is_told() {
    for (text, expected) in [
        ("rings = 8 #!", "unknown key \"rings\": it stands under [tailwatch]"),
        (
            "colour = 8 #!",
            "unknown key \"colour\": all keys stand under [tailwatch], a [[sla]] or a [[sampling]]",
        ),
        ("[tailwach] #!\nrings = 8", "unknown key \"tailwach\"; did you mean [tailwatch]?"),
        ("[[samplin]] #!", "unknown key \"samplin\"; did you mean [[sampling]]?"),
        ("[[tailwatch]] #!", "`tailwatch` is of type array: write [tailwatch], once"),
        ("tailwatch = 5 #!", "`tailwatch` is of type integer: write [tailwatch], once"),
        ("[sampling] #!", "`sampling` is of type table: write [[sampling]], once for each event"),
        (
            "sampling = [5] #!",
            "`sampling` is of type integer: write [[sampling]], once for each event",
        ),
        ("[sla] #!", "`sla` is a single table: write [[sla]], once for each limit"),
    ] {
        assert_eq!(told(text), expected);
    }
    assert!(told("[tailwatch]\nrings = #!").starts_with("not TOML: "));
}

#[test]
fn a_wrong_variable_is_told_with_what_is_right() {
    for (name, value, expected) in [
        ("RINGS", "many", "`rings` of \"many\": write a whole number, such as 8"),
        ("RINGS", "", "`rings` of \"\": write a whole number, such as 8"),
        ("RINGS", "8\n[x]", "`rings` of \"8\\n[x]\": write a whole number, such as 8"),
        ("CLOCK", "montonic", "`clock` of \"montonic\"; did you mean \"monotonic\"?"),
        ("ENABLED", "flase", "`enabled` of \"flase\"; did you mean \"false\"?"),
        ("ENABLED", "1", "`enabled` of \"1\": write true or false"),
        (
            "MAX_PERIOD",
            "1sec.",
            "`max_period` of \"1sec.\" is no duration: write numbers with units, such as \"20ms\"",
        ),
        ("WINDOWS", "1s/10,", "`windows` of \"\": write length/slices, such as \"1s/10\""),
        ("CONFIG", "", "`config_file` of \"\": write the path of a file, or unset the variable"),
        ("RING_CAPCITY", "8", "unknown variable; did you mean TAILWATCH_RING_CAPACITY?"),
        ("CONFG", "8", "unknown variable; did you mean TAILWATCH_CONFIG?"),
        ("rings", "8", "unknown variable; did you mean TAILWATCH_RINGS?"),
    ] {
        assert_eq!(told_of(name, value), expected);
    }
    let told = told_of("COLOUR", "red");
    assert!(
        told.starts_with("unknown variable; there are TAILWATCH_CONFIG, TAILWATCH_RING_CAPACITY, "),
        "{told}"
    );
    assert_eq!(variables(&[]).unwrap(), Settings::default());
    let mut settings = Settings::default();
    let others = [("TAILWATCH".into(), "x".into()), ("MY_TAILWATCH_RINGS".into(), "x".into())];
    settings.read_environment(&Environment::Given(others.to_vec())).unwrap();
    assert_eq!(settings, Settings::default(), "others are left alone");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_unicode_is_told() {
    use std::os::unix::ffi::OsStringExt;

    let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let refused = |name: &[u8], value: &[u8]| {
        let given = vec![(bytes(name), bytes(value))];
        Settings::default().read_environment(&Environment::Given(given)).unwrap_err().to_string()
    };
    assert_eq!(
        refused(b"TAILWATCH_RINGS", b"8\xff"),
        "TAILWATCH_RINGS: \"8\u{fffd}\" is not Unicode"
    );
    assert!(refused(b"TAILWATCH_RING\xff", b"8").contains("did you mean TAILWATCH_RINGS?"));
    let path = vec![(bytes(b"TAILWATCH_CONFIG"), bytes(b"\xff.toml"))];
    let mut settings = Settings::default();
    settings
        .read_environment(&Environment::Given(path))
        .expect("a path is what the operating system takes for one");
    assert_eq!(settings.config_file.value.unwrap().into_os_string(), bytes(b"\xff.toml"));
}

#[test]
fn a_file_that_is_not_unicode_is_told_with_its_line() {
    let mut settings = Settings::default();
    let error = settings
        .read_config(Path::new("bot.toml"), b"[tailwatch]\n# \xff\n", Trading::ALL)
        .unwrap_err();
    assert_eq!(error.to_string(), "bot.toml:2: this line is not Unicode: write the file in UTF-8");
}

#[test]
fn limits_of_a_file_take_the_place_of_others() {
    let mut settings = Settings::default();
    let of_builder = Limit::Quantile(Threshold::duration(Quantile::P99, MS));
    settings.limits.offer(Some(vec![(Trading::OrderFill.id(), of_builder)]), Origin::Builder);
    let text = "[tailwatch]\nrings = 1\n[[sla]]\nevent = 'order_placement'\nquantile = 'p95'\nlimit = '20ms'\n";
    settings.read_config(Path::new("bot.toml"), text.as_bytes(), Trading::ALL).unwrap();
    let limit = Limit::Quantile(Threshold::duration(Quantile::P95, 20 * MS));
    let origin = Origin::File { path: "bot.toml".into(), line: 3 };
    assert_eq!(
        settings.limits,
        Setting { value: Some(vec![(Trading::OrderPlacement.id(), limit)]), origin }
    );

    let expected = "unknown event \"order_placment\"; did you mean \"order_placement\"?";
    assert_eq!(told("[[sla]]\nevent = 'order_placment' #!"), expected);
    assert_eq!(told("sla = [] #!"), "no limits: write at least one [[sla]]");
}

#[test]
fn sampling_of_a_file_counts_for_its_events() {
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
    settings.read_config(Path::new("bot.toml"), text.as_bytes(), Trading::ALL).unwrap();
    let told: Vec<_> = settings
        .sampling
        .iter()
        .map(|(id, setting)| (*id, setting.value, setting.origin.to_string()))
        .collect();
    assert_eq!(
        told,
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
fn wrong_sampling_is_told() {
    const FILL: &str = "event = 'order_fill'\n";
    for (text, expected) in [
        ("[[sampling]] #!\nrate = 1", "this [[sampling]] has no `event`"),
        ("[[sampling]]\nevent = 1 #!", "`event` of 1: write the name of an event, in quotes"),
        (
            "[[sampling]]\nevent = 'order_fil' #!",
            "unknown event \"order_fil\"; did you mean \"order_fill\"?",
        ),
        (
            &format!("[[sampling]] #!\n{FILL}"),
            "this [[sampling]] says nothing: write `rate`, or `above` and `sample`, or `max_cpu`",
        ),
        (&format!("[[sampling]] #!\n{FILL}above = 5"), "this [[sampling]] has no `sample`"),
        (&format!("[[sampling]] #!\n{FILL}sample = 5"), "this [[sampling]] has no `above`"),
        (
            &format!("[[sampling]] #!\n{FILL}sample = 5\nrate = 1"),
            "`sample` beside `rate`: leave one of them out",
        ),
        (
            &format!("[[sampling]] #!\n{FILL}above = 5\nsample = 1\nmax_cpu = 1"),
            "`max_cpu` beside `above`: leave one of them out",
        ),
        (
            &format!("[[sampling]]\n{FILL}rate = '1' #!"),
            "`rate` of \"1\": write a number, such as 0.1",
        ),
        (
            &format!("[[sampling]]\n{FILL}rat = 1 #!"),
            "unknown key \"rat\" in [[sampling]]; did you mean \"rate\"?",
        ),
        (
            &format!("[[sampling]]\n{FILL}rate = 1\n[[sampling]] #!\n{FILL}rate = 1"),
            "the sampling of line 1 once more: leave one of them out",
        ),
        (
            &format!("[[sampling]] #!\n{FILL}max_cpu = 0"),
            "`sampling`: a budget of 0 of a core: it is a number above 0, such as 0.01 for 1 %",
        ),
    ] {
        assert_eq!(told(text), expected);
    }
    for rate in ["0", "nan", "inf", "-0.5", "1.5"] {
        let told = told(&format!("[[sampling]] #!\n{FILL}rate = {rate}"));
        assert!(told.starts_with("`sampling`: a sampling rate of "), "{told}");
    }
}

#[test]
fn a_place_for_a_thread_that_there_is_not_is_refused() {
    for (key, value) in [("drain_core", "0"), ("drain_priority", "'idle'")] {
        let mut settings = file(&format!("[tailwatch]\n{key} = {value}")).unwrap();
        settings.check_together().unwrap();
        settings.manual_drain.offer(true, Origin::Builder);
        let expected = format!(
            "bot.toml:2: `{key}` places the drain's thread, and `manual_drain` (builder) says that there is none: leave one \
             of them out"
        );
        assert_eq!(settings.check_together().unwrap_err().to_string(), expected);
    }
}

#[test]
fn an_error_is_blamed_on_who_led_to_it_and_not_on_the_program() {
    let settings = file("[tailwatch]\nrings = 0\n").unwrap();
    let blamed = settings.blame(BuildError::NoRings);
    assert!(blamed.to_string().starts_with("bot.toml:2: `rings`: 0 rings: "), "{blamed}");
    let not_said = settings.blame(BuildError::TooManySamples { samples: 1 << 30 });
    assert!(matches!(not_said, BuildError::TooManySamples { .. }), "{not_said:?}");
    let of_program = Settings::default().blame(BuildError::NoRings);
    assert!(matches!(of_program, BuildError::NoRings));
}

#[test]
fn a_limit_that_cannot_be_watched_is_told_with_its_line() {
    let text = "[[sla]]\nevent = 'order_fill'\nmax_silence = '1s'\n[[sla]]\nevent = 'order_placement'\nmax_silence = '1s'";
    let refused = |event: Trading| {
        let error = LimitError::Window { window: Duration::from_nanos(1) };
        file(text).unwrap().blame(BuildError::Limits { event: event.id(), error }).to_string()
    };
    assert!(refused(Trading::OrderFill).starts_with("bot.toml:1: `sla`: the limits of event 4: "));
    assert!(
        refused(Trading::OrderPlacement).starts_with("bot.toml:4: `sla`: the limits of event 3: ")
    );
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Settings::default().read_config(Path::new("x"), &bytes, Trading::ALL);
    }

    #[test]
    fn no_value_of_any_key_panics(
        key in prop::sample::select(KEYS.to_vec()),
        value in "\\PC{0,20}|\"[0-9a-zµ/ .,_+-]{0,20}\"|\\[(\"[0-9]{0,22}[a-z]{0,3}/[0-9]{0,8}\",?){0,3}\\]|[0-9_xbo.e+-]{0,24}",
        table in prop::sample::select(vec!["[tailwatch]", "[[sampling]]\nevent = 'order_fill'", "[[sla]]"]),
    ) {
        let _ = file(&format!("{table}\n{key} = {value}\n"));
        let _ = file(&format!("{table}\nrate = {value}\n"));
        let bare = value.trim_matches('"');
        if let Ok(settings) = variables(&[(&key.to_uppercase(), bare)]) {
            // And what was read can be told.
            prop_assert!(settings.rows().iter().any(|(known, _, origin)| *known == key && **origin != Origin::Default));
        }
    }

    #[test]
    fn no_variable_panics(name in "\\PC{0,12}", value in "\\PC{0,12}") {
        let _ = variables(&[(&name, &value)]);
    }
}
