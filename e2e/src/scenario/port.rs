//! Ports that containers declare.

use palisade_view::Protocol;
use serde::Deserialize;

/// The kinds of containers in a pod, for only the ports of those that keep running can be meant by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Container {
    /// One of `containers`.
    #[default]
    Main,
    /// One of `initContainers` that is restarted always: it runs beside the others.
    Sidecar,
    /// One of `initContainers` that has ended when the others start.
    Init,
}

/// A container port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its number.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// The container that declares it.
    pub container: Container,
}
