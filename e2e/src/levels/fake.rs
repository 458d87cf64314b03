//! The compiled tables in the ruleset's simulated kernel, changed event by event, and the engine's word for why they say
//! what they say.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use palisade_compiler::{Engine, oracle};
use palisade_ruleset::kernel::TracePacket;
use palisade_ruleset::{End, FakeKernel, Numbers, Planner, judge};
use palisade_view::{NodeView, Packet};

use super::oracle::agrees;
use super::{Check, Judge, Observed, TakingIn};
use crate::scenario::{Place, State};

/// An engine, and a simulated kernel with its planner for each node.
#[derive(Debug, Default)]
pub struct FakeJudge {
    taking_in: TakingIn,
    engine: Engine,
    nodes: BTreeMap<String, Node>,
}

#[derive(Debug)]
struct Node {
    planner: Planner,
    kernel: FakeKernel,
}

impl Node {
    fn new(view: &NodeView) -> Result<Self> {
        let mut node = Self { planner: Planner::new(Numbers::default()), kernel: FakeKernel::new() };
        let transaction = node.planner.load(view)?;
        node.kernel.apply(&transaction).context("the first transaction")?;
        node.planner.commit();
        Ok(node)
    }

    fn update(&mut self, view: &NodeView) -> Result<()> {
        let transaction = self.planner.update(view)?;
        self.kernel.apply(&transaction).context("a transaction was refused")?;
        self.planner.commit();
        Ok(())
    }
}

impl FakeJudge {
    fn follow(&mut self, to: &State) -> Result<()> {
        // One event at a time: every revision in between is one that a node may have held.
        for event in self.taking_in.events(to)? {
            let changes = self.engine.apply([event]);
            for name in &changes.removed {
                self.nodes.remove(name);
            }
            for (name, change) in &changes.nodes {
                match self.nodes.get_mut(name) {
                    Some(node) => node.update(&change.view).with_context(|| name.clone())?,
                    None => drop(
                        self.nodes
                            .insert(name.clone(), Node::new(&change.view).with_context(|| name.clone())?),
                    ),
                }
            }
        }
        for (name, node) in &mut self.nodes {
            let view = self.engine.view(name).with_context(|| format!("no view of {name}"))?;
            if node.planner.has_leftovers() {
                node.update(view).with_context(|| format!("{name}: removing leftovers"))?;
            }
        }
        Ok(())
    }

    fn end<'a>(&'a self, state: &State, place: &Place) -> Result<End<'a>> {
        let kernel = |node: &str| {
            let node = self.nodes.get(node).with_context(|| format!("no table for {node}"))?;
            anyhow::Ok(&node.kernel)
        };
        Ok(match place {
            Place::Pod(name) => {
                let pod = state.pods.get(name).with_context(|| format!("there is no pod {name}"))?;
                End::Pod(kernel(&pod.node)?)
            }
            Place::Node(name) => End::Node(kernel(name)?),
            Place::World => End::World,
        })
    }

    fn judge_one(&self, state: &State, check: &Check) -> Result<Observed> {
        let flow = &check.route.flow;
        let (from, to) = (self.end(state, &check.route.source)?, self.end(state, &check.route.destination)?);
        let packet = Packet { source: flow.source, destination: flow.destination, l4: flow.l4 };
        for scratch in scratches(&packet) {
            let judgement = judge(from, to, &TracePacket::new(packet).with_scratch(scratch));
            if judgement.allows() != check.probe.allowed {
                let way: Vec<String> = judgement
                    .traces
                    .iter()
                    .map(|(hook, trace)| {
                        let steps: Vec<String> = trace.steps.iter().map(ToString::to_string).collect();
                        format!("{hook:?} {:?} by {}", trace.verdict, steps.join(" "))
                    })
                    .collect();
                let text = format!("{} (arriving with meta priority {scratch:#x})", way.join("; "));
                return Ok(Observed { agrees: false, text });
            }
        }
        Ok(self.explain(check))
    }

    /// The reason that the engine gives, held to the scenario's and, with the whole way to it, to the oracle's.
    fn explain(&self, check: &Check) -> Observed {
        let explanation = self.engine.explain(&check.route.flow);
        let expected = oracle::walk(self.engine.cluster(), &check.route.flow);
        if explanation != expected {
            let text =
                format!("the engine explains it otherwise than the oracle:\n{explanation}\n{expected}");
            return Observed { agrees: false, text };
        }
        let judgement = explanation.judgement();
        Observed { agrees: agrees(check, &judgement), text: format!("explained as {judgement}") }
    }
}

/// Values that `meta priority` may hold on arrival: those that TOS gives, those that tables number things by, and
/// some of no meaning, other ones for every packet.
fn scratches(packet: &Packet) -> impl Iterator<Item = u32> {
    let hash = blake3::hash(packet.to_string().as_bytes());
    let any: Vec<u32> = hash
        .as_bytes()
        .chunks_exact(4)
        .map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect();
    [0, 2, 4, 6, u32::MAX].into_iter().chain(0x1_0000..0x1_0020).chain(any)
}

impl Judge for FakeJudge {
    async fn change(&mut self, _from: Option<&State>, to: &State) -> Result<()> {
        self.follow(to)
    }

    async fn judge(&mut self, state: &State, checks: &[Check]) -> Result<Vec<Observed>> {
        checks.iter().map(|check| self.judge_one(state, check)).collect()
    }
}
