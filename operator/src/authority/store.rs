//! The authority as the API keeps it: a Secret and a `ConfigMap` of one name. Owns their form; decides nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use super::AuthorityError;
use super::ca::{Anchor, Ca};
use super::plan::{Bundle, Kept};

/// Name of both objects.
pub(super) const NAME: &str = "palisade-ca";

/// Since when the bundle has been the same.
const SINCE: &str = "palisade/bundle-since";

/// The bundle's entry.
const BUNDLE: &str = "ca.crt";

const CURRENT: [&str; 2] = ["tls.crt", "tls.key"];
const NEXT: [&str; 2] = ["next.crt", "next.key"];
const PREVIOUS: &str = "previous.crt";

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Store {
    pub(super) secrets: Api<Secret>,
    pub(super) config_maps: Api<ConfigMap>,
    pub(super) namespace: String,
}

/// The Secret, and what it holds or what is wrong with it.
pub(super) struct FoundSecret {
    secret: Secret,
    pub(super) kept: Result<Kept, String>,
}

/// The `ConfigMap`, and what it holds.
pub(super) struct FoundBundle {
    config_map: Option<ConfigMap>,
    pub(super) bundle: Bundle,
}

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Done,
    /// Somebody else was faster: look again.
    Overtaken,
}

impl Store {
    pub(super) fn new(client: &Client, namespace: &str) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), namespace),
            config_maps: Api::namespaced(client.clone(), namespace),
            namespace: namespace.to_owned(),
        }
    }

    pub(super) async fn secret(&self) -> Result<Option<FoundSecret>, AuthorityError> {
        let found = self.secrets.get_opt(NAME).await.map_err(|error| self.failed("Secret", "get", &error))?;
        Ok(found.map(|secret| FoundSecret { kept: read(&secret), secret }))
    }

    pub(super) async fn bundle(&self) -> Result<FoundBundle, AuthorityError> {
        let found = self.config_maps.get_opt(NAME).await;
        let config_map = found.map_err(|error| self.failed("ConfigMap", "get", &error))?;
        let data = config_map.as_ref().and_then(|config_map| config_map.data.as_ref());
        let text = data.and_then(|data| data.get(BUNDLE)).cloned().unwrap_or_default();
        let notes = config_map.as_ref().and_then(|config_map| config_map.metadata.annotations.as_ref());
        let since = notes.and_then(|notes| notes.get(SINCE)).and_then(|since| since.parse().ok());
        Ok(FoundBundle { config_map, bundle: Bundle { text, since } })
    }

    /// Keeps an authority: in place of what was found, or where there was nothing.
    pub(super) async fn keep(
        &self,
        kept: &Kept,
        found: Option<FoundSecret>,
    ) -> Result<Written, AuthorityError> {
        let parameters = PostParams::default();
        let data = Some(entries(kept));
        let (verb, written) = if let Some(FoundSecret { secret, .. }) = found {
            let secret = Secret { data, string_data: None, ..secret };
            ("update", self.secrets.replace(NAME, &parameters, &secret).await)
        } else {
            let type_ = Some("kubernetes.io/tls".to_owned());
            let secret = Secret { data, type_, metadata: self.metadata(), ..Secret::default() };
            ("create", self.secrets.create(&parameters, &secret).await)
        };
        self.written("Secret", verb, written)
    }

    /// Puts a bundle out.
    pub(super) async fn publish(
        &self,
        text: &str,
        now: Timestamp,
        found: FoundBundle,
    ) -> Result<Written, AuthorityError> {
        let parameters = PostParams::default();
        let is_new = found.config_map.is_none();
        let mut config_map = found
            .config_map
            .unwrap_or_else(|| ConfigMap { metadata: self.metadata(), ..ConfigMap::default() });
        config_map.data.get_or_insert_default().insert(BUNDLE.to_owned(), text.to_owned());
        // Both cannot hold one key.
        config_map.binary_data.as_mut().map(|data| data.remove(BUNDLE));
        let notes = config_map.metadata.annotations.get_or_insert_default();
        notes.insert(SINCE.to_owned(), now.to_string());
        let (verb, written) = if is_new {
            ("create", self.config_maps.create(&parameters, &config_map).await)
        } else {
            ("update", self.config_maps.replace(NAME, &parameters, &config_map).await)
        };
        self.written("ConfigMap", verb, written)
    }

    fn metadata(&self) -> ObjectMeta {
        ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(self.namespace.clone()),
            ..ObjectMeta::default()
        }
    }

    fn written<T>(
        &self,
        kind: &'static str,
        verb: &'static str,
        written: Result<T, kube::Error>,
    ) -> Result<Written, AuthorityError> {
        match written {
            Ok(_) => Ok(Written::Done),
            // It is there after all, has changed since it was read, or has gone.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Written::Overtaken),
            Err(kube::Error::Api(status)) if status.code == 404 && verb == "update" => Ok(Written::Overtaken),
            Err(error) => Err(self.failed(kind, verb, &error)),
        }
    }

    fn failed(&self, kind: &'static str, verb: &'static str, error: &kube::Error) -> AuthorityError {
        let namespace = &self.namespace;
        let said = crate::said::api_error(error);
        let why = match error {
            kube::Error::Api(status) if status.code == 403 => format!(
                "{said}; the operator's ServiceAccount needs get, list, watch, create and update on secrets and \
                 configmaps named {NAME} in namespace {namespace}"
            ),
            kube::Error::Api(status) if status.code == 404 => {
                format!("{said}; create namespace {namespace}, or name another with --namespace")
            }
            kube::Error::Api(status) if status.code == 422 => {
                format!("{said}; if it is marked immutable, delete it: the operator makes it anew")
            }
            _ => said,
        };
        AuthorityError::Api { verb, object: format!("{kind} {namespace}/{NAME}"), why }
    }
}

fn entries(kept: &Kept) -> BTreeMap<String, ByteString> {
    let mut entries = BTreeMap::new();
    let mut put = |name: &str, text: &str| {
        entries.insert(name.to_owned(), ByteString(text.as_bytes().to_vec()));
    };
    for ([certificate, key], ca) in [(CURRENT, Some(&kept.current)), (NEXT, kept.next.as_ref())] {
        if let Some(ca) = ca {
            put(certificate, &ca.anchor.pem);
            put(key, ca.key_pem());
        }
    }
    if !kept.previous.is_empty() {
        put(PREVIOUS, &kept.previous.iter().map(|anchor| anchor.pem.as_str()).collect::<String>());
    }
    entries
}

/// What a Secret holds, or which entry is wrong and how.
fn read(secret: &Secret) -> Result<Kept, String> {
    let entry = |name: &str| -> Result<Option<&str>, String> {
        let Some(bytes) = secret.data.as_ref().and_then(|data| data.get(name)) else { return Ok(None) };
        std::str::from_utf8(&bytes.0).map(Some).map_err(|_| format!("{name}: it is not text"))
    };
    let pair = |[certificate, key]: [&'static str; 2]| -> Result<Option<Ca>, String> {
        match (entry(certificate)?, entry(key)?) {
            (None, None) => Ok(None),
            (Some(_), None) => Err(format!("{key}: it is missing")),
            (None, Some(_)) => Err(format!("{certificate}: it is missing")),
            (Some(text), Some(secret)) => Ca::read((certificate, text), (key, secret)).map(Some),
        }
    };
    let current = pair(CURRENT)?.ok_or_else(|| format!("{}: it is missing", CURRENT[0]))?;
    let previous =
        Anchor::read_all(entry(PREVIOUS)?.unwrap_or_default()).map_err(|why| format!("{PREVIOUS}: {why}"))?;
    Ok(Kept { current, next: pair(NEXT)?, previous })
}
