//! Where the API server comes from.

use std::path::PathBuf;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use palisade_apiserver::{Options, Server};
use tokio::sync::{Mutex, MutexGuard};

/// The tests take turns at a server that they have not started themselves.
static TURN: Mutex<()> = Mutex::const_new(());

/// An API server, for one test.
pub(crate) struct Plane {
    directory: tempfile::TempDir,
    contents: Kubeconfig,
    server: Option<Server>,
    _turn: Option<MutexGuard<'static, ()>>,
}

impl Plane {
    /// The one that the environment asks for.
    pub(crate) async fn chosen() -> Self {
        match std::env::var("PALISADE_CONTROL_PLANE").as_deref() {
            Ok("kubeconfig") => {
                let contents = Kubeconfig::from_env().unwrap().expect("KUBECONFIG names the cluster");
                Self::new(contents, None, Some(TURN.lock().await))
            }
            _ => Self::dev().await,
        }
    }

    /// The development server, which can be told to fail and counts requests.
    pub(crate) async fn dev() -> Self {
        let server = Server::start(Options::default()).await.unwrap();
        let contents = Kubeconfig::from_yaml(&server.kubeconfig()).unwrap();
        Self::new(contents, Some(server), None)
    }

    fn new(contents: Kubeconfig, server: Option<Server>, turn: Option<MutexGuard<'static, ()>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = serde_json::to_string(&contents).unwrap();
        std::fs::write(directory.path().join("kubeconfig"), text).unwrap();
        Self { directory, contents, server, _turn: turn }
    }

    /// The development server.
    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    pub(crate) async fn client(&self) -> Client {
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(self.contents.clone(), &options).await.unwrap();
        // As the operator has it.
        config.default_retry = false;
        Client::try_from(config).unwrap()
    }
}
