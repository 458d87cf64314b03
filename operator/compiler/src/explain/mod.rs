//! Questions about flows, and the forms that their answers take: text for people, JSON for programs. What the answers
//! are, and that they are true, is the engine's ([`crate::Engine::explain`]) and the oracle's.

mod json;
mod question;
mod text;

pub use question::{Party, Question, QuestionError};

use crate::model::{Action, Tier};

/// A tier by the API's name.
fn tier_name(tier: Tier) -> &'static str {
    match tier {
        Tier::Admin => "Admin",
        Tier::Baseline => "Baseline",
    }
}

/// An action by the name that both API versions know or, where they differ, by v1alpha1's.
fn action_name(action: Action) -> &'static str {
    match action {
        Action::Allow => "Allow",
        Action::Deny => "Deny",
        Action::Pass => "Pass",
    }
}
