//! The server over the low-level API, as a foreign test-suite drives it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use smart_cache_tests::harness::{Program, RedisServer, eventually, namespace, workspace_program};
use tokio::net::TcpStream;

struct Server {
    sender: SendRequest<Full<Bytes>>,
    _program: Program,
    _redis: Option<RedisServer>,
}

impl Server {
    async fn start(backend: &str) -> Self {
        let redis = match backend {
            "redis" => Some(RedisServer::start().await),
            _ => None,
        };
        let url = redis.as_ref().map_or(String::new(), RedisServer::url);
        let environment = [("SMART_REDIS_URL", &*url), ("SMART_REDIS_TIMEOUT", "5s")];
        let namespace = namespace();
        let arguments = [
            "--port",
            "0",
            "--backend",
            backend,
            "--namespace",
            &namespace,
            "--default-timeout",
            "100",
        ];
        let mut program = Program::start(workspace_program("kv-server"), &arguments, &environment);
        let line = program.line_with("listening on ").await;
        let address = line.split(',').next().unwrap().to_owned();
        let stream = TcpStream::connect(&address).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self {
            sender,
            _program: program,
            _redis: redis,
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

    async fn get(&mut self, path: &str) -> (u16, Bytes) {
        let (status, body) = self.ask(Method::GET, path, "").await;
        (status, if status == 200 { body } else { Bytes::new() })
    }

    async fn put(&mut self, path: &str, value: impl Into<Bytes>) {
        assert_eq!(self.ask(Method::PUT, path, value).await.0, 200, "{path}");
    }

    async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> (u16, Value) {
        let (status, body) = self.ask(Method::POST, path, body).await;
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        (status, if status == 200 { json } else { Value::Null })
    }
}

async fn it_speaks_as_documented(backend: &str) {
    let mut server = Server::start(backend).await;
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
    // Times.
    server.put("/v/short?timeout=0.05", "1").await;
    server.put("/v/never?timeout=never", "1").await;
    for gone in ["0", "-1", "-0.5"] {
        server.put(&format!("/v/none?timeout={gone}"), "1").await;
        assert_eq!(server.get("/v/none").await, missing);
    }
    server.put("/v/huge?timeout=1e300", "1").await;
    assert_eq!(server.get("/v/huge").await.0, 200);
    eventually("the short one to go", async || {
        (server.get("/v/short").await.0 == 404).then_some(())
    })
    .await;
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
    assert_eq!(server.post("/incr_version/none", "").await.0, 409);
    assert_eq!(
        server.post("/incr_version/n?delta=2", "").await,
        (200, json!(3))
    );
    assert_eq!(server.get("/v/n?version=3").await.0, 200);
    assert_eq!(server.get("/v/n").await, missing);
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
    it_speaks_as_documented("redis").await;
}

#[tokio::test]
async fn it_speaks_as_documented_in_memory() {
    it_speaks_as_documented("memory").await;
}
