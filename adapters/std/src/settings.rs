//! Settings that can come from the program, a configuration file or the environment.
//!
//! Each [`Setting`] keeps its [`Origin`]. If several origins set the same setting, the origin with
//! the highest precedence wins.

pub(crate) mod build_error;
pub(crate) mod duration;
pub(crate) mod environment;
#[cfg_attr(not(feature = "toml"), path = "settings/no_file.rs")]
mod file;
#[cfg_attr(
    not(feature = "toml"),
    allow(dead_code, reason = "only a configuration file selects events by labels")
)]
pub(crate) mod later_events;
pub(crate) mod limit_overrides;
pub(crate) mod limits_in_force;
#[cfg(feature = "toml")]
pub(crate) mod limits_toml;
pub(crate) mod problem;
#[cfg_attr(
    not(feature = "toml"),
    allow(dead_code, reason = "only a configuration file selects events by labels")
)]
pub(crate) mod selection;
mod service_links;
mod suggestion;
#[cfg(all(test, feature = "toml"))]
mod tests;
mod value;
mod variables;
pub(crate) mod visible;

use core::{fmt, time::Duration};
use std::{path::PathBuf, sync::Arc};

use tailwatch_core::{CoveredOutcomes, EventId, Limit, WindowSpec};

use self::{
    environment::Environment,
    later_events::LaterEvents,
    limits_in_force::ReplacedLimit,
    problem::{SettingsError, SettingsProblem},
    selection::Selectable,
    value::{Raw, Value},
    visible::Visible,
};
use crate::{
    clock::ClockMode,
    drain::{poll_interval::DEFAULT_MAX_PERIOD, sampling::Sampling},
    own_thread::placement::DrainPriority,
};

/// The largest value of [`Builder::max_period`](crate::Builder::max_period).
pub(crate) const MAX_PERIOD: Duration = Duration::from_hours(1);

/// The largest value of [`Builder::rings`](crate::Builder::rings). Each pass visits every thread
/// that records.
pub(crate) const MAX_RINGS: usize = 4_096;

/// The default of [`Builder::max_ring_capacity`](crate::Builder::max_ring_capacity): 4 MiB.
const DEFAULT_MAX_RING_CAPACITY: usize = 262_144;

/// The largest value of [`Builder::exact_samples`](crate::Builder::exact_samples). With more
/// samples, selecting the quantiles would take too much of each pass.
pub(crate) const MAX_EXACT_SAMPLES: usize = 65_536;

/// If there can be more events than this, the default of `exact_samples` is
/// [`EXACT_SAMPLES_OF_MANY`].
pub(crate) const MANY_EVENTS: usize = 512;
/// The default of `exact_samples` if there can be more than [`MANY_EVENTS`] events.
pub(crate) const EXACT_SAMPLES_OF_MANY: usize = 128;

/// Where the value of a setting came from.
///
/// The variants are in ascending order of precedence: a value from a later variant replaces a value
/// from an earlier one, whichever was set first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The value is the default, because nothing set it.
    #[default]
    Default,
    /// A method of [`Builder`](crate::Builder) set the value.
    Builder,
    /// A line of the configuration file set the value.
    File {
        /// The path of the file, as the builder or `TAILWATCH_CONFIG` gives it.
        path: PathBuf,
        /// The line number, counted from 1.
        line: usize,
    },
    /// An environment variable set the value.
    Environment {
        /// The name of the variable.
        variable: String,
    },
}

impl Origin {
    /// Returns the precedence, where a larger number wins. The file and the environment rank above
    /// the program, because they are how the operator of the machine overrides it.
    const fn precedence(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::Builder => 1,
            Self::File { .. } => 2,
            Self::Environment { .. } => 3,
        }
    }

    /// Returns whether the operator of the machine set the value. An error about such a value has
    /// to name its origin, because the operator does not see the program's code.
    const fn is_operator(&self) -> bool {
        matches!(self, Self::File { .. } | Self::Environment { .. })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Builder => f.write_str("builder"),
            Self::File { path, line } => write!(f, "{}:{line}", Visible(path)),
            Self::Environment { variable } => Visible::text(variable).fmt(f),
        }
    }
}

/// The value of a setting, together with where the value came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where the value came from.
    pub origin: Origin,
}

impl<T> Setting<T> {
    /// Creates a setting that has its default value.
    const fn new_default(value: T) -> Self {
        Self { value, origin: Origin::Default }
    }

    /// Replaces the value, unless the present value comes from an origin of higher precedence.
    pub(crate) fn offer(&mut self, value: T, origin: Origin) {
        if origin.precedence() >= self.origin.precedence() {
            *self = Self { value, origin };
        }
    }
}

/// The clock that measures spans. The processor's counter is *reliable* if the processor has one
/// that runs at a constant rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClockSetting {
    /// The processor's counter in the mode [`ClockMode::Ordered`], or the operating system's clock
    /// if the counter is not reliable.
    #[default]
    Ordered,
    /// The processor's counter in the mode [`ClockMode::Relaxed`], or the operating system's clock
    /// if the counter is not reliable.
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

/// Generates [`Settings`], and the code that reads and formats each key, from one list of keys with
/// their types and defaults.
macro_rules! settings {
    ($($(#[$doc:meta])+ $key:ident: $type:ty = $default:expr;)+) => {
        /// The settings of a collector, each with where its value came from.
        ///
        /// **The environment overrides the configuration file, the file overrides the builder, and
        /// the builder overrides the default.** The order in which the builder's methods are called
        /// does not matter. Thus the operator of the machine can change a setting without
        /// rebuilding the program.
        ///
        /// The configuration file is TOML. Each field of this struct up to `enabled` is a key of
        /// the table `[tailwatch]`. The tables `[[sla]]` set [`limits`](Self::limits), and the
        /// tables `[[sampling]]` set [`sampling`](Self::sampling). The environment can set the keys
        /// of `[tailwatch]`: the variable is `TAILWATCH_` followed by the key in capitals, such as
        /// `TAILWATCH_RING_CAPACITY`.
        ///
        /// ```toml
        /// [tailwatch]
        /// ring_capacity = 131_072
        /// clock = "relaxed"            # "ordered", "relaxed" or "monotonic"
        /// drain_core = 3               # the number of a core, or "none" for any core
        /// drain_priority = "idle"      # "inherited", "normal" or "idle"
        /// max_period = "50ms"
        /// windows = ["1s/10", { length = "5m", slices = 30 }] # "1s/10" is 1 s in 10 slices
        ///
        /// [[sla]]                      # one limit, which replaces the same limit of the program
        /// event = "order_placement"
        /// quantile = "p95"
        /// limit = "20ms"
        ///
        /// [[sampling]]                 # how an event is sampled
        /// event = "event_bus_publish"
        /// rate = 0.1                   # or `above` and `sample`, or `max_cpu`
        /// ```
        ///
        /// [`parse_limits`](crate::parse_limits) describes the keys of `[[sla]]`, and [`Sampling`]
        /// what the keys of `[[sampling]]` mean. Both kinds of tables may have the key `labels`.
        ///
        /// A limit replaces the same limit of the builder and of the events: the one on the same
        /// quantile over the same window, or the one on silence. All others stay armed, unless the
        /// table has `replace = true`.
        ///
        /// The tables hold for all events of the name that have the labels, also for those made
        /// while the collector runs and have the unit of the limit. An event has to exist, or a
        /// [family](crate::Builder::family) that can make it has to be declared. If two tables
        /// exclude each other for an event that is made later, the first of them holds.
        ///
        /// In an environment variable, words and durations are written without quotes, and windows
        /// as a list of length/slices, such as `1s/10,5m/30`.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub struct Settings {
            $($(#[$doc])+ pub $key: Setting<$type>,)+
            /// The path of the configuration file, set by
            /// [`Builder::config_file`](crate::Builder::config_file) or the variable
            /// `TAILWATCH_CONFIG`.
            pub config_file: Setting<Option<PathBuf>>,
            /// The limits in force of all events that existed at the start. The origin of those
            /// that are declared with the events is [`Origin::Default`].
            pub limits: Vec<(EventId, Setting<Limit>)>,
            /// The limits that these have replaced.
            pub replaced_limits: Vec<ReplacedLimit>,
            /// How each event in this list is sampled. All other events that existed at the start
            /// are recorded in full.
            pub sampling: Vec<(EventId, Setting<Sampling>)>,
            /// What the configuration file sets for events that do not exist yet.
            pub(crate) later_events: Arc<LaterEvents>,
        }

        impl Default for Settings {
            fn default() -> Self {
                Self {
                    $($key: Setting::new_default($default),)+
                    config_file: Setting::default(),
                    limits: Vec::new(),
                    replaced_limits: Vec::new(),
                    sampling: Vec::new(),
                    later_events: Arc::default(),
                }
            }
        }

        /// The keys of `[tailwatch]`.
        pub(crate) const KEYS: &[&str] = &[$(stringify!($key)),+];

        impl Settings {
            /// Reads the value `raw` of `key`, which came from `origin`. Returns `None` if there is
            /// no such key.
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

            /// Returns each key with its value and its origin. The value is formatted as it is
            /// written in an environment variable.
            pub(crate) fn rows(&self) -> Vec<(&'static str, String, &Origin)> {
                vec![$((stringify!($key), self.$key.value.to_text(), &self.$key.origin)),+]
            }
        }
    };
}

settings! {
    /// The number of records that a thread's first ring holds: a power of two from 8.
    ring_capacity: usize = 16_384;
    /// The number of records that the ring of a thread may grow to.
    max_ring_capacity: usize = DEFAULT_MAX_RING_CAPACITY;
    /// The largest number of threads that can record at the same time, each with a ring.
    rings: usize = 1_024;
    /// The bytes that all rings together may take.
    max_ring_bytes: usize = 128 << 20;
    /// The clock that measures spans.
    clock: ClockSetting = ClockSetting::Ordered;
    /// The number of newest samples that are kept per event. Quantiles are exact while a window has
    /// no more samples than this. The default is 128 if there can be more than 512 events.
    exact_samples: usize = 512;
    /// The core to which the drain's thread is pinned, by the operating system's number, or `None`
    /// for any core.
    drain_core: Option<usize> = None;
    /// The scheduling priority of the drain's thread.
    drain_priority: DrainPriority = DrainPriority::Inherited;
    /// Whether the program calls [`Collector::drain`](crate::Collector::drain) itself, and there is
    /// no drain thread.
    manual_drain: bool = false;
    /// Whether the rings are locked in memory, so that their pages are never swapped out.
    mlock: bool = false;
    /// The longest time for which the drain leaves a ring unread.
    max_period: Duration = DEFAULT_MAX_PERIOD;
    /// The sliding windows that statistics cover.
    windows: Vec<WindowSpec> = WindowSpec::DEFAULT.to_vec();
    /// Which spans the summaries of all events cover, by outcome. With `ok`, an event can still
    /// declare [`CoveredOutcomes::Any`].
    outcomes: CoveredOutcomes = CoveredOutcomes::Ok;
    /// Whether recording is on when the collector starts.
    enabled: bool = true;
    /// The name, or a path that ends in one, of the file in which the rings are shared with other
    /// processes. `None` if they are not shared.
    share: Option<String> = None;
    /// The largest size of the shared file, in bytes.
    share_bytes: usize = 32 << 20;
    /// Whether the collector starts without sharing if the rings cannot be shared.
    share_optional: bool = false;
    /// Whether the shared file stays when the collector stops.
    keep_shared: bool = false;
    /// How many files of dead programs of the same name stay when the collector starts.
    keep_crashed: usize = 4;
}

impl Settings {
    /// Applies the environment and then the configuration file. `events` are those that the file
    /// may name.
    ///
    /// The environment comes first, because it may contain the path of the file.
    pub(crate) fn resolve(
        &mut self,
        environment: &Environment,
        events: &Selectable<'_>,
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

    /// Returns an error if a core or a priority is set for the drain's thread, but `manual_drain`
    /// turns that thread off.
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
}
