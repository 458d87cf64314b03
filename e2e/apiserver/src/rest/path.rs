//! Which resource a path names.

use percent_encoding::percent_decode_str;

/// A path under `/api` or `/apis`, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ResourcePath {
    /// Empty for the core group.
    pub(super) group: String,
    /// Such as `v1`.
    pub(super) version: String,
    /// For resources in a namespace.
    pub(super) namespace: Option<String>,
    /// Plural name.
    pub(super) resource: String,
    /// For one object.
    pub(super) name: Option<String>,
    /// Such as `status`.
    pub(super) subresource: Option<String>,
}

impl ResourcePath {
    /// `None` for paths of discovery and for those that are no API path.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let decoded = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let parts: Vec<String> = path.trim_matches('/').split('/').map(decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, resource, rest) = match rest {
            // A part of a namespace; other names there are resources in it.
            ["namespaces", _, "status" | "finalize"] if group.is_empty() => (None, "namespaces", &rest[1..]),
            ["namespaces", namespace, resource, rest @ ..] => (Some(*namespace), *resource, rest),
            [resource, rest @ ..] => (None, *resource, rest),
            [] => return None,
        };
        let (name, subresource) = match rest {
            [] => (None, None),
            [name] => (Some(*name), None),
            [name, subresource] => (Some(*name), Some(*subresource)),
            _ => return None,
        };
        if resource.is_empty() || version.is_empty() {
            return None;
        }
        Some(Self {
            group: group.to_owned(),
            version: version.to_owned(),
            namespace: namespace.map(str::to_owned),
            resource: resource.to_owned(),
            name: name.map(str::to_owned),
            subresource: subresource.map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(path: &str) -> Option<[String; 6]> {
        let path = ResourcePath::parse(path)?;
        let shown = |part: Option<String>| part.unwrap_or_else(|| "-".to_owned());
        Some([
            path.group,
            path.version,
            shown(path.namespace),
            path.resource,
            shown(path.name),
            shown(path.subresource),
        ])
    }

    #[test]
    fn paths_name_resources() {
        let cases = [
            ("/api/v1/pods", ["", "v1", "-", "pods", "-", "-"]),
            ("/api/v1/namespaces", ["", "v1", "-", "namespaces", "-", "-"]),
            ("/api/v1/namespaces/a", ["", "v1", "-", "namespaces", "a", "-"]),
            ("/api/v1/namespaces/a/status", ["", "v1", "-", "namespaces", "a", "status"]),
            ("/api/v1/namespaces/a/pods", ["", "v1", "a", "pods", "-", "-"]),
            ("/api/v1/namespaces/a/pods/p/status", ["", "v1", "a", "pods", "p", "status"]),
            ("/apis/g.io/v1/things/x%3Ay", ["g.io", "v1", "-", "things", "x:y", "-"]),
            ("/apis/g.io/v1/namespaces/a/things/x/", ["g.io", "v1", "a", "things", "x", "-"]),
        ];
        for (path, expected) in cases {
            assert_eq!(parsed(path), Some(expected.map(str::to_owned)), "{path}");
        }
    }

    #[test]
    fn other_paths_do_not() {
        for path in ["/", "/api", "/apis", "/apis/g.io", "/apis/g.io/v1", "/version", "/api/v1/pods/a/b/c"] {
            assert_eq!(parsed(path), None, "{path}");
        }
    }
}
