//! A real control plane: etcd and kube-apiserver, with files and credentials of their own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kube::api::{ListParams, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::json;
use socket2::{Domain, Socket, Type};
use tokio::time::{Instant, sleep};

use super::program::Program;
use crate::daemons::{secret, tail};
use crate::traffic::scaled;

/// How long both may take until they answer.
const START: Duration = Duration::from_mins(1);

/// See the module. Both end when dropped.
#[derive(Debug)]
pub(super) struct Assets {
    kubeconfig: String,
    // The API server first: it must not find etcd gone.
    server: Program,
    _etcd: Program,
    _ports: [Port; 3],
}

impl Assets {
    /// Starts them and waits until they are ready; their files live below a directory.
    pub(super) async fn start(directory: &Path) -> Result<Self> {
        let programs = directory_of_programs()?;
        let program = |name: &str| {
            let path = programs.join(name);
            path.canonicalize().with_context(|| {
                format!("{} is missing: build it with `.ci/prepare control-plane`", path.display())
            })
        };
        fs::create_dir_all(directory.join("logs"))?;
        let path = |name: &str| directory.join(name);
        let ports = [Port::reserve()?, Port::reserve()?, Port::reserve()?];
        let [client, peer, secure] = ports.each_ref().map(|port| port.number);

        let etcd = etcd(&path("etcd"), client, peer);
        let etcd = Program::start(&program("etcd")?, &etcd, &path("logs/etcd.log"))?;

        let credentials = Credentials::new()?;
        for (name, text) in [
            ("apiserver.crt", &credentials.certificate),
            ("apiserver.key", &credentials.key),
            ("accounts.key", &credentials.accounts),
            ("accounts.pub", &credentials.accounts_public),
            // The group that may do everything.
            ("tokens.csv", &format!("{},admin,admin,system:masters\n", credentials.token)),
        ] {
            secret(&path(name), text)?;
        }
        let log = path("logs/kube-apiserver.log");
        let server = kube_apiserver(&path, client, secure);
        let server = Program::start(&program("kube-apiserver")?, &server, &log)?;
        let kubeconfig = kubeconfig(secure, &credentials.authority, &credentials.token);
        let assets = Self { kubeconfig, server, _etcd: etcd, _ports: ports };
        assets.ready(&log).await?;
        Ok(assets)
    }

    /// The kubeconfig of an administrator.
    pub(super) fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    async fn ready(&self, log: &Path) -> Result<()> {
        let contents = Kubeconfig::from_yaml(&self.kubeconfig)?;
        let config = Config::from_custom_kubeconfig(contents, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config)?;
        let deadline = Instant::now() + scaled(START);
        let text = || tail(&fs::read_to_string(log).unwrap_or_default());
        loop {
            // To the client it is a list like any other; all that counts is whether it is granted.
            let request = Request::new("/readyz").list(&ListParams::default())?;
            match client.request_text(request).await {
                Ok(_) => return Ok(()),
                Err(_) if Instant::now() < deadline => {}
                Err(error) => bail!("kube-apiserver is not ready: {error}\n{}", text()),
            }
            if let Some(status) = self.server.ended() {
                bail!("kube-apiserver ended ({status}):\n{}", text());
            }
            // Nothing listens yet, so there is nothing to wait on but time.
            sleep(Duration::from_millis(50)).await;
        }
    }
}

fn etcd(data: &Path, client: u16, peer: u16) -> Vec<String> {
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    [
        format!("--data-dir={}", data.display()),
        format!("--listen-client-urls={}", url(client)),
        format!("--advertise-client-urls={}", url(client)),
        format!("--listen-peer-urls={}", url(peer)),
        format!("--initial-advertise-peer-urls={}", url(peer)),
        format!("--initial-cluster=default={}", url(peer)),
        "--socket-reuse-port".to_owned(),
        // What is in it need not outlive the machine.
        "--unsafe-no-fsync".to_owned(),
    ]
    .into()
}

fn kube_apiserver(path: &impl Fn(&str) -> PathBuf, etcd: u16, secure: u16) -> Vec<String> {
    let file = |name: &str| path(name).display().to_string();
    [
        format!("--etcd-servers=http://127.0.0.1:{etcd}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        format!("--secure-port={secure}"),
        "--permit-port-sharing".to_owned(),
        // What listens on loopback is nobody's endpoint.
        "--endpoint-reconciler-type=none".to_owned(),
        format!("--tls-cert-file={}", file("apiserver.crt")),
        format!("--tls-private-key-file={}", file("apiserver.key")),
        format!("--cert-dir={}", file("certificates")),
        format!("--token-auth-file={}", file("tokens.csv")),
        "--service-account-issuer=https://palisade.example".to_owned(),
        format!("--service-account-key-file={}", file("accounts.pub")),
        format!("--service-account-signing-key-file={}", file("accounts.key")),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        "--allow-privileged=true".to_owned(),
        // Without controllers no namespace has the default account that it wants of each pod.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
    ]
    .into()
}

fn kubeconfig(port: u16, authority: &str, token: &str) -> String {
    let encoded = k8s_openapi::ByteString(authority.as_bytes().to_vec());
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "palisade", "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority-data": encoded,
        }}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "palisade", "context": {"cluster": "palisade", "user": "admin"}}],
        "current-context": "palisade",
    })
    .to_string()
}

/// Where `.ci/prepare control-plane` puts the programs, unless `KUBEBUILDER_ASSETS` names another directory.
fn directory_of_programs() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("KUBEBUILDER_ASSETS").filter(|path| !path.is_empty()) {
        return Ok(PathBuf::from(given));
    }
    let program = std::env::current_exe()?;
    let mut places = program.ancestors().map(|directory| directory.join("kubernetes"));
    places.find(|place| place.join("kube-apiserver").is_file()).context(
        "there is no kube-apiserver: build it with `.ci/prepare control-plane`, or name its directory in \
         KUBEBUILDER_ASSETS",
    )
}

/// A port of the loopback address that is kept for one who shares it.
#[derive(Debug)]
struct Port {
    number: u16,
    // Bound but not listening: nothing is delivered to it, and nobody else is given the number.
    _held: Socket,
}

impl Port {
    fn reserve() -> Result<Self> {
        let held = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        held.set_reuse_port(true)?;
        held.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = held.local_addr()?.as_socket().context("a socket without an address")?;
        Ok(Self { number: address.port(), _held: held })
    }
}

struct Credentials {
    authority: String,
    certificate: String,
    key: String,
    /// Signs the tokens of accounts.
    accounts: String,
    accounts_public: String,
    /// An administrator's.
    token: String,
}

impl Credentials {
    fn new() -> Result<Self> {
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, "palisade-e2e certificate authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_key = KeyPair::generate()?;
        let authority_certificate = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);
        let mut leaf = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        leaf.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = leaf.signed_by(&key, &issuer)?;
        let accounts = KeyPair::generate()?;
        let token = KeyPair::generate()?;
        Ok(Self {
            authority: authority_certificate.pem(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            accounts: accounts.serialize_pem(),
            accounts_public: accounts.public_key_pem(),
            token: blake3::hash(token.serialized_der()).to_hex().to_string(),
        })
    }
}
