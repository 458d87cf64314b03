//! Scenarios as data: a cluster, policies, changes of them, and probes with the verdicts that must hold.
//!
//! One YAML file is one scenario. It runs at three levels: the oracle (reasons are checked here), the ruleset's
//! simulated kernel, and packets between network namespaces; at the last once for each `cni`. Every step's changes
//! are made live, at every level.
//!
//! ```yaml
//! description: one sentence, what must hold and why
//! tags: [anp, story, pass]              # lower-case words
//! cni: [routed, bridged]                # how pods are attached to their node; default [routed]
//! families: [ipv4, ipv6]                # default both
//! nodes:                                # default: node-1 and node-2 without labels
//!   node-1: {labels: {zone: a}}
//! namespaces:
//!   shop: {tier: web}                   # labels; kubernetes.io/metadata.name is added
//! pods:
//!   shop/web: {node: node-1, labels: {app: web}, ports: [{name: http, port: 8080, protocol: TCP}]}
//!   shop/agent: {node: node-1, hostNetwork: true}
//!   shop/old: {node: node-2, addresses: [10.244.2.99]}
//! services:                             # one backend each, DNAT on every node
//!   db: {backend: shop/db, protocol: TCP, port: 80, target: 8080}
//! apply:                                # policies at the start, as whole Kubernetes objects
//!   - {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: x}, spec: {podSelector: {}}}
//! steps:
//!   - say: what this step shows
//!     namespaces: {shop: {tier: db}}    # replaces labels; null deletes
//!     pods: {shop/web: {labels: {app: x}}, shop/old: null}   # replaces the given fields, creates; null deletes
//!     apply: []                         # creates or replaces
//!     delete: [NetworkPolicy/shop/x]    # Kind/name or Kind/namespace/name
//!     probes:
//!       - shop/web -> shop/db tcp/8080: deny by AdminNetworkPolicy/x egress[0]
//!       - shop/web -> svc:db tcp/80 v4: allow
//!       - world -> shop/web tcp/80 tos-sweep: deny by isolation ingress NetworkPolicy/shop/x
//! ```
//!
//! Ends: `NAMESPACE/POD`, `node:NAME` (its own stack), `gateway` (the source pod's own node by the gateway's
//! address), `world` (a host outside), `svc:NAME`. Traffic: `tcp/N`, `udp/N`, `sctp/N`, `icmp`; `v4` or `v6` limits it to a
//! family, `tos-sweep` repeats it with every TOS value. The reason is the text of the oracle's; for a denial it must
//! be that of the first side that denies (egress before ingress), for an allowed probe that of either side. A name
//! such as `y` or `no` is a boolean in YAML: quote it.
//!
//! Addresses follow from names, the nodes of the scenario counted from 1 in name order:
//!
//! | what | IPv4 | IPv6 |
//! |---|---|---|
//! | node i | `172.18.0.(10+i)` | `fd00:18::(10+i)` |
//! | its gateway | `10.244.i.1` | `fd00:244:i::1` |
//! | its pods, in name order | `10.244.i.10` upwards | `fd00:244:i::10` upwards |
//! | service n | `10.96.0.(10+n)` | `fd00:96::(10+n)` |
//! | the world | `192.0.2.10` | `2001:db8:2::10` |
//!
//! A pod keeps its addresses over steps, and a number is not given out twice.

pub mod format;
pub mod policy;
pub mod port;
pub mod probe;
pub mod route;
pub mod state;
#[cfg(test)]
mod tests;

pub use format::{Cni, Scenario, Step};
pub use probe::{End, Probe, Traffic};
pub use route::{Place, Route};
pub use state::State;
