//! Explanations: what the engine says of its compiled steps is what the oracle says rule by rule, as whole values.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

mod generate;

use palisade_compiler::Engine;
use palisade_compiler::oracle::{self, Flow};
use proptest::prelude::*;
use proptest::sample::select;

fn stack() -> impl Strategy<Value = Option<&'static str>> {
    prop::option::weighted(0.15, select(vec!["n-1", "n-2", "n-3"]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_explains_as_the_oracle_does(
        history in generate::history(),
        flows in prop::collection::vec(
            (generate::address(), generate::address(), generate::l4(), stack(), stack()),
            60,
        ),
    ) {
        let mut engine = Engine::default();
        engine.apply(history);
        for (source, destination, l4, source_node, destination_node) in flows {
            let flow = Flow {
                source: source.of(engine.cluster()),
                destination: destination.of(engine.cluster()),
                l4,
                source_node: source_node.map(str::to_owned),
                destination_node: destination_node.map(str::to_owned),
            };
            if flow.source.is_ipv4() != flow.destination.is_ipv4() {
                continue;
            }
            let expected = oracle::walk(engine.cluster(), &flow);
            prop_assert_eq!(engine.explain(&flow), expected, "{:#?}", engine.cluster());
        }
    }
}
