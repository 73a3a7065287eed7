//! Where the broker is, as whom, and whom to believe that it is the broker.

use std::path::PathBuf;

use anyhow::{Context, anyhow, bail, ensure};
use async_nats::{ConnectOptions, ServerAddr};

use crate::config::{Reader, Secret, items};

const DEFAULT: &str = "nats://127.0.0.1:4222";
const UNUSABLE: &str = "NATS_URL is not usable: use nats://user:password@host:port";

/// Where the broker is.
#[derive(Debug, Clone)]
pub struct BrokerAddress {
    /// `NATS_URL`: `nats://user:password@host:port`, or `tls://…` for connections that must be encrypted. Several servers
    /// of one cluster are separated by commas.
    pub url: Secret,
    /// `NATS_CA_FILE`: the certificates (PEM) of the authorities that may vouch for the broker, and no others. With it,
    /// connections must be encrypted, whatever the URL says. Without, the system's authorities may.
    pub ca_file: Option<PathBuf>,
}

impl From<&Secret> for BrokerAddress {
    fn from(url: &Secret) -> Self {
        Self { url: url.clone(), ca_file: None }
    }
}

impl From<&Self> for BrokerAddress {
    fn from(address: &Self) -> Self {
        address.clone()
    }
}

impl BrokerAddress {
    /// Reads `NATS_URL` and `NATS_CA_FILE`.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let url = reader.optional("NATS_URL").unwrap_or_else(|| DEFAULT.to_owned());
        let address =
            Self { url: Secret::new(url), ca_file: reader.optional("NATS_CA_FILE").map(|path| path.trim().into()) };
        // Now, beside all else that is wrong, and not when the connection is first tried.
        for server in items(&address.url) {
            reader.check_address("NATS_URL", server, &["nats", "tls"]);
        }
        let logins = address.servers().unwrap_or_default().iter().map(login_of).collect::<anyhow::Result<Vec<_>>>();
        for error in [logins.err(), address.check_authority().err()].into_iter().flatten() {
            reader.problem(format!("{error:#}"));
        }
        address
    }

    /// The servers, and options that say who we are. The client takes no user from a URL, and prints URLs in its log.
    ///
    /// # Errors
    /// When the URL or the file can't be used; the message holds no part of the URL.
    pub(crate) fn resolve(&self) -> anyhow::Result<(Vec<ServerAddr>, ConnectOptions)> {
        let mut options = ConnectOptions::new();
        let mut servers = Vec::new();
        let mut login = None;
        for server in self.servers()? {
            login = login.or(login_of(&server)?);
            servers.push(without_login(server)?);
        }
        if let Some((user, password)) = login {
            options = options.user_and_password(user, password);
        }
        self.check_authority()?;
        if let Some(file) = &self.ca_file {
            options = options.add_root_certificates(file.clone()).require_tls(true);
        }
        Ok((servers, options))
    }

    fn servers(&self) -> anyhow::Result<Vec<ServerAddr>> {
        // The parser's own message shows what it could not read.
        let parse = |text: &str| text.trim().parse().map_err(|_| anyhow!(UNUSABLE));
        self.url.expose().split(',').map(parse).collect()
    }

    fn check_authority(&self) -> anyhow::Result<()> {
        let Some(file) = &self.ca_file else { return Ok(()) };
        let text = std::fs::read_to_string(file).with_context(|| format!("NATS_CA_FILE: {}", file.display()))?;
        ensure!(text.contains("-----BEGIN CERTIFICATE-----"), "NATS_CA_FILE: {} has no certificate", file.display());
        Ok(())
    }
}

fn login_of(server: &ServerAddr) -> anyhow::Result<Option<(String, String)>> {
    let Some(user) = server.username() else { return Ok(None) };
    let password = server.password().unwrap_or_default();
    // What a URL must escape would arrive escaped, and be a wrong password for no visible reason.
    if user.contains('%') || password.contains('%') {
        bail!("NATS_URL is not usable: its user and password may hold letters, digits and any of -._~!$&'()*+ only");
    }
    Ok(Some((user.to_owned(), password.to_owned())))
}

fn without_login(server: ServerAddr) -> anyhow::Result<ServerAddr> {
    let mut url = server.into_inner();
    let cleared = url.set_username("").and_then(|()| url.set_password(None));
    ensure!(cleared.is_ok(), "NATS_URL is not usable: it names no host");
    ServerAddr::from_url(url).map_err(|_| anyhow!(UNUSABLE))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn resolve(url: &str) -> anyhow::Result<(Vec<ServerAddr>, ConnectOptions)> {
        BrokerAddress::from(&Secret::new(url)).resolve()
    }

    #[test]
    fn what_is_connected_to_names_nobody() {
        for (url, want) in [
            ("nats://ledger:pw1@127.0.0.1:4222", "nats://127.0.0.1:4222"),
            ("127.0.0.1", "nats://127.0.0.1"),
            ("tls://ledger:pw1@broker.internal", "tls://broker.internal"),
            ("nats://l:p@a:1, nats://l:p@b:2", "nats://a:1 nats://b:2"),
        ] {
            let (servers, _) = resolve(url).unwrap();
            let servers: Vec<_> = servers.iter().map(ServerAddr::as_url_str).collect();
            assert_eq!(servers.join(" "), want);
        }
        assert_eq!(login_of(&"nats://l:p_-.~!$@a".parse().unwrap()).unwrap().unwrap(), ("l".into(), "p_-.~!$".into()));
        assert!(login_of(&"nats://a".parse().unwrap()).unwrap().is_none());
    }

    #[test]
    fn mistakes_are_told_without_the_password() {
        for url in [
            "hunter2://a",
            "http://l:hunter2@a",
            "nats://l:hunter2%21@a",
            "nats://l:hunter2|@a",
            "nats://l:hunter2@a:port",
        ] {
            let said = format!("{:#}", resolve(url).err().unwrap());
            assert!(said.contains("NATS_URL") && !said.contains("hunter2"), "{url}: {said}");
        }
    }

    #[test]
    fn an_authority_that_is_not_there_is_named_with_all_else() {
        let env: BTreeMap<_, _> =
            [("NATS_CA_FILE".to_owned(), "/nowhere/ca.pem".to_owned()), ("NATS_TEST".to_owned(), "maybe".to_owned())]
                .into();
        let mut reader = Reader::new(&env);
        let address = BrokerAddress::read(&mut reader);
        reader.switch("NATS_TEST", false);
        let said = reader.finish(address).unwrap_err().to_string();
        assert!(said.contains("/nowhere/ca.pem") && said.contains("NATS_TEST"), "{said}");
    }
}
