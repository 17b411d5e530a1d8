//! What users would otherwise take for the same job, each by its own best practice; compiled with the feature `peers`.

#[cfg(feature = "peers")]
mod counters;
#[cfg(feature = "peers")]
mod metrics;
#[cfg(feature = "peers")]
mod profilers;
#[cfg(feature = "peers")]
mod queues;
#[cfg(feature = "peers")]
mod tracers;

use tailwatch::ClockMode;

/// The crates that they come from.
pub(crate) const CRATES: [&str; 18] = [
    "rtrb",
    "heapless",
    "quanta",
    "hdrhistogram",
    "minstant",
    "histogram",
    "latency",
    "tracy-client",
    "hotpath",
    "prometheus",
    "prometheus-client",
    "metrics",
    "metrics-exporter-prometheus",
    "opentelemetry",
    "opentelemetry_sdk",
    "fastrace",
    "tracing",
    "tracing-subscriber",
];

/// Something that is compared with ours.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// Which of our forms is used like it, if it does the same job.
    pub(crate) like: Option<&'static str>,
    /// Whether its clock waits for the work that it measures.
    pub(crate) mode: ClockMode,
    /// Called before each of its turns, untimed: what its users do now and then, elsewhere.
    pub(crate) upkeep: Box<dyn FnMut()>,
    /// Measures an empty body so many times.
    pub(crate) work: Box<dyn FnMut(u32)>,
}

/// The peers that there are, and those that there are not, with the reason.
#[derive(Default)]
pub(crate) struct Peers {
    pub(crate) present: Vec<Peer>,
    pub(crate) left_out: Vec<String>,
}

#[cfg(feature = "peers")]
impl Peers {
    /// Adds one without upkeep.
    fn add(
        &mut self,
        name: &'static str,
        like: Option<&'static str>,
        mode: ClockMode,
        work: impl FnMut(u32) + 'static,
    ) {
        self.add_kept(name, like, mode, || (), work);
    }

    /// Adds one with upkeep.
    fn add_kept(
        &mut self,
        name: &'static str,
        like: Option<&'static str>,
        mode: ClockMode,
        upkeep: impl FnMut() + 'static,
        work: impl FnMut(u32) + 'static,
    ) {
        self.present.push(Peer {
            name,
            like,
            mode,
            upkeep: Box::new(upkeep),
            work: Box::new(work),
        });
    }
}

/// All of them, for turns of at most `times` times.
#[cfg(feature = "peers")]
pub(crate) fn all(times: u32) -> Peers {
    let mut peers = Peers::default();
    queues::add(&mut peers, times);
    counters::add(&mut peers);
    metrics::add(&mut peers);
    profilers::add(&mut peers);
    tracers::add(&mut peers);
    peers
}

/// None of them.
#[cfg(not(feature = "peers"))]
pub(crate) fn all(_times: u32) -> Peers {
    Peers {
        present: Vec::new(),
        left_out: vec!["all peers: compile them by `--features peers`".to_owned()],
    }
}
