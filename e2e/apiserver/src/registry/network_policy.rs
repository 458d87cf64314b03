//! What Kubernetes wants of a NetworkPolicy beyond its schema.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::qualified;
use crate::schema::Cause;

const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

struct Causes(Vec<Cause>);

impl Causes {
    fn invalid(&mut self, field: String, value: &Value, what: &str) {
        let message = format!("Invalid value: {value}: {what}");
        self.0.push(Cause { field, reason: "FieldValueInvalid", message });
    }

    fn required(&mut self, field: String, what: &str) {
        self.0.push(Cause {
            field,
            reason: "FieldValueRequired",
            message: format!("Required value: {what}"),
        });
    }

    fn forbidden(&mut self, field: String, what: &str) {
        self.0.push(Cause { field, reason: "FieldValueForbidden", message: format!("Forbidden: {what}") });
    }

    fn unsupported(&mut self, field: String, value: &Value, all: &[&str]) {
        let all = all.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let message = format!("Unsupported value: {value}: supported values: {all}");
        self.0.push(Cause { field, reason: "FieldValueNotSupported", message });
    }
}

fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = (usize, &'a Value)> {
    value.get(name).and_then(Value::as_array).into_iter().flatten().enumerate()
}

pub(super) fn check(object: &Value) -> Vec<Cause> {
    let mut causes = Causes(Vec::new());
    let Some(spec) = object.get("spec") else { return causes.0 };
    selector(spec.get("podSelector"), "spec.podSelector", &mut causes);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in items(spec, direction) {
            let path = format!("spec.{direction}[{index}]");
            for (place, given) in items(rule, "ports") {
                port(given, &format!("{path}.ports[{place}]"), &mut causes);
            }
            for (place, given) in items(rule, peers) {
                peer(given, &format!("{path}.{peers}[{place}]"), &mut causes);
            }
        }
    }
    let types: Vec<&Value> = items(spec, "policyTypes").map(|(_, kind)| kind).collect();
    if types.len() > 2 {
        let what = "may not specify more than two policyTypes";
        causes.invalid("spec.policyTypes".to_owned(), &json!(types), what);
        return causes.0;
    }
    for (index, kind) in types.into_iter().enumerate() {
        if kind != "Ingress" && kind != "Egress" {
            causes.unsupported(format!("spec.policyTypes[{index}]"), kind, &["Ingress", "Egress"]);
        }
    }
    causes.0
}

fn port(given: &Value, path: &str, causes: &mut Causes) {
    if let Some(protocol) = given.get("protocol").filter(|protocol| !protocol.is_null())
        && !PROTOCOLS.iter().any(|known| protocol == known)
    {
        causes.unsupported(format!("{path}.protocol"), protocol, &PROTOCOLS);
    }
    let end = given.get("endPort").filter(|end| !end.is_null());
    match given.get("port").filter(|port| !port.is_null()) {
        None => {
            if let Some(end) = end {
                let what = "may not be specified when `port` is not specified";
                causes.invalid(format!("{path}.endPort"), end, what);
            }
        }
        Some(Value::String(name)) => {
            if let Some(end) = end {
                let what = "may not be specified when `port` is non-numeric";
                causes.invalid(format!("{path}.endPort"), end, what);
            }
            for what in port_name(name) {
                causes.invalid(format!("{path}.port"), &json!(name), what);
            }
        }
        Some(number) => {
            let is_port =
                |number: &Value| number.as_i64().is_some_and(|number| (1..=65535).contains(&number));
            let what = "must be between 1 and 65535, inclusive";
            if !is_port(number) {
                causes.invalid(format!("{path}.port"), number, what);
            }
            if let Some(end) = end {
                if end.as_i64() < number.as_i64() {
                    let what = "must be greater than or equal to `port`";
                    causes.invalid(format!("{path}.endPort"), number, what);
                }
                if !is_port(end) {
                    causes.invalid(format!("{path}.endPort"), end, what);
                }
            }
        }
    }
}

/// What is wrong with a port's name (an IANA service name).
fn port_name(name: &str) -> Vec<&'static str> {
    let mut wrong = Vec::new();
    if name.len() > 15 {
        wrong.push("must be no more than 15 characters");
    }
    if !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') || name.is_empty() {
        wrong.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    }
    if !name.contains(|c: char| c.is_ascii_alphabetic()) {
        wrong.push("must contain at least one letter (a-z)");
    }
    if name.contains("--") {
        wrong.push("must not contain consecutive hyphens");
    }
    if name.starts_with('-') || name.ends_with('-') {
        wrong.push("must not begin or end with a hyphen");
    }
    wrong
}

fn peer(given: &Value, path: &str, causes: &mut Causes) {
    let part = |name: &str| given.get(name).filter(|part| !part.is_null());
    let (pods, namespaces, block) = (part("podSelector"), part("namespaceSelector"), part("ipBlock"));
    if pods.is_none() && namespaces.is_none() && block.is_none() {
        causes.required(path.to_owned(), "must specify a peer");
    } else if block.is_some() && (pods.is_some() || namespaces.is_some()) {
        causes.forbidden(path.to_owned(), "may not specify both ipBlock and another peer");
    }
    selector(pods, &format!("{path}.podSelector"), causes);
    selector(namespaces, &format!("{path}.namespaceSelector"), causes);
    let Some(block) = block else { return };
    let path = format!("{path}.ipBlock");
    let cidr = block.get("cidr").and_then(Value::as_str).unwrap_or_default();
    if cidr.is_empty() {
        causes.required(format!("{path}.cidr"), "");
        return;
    }
    let wrong = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    let Some(whole) = network(cidr) else {
        causes.invalid(format!("{path}.cidr"), &json!(cidr), wrong);
        return;
    };
    for (index, except) in items(block, "except") {
        let field = format!("{path}.except[{index}]");
        match except.as_str().and_then(network) {
            None => causes.invalid(field, except, wrong),
            Some(part) if !is_strictly_in(part, whole) => {
                causes.invalid(field, except, "must be a strict subset of `cidr`");
            }
            Some(_) => {}
        }
    }
}

/// Address and prefix length.
fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let length: u8 = length.parse().ok()?;
    (length <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, length))
}

fn is_strictly_in((part, longer): (IpAddr, u8), (whole, length): (IpAddr, u8)) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
        IpAddr::V6(address) => u128::from(address),
    };
    let differ = bits(part) ^ bits(whole);
    let is_in = length == 0 || differ >> (128 - u32::from(length)) == 0;
    part.is_ipv4() == whole.is_ipv4() && longer > length && is_in
}

fn selector(given: Option<&Value>, path: &str, causes: &mut Causes) {
    let Some(given) = given else { return };
    causes.0.extend(qualified::labels(&format!("{path}.matchLabels"), given.get("matchLabels")));
    for (index, expression) in items(given, "matchExpressions") {
        let path = format!("{path}.matchExpressions[{index}]");
        let has_values = items(expression, "values").next().is_some();
        match expression.get("operator").and_then(Value::as_str).unwrap_or_default() {
            "In" | "NotIn" if !has_values => {
                causes.required(
                    format!("{path}.values"),
                    "must be specified when `operator` is 'In' or 'NotIn'",
                );
            }
            "Exists" | "DoesNotExist" if has_values => causes.forbidden(
                format!("{path}.values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            ),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                causes.invalid(format!("{path}.operator"), &json!(other), "not a valid selector operator");
            }
        }
        let key = expression.get("key").and_then(Value::as_str).unwrap_or_default();
        causes.0.extend(qualified::causes(&format!("{path}.key"), key, qualified::key(key)));
        for (place, value) in items(expression, "values") {
            let text = value.as_str().unwrap_or_default();
            let field = format!("{path}.values[{place}]");
            causes.0.extend(qualified::causes(&field, text, qualified::value(text)));
        }
    }
}
