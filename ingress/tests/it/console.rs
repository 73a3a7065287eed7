//! The console's own part: signing in and out, forms, languages, and pages that hear that they should look again.

use common::config::Secret;
use reqwest::{Method, StatusCode, redirect};
use serde_json::json;

use crate::access::{call, guarded, make};
use crate::world::{World, until};

/// Somebody with a browser.
pub(crate) struct Person {
    http: reqwest::Client,
    base: String,
    cookies: Vec<(String, String)>,
    /// The language that his browser asks for.
    pub(crate) language: &'static str,
    csrf: String,
}

/// A page, or what else was answered.
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) html: String,
    pub(crate) location: String,
    pub(crate) headers: reqwest::header::HeaderMap,
}

impl Seen {
    pub(crate) fn has(&self, text: &str) -> bool {
        self.html.contains(text)
    }

    /// The value of the first hidden field of this name.
    pub(crate) fn hidden(&self, name: &str) -> String {
        let start = format!("name=\"{name}\" value=\"");
        let value = self.html.split(&start).nth(1).and_then(|rest| rest.split('"').next());
        value.unwrap_or_else(|| panic!("no hidden {name} in {}", self.html)).to_owned()
    }
}

impl Person {
    pub(crate) fn new(world: &World) -> Self {
        let http = reqwest::Client::builder().redirect(redirect::Policy::none()).build().unwrap();
        let base = format!("http://{}", world.address);
        Self { http, base, cookies: Vec::new(), language: "en", csrf: String::new() }
    }

    /// Somebody who has signed in with this token.
    pub(crate) async fn signed_in(world: &World, token: &Secret) -> Self {
        let mut person = Self::new(world);
        let seen = person.post("/console/sign-in", &[("token", token.expose())]).await;
        assert_eq!((seen.status, seen.location.as_str()), (303, "/console"), "{}", seen.html);
        person
    }

    pub(crate) async fn get(&mut self, path: &str) -> Seen {
        self.send(self.http.get(format!("{}{path}", self.base))).await
    }

    /// Sends a form from the page that was looked at last.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Seen {
        let csrf = self.csrf.clone();
        self.post_with(path, &[fields, &[("csrf", csrf.as_str())]].concat()).await
    }

    async fn post_with(&mut self, path: &str, fields: &[(&str, &str)]) -> Seen {
        let body = form(fields);
        let request = self.http.post(format!("{}{path}", self.base)).body(body);
        self.send(request.header("content-type", "application/x-www-form-urlencoded")).await
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Seen {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = request.header("cookie", cookies.join("; ")).header("accept-language", self.language);
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        for cookie in headers.get_all("set-cookie") {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            self.cookies.retain(|(have, _)| have != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        let location = headers.get("location").map_or("", |to| to.to_str().unwrap()).to_owned();
        let seen = Seen { status, html: response.text().await.unwrap(), location, headers };
        if seen.has("name=\"csrf\"") {
            self.csrf = seen.hidden("csrf");
        }
        seen
    }
}

/// A form's body; everything but letters and digits is encoded.
fn form(fields: &[(&str, &str)]) -> String {
    let encoded = |text: &str| -> String {
        text.bytes()
            .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
            .collect()
    };
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    fields.join("&")
}

/// An organization of which nothing is known but its name.
pub(crate) async fn organization(world: &World, by: &Secret, id: &str) {
    let body = json!({ "c_organization_id": id, "minimum_balance": 100, "target_balance": 500 });
    let got = call(world, by, Method::POST, "/api/organizations", Some(&body)).await;
    assert_eq!(got.status, 201, "{got:?}");
}

#[tokio::test]
async fn signing_in_and_out() {
    let (world, ann) = guarded(&[]).await;
    organization(&world, &ann, "own").await;
    let (token, id) =
        make(&world, &ann, &json!({ "name": "bob", "role": "org_admin", "c_organization_id": "own" })).await;
    let mut bob = Person::new(&world);
    assert_eq!(bob.get("/").await.location, "/console");
    assert_eq!(bob.get("/console/audit").await.location, "/console/sign-in?back=%2Fconsole%2Faudit");
    let seen = bob.get("/console/sign-in?back=/console/audit").await;
    assert!(seen.status == 200 && seen.has("API token") && seen.has("name=\"back\" value=\"/console/audit\""));
    // What a page may do, and that nobody keeps it.
    let policy = seen.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(seen.headers["cache-control"], "no-store");

    for (given, status, says) in [("", 400, "Paste your API token"), ("bill_wrong", 401, "not valid")] {
        let seen = bob.post("/console/sign-in", &[("token", given), ("back", "/console/audit")]).await;
        assert!(seen.status == status && seen.has(says) && seen.has("/console/audit"), "{given}: {}", seen.html);
    }
    let seen = bob.post("/console/sign-in", &[("token", token.expose()), ("back", "//evil.example")]).await;
    assert_eq!((seen.status, seen.location.as_str()), (303, "/console"));
    let cookie = seen.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly; SameSite=Lax") && !cookie.contains("bill_bob"), "{cookie}");
    let secret = bob.cookies[0].1.clone();
    let stored: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT session_hash FROM console_sessions").fetch_all(&world.pool).await.unwrap();
    assert!(stored.len() == 1 && stored[0] != secret.as_bytes(), "only the digest is kept");
    assert_eq!(bob.get("/console").await.location, "/console/organizations/own");
    let seen = bob.get("/console/nothing").await;
    assert!(seen.status == 404 && seen.has("There is nothing here") && seen.has("Sign out"), "{}", seen.html);

    // The cookie alone signs nobody out: a form carries what only our pages know, and comes from here.
    let csrf = bob.csrf.clone();
    for wrong in ["", "0", &csrf[1..]] {
        let seen = bob.post_with("/console/sign-out", &[("csrf", wrong)]).await;
        assert!(seen.status == 403 && seen.has("too old"), "{}", seen.html);
    }
    let elsewhere = bob.http.post(format!("{}/console/sign-out", bob.base)).header("sec-fetch-site", "cross-site");
    let elsewhere =
        elsewhere.header("content-type", "application/x-www-form-urlencoded").body(form(&[("csrf", &csrf)]));
    assert_eq!(bob.send(elsewhere).await.status, 403);
    let mut copy = Person::new(&world);
    copy.cookies = bob.cookies.clone();
    assert_eq!(bob.post("/console/sign-out", &[]).await.location, "/console/sign-in?because=out");
    for person in [&mut bob, &mut copy] {
        assert!(person.get("/console").await.location.starts_with("/console/sign-in"), "signed out everywhere");
    }

    // A session ends with its token.
    let mut bob = Person::signed_in(&world, &token).await;
    assert_eq!(bob.get("/console").await.location, "/console/organizations/own");
    let got = call(&world, &ann, Method::DELETE, &format!("/api/tokens/{id}"), None).await;
    assert_eq!(got.status, 200);
    assert_eq!(bob.get("/console").await.location, "/console/sign-in?back=%2Fconsole&because=over");
    let mut ann = Person::signed_in(&world, &ann).await;
    sqlx::query("UPDATE console_sessions SET expires_at = created_at + interval '1 microsecond'")
        .execute(&world.pool)
        .await
        .unwrap();
    assert!(ann.get("/console").await.location.starts_with("/console/sign-in"), "and with its time");
}

#[tokio::test]
async fn languages_files_and_nobody_to_sign_in() {
    let world = World::new(&[]).await;
    let mut ann = Person::new(&world);
    // API_AUTH=off: whoever comes may everything, and forms are guarded all the same.
    assert_eq!(ann.get("/console").await.location, "/console/organizations");
    assert_eq!(ann.get("/console/sign-in").await.location, "/console");
    assert!(ann.get("/console/nothing").await.has("<html lang=\"en\">"));
    assert_eq!(ann.post_with("/console/sign-out", &[]).await.status, 403);
    ann.language = "zh-CN,en;q=0.5";
    let seen = ann.get("/console/nothing").await;
    assert!(seen.has("<html lang=\"zh-CN\">") && seen.has("这里什么也没有"), "{}", seen.html);
    let seen = ann.post("/console/language", &[("language", "en"), ("back", "/console/nothing")]).await;
    assert_eq!(seen.location, "/console/nothing");
    let seen = ann.get("/console/nothing").await;
    assert!(seen.has("<html lang=\"en\">"), "{}", seen.html);

    let files: Vec<_> =
        seen.html.split('"').filter(|part| part.starts_with("/console/assets/")).map(str::to_owned).collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let seen = ann.get(&file).await;
        assert!(seen.status == 200 && !seen.html.is_empty(), "{file}");
        assert!(seen.headers["cache-control"].to_str().unwrap().contains("immutable"), "{file}");
    }
    let seen = ann.get("/console/assets/0/style.css").await;
    assert!(seen.status == 200 && seen.headers["cache-control"] == "no-store", "another version's page is not kept");
    for (path, status) in [("/console/assets/0/none.css", 404), ("/consoles", 404)] {
        assert_eq!(ann.get(path).await.status, status, "{path}");
    }
    assert_eq!(
        ann.http.put(format!("{}/console/sign-in", ann.base)).send().await.unwrap().status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[tokio::test]
async fn an_open_page_hears_of_its_own_organization_only() {
    let (world, ann) = guarded(&[]).await;
    for id in ["own", "other"] {
        organization(&world, &ann, id).await;
    }
    let (token, _) = make(&world, &ann, &json!({ "name": "bob", "role": "viewer", "c_organization_id": "own" })).await;
    let mut bob = Person::signed_in(&world, &token).await;
    for path in ["/console/live", "/console/live?organization=other"] {
        assert_eq!(bob.get(path).await.status, 404, "{path}");
    }
    assert!(Person::new(&world).get("/console/live?organization=own").await.status == 303);
    let listen = async |person: &Person, path: &str| {
        let cookies: Vec<_> = person.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = person.http.get(format!("{}{path}", person.base)).header("cookie", cookies.join("; "));
        request.send().await.unwrap()
    };
    let mut response = listen(&bob, "/console/live?organization=own").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut heard = String::new();
    let mut hear = async |word: &str| {
        while !heard.contains(word) {
            heard.push_str(&String::from_utf8_lossy(&response.chunk().await.unwrap().expect(word)));
        }
        std::mem::take(&mut heard)
    };
    hear("event:hello").await;
    let change = json!({ "minimum_balance": 50 });
    for id in ["other", "own"] {
        let got = call(&world, &ann, Method::PATCH, &format!("/api/organizations/{id}/config"), Some(&change)).await;
        assert_eq!(got.status, 200);
    }
    hear("event:changed").await;
    // What the broker says of it is heard, too.
    let said = json!({ "correlationid": "req_x" });
    until("what the broker says", || async {
        world.broker.client().publish("recharges.charged.own", said.to_string().into()).await.unwrap();
        world.broker.client().flush().await.is_ok()
    })
    .await;
    hear("event:changed").await;
    // Whoever stops the service lets the page know, and is not kept waiting.
    world.shutdown.give();
    hear("event:bye").await;
    assert!(response.chunk().await.is_ok_and(|rest| rest.is_none()));
}
