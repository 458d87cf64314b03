use bytes::Bytes;
use palisade_proto::{encode_operation, parts};
use palisade_view::{Key, KeyHasher};

use super::*;

fn operations(count: u32) -> Vec<Operation> {
    let key: Key = KeyHasher::new("test").finish();
    (0..count).map(|n| Operation::AddMembers(key, vec![std::net::Ipv4Addr::from(n).into()])).collect()
}

fn sent(term: u64, from: Option<Root>, to: Root, operations: &[Operation]) -> Vec<v1::Update> {
    let encoded: Vec<Bytes> = operations.iter().map(encode_operation).collect();
    parts(term, from, to, &encoded).collect()
}

fn reason(outcome: Result<Option<Collected>, Refusal>) -> Reason {
    outcome.unwrap_err().reason
}

#[test]
fn parts_make_an_update() {
    let operations = operations(20_000);
    let sent = sent(7, Some(Root(1)), Root(2), &operations);
    assert!(sent.len() > 1, "{} parts", sent.len());
    let mut collector = Collector::new(3);
    let (last, first) = sent.split_last().unwrap();
    for part in first {
        assert_eq!(collector.push(part), Ok(None));
    }
    let expected = Collected { term: 7, from: Some(Root(1)), to: Root(2), operations };
    assert_eq!(collector.push(last), Ok(Some(expected)));
}

#[test]
fn an_empty_snapshot_is_an_update() {
    let expected = Collected { term: 0, from: None, to: Root::EMPTY, operations: Vec::new() };
    let part = &sent(0, None, Root::EMPTY, &[])[0];
    assert_eq!(Collector::new(0).push(part), Ok(Some(expected)));
}

#[test]
fn a_lower_term_is_refused_and_an_equal_one_is_not() {
    let update = |term| sent(term, None, Root(2), &operations(1)).remove(0);
    let mut collector = Collector::new(5);
    assert_eq!(reason(collector.push(&update(4))), Reason::StaleTerm);
    assert!(collector.push(&update(5)).unwrap().is_some());
    assert!(collector.push(&update(9)).unwrap().is_some());
    assert_eq!(reason(collector.push(&update(8))), Reason::StaleTerm);
}

#[test]
fn a_part_out_of_order_refuses_the_whole_once() {
    let sent = sent(1, None, Root(2), &operations(50_000));
    assert!(sent.len() > 3);
    let mut collector = Collector::new(0);
    assert_eq!(collector.push(&sent[0]), Ok(None));
    assert_eq!(reason(collector.push(&sent[2])), Reason::Invalid);
    // The rest of it passes by, and the next update is taken.
    for part in &sent[1..] {
        assert_eq!(collector.push(part), Ok(None));
    }
    let whole: Vec<_> = sent.iter().map(|part| collector.push(part)).collect();
    assert!(matches!(whole.last(), Some(Ok(Some(_)))));
}

#[test]
fn parts_of_two_updates_do_not_mix() {
    let one = sent(1, None, Root(2), &operations(50_000));
    for other in [sent(2, None, Root(2), &operations(50_000)), sent(1, None, Root(3), &operations(50_000))] {
        let mut collector = Collector::new(0);
        assert_eq!(collector.push(&one[0]), Ok(None));
        assert_eq!(reason(collector.push(&other[1])), Reason::Invalid);
    }
}

#[test]
fn a_sender_may_start_over() {
    let sent = sent(1, None, Root(2), &operations(20_000));
    let mut collector = Collector::new(0);
    assert_eq!(collector.push(&sent[0]), Ok(None));
    let again: Vec<_> = sent.iter().map(|part| collector.push(part)).collect();
    assert!(matches!(again.last(), Some(Ok(Some(update))) if update.operations.len() == 20_000));
}

#[test]
fn more_than_the_bound_is_refused_before_it_is_kept() {
    let part = |part| v1::Update {
        term: 1,
        to_root: Root(2).to_bytes().to_vec(),
        part,
        operations: Bytes::from_static(&[0; 10]),
        ..v1::Update::default()
    };
    let mut collector = Collector { most: 25, ..Collector::new(0) };
    for n in 0..2 {
        assert_eq!(collector.push(&part(n)), Ok(None));
    }
    assert_eq!(reason(collector.push(&part(2))), Reason::TooLarge);
    assert_eq!(collector.push(&part(3)), Ok(None));
    assert_eq!(Collector::new(0).most, UPDATE_BYTES);
}

#[test]
fn what_does_not_decode_is_refused_with_its_position() {
    let mut payload = encode_operation(&operations(1)[0]).to_vec();
    payload.extend_from_slice(&{
        use palisade_proto::v1::operation::Operation as Wire;
        let short = v1::Operation { operation: Some(Wire::RemoveProfile(vec![1; 15])) };
        prost::Message::encode_to_vec(&v1::Operations { operations: vec![short] })
    });
    let part = v1::Update {
        to_root: Root(2).to_bytes().to_vec(),
        last: true,
        operations: payload.into(),
        ..v1::Update::default()
    };
    let refusal = Collector::new(0).push(&part).unwrap_err();
    assert_eq!((refusal.reason, refusal.operation), (Reason::Invalid, Some(1)));
    assert!(refusal.message.contains("remove_profile"), "{}", refusal.message);

    let odd_root = v1::Update { from_root: vec![1, 2], ..part };
    assert_eq!(reason(Collector::new(0).push(&odd_root)), Reason::Invalid);
}

#[test]
fn a_long_message_is_cut_at_a_character() {
    let refusal = Refusal::new(Reason::Kernel, "é".repeat(MESSAGE_BYTES));
    let nack = refusal.to_wire(&[1; 16]);
    assert_eq!(nack.message, "é".repeat(MESSAGE_BYTES / 2));
    assert_eq!((nack.reason(), nack.root), (Reason::Kernel, vec![1; 16]));
}
