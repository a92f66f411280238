//! The server over the low-level API, as a foreign test-suite drives it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use smart_cache_tests::harness::{
    MariaDbServer, MemcachedServer, PostgresServer, Program, RedisServer, eventually, namespace,
    workspace_program,
};
use tempfile::TempDir;
use tokio::net::TcpStream;

/// A running program and one connection to it.
pub(super) struct Server {
    sender: SendRequest<Full<Bytes>>,
    pub(super) program: Program,
    pub(super) address: String,
}

impl Server {
    /// On what `--url` names, else on what the program finds or makes for itself.
    pub(super) async fn start(backend: &str, more: &[&str], redis: &str) -> Self {
        let environment = [("SMART_REDIS_URL", redis), ("SMART_REDIS_TIMEOUT", "5s")];
        let arguments = [&["--port", "0", "--backend", backend], more].concat();
        let mut program = Program::start(workspace_program("kv-server"), &arguments, &environment);
        let line = program.line_with("listening on ").await;
        let address = line.split(',').next().unwrap().to_owned();
        let stream = TcpStream::connect(&address).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self {
            sender,
            program,
            address,
        }
    }

    async fn ask(&mut self, method: Method, path: &str, body: impl Into<Bytes>) -> (u16, Bytes) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .body(Full::new(body.into()))
            .unwrap();
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        (
            status,
            response.into_body().collect().await.unwrap().to_bytes(),
        )
    }

    pub(super) async fn get(&mut self, path: &str) -> (u16, Bytes) {
        let (status, body) = self.ask(Method::GET, path, "").await;
        (status, if status == 200 { body } else { Bytes::new() })
    }

    pub(super) async fn put(&mut self, path: &str, value: impl Into<Bytes>) {
        assert_eq!(self.ask(Method::PUT, path, value).await.0, 200, "{path}");
    }

    pub(super) async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> (u16, Value) {
        let (status, body) = self.ask(Method::POST, path, body).await;
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        (status, if status == 200 { json } else { Value::Null })
    }
}

async fn it_speaks_as_documented(backend: &str, redis: &str) {
    it_speaks_as_documented_at(backend, &[], redis).await;
}

async fn it_speaks_as_documented_at(backend: &str, url: &[&str], redis: &str) {
    let namespace = namespace();
    let more = ["--namespace", &namespace, "--default-timeout", "100"];
    let mut server = Server::start(backend, &[&more, url].concat(), redis).await;
    let missing = (404, Bytes::new());
    assert_eq!(server.get("/v/k").await, missing);
    server.put("/v/k", &b"\0\xff value"[..]).await;
    assert_eq!(
        server.get("/v/k").await,
        (200, Bytes::from_static(b"\0\xff value"))
    );
    assert_eq!(server.get("/v/k?version=2").await, missing);
    assert_eq!(server.ask(Method::DELETE, "/v/k", "").await.0, 200);
    assert_eq!(server.ask(Method::DELETE, "/v/k", "").await.0, 404);
    // Any key.
    for key in [
        "a/b",
        "%2e%2e%2f",
        "%00%0a%20",
        "%F0%9F%94%91",
        "%25",
        "//",
        "a%3Fb%23",
    ] {
        server.put(&format!("/v/{key}"), key).await;
        assert_eq!(
            server.get(&format!("/v/{key}")).await,
            (200, key.into()),
            "{key}"
        );
    }
    assert_eq!(server.get("/v/").await.0, 400);
    assert_eq!(server.get("/v/%FF").await.0, 400);
    assert_eq!(server.get("/v/k?version=x").await.0, 400);
    assert_eq!(
        server.ask(Method::PUT, "/v/k?timeout=soon", "1").await.0,
        400
    );
    // A key of ten kilobytes, and one in escapes, which is thirty on its way.
    for long in ["x".repeat(10_000), "%F0%9F%94%91".repeat(2_500)] {
        let path = format!("/v/{long}");
        server.put(&path, "long").await;
        assert_eq!(server.get(&path).await, (200, "long".into()));
        assert_eq!(server.get(&format!("{path}x")).await, missing);
        assert_eq!(server.ask(Method::DELETE, &path, "").await.0, 200);
    }
    // Times.
    server.put("/v/short?timeout=0.05", "1").await;
    server.put("/v/never?timeout=never", "1").await;
    for gone in ["0", "-1", "-0.5", "-1e300", "0.0"] {
        server.put("/v/none?timeout=never", "1").await;
        server.put(&format!("/v/none?timeout={gone}"), "1").await;
        assert_eq!(server.get("/v/none").await, missing, "{gone}");
    }
    server.put("/v/huge?timeout=1e300", "1").await;
    assert_eq!(server.get("/v/huge").await.0, 200);
    eventually("the short one to go", async || {
        (server.get("/v/short").await.0 == 404).then_some(())
    })
    .await;
    // What is there and empty is not missing.
    server.put("/v/empty", "").await;
    assert_eq!(server.get("/v/empty").await, (200, Bytes::new()));
    // Every byte.
    let every: Bytes = (0..=255).collect::<Vec<u8>>().into();
    server.put("/v/every", every.clone()).await;
    assert_eq!(server.get("/v/every").await, (200, every));
    // Add and touch.
    assert_eq!(server.post("/add/new", "1").await, (200, json!(true)));
    assert_eq!(server.post("/add/new", "2").await, (200, json!(false)));
    assert_eq!(
        server.post("/touch/new?timeout=never", "").await,
        (200, json!(true))
    );
    assert_eq!(server.post("/touch/none", "").await, (200, json!(false)));
    assert_eq!(
        server.post("/touch/new?timeout=0", "").await,
        (200, json!(true))
    );
    assert_eq!(server.get("/v/new").await, missing);
    assert_eq!(
        server.post("/add/brief?timeout=0.05&version=2", "1").await,
        (200, json!(true))
    );
    assert_eq!(server.get("/v/brief").await, missing);
    eventually("what was added to go", async || {
        let (status, added) = server.post("/add/brief?version=2", "2").await;
        (status == 200 && added == json!(true)).then_some(())
    })
    .await;
    assert_eq!(
        server.post("/touch/brief?version=2&timeout=0.05", "").await,
        (200, json!(true))
    );
    eventually("what was touched to go", async || {
        (server.get("/v/brief?version=2").await.0 == 404).then_some(())
    })
    .await;
    // Adding for no time stores nothing and says whether there was room; for less, the same.
    for timeout in ["0", "-3"] {
        let path = format!("/add/none?timeout={timeout}");
        assert_eq!(server.post(&path, "1").await, (200, json!(true)));
        assert_eq!(server.get("/v/none").await, missing);
        server.put("/v/none", "1").await;
        assert_eq!(server.post(&path, "2").await, (200, json!(false)));
        assert_eq!(server.get("/v/none").await, (200, "1".into()));
        assert_eq!(server.ask(Method::DELETE, "/v/none", "").await.0, 200);
    }
    // Counters.
    assert_eq!(server.post("/incr/n", "").await.0, 409);
    server.put("/v/n", "41").await;
    assert_eq!(server.post("/incr/n", "").await, (200, json!(42)));
    assert_eq!(server.post("/incr/n?delta=-50", "").await, (200, json!(-8)));
    assert_eq!(server.get("/v/n").await, (200, "-8".into()));
    server.put("/v/n", "text").await;
    assert_eq!(server.post("/incr/n", "").await.0, 422);
    server.put("/v/n", i64::MAX.to_string()).await;
    assert_eq!(server.post("/incr/n", "").await.0, 422);
    assert_eq!(server.post("/incr/n?delta=1.5", "").await.0, 400);
    server.put("/v/n", &b"\xff"[..]).await;
    assert_eq!(server.post("/incr/n", "").await.0, 422);
    for none in ["", " 5", "+5", "05", "5.0", "9223372036854775808"] {
        server.put("/v/n", none).await;
        assert_eq!(server.post("/incr/n", "").await.0, 422, "{none:?}");
        assert_eq!(
            server.get("/v/n").await,
            (200, Bytes::from(none)),
            "{none:?}"
        );
    }
    server.put("/v/n?timeout=never", "7").await;
    assert_eq!(server.post("/incr_version/n?delta=-2", "").await.0, 422);
    assert_eq!(server.post("/incr_version/none", "").await.0, 409);
    assert_eq!(
        server.post("/incr_version/n?delta=2", "").await,
        (200, json!(3))
    );
    assert_eq!(server.get("/v/n?version=3").await.0, 200);
    assert_eq!(server.get("/v/n").await, missing);
    assert_eq!(
        server.post("/incr_version/n?version=3&delta=-1", "").await,
        (200, json!(2))
    );
    assert_eq!(server.get("/v/n?version=2").await, (200, "7".into()));
    // Many.
    let values = json!({"values": {"x": STANDARD.encode(b"\xff1"), "y/z": STANDARD.encode("2")}, "timeout": 30.5});
    assert_eq!(
        server.post("/many/set", values.to_string()).await,
        (200, json!([]))
    );
    let keys = json!({"keys": ["x", "y/z", "none"]}).to_string();
    let found = json!({"x": STANDARD.encode(b"\xff1"), "y/z": STANDARD.encode("2")});
    assert_eq!(server.post("/many/get", keys.clone()).await, (200, found));
    assert_eq!(server.get("/v/y/z").await, (200, "2".into()));
    assert_eq!(
        server.post("/many/delete", keys.clone()).await,
        (200, json!(2))
    );
    assert_eq!(server.post("/many/get", keys).await, (200, json!({})));
    assert_eq!(server.post("/many/get", "no json").await.0, 400);
    let odd = ["ключ 🔑", "a/../b", "\u{1}\n", "%2F", " "];
    let values: serde_json::Map<_, _> = odd
        .iter()
        .map(|key| ((*key).to_owned(), json!(STANDARD.encode(key))))
        .collect();
    for timeout in [json!("never"), json!(60)] {
        let body = json!({"values": values.clone(), "timeout": timeout});
        assert_eq!(
            server.post("/many/set", body.to_string()).await,
            (200, json!([]))
        );
        let keys = json!({"keys": odd}).to_string();
        assert_eq!(
            server.post("/many/get", keys).await,
            (200, json!(values.clone()))
        );
    }
    let encoded = percent_encoding::utf8_percent_encode(odd[0], percent_encoding::NON_ALPHANUMERIC);
    assert_eq!(
        server.get(&format!("/v/{encoded}")).await,
        (200, odd[0].into())
    );
    let nothing = json!({"values": values, "timeout": 0}).to_string();
    assert_eq!(server.post("/many/set", nothing).await, (200, json!([])));
    let keys = json!({"keys": odd}).to_string();
    assert_eq!(server.post("/many/get", keys).await, (200, json!({})));
    let refused = json!({"values": {"a": "no base64!"}}).to_string();
    assert_eq!(server.post("/many/set", refused).await.0, 400);
    // Everything.
    server.put("/v/left?version=9", "1").await;
    assert_eq!(
        server.ask(Method::POST, "/clear", "").await.0,
        StatusCode::OK.as_u16()
    );
    assert_eq!(server.get("/v/never").await, missing);
    assert_eq!(server.get("/v/left?version=9").await, missing);
}

#[tokio::test]
async fn it_speaks_as_documented_on_redis() {
    let redis = RedisServer::start().await;
    it_speaks_as_documented("redis", &redis.url()).await;
}

#[tokio::test]
async fn it_speaks_as_documented_in_memory() {
    it_speaks_as_documented("memory", "").await;
}

#[tokio::test]
async fn it_speaks_as_documented_on_postgres() {
    let postgres = PostgresServer::start().await;
    it_speaks_as_documented_at("sql", &["--url", &postgres.database()], "").await;
}

#[tokio::test]
async fn it_speaks_as_documented_on_mariadb() {
    let mariadb = MariaDbServer::start().await;
    it_speaks_as_documented_at("sql", &["--url", &mariadb.database()], "").await;
}

/// Each makes a private store for itself.
#[tokio::test]
async fn it_speaks_as_documented_on_sql() {
    it_speaks_as_documented("sql", "").await;
}

#[tokio::test]
async fn it_speaks_as_documented_on_files() {
    it_speaks_as_documented("file", "").await;
}

#[tokio::test]
async fn it_speaks_as_documented_on_memcached() {
    it_speaks_as_documented("memcached", "").await;
}

/// Two servers on one store see each other's values in one namespace, and in two they do not.
async fn a_store_that_is_named_is_shared_by_namespace(backend: &str, url: &str) {
    let of = |namespace| ["--url", url, "--namespace", namespace];
    let mut one = Server::start(backend, &of("one"), "").await;
    let mut same = Server::start(backend, &of("one"), "").await;
    let mut other = Server::start(backend, &of("other"), "").await;
    one.put("/v/k", "1").await;
    other.put("/v/k", "2").await;
    assert_eq!(same.get("/v/k").await, (200, "1".into()));
    assert_eq!(same.post("/incr/k", "").await, (200, json!(2)));
    assert_eq!(one.ask(Method::POST, "/clear", "").await.0, 200);
    assert_eq!(same.get("/v/k").await.0, 404);
    assert_eq!(other.get("/v/k").await, (200, "2".into()));
}

#[tokio::test]
async fn a_url_names_the_store() {
    let redis = RedisServer::start().await;
    a_store_that_is_named_is_shared_by_namespace("redis", &redis.url()).await;
    let memcached = MemcachedServer::start().await;
    let place = memcached.url();
    let place = place.trim_start_matches("memcached://");
    a_store_that_is_named_is_shared_by_namespace("memcached", place).await;
    let folder = TempDir::with_prefix("kv-url-").unwrap();
    let file = folder.path().join("files").display().to_string();
    a_store_that_is_named_is_shared_by_namespace("file", &file).await;
    let database = format!("sqlite:{}", folder.path().join("cache.db").display());
    a_store_that_is_named_is_shared_by_namespace("sql", &database).await;
}

#[tokio::test]
async fn values_without_a_time_stay_as_long_as_the_default_says() {
    let more = ["--default-timeout", "0.05"];
    let mut server = Server::start("memory", &more, "").await;
    server.put("/v/k", "1").await;
    eventually("the value to go", async || {
        (server.get("/v/k").await.0 == 404).then_some(())
    })
    .await;
    let mut server = Server::start("memory", &["--default-timeout", "never"], "").await;
    server.put("/v/k", "1").await;
    assert_eq!(server.get("/v/k").await.0, 200);
}
