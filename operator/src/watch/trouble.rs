//! What an error of the API means, and how to say it.

use std::error::Error;
use std::time::Duration;

use kube::core::Status;
use kube_runtime::watcher;
use palisade_compiler::model::Kind;

use super::resource;

/// What an error means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The API server does not know the kind in this version.
    NotServed,
    /// The watch cannot go on from where it was: the kind is to be listed again.
    Outdated,
    /// It may go away.
    Failing {
        /// What is wrong, and what to do.
        message: String,
        /// Somebody has to do something: waiting does not help.
        is_lasting: bool,
        /// The server asks to be left alone for this long.
        retry_after: Duration,
    },
}

/// What an error of a watcher means.
pub(super) fn of_watcher(kind: Kind, error: &watcher::Error) -> Trouble {
    let name = resource::full_name(kind);
    match error {
        watcher::Error::InitialListFailed(error) => of_request(&name, "list", error),
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
            of_request(&name, "watch", error)
        }
        watcher::Error::WatchError(status) => of_status(&name, "watch", status),
        watcher::Error::NoResourceVersion => {
            failing(format!("the API server sent {name} without metadata.resourceVersion"), false)
        }
    }
}

/// What an error of a request means. The verb and the resource's name are RBAC's.
pub(super) fn of_request(name: &str, verb: &str, error: &kube::Error) -> Trouble {
    match error {
        kube::Error::Api(status) => of_status(name, verb, status),
        error => failing(format!("cannot {verb} {name}: {}", said(error)), false),
    }
}

fn of_status(name: &str, verb: &str, status: &Status) -> Trouble {
    let retry_after = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    let text = if status.message.is_empty() { &status.reason } else { &status.message };
    match status.code {
        404 => Trouble::NotServed,
        410 => Trouble::Outdated,
        401 => failing(
            format!(
                "the API server does not accept the operator's credentials: {text}; give it a valid token or \
                 kubeconfig"
            ),
            true,
        ),
        403 => failing(forbidden(verb, name, text), true),
        code => Trouble::Failing {
            message: format!("cannot {verb} {name}: the API server answers {code}: {text}"),
            is_lasting: false,
            retry_after: Duration::from_secs(retry_after.into()),
        },
    }
}

/// Which right is missing, and where to give it.
pub(super) fn forbidden(verb: &str, resource: &str, text: &str) -> String {
    format!(
        "RBAC does not allow the operator to {verb} {resource}: add the verb {verb} for {resource} to its ClusterRole \
         ({text})"
    )
}

fn failing(message: String, is_lasting: bool) -> Trouble {
    Trouble::Failing { message, is_lasting, retry_after: Duration::ZERO }
}

/// An error with its causes, each once: the one that helps, such as a refused connection, is the last.
pub(super) fn said(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return format!("the API server answers {}: {}", status.code, status.message);
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
