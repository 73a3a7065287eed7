//! What to try while the demo is up: commands to copy.

use xtask::demo::Scenario;

use super::enforcer::{self, Enforcer, Team};
use super::home::Home;
use crate::client::Client;
use crate::stack::WEBHOOK_SECRET;

const KMS: &str = r#"
Everything stays up until Ctrl-C. What you do shows here as it passes.

The console, where you are signed in already: @INGRESS@/console

To copy into another terminal:

# an organization, a card, and its first sync with the KMS
curl -sw '\n' -X POST @INGRESS@/api/organizations -H 'content-type: application/json' -d '{"c_organization_id":"acme","minimum_balance":100,"target_balance":500,"auto_recharge_enabled":true,"minimum_recharge_amount":200}'
curl -sw '\n' -X POST @INGRESS@/api/organizations/acme/payment-method -H 'content-type: application/json' -d '{"payment_method_id":"pm_card_visa","set_as_default":true}'
curl -sw '\n' -X POST @INGRESS@/api/organizations/acme/sync
curl -sw '\n' @KMS@/organizations/acme

# a signed webhook for its team, then the history, and the quota at the KMS
TEAM=$(curl -s @KMS@/organizations/acme | sed 's/.*"l_team_id": *"\([^"]*\)".*/\1/')
BODY='{"event_type":"limit_exceeded","team_id":"'$TEAM'","current_usage":520,"current_limit":500,"exceeded_by":20,"timestamp":"2025-07-17T10:00:00Z"}'
SIGNATURE=$(printf '%s' "$BODY" | openssl dgst -sha256 -hmac "@SECRET@" | sed 's/.* //')
curl -sw '\n' -X POST @INGRESS@/webhooks/litellm/limit-exceeded -H 'content-type: application/json' -H "x-webhook-signature: sha256=$SIGNATURE" -d "$BODY"
curl -sw '\n' @INGRESS@/api/organizations/acme/recharge-history
curl -sw '\n' @KMS@/organizations/acme

# the same in two steps, for a team with a quota of 500 that buys at least 100
curl -sw '\n' -X POST @INGRESS@/test/setup-webhook-test -H 'content-type: application/json' -d '{"team_id":"team_webhook_001","minimum_recharge_amount":100,"target_balance":500}'
BODY='{"event_type":"limit_exceeded","team_id":"team_webhook_001","current_usage":520,"current_limit":500,"exceeded_by":20,"timestamp":"2025-07-17T10:00:00Z"}'
SIGNATURE=$(printf '%s' "$BODY" | openssl dgst -sha256 -hmac "@SECRET@" | sed 's/.* //')
curl -sw '\n' -X POST @INGRESS@/webhooks/litellm/limit-exceeded -H 'content-type: application/json' -H "x-webhook-signature: sha256=$SIGNATURE" -d "$BODY"

# what Stripe and the KMS have in their books
curl -sw '\n' @STRIPE@/_sim/books
curl -sw '\n' @KMS@/_sim/books"#;

const LITELLM: &str = r#"
Everything stays up until Ctrl-C. What you do shows here as it passes.

The console, where you are signed in already: @INGRESS@/console

To copy into another terminal:

# an organization, a card, and its first sync: nobody has named a team, so one of the same name is made in LiteLLM
@KEY@
curl -sw '\n' -X POST @INGRESS@/api/organizations -H 'content-type: application/json' -d '{"c_organization_id":"@ACME@","minimum_balance":100,"target_balance":500,"auto_recharge_enabled":true,"minimum_recharge_amount":200}'
curl -sw '\n' -X POST @INGRESS@/api/organizations/@ACME@/payment-method -H 'content-type: application/json' -d '{"payment_method_id":"pm_card_visa","set_as_default":true}'
curl -sw '\n' -X POST @INGRESS@/api/organizations/@ACME@/sync
curl -sw '\n' "@LITELLM@/team/info?team_id=@ACME@" -H "authorization: Bearer $LITELLM_MASTER_KEY"

# its first recharge, by hand, and what LiteLLM enforces then
curl -sw '\n' -X POST @INGRESS@/api/organizations/@ACME@/recharge -H 'content-type: application/json' -d '{"amount":300}'
curl -sw '\n' "@LITELLM@/team/info?team_id=@ACME@" -H "authorization: Bearer $LITELLM_MASTER_KEY"

@SPEND@
curl -sw '\n' @INGRESS@/api/organizations/@ACME@/recharge-history

# what Stripe has in its books
curl -sw '\n' @STRIPE@/_sim/books"#;

const SIMULATED_SPEND: &str = r#"# it spends, and LiteLLM sends its alert; then the history, and the simulator's books
curl -sw '\n' -X POST @LITELLM@/_sim/usage -d '{"team_id":"@ACME@","usage":320,"webhook":true}'
curl -sw '\n' @LITELLM@/_sim/books"#;

const FOREIGN_SPEND: &str = r#"# an alert, as LiteLLM would send it; or spend with a key of the team, and let LiteLLM send its own
curl -sw '\n' -X POST @ALERTS@ -H 'content-type: application/json' -d '{"event_group":"team","event":"budget_crossed","team_id":"@ACME@","spend":320,"max_budget":300}'"#;

const END: &str = r#"
What happens when something goes wrong, told in a new start of the demo; or with short deadlines, to try faults yourself
(simulators/README.md):
cargo xtask demo --scenario @SCENARIO@   # or @OTHERS@
SYNC_DEADLINE=5s CREDIT_DEADLINE=5s SWEEP_INTERVAL=2s cargo xtask demo

Addresses, secrets and process ids: @ENV@
Logs of the services: @LOGS@/*.log"#;

/// The commands with the real addresses.
pub(super) fn text(client: &Client, home: &Home, enforcer: &Enforcer) -> String {
    let [first, others @ ..] = Scenario::ALL.map(Scenario::name);
    let start = match enforcer.team() {
        None => KMS.to_owned(),
        Some(team) => litellm(team),
    };
    format!("{start}\n{END}")
        .replace("@SCENARIO@", first)
        .replace("@OTHERS@", &others.join(", "))
        .replace("@ALERTS@", &enforcer::alerts(client))
        .replace("@INGRESS@", &client.ingress)
        .replace("@KMS@", &client.kms)
        .replace("@STRIPE@", &client.stripe)
        .replace("@SECRET@", WEBHOOK_SECRET)
        .replace("@ENV@", &home.env_file().display().to_string())
        .replace("@LOGS@", &home.logs().display().to_string())
}

fn litellm(team: &Team) -> String {
    // The keys and teams of a foreign proxy are not ours: its key is not shown, and no team of another demo is met again.
    let (key, spend, acme) = if team.foreign {
        ("# (with LITELLM_MASTER_KEY set to its key)".to_owned(), FOREIGN_SPEND, format!("{}-acme", team.id))
    } else {
        (format!("LITELLM_MASTER_KEY={}", team.key.expose()), SIMULATED_SPEND, "acme".to_owned())
    };
    LITELLM.replace("@KEY@", &key).replace("@SPEND@", spend).replace("@ACME@", &acme).replace("@LITELLM@", &team.url)
}
