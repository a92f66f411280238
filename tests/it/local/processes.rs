//! Several real processes on one server.

use std::time::{Duration, Instant};

use smart_cache_tests::harness::{Client, Program, RedisServer, eventually, namespace};

use super::MARGIN;

/// How many times the handlers of a `load` have run.
async fn calls(process: &Process) -> u64 {
    let calls = process.client.get("/calls").await;
    std::str::from_utf8(calls.body()).unwrap().parse().unwrap()
}

struct Process {
    /// Ends with the test.
    _program: Program,
    client: Client,
}

async fn start(server: &RedisServer, namespace: &str) -> Process {
    let environment = [
        ("SMART_REDIS_URL", server.url()),
        ("SMART_REDIS_NAMESPACE", namespace.to_owned()),
        ("SMART_REDIS_RESTART_AND_CLEAR_CACHE", "false".to_owned()),
        ("SMART_REDIS_APP_VERSION", "one".to_owned()),
        ("SMART_REDIS_SETTLE", "0".to_owned()),
        ("SMART_REDIS_TIMEOUT", "5s".to_owned()),
        ("SMART_REDIS_LOCAL_STALENESS", "20s".to_owned()),
    ];
    let environment: Vec<_> = environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let mut program = Program::start(env!("CARGO_BIN_EXE_load"), &["local", "0"], &environment);
    let address = program.line_with("listening on ").await;
    Process {
        _program: program,
        client: Client::of(address.parse().unwrap()),
    }
}

/// How many MGETs the server has executed: a local hit is none.
fn lookups(server: &RedisServer) -> u64 {
    let stats = server.cli(&["INFO", "commandstats"]);
    let line = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_mget:calls="));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

/// Asks until this process answers without the server.
async fn warm(server: &RedisServer, process: &Process) {
    eventually("an answer from memory", async || {
        let before = lookups(server);
        process.client.get("/item/1").await;
        (lookups(server) == before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_clear_is_heard_by_every_process() {
    let (server, namespace) = (RedisServer::start().await, namespace());
    let processes = [
        start(&server, &namespace).await,
        start(&server, &namespace).await,
        start(&server, &namespace).await,
    ];
    for round in 0..5 {
        for process in &processes {
            warm(&server, process).await;
        }
        let before = lookups(&server);
        for process in &processes {
            for _ in 0..20 {
                process.client.get("/item/1").await;
            }
        }
        assert_eq!(
            lookups(&server),
            before,
            "every process answers from its own memory"
        );
        let mut runs = 0;
        for process in &processes {
            runs += calls(process).await;
        }
        if round % 2 == 0 {
            assert_eq!(
                server.cli(&["DEL", &format!("{{{namespace}}}:t:item:1")]),
                "1"
            );
        } else {
            assert_eq!(server.cli(&["FLUSHALL"]), "OK");
        }
        let cleared = Instant::now();
        eventually("one more run", async || {
            let mut now = 0;
            for process in &processes {
                process.client.get("/item/1").await;
                now += calls(process).await;
            }
            (now > runs).then_some(())
        })
        .await;
        println!("heard after {:?}", cleared.elapsed());
        assert!(cleared.elapsed() < MARGIN + Duration::from_secs(1));
    }
}
