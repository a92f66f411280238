//! Private servers, their options and their ends.

use std::path::Path;
use std::time::Duration;

use redis::cmd;
use smart_cache_tests::harness::RedisServer;

async fn ping(url: String) -> redis::RedisResult<String> {
    let mut connection = redis::Client::open(url)?
        .get_multiplexed_async_connection()
        .await?;
    cmd("PING").query_async(&mut connection).await
}

#[tokio::test]
async fn a_server_answers_on_its_port_and_on_its_socket() {
    let server = RedisServer::start().await;
    assert_eq!(ping(server.url()).await.unwrap(), "PONG");
    assert_eq!(ping(server.unix_url()).await.unwrap(), "PONG");
    assert_eq!(server.cli(&["PING"]), "PONG");
}

#[tokio::test]
async fn ten_servers_at_once_are_ten_servers() {
    let starting: Vec<_> = (0..10)
        .map(|_| tokio::spawn(RedisServer::start()))
        .collect();
    let mut ids = std::collections::BTreeSet::new();
    let mut servers = Vec::new();
    for server in starting {
        let server = server.await.unwrap();
        ids.insert((server.info("run_id").await, server.port()));
        servers.push(server);
    }
    assert_eq!(ids.len(), 10);
}

#[tokio::test]
async fn a_dropped_server_leaves_no_process_and_no_file() {
    let server = RedisServer::start().await;
    let process = format!("/proc/{}", server.info("process_id").await);
    let folder = server.folder().to_owned();
    server.freeze();
    drop(server);
    assert!(!Path::new(&process).exists());
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_password_is_asked_for() {
    let server = RedisServer::options()
        .password("secret \"word")
        .start()
        .await;
    assert_eq!(server.cli(&["PING"]), "PONG");
    assert!(
        ping(format!("redis://127.0.0.1:{}", server.port()))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_url_carries_the_password() {
    let server = RedisServer::options().password("secret").start().await;
    assert_eq!(ping(server.url()).await.unwrap(), "PONG");
    assert_eq!(ping(server.unix_url()).await.unwrap(), "PONG");
}

#[tokio::test]
async fn a_user_may_do_what_its_rules_say() {
    let server = RedisServer::options()
        .user("app on >secret ~* +@all -info")
        .start()
        .await;
    let url = format!("redis://app:secret@127.0.0.1:{}", server.port());
    assert_eq!(ping(url.clone()).await.unwrap(), "PONG");
    let mut connection = redis::Client::open(url)
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    assert!(
        cmd("INFO")
            .query_async::<String>(&mut connection)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_server_on_a_socket_alone_has_no_port() {
    let server = RedisServer::options().unix_only().start().await;
    assert_eq!(server.port(), 0);
    assert_eq!(ping(server.url()).await.unwrap(), "PONG");
}

#[tokio::test]
async fn a_server_with_tls_speaks_it_with_those_who_trust_its_authority() {
    let server = RedisServer::options().tls().start().await;
    let files = server.certificates().unwrap();
    let port = server.port().to_string();
    let authority = files.authority.to_str().unwrap();
    let ask = |extra: &[&str]| {
        let output = std::process::Command::new("redis-cli")
            .args(["-h", "127.0.0.1", "-p", &port, "--tls"])
            .args(extra)
            .arg("PING")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(ask(&["--cacert", authority]), "PONG");
    let (certificate, key) = (
        files.client.to_str().unwrap(),
        files.client_key.to_str().unwrap(),
    );
    assert_eq!(
        ask(&["--cacert", authority, "--cert", certificate, "--key", key]),
        "PONG"
    );
    assert_eq!(ask(&[]), "");
    assert!(server.url().starts_with("rediss://"));
}

#[tokio::test]
async fn what_was_saved_is_there_after_a_kill_and_the_rest_is_not() {
    let mut server = RedisServer::start().await;
    let port = server.port();
    assert_eq!(server.cli(&["SET", "saved", "1"]), "OK");
    server.save().await;
    assert_eq!(server.cli(&["SET", "lost", "1"]), "OK");
    server.kill();
    server.restart().await;
    assert_eq!(server.port(), port);
    assert_eq!(server.cli(&["GET", "saved"]), "1");
    assert_eq!(server.cli(&["GET", "lost"]), "");
}

#[tokio::test]
async fn a_frozen_server_is_silent_until_it_thaws() {
    let server = RedisServer::start().await;
    let mut connection = server.connection().await;
    server.freeze();
    let ping = cmd("PING");
    let answer = ping.query_async::<String>(&mut connection);
    // What a frozen server does not do can only be watched for a while.
    tokio::time::timeout(Duration::from_millis(50), answer)
        .await
        .unwrap_err();
    server.thaw();
    assert_eq!(
        cmd("PING")
            .query_async::<String>(&mut connection)
            .await
            .unwrap(),
        "PONG"
    );
}

#[tokio::test]
async fn a_replica_catches_up_with_its_master() {
    let master = RedisServer::options().password("secret").start().await;
    let replica = RedisServer::options().replica_of(&master).start().await;
    assert_eq!(master.cli(&["SET", "key", "value"]), "OK");
    replica.synced(&master).await;
    assert_eq!(replica.cli(&["GET", "key"]), "value");
}

#[tokio::test]
async fn debug_commands_work_where_they_are_asked_for() {
    let server = RedisServer::options().debug_commands().start().await;
    assert_eq!(server.cli(&["DEBUG", "SLEEP", "0"]), "OK");
    let server = RedisServer::start().await;
    assert!(server.cli(&["DEBUG", "SLEEP", "0"]).starts_with("ERR"));
}

#[tokio::test]
#[should_panic(expected = "redis-server did not start")]
async fn a_server_with_nonsense_options_says_why_it_did_not_start() {
    let _server = RedisServer::options()
        .option("no-such-option", "1")
        .start()
        .await;
}
