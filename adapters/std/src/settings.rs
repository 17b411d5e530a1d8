//! Settings that can come from the program, a configuration file or the environment.
//!
//! Each [`Setting`] keeps its [`Origin`], and the origin with the higher precedence wins.

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
    problem::with_origin,
    value::{Raw, Value},
};
use crate::{BuildError, ClockMode, DrainPriority, Sampling, poll_interval::DEFAULT_MAX_PERIOD};

/// Where a setting's value came from.
///
/// The variants are listed by ascending precedence: a value from a later variant replaces one from
/// an earlier variant, whichever was set first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The setting was not set, so its default applies.
    #[default]
    Default,
    /// A method of [`Builder`](crate::Builder).
    Builder,
    /// A line of the configuration file.
    File {
        /// The file's path, as it was given.
        path: PathBuf,
        /// The line number, counted from 1.
        line: usize,
    },
    /// An environment variable.
    Environment {
        /// The variable's name.
        variable: String,
    },
}

impl Origin {
    /// Returns the precedence. The operator of the machine overrides the program, so the file and
    /// the environment rank highest.
    const fn precedence(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::Builder => 1,
            Self::File { .. } => 2,
            Self::Environment { .. } => 3,
        }
    }

    /// Returns whether the operator of the machine set the value. An operator does not see the
    /// program's calls, so an error has to name the origin.
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

/// The value of a setting together with its origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where the value came from.
    pub origin: Origin,
}

impl<T> Setting<T> {
    const fn new_default(value: T) -> Self {
        Self { value, origin: Origin::Default }
    }

    /// Replaces the value, unless the present one comes from an origin of higher precedence.
    pub(crate) fn offer(&mut self, value: T, origin: Origin) {
        if origin.precedence() >= self.origin.precedence() {
            *self = Self { value, origin };
        }
    }
}

/// The clock that measures spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClockSetting {
    /// The processor's counter, read as [`ClockMode::Ordered`]. If the counter is not reliable, the
    /// operating system's clock.
    #[default]
    Ordered,
    /// The processor's counter, read as [`ClockMode::Relaxed`]. If the counter is not reliable, the
    /// operating system's clock.
    Relaxed,
    /// The operating system's monotonic clock, even if the processor's counter is reliable.
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

/// Generates [`Settings`] and the code that handles every key from one list of keys.
macro_rules! settings {
    ($($(#[$doc:meta])+ $key:ident: $type:ty = $default:expr;)+) => {
        /// The settings of a collector, each with its origin.
        ///
        /// **The environment overrides the file, the file overrides the builder, and the builder
        /// overrides the default.** The order of the calls does not matter. So the operator of the
        /// machine can change every setting without a rebuild.
        ///
        /// The configuration file is TOML. Its keys are named like the fields of this struct and
        /// belong under `[tailwatch]`. The environment variable of a key is `TAILWATCH_` followed
        /// by the key in capitals, such as `TAILWATCH_RING_CAPACITY`.
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
        /// [[sla]]                      # as for `parse_limits`; these replace all other limits
        /// event = "order_placement"
        /// quantile = "p95"
        /// limit = "20ms"
        ///
        /// [[sampling]]                 # one event; `rate`, or `above` and `sample`, or `max_cpu`
        /// event = "event_bus_publish"
        /// rate = 0.1
        /// ```
        ///
        /// In an environment variable, words and durations are written without quotes, and windows
        /// are written as `1s/10,5m/30` (length/slices).
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub struct Settings {
            $($(#[$doc])+ pub $key: Setting<$type>,)+
            /// The path of the configuration file, set by
            /// [`Builder::config_file`](crate::Builder::config_file) or the variable
            /// `TAILWATCH_CONFIG`.
            pub config_file: Setting<Option<PathBuf>>,
            /// The limits of all events. `None` stands for the limits declared with the events.
            pub limits: Setting<Option<Vec<(EventId, Limit)>>>,
            /// How events are sampled. Events that are not listed are recorded in full.
            pub sampling: Vec<(EventId, Setting<Sampling>)>,
            /// The line of the configuration file at which each limit begins.
            limit_lines: Vec<(EventId, usize)>,
        }

        impl Default for Settings {
            fn default() -> Self {
                Self {
                    $($key: Setting::new_default($default),)+
                    config_file: Setting::default(),
                    limits: Setting::default(),
                    sampling: Vec::new(),
                    limit_lines: Vec::new(),
                }
            }
        }

        /// The keys of `[tailwatch]`.
        pub(crate) const KEYS: &[&str] = &[$(stringify!($key)),+];

        impl Settings {
            /// Reads the value of `key`. Returns `None` if there is no such key.
            fn read(
                &mut self,
                key: &str,
                raw: &Raw<'_>,
                origin: Origin,
            ) -> Option<Result<(), SettingsProblem>> {
                match key {
                    $(stringify!($key) => {
                        let read = <$type as Value>::read(stringify!($key), raw);
                        Some(read.map(|value| self.$key.offer(value, origin)))
                    })+
                    _ => None,
                }
            }

            /// Returns each key with its value, formatted as for an environment variable, and its
            /// origin.
            pub(crate) fn rows(&self) -> Vec<(&'static str, String, &Origin)> {
                vec![$((stringify!($key), self.$key.value.to_text(), &self.$key.origin)),+]
            }
        }
    };
}

settings! {
    /// The number of records that a thread's ring holds: a power of two.
    ring_capacity: usize = 16_384;
    /// The number of rings: so many threads can record at the same time.
    rings: usize = 8;
    /// The clock that measures spans.
    clock: ClockSetting = ClockSetting::Ordered;
    /// The number of newest samples kept per event. Quantiles are exact while a window has no more
    /// samples than this.
    exact_samples: usize = 512;
    /// The core that the drain thread is pinned to, as numbered by the operating system.
    drain_core: Option<usize> = None;
    /// The scheduling priority of the drain thread.
    drain_priority: DrainPriority = DrainPriority::Inherited;
    /// Whether the program calls [`Collector::drain`](crate::Collector::drain) itself, instead of a
    /// drain thread.
    manual_drain: bool = false;
    /// Whether the rings are locked in memory, so that their pages are never swapped out.
    mlock: bool = false;
    /// The longest time between two drains of the same ring.
    max_period: Duration = DEFAULT_MAX_PERIOD;
    /// The sliding windows.
    windows: Vec<WindowSpec> = WindowSpec::DEFAULT.to_vec();
    /// Whether recording is on when the collector starts.
    enabled: bool = true;
}

impl Settings {
    /// Applies the environment and then the configuration file.
    ///
    /// The environment comes first because it may name the file.
    pub(crate) fn resolve(
        &mut self,
        environment: &Environment,
        events: &[EventInfo],
    ) -> Result<(), SettingsError> {
        self.read_environment(environment)?;
        self.read_config_file(events)?;
        self.check_drain_thread()
    }

    /// Sets how an event is sampled, unless an origin of higher precedence has set it.
    pub(crate) fn offer_sampling(&mut self, event: EventId, sampling: Sampling, origin: Origin) {
        if let Some((_, setting)) = self.sampling.iter_mut().find(|(id, _)| *id == event) {
            setting.offer(sampling, origin);
        } else {
            self.sampling.push((event, Setting { value: sampling, origin }));
        }
    }

    /// Refuses a core or priority for the drain thread if `manual_drain` turns that thread off.
    fn check_drain_thread(&self) -> Result<(), SettingsError> {
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

    /// Adds the origin of the setting that caused `error`, if the operator set it.
    ///
    /// An error caused by the program's own value is returned as it is.
    pub(crate) fn add_origin(&self, error: BuildError) -> BuildError {
        fn of<'s, T>(key: &'static str, setting: &'s Setting<T>) -> (&'static str, &'s Origin) {
            (key, &setting.origin)
        }
        let (key, origin) = match &error {
            BuildError::RingCapacity(_) => of("ring_capacity", &self.ring_capacity),
            BuildError::RingMemory { .. }
                if self.ring_capacity.origin.precedence() > self.rings.origin.precedence() =>
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
                return with_origin(&origin, "sla", error);
            }
            _ => return error,
        };
        with_origin(origin, key, error)
    }
}
