//! One certificate authority: its certificate and key, made, read and used. Knows neither where it is kept nor when it
//! is due. Keys are never shown.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

/// How far clocks may differ: what is made now is valid since before.
const SKEW: Duration = Duration::from_hours(1);

/// A certificate that others trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    /// PEM, in one form whatever it was read from.
    pub(super) pem: String,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

/// An anchor with its key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Ca {
    pub(super) anchor: Anchor,
    der: CertificateDer<'static>,
    key: String,
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ca").field("anchor", &self.anchor).finish_non_exhaustive()
    }
}

/// A serving certificate with its chain and key.
pub(super) struct Leaf {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) not_after: Timestamp,
}

impl Anchor {
    /// Reads a PEM certificate of an authority.
    pub(super) fn read(pem: &str) -> Result<Self, String> {
        match Self::read_all(pem)?.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err("it holds no PEM certificate".to_owned()),
            more => Err(format!("it holds {} certificates, one is wanted", more.len())),
        }
    }

    /// Reads any number of them.
    pub(super) fn read_all(pem: &str) -> Result<Vec<Self>, String> {
        CertificateDer::pem_slice_iter(pem.as_bytes())
            .map(|der| Self::of(&der.map_err(|error| format!("it is not PEM: {error}"))?))
            .collect()
    }

    fn of(der: &CertificateDer<'_>) -> Result<Self, String> {
        let (rest, certificate) = X509Certificate::from_der(der)
            .map_err(|error| format!("it holds no X.509 certificate: {error}"))?;
        if !rest.is_empty() {
            return Err("something follows the certificate".to_owned());
        }
        let is_ca = certificate.basic_constraints().ok().flatten().is_some_and(|found| found.value.ca);
        let may_sign = certificate
            .key_usage()
            .ok()
            .is_some_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()));
        if !is_ca || !may_sign {
            return Err(
                "its certificate is not one of an authority (basicConstraints CA, keyUsage keyCertSign)"
                    .to_owned(),
            );
        }
        let time = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_second(time.timestamp()).map_err(|error| error.to_string())
        };
        let validity = certificate.validity();
        let (not_before, not_after) = (time(validity.not_before)?, time(validity.not_after)?);
        Ok(Self { pem: to_pem(der), not_before, not_after })
    }
}

impl Ca {
    /// A new one.
    pub(super) fn make(lifetime: Duration, now: Timestamp) -> Result<Self, rcgen::Error> {
        let mut ca = CertificateParams::default();
        // Two that are trusted at once must differ in their names: a chain is looked for by name.
        let mark = format!("{:016x}", rand::random::<u64>());
        ca.distinguished_name = named(&format!("palisade-operator certificate authority {mark}"));
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        valid(&mut ca, now, now.as_second().saturating_add(seconds(lifetime)));
        let key = KeyPair::generate()?;
        let certificate = ca.self_signed(&key)?;
        let der = certificate.der().clone();
        let anchor = Anchor::of(&der).map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
        Ok(Self { anchor, der, key: key.serialize_pem() })
    }

    /// Reads a certificate and its key. The words of the error begin with the entry that is wrong.
    pub(super) fn read(
        (name, certificate): (&str, &str),
        (key_name, key): (&str, &str),
    ) -> Result<Self, String> {
        let anchor = Anchor::read(certificate).map_err(|why| format!("{name}: {why}"))?;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|error| format!("{name}: it is not PEM: {error}"))?;
        // What rcgen says of a key it cannot read says nothing of the key.
        let pair = KeyPair::from_pem(key).map_err(|error| {
            format!(
                "{key_name}: it holds no key that can be used (PEM, PKCS #8; ECDSA, Ed25519 or RSA): {error}"
            )
        })?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|error| format!("{name}: {error}"))?;
        if parsed.public_key().raw != pair.subject_public_key_info() {
            return Err(format!("{key_name}: it is not the key of {name}"));
        }
        Ok(Self { anchor, der: der.clone(), key: pair.serialize_pem() })
    }

    /// The key, to be kept where only the operator can read it.
    pub(super) fn key_pem(&self) -> &str {
        &self.key
    }

    /// Issues a serving certificate. It ends no later than the authority.
    pub(super) fn issue(
        &self,
        names: &[String],
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Leaf, rcgen::Error> {
        let mut leaf = CertificateParams::new(names)?;
        leaf.distinguished_name = named("palisade-operator");
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let end = now.as_second().saturating_add(seconds(lifetime)).min(self.anchor.not_after.as_second());
        valid(&mut leaf, now, end);
        let issuer = Issuer::from_ca_cert_der(&self.der, KeyPair::from_pem(&self.key)?)?;
        let key = KeyPair::generate()?;
        let certificate = leaf.signed_by(&key, &issuer)?;
        let not_after = Timestamp::from_second(end).unwrap_or(Timestamp::MAX);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Leaf { chain: vec![certificate.der().clone()], key, not_after })
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn valid(certificate: &mut CertificateParams, now: Timestamp, end: i64) {
    let at = |second: i64| {
        let second = u64::try_from(second).unwrap_or_default();
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(second)
    };
    certificate.not_before = at(now.as_second().saturating_sub(seconds(SKEW)));
    certificate.not_after = at(end);
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn to_pem(der: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::prelude::BASE64_STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for (index, character) in text.chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem.push_str("\n-----END CERTIFICATE-----\n");
    pem
}
