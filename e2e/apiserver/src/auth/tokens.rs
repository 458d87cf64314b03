//! Signed tokens of ServiceAccounts (JSON Web Tokens, HS256). Knows what they say and how long it holds, not whether
//! the objects they are bound to are still there.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use jiff::Timestamp;
use ring::hmac;
use serde::{Deserialize, Serialize};

use super::{User, decode, encode};

/// An object that a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// Its name.
    pub name: String,
    /// Its uid; empty for a node that was not there when the token was issued.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// The claims of kube-apiserver's own tokens, by its names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kubernetes {
    /// Of the account.
    pub namespace: String,
    /// The pod's node when the token was issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
    /// The token holds as long as this pod is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    /// The account.
    pub serviceaccount: Reference,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Whom it is for.
    pub aud: Vec<String>,
    /// Until when it holds, in seconds since 1970.
    pub exp: i64,
    /// When it was issued.
    pub iat: i64,
    /// Who issued it.
    pub iss: String,
    /// Its own name.
    pub jti: String,
    /// See [`Kubernetes`].
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Kubernetes,
    /// From when on it holds.
    pub nbf: i64,
    /// The user.
    pub sub: String,
}

impl Claims {
    /// The user that the token stands for.
    pub fn user(&self) -> User {
        let own = &self.kubernetes;
        let mut user = User {
            name: self.sub.clone(),
            uid: own.serviceaccount.uid.clone(),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{}", own.namespace),
                "system:authenticated".to_owned(),
            ],
            ..User::default()
        };
        let mut tell = |name: &str, value: String| {
            user.extra.insert(format!("authentication.kubernetes.io/{name}"), vec![value]);
        };
        tell("credential-id", format!("JTI={}", self.jti));
        for (what, reference) in [("pod", &own.pod), ("node", &own.node)] {
            let Some(reference) = reference else { continue };
            tell(&format!("{what}-name"), reference.name.clone());
            if !reference.uid.is_empty() {
                tell(&format!("{what}-uid"), reference.uid.clone());
            }
        }
        user
    }
}

/// Why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not one of ours.
    #[error("invalid bearer token")]
    Foreign,
    /// Its time is over.
    #[error("service account token has expired")]
    Expired,
}

/// See the module.
#[derive(Debug)]
pub struct Tokens {
    key: hmac::Key,
    ahead: Mutex<Duration>,
}

impl Tokens {
    /// With a key that nobody else has: a server's tokens end with it.
    pub fn new() -> Self {
        let secret: [u8; 32] = rand::random();
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &secret), ahead: Mutex::default() }
    }

    /// Moves the clock that tokens are judged by forward.
    pub fn advance(&self, by: Duration) {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }

    /// The time that tokens are judged by, in seconds since 1970.
    pub fn now(&self) -> i64 {
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner).as_secs();
        Timestamp::now().as_second().saturating_add_unsigned(ahead)
    }

    /// Signs claims.
    ///
    /// # Errors
    /// They cannot be written as JSON.
    pub fn issue(&self, claims: &Claims) -> Result<String, serde_json::Error> {
        let header = encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        let body = format!("{header}.{}", encode(serde_json::to_vec(claims)?));
        let signature = hmac::sign(&self.key, body.as_bytes());
        Ok(format!("{body}.{}", encode(signature)))
    }

    /// What a token says, if it is one of ours and still holds.
    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let (body, signature) = token.rsplit_once('.').ok_or(TokenError::Foreign)?;
        let signature = decode(signature).ok_or(TokenError::Foreign)?;
        hmac::verify(&self.key, body.as_bytes(), &signature).map_err(|_| TokenError::Foreign)?;
        let claims =
            body.rsplit_once('.').and_then(|(_, claims)| decode(claims)).ok_or(TokenError::Foreign)?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| TokenError::Foreign)?;
        if claims.exp <= self.now() { Err(TokenError::Expired) } else { Ok(claims) }
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn claims(tokens: &Tokens) -> Claims {
        let reference = |name: &str| Reference { name: name.into(), uid: format!("{name}-uid") };
        Claims {
            aud: vec!["palisade".into()],
            exp: tokens.now() + 600,
            iat: tokens.now(),
            iss: "me".into(),
            jti: "j".into(),
            kubernetes: Kubernetes {
                namespace: "ns".into(),
                node: Some(Reference { name: "n".into(), uid: String::new() }),
                pod: Some(reference("p")),
                serviceaccount: reference("sa"),
            },
            nbf: tokens.now(),
            sub: "system:serviceaccount:ns:sa".into(),
        }
    }

    #[test]
    fn a_token_says_what_it_was_issued_for() {
        let tokens = Tokens::new();
        let claims = claims(&tokens);
        let token = tokens.issue(&claims).expect("token");
        assert_eq!(tokens.verify(&token), Ok(claims.clone()));
        let extra = [("credential-id", "JTI=j"), ("node-name", "n"), ("pod-name", "p"), ("pod-uid", "p-uid")];
        let expected = User {
            name: "system:serviceaccount:ns:sa".into(),
            uid: "sa-uid".into(),
            groups: ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"]
                .map(str::to_owned)
                .into(),
            extra: extra
                .map(|(name, value)| (format!("authentication.kubernetes.io/{name}"), vec![value.to_owned()]))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
        };
        assert_eq!(claims.user(), expected);
    }

    #[test]
    fn what_was_not_signed_here_is_refused() {
        let tokens = Tokens::new();
        let token = tokens.issue(&claims(&tokens)).expect("token");
        assert_eq!(Tokens::new().verify(&token), Err(TokenError::Foreign));
        let (body, signature) = token.rsplit_once('.').expect("dots");
        let other = encode(serde_json::to_vec(&claims(&tokens)).expect("json"));
        let header = body.split_once('.').expect("dot").0;
        for forged in ["", "a.b", "a.b.c", body, &format!("{header}.{other}x.{signature}")] {
            assert_eq!(tokens.verify(forged), Err(TokenError::Foreign), "{forged}");
        }
    }

    #[test]
    fn a_token_ends_with_its_time() {
        let tokens = Tokens::new();
        let token = tokens.issue(&claims(&tokens)).expect("token");
        tokens.advance(Duration::from_secs(500));
        assert!(tokens.verify(&token).is_ok());
        tokens.advance(Duration::from_secs(101));
        assert_eq!(tokens.verify(&token), Err(TokenError::Expired));
    }
}
