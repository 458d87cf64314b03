//! The serving certificate: given, or issued by an own authority that outlives the process in a directory.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;
use tracing::info;

use crate::args::Args;
use crate::authority::Serving;

/// Names that every own serving certificate carries.
const NAMES: [&str; 3] = ["palisade-operator", "palisade-operator.palisade-system.svc", "localhost"];

/// Certificate chain and key, as PEM.
#[derive(Clone)]
pub struct Material {
    certificate: String,
    key: String,
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Material").finish_non_exhaustive()
    }
}

impl Material {
    /// Reads the given certificate, or makes one. An own authority is made once and kept, so that shims go on
    /// trusting it; its serving certificate is issued anew at each start.
    ///
    /// # Errors
    /// A file cannot be read or written, or does not hold what it should.
    pub fn prepare(args: &Args) -> anyhow::Result<Self> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
        };
        if let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) {
            return Ok(Self { certificate: read(certificate)?, key: read(key)? });
        }
        let [certificate, key, ca_key] =
            ["tls.crt", "tls.key", "ca.key"].map(|name| args.manifests.tls_dir.join(name));
        if certificate.exists() && key.exists() && !ca_key.exists() {
            // Another authority's, as cert-manager puts it there. An own one would overwrite it.
            info!(certificate = %certificate.display(), "using the given serving certificate");
            return Ok(Self { certificate: read(&certificate)?, key: read(&key)? });
        }
        issue(&args.manifests.tls_dir, &args.tls_san)
            .with_context(|| format!("preparing the certificates in {}", args.manifests.tls_dir.display()))
    }

    /// As the server takes it.
    ///
    /// # Errors
    /// The certificate or its key is malformed, or they do not belong together.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, UnusableCertificate> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(self.certificate.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(UnusableCertificate::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(UnusableCertificate::Key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(UnusableCertificate::Pair)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(UnusableCertificate::Pair)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    /// As a port is served with it: usable from now on.
    ///
    /// # Errors
    /// The certificate or its key is malformed, or they do not belong together.
    pub fn serving(&self) -> Result<Serving, UnusableCertificate> {
        let (_, is_usable) = watch::channel(true);
        Ok(Serving { config: self.server_config()?, is_usable })
    }
}

/// A serving certificate that does not serve.
#[derive(Debug, thiserror::Error)]
pub enum UnusableCertificate {
    /// No certificate chain.
    #[error("the certificate is not PEM: check --tls-cert, or tls.crt in --tls-dir")]
    Certificate(#[source] rustls_pki_types::pem::Error),
    /// No key.
    #[error("the key is not PEM: check --tls-key, or tls.key in --tls-dir")]
    Key(#[source] rustls_pki_types::pem::Error),
    /// They do not go together.
    #[error("certificate and key do not go together")]
    Pair(#[source] rustls::Error),
}

fn issue(directory: &Path, names: &[String]) -> anyhow::Result<Material> {
    std::fs::create_dir_all(directory)?;
    let (ca_key_file, ca_file) = (directory.join("ca.key"), directory.join("ca.crt"));
    let ca = authority();
    let ca_key = if ca_key_file.exists() && ca_file.exists() {
        let pem = std::fs::read_to_string(&ca_key_file).with_context(|| ca_key_file.display().to_string())?;
        KeyPair::from_pem(&pem).with_context(|| {
            format!("{} holds no key: remove it with ca.crt to make a new authority", ca_key_file.display())
        })?
    } else {
        let key = KeyPair::generate().context("making the authority's key")?;
        let certificate = ca.self_signed(&key).context("making the authority's certificate")?;
        write(&ca_key_file, &key.serialize_pem(), 0o600)?;
        write(&ca_file, &certificate.pem(), 0o644)?;
        info!(ca = %ca_file.display(), "made a certificate authority; shims need its certificate (--ca)");
        key
    };
    let all = NAMES.iter().map(|name| (*name).to_owned()).chain(names.iter().cloned());
    let mut leaf =
        CertificateParams::new(all.collect::<Vec<_>>()).context("a name of --tls-san is malformed")?;
    leaf.distinguished_name = named("palisade-operator");
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().context("making the serving key")?;
    let certificate =
        leaf.signed_by(&key, &Issuer::new(ca, &ca_key)).context("issuing the serving certificate")?;
    let material = Material { certificate: certificate.pem(), key: key.serialize_pem() };
    write(&directory.join("tls.key"), &material.key, 0o600)?;
    write(&directory.join("tls.crt"), &material.certificate, 0o644)?;
    Ok(material)
}

/// The same parameters at each start: with the kept key they are the kept authority.
fn authority() -> CertificateParams {
    let mut ca = CertificateParams::default();
    ca.distinguished_name = named("palisade-operator certificate authority");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// Whole or not at all, and never readable by others for a moment.
fn write(path: &Path, content: &str, mode: u32) -> anyhow::Result<()> {
    let part = path.with_extension("part");
    let _ = std::fs::remove_file(&part);
    let mut file = std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(mode)
        .open(&part)
        .with_context(|| part.display().to_string())?;
    file.write_all(content.as_bytes()).and_then(|()| file.sync_all())?;
    std::fs::rename(&part, path).with_context(|| path.display().to_string())
}
