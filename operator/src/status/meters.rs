//! What is counted of it.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What is counted about status and Events; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Meters {
    /// Writes of a policy's status, by result: `written`, `gone` (no such object any more), `strayed` (another object
    /// of its name has it, and gets its own), `refused` (the API does not take it), `conflict` and `failed` (both tried
    /// again).
    pub writes: Family<[(&'static str, &'static str); 1], Counter>,
    /// Events, by result: `created`, `repeated` (counted up), `known` (was there already), `dropped`, `failed`
    /// (tried again).
    pub events: Family<[(&'static str, &'static str); 1], Counter>,
    /// Policies whose status is out of date and waits to be written.
    pub waiting: Gauge,
    /// Nodes in trouble, by what it is: `late`, `unreachable`, `no_shim`, `refusing`.
    pub troubles: Family<[(&'static str, &'static str); 1], Gauge>,
    /// Policies by condition and status.
    pub policies: Family<[(&'static str, &'static str); 2], Gauge>,
}

impl Meters {
    /// Makes them part of a scrape.
    pub fn register(&self, all: &mut Registry) {
        // Counters begin at 0, not with the first failure.
        for result in ["written", "gone", "strayed", "refused", "conflict", "failed"] {
            drop(self.writes.get_or_create(&[("result", result)]));
        }
        for result in ["created", "repeated", "known", "dropped", "failed"] {
            drop(self.events.get_or_create(&[("result", result)]));
        }
        all.register("status_writes", "Writes of a policy's status, by result", self.writes.clone());
        all.register("status_waiting", "Policies whose status waits to be written", self.waiting.clone());
        all.register("events", "Events, by result", self.events.clone());
        let help = "Nodes in trouble for a while, by what it is; told by the leading operator";
        all.register("node_troubles", help, self.troubles.clone());
        let help = "Policies by condition and status; told by the leading operator";
        all.register("policy_conditions", help, self.policies.clone());
    }

    /// Status writes that ended so.
    pub fn count(&self, result: &'static str) -> u64 {
        self.writes.get_or_create(&[("result", result)]).get()
    }
}
