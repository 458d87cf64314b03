//! Where the API server comes from.

#![allow(unreachable_pub, reason = "modules of one test binary")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::net::SocketAddr;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use palisade_apiserver::{Faults, Options, Server};

/// An API server of the test's own.
pub struct Plane {
    server: Server,
    client: Client,
}

impl Plane {
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        let server = Server::start(options).await.unwrap();
        let client = client(&server, server.address()).await;
        Self { server, client }
    }

    /// The client of those who make objects.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A client that goes another way.
    pub async fn client_at(&self, at: SocketAddr) -> Client {
        client(&self.server, at).await
    }

    /// A client that the server tells from others.
    pub async fn client_named(&self, name: &str) -> Client {
        let config = config(&self.server, self.address()).await;
        let name = axum::http::HeaderValue::from_str(name).unwrap();
        let client = Client::try_from(config).unwrap();
        let service = tower::service_fn(move |mut request: axum::http::Request<kube::client::Body>| {
            request.headers_mut().insert("user-agent", name.clone());
            let client = client.clone();
            async move { client.send(request).await }
        });
        Client::new(service, "default")
    }

    /// How often a resource has been asked for in that way, by anybody.
    pub fn asked(&self, verb: &str, resource: &str) -> u64 {
        self.server.requests().counts().sum(|kind| kind.verb == verb && kind.resource == resource)
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub fn faults(&self) -> Faults {
        self.server.faults()
    }
}

async fn client(server: &Server, at: SocketAddr) -> Client {
    Client::try_from(config(server, at).await).unwrap()
}

async fn config(server: &Server, at: SocketAddr) -> Config {
    let kubeconfig = Kubeconfig::from_yaml(&server.kubeconfig()).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.cluster_url = format!("https://{at}").parse().unwrap();
    // As the operator's: the source tries again by itself.
    config.default_retry = false;
    config
}
