use bytes::Bytes;
use serde_json::json;

use super::*;

fn key(name: &str) -> Key {
    ("default".to_owned(), name.to_owned())
}

fn content(x: u64) -> Value {
    json!({"metadata": {}, "x": x})
}

fn create(store: &Store, name: &str, x: u64) -> Arc<Object> {
    store.write("pods", &key(name), Write::Create(content(x))).expect("create")
}

fn shown(page: &Page) -> Vec<(String, u64)> {
    page.objects.iter().map(|object| (object.key.1.clone(), object.value["x"].as_u64().expect("x"))).collect()
}

fn names(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
    pairs.iter().map(|(name, x)| ((*name).to_owned(), *x)).collect()
}

#[test]
fn a_write_gets_the_next_revision_of_all_kinds_together() {
    let store = Store::new(100);
    let first = create(&store, "a", 1);
    let other =
        store.write("nodes", &(String::new(), "n".to_owned()), Write::Create(content(2))).expect("create");
    let second = store.write("pods", &key("a"), Write::Replace(content(3), first.revision)).expect("replace");
    assert_eq!((first.revision, other.revision, second.revision), (2, 3, 4));
    assert_eq!(second.value, json!({"metadata": {"resourceVersion": "4"}, "x": 3}));
    assert_eq!(store.revision(), 4);
    assert_eq!(store.get("pods", &key("a")), Some(second));
}

#[test]
fn writes_that_expect_something_else_change_nothing() {
    let store = Store::new(100);
    let object = create(&store, "a", 1);
    let refused = [
        store.write("pods", &key("a"), Write::Create(content(9))),
        store.write("pods", &key("a"), Write::Replace(content(9), object.revision + 1)),
        store.write("pods", &key("b"), Write::Replace(content(9), 1)),
        store.write("pods", &key("a"), Write::Delete(content(9), 1)),
        store.write("pods", &key("b"), Write::Delete(content(9), 1)),
    ];
    let expected = [
        Err(StoreError::Exists),
        Err(StoreError::Changed),
        Err(StoreError::Missing),
        Err(StoreError::Changed),
        Err(StoreError::Missing),
    ];
    assert_eq!(refused, expected);
    assert_eq!(store.revision(), object.revision);
    assert_eq!(store.since("pods", 1).expect("history").changes.len(), 1);
}

#[test]
fn pages_are_of_the_state_of_the_first_page() {
    let store = Store::new(100);
    for (name, x) in [("a", 1), ("b", 2), ("d", 4), ("e", 5)] {
        create(&store, name, x);
    }
    let first = store.list("pods", Range { limit: 2, ..Range::default() }).expect("list");
    assert_eq!(shown(&first), names(&[("a", 1), ("b", 2)]));
    assert_eq!(first.next, Some((key("d"), 2)));
    // One changes, one goes, one comes; what was read before changes too.
    let d = store.get("pods", &key("d")).expect("d");
    store.write("pods", &key("d"), Write::Replace(content(40), d.revision)).expect("replace");
    let e = store.get("pods", &key("e")).expect("e");
    store.write("pods", &key("e"), Write::Delete(content(5), e.revision)).expect("delete");
    create(&store, "c", 3);
    create(&store, "f", 6);
    let from = first.next.map(|(from, _)| from);
    let range = Range { from: from.as_ref(), at: Some(first.revision), limit: 2, ..Range::default() };
    let second = store.list("pods", range).expect("list");
    assert_eq!((shown(&second), second.next), (names(&[("d", 4), ("e", 5)]), None));
    let now = store.list("pods", Range::default()).expect("list");
    assert_eq!(shown(&now), names(&[("a", 1), ("b", 2), ("c", 3), ("d", 40), ("f", 6)]));
}

#[test]
fn a_list_may_be_of_one_namespace() {
    let store = Store::new(100);
    for namespace in ["a", "b", "c"] {
        let key = (namespace.to_owned(), "x".to_owned());
        store.write("pods", &key, Write::Create(content(1))).expect("create");
    }
    let page = store.list("pods", Range { namespace: Some("b"), ..Range::default() }).expect("list");
    assert_eq!(page.objects.iter().map(|o| o.key.0.as_str()).collect::<Vec<_>>(), ["b"]);
    assert!(store.has_any("pods", "b") && !store.has_any("pods", "ab"));
}

#[test]
fn the_history_forgets_the_oldest_and_says_so() {
    let store = Store::new(2);
    for name in ["a", "b", "c"] {
        create(&store, name, 1);
    }
    // Revisions 2, 3, 4; 2 is forgotten, but what came after it is known.
    let told = store.since("pods", 2).expect("known");
    assert_eq!(told.changes.iter().map(|change| change.object.revision).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(store.since("pods", 1).expect_err("old"), StoreError::Expired { asked: 1, oldest: 2 });
    let old = store.list("pods", Range { at: Some(1), ..Range::default() });
    assert_eq!(old, Err(StoreError::Expired { asked: 1, oldest: 2 }));
    assert_eq!(store.since("pods", 5).expect_err("new"), StoreError::Future { asked: 5, current: 4 });
}

#[test]
fn compaction_expires_all_that_is_past() {
    let store = Store::new(100);
    create(&store, "a", 1);
    let now = create(&store, "b", 1).revision;
    store.compact();
    assert_eq!(store.since("pods", now - 1).expect_err("old"), StoreError::Expired { asked: 2, oldest: 3 });
    assert!(store.since("pods", now).expect("present").changes.is_empty());
    assert_eq!(store.list("pods", Range::default()).expect("list").objects.len(), 2);
}

#[test]
fn a_deletion_is_told_with_its_own_revision_and_the_last_content() {
    let store = Store::new(100);
    let object = create(&store, "a", 7);
    store.write("pods", &key("a"), Write::Delete(content(7), object.revision)).expect("delete");
    let news = store.since("pods", object.revision).expect("news");
    let [change] = news.changes.as_slice() else { panic!("{news:?}") };
    assert_eq!(change.kind, ChangeKind::Deleted);
    assert_eq!(change.object.value, json!({"metadata": {"resourceVersion": "3"}, "x": 7}));
    assert_eq!(change.previous, Some(object));
}

#[test]
fn much_news_comes_in_parts() {
    let store = Store::new(1000);
    for index in 0..300 {
        create(&store, &format!("{index:03}"), index);
    }
    let first = store.since("pods", 1).expect("news");
    assert_eq!((first.changes.len(), first.is_partial, first.revision), (BATCH, true, 1 + 256));
    let second = store.since("pods", first.revision).expect("news");
    assert_eq!((second.changes.len(), second.is_partial, second.revision), (44, false, 301));
}

#[test]
fn watchers_are_woken_and_told_the_end_of_a_kind() {
    let store = Store::new(100);
    let mut news = store.subscribe("pods");
    assert!(!news.has_changed().expect("open"));
    let revision = create(&store, "a", 1).revision;
    assert!(news.has_changed().expect("open"));
    news.mark_unchanged();
    store.drop_kind("pods");
    assert!(news.has_changed().expect("open"));
    assert!(store.since("pods", revision).expect("news").is_over);
    store.revive_kind("pods");
    assert!(!store.since("pods", revision).expect("news").is_over);
}

#[test]
fn a_line_is_made_once_for_each_form() {
    let object = Arc::new(Object { key: key("a"), revision: 1, value: content(1) });
    let change = Change::new(ChangeKind::Added, object, None);
    let plain = Encoding { api_version: "v1".to_owned(), form: "object" };
    let table = Encoding { api_version: "v1".to_owned(), form: "table" };
    let made = std::cell::Cell::new(0);
    let line = |kind, encoding: &Encoding| {
        change.line(kind, encoding, || {
            made.set(made.get() + 1);
            Bytes::from(made.get().to_string())
        })
    };
    let lines = [
        line(ChangeKind::Added, &plain),
        line(ChangeKind::Added, &plain),
        line(ChangeKind::Added, &table),
        line(ChangeKind::Deleted, &plain),
        line(ChangeKind::Added, &table),
    ];
    assert_eq!(lines, ["1", "1", "2", "3", "2"].map(Bytes::from));
}
