use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use xtask::nats::{NatsServer, Options};
use xtask::tools::Tools;

/// One request in NATS's own protocol, which is text; the answer's payload.
fn request(server: &NatsServer, subject: &str, payload: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write!(
        stream,
        "CONNECT {{\"verbose\":false,\"user\":\"setup\",\"pass\":\"{}\"}}\r\nSUB answer 1\r\nPUB {subject} answer {}\r\n{payload}\r\n",
        server.password_of("setup").unwrap(),
        payload.len()
    )
    .unwrap();
    let mut lines = BufReader::new(stream).lines();
    lines.find(|line| line.as_ref().unwrap().starts_with("MSG")).unwrap().unwrap();
    lines.next().unwrap().unwrap()
}

fn start() -> NatsServer {
    NatsServer::start(&Tools::from_env().unwrap().nats_server, Options::default()).unwrap()
}

#[test]
fn acknowledged_messages_survive_a_kill_and_a_stop() {
    let mut server = start();
    let stream = r#"{"name":"KEPT","subjects":["kept.*"],"storage":"file","retention":"limits"}"#;
    assert!(request(&server, "$JS.API.STREAM.CREATE.KEPT", stream).contains("\"KEPT\""));
    assert!(request(&server, "kept.one", "1").contains("\"seq\":1"));

    server.kill().unwrap();
    assert!(!server.is_healthy());
    server.start_again().unwrap();
    assert!(request(&server, "kept.two", "2").contains("\"seq\":2"));

    server.stop().unwrap();
    server.start_again().unwrap();
    assert!(request(&server, "$JS.API.STREAM.INFO.KEPT", "").contains("\"messages\":2"));
}

#[test]
fn a_paused_server_goes_on() {
    let mut server = start();
    server.pause().unwrap();
    assert!(!server.is_healthy());
    server.resume().unwrap();
    assert!(server.is_healthy());
}

#[test]
fn a_taken_port_is_named() {
    let first = start();
    let bin = Tools::from_env().unwrap().nats_server;
    let error = NatsServer::start(&bin, Options { port: Some(first.port()), ..Options::default() }).unwrap_err();
    assert!(format!("{error:#}").contains(&first.port().to_string()), "{error:#}");
}
