//! What a token claims of itself, read without trust: enough to send away what cannot be a node's token without asking
//! the API server, and to know when a token that it accepted ends. Never who somebody is.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;

/// The longest token that is looked at, in bytes. Kubernetes' own are around 1,200.
const LONGEST: usize = 16 * 1024;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) subject: String,
    pub(super) audiences: Vec<String>,
    /// Seconds since 1970.
    pub(super) expires: Option<i64>,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    sub: String,
    #[serde(default)]
    aud: Audience,
    exp: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

/// The claims of a JWT (RFC 7519) in its compact form. `None`: it is none.
pub(super) fn read(token: &str) -> Option<Claims> {
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    if token.len() > LONGEST || header.is_empty() || signature.is_empty() {
        return None;
    }
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?;
    let Payload { sub, aud, exp } = serde_json::from_slice(&payload).ok()?;
    let audiences = match aud {
        Audience::One(audience) => vec![audience],
        Audience::Many(audiences) => audiences,
    };
    // A number of seconds, which may have a fraction; `as` saturates.
    #[allow(clippy::cast_possible_truncation, reason = "it is the fraction that goes")]
    let expires = exp.map(|seconds| seconds as i64);
    Some(Claims { subject: sub, audiences, expires })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &str) -> String {
        format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn a_service_account_token_is_read() {
        let text = r#"{"aud":["palisade","x"],"exp":1893456000,"iss":"https://k","sub":"system:serviceaccount:a:b"}"#;
        let claims = read(&token(text)).unwrap();
        assert_eq!(claims.subject, "system:serviceaccount:a:b");
        assert_eq!(claims.audiences, ["palisade", "x"]);
        assert_eq!(claims.expires, Some(1_893_456_000));
        let claims = read(&token(r#"{"aud":"palisade","exp":1e300}"#)).unwrap();
        assert_eq!((claims.audiences, claims.expires), (vec!["palisade".to_owned()], Some(i64::MAX)));
        assert_eq!(read(&token("{}")).unwrap().expires, None);
    }

    #[test]
    fn anything_else_is_none() {
        let long = token(&format!(r#"{{"sub":"{}"}}"#, "x".repeat(LONGEST)));
        let bad = [
            "",
            "guess",
            "a.b",
            "a.b.c",
            ".e30.c",
            "e30.e30.",
            "e30.e30.c.d",
            "e30.W10.c",
            "e30.e30=.c",
            &long,
        ];
        for bad in bad {
            assert_eq!(read(bad), None, "{bad:.40}");
        }
        for payload in ["[]", "5", r#"{"exp":"soon"}"#, r#"{"aud":5}"#, r#"{"sub":1}"#, "\u{0}"] {
            assert_eq!(read(&token(payload)), None, "{payload}");
        }
    }
}
