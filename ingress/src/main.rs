//! The `ingress` service; `ingress token …` makes an API token, `ingress doctor` looks at what it needs.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use common::clock::{Clock, SystemClock};
use common::config::ProcessEnv;
use common::ids::RandomIds;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((word, rest)) if word == "token" => common::service::tool(
            |env| ingress::TokenCommand::read(rest, env),
            |command, _| async move {
                let token = ingress::make_token(command, SystemClock.now(), &RandomIds).await?;
                Ok(writeln!(std::io::stdout(), "{}", token.expose())?)
            },
        ),
        Some((word, rest)) if word == "doctor" => {
            common::doctor::main("ingress", rest, || ingress::doctor::look(&ProcessEnv, &SystemClock))
        }
        None => common::service::main(ingress::Config::read, |config, shutdown| {
            ingress::run(config, SystemClock::shared(), Arc::new(RandomIds), shutdown)
        }),
        _ => {
            let usage = "[token --name NAME … | doctor [--json] | --version]";
            common::service::other("ingress", &arguments, usage)
        }
    }
}
