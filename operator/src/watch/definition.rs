//! Whether the definition of a kind is there. Asked before a policy's absence is believed: when a
//! `CustomResourceDefinition` is deleted, the API server first marks it as going (`metadata.deletionTimestamp`) and then
//! deletes every object of the kind, each with an event like any other deletion.

use std::time::Duration;

use kube::api::ApiResource;
use kube::{Api, Client};
use palisade_compiler::model::Kind;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::resource;
use super::slim::{DefinitionShape, Slim};
use super::trouble::{Trouble, forbidden, of_request, said};

/// How long discovery may lag behind a definition that is going. Waited for only where the definition itself may not
/// be read.
const DISCOVERY_LAG: Duration = Duration::from_secs(1);

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// What may not be read, in RBAC's words.
const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// A kind's definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Definition {
    /// It is not there.
    Absent,
    /// It is there.
    There {
        /// Its `metadata.uid`, which tells it from one that was installed later; `None`: not known.
        uid: Option<String>,
        /// It is being deleted, and every object of the kind with it.
        is_going: bool,
    },
}

/// Looks for the definition of a kind.
pub(super) struct Definitions {
    client: Client,
    kind: Kind,
    name: String,
    /// The definition may not be read, and discovery has to do.
    is_forbidden: bool,
}

impl Definitions {
    /// Of a kind; `None` if the API server has it built in.
    pub(super) fn of(kind: Kind, client: Client) -> Option<Self> {
        Some(Self { client, kind, name: resource::definition(kind)?, is_forbidden: false })
    }

    fn api<K: kube::Resource<DynamicType = ApiResource>>(&self) -> Api<K> {
        let definitions = ApiResource {
            group: "apiextensions.k8s.io".to_owned(),
            version: "v1".to_owned(),
            api_version: "apiextensions.k8s.io/v1".to_owned(),
            kind: "CustomResourceDefinition".to_owned(),
            plural: "customresourcedefinitions".to_owned(),
        };
        Api::all_with(self.client.clone(), &definitions)
    }

    /// The definition now, and the versions it serves, in its order.
    ///
    /// # Errors
    /// The API server does not say.
    pub(super) async fn look(&mut self) -> Result<(Definition, Vec<String>), Trouble> {
        in_time(self.read()).await
    }

    /// The definition now, from the store and no cache, without its large schema.
    ///
    /// # Errors
    /// The API server does not say.
    pub(super) async fn identify(&mut self) -> Result<Definition, Trouble> {
        in_time(self.read_metadata()).await
    }

    async fn read(&mut self) -> kube::Result<(Definition, Vec<String>)> {
        let found = self.api::<Slim<DefinitionShape>>().get(&self.name).await;
        let found = match found {
            Err(kube::Error::Api(status)) if status.code == 403 => {
                self.is_refused(&status.message);
                return self.discover().await;
            }
            found => absent(found)?,
        };
        self.is_allowed();
        let Some(found) = found else { return Ok((Definition::Absent, Vec::new())) };
        let there = Definition::There {
            uid: found.metadata("uid").map(str::to_owned),
            is_going: found.metadata("deletionTimestamp").is_some(),
        };
        let versions = found.raw.pointer("/spec/versions").and_then(|versions| versions.as_array());
        let served = versions.into_iter().flatten().filter(|version| version["served"] == true);
        Ok((there, served.filter_map(|version| Some(version["name"].as_str()?.to_owned())).collect()))
    }

    async fn read_metadata(&mut self) -> kube::Result<Definition> {
        let found = self.api::<Slim<DefinitionShape>>().get_metadata(&self.name).await;
        let found = match found {
            Err(kube::Error::Api(status)) if status.code == 403 => {
                self.is_refused(&status.message);
                sleep(DISCOVERY_LAG).await;
                return Ok(self.discover().await?.0);
            }
            found => absent(found)?,
        };
        self.is_allowed();
        Ok(found.map_or(Definition::Absent, |found| Definition::There {
            uid: found.metadata.uid,
            is_going: found.metadata.deletion_timestamp.is_some(),
        }))
    }

    fn is_refused(&mut self, text: &str) {
        if !std::mem::replace(&mut self.is_forbidden, true) {
            warn!(
                kind = %self.kind,
                "{}; until then discovery has to tell a deleted policy from a deleted definition: deletions take \
                 effect a second late, and a definition that is replaced quickly may go unnoticed",
                forbidden("get", DEFINITIONS, text)
            );
        }
    }

    fn is_allowed(&mut self) {
        if std::mem::take(&mut self.is_forbidden) {
            info!(kind = %self.kind, "the definition can be read now");
        }
    }

    /// As far as discovery tells, which everybody may read. A definition that is going lets nothing be created.
    async fn discover(&self) -> kube::Result<(Definition, Vec<String>)> {
        let groups = self.client.list_api_groups().await?.groups;
        let group = groups.into_iter().find(|group| group.name == resource::group(self.kind));
        let mut versions = Vec::new();
        let mut is_going = false;
        for version in group.into_iter().flat_map(|group| group.versions) {
            let resources = self.client.list_api_group_resources(&version.group_version).await;
            let resources = absent(resources)?.into_iter().flat_map(|list| list.resources);
            if let Some(found) = resources.into_iter().find(|found| found.name == resource::plural(self.kind))
            {
                is_going |= !found.verbs.iter().any(|verb| verb == "create");
                versions.push(version.version);
            }
        }
        if versions.is_empty() {
            return Ok((Definition::Absent, versions));
        }
        Ok((Definition::There { uid: None, is_going }, versions))
    }
}

async fn in_time<T>(answer: impl Future<Output = kube::Result<T>>) -> Result<T, Trouble> {
    let failing = |message| Trouble::Failing { message, is_lasting: false, retry_after: Duration::ZERO };
    let error = match timeout(ANSWER, answer).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(error)) => error,
        Err(_) => {
            return Err(failing(format!(
                "cannot get {DEFINITIONS}: no answer within {} s",
                ANSWER.as_secs()
            )));
        }
    };
    Err(match of_request(DEFINITIONS, "get", &error) {
        // Said of definitions it is nothing that listing again could mend.
        Trouble::NotServed | Trouble::Outdated => {
            failing(format!("cannot get {DEFINITIONS}: {}", said(&error)))
        }
        failing @ Trouble::Failing { .. } => failing,
    })
}

/// Tells what is not there from what cannot be read.
fn absent<T>(found: kube::Result<T>) -> kube::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}
