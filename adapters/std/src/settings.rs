//! The settings that are data: what each is, where it came from, and whose word counts.

mod environment;
mod file;
mod problem;
#[cfg(test)]
mod tests;
mod value;

use core::{fmt, time::Duration};
use std::path::PathBuf;

use tailwatch_core::{ConfigError, EventId, EventInfo, Limit, WindowSpec};

pub(crate) use self::environment::Environment;
pub use self::problem::{SettingsError, SettingsProblem};
use self::{
    problem::said_by,
    value::{Raw, Value},
};
use crate::{BuildError, ClockMode, DrainPriority, Sampling, poll_interval::MAX_PERIOD};

/// Where a value came from. Of two, the one that is listed later here counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody said anything.
    #[default]
    Default,
    /// The program, by a method of [`Builder`](crate::Builder).
    Builder,
    /// A line of the configuration file.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// A variable of the environment.
    Environment {
        /// Its name.
        variable: String,
    },
}

impl Origin {
    /// The one precedence: the operator of the machine has the last word.
    const fn rank(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::Builder => 1,
            Self::File { .. } => 2,
            Self::Environment { .. } => 3,
        }
    }

    /// Whether it is the operator who said so, who sees neither the program's text nor its calls.
    const fn is_operator(&self) -> bool {
        matches!(self, Self::File { .. } | Self::Environment { .. })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Builder => f.write_str("builder"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment { variable } => f.write_str(variable),
        }
    }
}

/// A value, and where it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}

impl<T> Setting<T> {
    const fn unless_set(value: T) -> Self {
        Self { value, origin: Origin::Default }
    }

    /// Takes this value, unless what is here came from somebody who counts for more.
    pub(crate) fn offer(&mut self, value: T, origin: Origin) {
        if origin.rank() >= self.origin.rank() {
            *self = Self { value, origin };
        }
    }
}

/// Which clock spans are measured by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClockSetting {
    /// The processor's counter, if it can be trusted, read as [`ClockMode::Ordered`].
    #[default]
    Ordered,
    /// The processor's counter, if it can be trusted, read as [`ClockMode::Relaxed`].
    Relaxed,
    /// The operating system's clock, whatever the processor has.
    Monotonic,
}

impl From<ClockMode> for ClockSetting {
    fn from(mode: ClockMode) -> Self {
        match mode {
            ClockMode::Ordered => Self::Ordered,
            ClockMode::Relaxed => Self::Relaxed,
        }
    }
}

/// Makes [`Settings`], and all that has to know each of them, from one list.
macro_rules! settings {
    ($($(#[$doc:meta])+ $key:ident: $type:ty = $default:expr;)+) => {
        /// The settings of a collector that are data, and where each came from.
        ///
        /// A value comes from one of four places; **environment over file over builder over default**, whatever was said first:
        /// the operator of the machine has the last word. The file is TOML, with the keys named as the fields are here, under
        /// `[tailwatch]`; the variable of a key is `TAILWATCH_` and the key in capitals, such as `TAILWATCH_RING_CAPACITY`.
        ///
        /// ```toml
        /// [tailwatch]
        /// ring_capacity = 131_072
        /// clock = "relaxed"            # "ordered", "relaxed" or "monotonic"
        /// drain_core = 3               # or "none"
        /// drain_priority = "idle"      # "inherited", "normal" or "idle"
        /// max_period = "50ms"
        /// windows = ["1s/10", { length = "5m", slices = 30 }]
        ///
        /// [[sla]]                      # as for `parse_limits`; these take the place of all other limits
        /// event = "order_placement"
        /// quantile = "p95"
        /// limit = "20ms"
        ///
        /// [[sampling]]                 # of one event: `rate`, or `above` and `sample`, or `max_cpu`
        /// event = "event_bus_publish"
        /// rate = 0.1
        /// ```
        ///
        /// In a variable, words and durations stand without quotes, and windows as `1s/10,5m/30`.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub struct Settings {
            $($(#[$doc])+ pub $key: Setting<$type>,)+
            /// The file that others of these came from. It is named by
            /// [`Builder::config_file`](crate::Builder::config_file) or `TAILWATCH_CONFIG`.
            pub config_file: Setting<Option<PathBuf>>,
            /// The limits to watch, of all events; `None` for those declared with the events.
            pub limits: Setting<Option<Vec<(EventId, Limit)>>>,
            /// How events are sampled of which somebody said something.
            pub sampling: Vec<(EventId, Setting<Sampling>)>,
            /// In which line of the file each limit stands.
            limit_lines: Vec<(EventId, usize)>,
        }

        impl Default for Settings {
            fn default() -> Self {
                Self {
                    $($key: Setting::unless_set($default),)+
                    config_file: Setting::default(),
                    limits: Setting::default(),
                    sampling: Vec::new(),
                    limit_lines: Vec::new(),
                }
            }
        }

        /// Every key of `[tailwatch]`.
        pub(crate) const KEYS: &[&str] = &[$(stringify!($key)),+];

        impl Settings {
            /// Reads the value of a key, if there is such a key.
            fn read(&mut self, key: &str, raw: &Raw<'_>, origin: Origin) -> Option<Result<(), SettingsProblem>> {
                match key {
                    $(stringify!($key) => {
                        let read = <$type as Value>::read(stringify!($key), raw);
                        Some(read.map(|value| self.$key.offer(value, origin)))
                    })+
                    _ => None,
                }
            }

            /// Each key with its value, as a variable would have it, and where it came from.
            pub(crate) fn rows(&self) -> Vec<(&'static str, String, &Origin)> {
                vec![$((stringify!($key), self.$key.value.tell(), &self.$key.origin)),+]
            }
        }
    };
}

settings! {
    /// How many records a thread's ring holds.
    ring_capacity: usize = 16_384;
    /// How many threads can record at once.
    rings: usize = 8;
    /// Which clock spans are measured by.
    clock: ClockSetting = ClockSetting::Ordered;
    /// How many of an event's newest samples are kept to tell exact quantiles.
    exact_samples: usize = 512;
    /// The core that the drain's thread is pinned to.
    drain_core: Option<usize> = None;
    /// How urgent the drain's thread is.
    drain_priority: DrainPriority = DrainPriority::Inherited;
    /// Whether there is no drain's thread, and the program calls [`Collector::drain`](crate::Collector::drain).
    manual_drain: bool = false;
    /// Whether the rings are locked in memory.
    mlock: bool = false;
    /// The longest time for which the drain leaves a ring alone.
    max_period: Duration = MAX_PERIOD;
    /// The windows.
    windows: Vec<WindowSpec> = WindowSpec::DEFAULT.to_vec();
    /// Whether recording is on from the start.
    enabled: bool = true;
}

impl Settings {
    /// Takes in what the environment and the configuration file say.
    pub(crate) fn resolve(
        &mut self,
        environment: &Environment,
        events: &[EventInfo],
    ) -> Result<(), SettingsError> {
        self.read_environment(environment)?;
        self.read_config_file(events)?;
        self.check_together()
    }

    /// The program says how an event is sampled.
    pub(crate) fn offer_sampling(&mut self, event: EventId, sampling: Sampling, origin: Origin) {
        if let Some((_, setting)) = self.sampling.iter_mut().find(|(id, _)| *id == event) {
            setting.offer(sampling, origin);
        } else {
            self.sampling.push((event, Setting { value: sampling, origin }));
        }
    }

    /// Refuses a place for a thread that there is not.
    fn check_together(&self) -> Result<(), SettingsError> {
        if !self.manual_drain.value {
            return Ok(());
        }
        let refuse = |key, origin: &Origin| {
            let manual = self.manual_drain.origin.clone();
            Err(SettingsError {
                origin: origin.clone(),
                problem: SettingsProblem::NoDrainThread { key, manual },
            })
        };
        if self.drain_core.value.is_some() {
            return refuse("drain_core", &self.drain_core.origin);
        }
        if self.drain_priority.value != DrainPriority::Inherited {
            return refuse("drain_priority", &self.drain_priority.origin);
        }
        Ok(())
    }

    /// Adds to an error where the value came from that led to it, if that was not the program itself.
    pub(crate) fn blame(&self, error: BuildError) -> BuildError {
        fn of<'s, T>(key: &'static str, setting: &'s Setting<T>) -> (&'static str, &'s Origin) {
            (key, &setting.origin)
        }
        let (key, origin) = match &error {
            BuildError::RingCapacity(_) => of("ring_capacity", &self.ring_capacity),
            BuildError::RingMemory { .. }
                if self.ring_capacity.origin.rank() > self.rings.origin.rank() =>
            {
                of("ring_capacity", &self.ring_capacity)
            }
            BuildError::NoRings | BuildError::RingMemory { .. } => of("rings", &self.rings),
            BuildError::Period { .. } => of("max_period", &self.max_period),
            BuildError::TooManySamples { .. } => of("exact_samples", &self.exact_samples),
            BuildError::NoSuchCore { .. } | BuildError::Pin { .. } => {
                of("drain_core", &self.drain_core)
            }
            BuildError::Priority { .. } => of("drain_priority", &self.drain_priority),
            BuildError::Lock { .. } => of("mlock", &self.mlock),
            BuildError::Config(
                ConfigError::NoWindows
                | ConfigError::EmptyWindow
                | ConfigError::SlicesDoNotDivide { .. }
                | ConfigError::SliceTooShort { .. }
                | ConfigError::DuplicateWindow { .. },
            ) => of("windows", &self.windows),
            BuildError::Limits { event, .. } => {
                let mut origin = self.limits.origin.clone();
                let at = self.limit_lines.iter().find(|(id, _)| id == event);
                if let (Origin::File { line, .. }, Some((_, at))) = (&mut origin, at) {
                    *line = *at;
                }
                return said_by(&origin, "sla", error);
            }
            _ => return error,
        };
        said_by(origin, key, error)
    }
}
