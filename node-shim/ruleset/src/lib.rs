//! The node's nftables table `inet palisade`: its static skeleton, the numbers of its elements, and the
//! transactions that lead from one revision of a [`NodeView`](palisade_view::NodeView) to the next.
//!
//! This crate is pure: it owns what the table says and decides nothing else. It must not know processes, sockets,
//! files, clocks, the wire or Kubernetes. Who applies a [`Transaction`] is not its business.
//!
//! The way of a view into the table: `peers` groups who is judged alike, with `regions` cutting networks into
//! intervals; `numbering` gives classes and programs their identifiers ([`Numbers`]); `draft` makes the
//! `elements`; the [`Planner`] writes what differs from the kernel's as a [`Transaction`], whose text is
//! [`Transaction::to_json`]. [`skeleton`] is what never changes. [`kernel`] is a judge of all this that knows none of
//! it: it reads transactions and traces packets.
//!
//! ```
//! use palisade_ruleset::{Markers, Numbers, Planner};
//! use palisade_view::NodeView;
//!
//! let view = NodeView::default();
//! // Started: the state file gave no numbers, `nft -j list set inet palisade revision` (and so on) found no table.
//! let mut planner = Planner::new(Numbers::default());
//! let transaction = planner.open(&view, &Markers::default())?;
//! // First `planner.numbers()` and the view go to the state file, then this to `nft -j -f -`.
//! let text = transaction.to_json();
//! assert!(text.starts_with(r#"{"nftables":[{"add":{"table":{"family":"inet","name":"palisade"}}},{"delete""#));
//! planner.commit();
//!
//! // From then on, for each new revision; nothing is left to do for this one.
//! assert!(planner.update(&view)?.is_empty());
//! // Where it is not known whether the kernel took a transaction: `planner.abort()`, then `planner.refill(&view)`.
//! # Ok::<(), palisade_ruleset::PlanError>(())
//! ```

mod draft;
mod element;
mod elements;
mod expression;
mod judge;
pub mod kernel;
pub mod marker;
mod names;
mod numbering;
mod numbers;
mod peers;
mod place;
mod planner;
mod regions;
pub mod skeleton;
mod transaction;

pub use element::{Datum, Element, Field, FieldType, SetDecl};
pub use judge::{End, Judgement, judge};
pub use kernel::FakeKernel;
pub use marker::{MarkerError, Markers};
pub use names::{FAMILY, TABLE};
pub use numbering::OutOfIdentifiers;
pub use numbers::{Numbers, StoredNumbersError};
pub use planner::{PlanError, Planner};
pub use transaction::{Op, Transaction};
