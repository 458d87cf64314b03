//! From the held view to the next one. Owns the checks that stand between an update and the kernel; knows neither
//! the kernel nor the link.

use palisade_view::{NodeView, Root, ViewError};

use crate::collect::{Collected, Reason, Refusal};

/// The view that an update leads to. The held one is not touched.
///
/// # Errors
/// The update does not start from the held view, an operation does not fit, a profile is missing, or the result
/// does not hash to the announced root.
pub fn next(held: Option<&NodeView>, update: &Collected) -> Result<NodeView, Refusal> {
    let mut view = match (update.from, held) {
        (None, _) => NodeView::default(),
        (Some(from), Some(held)) if held.root() == from => held.clone(),
        (Some(from), held) => return Err(mismatch(from, held)),
    };
    view.apply_all(&update.operations)
        .map_err(|(position, error)| Refusal::invalid(Some(position), &error))?;
    view.check().map_err(|error| Refusal::invalid(None, &error))?;
    if view.root() != update.to {
        let error = ViewError::WrongRoot { announced: update.to, actual: view.root() };
        return Err(Refusal::invalid(None, &error));
    }
    Ok(view)
}

fn mismatch(from: Root, held: Option<&NodeView>) -> Refusal {
    let held = held.map_or_else(|| "nothing".to_owned(), |view| view.root().to_string());
    Refusal::new(Reason::RootMismatch, format!("the update starts from {from}, this node holds {held}"))
}

#[cfg(test)]
mod tests;
