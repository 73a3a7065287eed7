#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod api;
mod app;
mod config;
mod console;
mod dead_letters;
mod dev;
mod directory;
pub mod doctor;
mod evaluate;
mod events;
pub mod fields;
mod follow;
mod health_routes;
mod http;
mod limits;
mod metrics;
mod organizations;
mod outcome;
mod pay;
mod pipeline;
mod publish;
mod quota;
mod reconciliations;
mod routes;
mod standings;
mod token_command;
mod tokens;
mod usage;
mod users;
pub mod webhooks;

use std::sync::Arc;

use common::clients::quota::QuotaBackend;
use common::clients::quota::kms::{Kms, KmsConfig};
use common::clients::stripe::Stripe;
use common::clock::SharedClock;
use common::dead_letters::DeadLetters;
use common::health;
use common::ids::IdSource;
use common::parts::Parts;
use common::pay_link::PayLinks;
use common::shutdown::{FINISH, Shutdown};

pub use config::Config;
pub use token_command::{TokenCommand, make_token};

use crate::app::App;

/// Runs ingress until the shutdown. It starts without its broker and its database, and says so.
///
/// # Errors
/// When the address is taken, or another address can't be understood.
pub async fn run(config: Config, clock: SharedClock, ids: Arc<dyn IdSource>, shutdown: Shutdown) -> anyhow::Result<()> {
    let listener = health::bind(config.listen).await?;
    let address = listener.local_addr()?;
    let parts = Parts::prepare("ingress", config.base.clone(), clock, &shutdown).await?;
    let app = Arc::new(assemble(config, &parts, ids, &shutdown)?);
    tokio::spawn(app.outcomes.clone().listen(parts.broker.clone(), app.hints.clone(), shutdown.clone()));
    let ttl = app.config.directory_ttl;
    tokio::spawn(follow::keep(parts.pool.clone(), app.directory.clone(), ttl, shutdown.clone()));
    tokio::spawn(follow::keep(parts.pool.clone(), app.tokens.clone(), ttl, shutdown.clone()));
    tokio::spawn(reconciliations::schedule::keep(app.clone(), shutdown.clone()));
    let letters = app.dead_letters.clone();
    tokio::spawn(metrics::watch_dead_letters(letters, parts.registry.clone(), shutdown.clone()));
    tracing::info!(%address, dev_routes = app.config.dev_routes, "ingress listens on http://{address}");
    let routes = routes::routes(app, parts.health.clone(), parts.registry.clone());
    let serving = warp::serve(routes).incoming(listener).graceful(shutdown.wait()).run();
    // A client that never finishes its request must not keep the service from stopping. Whoever waits for an outcome has been
    // answered by then.
    if shutdown.cut(FINISH, serving).await.is_none() {
        tracing::warn!("some connections did not end in time and are cut");
    }
    parts.close(&shutdown).await;
    tracing::info!("ingress has stopped");
    Ok(())
}

fn assemble(config: Config, parts: &Parts, ids: Arc<dyn IdSource>, shutdown: &Shutdown) -> anyhow::Result<App> {
    let metrics = metrics::Metrics::new(&parts.registry);
    let hints = console::live::Hints::default();
    let kms_url = config.kms_url.clone().filter(|_| config.dev_routes);
    let kms = kms_url.map(|url| Kms::new(&KmsConfig::new(url), &parts.registry)).transpose()?;
    let tokens = tokens::Tokens::new(parts.pool.clone(), parts.health.clone(), parts.clock.clone());
    tokens.show_in(&parts.registry);
    Ok(App {
        clock: parts.clock.clone(),
        pool: parts.pool.clone(),
        publisher: publish::Publisher::new(parts.broker.clone(), metrics.clone()),
        directory: directory::Directory::new(parts.pool.clone(), parts.health.clone(), hints.clone()),
        outcomes: outcome::Outcomes::default(),
        hints,
        console_turns: console::turns(config.base.database_pool),
        console_key: console::Key::of([ids.fresh(), ids.fresh()]),
        ids,
        stripe: Stripe::new(config.stripe.clone(), &parts.registry)?,
        kms: kms.map(|kms| Arc::new(kms) as Arc<dyn QuotaBackend>),
        keys: webhooks::signature::Keys::parse(&config.webhook_secrets),
        stripe_keys: webhooks::stripe_signature::StripeKeys::parse(&config.stripe_webhook_secrets),
        links: PayLinks::new(config.pay_link_secret.clone(), &config.public_url),
        dead_letters: DeadLetters::new(parts.broker.clone()),
        dead_letters_leader: dead_letters::Leader::new(parts.broker.clone()),
        alert_tokens: webhooks::alerts::AlertTokens::parse(&config.alert_tokens),
        auth: api::auth::Auth::new(config.api_auth.then(|| tokens.clone()), config.auth_failures),
        tokens,
        limit: limits::SourceLimit::new(config.webhook_rate, config.webhook_burst),
        pay_limit: limits::SourceLimit::new(config.pay_rate, config.pay_burst),
        metrics,
        shutdown: shutdown.clone(),
        config,
    })
}
