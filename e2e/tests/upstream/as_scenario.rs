//! A conformance suite as a scenario: its nodes, pods and namespaces, and a step for each stage of each test. It reads
//! the data by itself: what the operator is given are the objects as they are written, not what our own decoding has
//! made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use palisade_e2e::scenario::{Scenario, State};
use palisade_view::Family;
use serde_json::{Map, Value, json};

use crate::Suite;

/// A suite as a scenario that starts without policies. Fails if the scenario's cluster is not the data's.
pub(crate) fn read(suite: &Suite, data: &Value, family: Family) -> Result<Scenario> {
    let mut pods = Map::new();
    for (name, pod) in object(&data["pods"])? {
        let mut ports = Vec::new();
        for port in list(&pod["namedPorts"])? {
            ports.push(json!({"name": port["name"], "port": port["port"], "protocol": port["protocol"]}));
        }
        let mut fields = json!({"node": pod["node"], "labels": pod["labels"], "ports": ports});
        if pod["hostNetwork"] == true {
            fields["hostNetwork"] = true.into();
        } else {
            fields["addresses"] = json!([address_in(family, text(&pod["ip"])?.parse()?)]);
        }
        pods.insert(name.clone(), fields);
    }
    let nodes: Map<String, Value> = object(&data["nodes"])?
        .iter()
        .map(|(name, node)| (name.clone(), json!({"labels": node["labels"]})))
        .collect();
    let families = if family == Family::V4 { "ipv4" } else { "ipv6" };
    let file = json!({
        "description": suite.name,
        "tags": ["upstream"],
        "families": [families],
        "nodes": nodes,
        "namespaces": data["baseNamespaceLabels"],
        "pods": pods,
        "steps": steps(data, family)?,
    });
    let name = format!("upstream/{}-{families}", suite.name.replace(' ', "-"));
    let scenario = Scenario::parse(&name, Path::new(suite.file), &serde_json::to_string(&file)?)?;
    check_addresses(data, &State::of(&scenario)?, family)?;
    Ok(scenario)
}

/// The stages of every test, each as what it changes of the one before.
fn steps(data: &Value, family: Family) -> Result<Vec<Value>> {
    let mut steps = Vec::new();
    let mut labels_before = &data["baseNamespaceLabels"];
    let mut policies_before = BTreeMap::new();
    for test in list(&data["tests"])? {
        for stage in list(&test["stages"])? {
            let labels = &stage["namespaceLabels"];
            let relabelled: Map<String, Value> = object(labels)?
                .iter()
                .filter(|(name, labels)| labels_before[name.as_str()] != **labels)
                .map(|(name, labels)| (name.clone(), labels.clone()))
                .collect();
            let gone = object(labels_before)?.keys().find(|name| labels[name.as_str()].is_null());
            ensure!(gone.is_none(), "a namespace that goes: {gone:?}");
            labels_before = labels;

            let mut policies = BTreeMap::new();
            for raw in list(&stage["objects"])? {
                let mut policy = raw.clone();
                networks_in(family, &mut policy);
                policies.insert(policy_name(&policy)?, policy);
            }
            let apply: Vec<&Value> = policies
                .iter()
                .filter(|(name, policy)| policies_before.get(*name) != Some(*policy))
                .map(|(_, policy)| policy)
                .collect();
            let delete: Vec<&String> =
                policies_before.keys().filter(|name| !policies.contains_key(*name)).collect();
            let mut probes = Vec::new();
            for probe in list(&stage["probes"])? {
                let verdict = match probe["shouldConnect"].as_bool() {
                    Some(true) => "allow",
                    Some(false) => "deny",
                    None => bail!("shouldConnect is missing: {probe}"),
                };
                let protocol = text(&probe["protocol"])?.to_ascii_lowercase();
                let (client, server) = (text(&probe["client"])?, text(&probe["server"])?);
                probes.push(format!("{client} -> {server} {protocol}/{}: {verdict}", probe["port"]));
            }
            steps.push(json!({
                "say": format!("{}: {}", text(&test["shortName"])?, text(&stage["subtest"])?),
                "namespaces": relabelled,
                "apply": apply,
                "delete": delete,
                "probes": probes,
            }));
            policies_before = policies;
        }
    }
    Ok(steps)
}

/// The name by which a scenario deletes a policy.
fn policy_name(policy: &Value) -> Result<String> {
    let (kind, name) = (text(&policy["kind"])?, text(&policy["metadata"]["name"])?);
    Ok(match &policy["metadata"]["namespace"] {
        Value::Null => format!("{kind}/{name}"),
        namespace => format!("{kind}/{}/{name}", text(namespace)?),
    })
}

/// The cluster of the scenario numbers its nodes, and so the pods in their network, by itself.
fn check_addresses(data: &Value, state: &State, family: Family) -> Result<()> {
    for (name, node) in object(&data["nodes"])? {
        let given: Result<BTreeSet<IpAddr>> = list(&node["addresses"])?
            .iter()
            .map(|address| Ok(address_in(family, text(address)?.parse()?)))
            .collect();
        let built = state.nodes.get(name).with_context(|| format!("no node {name}"))?.address(family)?;
        ensure!(given? == BTreeSet::from([built]), "{name} has {built}, in the data {}", node["addresses"]);
    }
    let pods = object(&data["pods"])?;
    ensure!(pods.len() == state.pods.len(), "{} pods, in the data {}", state.pods.len(), pods.len());
    for (name, pod) in pods {
        let given = address_in(family, text(&pod["ip"])?.parse()?);
        let built = &state.pods.get(name).with_context(|| format!("no pod {name}"))?.addresses;
        ensure!(*built == [given], "{name} has {built:?}, in the data {}", pod["ip"]);
    }
    Ok(())
}

/// Replaces every network in an object by its counterpart. The widest of both families change places.
fn networks_in(family: Family, value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| networks_in(family, value)),
        Value::Object(fields) => fields.values_mut().for_each(|value| networks_in(family, value)),
        Value::String(text) if family == Family::V6 => match text.parse::<IpNet>() {
            Ok(net) if net.prefix_len() == 0 && net.addr().is_ipv4() => "::/0".clone_into(text),
            Ok(net) if net.prefix_len() == 0 => "0.0.0.0/0".clone_into(text),
            Ok(net) if net.prefix_len() == net.max_prefix_len() => {
                *text = format!("{}/128", address_in(family, net.addr()));
            }
            Ok(net) => panic!("{net} has no counterpart"),
            Err(_) => {}
        },
        _ => {}
    }
}

/// An address's counterpart in a family, as scenarios number them.
fn address_in(family: Family, address: IpAddr) -> IpAddr {
    let IpAddr::V4(v4) = address else { panic!("{address}: the data is of IPv4") };
    if family == Family::V4 {
        return address;
    }
    // Numbers stand as they are read: 10.244.1.12 and fd00:244:1::12.
    let hex = |octet: u8| u16::from_str_radix(&octet.to_string(), 16).expect("digits");
    match v4.octets() {
        [10, 244, node, host] => Ipv6Addr::new(0xfd00, 0x244, hex(node), 0, 0, 0, 0, hex(host)).into(),
        [172, 18, 0, host] => Ipv6Addr::new(0xfd00, 0x18, 0, 0, 0, 0, 0, hex(host)).into(),
        _ => panic!("{address} has no counterpart"),
    }
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("not a text: {value}"))
}

fn list(value: &Value) -> Result<&Vec<Value>> {
    value.as_array().with_context(|| format!("not a list: {value}"))
}

fn object(value: &Value) -> Result<&Map<String, Value>> {
    value.as_object().with_context(|| format!("not an object: {value}"))
}
