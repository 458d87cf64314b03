//! Kubernetes' own kinds as clients in Go send them: in protobuf. Knows the wire and the table of fields in
//! `fields.txt`, which `fields.go` writes; gives the JSON that the same client would have sent.

mod wire;

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use self::wire::{Item, Reader};

/// What marks the format.
const MAGIC: [u8; 4] = *b"k8s\0";

/// Why a body cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtobufError {
    /// It does not begin as Kubernetes' protobuf does.
    #[error("it does not begin with the mark of Kubernetes' protobuf")]
    Magic,
    /// It breaks off, or a field has a form that its kind does not have.
    #[error("the message {message} is malformed")]
    Malformed {
        /// The message's name in Go.
        message: String,
    },
    /// The table has no such kind.
    #[error("there is no kind {kind} of {api_version} in protobuf: send JSON")]
    Unknown {
        /// As the body has it.
        api_version: String,
        /// As the body has it.
        kind: String,
    },
}

/// A field's place in JSON.
struct Field {
    /// `None`: its own fields are its owner's.
    name: Option<&'static str>,
    /// Whether JSON leaves it out when it is zero.
    omits_zero: bool,
    kind: Kind,
}

enum Kind {
    String,
    Bytes,
    Bool,
    Int,
    Time(/** digits of a second */ u8),
    Json,
    Quantity,
    IntOrString,
    List(Box<Kind>),
    /// A list in a message of its own.
    Wrapped(Box<Kind>),
    Map(Box<Kind>),
    Message(&'static str),
}

/// Fields by number, by message.
type Messages = HashMap<&'static str, HashMap<u32, Field>>;

static MESSAGES: LazyLock<Messages> = LazyLock::new(|| {
    let mut messages = Messages::new();
    let mut current = "";
    for line in include_str!("fields.txt").lines().filter(|line| !line.starts_with('#')) {
        let Some(field) = line.strip_prefix("  ") else {
            current = line;
            messages.entry(line).or_default();
            continue;
        };
        let mut words = field.splitn(3, ' ');
        if let (Some(number), Some(name), Some(kind)) = (words.next(), words.next(), words.next())
            && let Ok(tag) = number.trim_end_matches('?').parse()
        {
            let (name, omits_zero) = ((name != "-").then_some(name), number.ends_with('?'));
            messages.entry(current).or_default().insert(tag, Field { name, omits_zero, kind: kind_of(kind) });
        }
    }
    messages
});

fn kind_of(text: &'static str) -> Kind {
    let of = |rest| Box::new(kind_of(rest));
    match text.split_once(' ').unwrap_or((text, "")) {
        ("string", _) => Kind::String,
        ("bytes", _) => Kind::Bytes,
        ("bool", _) => Kind::Bool,
        ("int", _) => Kind::Int,
        ("time", _) => Kind::Time(0),
        ("microtime", _) => Kind::Time(6),
        ("json", _) => Kind::Json,
        ("quantity", _) => Kind::Quantity,
        ("int-or-string", _) => Kind::IntOrString,
        ("list", rest) => Kind::List(of(rest)),
        ("wrapped", rest) => Kind::Wrapped(of(rest)),
        ("map", rest) => Kind::Map(of(rest)),
        (message, _) => Kind::Message(message),
    }
}

/// The object in a body.
pub(crate) fn decode(body: &[u8]) -> Result<Value, ProtobufError> {
    let unknown = body.strip_prefix(&MAGIC).ok_or(ProtobufError::Magic)?;
    let malformed = || ProtobufError::Malformed { message: "runtime.Unknown".to_owned() };
    let (mut meta, mut raw) = (None, None);
    for (number, item) in Reader::new(unknown).all().ok_or_else(malformed)? {
        match (number, item) {
            (1, Item::Bytes(bytes)) => meta = Some(bytes),
            (2, Item::Bytes(bytes)) => raw = Some(bytes),
            _ => {}
        }
    }
    let (mut api_version, mut kind) = (String::new(), String::new());
    for (number, item) in Reader::new(meta.unwrap_or_default()).all().ok_or_else(malformed)? {
        let text = string(&item).ok_or_else(malformed)?;
        match number {
            1 => api_version = text,
            2 => kind = text,
            _ => {}
        }
    }
    let name = message_name(&api_version, &kind);
    let Some((&name, _)) = MESSAGES.get_key_value(name.as_str()) else {
        return Err(ProtobufError::Unknown { api_version, kind });
    };
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), api_version.into());
    object.insert("kind".to_owned(), kind.into());
    message(name, raw.unwrap_or_default(), &mut object)?;
    Ok(Value::Object(object))
}

/// The Go type of a kind: a group's package is its name's first part.
fn message_name(api_version: &str, kind: &str) -> String {
    if kind == "DeleteOptions" {
        return format!("k8s.io/apimachinery/pkg/apis/meta/v1.{kind}");
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    let package = group.split('.').next().unwrap_or_default();
    format!("k8s.io/api/{package}/{version}.{kind}")
}

fn message(name: &'static str, bytes: &[u8], object: &mut Map<String, Value>) -> Result<(), ProtobufError> {
    let malformed = || ProtobufError::Malformed { message: name.to_owned() };
    let Some(fields) = MESSAGES.get(name) else { return Err(malformed()) };
    for (number, item) in Reader::new(bytes).all().ok_or_else(malformed)? {
        // Of a newer release: dropped, as the server of an older one drops it.
        let Some(field) = fields.get(&number) else { continue };
        match (field.name, &field.kind, &item) {
            (None, Kind::Message(inner), Item::Bytes(bytes)) => message(inner, bytes, object)?,
            (Some(name), Kind::List(kind), _) => {
                let list = object.entry(name).or_insert_with(|| json!([]));
                let values = packed(kind, &item).ok_or_else(malformed)?;
                for item in values {
                    let value = value(kind, &item)?.ok_or_else(malformed)?;
                    list.as_array_mut().ok_or_else(malformed)?.push(value);
                }
            }
            (Some(name), Kind::Map(kind), Item::Bytes(bytes)) => {
                let (key, value) = entry(kind, bytes)?.ok_or_else(malformed)?;
                let map = object.entry(name).or_insert_with(|| json!({}));
                map.as_object_mut().ok_or_else(malformed)?.insert(key, value);
            }
            (Some(name), kind, _) => {
                let value = value(kind, &item)?.ok_or_else(malformed)?;
                if !(field.omits_zero && is_zero(&value)) {
                    object.insert(name.to_owned(), value);
                }
            }
            (None, ..) => return Err(malformed()),
        }
    }
    Ok(())
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is) => !is,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(_) | Value::Object(_) => false,
    }
}

/// Numbers may be in one piece.
fn packed<'a>(kind: &Kind, item: &Item<'a>) -> Option<Vec<Item<'a>>> {
    match (kind, item) {
        (Kind::Int | Kind::Bool, Item::Bytes(bytes)) => Reader::new(bytes).numbers(),
        _ => Some(vec![*item]),
    }
}

fn entry(kind: &Kind, bytes: &[u8]) -> Result<Option<(String, Value)>, ProtobufError> {
    let Some(items) = Reader::new(bytes).all() else { return Ok(None) };
    let (mut key, mut found) = (String::new(), None);
    for (number, item) in items {
        match number {
            1 => key = string(&item).unwrap_or_default(),
            2 => found = value(kind, &item)?,
            _ => {}
        }
    }
    // What is zero may be left out.
    let found = match found {
        Some(found) => Some(found),
        None => value(kind, &Item::Bytes(&[]))?,
    };
    Ok(found.map(|found| (key, found)))
}

/// `None`: the item is not of that kind.
fn value(kind: &Kind, item: &Item<'_>) -> Result<Option<Value>, ProtobufError> {
    Ok(match (kind, item) {
        (Kind::String, _) => string(item).map(Value::String),
        (Kind::Bytes, Item::Bytes(bytes)) => Some(STANDARD.encode(bytes).into()),
        (Kind::Bool, Item::Number(number)) => Some((*number != 0).into()),
        (Kind::Int, Item::Number(number)) => Some(number.cast_signed().into()),
        (Kind::Time(digits), Item::Bytes(bytes)) => time(bytes, *digits),
        (Kind::Json, Item::Bytes(bytes)) => {
            let raw = only(bytes, 1).unwrap_or(Item::Bytes(b"null"));
            match raw {
                Item::Bytes(text) => serde_json::from_slice(text).ok(),
                Item::Number(_) => None,
            }
        }
        (Kind::Quantity, Item::Bytes(bytes)) => {
            Some(only(bytes, 1).and_then(|text| string(&text)).unwrap_or_else(|| "0".to_owned()).into())
        }
        (Kind::IntOrString, Item::Bytes(bytes)) => match only(bytes, 1) {
            Some(Item::Number(1)) => only(bytes, 3).and_then(|text| string(&text)).map(Value::String),
            _ => match only(bytes, 2) {
                Some(Item::Number(number)) => Some(number.cast_signed().into()),
                _ => Some(0.into()),
            },
        },
        (Kind::Wrapped(kind), Item::Bytes(bytes)) => {
            let Some(items) = Reader::new(bytes).all() else { return Ok(None) };
            let mut list = Vec::new();
            for (_, item) in items {
                list.extend(value(kind, &item)?);
            }
            Some(list.into())
        }
        (Kind::Message(name), Item::Bytes(bytes)) => {
            let mut object = Map::new();
            message(name, bytes, &mut object)?;
            Some(Value::Object(object))
        }
        _ => None,
    })
}

fn string(item: &Item<'_>) -> Option<String> {
    match item {
        Item::Bytes(bytes) => String::from_utf8(bytes.to_vec()).ok(),
        Item::Number(_) => None,
    }
}

/// The last field of a number.
fn only(bytes: &[u8], number: u32) -> Option<Item<'_>> {
    Reader::new(bytes).all()?.into_iter().filter(|(tag, _)| *tag == number).map(|(_, item)| item).next_back()
}

/// The zero time is nothing.
fn time(bytes: &[u8], digits: u8) -> Option<Value> {
    let number = |tag| match only(bytes, tag) {
        Some(Item::Number(number)) => number.cast_signed(),
        _ => 0,
    };
    if bytes.is_empty() {
        return Some(Value::Null);
    }
    let moment = Timestamp::new(number(1), i32::try_from(number(2)).ok()?).ok()?;
    let digits = usize::from(digits);
    Some(format!("{moment:.digits$}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of bytes.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        field.extend_from_slice(bytes);
        field
    }

    fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
        // As client-go does, with an empty encoding and content type.
        [MAGIC.to_vec(), field(1, &meta), field(2, raw), field(3, b""), field(4, b"")].concat()
    }

    #[test]
    fn what_is_sent_is_what_json_would_have() {
        // metadata {name, generateName, creationTimestamp} and an empty spec and status, as `kubectl create ns` sends.
        let metadata = [field(1, b"x"), field(2, b""), field(8, b"")].concat();
        let raw = [field(1, &metadata), field(2, b""), field(3, &field(1, b""))].concat();
        assert_eq!(
            decode(&body("v1", "Namespace", &raw)).unwrap(),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}, "spec": {}, "status": {}}),
        );
        let data =
            [field(2, &[field(1, b"a"), field(2, b"\x00\xff")].concat()), field(3, b"Opaque")].concat();
        assert_eq!(decode(&body("v1", "Secret", &data)).unwrap()["data"], json!({"a": "AP8="}));
        let claims = [field(1, b"palisade"), vec![4 << 3, 0xd8, 0x04]].concat();
        assert_eq!(
            decode(&body("authentication.k8s.io/v1", "TokenRequest", &field(2, &claims))).unwrap()["spec"],
            json!({"audiences": ["palisade"], "expirationSeconds": 600}),
        );
    }

    #[test]
    fn values_with_a_form_of_their_own_have_it() {
        // A port by number and one by name; a moment.
        let port = [vec![1 << 3, 0], vec![2 << 3, 80], field(3, b"")].concat();
        assert_eq!(value(&Kind::IntOrString, &Item::Bytes(&port)).unwrap(), Some(json!(80)));
        let port = [vec![1 << 3, 1], vec![2 << 3, 0], field(3, b"http")].concat();
        assert_eq!(value(&Kind::IntOrString, &Item::Bytes(&port)).unwrap(), Some(json!("http")));
        let moment = [vec![1 << 3, 60], vec![2 << 3, 0]].concat();
        assert_eq!(
            value(&Kind::Time(0), &Item::Bytes(&moment)).unwrap(),
            Some(json!("1970-01-01T00:01:00Z"))
        );
        let micro = Some(json!("1970-01-01T00:01:00.000000Z"));
        assert_eq!(value(&Kind::Time(6), &Item::Bytes(&moment)).unwrap(), micro);
        let quantity = field(1, b"100m");
        assert_eq!(value(&Kind::Quantity, &Item::Bytes(&quantity)).unwrap(), Some(json!("100m")));
    }

    #[test]
    fn inlined_fields_are_their_owners() {
        // container {name "c", envFrom {configMapRef {localObjectReference {name "m"}}}}
        let reference = field(2, &field(1, &field(1, b"m")));
        let container = [field(1, b"c"), field(19, &reference)].concat();
        let mut object = Map::new();
        // The number 19 takes two bytes.
        let container = [container[..3].to_vec(), vec![0x9a, 0x01], container[4..].to_vec()].concat();
        message("k8s.io/api/core/v1.Container", &container, &mut object).unwrap();
        assert_eq!(Value::Object(object), json!({"name": "c", "envFrom": [{"configMapRef": {"name": "m"}}]}),);
    }

    #[test]
    fn every_message_of_the_table_is_in_it() {
        fn named(kind: &Kind) -> Option<&'static str> {
            match kind {
                Kind::Message(name) => Some(name),
                Kind::List(kind) | Kind::Map(kind) | Kind::Wrapped(kind) => named(kind),
                _ => None,
            }
        }
        assert!(MESSAGES.len() > 200, "{}", MESSAGES.len());
        for fields in MESSAGES.values() {
            for name in fields.values().filter_map(|field| named(&field.kind)) {
                assert!(MESSAGES.contains_key(name), "{name}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        assert_eq!(decode(b"{}"), Err(ProtobufError::Magic));
        let unknown = decode(&body("v1", "Nothing", b""));
        assert_eq!(
            unknown,
            Err(ProtobufError::Unknown { api_version: "v1".to_owned(), kind: "Nothing".to_owned() })
        );
        let broken = decode(&body("v1", "Namespace", &[1 << 3 | 2, 9, b'x'])).unwrap_err();
        assert_eq!(broken.to_string(), "the message k8s.io/api/core/v1.Namespace is malformed");
    }
}
