//! Four real processes and ten thousand requests for one cold page: the handler runs once.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use smart_cache_tests::harness::{
    Client, Program, RedisServer, namespace, within, workspace_program,
};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const PROCESSES: usize = 4;
const CONNECTIONS: usize = 200;
const REQUESTS: usize = 10_000;

/// Asks for one page again and again on one connection.
async fn ask(address: std::net::SocketAddr, path: String, times: usize) -> usize {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    for _ in 0..times {
        let request = Request::get(&path)
            .header("host", "localhost")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.len(), 1024);
    }
    connection.abort();
    times
}

async fn start(server: &RedisServer, namespace: &str) -> Program {
    let environment = [
        ("SMART_REDIS_URL", server.url()),
        ("SMART_REDIS_NAMESPACE", namespace.to_owned()),
        ("SMART_REDIS_RESTART_AND_CLEAR_CACHE", "false".to_owned()),
        ("SMART_REDIS_APP_VERSION", "one".to_owned()),
        ("SMART_REDIS_SETTLE", "0".to_owned()),
        // Both cores are busy here; a slow answer is not what this is about.
        ("SMART_REDIS_TIMEOUT", "5s".to_owned()),
        ("SMART_REDIS_WAIT", "20s".to_owned()),
    ];
    let environment: Vec<(&str, &str)> = environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    Program::start(
        workspace_program("load"),
        &["redis", "0", "--handler-ms", "300"],
        &environment,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_on_four_processes_are_one_run() {
    let (server, namespace) = (RedisServer::start().await, namespace());
    let mut programs = Vec::new();
    let mut addresses = Vec::new();
    for _ in 0..PROCESSES {
        let mut program = start(&server, &namespace).await;
        addresses.push(program.line_with("listening on ").await.parse().unwrap());
        programs.push(program);
    }
    let mut asked = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let address = addresses[connection % PROCESSES];
        asked.spawn(ask(address, "/item/7".to_owned(), REQUESTS / CONNECTIONS));
    }
    let answered: usize = within("all answers", asked.join_all())
        .await
        .into_iter()
        .sum();
    assert_eq!(answered, REQUESTS);
    let mut runs = 0;
    for address in &addresses {
        let calls = Client::of(*address).get("/calls").await;
        runs += std::str::from_utf8(calls.body())
            .unwrap()
            .parse::<u64>()
            .unwrap();
    }
    assert_eq!(runs, 1);
}
