//! The grammars of Kubernetes' names, labels and ports. Knows nothing of objects.

/// A label's name part and every label value: letters, digits, `-`, `_`, `.`, at both ends a letter or digit.
fn is_label_text(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// A label's key: a name of up to 63 characters, before it a DNS subdomain and `/`, if it has a prefix.
pub(super) fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && is_label_text(name),
        None => is_label_text(key),
    }
}

/// A label's value, which may be empty.
pub(super) fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_label_text(value)
}

/// RFC 1123 label, as Kubernetes wants it: lower case, up to 63 characters.
pub(super) fn is_dns_label(name: &str) -> bool {
    name.len() <= 63 && is_dns_part(name)
}

/// RFC 1123 subdomain, as Kubernetes wants it: labels between dots. Kubernetes bounds the whole, not the parts.
pub(super) fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_dns_part)
}

fn is_dns_part(part: &str) -> bool {
    let outer = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    bytes.first().is_some_and(outer)
        && bytes.last().is_some_and(outer)
        && bytes.iter().all(|byte| outer(byte) || *byte == b'-')
}

/// A name that a container port can have (RFC 6335 service name).
pub(super) fn is_port_name(name: &str) -> bool {
    name.len() <= 15
        && is_dns_label(name)
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
        && !name.contains("--")
}

/// The `DomainName` pattern of the CRDs, with its `A-z`: what the API stores must not be called broken here.
pub(super) fn is_domain_pattern(name: &str) -> bool {
    let label = |label: &str| {
        let first = |byte: u8| matches!(byte, b'A'..=b'z' | b'0'..=b'9');
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        match label.as_bytes() {
            [] => false,
            [only] => first(*only),
            [start, middle @ .., last] => {
                first(*start) && middle.iter().copied().all(inner) && last.is_ascii_alphanumeric()
            }
        }
    };
    let name = name.strip_prefix("*.").unwrap_or(name);
    let name = name.strip_suffix('.').unwrap_or(name);
    name.contains('.') && name.split('.').all(label)
}
