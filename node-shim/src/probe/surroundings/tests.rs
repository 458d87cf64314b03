use std::fs;

use super::*;
use crate::probe::Finding;

/// A node as /proc and /sys would show it.
struct Node {
    root: tempfile::TempDir,
    devices: String,
}

impl Node {
    fn new() -> Self {
        let node = Self { root: tempfile::tempdir().unwrap(), devices: String::new() };
        node.write("proc/net/dev", "Inter-|   Receive\n face |bytes\n");
        node
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn interface(&mut self, name: &str) {
        self.devices.extend(["  ", name, ": 0 0\n"]);
        self.write(&format!("sys/class/net/{name}/ifindex"), "1\n");
        self.write("proc/net/dev", &format!("Inter-|   Receive\n face |bytes\n{}", self.devices));
    }

    fn bridge(&mut self, name: &str, ports: &[&str]) {
        self.interface(name);
        self.write(&format!("sys/class/net/{name}/bridge/stp_state"), "0\n");
        for port in ports {
            self.interface(port);
            self.write(&format!("sys/class/net/{name}/brif/{port}"), "");
        }
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings { proc: self.root.path().join("proc"), sys: self.root.path().join("sys") }
    }

    fn finding(&self, look: impl Fn(&Surroundings, &mut Report), need: &str) -> Finding {
        let mut report = Report::default();
        look(&self.surroundings(), &mut report);
        report.findings.into_iter().find(|finding| finding.need == need).unwrap()
    }

    fn bridges(&self) -> Finding {
        let look = |node: &Surroundings, report: &mut Report| node.bridges(node.bridges_by_sys(), report);
        self.finding(look, "bridged packets are filtered")
    }
}

#[test]
fn a_node_without_bridges_needs_no_bridge_filter() {
    let mut node = Node::new();
    node.interface("eth0");
    node.write("sys/class/net/bonding_masters", "");
    assert_eq!((node.bridges().status, node.bridges().found.as_str()), (Status::Ok, "no bridge here"));
}

#[test]
fn a_bridge_with_pods_and_no_filter_is_a_problem_with_a_remedy() {
    let mut node = Node::new();
    node.bridge("cni0", &["veth1", "veth2"]);
    let finding = node.bridges();
    assert_eq!(finding.status, Status::Missing);
    assert!(
        finding.found.contains("(cni0)") && finding.remedy.contains("modprobe br_netfilter"),
        "{finding:?}"
    );

    node.write("proc/sys/net/bridge/bridge-nf-call-iptables", "1\n");
    node.write("proc/sys/net/bridge/bridge-nf-call-ip6tables", "0\n");
    let finding = node.bridges();
    assert_eq!(finding.status, Status::Missing);
    assert!(finding.found.ends_with("off: bridge-nf-call-ip6tables"), "{finding:?}");

    node.write("proc/sys/net/bridge/bridge-nf-call-ip6tables", "1\n");
    assert_eq!((node.bridges().status, node.bridges().found.as_str()), (Status::Ok, "yes (cni0)"));
}

#[test]
fn an_idle_bridge_only_warns() {
    let mut node = Node::new();
    node.bridge("docker0", &[]);
    assert_eq!(node.bridges().status, Status::Warning);
}

#[test]
fn a_foreign_sys_is_not_believed() {
    let mut node = Node::new();
    node.interface("eth0");
    node.write("sys/class/net/eth9/ifindex", "7\n");
    assert_eq!(node.surroundings().bridges_by_sys(), None);
    let finding = node.finding(|node, report| node.bridges(None, report), "bridged packets are filtered");
    assert_eq!(finding.status, Status::Warning);
}

#[test]
fn iproute2_is_read() {
    let bridges =
        "2: br0: <BROADCAST> mtu 1500 qdisc noop state DOWN\\    link/ether 26:ed\n5: br1: <UP> mtu 1500";
    let ports = "3: d0: <BROADCAST> mtu 1500 qdisc noop master br0 state DOWN mode DEFAULT\n\
                 4: v1@if9: <UP> mtu 1500 master br0 state UP";
    let bridge = |name: &str, ports| Bridge { name: name.into(), ports };
    assert_eq!(parse_bridges(bridges, ports), [bridge("br0", 2), bridge("br1", 0)]);
    assert_eq!(parse_bridges("", ""), []);
}

#[test]
fn sysctls_are_judged() {
    let node = Node::new();
    node.write("proc/sys/net/ipv4/ip_forward", "0\n");
    node.write("proc/sys/net/ipv6/conf/all/forwarding", "1\n");
    let forwarding = |need| node.finding(Surroundings::forwarding, need).status;
    assert_eq!((forwarding("IPv4 forwarding"), forwarding("IPv6 forwarding")), (Status::Warning, Status::Ok));

    let table = || node.finding(Surroundings::conntrack, "connection tracking table");
    assert_eq!(table().status, Status::Info);
    node.write("proc/sys/net/netfilter/nf_conntrack_count", "10\n");
    assert_eq!(table().found, "10 entries");
    node.write("proc/sys/net/netfilter/nf_conntrack_max", "100\n");
    assert_eq!((table().status, table().found.as_str()), (Status::Ok, "10 of 100 entries"));
    node.write("proc/sys/net/netfilter/nf_conntrack_count", "90\n");
    assert_eq!(table().status, Status::Warning);
}

#[test]
fn the_queue_target_of_iptables_is_found() {
    let node = Node::new();
    assert!(!node.surroundings().has_xt_queue());
    node.write("proc/net/ip_tables_targets", "DNAT\nNFQUEUE\n");
    assert!(node.surroundings().has_xt_queue());
}

#[test]
fn the_table_is_aligned() {
    let mut report = Report::default();
    report.add("a", "found it", Status::Ok, "");
    report.add("longer need", "no", Status::Missing, "do this");
    let expected = "NEED         FOUND     STATUS   REMEDY\n\
                    a            found it  ok       -\n\
                    longer need  no        MISSING  do this\n";
    assert_eq!(report.to_string(), expected);
    assert_eq!(report.problems(), 1);
}
