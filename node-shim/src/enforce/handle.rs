//! How others speak to the enforcer. Knows nothing of what it does.

use palisade_view::Root;
use tokio::sync::{mpsc, oneshot};

use crate::collect::{Collected, Refusal};

/// What is held, for a Hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Root of the held view, if there is one.
    pub root: Option<Root>,
    /// The highest term the node has seen.
    pub term: u64,
}

/// What an enforcer is asked.
pub(super) enum Order {
    Holding(oneshot::Sender<Holding>),
    Update(Box<Collected>, oneshot::Sender<Result<Root, Refusal>>),
}

/// Gives orders to an [`Enforcer`](super::Enforcer). Once every handle is gone the enforcer saves its state and ends.
#[derive(Clone, Debug)]
pub struct Handle(mpsc::Sender<Order>);

/// The enforcer has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the enforcer has ended")]
pub struct Ended;

impl Handle {
    pub(super) fn new(orders: mpsc::Sender<Order>) -> Self {
        Self(orders)
    }

    /// What is held.
    ///
    /// # Errors
    /// The enforcer has ended.
    pub async fn holding(&self) -> Result<Holding, Ended> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Order::Holding(reply)).await.map_err(|_| Ended)?;
        answer.await.map_err(|_| Ended)
    }

    /// Puts an update in force, or says why not. Carried out whole even where nobody waits for the answer.
    ///
    /// # Errors
    /// The enforcer has ended.
    pub async fn put(&self, update: Collected) -> Result<Result<Root, Refusal>, Ended> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Order::Update(Box::new(update), reply)).await.map_err(|_| Ended)?;
        answer.await.map_err(|_| Ended)
    }
}
