use std::sync::Arc;

use palisade_view::{Function, Key, KeyHasher, Local, Operation, Profile};

use super::*;

fn key(n: u64) -> Key {
    KeyHasher::new("test").u64(n).finish()
}

fn address(n: u8) -> std::net::IpAddr {
    [10, 0, 0, n].into()
}

fn member(n: u8) -> Operation {
    Operation::AddMembers(key(n.into()), vec![address(n)])
}

fn view(operations: &[Operation]) -> NodeView {
    let mut view = NodeView::default();
    view.apply_all(operations).unwrap();
    view
}

fn update(from: Option<Root>, to: Root, operations: &[Operation]) -> Collected {
    Collected { term: 1, from, to, operations: operations.to_vec() }
}

#[test]
fn a_delta_leads_from_the_held_view_to_the_next() {
    let (held, after) = (view(&[member(1)]), view(&[member(1), member(2)]));
    let delta = update(Some(held.root()), after.root(), &[member(2)]);
    assert_eq!(next(Some(&held), &delta), Ok(after));
    assert_eq!(held, view(&[member(1)]));
}

#[test]
fn a_snapshot_does_not_look_at_what_is_held() {
    let after = view(&[member(2)]);
    let snapshot = update(None, after.root(), &[member(2)]);
    for held in [None, Some(&view(&[member(1)])), Some(&after)] {
        assert_eq!(next(held, &snapshot).as_ref(), Ok(&after));
    }
}

#[test]
fn a_delta_from_elsewhere_is_a_mismatch() {
    let held = view(&[member(1)]);
    let delta = update(Some(Root(5)), held.root(), &[]);
    for held in [None, Some(&held)] {
        assert_eq!(next(held, &delta).unwrap_err().reason, Reason::RootMismatch);
    }
    // Holding nothing is not holding an empty view.
    let from_empty = update(Some(Root::EMPTY), Root::EMPTY, &[]);
    assert_eq!(next(None, &from_empty).unwrap_err().reason, Reason::RootMismatch);
    assert!(next(Some(&NodeView::default()), &from_empty).is_ok());
}

#[test]
fn what_does_not_fit_is_named_by_its_position() {
    let held = view(&[member(1)]);
    let delta = update(Some(held.root()), Root(9), &[member(2), member(1)]);
    let refusal = next(Some(&held), &delta).unwrap_err();
    assert_eq!((refusal.reason, refusal.operation), (Reason::Invalid, Some(1)));
    assert!(refusal.message.contains("10.0.0.1"), "{}", refusal.message);
}

#[test]
fn a_wrong_root_is_refused() {
    let snapshot = update(None, Root(9), &[member(1)]);
    let refusal = next(None, &snapshot).unwrap_err();
    assert_eq!((refusal.reason, refusal.operation), (Reason::Invalid, None));
    assert!(refusal.message.contains(&Root(9).to_string()), "{}", refusal.message);
}

#[test]
fn a_missing_profile_is_refused() {
    let profile = Arc::new(Profile::new(Function::allow_all(), Function::allow_all()));
    let local = Local { identity: key(1), egress: Some(profile.key()), ingress: None };
    let put = Operation::PutLocal(address(1), local);
    let mut dangling = NodeView::default();
    dangling.apply(&put).unwrap();
    let snapshot = update(None, dangling.root(), std::slice::from_ref(&put));
    assert_eq!(next(None, &snapshot).unwrap_err().reason, Reason::Invalid);

    let whole = [Operation::PutProfile(profile), put];
    assert!(next(None, &update(None, view(&whole).root(), &whole)).is_ok());
}
