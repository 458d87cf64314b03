//! The life of an authority, with times as the test likes them.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::ca::{Anchor, Ca};
use super::plan::{Bundle, Kept, Step, Timing, plan, text};

const DAY: Duration = Duration::from_hours(24);

fn day(day: f64) -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap() + DAY.mul_f64(day)
}

fn fresh(now: Timestamp) -> Kept {
    Kept { current: Ca::make(365 * DAY, now).unwrap(), next: None, previous: Vec::new() }
}

/// Does what is due, as an operator does, until it rests.
fn settle(kept: &mut Kept, bundle: &mut Bundle, now: Timestamp) -> (Vec<&'static str>, Timestamp) {
    let mut done = Vec::new();
    for _ in 0..super::STEPS {
        match plan(kept, bundle, now, Timing::default()) {
            Step::Succeed => {
                kept.next = Some(Ca::make(365 * DAY, now).unwrap());
                done.push("succeed");
            }
            Step::Keep(next) => {
                done.push(if next.current == kept.current { "forget" } else { "promote" });
                *kept = *next;
            }
            Step::Publish(text) => {
                *bundle = Bundle { text, since: Some(now) };
                done.push("publish");
            }
            Step::Rest(until) => return (done, until),
        }
    }
    panic!("it does not come to rest: {done:?}");
}

/// Whether somebody who trusts this bundle accepts what this authority issues.
fn is_accepted(bundle: &str, by: &Ca, now: Timestamp) -> bool {
    let leaf = by.issue(&["palisade-operator".to_owned()], Timing::default().leaf, now).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(now.as_second().unsigned_abs()));
    let name = ServerName::try_from("palisade-operator").unwrap();
    rustls::client::danger::ServerCertVerifier::verify_server_cert(
        &*verifier,
        &leaf.chain[0],
        &[],
        &name,
        &[],
        at,
    )
    .is_ok()
}

#[test]
fn a_successor_is_trusted_before_it_signs_and_its_predecessor_until_its_end() {
    let (mut kept, mut bundle) = (fresh(day(0.0)), Bundle::default());
    let first = kept.current.clone();
    assert_eq!(settle(&mut kept, &mut bundle, day(0.0)), (vec!["publish"], day(245.0)));
    assert_eq!(settle(&mut kept, &mut bundle, day(244.9)).0, [""; 0]);

    assert_eq!(settle(&mut kept, &mut bundle, day(245.0)), (vec!["succeed", "publish"], day(246.0)));
    let second = kept.next.clone().unwrap();
    assert_eq!(kept.current, first);
    let announced = bundle.text.clone();
    assert!(is_accepted(&announced, &first, day(245.0)) && is_accepted(&announced, &second, day(245.0)));
    assert_eq!(settle(&mut kept, &mut bundle, day(245.99)).0, [""; 0]);

    // Who signs changes; what is trusted does not.
    assert_eq!(settle(&mut kept, &mut bundle, day(246.0)).0, ["promote"]);
    assert_eq!((&kept.current, &kept.next, kept.previous.len()), (&second, &None, 1));
    assert_eq!(bundle.text, announced);

    let (done, until) = settle(&mut kept, &mut bundle, day(364.0));
    assert_eq!((done, until), (vec![], day(490.0)));
    assert_eq!(settle(&mut kept, &mut bundle, day(365.0)).0, ["forget", "publish"]);
    assert!(!is_accepted(&bundle.text, &first, day(364.0)) && is_accepted(&bundle.text, &second, day(365.0)));
}

#[test]
fn at_every_moment_of_ten_years_a_shim_with_a_bundle_of_a_day_ago_accepts_what_is_served() {
    let (mut kept, mut bundle) = (fresh(day(0.0)), Bundle::default());
    settle(&mut kept, &mut bundle, day(0.0));
    let mut read = bundle.text.clone();
    let mut authorities = std::collections::BTreeSet::new();
    for today in 0..3650 {
        let now = day(f64::from(today));
        settle(&mut kept, &mut bundle, now);
        authorities.insert(kept.current.anchor.pem.clone());
        if today % 7 == 0 || kept.next.is_some() || !kept.previous.is_empty() {
            assert!(is_accepted(&read, &kept.current, now), "day {today}");
        }
        read.clone_from(&bundle.text);
    }
    assert_eq!(authorities.len(), 15);
}

#[test]
fn an_announcement_begins_again_when_the_bundle_was_not_out() {
    let (mut kept, mut bundle) = (fresh(day(0.0)), Bundle::default());
    settle(&mut kept, &mut bundle, day(245.0));
    let announced = bundle.clone();
    // Somebody deletes the ConfigMap, edits it, takes the note away or writes it wrong.
    let later = day(247.0);
    let damaged = [
        Bundle::default(),
        Bundle { text: "x".to_owned(), ..announced.clone() },
        Bundle { since: None, ..announced.clone() },
        Bundle { since: Some(day(300.0)), ..announced.clone() },
    ];
    for damaged in damaged {
        let (mut kept, mut bundle) = (kept.clone(), damaged);
        assert_eq!(settle(&mut kept, &mut bundle, later), (vec!["publish"], day(248.0)));
        assert_eq!(bundle.text, announced.text);
        assert_eq!(settle(&mut kept, &mut bundle, day(248.0)).0, ["promote"]);
    }
}

#[test]
fn an_authority_that_ended_while_nobody_looked_is_replaced_at_once() {
    for absent_until in [364.6, 365.0, 1000.0] {
        let (mut kept, mut bundle) = (fresh(day(0.0)), Bundle::default());
        settle(&mut kept, &mut bundle, day(0.0));
        let now = day(absent_until);
        let (done, _) = settle(&mut kept, &mut bundle, now);
        assert_eq!(done[..3], ["succeed", "publish", "promote"], "{absent_until}");
        assert!(is_accepted(&bundle.text, &kept.current, now), "{absent_until}");
    }
}

#[test]
fn a_leaf_ends_with_its_authority_and_carries_every_name() {
    let ca = Ca::make(10 * DAY, day(0.0)).unwrap();
    let leaf =
        ca.issue(&["palisade-operator".to_owned(), "192.0.2.1".to_owned()], 14 * DAY, day(5.0)).unwrap();
    assert_eq!(leaf.not_after, day(10.0));
    let (_, parsed) = x509_parser::parse_x509_certificate(&leaf.chain[0]).unwrap();
    assert_eq!(parsed.validity().not_after.timestamp(), day(10.0).as_second());
    let names = format!("{:?}", parsed.subject_alternative_name().unwrap().unwrap().value.general_names);
    assert!(names.contains("palisade-operator") && names.contains("192, 0, 2, 1"), "{names}");
    let (_, issuer) = x509_parser::parse_x509_certificate(
        &CertificateDer::from_pem_slice(ca.anchor.pem.as_bytes()).unwrap(),
    )
    .map(|(rest, certificate)| (rest.len(), certificate.subject().to_string()))
    .unwrap();
    assert_eq!(parsed.issuer().to_string(), issuer);
    assert!(ca.issue(&["not a name\u{e9}".to_owned()], DAY, day(0.0)).is_err());
}

#[test]
fn what_is_kept_is_read_again_the_same_and_the_key_is_not_shown() {
    let ca = Ca::make(365 * DAY, day(0.0)).unwrap();
    let read = Ca::read(("tls.crt", &ca.anchor.pem), ("tls.key", ca.key_pem())).unwrap();
    assert_eq!(read, ca);
    assert_eq!((ca.anchor.not_before, ca.anchor.not_after), (day(0.0) - Duration::from_hours(1), day(365.0)));
    let shown = format!("{:?}", Kept { current: ca.clone(), next: Some(ca.clone()), previous: vec![] });
    let secret = ca.key_pem().lines().nth(1).unwrap();
    assert!(!shown.contains(secret) && !shown.contains("PRIVATE"), "{shown}");
    assert!(is_accepted(&text(&Kept { current: ca, next: None, previous: vec![] }), &read, day(1.0)));
}

#[test]
fn what_is_no_authority_is_said_with_the_entry_that_is_wrong() {
    let [ca, other] = [Ca::make(365 * DAY, day(0.0)).unwrap(), Ca::make(365 * DAY, day(0.0)).unwrap()];
    let (good, key) = (ca.anchor.pem.as_str(), ca.key_pem());
    let self_signed = |is_ca: IsCa| {
        let mut params = CertificateParams::new(vec!["x".to_owned()]).unwrap();
        params.is_ca = is_ca;
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let leaf = self_signed(IsCa::NoCa);
    let two = format!("{good}{}", other.anchor.pem);
    let cut = good.replacen("MII", "MIJ", 1);
    let cases = [
        ("", key, "tls.crt: it holds no PEM certificate"),
        ("nonsense", key, "tls.crt: it holds no PEM certificate"),
        (&cut, key, "tls.crt: "),
        (&two, key, "tls.crt: it holds 2 certificates"),
        (&leaf.0, &leaf.1, "tls.crt: its certificate is not one of an authority"),
        (good, "", "tls.key: it holds no key"),
        (good, good, "tls.key: it holds no key"),
        (good, other.key_pem(), "tls.key: it is not the key of tls.crt"),
    ];
    for (certificate, key, expected) in cases {
        let said = Ca::read(("tls.crt", certificate), ("tls.key", key)).unwrap_err();
        assert!(said.starts_with(expected), "{expected}: {said}");
        assert!(!said.contains("PRIVATE"), "{said}");
    }
    // Another's authority serves as well.
    let foreign = self_signed(IsCa::Ca(BasicConstraints::Unconstrained));
    let foreign = Ca::read(("tls.crt", &foreign.0), ("tls.key", &foreign.1)).unwrap();
    assert!(is_accepted(&foreign.anchor.pem, &foreign, day(1.0)));
    assert_eq!(Anchor::read_all("").unwrap(), []);
    assert_eq!(Anchor::read_all(&two).unwrap().len(), 2);
}
