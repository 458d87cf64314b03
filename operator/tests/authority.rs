//! The authority that shims trust, kept over an API server: made once, put back, rotated, and served with.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/memory.rs"]
mod memory;

use std::cell::RefCell;
use std::sync::{Arc, Once};
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use memory::{Memory, Mood, due};
use palisade_operator::authority::{Authority, Metrics, Serving, Settings, Timing};
use palisade_operator::leader::Leadership;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const NAME: &str = "palisade-ca";

struct Replica {
    lead: watch::Sender<Leadership>,
    serving: Serving,
    keeping: JoinHandle<()>,
}

impl Replica {
    fn start(api: &Memory, timing: Timing) -> Self {
        let settings = Settings {
            namespace: "palisade-system".to_owned(),
            names: vec!["192.0.2.1".to_owned(), "operator.example".to_owned()],
            timing,
        };
        let authority = Authority::new(&api.client(), settings, Metrics::default()).unwrap();
        let serving = authority.serving();
        let (lead, leadership) = watch::channel(Leadership::Leading { term: 1 });
        Self { lead, serving, keeping: tokio::spawn(authority.keep(leadership)) }
    }

    async fn is_usable(&mut self) {
        due("a certificate", self.serving.is_usable.wait_for(|usable| *usable)).await.unwrap();
    }
}

fn secrets(api: &Memory) -> Api<Secret> {
    Api::namespaced(api.client(), "palisade-system")
}

fn config_maps(api: &Memory) -> Api<ConfigMap> {
    Api::namespaced(api.client(), "palisade-system")
}

async fn entries(api: &Memory) -> std::collections::BTreeMap<String, ByteString> {
    secrets(api).get(NAME).await.unwrap().data.unwrap()
}

/// What shims read.
async fn bundle(api: &Memory) -> String {
    config_maps(api).get(NAME).await.unwrap().data.unwrap()["ca.crt"].clone()
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    due(what, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A handshake, as a shim does it that trusts this bundle. Gives the certificate that was shown.
async fn handshake(serving: &Serving, bundle: &str, name: &str) -> Result<CertificateDer<'static>, String> {
    let mut roots = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&serving.config));
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let (accepted, connected) = tokio::join!(acceptor.accept(far), connector.connect(name, near));
    let connected = connected.map_err(|error| error.to_string())?;
    accepted.map_err(|error| error.to_string())?;
    Ok(connected.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned())
}

#[tokio::test]
async fn it_is_made_once_and_every_leader_serves_with_it() {
    let api = Memory::new();
    // Two at once: neither takes what the other has made away.
    let mut replicas = [Replica::start(&api, Timing::default()), Replica::start(&api, Timing::default())];
    for replica in &mut replicas {
        replica.is_usable().await;
    }
    let (made, trusted) = (entries(&api).await, bundle(&api).await);
    assert_eq!(made.keys().collect::<Vec<_>>(), ["tls.crt", "tls.key"]);
    assert_eq!(made["tls.crt"].0, trusted.as_bytes());
    assert_eq!(secrets(&api).get(NAME).await.unwrap().type_.as_deref(), Some("kubernetes.io/tls"));
    for replica in &replicas {
        for name in
            ["palisade-operator", "palisade-operator.palisade-system.svc", "operator.example", "192.0.2.1"]
        {
            handshake(&replica.serving, &trusted, name).await.unwrap();
        }
        let wrong = handshake(&replica.serving, &trusted, "another.example").await.unwrap_err();
        assert!(wrong.contains("not valid for name"), "{wrong}");
    }

    // Whoever leads no more has nothing to serve with, and leads again with the same.
    let [replica, _] = &mut replicas;
    replica.lead.send_replace(Leadership::Standby { holder: None });
    due("no certificate", replica.serving.is_usable.wait_for(|usable| !usable)).await.unwrap();
    assert!(handshake(&replica.serving, &trusted, "localhost").await.is_err());
    replica.lead.send_replace(Leadership::Leading { term: 2 });
    replica.is_usable().await;
    handshake(&replica.serving, &trusted, "localhost").await.unwrap();
    assert_eq!((entries(&api).await, bundle(&api).await), (made, trusted));
}

#[tokio::test]
async fn a_leader_puts_back_what_is_deleted_or_damaged() {
    let api = Memory::new();
    let mut replica = Replica::start(&api, Timing::default());
    replica.is_usable().await;
    let (made, trusted) = (entries(&api).await, bundle(&api).await);
    let is_back = async || {
        let (secret, config_map) =
            (secrets(&api).get_opt(NAME).await.unwrap(), config_maps(&api).get_opt(NAME).await.unwrap());
        secret.and_then(|secret| secret.data).as_ref() == Some(&made)
            && config_map.and_then(|map| map.data).is_some_and(|data| data.get("ca.crt") == Some(&trusted))
    };

    secrets(&api).delete(NAME, &DeleteParams::default()).await.unwrap();
    until("the Secret is back", is_back).await;
    config_maps(&api).delete(NAME, &DeleteParams::default()).await.unwrap();
    until("the ConfigMap is back", is_back).await;

    let mut secret = secrets(&api).get(NAME).await.unwrap();
    secret.data.as_mut().unwrap().insert("tls.key".to_owned(), ByteString(b"oops".to_vec()));
    secrets(&api).replace(NAME, &PostParams::default(), &secret).await.unwrap();
    until("the key is back", is_back).await;
    let mut map = config_maps(&api).get(NAME).await.unwrap();
    map.data.as_mut().unwrap().insert("ca.crt".to_owned(), String::new());
    map.data.as_mut().unwrap().insert("other".to_owned(), "of somebody else".to_owned());
    config_maps(&api).replace(NAME, &PostParams::default(), &map).await.unwrap();
    until("the bundle is back", is_back).await;
    assert_eq!(config_maps(&api).get(NAME).await.unwrap().data.unwrap()["other"], "of somebody else");
    handshake(&replica.serving, &trusted, "palisade-operator").await.unwrap();
}

thread_local! {
    static LOGGED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Keeps what each thread logs; a test and everything it spawns is one thread.
struct Log;

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOGGED.with_borrow_mut(|kept| kept.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The subscriber is the process's: beside one of a single thread, an event that another thread meets first is taken
/// for one that nobody wants, and stays away from all.
fn keep_the_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(|| Log).init();
    });
}

fn said() -> String {
    LOGGED.with_borrow(|kept| String::from_utf8(kept.clone()).unwrap())
}

#[tokio::test]
async fn a_secret_of_other_content_is_left_alone_and_said_and_no_key_is_ever_logged() {
    keep_the_log();

    // A good one of another cluster, with a key that is not its own.
    let [elsewhere, other] = [Memory::new(), Memory::new()];
    for api in [&elsewhere, &other] {
        Replica::start(api, Timing::default()).is_usable().await;
    }
    let (good, mut damaged) = (entries(&elsewhere).await, entries(&elsewhere).await);
    damaged.insert("tls.key".to_owned(), entries(&other).await["tls.key"].clone());

    let api = Memory::new();
    let metadata = kube::api::ObjectMeta { name: Some(NAME.to_owned()), ..Default::default() };
    let secret = Secret { metadata, data: Some(damaged.clone()), ..Secret::default() };
    secrets(&api).create(&PostParams::default(), &secret).await.unwrap();
    let mut replica = Replica::start(&api, Timing::default());
    let expected =
        "Secret palisade-system/palisade-ca holds no authority that can be used: tls.key: it is not the key";
    until("it is said", async || said().contains(expected)).await;
    assert!(said().contains("put the right content back, or delete the Secret"), "{}", said());
    assert!(!*replica.serving.is_usable.borrow());
    assert_eq!(entries(&api).await, damaged);
    assert!(config_maps(&api).get_opt(NAME).await.unwrap().is_none());

    // Put right, it is taken.
    let mut secret = secrets(&api).get(NAME).await.unwrap();
    secret.data = Some(good.clone());
    secrets(&api).replace(NAME, &PostParams::default(), &secret).await.unwrap();
    replica.is_usable().await;
    handshake(&replica.serving, &bundle(&elsewhere).await, "palisade-operator").await.unwrap();

    // Another authority, put there on purpose, is in force at once: neither the port nor the process is restarted.
    let mut secret = secrets(&api).get(NAME).await.unwrap();
    secret.data = Some(entries(&other).await);
    secrets(&api).replace(NAME, &PostParams::default(), &secret).await.unwrap();
    let trusted = bundle(&other).await;
    until("the other is served with", async || {
        handshake(&replica.serving, &trusted, "palisade-operator").await.is_ok()
    })
    .await;
    assert_eq!(bundle(&api).await, trusted);

    for secret in [&good["tls.key"], &damaged["tls.key"]] {
        let text = String::from_utf8(secret.0.clone()).unwrap();
        let line = text.lines().nth(1).unwrap().to_owned();
        let bytes = format!("{:?}", &text.as_bytes()[30..60]);
        let said = said();
        assert!(
            !said.contains(&line)
                && !said.contains(bytes.trim_matches(['[', ']']))
                && !said.contains("PRIVATE KEY")
        );
    }
    assert!(said().contains("issued a serving certificate"), "the log was kept");
}

#[tokio::test]
async fn it_is_rotated_without_anybody_noticing() {
    let api = Memory::new();
    let second = Duration::from_secs(1);
    let hour = Duration::from_hours(1);
    // A successor every few seconds.
    let timing = Timing {
        lifetime: hour,
        renew_before: Duration::from_secs(3599),
        announce: second,
        leaf: hour,
        look: Duration::from_millis(100),
    };
    let mut replica = Replica::start(&api, timing);
    replica.is_usable().await;
    let mut read = bundle(&api).await;
    let mut signers = std::collections::BTreeSet::new();
    due("three authorities", async {
        while signers.len() < 3 {
            signers.insert(entries(&api).await["tls.crt"].0.clone());
            // A shim that has read the bundle one look ago.
            handshake(&replica.serving, &read, "palisade-operator").await.unwrap();
            read = bundle(&api).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    // What has signed is trusted to its end.
    for signer in &signers {
        assert!(read.contains(std::str::from_utf8(signer).unwrap()));
    }
}

#[tokio::test]
async fn a_serving_certificate_is_issued_anew_without_the_api_server() {
    let api = Memory::new();
    let timing =
        Timing { leaf: Duration::from_secs(4), look: Duration::from_millis(100), ..Timing::default() };
    let mut replica = Replica::start(&api, timing);
    replica.is_usable().await;
    let trusted = bundle(&api).await;
    let first = handshake(&replica.serving, &trusted, "palisade-operator").await.unwrap();
    api.mood(Mood::Broken);
    until("another certificate", async || {
        handshake(&replica.serving, &trusted, "palisade-operator").await.unwrap() != first
    })
    .await;
    replica.keeping.abort();
}
