//! A cluster of network namespaces: nodes, pods, the network between them and a host outside, changed live.
//!
//! `fabric` is the network's router and the nodes' switch; `world` is the outside host; `control` is where the
//! operator runs. Knows nothing of policies.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use palisade_view::Family;

use crate::namespaces::{Arena, Stack};
use crate::scenario::state::{Node, Pod, WORLD};
use crate::scenario::{Cni, Place, State};
use crate::services;
use crate::traffic::{Ports, Sightings, serve};

/// The operator's address on the nodes' network.
pub const CONTROL: &str = "172.18.0.2";

/// What every namespace needs: no waiting for duplicate address detection, sockets bound before their addresses are
/// there, echo requests without privileges.
const COMMON: &[(&str, &str)] = &[
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/router_solicitations", "0"),
    ("ipv4/ip_nonlocal_bind", "1"),
    ("ipv6/ip_nonlocal_bind", "1"),
    ("ipv4/ping_group_range", "0 2147483647"),
    ("ipv4/icmp_ratelimit", "0"),
];

/// What forwards besides.
const FORWARDING: &[(&str, &str)] = &[
    ("ipv4/ip_forward", "1"),
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
];

/// Bridged pods' packets pass the node's packet filter only so.
const BRIDGE_FILTER: &[(&str, &str)] =
    &[("bridge/bridge-nf-call-iptables", "1"), ("bridge/bridge-nf-call-ip6tables", "1")];

/// The switch between the nodes must not filter: it is no node.
const BRIDGE_PLAIN: &[(&str, &str)] =
    &[("?bridge/bridge-nf-call-iptables", "0"), ("?bridge/bridge-nf-call-ip6tables", "0")];

/// A running cluster. Dropped, it is gone.
#[derive(Debug)]
pub struct Cluster {
    cni: Cni,
    ports: Ports,
    sightings: Arc<Sightings>,
    pods: BTreeMap<String, Arc<Stack>>,
    nodes: BTreeMap<String, Arc<Stack>>,
    world: Arc<Stack>,
    control: Arc<Stack>,
    fabric: Arc<Stack>,
    arena: Arena,
    /// Numbers for interface names, which must be short and are never used twice.
    links: u32,
}

impl Cluster {
    /// Builds the namespaces of a cluster and connects them.
    pub async fn build(state: &State, cni: Cni, ports: &Ports) -> Result<Self> {
        let arena = Arena::new().await?;
        let fabric = Arc::new(arena.stack("fabric").await?);
        let world = Arc::new(arena.stack("world").await?);
        let control = Arc::new(arena.stack("control").await?);
        let mut nodes = BTreeMap::new();
        for name in state.nodes.keys() {
            nodes.insert(name.clone(), Arc::new(arena.stack(name).await?));
        }
        let mut cluster = Self {
            cni,
            ports: ports.clone(),
            sightings: Arc::default(),
            pods: BTreeMap::new(),
            nodes,
            world,
            control,
            fabric,
            arena,
            links: 0,
        };
        cluster.connect(state).await.context("building the cluster's network")?;
        cluster.change(None, state).await?;
        Ok(cluster)
    }

    /// The stack of a place.
    pub fn stack(&self, place: &Place) -> Result<&Arc<Stack>> {
        match place {
            Place::Pod(name) => self.pods.get(name).with_context(|| format!("no namespace for pod {name}")),
            Place::Node(name) => self.node(name),
            Place::World => Ok(&self.world),
        }
    }

    /// A node's stack.
    pub fn node(&self, name: &str) -> Result<&Arc<Stack>> {
        self.nodes.get(name).with_context(|| format!("no namespace for node {name}"))
    }

    /// Every node's stack.
    pub fn nodes(&self) -> &BTreeMap<String, Arc<Stack>> {
        &self.nodes
    }

    /// The stack that the operator runs in.
    pub fn control(&self) -> &Arc<Stack> {
        &self.control
    }

    /// Every stack by the name a person would give it.
    pub fn stacks(&self) -> BTreeMap<String, i32> {
        let nodes = self.nodes.iter().map(|(name, stack)| (format!("node:{name}"), stack.tid()));
        let pods = self.pods.iter().map(|(name, stack)| (name.clone(), stack.tid()));
        let others = [("world", &self.world), ("control", &self.control), ("fabric", &self.fabric)];
        nodes.chain(pods).chain(others.map(|(name, stack)| (name.to_owned(), stack.tid()))).collect()
    }

    /// Where SCTP packets that have arrived are noted.
    pub fn sightings(&self) -> &Arc<Sightings> {
        &self.sightings
    }

    async fn connect(&mut self, state: &State) -> Result<()> {
        for stack in [&self.fabric, &self.world, &self.control].into_iter().chain(self.nodes.values()) {
            stack.sysctl(COMMON).await?;
        }
        self.fabric.sysctl(FORWARDING).await?;
        self.fabric.sysctl(BRIDGE_PLAIN).await?;
        let mut fabric = lines([
            "link set lo up",
            "link add nodes address 0a:58:ac:12:00:01 type bridge mcast_snooping 0",
            "addr add 172.18.0.1/24 dev nodes",
            "addr add fd00:18::1/64 dev nodes nodad",
            "link set nodes up",
            "link add world type veth peer name eth0 netns world",
            "addr add 192.0.2.1/24 dev world",
            "addr add 2001:db8:2::1/64 dev world nodad",
            "link set world up",
            "link add control type veth peer name eth0 netns control",
            "link set control master nodes up",
        ]);
        for (name, node) in &state.nodes {
            let index = node.index;
            fabric.push(format!("link add node{index} type veth peer name eth0 netns {name}"));
            fabric.push(format!("link set node{index} master nodes up"));
            for &family in &state.families {
                fabric.push(format!("route add {} via {}", node.pod_range(family)?, node.address(family)?));
            }
        }
        self.fabric.ip(&fabric).await?;
        let [v4, v6] = WORLD;
        self.world
            .ip(&lines([
                "link set lo up",
                &format!("addr add {v4}/24 dev eth0"),
                &format!("addr add {v6}/64 dev eth0 nodad"),
                "link set eth0 up",
                "route add default via 192.0.2.1",
                "route add default via 2001:db8:2::1",
            ]))
            .await?;
        serve(&self.world, &Place::World.to_string(), &WORLD, &self.ports, &self.sightings).await?;
        self.control
            .ip(&lines([
                "link set lo up",
                &format!("addr add {CONTROL}/24 dev eth0"),
                "addr add fd00:18::2/64 dev eth0 nodad",
                "link set eth0 up",
            ]))
            .await?;
        try_join_all(state.nodes.iter().map(|(name, node)| self.connect_node(state, name, node))).await?;
        Ok(())
    }

    async fn connect_node(&self, state: &State, name: &str, node: &Node) -> Result<()> {
        let stack = self.node(name)?;
        stack.sysctl(FORWARDING).await?;
        let mut script = lines(["link set lo up"]);
        if self.cni == Cni::Bridged {
            // A bridge without an address of its own changes it with its ports, and pods' neighbour entries go stale.
            let mac = mac_of(node.gateway(Family::V4).ok());
            script.push(format!("link add cni0 address {mac} type bridge mcast_snooping 0"));
        }
        // Node addresses of both families are there even where pods have one: the operator is reached over IPv4.
        let (v4, v6) = (node.address(Family::V4)?, node.address(Family::V6)?);
        script.extend([format!("addr add {v4}/24 dev eth0"), format!("addr add {v6}/64 dev eth0 nodad")]);
        script.extend(lines([
            "link set eth0 up",
            "route add default via 172.18.0.1",
            "route add default via fd00:18::1",
        ]));
        let mut addresses = vec![v4, v6];
        for &family in &state.families {
            addresses.push(node.gateway(family)?);
            if self.cni == Cni::Bridged {
                let length = node.pod_range(family)?.prefix_len();
                script.push(format!("addr add {}/{length} dev cni0{}", node.gateway(family)?, nodad(family)));
            }
            for other in state.nodes.values().filter(|other| other.index != node.index) {
                script.push(format!("route add {} via {}", other.pod_range(family)?, other.address(family)?));
            }
        }
        if self.cni == Cni::Bridged {
            script.push("link set cni0 up".into());
        }
        stack.ip(&script).await?;
        if self.cni == Cni::Bridged {
            stack
                .sysctl(BRIDGE_FILTER)
                .await
                .context("bridged pods need br_netfilter: `modprobe br_netfilter`")?;
        }
        serve(stack, &Place::Node(name.to_owned()).to_string(), &addresses, &self.ports, &self.sightings)
            .await
    }

    /// Brings pods and services from one state of the cluster to another. Pods that move or change their address are
    /// made anew; all others keep their connections.
    pub async fn change(&mut self, from: Option<&State>, to: &State) -> Result<()> {
        let old = |name: &str| from.and_then(|from| from.pods.get(name));
        let is_same = |a: &Pod, b: &Pod| {
            (&a.node, &a.addresses, a.has_stack()) == (&b.node, &b.addresses, b.has_stack())
        };
        let gone: Vec<String> = self
            .pods
            .keys()
            .filter(|name| !matches!((old(name), to.pods.get(*name)), (Some(a), Some(b)) if is_same(a, b)))
            .cloned()
            .collect();
        for name in gone {
            let pod = old(&name).with_context(|| format!("pod {name} is not known"))?.clone();
            self.remove_pod(&name, &pod, to).await.with_context(|| format!("removing pod {name}"))?;
        }
        for (name, pod) in &to.pods {
            if pod.has_stack() && !self.pods.contains_key(name) {
                self.add_pod(name, pod, to).await.with_context(|| format!("adding pod {name}"))?;
            }
        }
        if from.is_none_or(|from| services::backends(from) != services::backends(to)) {
            services::program(&self.nodes, &self.fabric, from, to).await.context("programming services")?;
        }
        Ok(())
    }

    async fn add_pod(&mut self, name: &str, pod: &Pod, state: &State) -> Result<()> {
        self.links += 1;
        let namespace = format!("pod-{}-{}", self.links, name.replace('/', "."));
        let stack = Arc::new(self.arena.stack(&namespace).await?);
        stack.sysctl(COMMON).await?;
        let node = state.nodes.get(&pod.node).with_context(|| format!("there is no node {}", pod.node))?;
        let host = self.node(&pod.node)?;
        let link = link_name(name);
        let mac = mac_of(pod.addresses.first().copied());
        let mut outside = vec![format!("link add {link} type veth peer name eth0 netns {namespace}")];
        let mut inside = lines(["link set lo up"]);
        inside.push(format!("link set eth0 address {mac}"));
        match self.cni {
            Cni::Bridged => {
                outside.push(format!("link set {link} master cni0"));
                outside.push(format!("link set {link} type bridge_slave hairpin on"));
            }
            Cni::Routed => {
                for &family in &state.families {
                    outside.push(format!(
                        "addr add {} dev {link}{}",
                        host_net(node.gateway(family)?),
                        nodad(family)
                    ));
                }
            }
        }
        outside.push(format!("link set {link} up"));
        for &address in &pod.addresses {
            let family = Family::of(address);
            let range = node.pod_range(family)?;
            // A bridged pod with an address from elsewhere still hangs on the bridge: the node routes it there.
            if self.cni == Cni::Bridged && range.contains(&address) {
                inside.push(format!("addr add {address}/{} dev eth0{}", range.prefix_len(), nodad(family)));
            } else {
                inside.push(format!("addr add {} dev eth0{}", host_net(address), nodad(family)));
            }
        }
        inside.push("link set eth0 up".into());
        for &family in &state.families {
            let gateway = node.gateway(family)?;
            let is_on_link = self.cni == Cni::Bridged
                && pod
                    .address(family)
                    .is_some_and(|address| node.pod_range(family).is_ok_and(|r| r.contains(&address)));
            if pod.address(family).is_some() {
                if !is_on_link {
                    inside.push(format!("route add {} dev eth0", host_net(gateway)));
                }
                inside.push(format!("route add default via {gateway}"));
            }
        }
        host.ip(&outside).await?;
        stack.ip(&inside).await?;
        self.route_pod("replace", pod, state, &link).await?;
        serve(&stack, name, &pod.addresses, &self.ports, &self.sightings).await?;
        self.pods.insert(name.to_owned(), stack);
        Ok(())
    }

    async fn remove_pod(&mut self, name: &str, pod: &Pod, state: &State) -> Result<()> {
        let link = link_name(name);
        self.pods.remove(name);
        // The kernel takes the pod's link away with its namespace, in its own time; the name must be free now.
        let _ = self.node(&pod.node)?.ip(&[format!("link del {link}")]).await;
        let elsewhere: Vec<IpAddr> = foreign(pod, state)?;
        for address in elsewhere {
            for stack in self.nodes.values().chain([&self.fabric]) {
                let _ = stack.ip(&[format!("route del {}", host_net(address))]).await;
            }
        }
        Ok(())
    }

    /// Host routes: on the pod's node where its link is, elsewhere where its address is not in its node's range.
    async fn route_pod(&self, verb: &str, pod: &Pod, state: &State, link: &str) -> Result<()> {
        let elsewhere = foreign(pod, state)?;
        let node = state.nodes.get(&pod.node).with_context(|| format!("there is no node {}", pod.node))?;
        let mut here = Vec::new();
        for &address in &pod.addresses {
            let is_foreign = elsewhere.contains(&address);
            match self.cni {
                Cni::Routed => here.push(format!("route {verb} {} dev {link}", host_net(address))),
                Cni::Bridged if is_foreign => {
                    here.push(format!("route {verb} {} dev cni0", host_net(address)));
                }
                Cni::Bridged => {}
            }
            // An address that another pod rightfully has keeps leading there.
            let is_contested =
                state.pods.values().filter(|other| other.addresses.contains(&address)).count() > 1;
            if is_foreign && !is_contested {
                let via = node.address(Family::of(address))?;
                let detour = format!("route {verb} {} via {via}", host_net(address));
                self.fabric.ip(std::slice::from_ref(&detour)).await?;
                for (name, stack) in &self.nodes {
                    if *name != pod.node {
                        stack.ip(std::slice::from_ref(&detour)).await?;
                    }
                }
            }
        }
        self.node(&pod.node)?.ip(&here).await
    }
}

/// The pod's addresses outside its node's ranges.
fn foreign(pod: &Pod, state: &State) -> Result<Vec<IpAddr>> {
    let node = state.nodes.get(&pod.node).with_context(|| format!("there is no node {}", pod.node))?;
    let mut addresses = Vec::new();
    for &address in &pod.addresses {
        if !node.pod_range(Family::of(address))?.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

fn lines<const N: usize>(lines: [&str; N]) -> Vec<String> {
    lines.map(str::to_owned).into()
}

fn nodad(family: Family) -> &'static str {
    if family == Family::V6 { " nodad" } else { "" }
}

fn host_net(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}

/// An interface name of at most 15 characters that says whose it is.
fn link_name(pod: &str) -> String {
    let hash = blake3::hash(pod.as_bytes()).to_hex();
    format!("veth{}", &hash[..8])
}

/// The hardware address follows from the address, so that neighbours need not learn anew when an address is reused.
fn mac_of(address: Option<IpAddr>) -> String {
    let octets = match address {
        Some(IpAddr::V4(v4)) => v4.octets(),
        Some(IpAddr::V6(v6)) => {
            let o = v6.octets();
            [o[12] ^ 0x66, o[13] ^ o[5], o[14], o[15]]
        }
        None => [0; 4],
    };
    let [a, b, c, d] = octets;
    format!("0a:58:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}
