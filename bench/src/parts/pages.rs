//! How long each page takes to be answered, from the request's first byte to the answer's last one on loopback, with a year
//! of 2,000 organizations behind it. One page at a time counts; four at once are told besides.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use common::clock::{Clock, SystemClock};
use e2e::{Options as StackOptions, Stack, wait};
use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode};
use serde_json::json;
use xtask::bench::{Options, Part};
use xtask::say;

use crate::figures::{Figure, Report};
use crate::fleet::{self, Fleet, Seeded};
use crate::measure;
use crate::repo;

/// What a page's 95th percentile must not exceed.
const LIMIT: Duration = Duration::from_millis(100);
/// How many ask at once, the second time.
const AT_ONCE: usize = 4;
/// How many dead letters there are.
const LETTERS: usize = 300;

/// A page.
struct Page {
    name: &'static str,
    /// Its path; one beneath `/console` is asked for as a browser does, with a session, any other with a token.
    /// `{largest}`, `{typical}`, `{recharge}`, `{newest}`, `{event}` and `{run}` stand for what was seeded.
    path: &'static str,
    /// What is sent to it, as JSON; none: it is only read.
    body: Option<&'static str>,
}

impl Page {
    fn is_of_the_console(&self) -> bool {
        self.path.starts_with("/console")
    }
}

const fn page(name: &'static str, path: &'static str) -> Page {
    Page { name, path, body: None }
}

/// What is measured. Of pages about an organization the one that has the most of everything is asked for, because no other
/// can take longer, and of the most important one that is like most others, too.
const PAGES: &[Page] = &[
    page("organizations", "/api/organizations?limit=100"),
    page("organization, largest", "/api/organizations/{largest}/config"),
    page("balance, largest", "/api/organizations/{largest}/balance"),
    page("balance, typical", "/api/organizations/{typical}/balance"),
    page("usage of 30 days, largest", "/api/organizations/{largest}/usage"),
    page("usage of 366 days, largest", "/api/organizations/{largest}/usage?days=366"),
    page("usage of 30 days, typical", "/api/organizations/{typical}/usage"),
    page("users, largest", "/api/organizations/{largest}/users"),
    page("recharge history, largest", "/api/organizations/{largest}/recharge-history?limit=100"),
    page("recharge history, typical", "/api/organizations/{typical}/recharge-history"),
    page("webhook events, largest", "/api/organizations/{largest}/webhook-events?limit=100"),
    page("quota history, largest", "/api/organizations/{largest}/quota-history?limit=100"),
    page("recharge with a refund", "/api/recharges/{recharge}"),
    page("newest recharge", "/api/recharges/{newest}"),
    page("event", "/api/events/{event}"),
    page("audit log", "/api/audit-log?limit=100"),
    page("audit log, largest", "/api/audit-log?c_organization_id={largest}&limit=100"),
    page("tokens", "/api/tokens?limit=100"),
    page("dead letters", "/api/dead-letters?limit=100"),
    page("reconciliations", "/api/reconciliations?limit=100"),
    page("reconciliation", "/api/reconciliations/{run}"),
    Page {
        name: "what-if of 30 days, largest",
        path: "/api/organizations/{largest}/simulate",
        body: Some(r#"{"days": 30, "policy": {"minimum_balance": 50}}"#),
    },
    page("openapi", "/api/openapi.json"),
    page("console: organizations", "/console/organizations"),
    page("console: organizations, searched", "/console/organizations?search=a"),
    page("console: organization, largest", "/console/organizations/{largest}"),
    page("console: organization, 90 days, largest", "/console/organizations/{largest}?days=90"),
    page("console: organization, typical", "/console/organizations/{typical}"),
    page("console: policy, largest", "/console/organizations/{largest}/policy"),
    page("console: what-if of 30 days, largest", "/console/organizations/{largest}/what-if?days=30"),
    page("console: recharge, largest", "/console/organizations/{largest}/recharge"),
    page("console: card, largest", "/console/organizations/{largest}/card"),
    page("console: recharges, largest", "/console/organizations/{largest}/recharges"),
    page("console: events, largest", "/console/organizations/{largest}/events"),
    page("console: quota history, largest", "/console/organizations/{largest}/quota"),
    page("console: audit log, largest", "/console/organizations/{largest}/audit"),
    page("console: recharge with a refund", "/console/recharges/{recharge}"),
    page("console: newest recharge", "/console/recharges/{newest}"),
    page("console: refund", "/console/recharges/{newest}/refund"),
    page("console: new organization", "/console/organizations/new"),
    page("console: closing", "/console/organizations/{typical}/close"),
    page("console: pipeline", "/console/pipeline"),
    page("console: dead letters", "/console/dead-letters"),
    page("console: reconciliations", "/console/reconciliations"),
    page("console: reconciliation", "/console/reconciliations/{run}"),
    page("console: tokens", "/console/tokens"),
    page("console: audit log", "/console/audit"),
];

/// Measures every page.
///
/// # Errors
/// When the system can't be started or filled, or a page is not answered as it should be.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let stack = Stack::start(settings()).await?;
    let token = stack.first_token("bench").await?;
    let fleet = Fleet::large(options.seed);
    let started = Instant::now();
    let now = SystemClock.now();
    let seeded = fleet::seed(&stack.pool, &fleet, now).await?;
    fleet::park(&stack.broker, LETTERS, &seeded, now).await?;
    say(format_args!(
        "{} organizations, {} recharges, {} looks at usage, {LETTERS} dead letters: filled in {} s",
        fleet.organizations,
        fleet.recharges,
        fleet.snapshots,
        started.elapsed().as_secs()
    ));
    let mut figures = controls(&stack, options.times).await?;
    let asker = Asker::sign_in(&stack, token).await?;
    asker.until_ready().await?;
    for page in PAGES {
        figures.extend(asker.measure(page, &seeded, options.times).await?);
    }
    stack.stop().await?;
    let setting = json!({
        "seed": options.seed, "times": options.times, "organizations": fleet.organizations,
        "recharges": fleet.recharges, "snapshots": fleet.snapshots, "largest_recharges": fleet.largest.recharges,
        "largest_snapshots": fleet.largest.snapshots, "audit_lines": fleet.audit_lines, "dead_letters": LETTERS,
        "optimized": !cfg!(debug_assertions),
    });
    Ok(Report { part: Part::Pages.as_str(), setting, figures })
}

/// Services as they are run for real, but for what they do by themselves: nothing else is to happen while pages are timed.
fn settings() -> StackOptions {
    let own = StackOptions { own_postgres: true, ..StackOptions::default() };
    [
        ("API_AUTH", "on"),
        ("PATROL_INTERVAL", "1s"),
        ("SWEEP_INTERVAL", "24h"),
        ("VERIFY_INTERVAL", "24h"),
        ("FEE_BPS", "290"),
        ("FEE_FIXED", "30"),
    ]
    .into_iter()
    .fold(own, |options, (name, value)| options.with(name, value))
}

/// What the way there and back costs, to the service and to the database: a slow machine is told from slow pages by it.
async fn controls(stack: &Stack, times: usize) -> anyhow::Result<Vec<Figure>> {
    let control = |name: &str, what: &str, times| Figure {
        name: name.to_owned(),
        what: what.to_owned(),
        at_once: 1,
        times,
        bytes: 0,
        limit: None,
    };
    let url = format!("{}/health/live", stack.client.ingress);
    let http = measure::one_at_a_time(times, || async {
        let answer = stack.client.http.get(&url).send().await?.error_for_status()?;
        answer.bytes().await?;
        Ok(())
    });
    let http = control("(control) HTTP there and back", "/health/live", http.await?);
    let sql = measure::one_at_a_time(times, || async { Ok(repo::ask_nothing(&stack.pool).await?) });
    Ok(vec![http, control("(control) a question to PostgreSQL", "no table", sql.await?)])
}

/// Who asks for pages.
struct Asker<'a> {
    stack: &'a Stack,
    /// It follows no redirect: a page that sends one elsewhere is not the page that was asked for.
    http: reqwest::Client,
    token: String,
    /// The cookie of a session in the console, where there are pages of it.
    session: Option<String>,
}

impl<'a> Asker<'a> {
    async fn sign_in(stack: &'a Stack, token: String) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().redirect(Policy::none()).timeout(Duration::from_secs(60)).build()?;
        let mut asker = Self { stack, http, token, session: None };
        if PAGES.iter().any(Page::is_of_the_console) {
            asker.session = Some(asker.begin_session().await?);
        }
        Ok(asker)
    }

    /// Fills in the form, and returns the cookie.
    async fn begin_session(&self) -> anyhow::Result<String> {
        let url = format!("{}/console/sign-in", self.stack.client.ingress);
        let request = self.http.post(url).header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(format!("token={}", self.token)).send().await?;
        let status = answer.status();
        let cookies = answer.headers().get_all("set-cookie").iter().filter_map(|cookie| cookie.to_str().ok());
        let session =
            cookies.filter_map(|cookie| cookie.split(';').next()).find(|pair| pair.starts_with("bill_session="));
        session.map(str::to_owned).with_context(|| format!("signing in to the console: {status}, and no session"))
    }

    /// The service hears of each organization and of each token that was added: only when it has is it at rest.
    async fn until_ready(&self) -> anyhow::Result<()> {
        let last = page("organizations", "/api/organizations?limit=1");
        wait::until("the first page", || async { self.ask(&last, last.path).await.map(drop) }).await
    }

    /// Asks for a page one at a time, and then several at once, which has no limit.
    async fn measure(&self, page: &Page, seeded: &Seeded, times: usize) -> anyhow::Result<[Figure; 2]> {
        let path = filled_in(page.path, seeded);
        let bytes = self.ask(page, &path).await?;
        let act = || async { self.ask(page, &path).await.map(drop) };
        let alone = measure::one_at_a_time(times, act).await?;
        let together = measure::at_once(times, AT_ONCE, act).await?;
        let figure = |at_once, times, limit| Figure {
            name: page.name.to_owned(),
            what: path.clone(),
            at_once,
            times,
            bytes,
            limit,
        };
        Ok([figure(1, alone, Some(LIMIT)), figure(AT_ONCE, together, None)])
    }

    /// Asks for a page, and reads the answer to its end. Returns how long it was.
    async fn ask(&self, page: &Page, path: &str) -> anyhow::Result<usize> {
        let method = if page.body.is_some() { Method::POST } else { Method::GET };
        let url = format!("{}{path}", self.stack.client.ingress);
        let mut request = self.http.request(method, url);
        request = match &self.session {
            Some(session) if page.is_of_the_console() => request.header("cookie", session),
            _ => request.bearer_auth(&self.token),
        };
        if let Some(body) = page.body {
            request = request.header("content-type", "application/json").body(body);
        }
        let answer = request.send().await.with_context(|| format!("asking for {path}"))?;
        let status = answer.status();
        let body = answer.bytes().await?;
        let beginning = String::from_utf8_lossy(&body[..body.len().min(300)]);
        ensure!(status == StatusCode::OK, "{path}: {status}: {beginning}");
        Ok(body.len())
    }
}

fn filled_in(path: &str, seeded: &Seeded) -> String {
    let recharge = |id: Option<common::ids::RechargeId>| id.map(|id| id.to_string()).unwrap_or_default();
    [
        ("{largest}", seeded.largest().to_string()),
        ("{typical}", seeded.typical.to_string()),
        ("{recharge}", recharge(seeded.refunded)),
        ("{newest}", recharge(seeded.newest)),
        ("{event}", seeded.newest_event.clone().unwrap_or_default()),
        ("{run}", seeded.reconciliation.clone().unwrap_or_default()),
    ]
    .into_iter()
    .fold(path.to_owned(), |path, (name, value)| path.replace(name, &value))
}
