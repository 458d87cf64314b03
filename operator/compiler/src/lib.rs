//! From Kubernetes objects to what each node enforces.
//!
//! Pure: no clock, no file system, no async, no API client. [`intake`] turns raw objects into the [`model`] and
//! diagnostics; [`Engine`] keeps the model and turns changes of it into changes per node; [`oracle`] is the
//! specification in code, a slow and obvious evaluator that shares nothing with the engine but the model. Both can say
//! why a packet is allowed or denied; [`explain`] has the questions and the forms of the answers. [`review`] looks for
//! what is likely not meant.

pub mod compile;
pub mod diagnostic;
pub mod explain;
pub mod intake;
pub mod model;
pub mod oracle;
pub mod review;

pub use compile::{Change, Changes, Engine, Spans};
pub use diagnostic::{Diagnostic, Severity};
