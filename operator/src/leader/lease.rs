//! The Lease as an election reads and writes it: client-go's resource lock, so that `kubectl get lease` and other
//! tools mean the same by it. Knows neither roles nor the API client.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::ObjectMeta;

/// Who holds it; nobody where it has been released.
pub(super) fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// How often it has changed hands.
pub(super) fn transitions(lease: &Lease) -> i32 {
    lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or_default().max(0)
}

/// How long it lasts without being renewed, as its holder wrote.
pub(super) fn duration(lease: &Lease) -> Option<Duration> {
    let seconds = lease.spec.as_ref()?.lease_duration_seconds?;
    Some(Duration::from_secs(seconds.max(0).unsigned_abs().into()))
}

/// The term that its present holder leads in: (seconds of its creation) * 2^31 + transitions. A Lease that was deleted
/// and made anew goes on with higher terms.
pub(super) fn term(lease: &Lease) -> u64 {
    let created = lease.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
    let created = created.clamp(0, i64::from(u32::MAX)).unsigned_abs();
    (created << 31) + u64::from(transitions(lease).unsigned_abs())
}

/// A Lease that there was none of.
pub(super) fn first(namespace: &str, name: &str) -> Lease {
    let metadata = ObjectMeta {
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    };
    Lease { metadata, spec: None }
}

/// Held by somebody from now on.
pub(super) fn taken(base: &Lease, me: &str, lasts: Duration, transitions: i32, wall: Timestamp) -> Lease {
    let spec = LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: Some(whole_seconds(lasts)),
        acquire_time: Some(MicroTime(wall)),
        renew_time: Some(MicroTime(wall)),
        lease_transitions: Some(transitions),
        ..base.spec.clone().unwrap_or_default()
    };
    Lease { metadata: base.metadata.clone(), spec: Some(spec) }
}

/// Held on by who holds it. Writes the transitions too: a term must not go back because somebody edited them.
pub(super) fn renewed(base: &Lease, me: &str, lasts: Duration, transitions: i32, wall: Timestamp) -> Lease {
    let mut lease = taken(base, me, lasts, transitions, wall);
    let acquired = base.spec.as_ref().and_then(|spec| spec.acquire_time.clone());
    if let (Some(spec), Some(acquired)) = (&mut lease.spec, acquired) {
        spec.acquire_time = Some(acquired);
    }
    lease
}

/// Given up: whoever comes may take it at once.
pub(super) fn released(base: &Lease, wall: Timestamp) -> Lease {
    let mut lease = taken(base, "", Duration::from_secs(1), transitions(base), wall);
    if let Some(spec) = &mut lease.spec {
        spec.holder_identity = None;
    }
    lease
}

fn whole_seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs().max(1)).unwrap_or(i32::MAX)
}
