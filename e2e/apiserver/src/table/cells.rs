//! The columns of Kubernetes' own kinds and what is in them, as its printers have them.

use jiff::Timestamp;
use serde_json::Value;

use super::Head;
use super::age::since;
use super::pod::pod;
use super::value::{fields, list, number, or_none, text};

/// The columns of a kind: their names, `*` before those for wide output only, `#` before those of integers.
pub(super) fn heads(kind: &str) -> Vec<Head> {
    let names: &[&str] = match kind {
        "ClusterRoleBinding" | "RoleBinding" => {
            &["Name", "Role", "Age", "*Users", "*Groups", "*ServiceAccounts"]
        }
        "ConfigMap" => &["Name", "Data", "Age"],
        "ClusterRole" | "CustomResourceDefinition" | "Role" => &["Name", "Created At"],
        "DaemonSet" => &[
            "Name",
            "#Desired",
            "#Current",
            "#Ready",
            "#Up-to-date",
            "#Available",
            "Node Selector",
            "Age",
            "*Containers",
            "*Images",
            "*Selector",
        ],
        "Deployment" => {
            &["Name", "Ready", "Up-to-date", "Available", "Age", "*Containers", "*Images", "*Selector"]
        }
        "Endpoints" => &["Name", "Endpoints", "Age"],
        "EndpointSlice" => &["Name", "AddressType", "Ports", "Endpoints", "Age"],
        "Event" => &[
            "Last Seen",
            "Type",
            "Reason",
            "Object",
            "*Subobject",
            "*Source",
            "Message",
            "*First Seen",
            "*Count",
            "*Name",
        ],
        "Lease" => &["Name", "Holder", "Age"],
        "Namespace" => &["Name", "Status", "Age"],
        "NetworkPolicy" => &["Name", "Pod-Selector", "Age"],
        "Node" => &[
            "Name",
            "Status",
            "Roles",
            "Age",
            "Version",
            "*Internal-IP",
            "*External-IP",
            "*OS-Image",
            "*Kernel-Version",
            "*Container-Runtime",
        ],
        "Pod" => &[
            "Name",
            "Ready",
            "Status",
            "Restarts",
            "Age",
            "*IP",
            "*Node",
            "*Nominated Node",
            "*Readiness Gates",
        ],
        "PodDisruptionBudget" => &["Name", "Min Available", "Max Unavailable", "#Allowed Disruptions", "Age"],
        "PriorityClass" => &["Name", "#Value", "Global-Default", "Age", "PreemptionPolicy"],
        "ReplicaSet" => {
            &["Name", "#Desired", "#Current", "#Ready", "Age", "*Containers", "*Images", "*Selector"]
        }
        "Secret" => &["Name", "Type", "Data", "Age"],
        "Service" => &["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "*Selector"],
        "ServiceAccount" => &["Name", "Secrets", "Age"],
        "StatefulSet" => &["Name", "Ready", "Age", "*Containers", "*Images"],
        _ => &["Name", "Age"],
    };
    names.iter().map(|name| head(name)).collect()
}

fn head(name: &'static str) -> Head {
    let kind = match name {
        "#Value" | "Created At" | "Global-Default" => {
            return match name {
                "Created At" => (name, "date", "", false),
                "Global-Default" => (name, "boolean", "", false),
                _ => (&name[1..], "integer", "", false),
            };
        }
        _ if name.starts_with('#') => "integer",
        _ => "string",
    };
    let is_wide = name.starts_with('*');
    let name = name.trim_start_matches(['*', '#']);
    (name, kind, if name == "Name" { "name" } else { "" }, is_wide)
}

/// The cells of an object.
pub(super) fn row(kind: &str, object: &Value, now: Timestamp) -> Vec<Value> {
    let name: Value = text(object, "/metadata/name").into();
    let age: Value = since(text(object, "/metadata/creationTimestamp"), now).into();
    let count = |pointer: &str| Value::from(number(object, pointer));
    let rest: Vec<Value> = match kind {
        "ClusterRole" | "CustomResourceDefinition" | "Role" => {
            vec![text(object, "/metadata/creationTimestamp").into()]
        }
        "ClusterRoleBinding" | "RoleBinding" => binding(object, age),
        "ConfigMap" => vec![(fields(object, "/data") + fields(object, "/binaryData")).into(), age],
        "DaemonSet" => {
            let counts = [
                "/status/desiredNumberScheduled",
                "/status/currentNumberScheduled",
                "/status/numberReady",
                "/status/updatedNumberScheduled",
                "/status/numberAvailable",
            ];
            let nodes = labels(object.pointer("/spec/template/spec/nodeSelector"));
            counts
                .map(count)
                .into_iter()
                .chain([or_none(&nodes), age])
                .chain(workload(object, true))
                .collect()
        }
        "Deployment" => {
            let first = [
                ready_of_wanted(object),
                count("/status/updatedReplicas"),
                count("/status/availableReplicas"),
                age,
            ];
            first.into_iter().chain(workload(object, false)).collect()
        }
        "Endpoints" => vec![endpoints(object).into(), age],
        "EndpointSlice" => {
            let port = |port: &Value| match (port.get("port").and_then(Value::as_i64), text(port, "/name")) {
                (Some(port), _) => port.to_string(),
                (None, "") => "*".to_owned(),
                (None, name) => name.to_owned(),
            };
            let addresses = list(object, "/endpoints").flat_map(|endpoint| list(endpoint, "/addresses"));
            let addresses = addresses.filter_map(Value::as_str).map(str::to_owned).collect();
            vec![
                text(object, "/addressType").into(),
                some_of(list(object, "/ports").map(port).collect(), "<unset>").into(),
                some_of(addresses, "<unset>").into(),
                age,
            ]
        }
        "Event" => return event(object, now),
        "Lease" => vec![text(object, "/spec/holderIdentity").into(), age],
        "Namespace" => vec![text(object, "/status/phase").into(), age],
        "NetworkPolicy" => vec![or_none(&selector(object.pointer("/spec/podSelector"))), age],
        "Node" => node(object, age),
        "Pod" => pod(object, age, now),
        "PodDisruptionBudget" => {
            let bound = |field: &str| match object.pointer(&format!("/spec/{field}")) {
                None | Some(Value::Null) => "N/A".into(),
                Some(Value::String(text)) => text.as_str().into(),
                Some(number) => number.to_string().into(),
            };
            vec![bound("minAvailable"), bound("maxUnavailable"), count("/status/disruptionsAllowed"), age]
        }
        "PriorityClass" => {
            let is_default = object.get("globalDefault") == Some(&Value::Bool(true));
            vec![count("/value"), is_default.into(), age, text(object, "/preemptionPolicy").into()]
        }
        "ReplicaSet" => {
            let first =
                [wanted(object).into(), count("/status/replicas"), count("/status/readyReplicas"), age];
            first.into_iter().chain(workload(object, true)).collect()
        }
        "Secret" => vec![text(object, "/type").into(), fields(object, "/data").into(), age],
        "Service" => service(object, age),
        "ServiceAccount" => vec![list(object, "/secrets").count().into(), age],
        "StatefulSet" => {
            let containers = workload(object, true).into_iter().take(2);
            [ready_of_wanted(object), age].into_iter().chain(containers).collect()
        }
        _ => vec![age],
    };
    std::iter::once(name).chain(rest).collect()
}

fn wanted(object: &Value) -> i64 {
    object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1)
}

fn ready_of_wanted(object: &Value) -> Value {
    format!("{}/{}", number(object, "/status/readyReplicas"), wanted(object)).into()
}

/// Containers, images and selector of what makes pods.
fn workload(object: &Value, says_none: bool) -> [Value; 3] {
    let each = |field: &str| {
        let all = list(object, "/spec/template/spec/containers").map(|container| text(container, field));
        all.collect::<Vec<_>>().join(",").into()
    };
    let selector = selector(object.pointer("/spec/selector"));
    [each("/name"), each("/image"), if says_none { or_none(&selector) } else { selector.into() }]
}

fn labels(map: Option<&Value>) -> String {
    let map = map.and_then(Value::as_object).into_iter().flatten();
    let mut all: Vec<String> =
        map.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    all.sort();
    all.join(",")
}

/// A label selector as text: its conditions by key.
fn selector(selector: Option<&Value>) -> String {
    let Some(selector) = selector else { return String::new() };
    let equal = selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten();
    let equal =
        equal.map(|(key, value)| (key.as_str(), format!("{key}={}", value.as_str().unwrap_or_default())));
    let expression = |expression| {
        let key = text(expression, "/key");
        let mut values: Vec<&str> = list(expression, "/values").filter_map(Value::as_str).collect();
        values.sort_unstable();
        let shown = match text(expression, "/operator") {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        };
        (key, shown)
    };
    let mut all: Vec<_> = equal.chain(list(selector, "/matchExpressions").map(expression)).collect();
    all.sort_by_key(|(key, _)| *key);
    all.into_iter().map(|(_, shown)| shown).collect::<Vec<_>>().join(",")
}

/// Three of them, and how many more there are.
fn some_of(all: Vec<String>, none: &str) -> String {
    let count = all.len();
    let shown = all.into_iter().take(3).collect::<Vec<_>>().join(",");
    match count {
        0 => none.to_owned(),
        1..=3 => shown,
        _ => format!("{shown} + {} more...", count - 3),
    }
}

fn endpoints(object: &Value) -> String {
    let of_subset = |subset| {
        let addresses = || list(subset, "/addresses").map(|address| text(address, "/ip").to_owned());
        let ports: Vec<i64> = list(subset, "/ports").map(|port| number(port, "/port")).collect();
        if ports.is_empty() {
            return addresses().collect::<Vec<_>>();
        }
        let joined = |ip: String, port| {
            if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
        };
        ports.iter().flat_map(|port| addresses().map(move |ip| joined(ip, port))).collect()
    };
    some_of(list(object, "/subsets").flat_map(of_subset).collect(), "<none>")
}

fn binding(object: &Value, age: Value) -> Vec<Value> {
    let role = format!("{}/{}", text(object, "/roleRef/kind"), text(object, "/roleRef/name"));
    let subjects = |kind: &str| {
        let of_kind = list(object, "/subjects").filter(|subject| text(subject, "/kind") == kind);
        let name = |subject| match text(subject, "/namespace") {
            "" => text(subject, "/name").to_owned(),
            namespace => format!("{namespace}/{}", text(subject, "/name")),
        };
        Value::from(of_kind.map(name).collect::<Vec<_>>().join(", "))
    };
    vec![role.into(), age, subjects("User"), subjects("Group"), subjects("ServiceAccount")]
}

/// An event, in either of its versions.
fn event(object: &Value, now: Timestamp) -> Vec<Value> {
    let first_of = |pointers: &[&str]| {
        pointers.iter().map(|pointer| text(object, pointer)).find(|text| !text.is_empty()).unwrap_or_default()
    };
    let last = [
        "/series/lastObservedTime",
        "/lastTimestamp",
        "/deprecatedLastTimestamp",
        "/firstTimestamp",
        "/deprecatedFirstTimestamp",
        "/eventTime",
    ];
    let kind = first_of(&["/involvedObject/kind", "/regarding/kind"]).to_lowercase();
    let subject = match first_of(&["/involvedObject/name", "/regarding/name"]) {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let component = first_of(&[
        "/source/component",
        "/deprecatedSource/component",
        "/reportingComponent",
        "/reportingController",
    ]);
    let source = match first_of(&["/source/host", "/deprecatedSource/host", "/reportingInstance"]) {
        "" => component.to_owned(),
        instance => format!("{component}, {instance}"),
    };
    let counts = ["/series/count", "/count", "/deprecatedCount"].map(|pointer| number(object, pointer));
    vec![
        since(first_of(&last), now).into(),
        text(object, "/type").into(),
        text(object, "/reason").into(),
        subject.into(),
        first_of(&["/involvedObject/fieldPath", "/regarding/fieldPath"]).into(),
        source.into(),
        first_of(&["/message", "/note"]).trim().into(),
        since(first_of(last.get(3..).unwrap_or_default()), now).into(),
        counts.into_iter().find(|count| *count > 0).unwrap_or(1).into(),
        text(object, "/metadata/name").into(),
    ]
}

fn node(object: &Value, age: Value) -> Vec<Value> {
    let ready = list(object, "/status/conditions").rfind(|condition| text(condition, "/type") == "Ready");
    let mut status = match ready.map(|condition| text(condition, "/status")) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if object.pointer("/spec/unschedulable") == Some(&Value::Bool(true)) {
        status.push_str(",SchedulingDisabled");
    }
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
    let role = |(key, value): (&'_ String, &'_ Value)| match key.strip_prefix("node-role.kubernetes.io/") {
        Some(role) => Some(role.to_owned()),
        None if key == "kubernetes.io/role" => value.as_str().map(str::to_owned),
        None => None,
    };
    let mut roles: Vec<String> = labels.filter_map(role).filter(|role| !role.is_empty()).collect();
    roles.sort_unstable();
    roles.dedup();
    let address = |kind: &str| {
        let mut all = list(object, "/status/addresses");
        or_none(
            all.find(|address| text(address, "/type") == kind).map_or("", |found| text(found, "/address")),
        )
    };
    let info = |field: &str| match text(object, &format!("/status/nodeInfo/{field}")) {
        "" => Value::from("<unknown>"),
        text => text.into(),
    };
    vec![
        status.into(),
        or_none(&roles.join(",")),
        age,
        text(object, "/status/nodeInfo/kubeletVersion").into(),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn service(object: &Value, age: Value) -> Vec<Value> {
    let port = |port: &Value| {
        let node = number(port, "/nodePort");
        let node = if node > 0 { format!(":{node}") } else { String::new() };
        let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
        format!("{}{node}/{protocol}", number(port, "/port"))
    };
    let ports: Vec<String> = list(object, "/spec/ports").map(port).collect();
    let mut external: Vec<&str> = list(object, "/spec/externalIPs").filter_map(Value::as_str).collect();
    let kind = object.pointer("/spec/type").and_then(Value::as_str).unwrap_or("ClusterIP");
    let balanced = list(object, "/status/loadBalancer/ingress");
    let balanced = balanced.map(|ingress| match text(ingress, "/ip") {
        "" => text(ingress, "/hostname"),
        ip => ip,
    });
    let external: Value = match kind {
        "ExternalName" => text(object, "/spec/externalName").into(),
        "LoadBalancer" => {
            external.splice(0..0, balanced);
            if external.is_empty() { "<pending>".into() } else { external.join(",").into() }
        }
        _ => or_none(&external.join(",")),
    };
    let address = match text(object, "/spec/clusterIPs/0") {
        "" => text(object, "/spec/clusterIP"),
        address => address,
    };
    vec![
        kind.into(),
        or_none(address),
        external,
        or_none(&ports.join(",")),
        age,
        or_none(&labels(object.pointer("/spec/selector"))),
    ]
}
