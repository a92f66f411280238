//! The ways in: TLS, unix sockets, databases, users.

use smart_cache_tests::harness::{Program, RedisServer, namespace};

use super::{App, assert_says};

#[tokio::test]
async fn a_unix_socket_is_a_way_in() {
    let server = RedisServer::options().unix_only().start().await;
    let app = App::at(&server.url(), &namespace()).await;
    let before = app.hit(1).await;
    app.cache.clear("page:1").await.unwrap();
    assert_ne!(app.hit(1).await.body, before.body);
    assert!(
        app.cache.describe().contains("redis.sock"),
        "{}",
        app.cache.describe()
    );
}

#[tokio::test]
async fn a_unix_socket_may_ask_for_a_password_and_have_databases() {
    let server = RedisServer::options()
        .unix_only()
        .password("secret")
        .start()
        .await;
    let app = App::at(&format!("{}&db=3", server.unix_url()), &namespace()).await;
    app.hit(1).await;
    assert!(
        !app.cache.describe().contains("secret"),
        "{}",
        app.cache.describe()
    );
    assert_eq!(server.cli(&["-n", "0", "DBSIZE"]), "0");
    assert_ne!(server.cli(&["-n", "3", "DBSIZE"]), "0");
}

#[tokio::test]
async fn a_database_number_is_a_place_of_its_own() {
    let server = RedisServer::start().await;
    let ns = namespace();
    let app = App::at(&format!("{}/5", server.url()), &ns).await;
    let other = App::at(&format!("{}/6", server.url()), &ns).await;
    let before = app.hit(1).await;
    assert_ne!(other.hit(1).await.body, before.body);
    other.cache.clear_all().await.unwrap();
    assert_eq!(app.hit(1).await.body, before.body);
    assert_eq!(server.cli(&["-n", "0", "DBSIZE"]), "0");
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_named() {
    let server = RedisServer::start().await;
    let app = App::at(&format!("{}/99", server.url()), &namespace()).await;
    assert!(app.ask(1).await.is_unavailable());
    let error = app.failing_clear("page:1").await.to_lowercase();
    assert!(
        error.contains("db index") || error.contains("database"),
        "{error}"
    );
}

/// Runs the probe against a server, trusting `authority` alone; what it prints.
async fn probed(url: &str, authority: &str, requests: &[&str]) -> Vec<String> {
    let environment = [
        ("SSL_CERT_FILE", authority),
        ("SMART_REDIS_URL", url),
        ("SMART_REDIS_NAMESPACE", "tls"),
        ("SMART_REDIS_SETTLE", "0"),
        ("SMART_REDIS_RESTART_AND_CLEAR_CACHE", "false"),
        ("RUST_LOG", "info"),
    ];
    let probe = Program::start(env!("CARGO_BIN_EXE_probe"), requests, &environment);
    let (status, lines) = probe.ended().await;
    assert!(status.success(), "{lines:#?}");
    lines
}

#[tokio::test]
async fn tls_with_a_private_authority_is_a_way_in() {
    let server = RedisServer::options().tls().start().await;
    let authority = server
        .certificates()
        .unwrap()
        .authority
        .display()
        .to_string();
    let requests = [
        "GET:/page/1",
        "GET:/page/2",
        "POST:/clear/page:1",
        "GET:/page/2",
        "GET:/page/1",
    ];
    let lines = probed(&server.url(), &authority, &requests).await;
    assert!(
        lines
            .iter()
            .any(|line| line.contains("GET:/page/2 -> 200 OK [smart-cache; hit]")),
        "{lines:#?}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.contains("-> 200 OK [no cache-status] ok")),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn tls_to_an_authority_that_is_not_trusted_says_so() {
    let server = RedisServer::options().tls().start().await;
    let other = RedisServer::options().tls().start().await;
    let authority = other
        .certificates()
        .unwrap()
        .authority
        .display()
        .to_string();
    let requests = ["GET:/page/1", "POST:/clear/page:1"];
    let lines = probed(&server.url(), &authority, &requests)
        .await
        .join("\n");
    assert_says(&lines, "detail=unavailable");
    assert_says(&lines, "error: the clear was not acknowledged");
    assert_says(&lines.to_lowercase(), "certificate");
}

#[tokio::test]
async fn tls_with_an_expired_certificate_says_so() {
    let server = RedisServer::options().tls().start().await;
    let files = server.certificates().unwrap().clone();
    let (file, key) = (
        files.expired.display().to_string(),
        files.expired_key.display().to_string(),
    );
    let set = server.cli(&[
        "CONFIG",
        "SET",
        "tls-cert-file",
        &file,
        "tls-key-file",
        &key,
    ]);
    assert_eq!(set, "OK");
    let authority = files.authority.display().to_string();
    let lines = probed(&server.url(), &authority, &["GET:/page/1"])
        .await
        .join("\n");
    assert_says(&lines, "detail=unavailable");
    assert_says(&lines.to_lowercase(), "expired");
}

#[tokio::test]
async fn tls_to_a_server_without_it_fails_no_request() {
    let server = RedisServer::start().await;
    let app = App::at(
        &format!("rediss://127.0.0.1:{}", server.port()),
        &namespace(),
    )
    .await;
    assert!(app.ask(1).await.is_unavailable());
    app.failing_clear("page:1").await;
}

#[tokio::test]
async fn no_tls_to_a_server_with_it_fails_no_request() {
    let server = RedisServer::options().tls().start().await;
    let app = App::at(
        &format!("redis://127.0.0.1:{}", server.port()),
        &namespace(),
    )
    .await;
    assert!(app.ask(1).await.is_unavailable());
    app.failing_clear("page:1").await;
}
