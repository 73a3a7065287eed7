//! Encrypted connections to the broker and to PostgreSQL, vouched for by an authority of one's own.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use common::config::Secret;
use common::db;
use e2e::client::limit_exceeded;
use e2e::service::Service;
use e2e::stack::{self, Tls};
use e2e::{Options, Stack, books, wait};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;
use xtask::folder::PrivateFolder;
use xtask::identity::Identity;

/// An authority: whom it vouches for, and the file in which others find it.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(name: &str, folder: &Path) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let file = folder.join(format!("{name}.pem"));
        std::fs::write(&file, params.self_signed(&key)?.pem())?;
        Ok(Self { issuer: Issuer::new(params, key), file })
    }

    fn identity(&self) -> anyhow::Result<Identity> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&key, &self.issuer)?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_settles_over_encrypted_connections_and_another_authority_is_refused() -> anyhow::Result<()> {
    let folder = PrivateFolder::create("tls", None)?;
    let (ours, other) = (Authority::new("ours", folder.path())?, Authority::new("other", folder.path())?);
    let tls = Tls { identity: ours.identity()?, authority: ours.file.clone() };
    let stack = Stack::start(Options { tls: Some(tls), ..Options::default() }).await?;
    let team = stack.client.ready_organization("acme", "pm_card_visa", json!({})).await?;
    let (status, answer) = stack.client.webhook(&stack.client.ingress, limit_exceeded(&team, "520", "500", 0)).await?;
    ensure!(status == 200 && answer["success"] == true, "{status} {answer}");
    books::quiet_and_balanced(&stack).await?;

    // What is not encrypted is not let in, with the right password either.
    let url = stack.database.url_of("ledger")?;
    let (place, _) = url.split_once('?').context("a URL without parameters")?;
    let pool = db::pool(&Secret::new(format!("{place}?sslmode=disable")), "e2e", 1)?;
    let refused = pool.acquire().await.err().context("a connection that was not encrypted")?;
    ensure!(refused.to_string().contains("no encryption"), "{refused}");

    // Who believes somebody else believes neither server, and says so.
    let other = other.file.to_string_lossy().into_owned();
    let url = url.replace(&*ours.file.to_string_lossy(), &other);
    let options = Options::default().with("NATS_CA_FILE", &other);
    let (stripe, kms) = (stack.stripe.url(), stack.kms.url());
    let environment = stack::environment(&options, &stack.nats.url_of("ledger"), &url, &stripe, &kms);
    let suspicious = Service::start("ledger", 9, None, folder.path(), &environment)?;
    wait::until("both refusals", || async {
        let health = format!("{}/health", suspicious.url);
        let health: serde_json::Value =
            serde_json::from_str(&stack.client.http.get(health).send().await?.text().await?)?;
        let said = health.to_string();
        ensure!(said.matches("invalid peer certificate: UnknownIssuer").count() == 2, "{said}\n{}", suspicious.log());
        Ok(())
    })
    .await?;
    let log = suspicious.log();
    ensure!(log.contains("can't be connected to") && log.contains("UnknownIssuer"), "{log}");
    drop(suspicious);
    stack.stop().await
}
