//! Objects as `kubectl get` shows them: columns and cells. Definitions say theirs; of Kubernetes' own kinds the usual
//! ones are here.

mod age;
mod cells;
mod path;
mod pod;
mod value;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::registry::{Column, Resource};

/// How much of each object goes with its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// Its metadata.
    Metadata,
    /// All of it.
    Object,
}

/// A column's head, its type, its format, and whether it is for wide output only.
type Head = (&'static str, &'static str, &'static str, bool);

const NAME: Head = ("Name", "string", "name", false);

/// A `meta.k8s.io/v1` Table of some objects of a kind, as of a moment.
pub fn table(resource: &Resource, objects: &[&Value], include: Include, now: Timestamp) -> Value {
    let (heads, rows): (Vec<Value>, Vec<Vec<Value>>) = if resource.is_custom {
        let heads = std::iter::once(head(NAME)).chain(resource.columns.iter().map(custom_head));
        (heads.collect(), objects.iter().map(|object| custom_row(&resource.columns, object, now)).collect())
    } else {
        let heads = cells::heads(&resource.kind).into_iter().map(head);
        (heads.collect(), objects.iter().map(|object| cells::row(&resource.kind, object, now)).collect())
    };
    let rows: Vec<Value> = rows
        .into_iter()
        .zip(objects)
        .map(|(cells, object)| {
            let object = match include {
                Include::None => Value::Null,
                Include::Metadata => json!({
                    "kind": "PartialObjectMetadata",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": object.get("metadata"),
                }),
                Include::Object => (*object).clone(),
            };
            json!({"cells": cells, "object": object})
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": heads,
        "rows": rows,
    })
}

fn head((name, kind, format, is_wide): Head) -> Value {
    json!({"name": name, "type": kind, "format": format, "description": "", "priority": i32::from(is_wide)})
}

fn custom_head(column: &Column) -> Value {
    let description = match column.description.as_str() {
        "" => format!("Custom resource definition column (in JSONPath format): {}", column.path),
        description => description.to_owned(),
    };
    json!({
        "name": column.name,
        "type": column.kind,
        "format": column.format,
        "description": description,
        "priority": column.priority,
    })
}

/// The first value that a column's path leads to, if it is of the column's type.
fn custom_row(columns: &[Column], object: &Value, now: Timestamp) -> Vec<Value> {
    let cell = |column: &Column| {
        let Some(&value) = path::find(object, &column.path).first() else { return Value::Null };
        match (column.kind.as_str(), value) {
            ("date", Value::String(at)) => match at.parse::<Timestamp>() {
                Ok(_) => age::since(at, now).into(),
                Err(_) => "<invalid>".into(),
            },
            ("string", Value::String(_))
            | ("boolean", Value::Bool(_))
            | ("integer" | "number", Value::Number(_)) => value.clone(),
            ("string", other) => other.to_string().into(),
            _ => Value::Null,
        }
    };
    let name = object.pointer("/metadata/name").cloned().unwrap_or_default();
    std::iter::once(name).chain(columns.iter().map(cell)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    fn rows(kind: &str, objects: &[Value]) -> Vec<String> {
        let registry = Registry::default();
        let resource = registry.resources().into_iter().find(|resource| resource.kind == kind).unwrap();
        let objects: Vec<&Value> = objects.iter().collect();
        let now = "2026-01-02T01:00:00Z".parse().unwrap();
        let table = table(&resource, &objects, Include::None, now);
        let columns = table["columnDefinitions"].as_array().unwrap().len();
        let rows = table["rows"].as_array().unwrap().iter();
        rows.map(|row| {
            let cells = row["cells"].as_array().unwrap();
            assert_eq!(cells.len(), columns, "{kind}");
            let text = |cell: &Value| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
            cells.iter().map(text).collect::<Vec<_>>().join(" | ")
        })
        .collect()
    }

    #[test]
    fn built_in_kinds_look_as_they_do_everywhere() {
        let metadata = json!({"name": "x", "namespace": "n", "creationTimestamp": "2026-01-02T00:00:00Z"});
        let with = |rest: Value| {
            let mut object = json!({"metadata": metadata});
            object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            object
        };
        let cases = [
            (
                "Pod",
                json!({
                    "spec": {"nodeName": "node-1", "containers": [{"name": "a"}],
                             "readinessGates": [{"conditionType": "G"}]},
                    "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}]},
                }),
                "x | 0/1 | Running | 0 | 60m | 10.0.0.1 | node-1 | <none> | 0/1",
            ),
            (
                "NetworkPolicy",
                json!({"spec": {"podSelector": {
                    "matchLabels": {"b": "2", "a": "1"},
                    "matchExpressions": [{"key": "aa", "operator": "NotIn", "values": ["y", "x"]},
                                         {"key": "d", "operator": "Exists"}],
                }}}),
                "x | a=1,aa notin (x,y),b=2,d | 60m",
            ),
            ("NetworkPolicy", json!({"spec": {"podSelector": {}}}), "x | <none> | 60m"),
            (
                "Node",
                json!({
                    "spec": {"unschedulable": true},
                    "status": {"conditions": [{"type": "Ready", "status": "False"}],
                               "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
                               "nodeInfo": {"kubeletVersion": "v1.33.0"}},
                }),
                "x | NotReady,SchedulingDisabled | <none> | 60m | v1.33.0 | 192.0.2.1 | <none> | <unknown> | <unknown> | \
                 <unknown>",
            ),
            (
                "Event",
                json!({"type": "Warning", "reason": "R", "message": " m\n", "count": 2,
                       "involvedObject": {"kind": "Pod", "name": "p"}, "source": {"component": "c", "host": "h"},
                       "firstTimestamp": "2026-01-02T00:00:00Z", "lastTimestamp": "2026-01-02T00:59:00Z"}),
                "60s | Warning | R | pod/p |  | c, h | m | 60m | 2 | x",
            ),
            (
                "Event",
                json!({"type": "Normal", "reason": "R", "note": "m", "eventTime": "2026-01-02T00:59:30.000000Z",
                       "regarding": {"kind": "Node", "name": "n"}, "reportingController": "c"}),
                "30s | Normal | R | node/n |  | c | m | 30s | 1 | x",
            ),
            (
                "Endpoints",
                json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
                                    "ports": [{"port": 80}, {"port": 81}]}]}),
                "x | 10.0.0.1:80,[fd00::1]:80,10.0.0.1:81 + 1 more... | 60m",
            ),
            (
                "Service",
                json!({"spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.9", "selector": {"a": "b"},
                                "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}]}}),
                "x | LoadBalancer | 10.96.0.9 | <pending> | 80:30080/TCP | 60m | a=b",
            ),
            (
                "Deployment",
                json!({"spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}},
                                "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}},
                       "status": {"readyReplicas": 1, "updatedReplicas": 2}}),
                "x | 1/2 | 2 | 0 | 60m | c | i | a=b",
            ),
            (
                "RoleBinding",
                json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [
                    {"kind": "ServiceAccount", "name": "s", "namespace": "n"}, {"kind": "Group", "name": "g"}]}),
                "x | Role/r | 60m |  | g | n/s",
            ),
            ("PodDisruptionBudget", json!({"spec": {"minAvailable": "50%"}}), "x | 50% | N/A | 0 | 60m"),
        ];
        for (kind, object, expected) in cases {
            assert_eq!(rows(kind, &[with(object)]), [expected], "{kind}");
        }
    }

    #[test]
    fn every_kind_has_a_cell_for_each_column() {
        let object = json!({"metadata": {"name": "x", "creationTimestamp": "2026-01-02T00:00:00Z"}});
        let kinds: Vec<String> =
            Registry::default().resources().into_iter().map(|resource| resource.kind.clone()).collect();
        for kind in kinds {
            assert_eq!(rows(&kind, std::slice::from_ref(&object)).len(), 1);
        }
    }

    #[test]
    fn a_cell_is_empty_where_the_value_is_of_another_type() {
        let column = |kind: &str, path: &str| Column {
            name: "c".to_owned(),
            kind: kind.to_owned(),
            format: String::new(),
            description: String::new(),
            priority: 0,
            path: path.to_owned(),
        };
        let object =
            json!({"metadata": {"name": "x"}, "spec": {"n": 5, "t": "2026-01-02T00:00:00Z", "l": [1, 2]}});
        let now = "2026-01-02T01:00:00Z".parse().unwrap();
        let columns = [
            column("integer", ".spec.n"),
            column("string", ".spec.n"),
            column("date", ".spec.t"),
            column("date", ".metadata.name"),
            column("boolean", ".spec.n"),
            column("string", ".spec.l"),
            column("string", ".spec.nothing"),
        ];
        let expected = json!(["x", 5, "5", "60m", "<invalid>", null, "[1,2]", null]);
        assert_eq!(Value::from(custom_row(&columns, &object, now)), expected);
    }
}
