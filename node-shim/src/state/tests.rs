use std::os::unix::fs::PermissionsExt;

use palisade_ruleset::Planner;
use palisade_view::{Function, KeyHasher, Local, Operation, Profile, Program};

use super::*;

fn state() -> State {
    let identity = KeyHasher::new("test").finish();
    let main = palisade_view::FunctionBuilder::new(Program::NONE, Program::all()).build();
    let profile = Arc::new(Profile::new(main, Function::allow_all()));
    let address = [10, 0, 0, 1].into();
    let local = Local { identity, egress: Some(profile.key()), ingress: None };
    let mut view = NodeView::default();
    view.apply_all(&[
        Operation::PutProfile(profile),
        Operation::AddMembers(identity, vec![address]),
        Operation::PutLocal(address, local),
    ])
    .unwrap();
    let mut planner = Planner::new(Numbers::default());
    planner.load(&view).unwrap();
    planner.commit();
    State { view: Arc::new(view), numbers: planner.numbers().clone(), term: 42 }
}

#[test]
fn what_was_saved_is_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let state = state();
    assert_ne!(state.numbers, Numbers::default());
    let store = Store::open(&directory.path().join("deep/state")).unwrap();
    assert_eq!(store.load().unwrap(), None);
    store.save(&state).unwrap();
    assert_eq!(store.load().unwrap(), Some(state.clone()));
    let newer = State { term: 43, ..state };
    store.save(&newer).unwrap();
    assert_eq!(store.load().unwrap(), Some(newer));

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&store.path()), 0o600);
    assert_eq!(mode(store.path().parent().unwrap()), 0o700);
    assert!(store.remove().unwrap());
    assert!(!store.remove().unwrap());
    assert_eq!(store.load().unwrap(), None);
}

#[test]
fn every_torn_or_changed_file_is_noticed() {
    let bytes = encode(&state()).unwrap();
    assert_eq!(decode(&bytes).unwrap(), state());
    for length in 0..bytes.len() {
        assert!(decode(&bytes[..length]).is_err(), "cut to {length} bytes");
    }
    for position in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[position] ^= 0x10;
        assert!(decode(&changed).is_err(), "byte {position} changed");
    }
}

#[test]
fn a_whole_file_is_still_checked() {
    let resealed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = encode(&state()).unwrap();
        bytes.truncate(bytes.len() - SUM);
        change(&mut bytes);
        let sum = blake3::hash(&bytes);
        bytes.extend_from_slice(sum.as_bytes());
        decode(&bytes)
    };
    let position = MAGIC.len();
    assert!(matches!(resealed(&|bytes| bytes[position + 3] ^= 0x80), Err(StateError::Version(_))));
    assert!(matches!(resealed(&|bytes| bytes[position + 12] ^= 1), Err(StateError::Unfit(_))), "root");
    assert!(matches!(resealed(&|bytes| bytes[position + 28] = 0xff), Err(StateError::Damaged(_))), "length");
    assert!(matches!(resealed(&|bytes| bytes.push(0)), Err(StateError::View(_))), "operations");
}

#[test]
fn a_directory_has_one_owner() {
    let directory = tempfile::tempdir().unwrap();
    let first = Store::open(directory.path()).unwrap();
    assert!(matches!(Store::open(directory.path()), Err(StateError::InUse(_))));
    drop(first);
    assert!(Store::open(directory.path()).is_ok());
}

#[test]
fn a_state_directory_that_cannot_be_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(Store::open(&file.path().join("x")), Err(StateError::Io { .. })));
}
