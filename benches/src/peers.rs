//! What users would otherwise take for the same job, each used by its own best practice. Compiled
//! with the feature `peers`.

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

/// The crates that the peers come from.
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

/// An alternative that tailwatch is compared with.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// The form of tailwatch's spans that is used like it, if the peer does the same job.
    pub(crate) like: Option<&'static str>,
    /// The clock mode of tailwatch that its clock corresponds to: `Ordered` if it waits for the
    /// measured work.
    pub(crate) mode: ClockMode,
    /// Called before each turn, untimed: the work that users do now and then outside the hot path.
    pub(crate) upkeep: Box<dyn FnMut()>,
    /// Measures an empty body the given number of times.
    pub(crate) work: Box<dyn FnMut(u32)>,
}

/// The peers that take part, and a text about each one that does not, with the reason.
#[derive(Default)]
pub(crate) struct Peers {
    pub(crate) present: Vec<Peer>,
    pub(crate) left_out: Vec<String>,
}

#[cfg(feature = "peers")]
impl Peers {
    /// Adds a peer without upkeep.
    fn add(
        &mut self,
        name: &'static str,
        like: Option<&'static str>,
        mode: ClockMode,
        work: impl FnMut(u32) + 'static,
    ) {
        self.add_with_upkeep(name, like, mode, || (), work);
    }

    /// Adds a peer with upkeep.
    fn add_with_upkeep(
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

/// Returns all peers, for turns of at most `times` spans.
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

/// Returns no peers.
#[cfg(not(feature = "peers"))]
pub(crate) fn all(_times: u32) -> Peers {
    Peers {
        present: Vec::new(),
        left_out: vec!["all peers: they need `--features peers`".to_owned()],
    }
}
