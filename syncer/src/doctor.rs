//! `syncer doctor`: what the syncer needs, looked at from where it runs.

use common::clients::quota::kms::Kms;
use common::clients::quota::litellm::Litellm;
use common::clients::quota::{Account, BackendError, QuotaBackend};
use common::clock::Clock;
use common::config::{Env, Reader};
use common::doctor::{self, Check, Service, configuration, outside, rights, within};
use common::ids::{OrganizationId, TeamId};
use prometheus::Registry;

use crate::config::read_backend;
use crate::{Backend, Config};

const NAME: &str = "syncer";
/// Nobody's: asking for it tells whether the backend answers, and whether it takes the key.
const NOBODY: &str = "bill-doctor-asks-for-nobody";

/// Looks at everything that the syncer needs.
pub async fn look(env: &dyn Env, clock: &dyn Clock) -> Vec<Check> {
    let service = Service { name: NAME, rights: rights::SYNCER };
    let mut checks = configuration::check(NAME, "syncer/README.md", &Config::read(env));
    checks.extend(doctor::of_service(service, env, clock).await);
    checks.extend(within("quota backend", backend(env)).await);
    checks
}

async fn backend(env: &dyn Env) -> Vec<Check> {
    let mut reader = Reader::new(env);
    let read = read_backend(&mut reader);
    let Ok(Some(backend)) = reader.finish(read) else {
        return vec![configuration::unusable("quota backend", "QUOTA_BACKEND and its own variables")];
    };
    vec![match backend {
        Backend::Kms(config) => {
            let place = outside::host_of(&config.url.at(""));
            let asked = match Kms::new(&config, &Registry::new()) {
                Ok(kms) => kms.health().await,
                Err(error) => Err(unprepared(&error)),
            };
            outside::backend("the KMS", &place, "KMS_URL", None, asked)
        }
        Backend::Litellm(config) => {
            let place = outside::host_of(&config.url.at(""));
            let asked = match Litellm::new(&config, &Registry::new()) {
                Ok(litellm) => ask_for_nobody(&litellm).await,
                Err(error) => Err(unprepared(&error)),
            };
            outside::backend("LiteLLM", &place, "LITELLM_URL", Some("LITELLM_MASTER_KEY"), asked)
        }
    }]
}

async fn ask_for_nobody(litellm: &Litellm) -> Result<(), BackendError> {
    let organization = OrganizationId::parse(NOBODY.to_owned()).map_err(|error| unprepared(&error.into()))?;
    let team = TeamId::parse(NOBODY.to_owned()).map_err(|error| unprepared(&error.into()))?;
    litellm.read(&Account { organization, team: Some(team) }).await.map(drop)
}

fn unprepared(error: &anyhow::Error) -> BackendError {
    BackendError::Unavailable { reason: format!("no call can be made: {error:#}"), after: None }
}
