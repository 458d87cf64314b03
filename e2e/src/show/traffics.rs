//! Traffic across the demo's cluster that must not change while nobody changes a policy.

use anyhow::{Context, Result, ensure};
use palisade_view::Protocol;

use super::Stage;
use crate::scenario::Traffic;
use crate::traffic::{Flood, Talk, Target};

/// A port on which only streams of datagrams are.
const FLOOD: u16 = 9999;

/// Traffic that is allowed, old and new, and traffic that is denied, all the time.
#[derive(Debug)]
pub struct Traffics {
    /// One connection that stays open.
    pub old: Talk,
    /// New connections.
    pub new: Talk,
    /// Datagrams that must not arrive.
    pub denied: Flood,
}

impl Traffics {
    /// Starts it in a cluster that obeys the demo's policies.
    pub async fn start(stage: &Stage) -> Result<Self> {
        let (source, from) = stage.pod("shop/web")?;
        let (_, to) = stage.pod("shop/api")?;
        let traffic = Traffic::Port(Protocol::Tcp, 8080);
        let target = Target { source: Some(from), address: to, traffic, tos: None };
        Ok(Self {
            old: Talk::over_one_connection(source, target.clone(), Protocol::Tcp, 8080)?,
            new: Talk::over_new_connections(source, target, 8080)?,
            denied: stage.flood("guest/app", "shop/api", FLOOD).await?,
        })
    }

    /// Waits for some more of each; an error if any was treated otherwise since the start.
    pub async fn go_on(&self) -> Result<()> {
        self.old.goes_on(50).await.context("the old connection")?;
        self.new.goes_on(50).await.context("new connections")?;
        self.denied.goes_on(500).await?;
        let tally = self.denied.tally();
        ensure!(tally.arrived == 0, "{} of {} denied datagrams arrived", tally.arrived, tally.sent);
        Ok(())
    }
}
