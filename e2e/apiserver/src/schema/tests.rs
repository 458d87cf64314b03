#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values")]

use serde_json::{Value, json};

use super::*;

fn schema(spec: Value) -> Schema {
    Schema::structural(json!({
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
        },
        "required": ["spec"],
    }))
    .unwrap()
}

fn causes(schema: &Schema, spec: Value) -> Vec<String> {
    schema
        .check(&json!({"metadata": {"name": "x"}, "spec": spec}), None)
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn what_breaks_a_keyword_is_said_as_kube_apiserver_says_it() {
    let schema = schema(json!({
        "type": "object",
        "required": ["must"],
        "minProperties": 1,
        "maxProperties": 3,
        "properties": {
            "must": {"type": "string", "minLength": 2, "maxLength": 4, "pattern": "^[a-z]+$"},
            "number": {"type": "integer", "minimum": 0, "maximum": 1000, "multipleOf": 5},
            "word": {"type": "string", "enum": ["Admin", "Baseline"]},
            "list": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "string"}},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "map": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": {"type": "object", "properties": {"type": {"type": "string"}}},
            },
            "either": {"x-kubernetes-int-or-string": true},
            "open": {"type": "number", "minimum": 1, "exclusiveMinimum": true},
            "time": {"type": "string", "format": "date-time"},
            "nullable": {"type": "string", "nullable": true},
            "one": {"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
                "properties": {"a": {"type": "string"}, "b": {"type": "string"}}},
        },
    }));
    let wrong = |spec: Value| causes(&schema, spec);
    let good = json!({"must": "abc"});
    assert_eq!(wrong(good), [""; 0]);
    for (spec, expected) in [
        (json!({"number": 5}), "spec.must: Required value"),
        (
            json!({"must": "abc", "number": 1005}),
            "spec.number: Invalid value: 1005: spec.number in body should be less than or equal to 1000",
        ),
        (
            json!({"must": "abc", "number": -5}),
            "spec.number: Invalid value: -5: spec.number in body should be greater than or equal to 0",
        ),
        (
            json!({"must": "abc", "number": 7}),
            "spec.number: Invalid value: 7: spec.number in body should be a multiple of 5",
        ),
        (
            json!({"must": "abc", "number": "7"}),
            "spec.number: Invalid value: \"string\": spec.number in body must be of type integer: \"string\"",
        ),
        (
            json!({"must": "abc", "word": "Log"}),
            "spec.word: Unsupported value: \"Log\": supported values: \"Admin\", \"Baseline\"",
        ),
        (
            json!({"must": "abc", "list": []}),
            "spec.list: Invalid value: 0: spec.list in body should have at least 1 items",
        ),
        (
            json!({"must": "abc", "list": ["a", "b", "c"]}),
            "spec.list: Too many: 3: must have at most 2 items",
        ),
        (json!({"must": "abc", "set": ["a", "b", "a"]}), "spec.set[2]: Duplicate value: \"a\""),
        (
            json!({"must": "abc", "map": [{"type": "a"}, {"type": "a"}]}),
            "spec.map[1]: Duplicate value: {\"type\":\"a\"}",
        ),
        (
            json!({"must": "abc", "either": true}),
            "spec.either: Invalid value: \"boolean\": spec.either in body must be of type integer,string: \"boolean\"",
        ),
        (
            json!({"must": "abc", "open": 1}),
            "spec.open: Invalid value: 1: spec.open in body should be greater than 1",
        ),
        (
            json!({"must": "a"}),
            "spec.must: Invalid value: \"a\": spec.must in body should be at least 2 chars long",
        ),
        (json!({"must": "abcde"}), "spec.must: Too long: may not be more than 4 bytes"),
        (
            json!({"must": "AB"}),
            "spec.must: Invalid value: \"AB\": spec.must in body should match '^[a-z]+$'",
        ),
        (
            json!({"must": "abc", "one": {"a": "x", "b": "y"}}),
            "<nil>: Invalid value: \"\": \"spec.one\" must validate one and only one schema (oneOf). Found 2 valid \
             alternatives",
        ),
        (
            json!({"must": "abc", "number": 5, "word": "Admin", "list": ["a"]}),
            "spec: Too many: 4: must have at most 3 items",
        ),
    ] {
        assert_eq!(wrong(spec.clone()), [expected], "{spec}");
    }
    assert_eq!(wrong(json!({"must": "abc", "nullable": null})), [""; 0]);
    assert_eq!(wrong(json!({"must": "abc", "time": "2026-01-02T03:04:05Z"})), [""; 0]);
    assert_eq!(wrong(json!({"must": "abc", "time": "yesterday"})).len(), 1);
}

#[test]
fn rules_see_the_old_object_too() {
    let schema = schema(json!({
        "type": "object",
        "properties": {"tier": {"type": "string"}, "size": {"type": "integer"}},
        "x-kubernetes-validations": [
            {"rule": "self.tier == oldSelf.tier", "message": "the tier stays"},
            {"rule": "!has(self.size) || self.size > 1", "message": "too small"},
        ],
    }));
    let object =
        |tier: &str, size: i64| json!({"metadata": {"name": "x"}, "spec": {"tier": tier, "size": size}});
    assert_eq!(schema.check(&object("a", 2), None), []);
    assert_eq!(schema.check(&object("a", 2), Some(&object("a", 3))), []);
    let said = |new: &Value, old: Option<&Value>| -> Vec<String> {
        schema.check(new, old).iter().map(|cause| format!("{} {}", cause.field, cause.message)).collect()
    };
    let changed = said(&object("b", 2), Some(&object("a", 2)));
    assert!(changed.len() == 1 && changed[0].ends_with("the tier stays"), "{changed:?}");
    let small = said(&object("b", 1), None);
    assert_eq!(small, ["spec Invalid value: \"object\": too small"]);
}

#[test]
fn unknown_fields_go_and_what_is_left_out_comes() {
    let schema = schema(json!({
        "type": "object",
        "properties": {
            "protocol": {"type": "string", "default": "TCP"},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "properties": {"known": {"type": "object", "properties": {"a": {"type": "string"}}}}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "items": {"type": "array", "items": {"type": "object", "properties": {
                "name": {"type": "string"}, "port": {"type": "integer", "default": 80}}}},
            "whole": {"type": "object", "default": {"x": "y"}, "properties": {"x": {"type": "string"}}},
        },
    }));
    let mut object = json!({
        "apiVersion": "v1",
        "metadata": {"name": "x", "nonsense": 1},
        "spec": {
            "extra": 1,
            "free": {"anything": {"goes": true}, "known": {"a": "b", "c": "d"}},
            "labels": {"any": "thing"},
            "items": [{"name": "a", "colour": "red"}, {"port": 1}],
        },
        "status": {},
    });
    let unknown = schema.prune(&mut object);
    assert_eq!(
        unknown,
        ["metadata.nonsense", "spec.extra", "spec.free.known.c", "spec.items[0].colour", "status"]
    );
    schema.default(&mut object);
    let expected = json!({
        "apiVersion": "v1",
        "metadata": {"name": "x"},
        "spec": {
            "protocol": "TCP",
            "free": {"anything": {"goes": true}, "known": {"a": "b"}},
            "labels": {"any": "thing"},
            "items": [{"name": "a", "port": 80}, {"port": 1}],
            "whole": {"x": "y"},
        },
    });
    assert_eq!(object, expected);
}

#[test]
fn schemas_that_do_not_compile_are_refused_with_the_place() {
    let refused = |spec: Value| -> Vec<String> {
        let schema = json!({"type": "object", "properties": {"spec": spec}});
        Schema::structural(schema).unwrap_err().into_iter().map(|cause| cause.field).collect()
    };
    assert_eq!(refused(json!({"type": "string", "pattern": "["})), ["properties[spec].pattern"]);
    let rule = json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.a =="}]});
    assert_eq!(refused(rule), ["properties[spec].x-kubernetes-validations"]);
}
