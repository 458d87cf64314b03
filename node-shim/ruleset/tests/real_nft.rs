//! The running kernel and the installed nft take every transaction, hold what the fake kernel holds, and list the
//! table so that it can be read back. Needs root and nft; where they are missing, every test is shown as ignored.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{choices, pool, view};
use libtest_mimic::{Arguments, Trial};
use palisade_ruleset::kernel::FakeKernel;
use palisade_ruleset::{Numbers, Planner, Transaction, marker, skeleton};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::Value;

/// What transactions cannot be tried for, if anything.
fn missing() -> Option<&'static str> {
    let works = |program: &str, arguments: &[&str]| {
        Command::new(program)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if !works("nft", &["--version"]) {
        Some("nft is not installed")
    } else if !works("unshare", &["-n", "nft", "list", "ruleset"]) {
        Some("a network namespace with nftables needs root")
    } else {
        None
    }
}

/// Runs a script in a network namespace of its own, in the given directory.
fn in_namespace(directory: &Path, script: &str) -> String {
    let output = Command::new("unshare")
        .args(["-n", "sh", "-eu", "-c", script])
        .current_dir(directory)
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// The elements of a listing, by set, in the form of `Element`'s text.
fn listed(listing: &str) -> BTreeMap<String, BTreeSet<String>> {
    let listing: Value = serde_json::from_str(listing).unwrap();
    let mut sets = BTreeMap::new();
    for object in listing["nftables"].as_array().unwrap() {
        let (set, is_map) = match (object.get("set"), object.get("map")) {
            (Some(set), _) => (set, false),
            (_, Some(map)) => (map, true),
            _ => continue,
        };
        let elements = set["elem"].as_array().cloned().unwrap_or_default();
        let text = |element: &Value| {
            if is_map { format!("{} : {}", shown(&element[0]), shown(&element[1])) } else { shown(element) }
        };
        sets.insert(set["name"].as_str().unwrap().to_owned(), elements.iter().map(text).collect());
    }
    sets
}

fn shown(value: &Value) -> String {
    if let Some(fields) = value.get("concat") {
        return fields.as_array().unwrap().iter().map(shown).collect::<Vec<_>>().join(" . ");
    }
    if let Some(range) = value.get("range") {
        return format!("{}-{}", shown(&range[0]), shown(&range[1]));
    }
    if let Some(prefix) = value.get("prefix") {
        let address: IpAddr = prefix["addr"].as_str().unwrap().parse().unwrap();
        let length = u8::try_from(prefix["len"].as_u64().unwrap()).unwrap();
        let network = ipnet::IpNet::new(address, length).unwrap();
        return format!("{}-{}", network.network(), network.broadcast());
    }
    // nft lists protocols by name where the host has their names.
    match value.as_str() {
        Some("tcp") => "6".to_owned(),
        Some("udp") => "17".to_owned(),
        Some("sctp") => "132".to_owned(),
        text => text.map_or_else(|| value.to_string(), str::to_owned),
    }
}

fn held(kernel: &FakeKernel) -> BTreeMap<String, BTreeSet<String>> {
    skeleton::sets()
        .iter()
        .map(|set| {
            let elements = kernel.elements(set.name).unwrap();
            (set.name.to_owned(), elements.iter().map(ToString::to_string).collect())
        })
        .collect()
}

/// Applies transactions to both kernels, one after the other, and compares what they hold after each.
fn compare(transactions: &[Transaction]) {
    let directory = tempfile::tempdir().unwrap();
    let mut script = String::new();
    let mut fake = FakeKernel::new();
    let mut expected = Vec::new();
    for (number, transaction) in transactions.iter().enumerate() {
        std::fs::write(directory.path().join(format!("{number}.json")), transaction.to_json()).unwrap();
        // Twice over: what is listed for people must be text that nft reads back, and the same again.
        writeln!(
            script,
            "nft -j -f {number}.json; nft -j list table inet palisade > {number}.listed
             nft -nn list table inet palisade > {number}.nft; nft -c -f {number}.nft"
        )
        .unwrap();
        fake.apply(transaction).unwrap();
        expected.push(held(&fake));
    }
    let last = transactions.len() - 1;
    writeln!(
        script,
        "nft list table inet palisade > before; nft delete table inet palisade; nft -f {last}.nft
         nft list table inet palisade > after; cmp before after"
    )
    .unwrap();
    in_namespace(directory.path(), &script);
    for (number, expected) in expected.iter().enumerate() {
        let listing = std::fs::read_to_string(directory.path().join(format!("{number}.listed"))).unwrap();
        let listed = listed(&listing);
        for (set, elements) in expected {
            assert_eq!(&listed[set], elements, "{set} after transaction {number}");
        }
    }
}

fn the_kernel_takes_what_the_fake_kernel_takes() {
    let mut runner = TestRunner::deterministic();
    let sequence = (pool(), choices());
    for _ in 0..16 {
        let (pool, choices) = sequence.new_tree(&mut runner).unwrap().current();
        let mut planner = Planner::new(Numbers::default());
        let mut transactions = Vec::new();
        for (number, choice) in choices.iter().enumerate() {
            let view = view(&pool, choice);
            let transaction = if number == 0 { planner.load(&view) } else { planner.update(&view) }.unwrap();
            planner.commit();
            if !transaction.is_empty() {
                transactions.push(transaction);
            }
        }
        let last = view(&pool, &choices[choices.len() - 1]);
        transactions.push(planner.refill(&last).unwrap());
        planner.commit();
        transactions.push(planner.load(&last).unwrap());
        compare(&transactions);
    }
}

fn markers_are_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut runner = TestRunner::deterministic();
    let (pool, choices) = (pool(), choices()).new_tree(&mut runner).unwrap().current();
    let view = view(&pool, &choices[0]);
    let load = Planner::new(Numbers::default()).load(&view).unwrap();
    std::fs::write(directory.path().join("load.json"), load.to_json()).unwrap();
    let read = |set: &str| {
        let script = format!("nft -j -f load.json; nft -j list set inet palisade {set}");
        marker::parse(&in_namespace(directory.path(), &script)).unwrap()
    };
    assert_eq!(read(marker::REVISION), Some(view.root().0));
    assert_eq!(read(marker::SKELETON), Some(skeleton::fingerprint()));
    assert_eq!(read(marker::GENERATION), Some(1));
}

fn the_table_goes_whether_or_not_it_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::write(path.join("load.json"), skeleton::build().to_json()).unwrap();
    std::fs::write(path.join("delete.json"), Transaction::delete_table().to_json()).unwrap();
    let script =
        "nft -j -f delete.json; nft -j -f load.json; nft list tables; nft -j -f delete.json; nft list tables";
    assert_eq!(in_namespace(path, script), "table inet palisade\n");
}

/// Protocols are written by number, so that a host without /etc/protocols takes the table.
fn names_of_protocols_are_not_needed() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("load.json"), skeleton::build().to_json()).unwrap();
    let script = "mount --make-rprivate /
                  if [ -e /etc/protocols ]; then touch empty; mount --bind empty /etc/protocols; fi
                  nft -j -f load.json; nft list tables";
    let script = format!("unshare -m sh -eu -c '{script}'");
    assert_eq!(in_namespace(directory.path(), &script), "table inet palisade\n");
}

fn main() {
    let missing = missing();
    if let Some(missing) = missing {
        println!("skipped: the running kernel was not asked: {missing}");
    }
    let tests: [(&str, fn()); 4] = [
        ("the_kernel_takes_what_the_fake_kernel_takes", the_kernel_takes_what_the_fake_kernel_takes),
        ("markers_are_read_back", markers_are_read_back),
        ("the_table_goes_whether_or_not_it_is_there", the_table_goes_whether_or_not_it_is_there),
        ("names_of_protocols_are_not_needed", names_of_protocols_are_not_needed),
    ];
    let trials = tests.map(|(name, test)| {
        let run = move || {
            test();
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(missing.is_some())
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit();
}
