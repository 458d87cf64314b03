//! What damage to raw objects is made with: the words of the policy kinds, and where there is something to damage. For
//! property tests and fuzz targets of intake, whose choices come from elsewhere.

use serde_json::Value;

/// Names of fields and values that mean something to some kind, and some that are odd.
pub(crate) const WORDS: [&str; 64] = [
    "",
    "x",
    "*",
    "-",
    "Near",
    "ä",
    "a/b",
    "kubernetes.io/metadata.name",
    "namespaces",
    "pods",
    "networks",
    "nodes",
    "domainNames",
    "namespaceSelector",
    "podSelector",
    "matchLabels",
    "matchExpressions",
    "key",
    "operator",
    "values",
    "In",
    "NotIn",
    "Exists",
    "DoesNotExist",
    "action",
    "Allow",
    "Accept",
    "Deny",
    "Pass",
    "from",
    "to",
    "name",
    "ports",
    "protocols",
    "tcp",
    "udp",
    "destinationPort",
    "destinationNamedPort",
    "number",
    "range",
    "start",
    "end",
    "portNumber",
    "portRange",
    "namedPort",
    "port",
    "endPort",
    "protocol",
    "TCP",
    "SCTP",
    "ipBlock",
    "cidr",
    "except",
    "10.0.0.0/8",
    "::/0",
    "10.0.0.1",
    "sameLabels",
    "ip",
    "address",
    "type",
    "Ingress",
    "Egress",
    "Admin",
    "Baseline",
];

/// Pointers to everything below a place, in order.
pub(crate) fn places(value: &Value, at: &str, into: &mut Vec<String>) {
    let mut visit = |step: &str, value: &Value| {
        let at = format!("{at}/{}", step.replace('~', "~0").replace('/', "~1"));
        into.push(at.clone());
        places(value, &at, into);
    };
    match value {
        Value::Array(items) => items.iter().enumerate().for_each(|(at, item)| visit(&at.to_string(), item)),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| visit(key, value)),
        _ => {}
    }
}
