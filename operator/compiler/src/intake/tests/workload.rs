//! Pods, namespaces and nodes.

use std::collections::{BTreeMap, BTreeSet};

use palisade_view::Protocol::{self, Sctp, Tcp, Udp};

use super::{NONE, decoded, found};
use crate::model::{NamedPort, Namespace, Node, Object, Pod};

fn pod(rest: &str) -> super::Decoded {
    decoded(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{namespace: shop, name: web, labels: {{app: web}}}}\n{rest}"
    ))
}

fn port(name: &str, protocol: Protocol, port: u16) -> NamedPort {
    NamedPort { name: name.to_owned(), protocol, port }
}

fn bare() -> Pod {
    Pod {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        labels: BTreeMap::from([("app".to_owned(), "web".to_owned())]),
        node: None,
        addresses: BTreeSet::new(),
        host_network: false,
        named_ports: BTreeSet::new(),
        finished: false,
    }
}

#[test]
fn a_whole_pod() {
    let decoded = pod("
spec:
  nodeName: node-1
  containers:
  - name: a
    image: x
    ports:
    - {name: http, containerPort: 8080}
    - {name: dns, containerPort: 53, protocol: UDP, hostPort: 53}
    - {containerPort: 9}
  - {name: b}
  initContainers:
  - {name: once, ports: [{name: once, containerPort: 1}]}
  - {name: sidecar, restartPolicy: Always, ports: [{name: proxy, containerPort: 15001}]}
status: {phase: Running, podIP: 10.244.1.10, podIPs: [{ip: 10.244.1.10}, {ip: 'fd00::A'}], qosClass: x}
");
    assert_eq!(found(&decoded), NONE);
    let expected = Pod {
        node: Some("node-1".to_owned()),
        addresses: BTreeSet::from(["10.244.1.10".parse().unwrap(), "fd00::a".parse().unwrap()]),
        named_ports: BTreeSet::from([
            port("http", Tcp, 8080),
            port("dns", Udp, 53),
            port("proxy", Tcp, 15001),
        ]),
        ..bare()
    };
    assert_eq!(decoded.model, Some(Object::Pod(expected)));
}

#[test]
fn fields_of_a_pod_have_defaults() {
    let one = BTreeSet::from(["10.0.0.1".parse().unwrap()]);
    for (rest, expected) in [
        ("spec: {}", bare()),
        ("spec: {nodeName: '', hostNetwork: null, containers: null}\nstatus: null", bare()),
        ("spec: {}\nstatus: {podIP: '', podIPs: []}", bare()),
        ("spec: {}\nstatus: {podIP: 10.0.0.1}", Pod { addresses: one.clone(), ..bare() }),
        (
            "spec: {hostNetwork: true}\nstatus: {podIP: 10.0.0.1}",
            Pod { host_network: true, addresses: one.clone(), ..bare() },
        ),
        ("spec: {hostNetwork: false}\nstatus: {phase: Pending}", bare()),
        ("spec: {}\nstatus: {phase: Succeeded}", Pod { finished: true, ..bare() }),
        (
            "spec: {}\nstatus: {phase: Failed, podIP: 10.0.0.1}",
            Pod { finished: true, addresses: one, ..bare() },
        ),
    ] {
        let decoded = pod(rest);
        assert_eq!(found(&decoded), NONE, "{rest}");
        assert_eq!(decoded.model, Some(Object::Pod(expected)), "{rest}");
    }
}

/// A pod that is left out is judged by no policy: what does not hide its address and labels leaves it in force.
#[test]
fn what_is_odd_about_a_pod_does_not_hide_it() {
    let one = || BTreeSet::from(["10.0.0.1".parse().unwrap()]);
    for (rest, expected, findings) in [
        (
            "spec: {}\nstatus: {podIP: '::ffff:10.0.0.1'}",
            Pod { addresses: one(), ..bare() },
            vec![
                "status.podIP: warning: \"::ffff:10.0.0.1\" is an IPv4-mapped IPv6 address: it is read as `10.0.0.1`",
            ],
        ),
        (
            "spec: {containers: [{ports: [{name: web, containerPort: 80, protocol: QUIC}, {name: dns, containerPort: 53}]}]}",
            Pod { named_ports: BTreeSet::from([port("dns", Tcp, 53)]), ..bare() },
            vec!["spec.containers[0].ports[0].protocol: fails closed: the protocol \"QUIC\" is not known"],
        ),
        (
            "spec: {containers: [{ports: [{name: web, containerPort: 80, protocol: ''}]}]}",
            Pod { named_ports: BTreeSet::from([port("web", Tcp, 80)]), ..bare() },
            vec![],
        ),
    ] {
        let decoded = pod(rest);
        assert_eq!(found(&decoded), findings, "{rest}");
        assert_eq!(decoded.model, Some(Object::Pod(expected)), "{rest}");
    }
}

/// Kubernetes' `FindPort` looks at containers and at init containers that are restarted; names are unique in a
/// container, not in a pod.
#[test]
fn every_port_of_a_name_counts_and_those_of_init_containers_that_end_do_not() {
    let decoded = pod("
spec:
  containers:
  - {name: a, ports: [{name: web, containerPort: 80}, {name: dns, containerPort: 53, protocol: UDP}]}
  - {name: b, ports: [{name: web, containerPort: 81}, {name: dns, containerPort: 53, protocol: TCP}]}
  initContainers:
  - {name: c, ports: [{name: web, containerPort: 82}]}
  - {name: d, restartPolicy: Never, ports: [{name: web, containerPort: 83}]}
  - {name: e, restartPolicy: OnFailure, ports: [{name: web, containerPort: 84}]}
  - {name: f, restartPolicy: Always, ports: [{name: web, containerPort: 85, protocol: SCTP}]}
  ephemeralContainers:
  - {name: g, ports: [{name: web, containerPort: 86}]}
");
    assert_eq!(found(&decoded), NONE);
    let expected = Pod {
        named_ports: BTreeSet::from([
            port("web", Tcp, 80),
            port("web", Tcp, 81),
            port("web", Sctp, 85),
            port("dns", Tcp, 53),
            port("dns", Udp, 53),
        ]),
        ..bare()
    };
    assert_eq!(decoded.model, Some(Object::Pod(expected)));
}

#[test]
fn a_terminating_pod_counts_until_it_has_finished() {
    for (phase, is_networked) in
        [("Pending", true), ("Running", true), ("Unknown", true), ("Succeeded", false), ("Failed", false)]
    {
        let decoded = decoded(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{namespace: shop, name: web, deletionTimestamp: '2026-01-01T00:00:00Z', \
             deletionGracePeriodSeconds: 30}}\nspec: {{}}\nstatus: {{phase: {phase}, podIP: 10.0.0.1}}"
        ));
        assert_eq!(found(&decoded), NONE);
        let Some(Object::Pod(pod)) = decoded.model else { panic!("a pod") };
        assert_eq!(pod.is_networked(), is_networked, "{phase}");
    }
}

#[test]
fn malformed_pods_have_no_model() {
    for (rest, finding) in [
        ("status: {}", "spec: error: the field is missing"),
        ("spec: []", "spec: error: found a list, not an object"),
        ("spec: {nodeName: 5}", "spec.nodeName: error: found the number 5, not a string"),
        (
            "spec: {hostNetwork: 'true'}",
            "spec.hostNetwork: error: found the string \"true\", not true or false",
        ),
        ("spec: {}\nstatus: Running", "status: error: found the string \"Running\", not an object"),
        ("spec: {}\nstatus: {phase: 1}", "status.phase: error: found the number 1, not a string"),
        ("spec: {}\nstatus: {podIP: x}", "status.podIP: error: \"x\" is not an IP address"),
        (
            "spec: {}\nstatus: {podIP: 10.0.0.1/32}",
            "status.podIP: error: \"10.0.0.1/32\" is not an IP address",
        ),
        (
            "spec: {}\nstatus: {podIPs: [10.0.0.1]}",
            "status.podIPs[0]: error: found the string \"10.0.0.1\", not an object",
        ),
        ("spec: {}\nstatus: {podIPs: [{}]}", "status.podIPs[0].ip: error: the field is missing"),
        ("spec: {containers: {}}", "spec.containers: error: found an object, not a list"),
        ("spec: {containers: [a]}", "spec.containers[0]: error: found the string \"a\", not an object"),
        (
            "spec: {containers: [{ports: [80]}]}",
            "spec.containers[0].ports[0]: error: found the number 80, not an object",
        ),
        (
            "spec: {containers: [{ports: [{name: http}]}]}",
            "spec.containers[0].ports[0].containerPort: error: the field is missing",
        ),
        (
            "spec: {containers: [{ports: [{name: HTTP, containerPort: 80}]}]}",
            "spec.containers[0].ports[0].name: error: \"HTTP\" is not a port's name",
        ),
        (
            "spec: {initContainers: [{restartPolicy: true}]}",
            "spec.initContainers[0].restartPolicy: error: found true, not a string",
        ),
    ] {
        let decoded = pod(rest);
        let stays = ": error: the Pod is not understood: its last good state stays, if there was one";
        assert_eq!(found(&decoded), [stays, finding], "{rest}");
        assert_eq!(decoded.model, None, "{rest}");
    }
}

#[test]
fn namespaces_carry_their_name_as_a_label() {
    const KEY: &str = "kubernetes.io/metadata.name";
    let labels = |labels: &[(&str, &str)]| {
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    for (given, expected, findings) in [
        ("", labels(&[(KEY, "shop")]), vec![]),
        ("labels: null", labels(&[(KEY, "shop")]), vec![]),
        ("labels: {tier: web}", labels(&[(KEY, "shop"), ("tier", "web")]), vec![]),
        ("labels: {kubernetes.io/metadata.name: shop}", labels(&[(KEY, "shop")]), vec![]),
        (
            "labels: {kubernetes.io/metadata.name: bank}",
            labels(&[(KEY, "shop")]),
            vec![
                "metadata.labels[\"kubernetes.io/metadata.name\"]: warning: the label is always the namespace's name: it \
                 is read as `shop`",
            ],
        ),
    ] {
        let decoded =
            decoded(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: shop, {given}}}}}"));
        assert_eq!(found(&decoded), findings);
        let expected = Namespace { name: "shop".to_owned(), labels: expected };
        assert_eq!(decoded.model, Some(Object::Namespace(expected)));
    }
}

#[test]
fn malformed_namespaces_have_no_model() {
    for (given, finding) in [
        ("labels: []", "metadata.labels: error: found a list, not an object"),
        ("labels: {tier: 5}", "metadata.labels.tier: error: found the number 5, not a string"),
        ("labels: {tier: null}", "metadata.labels.tier: error: found null, not a string"),
        ("labels: {tier: 'a b'}", "metadata.labels.tier: error: \"a b\" is not a label's value"),
        ("labels: {'a b': x}", "metadata.labels[\"a b\"]: error: \"a b\" is not a label's key"),
    ] {
        let decoded =
            decoded(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: shop, {given}}}}}"));
        let stays = ": error: the Namespace is not understood: its last good state stays, if there was one";
        assert_eq!(found(&decoded), [stays, finding]);
        assert_eq!(decoded.model, None);
    }
}

fn node(rest: &str) -> super::Decoded {
    decoded(&format!("apiVersion: v1\nkind: Node\nmetadata: {{name: node-1, labels: {{zone: a}}}}\n{rest}"))
}

#[test]
fn nodes() {
    let bare = || Node {
        name: "node-1".to_owned(),
        labels: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
        addresses: BTreeSet::new(),
        pod_cidrs: BTreeSet::new(),
    };
    let cidr = |cidr: &str| cidr.parse().unwrap();
    for (rest, expected, findings) in [
        ("", bare(), vec![]),
        ("spec: {podCIDR: '', podCIDRs: []}\nstatus: {addresses: null}", bare(), vec![]),
        (
            "spec: {podCIDR: 10.244.1.0/24, podCIDRs: [10.244.1.0/24, 'fd00:244:1::/64']}\nstatus:\n  addresses:\n  \
             - {type: InternalIP, address: 172.18.0.11}\n  - {type: ExternalIP, address: '2001:db8::1'}\n  \
             - {type: Hostname, address: node-1}\n  - {type: InternalDNS, address: node-1.local}\n",
            Node {
                addresses: BTreeSet::from(["172.18.0.11".parse().unwrap(), "2001:db8::1".parse().unwrap()]),
                pod_cidrs: BTreeSet::from([cidr("10.244.1.0/24"), cidr("fd00:244:1::/64")]),
                ..bare()
            },
            vec![],
        ),
        (
            "status:\n  addresses:\n  - {type: InternalIP, address: node-1}\n  - {type: ExternalIP, address: ''}\n  \
             - {type: InternalIP, address: '::ffff:172.18.0.11'}\n  - {type: ExternalIP, address: 172.18.0.11}\n",
            Node { addresses: BTreeSet::from(["172.18.0.11".parse().unwrap()]), ..bare() },
            vec![
                "status.addresses[0].address: warning: \"node-1\" is not an IP address: it is left out",
                "status.addresses[1].address: warning: \"\" is not an IP address: it is left out",
                "status.addresses[2].address: warning: \"::ffff:172.18.0.11\" is an IPv4-mapped IPv6 address: it is \
                 read as `172.18.0.11`",
            ],
        ),
        (
            "spec: {podCIDR: 10.244.1.9/24}",
            Node { pod_cidrs: BTreeSet::from([cidr("10.244.1.0/24")]), ..bare() },
            vec![
                "spec.podCIDR: warning: `10.244.1.9/24` has bits set behind its prefix: it is read as `10.244.1.0/24`",
            ],
        ),
    ] {
        let decoded = node(rest);
        assert_eq!(found(&decoded), findings, "{rest}");
        assert_eq!(decoded.model, Some(Object::Node(expected)), "{rest}");
    }
}

#[test]
fn malformed_nodes_have_no_model() {
    for (rest, finding) in [
        ("spec: []", "spec: error: found a list, not an object"),
        ("spec: {podCIDR: 10.0.0.1}", "spec.podCIDR: error: \"10.0.0.1\" is not a CIDR"),
        ("spec: {podCIDRs: 10.0.0.0/8}", "spec.podCIDRs: error: found the string \"10.0.0.0/8\", not a list"),
        ("status: 5", "status: error: found the number 5, not an object"),
        ("status: {addresses: [x]}", "status.addresses[0]: error: found the string \"x\", not an object"),
        (
            "status: {addresses: [{address: 10.0.0.1}]}",
            "status.addresses[0].type: error: the field is missing",
        ),
        (
            "status: {addresses: [{type: InternalIP}]}",
            "status.addresses[0].address: error: the field is missing",
        ),
        (
            "status: {addresses: [{type: InternalIP, address: 5}]}",
            "status.addresses[0].address: error: found the number 5, not a string",
        ),
    ] {
        let decoded = node(rest);
        let stays = ": error: the Node is not understood: its last good state stays, if there was one";
        assert_eq!(found(&decoded), [stays, finding], "{rest}");
        assert_eq!(decoded.model, None, "{rest}");
    }
}
