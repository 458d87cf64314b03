//! Questions to the engine about flows, and its answers. Between whoever asks, such as the admin server, and the
//! engine's task, which answers between batches; knows the inside of neither.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use palisade_compiler::Engine;
use palisade_compiler::explain::{Question, QuestionError};
use palisade_compiler::model::ObjectRef;
use palisade_compiler::oracle::Explanation;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::state::NodeState;

/// Questions that may wait for the engine; more are refused.
const WAITING: usize = 16;

/// How long a question waits: a compile of a large cluster may be under way.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the operator knows of a flow.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// The epoch that it is true of.
    pub epoch: u64,
    /// Where the nodes stand that judge the flow: one that is not in sync may judge by something older.
    pub nodes: BTreeMap<String, NodeState>,
    /// One for each family that both ends have.
    pub explanations: Vec<Explanation>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for explanation in &self.explanations {
            writeln!(f, "{explanation}")?;
        }
        write!(f, "compiled at epoch {}; judged by ", self.epoch)?;
        if self.nodes.is_empty() {
            return writeln!(f, "no node");
        }
        let nodes: Vec<String> = self.nodes.iter().map(|(node, state)| format!("{node} ({state})")).collect();
        writeln!(f, "{}", nodes.join(", "))?;
        if self.nodes.values().any(|&state| state != NodeState::InSync) {
            writeln!(f, "a node that is not in-sync goes by what it confirmed last: see /debug/state")?;
        }
        Ok(())
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// The question.
    #[error(transparent)]
    Question(#[from] QuestionError),
    /// Others ask, or the engine compiles.
    #[error("the engine is busy; ask again")]
    Busy,
    /// The engine is gone, or broke down over this question.
    #[error("the engine gave no answer; its log says why")]
    Lost,
}

/// A question on its way.
#[derive(Debug)]
pub struct Inquiry {
    question: Question,
    answer: oneshot::Sender<Result<Answer, QuestionError>>,
}

/// Asks.
#[derive(Clone, Debug)]
pub struct Desk(mpsc::Sender<Inquiry>);

impl Desk {
    /// A desk, and what the engine takes from it.
    pub fn new() -> (Self, mpsc::Receiver<Inquiry>) {
        let (send, waiting) = mpsc::channel(WAITING);
        (Self(send), waiting)
    }

    /// Waits for the engine's answer, for a while.
    pub async fn ask(&self, question: Question) -> Result<Answer, Unanswered> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Inquiry { question, answer }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Unanswered::Busy,
            mpsc::error::TrySendError::Closed(_) => Unanswered::Lost,
        })?;
        match tokio::time::timeout(PATIENCE, answered).await {
            Err(_) => Err(Unanswered::Busy),
            Ok(Err(_)) => Err(Unanswered::Lost),
            Ok(Ok(answer)) => Ok(answer?),
        }
    }
}

impl Inquiry {
    /// Answers, unless nobody waits any more. `standing` says where nodes stand at the epoch of the engine.
    pub fn answer(
        self,
        engine: &Engine,
        standing: impl FnOnce(BTreeSet<String>) -> (u64, BTreeMap<String, NodeState>),
    ) {
        if self.answer.is_closed() {
            return;
        }
        let flows = self.question.flows(engine.cluster());
        let answer = flows.map(|flows| {
            let explanations: Vec<Explanation> = flows.iter().map(|flow| engine.explain(flow)).collect();
            let (epoch, nodes) = standing(judges(engine, &explanations));
            Answer { epoch, nodes, explanations }
        });
        // Whoever asked may have gone.
        let _ = self.answer.send(answer);
    }
}

/// The nodes of the pods at either end.
fn judges(engine: &Engine, explanations: &[Explanation]) -> BTreeSet<String> {
    let home = |pod: &ObjectRef| {
        let key = (pod.namespace.clone().unwrap_or_default(), pod.name.clone());
        engine.cluster().pods.get(&key)?.node.clone()
    };
    let sides = explanations.iter().flat_map(|explanation| [&explanation.source, &explanation.destination]);
    sides.flat_map(|side| side.pods.iter().chain(&side.outbid)).filter_map(home).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use futures::FutureExt;

    use super::*;

    fn question(destination: &str) -> Question {
        Question::parse([("source", "192.0.2.1"), ("destination", destination), ("port", "1")]).unwrap()
    }

    #[tokio::test]
    async fn what_the_engine_does_not_take_is_refused_or_lost() {
        let (desk, inquiries) = Desk::new();
        let mut asked: Vec<_> = (0..WAITING).map(|_| Box::pin(desk.ask(question("192.0.2.2")))).collect();
        assert!(asked.iter_mut().all(|one| one.now_or_never().is_none()));
        assert_eq!(desk.ask(question("192.0.2.2")).await.unwrap_err(), Unanswered::Busy);
        drop(inquiries);
        for one in asked {
            assert_eq!(one.await.unwrap_err(), Unanswered::Lost);
        }
        assert_eq!(desk.ask(question("192.0.2.2")).await.unwrap_err(), Unanswered::Lost);
    }

    #[tokio::test]
    async fn nothing_is_worked_out_for_those_who_have_gone() {
        let (desk, mut inquiries) = Desk::new();
        let engine = Engine::default();
        assert!(desk.ask(question("192.0.2.2")).now_or_never().is_none());
        let abandoned = inquiries.recv().await.unwrap();
        abandoned.answer(&engine, |_| unreachable!("it is asked for the engine's own sake"));

        let answered = desk.ask(question("192.0.2.2"));
        let engine_side = async {
            let inquiry = inquiries.recv().await.unwrap();
            inquiry
                .answer(&engine, |nodes| (7, nodes.into_iter().map(|n| (n, NodeState::Updating)).collect()));
        };
        let (answer, ()) = tokio::join!(answered, engine_side);
        let answer = answer.unwrap();
        assert_eq!((answer.epoch, answer.nodes.len(), answer.explanations.len()), (7, 0, 1));
        assert!(answer.to_string().ends_with("compiled at epoch 7; judged by no node\n"), "{answer}");

        let wrong = desk.ask(question("2001:db8::1"));
        let engine_side = async { inquiries.recv().await.unwrap().answer(&engine, |_| (0, BTreeMap::new())) };
        let (refused, ()) = tokio::join!(wrong, engine_side);
        assert!(matches!(refused.unwrap_err(), Unanswered::Question(_)));
    }
}
