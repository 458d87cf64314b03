//! What all requests share.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::Tokens;
use crate::faults::Faults;
use crate::registry::Registry;
use crate::requests::Requests;
use crate::store::Store;

/// See the module.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) store: Arc<Store>,
    pub(crate) registry: Registry,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) requests: Requests,
    pub(crate) faults: Faults,
    pub(crate) admin_name: String,
    pub(crate) admin_token: String,
    /// How often quiet watches that take bookmarks get one.
    pub(crate) bookmark_interval: Duration,
}
