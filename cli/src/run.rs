//! A command from its words to its exit code.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use common::clock::{Clock, SystemClock};
use common::config::{Env, ProcessEnv, Secret};
use common::ids::{IdSource, RandomIds};
use serde_json::{Value, json};

use crate::call::Call;
use crate::client::{Answer, Client};
use crate::commands::{Cli, Command, Connection, Make};
use crate::doctor::{self, Doctor};
use crate::failure::{Failure, REFUSED, UNREACHABLE, USAGE};
use crate::show::{self, Show};
use crate::terminal;

/// Where a token may stand.
const TOKEN: &str = "BILL_TOKEN";

/// `bill`, with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            // Help goes to the standard output, mistakes to the other; whoever does not read either knows the code.
            drop(told.print());
            return ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(USAGE));
        }
    };
    let code = match cli.command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "bill", &mut script);
            written(&String::from_utf8_lossy(&script), 0)
        }
        Command::Doctor(options) => examine(&cli.connection, &options),
        command => call(&cli.connection, command),
    };
    ExitCode::from(code)
}

/// `bill doctor`: several calls, and a report instead of an answer.
fn examine(connection: &Connection, options: &Doctor) -> u8 {
    let report = token(connection).and_then(|token| Client::new(&connection.url, token)).and_then(|client| {
        let key = format!("doctor-{}", RandomIds.fresh());
        runtime()?.block_on(async {
            // Whoever interrupts a recharge finds it in the organization's history.
            tokio::select! {
                report = doctor::look(&client, options, &key) => Ok(report),
                Ok(()) = tokio::signal::ctrl_c() => Err(Failure::Interrupted),
            }
        })
    });
    match report {
        Ok(report) => written(&report.text(connection.json), report.exit_code()),
        Err(failure) => {
            let told = Told::failure(&failure, None, connection.json, &terminal::show());
            terminal::note(&told.err);
            written(&told.out, told.code)
        }
    }
}

/// Makes the command's call, and writes what came of it.
fn call(connection: &Connection, command: Command) -> u8 {
    let make = Make { now: SystemClock.now(), key: RandomIds.fresh().to_string() };
    let show = terminal::show();
    let told = match command.call(&make) {
        Err(problem) => Told::failure(&Failure::Usage(problem), None, connection.json, &show),
        Ok(call) => match done(connection, &call) {
            Ok(answer) => Told::answer(&answer, &call, connection.json, &show),
            Err(failure) => Told::failure(&failure, call.key.as_deref(), connection.json, &show),
        },
    };
    terminal::note(&told.err);
    written(&told.out, told.code)
}

fn done(connection: &Connection, call: &Call) -> Result<Answer, Failure> {
    let client = Client::new(&connection.url, token(connection)?)?;
    if call.question.as_deref().is_some_and(|question| !terminal::confirms(question)) {
        return Err(Failure::NotConfirmed);
    }
    runtime()?.block_on(async {
        // Whoever interrupts a call that has a key is told the key: it may have been done.
        tokio::select! {
            answer = client.make(call) => answer,
            Ok(()) = tokio::signal::ctrl_c() => Err(Failure::Interrupted),
        }
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::Usage(format!("no call can be made: {error}")))
}

/// The token: of the file, of the command line, of the environment.
fn token(connection: &Connection) -> Result<Option<Secret>, Failure> {
    let text = match &connection.token_file {
        Some(file) => {
            let text = std::fs::read_to_string(file);
            let text = text.map_err(|error| Failure::Usage(format!("--token-file {}: {error}", file.display())))?;
            Some(Secret::new(text.trim()))
        }
        None => connection.token.clone().or_else(|| ProcessEnv.get(TOKEN).map(|text| Secret::new(text.trim()))),
    };
    Ok(text.filter(|token| !token.expose().is_empty()))
}

fn written(text: &str, code: u8) -> u8 {
    match terminal::write(text) {
        Ok(()) => code,
        Err(problem) => {
            terminal::note(&format!("error: {problem}\n"));
            code.max(REFUSED)
        }
    }
}

/// What is written, where, and the exit code.
#[derive(Debug, PartialEq)]
struct Told {
    out: String,
    err: String,
    code: u8,
}

impl Told {
    fn answer(answer: &Answer, call: &Call, json: bool, show: &Show) -> Self {
        let body = &answer.body;
        let accepted = answer.status == 202;
        // Nobody knows whether it was accepted: as if it had not been reached.
        let unconfirmed = accepted && body["accepted"].is_null();
        let refused = call.method != reqwest::Method::GET && body["success"] == false;
        let code = match (unconfirmed, refused) {
            (true, _) => UNREACHABLE,
            (false, true) => REFUSED,
            (false, false) => 0,
        };
        let out = match (json, accepted) {
            (true, _) => document(body),
            (false, true) => show::accepted(body, show),
            (false, false) => (call.view)(body, show),
        };
        Self { out, err: call.key.as_deref().filter(|_| unconfirmed).map(repeat).unwrap_or_default(), code }
    }

    fn failure(failure: &Failure, key: Option<&str>, json: bool, show: &Show) -> Self {
        let key = key.filter(|_| failure.leaves_open());
        let err = failure.to_text(show) + &key.map(repeat).unwrap_or_default();
        let out = if json {
            let mut body = failure.to_json();
            if let (Some(key), Some(body)) = (key, body.as_object_mut()) {
                body.insert("idempotency_key".to_owned(), json!(key));
            }
            document(&body)
        } else {
            String::new()
        };
        Self { out, err, code: failure.exit_code() }
    }
}

fn repeat(key: &str) -> String {
    format!(
        "It may have been done all the same. To send the same call again, and not another one, add:\n  --key {key}\n"
    )
}

fn document(body: &Value) -> String {
    format!("{body:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Refusal;

    fn recharge() -> Call {
        Call::post(&[&"x"], show::outcome).keyed("k1".to_owned())
    }

    fn told(status: u16, body: Value, call: &Call, json: bool) -> Told {
        Told::answer(&Answer { status, body }, call, json, &Show::plain_utc())
    }

    #[test]
    fn codes_follow_the_outcome() {
        assert_eq!(told(200, json!({ "success": true }), &recharge(), false).code, 0);
        assert_eq!(told(200, json!({ "success": false, "action": "declined" }), &recharge(), false).code, REFUSED);
        // To look at what failed is no failure.
        assert_eq!(told(200, json!({ "success": false }), &Call::get(&[], show::outcome), false).code, 0);
        let accepted = told(202, json!({ "accepted": true, "event_id": "e" }), &recharge(), false);
        assert_eq!((accepted.code, accepted.err.as_str()), (0, ""));
        assert!(accepted.out.contains("bill event e"), "{accepted:?}");
        let unconfirmed = told(202, json!({ "accepted": null, "event_id": "e" }), &recharge(), false);
        assert_eq!(unconfirmed.code, UNREACHABLE);
        assert!(unconfirmed.err.contains("--key k1"), "{unconfirmed:?}");
    }

    #[test]
    fn programs_get_one_document_and_exact_numbers() {
        let body: Value = serde_json::from_str(r#"{"success":true,"fee":0.10}"#).unwrap();
        let told = told(200, body, &recharge(), true);
        assert_eq!(told.out, "{\n  \"fee\": 0.10,\n  \"success\": true\n}\n");
        let failure = Failure::NotReachable("no answer".to_owned());
        let told = Told::failure(&failure, Some("k1"), true, &Show::plain_utc());
        let body: Value = serde_json::from_str(&told.out).unwrap();
        assert_eq!((&body["code"], &body["idempotency_key"]), (&json!("not_reachable"), &json!("k1")));
        assert!(told.err.starts_with("error: no answer\n") && told.err.contains("--key k1"), "{told:?}");
    }

    #[test]
    fn a_clear_no_needs_no_key() {
        let no = Failure::Refused(Refusal { status: 409, body: json!({ "error": "no" }), request_id: None });
        let told = Told::failure(&no, Some("k1"), false, &Show::plain_utc());
        assert_eq!((told.code, told.out.as_str(), told.err.contains("k1")), (REFUSED, "", false));
    }
}
