use std::collections::BTreeMap;
use std::io::Write;

use notify::event::{AccessKind, AccessMode, DataChange, EventKind, ModifyKind};
use palisade_compiler::model::{Event, Kind, Object, ObjectRef};

use super::document::documents;
use super::library::{Library, UNREADABLE};
use super::*;

fn namespace(name: &str, env: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n  labels: {{env: {env}}}\n")
}

fn policy(name: &str, action: &str) -> String {
    format!(
        "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {{name: {name}}}\n\
         spec: {{priority: 1, subject: {{namespaces: {{}}}}, ingress: [{{action: {action}, from: [{{namespaces: {{}}}}]}}]}}\n"
    )
}

fn files(all: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    all.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
}

fn reference(kind: Kind, name: &str) -> ObjectRef {
    ObjectRef { kind, namespace: None, name: name.to_owned() }
}

/// What a batch does: `+name=env` for a namespace, `+name` for another object, `-name` for one that is gone.
fn steps(batch: &Batch) -> Vec<String> {
    let step = |event: &Event| match event {
        Event::Apply(Object::Namespace(namespace)) => {
            format!("+{}={}", namespace.name, namespace.labels["env"])
        }
        Event::Apply(object) => format!("+{}", object.object().name),
        Event::Delete(object) => format!("-{}", object.name),
    };
    batch.events.iter().map(step).collect()
}

fn errors(batch: &Batch, file: &str) -> Vec<String> {
    batch.files[file].as_ref().unwrap().errors.clone()
}

#[test]
fn documents_know_their_lines_and_do_not_harm_each_other() {
    let text = "# a comment\n\na: 1\n---\nb: [\n---\n# nothing\n--- {c: 3}\n...\nd: |\n  x\n---\n";
    let found: Vec<_> = documents(text)
        .into_iter()
        .map(|document| (document.line, document.objects.map(|objects| objects[0].to_string())))
        .collect();
    assert_eq!(found.len(), 4, "{found:?}");
    assert_eq!(found[0], (3, Ok(r#"{"a":1}"#.to_owned())));
    assert!(matches!(&found[1], (_, Err((5..=6, what))) if what.contains("unclosed")), "{found:?}");
    assert_eq!(found[2], (8, Ok(r#"{"c":3}"#.to_owned())));
    assert_eq!(found[3], (10, Ok(r#"{"d":"x\n"}"#.to_owned())));
}

#[test]
fn words_that_old_yaml_took_for_booleans_are_words() {
    let [document] = &documents("{a: y, b: no, on: off, c: true}")[..] else { panic!("one document") };
    let objects = document.objects.as_ref().unwrap();
    assert_eq!(objects[0], serde_json::json!({"a": "y", "b": "no", "on": "off", "c": true}));
}

#[test]
fn lists_are_their_items() {
    let text = format!(
        "kind: List\napiVersion: v1\nitems:\n- {}\n- {{apiVersion: v1, kind: Namespace, metadata: {{name: b, labels: {{env: y}}}}}}\n",
        namespace("a", "x").replace('\n', "\n  ").trim_end()
    );
    assert_eq!(steps(&Library::default().replace(files(&[("l.yaml", &text)]))), ["+a=x", "+b=y"]);
}

#[test]
fn objects_come_change_and_go_with_their_files() {
    let mut library = Library::default();
    let two = format!("{}---\n{}", namespace("a", "x"), namespace("b", "x"));
    let first = library.replace(files(&[("one.yaml", &two), ("two.yml", &namespace("c", "x"))]));
    assert_eq!(steps(&first), ["+a=x", "+b=x", "+c=x"]);
    assert_eq!(first.files["one.yaml"].as_ref().unwrap().documents, 2);
    assert_eq!(
        first.files["one.yaml"].as_ref().unwrap().digest,
        blake3::hash(two.as_bytes()).to_hex().to_string()
    );

    let same = library.replace(files(&[("one.yaml", &two), ("two.yml", &namespace("c", "x"))]));
    assert!(same.files.is_empty() && same.events.is_empty());

    let changed =
        library.replace(files(&[("one.yaml", &namespace("b", "y")), ("two.yml", &namespace("c", "x"))]));
    assert_eq!(steps(&changed), ["-a", "+b=y"]);
    let gone = library.replace(files(&[("one.yaml", &namespace("b", "y"))]));
    assert_eq!(steps(&gone), ["-c"]);
    assert_eq!(gone.files, BTreeMap::from([("two.yml".to_owned(), None)]));

    // Renamed: the object stays what it is.
    let renamed = library.replace(files(&[("three.yaml", &namespace("b", "y"))]));
    assert!(renamed.events.is_empty());
}

#[test]
fn a_broken_document_leaves_its_objects_and_its_neighbours_in_force() {
    let mut library = Library::default();
    let good = format!("{}---\n{}", namespace("a", "x"), namespace("b", "x"));
    library.replace(files(&[("f.yaml", &good)]));

    let broken = format!("{}---\nkind: [\n", namespace("b", "y"));
    let batch = library.replace(files(&[("f.yaml", &broken)]));
    assert_eq!(steps(&batch), ["+b=y"]);
    let [error] = &errors(&batch, "f.yaml")[..] else { panic!("{batch:?}") };
    assert!(error.starts_with("f.yaml:7: unclosed"), "{error}");

    // Broken again in another way: what was in force before the first mistake still is.
    let nameless = format!("{}---\napiVersion: v1\nkind: Namespace\nmetadata: {{}}\n", namespace("b", "y"));
    let batch = library.replace(files(&[("f.yaml", &nameless)]));
    assert!(batch.events.is_empty());
    assert_eq!(errors(&batch, "f.yaml"), ["f.yaml:7: metadata.name: missing; add it"]);

    let batch = library.replace(BTreeMap::from([("f.yaml".to_owned(), UNREADABLE.to_vec())]));
    assert!(batch.events.is_empty());
    assert_eq!(errors(&batch, "f.yaml").len(), 1);

    let batch = library.replace(files(&[("f.yaml", &namespace("b", "y"))]));
    assert_eq!(steps(&batch), ["-a"]);
}

#[test]
fn content_that_breaks_the_schema_yields_to_the_last_good_and_fails_closed_without_one() {
    let mut library = Library::default();
    let batch = library.replace(files(&[("p.yaml", &policy("p", "Allow"))]));
    assert_eq!((steps(&batch), batch.findings.len()), (vec!["+p".to_owned()], 0));

    let batch = library.replace(files(&[("p.yaml", &policy("p", "Log"))]));
    assert!(batch.events.is_empty(), "{batch:?}");
    assert!(
        batch
            .findings
            .values()
            .flatten()
            .any(|finding| finding.is_kept && finding.diagnostic.field == "spec.ingress[0].action"),
        "{batch:?}"
    );

    // Without a good content before it, the rule denies.
    let batch = library.replace(files(&[("q.yaml", &policy("q", "Log"))]));
    assert_eq!(steps(&batch), ["-p", "+q"]);
    let batch = library.replace(files(&[("q.yaml", &policy("q", "Deny"))]));
    assert_eq!(steps(&batch), ["+q"]);
    assert!(batch.findings.values().eq([&[]]), "what was found is taken back: {batch:?}");
}

#[test]
fn the_first_file_by_name_has_the_word() {
    let mut library = Library::default();
    let batch = library.replace(files(&[("b.yaml", &namespace("n", "b")), ("a.yaml", &namespace("n", "a"))]));
    assert_eq!(steps(&batch), ["+n=a"]);
    assert_eq!(
        errors(&batch, "b.yaml"),
        ["b.yaml:1: Namespace/n is in a.yaml too, which comes first and counts; remove one of them"]
    );
    let batch = library.replace(files(&[("b.yaml", &namespace("n", "b"))]));
    assert_eq!(steps(&batch), ["+n=b"]);
    let twice = format!("{}---\n{}", namespace("n", "c"), namespace("n", "d"));
    let batch = library.replace(files(&[("b.yaml", &twice)]));
    assert_eq!(steps(&batch), ["+n=c"]);
    assert_eq!(
        errors(&batch, "b.yaml"),
        ["b.yaml:7: Namespace/n is in line 1 too, which counts; remove one of them"]
    );
}

#[test]
fn a_duplicate_is_said_once_and_taken_back_when_it_is_none_any_more() {
    let mut library = Library::default();
    let (one, other) = (namespace("n", "a"), namespace("n", "b"));
    let batch = library.replace(files(&[("a.yaml", &one), ("b.yaml", &other)]));
    assert_eq!(errors(&batch, "b.yaml").len(), 1);
    let third = namespace("m", "x");
    let batch = library.replace(files(&[("a.yaml", &one), ("b.yaml", &other), ("c.yaml", &third)]));
    assert_eq!(batch.files.keys().collect::<Vec<_>>(), ["c.yaml"]);
    let batch = library.replace(files(&[("b.yaml", &other), ("c.yaml", &third)]));
    assert_eq!(batch.files.keys().collect::<Vec<_>>(), ["a.yaml", "b.yaml"]);
    assert_eq!(batch.files["a.yaml"], None);
    assert!(errors(&batch, "b.yaml").is_empty());
}

#[test]
fn other_kinds_are_no_errors_but_other_versions_of_ours_are() {
    let text = "{apiVersion: v1, kind: Service, metadata: {name: s}}\n---\n\
                {apiVersion: policy.networking.k8s.io/v1beta1, kind: ClusterNetworkPolicy, metadata: {name: c}}\n";
    let batch = Library::default().replace(files(&[("x.yaml", text)]));
    let [error] = &errors(&batch, "x.yaml")[..] else { panic!("{batch:?}") };
    assert!(error.starts_with("x.yaml:3: apiVersion: "), "{error}");
}

/// The next batch in which anything changed, within ten seconds.
async fn next(batches: &mut mpsc::Receiver<Batch>) -> Batch {
    tokio::time::timeout(Duration::from_secs(10), batches.recv())
        .await
        .expect("in time")
        .expect("the source lives")
}

#[tokio::test]
async fn a_directory_is_read_and_then_watched() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("a.yaml"), namespace("a", "x")).unwrap();
    std::fs::write(path(".hidden.yaml"), namespace("h", "x")).unwrap();
    std::fs::write(path("notes.txt"), "not a manifest").unwrap();
    let (send, mut batches) = mpsc::channel(8);
    let source = tokio::spawn(watch(directory.path(), send).unwrap());

    assert_eq!(steps(&next(&mut batches).await), ["+a=x"]);
    std::fs::write(path("a.yaml"), namespace("a", "y")).unwrap();
    assert_eq!(steps(&next(&mut batches).await), ["+a=y"]);
    // As editors and careful programs write: beside it, then renamed over it.
    std::fs::write(path("a.yaml.part"), namespace("a", "z")).unwrap();
    std::fs::rename(path("a.yaml.part"), path("a.yaml")).unwrap();
    assert_eq!(steps(&next(&mut batches).await), ["+a=z"]);
    std::fs::create_dir(path("sub")).unwrap();
    std::fs::write(
        path("sub/b.json"),
        r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"b","labels":{"env":"j"}}}"#,
    )
    .unwrap();
    let batch = next(&mut batches).await;
    assert_eq!(
        (steps(&batch), batch.files.keys().cloned().collect::<Vec<_>>()),
        (vec!["+b=j".to_owned()], vec!["sub/b.json".to_owned()])
    );
    std::fs::remove_file(path("a.yaml")).unwrap();
    let batch = next(&mut batches).await;
    assert_eq!(batch.events, [Event::Delete(reference(Kind::Namespace, "a"))]);
    drop(batches);
    std::fs::remove_dir_all(path("sub")).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), source).await.expect("in time").unwrap();
    assert!(matches!(ended, Err(SourceError::Closed)));
}

#[tokio::test]
async fn a_file_that_is_being_written_is_not_read_because_its_neighbour_changed() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("a.yaml"), namespace("a", "x")).unwrap();
    let (send, mut batches) = mpsc::channel(8);
    let source = tokio::spawn(watch(directory.path(), send).unwrap());
    assert_eq!(steps(&next(&mut batches).await), ["+a=x"]);

    // Truncated and still open, as while `kubectl get ... > a.yaml` waits; and a new one, half written.
    let mut known = std::fs::File::create(path("a.yaml")).unwrap();
    let mut new = std::fs::File::create(path("c.yaml")).unwrap();
    new.write_all(b"kind: Name").unwrap();
    std::fs::write(path("b.yaml"), namespace("b", "x")).unwrap();
    let batch = next(&mut batches).await;
    assert_eq!((steps(&batch), batch.files.len()), (vec!["+b=x".to_owned()], 1), "{batch:?}");

    known.write_all(namespace("a", "y").as_bytes()).unwrap();
    drop(known);
    assert_eq!(steps(&next(&mut batches).await), ["+a=y"]);
    drop(new);
    assert_eq!(errors(&next(&mut batches).await, "c.yaml").len(), 1);
    source.abort();
}

fn event(kind: EventKind, path: PathBuf) -> notify::Event {
    notify::Event::new(kind).add_path(path)
}

#[tokio::test]
async fn a_manifest_that_is_half_written_at_the_start_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("a.yaml"), namespace("a", "x")).unwrap();
    std::fs::write(path("b.yaml"), "").unwrap();
    std::fs::write(path("log.txt"), "").unwrap();
    let changes = Changes::default();
    let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    changes.tell(Ok(event(written, path("b.yaml"))));
    changes.tell(Ok(event(written, path("log.txt"))));
    let (send, mut batches) = mpsc::channel(8);
    let unwatched =
        Watch { watcher: notify::NullWatcher, directory: directory.path().to_path_buf(), inode: None };
    let mut source = Box::pin(follow(unwatched, changes.clone(), send));
    assert!(futures::poll!(&mut source).is_pending());
    assert!(batches.try_recv().is_err());

    std::fs::write(path("b.yaml"), namespace("b", "x")).unwrap();
    changes.tell(Ok(event(EventKind::Access(AccessKind::Close(AccessMode::Write)), path("b.yaml"))));
    let batch = tokio::select! {
        batch = next(&mut batches) => batch,
        ended = source => panic!("{ended:?}"),
    };
    assert_eq!(steps(&batch), ["+a=x", "+b=x"]);
}

#[tokio::test]
async fn links_are_manifests_and_may_go_in_circles() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::create_dir(path("sub")).unwrap();
    std::os::unix::fs::symlink(directory.path(), path("sub/up")).unwrap();
    std::fs::write(path("text"), namespace("a", "x")).unwrap();
    let (send, mut batches) = mpsc::channel(8);
    let source = tokio::spawn(watch(directory.path(), send).unwrap());
    assert!(next(&mut batches).await.files.is_empty());
    std::os::unix::fs::symlink(path("text"), path("a.yaml")).unwrap();
    let batch = next(&mut batches).await;
    assert_eq!((steps(&batch), batch.files.len()), (vec!["+a=x".to_owned()], 1), "{batch:?}");
    source.abort();
}

#[tokio::test]
async fn a_directory_that_is_gone_says_nothing_of_its_objects() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    std::fs::create_dir(path("m")).unwrap();
    std::fs::write(path("m/a.yaml"), namespace("a", "x")).unwrap();
    let (send, mut batches) = mpsc::channel(8);
    let source = tokio::spawn(watch(&path("m"), send).unwrap());
    assert_eq!(steps(&next(&mut batches).await), ["+a=x"]);

    std::fs::rename(path("m"), path("old")).unwrap();
    std::fs::create_dir(path("new")).unwrap();
    std::fs::write(path("new/b.yaml"), namespace("b", "x")).unwrap();
    // Longer than a change takes to be noticed: that the directory is gone is seen and is no news.
    assert!(tokio::time::timeout(LONGEST_QUIET * 4, batches.recv()).await.is_err());
    std::fs::rename(path("new"), path("m")).unwrap();
    assert_eq!(steps(&next(&mut batches).await), ["-a", "+b=x"]);
    // The new one is watched too.
    std::fs::write(path("m/b.yaml"), namespace("b", "y")).unwrap();
    assert_eq!(steps(&next(&mut batches).await), ["+b=y"]);
    // So is one that takes its place with nothing in between.
    std::fs::create_dir(path("newer")).unwrap();
    std::fs::write(path("newer/c.yaml"), namespace("c", "x")).unwrap();
    std::fs::rename(path("m"), path("older")).unwrap();
    std::fs::rename(path("newer"), path("m")).unwrap();
    assert_eq!(steps(&next(&mut batches).await), ["-b", "+c=x"]);
    source.abort();
}

#[test]
fn a_list_that_has_lost_its_items_is_not_empty() {
    let mut library = Library::default();
    let list = |items: &str| format!("apiVersion: v1\nkind: List\nitems:{items}\n");
    let item = " [{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: {env: x}}}]";
    assert_eq!(steps(&library.replace(files(&[("l.yaml", &list(item))]))), ["+a=x"]);
    for broken in ["", " 5", " {}"] {
        let batch = library.replace(files(&[("l.yaml", &list(broken))]));
        assert!(batch.events.is_empty(), "{batch:?}");
        let [error] = &errors(&batch, "l.yaml")[..] else { panic!("{batch:?}") };
        assert!(error.starts_with("l.yaml:1: List: `items` is not a list"), "{error}");
    }
    assert_eq!(steps(&library.replace(files(&[("l.yaml", &list(" []"))]))), ["-a"]);
    // A kind of another project that happens to be called so.
    let batch = library.replace(files(&[("l.yaml", "{apiVersion: x.io/v1, kind: AllowList, spec: {}}")]));
    assert!(errors(&batch, "l.yaml").is_empty());
}

#[test]
fn findings_say_where_they_are_and_what_is_in_force_instead() {
    let mut library = Library::default();
    let two = |action: &str| format!("{}---\n{}", namespace("a", "x"), policy("p", action));
    let batch = library.replace(files(&[("p.yaml", &two("Log"))]));
    let texts: Vec<_> = batch.findings.values().flatten().map(ToString::to_string).collect();
    let field = "p.yaml:7: AdminNetworkPolicy/p: spec.ingress[0].action: error: ";
    assert!(texts.iter().any(|text| text.starts_with(field)), "{texts:?}");
    assert!(texts.iter().all(|text| !text.contains("last good")), "{texts:?}");
    library.replace(files(&[("p.yaml", &two("Deny"))]));
    let batch = library.replace(files(&[("p.yaml", &two("Log"))]));
    let texts: Vec<_> = batch.findings.values().flatten().map(ToString::to_string).collect();
    assert!(texts.iter().all(|text| text.ends_with(" (its last good content stays in force)")), "{texts:?}");
    assert!(!texts.is_empty());
}

#[test]
fn a_missing_directory_is_said_at_once() {
    let (send, _batches) = mpsc::channel(1);
    let error = watch(Path::new("/nonexistent/manifests"), send).map(|_| ()).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "cannot read the manifest directory /nonexistent/manifests: give an existing one with --manifests"
    );
}
