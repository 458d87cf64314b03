//! The serving certificate, issued by an authority that lives as long as the server.

use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It cannot be issued.
    #[error("cannot issue the serving certificate: check its further names")]
    Issue(#[from] rcgen::Error),
    /// It cannot be served.
    #[error("cannot serve the certificate that was issued")]
    Serve(#[from] rustls::Error),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Certificate {
    authority: String,
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

impl Certificate {
    /// For an address, the names of this host, and further ones.
    pub(crate) fn issue(address: IpAddr, names: &[String]) -> Result<Self, CertificateError> {
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, "palisade development authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_key = KeyPair::generate()?;
        let root = authority.self_signed(&authority_key)?;
        let mut all: Vec<String> =
            ["localhost", "kubernetes.default.svc", "127.0.0.1", "::1"].map(str::to_owned).into();
        all.push(address.to_string());
        all.extend_from_slice(names);
        all.sort();
        all.dedup();
        let mut leaf = CertificateParams::new(all)?;
        leaf.distinguished_name.push(DnType::CommonName, "palisade development API server");
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = leaf.signed_by(&key, &Issuer::new(authority, &authority_key))?;
        Ok(Self { authority: root.pem(), chain: vec![certificate.der().clone()], key: key.serialize_der() })
    }

    /// The authority's certificate, as PEM.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// As the listener takes it.
    pub(crate) fn server_config(&self) -> Result<Arc<ServerConfig>, CertificateError> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
