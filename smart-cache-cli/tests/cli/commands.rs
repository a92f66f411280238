//! What each command tells and does.
//!
//! Over 400 lines: one world is set up for all commands, and each is shown in it.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, RawQuery};
use axum::http::Request;
use axum::routing::get;
use axum::{Extension, Router};
use smart_cache::smart_cache;
use smart_cache_tests::harness::{Chaos, PostgresServer, RedisServer, eventually};
use tower::ServiceExt as _;

use crate::world::{Said, World, run};

#[tokio::test]
async fn ls_lists_the_keys_that_match() {
    let world = World::new().await;
    world.fill(1..13).await;
    let out = world.say(&["ls"]).await.well();
    assert_eq!(out.lines().count(), 12, "{out}");
    assert!(
        out.lines()
            .all(|line| line.contains("  build-1       product:")),
        "{out}"
    );
    let some = world.say(&["ls", "product:1?", "--json"]).await.json();
    let mut keys: Vec<_> = some
        .iter()
        .map(|line| line["key"].as_str().unwrap())
        .collect();
    keys.sort_unstable();
    assert_eq!(keys, ["product:10", "product:11", "product:12"]);
    assert_eq!(some[0]["entries"], 1);
    let few = world.say(&["ls", "--limit", "5"]).await.well();
    assert_eq!(few.lines().count(), 5);
    assert_eq!(world.say(&["ls", "nothing:*"]).await.well(), "");
}

#[tokio::test]
async fn show_tells_of_an_entry_and_writes_its_body() {
    let world = World::new().await;
    world.fill(7..8).await;
    let lines = world.say(&["show", "product:7", "--json"]).await.json();
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (&lines[0]["state"], &lines[0]["status"]),
        (&"current".into(), &200.into())
    );
    let id = lines[0]["id"].as_str().unwrap().to_owned();

    let full = world
        .say(&["show", "product:7", "--entry", &id[..12]])
        .await
        .well();
    for part in [
        "depends  product:7: valid",
        "depends  products: valid",
        "content-type: text/plain",
        &id,
    ] {
        assert!(full.contains(part), "{part}: {full}");
    }
    let body = world
        .say(&["show", "product:7", "--entry", &id, "--body"])
        .await
        .well();
    assert_eq!(body, "the product 7\u{1b}[31m <script>", "to the byte");
    let nothing = world.say(&["show", "product:8"]).await;
    assert_eq!(nothing.code, 1);
    assert!(
        nothing
            .err
            .contains("nothing is stored under \"product:8\""),
        "{}",
        nothing.err
    );
}

#[tokio::test]
async fn clear_clears_what_it_is_given_and_nothing_else() {
    let world = World::new().await;
    world.fill(1..4).await;
    let said = world
        .say(&["clear", "product:1", "no-such-key"])
        .await
        .well();
    assert!(
        said.starts_with("cleared product:1, no-such-key in "),
        "{said}"
    );
    assert!(world.ask(1).await.contains("fwd=miss"));
    assert!(world.ask(2).await.contains("hit"));
    let noted = world.cache.recent_clears().await.unwrap();
    assert!(noted[0].process.starts_with("smart-cache@"), "{noted:?}");
    world.say(&["clear", "products"]).await.well();
    assert!(world.ask(2).await.contains("fwd=miss"));
    world.fill(4..5).await;
    let all = world.say(&["clear", "--all", "--json"]).await.json();
    assert_eq!(all[0]["cleared"], "everything");
    assert!(world.ask(4).await.contains("fwd=miss"));
}

#[tokio::test]
async fn looking_changes_nothing() {
    let world = World::new().await;
    world.fill(1..3).await;
    // What the application itself announces comes in its own time.
    eventually("the build to be announced", async || {
        let facts = world.cache.inspect().unwrap().facts().await.unwrap();
        (facts.builds.len() == 1).then_some(())
    })
    .await;
    for command in ["ls", "stats", "doctor"] {
        world.say(&[command]).await;
    }
    world.say(&["show", "product:1"]).await.well();
    assert!(world.ask(1).await.contains("hit"), "no start of it flushes");
    let facts = world.cache.inspect().unwrap().facts().await.unwrap();
    let builds: Vec<_> = facts.builds.iter().map(|build| &*build.version).collect();
    assert_eq!(builds, ["build-1"], "it is no build of the application");
}

#[tokio::test]
async fn sweep_removes_what_a_tag_has_left() {
    let world = World::new().await;
    world.fill(1..6).await;
    world.cache.clear("products").await.unwrap();
    let swept = world.say(&["sweep", "--json"]).await.json();
    assert_eq!(swept[0]["removed"], 5);
    assert_eq!(world.say(&["ls"]).await.well(), "");
}

#[tokio::test]
async fn stats_shows_every_process_that_reports() {
    let world = World::new().await;
    world.fill(1..3).await;
    world.ask(1).await;
    let look = eventually("the application's report", async || {
        let look = world.say(&["stats", "--json"]).await.json().remove(0);
        (look["total"]["hits"] == 1).then_some(look)
    })
    .await;
    assert_eq!(look["total"]["misses"], 2);
    assert_eq!(look["processes"].as_array().unwrap().len(), 1, "{look}");
    assert_eq!(look["processes"][0]["version"], "build-1");
    assert_eq!(look["server"]["namespace"], "shop");
    // By name, though this program knows none of its handlers.
    let handler = &look["handlers"][0];
    assert_eq!(handler["key"], "product:{id}", "{look}");
    assert!(handler["handler"].as_str().unwrap().ends_with("::product"));
    assert_eq!(handler["total"]["hits"], 1);
    let text = world.say(&["stats"]).await.well();
    assert!(
        text.contains("1 processes  3 requests  33.3% from the cache"),
        "{text}"
    );
    assert!(text.contains("product:{id} "), "{text}");
}

#[tokio::test]
async fn the_doctor_finds_a_healthy_server_healthy() {
    let world = World::new().await;
    world.fill(1..4).await;
    let said = world.say(&["doctor"]).await.well();
    for part in [
        "ok       connection",
        "ok       rights",
        "ok       tracking",
        "ok       clock",
        "note     memory",
        "product:1",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(
        said.contains("-> entries live until they are cleared: set maxmemory"),
        "{said}"
    );
    assert_eq!(
        world.say(&["ls", "smart-cache:*"]).await.well(),
        "",
        "it leaves nothing"
    );
}

#[tokio::test]
async fn the_doctor_names_the_largest_key_first_and_what_makes_keys_smaller() {
    #[smart_cache("list:{id}")]
    async fn list(Path(id): Path<u32>, _query: RawQuery) -> String {
        format!("the list {id} {}", "and more ".repeat(1_000))
    }
    let remedy = "-> max_body, encodings(..), a ttl, or fewer variants";
    let world = World::new().await;
    let nothing = world.say(&["doctor"]).await.out;
    assert!(!nothing.contains(remedy), "{nothing}");
    world.fill(7..8).await;
    let lists = Router::new()
        .route("/list/{id}", get(list))
        .layer(Extension(world.cache.clone()));
    for page in 1..3 {
        let request = Request::get(format!("/list/1?page={page}")).body(Body::empty());
        let _ = lists.clone().oneshot(request.unwrap()).await.unwrap();
    }
    eventually("both pages of the list to be stored", async || {
        (world.cache.stats().stored == 3).then_some(())
    })
    .await;

    let mut lines = world.say(&["doctor", "--json"]).await.json();
    lines.retain(|line| line["check"] == "memory-by-key");
    let keys: Vec<_> = lines
        .iter()
        .map(|line| line["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["list:1", "product:7"], "{lines:#?}");
    let bytes = |line: &serde_json::Value| line["bytes"].as_u64().unwrap();
    assert!(
        bytes(&lines[0]) > 18_000 && bytes(&lines[1]) > 0,
        "{lines:#?}"
    );
    assert_eq!(
        (&lines[0]["entries"], &lines[1]["entries"]),
        (&2.into(), &1.into())
    );
    let said = world.say(&["doctor"]).await.well();
    assert_eq!(said.matches(remedy).count(), 1, "{said}");
    assert!(said.find("list:1") < said.find("product:7"), "{said}");
}

#[tokio::test]
async fn the_doctor_names_what_is_wrong_and_what_helps() {
    let full = RedisServer::options().memory("100mb", "noeviction").start();
    let world = World::on(full.await).await;
    let said = world.say(&["doctor", "--json"]).await;
    assert_eq!(said.code, 1);
    let memory = said
        .out
        .lines()
        .find(|line| line.contains("\"memory\""))
        .unwrap();
    assert!(
        memory.contains("warning") && memory.contains("allkeys-lru"),
        "{memory}"
    );

    let limited = RedisServer::options()
        .user("reader on >secret ~* +@read +@connection +info")
        .start()
        .await;
    let url = limited.url().replace("redis://", "redis://reader:secret@");
    let settings = [("SMART_REDIS_URL", &*url)];
    let said = run(&settings, &["doctor"]).await;
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(said.out.contains("PROBLEM  rights"), "{}", said.out);
    assert!(said.out.contains("the ACL SETUSER line"), "{}", said.out);
}

/// Each of these works on a healthy server; one thing is wrong at a time.
#[tokio::test]
async fn the_doctor_sees_policy_tracking_distance_clock_and_neighbours() {
    let finding = |said: &Said, check: &str| {
        let mut lines = said.out.lines().map(|line| {
            serde_json::from_str::<serde_json::Value>(line)
                .unwrap_or_else(|why| panic!("{why}: {line}"))
        });
        let found = lines.find(|line| line["check"] == check && line["level"] != "good");
        found.unwrap_or_else(|| panic!("nothing is wrong with {check}: {}{}", said.out, said.err))
    };
    let volatile = RedisServer::options().memory("100mb", "volatile-lru");
    let world = World::on(volatile.start().await).await;
    let said = world.say(&["doctor", "--json"]).await;
    let memory = finding(&said, "memory");
    assert_eq!((said.code, &memory["level"]), (1, &"warning".into()));
    let remedy = memory["remedy"].as_str().unwrap();
    assert!(remedy.contains("entries have no expiry"), "{memory}");

    let server = RedisServer::options().user("deaf on >secret ~* +@all -client|tracking");
    let world = World::on(server.start().await).await;
    let url = world
        .server
        .url()
        .replace("redis://", "redis://deaf:secret@");
    let settings = [
        ("SMART_REDIS_URL", &*url),
        ("SMART_REDIS_NAMESPACE", "shop"),
    ];
    let said = run(&settings, &["doctor", "--json"]).await;
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let tracking = finding(&said, "tracking");
    let remedy = tracking["remedy"].as_str().unwrap();
    assert!(remedy.contains("+client|tracking"), "{tracking}");

    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    chaos.delay(Duration::from_millis(20));
    let said = run(&[("SMART_REDIS_URL", &*chaos.url())], &["doctor", "--json"]).await;
    let connection = finding(&said, "connection");
    assert_eq!((said.code, &connection["level"]), (1, &"warning".into()));
    let remedy = connection["remedy"].as_str().unwrap();
    assert!(remedy.contains("put Redis nearer"), "{connection}");

    let world = World::new().await;
    let ahead = std::time::SystemTime::now() + Duration::from_secs(30);
    let ahead = ahead.duration_since(std::time::UNIX_EPOCH).unwrap();
    let _ = world
        .server
        .cli(&["SET", "{shop}:clock", &ahead.as_micros().to_string()]);
    let said = world.say(&["doctor", "--json"]).await;
    let clock = finding(&said, "clock");
    assert!(clock["says"].as_str().unwrap().contains("ahead"), "{clock}");

    let world = World::new().await;
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for application in ["shop", "billing"] {
        let line = format!("{now} {application}");
        let _ = world
            .server
            .cli(&["HSET", "{shop}:builds", application, &line]);
    }
    let said = world.say(&["doctor", "--json"]).await;
    let namespace = finding(&said, "namespace");
    let says = namespace["says"].as_str().unwrap();
    assert!(says.contains("billing") && says.contains("shop"), "{says}");
    let remedy = namespace["remedy"].as_str().unwrap();
    assert!(remedy.contains("SMART_REDIS_NAMESPACE"), "{remedy}");
}

/// One document for each line, whatever is asked.
#[tokio::test]
async fn every_command_speaks_json() {
    let world = World::new().await;
    world.fill(1..3).await;
    for (command, field) in [
        (&["ls"][..], "key"),
        (&["show", "product:1"], "state"),
        (&["stats"], "server"),
        (&["clear", "product:2"], "cleared"),
        (&["sweep"], "removed"),
        (&["clear", "--all", "--yes"], "took_us"),
    ] {
        let said = world.say(&[command, &["--json"]].concat()).await.json();
        assert!(!said.is_empty(), "{command:?}");
        assert!(!said[0][field].is_null(), "{command:?}: {}", said[0]);
    }
    let doctor = world.say(&["doctor", "--json"]).await.json();
    assert!(doctor.iter().any(|line| line["check"] == "connection"));
}

#[tokio::test]
async fn outbox_status_tells_what_waits_in_the_database() {
    use smart_cache::hooks::outbox;
    use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let url = format!("sqlite:{}", path.display());
    let options = SqliteConnectOptions::new().filename(&path);
    let missing = run(&[], &["outbox", "status", "--database", &url]).await;
    assert_eq!(missing.code, 4, "{}{}", missing.out, missing.err);
    assert!(!path.exists(), "looking makes no database");

    let pool = SqlitePool::connect_with(options.create_if_missing(true))
        .await
        .unwrap();
    outbox::create(&pool).await.unwrap();
    let ask = async || {
        run(&[("DATABASE_URL", &url)], &["outbox", "status"])
            .await
            .well()
    };
    assert_eq!(ask().await, "nothing waits\n");
    let mut transaction = pool.begin().await.unwrap();
    outbox::clear_in(&mut transaction, ["product:1", "products"])
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    assert!(ask().await.starts_with("2 clears wait, the oldest for "));
    let asked = ["outbox", "status", "--json"];
    let document = run(&[("DATABASE_URL", &url)], &asked).await.json();
    assert_eq!(document.len(), 1, "{document:?}");
    assert_eq!(document[0]["pending"], 2, "{document:?}");
    assert_eq!(document[0]["stuck"], false, "{document:?}");
    let wrong = run(&[], &["outbox", "status", "--database", "mysql://x"]).await;
    assert_eq!(wrong.code, 3, "{}", wrong.err);
}

#[tokio::test]
async fn outbox_status_reads_postgres_as_well() {
    use smart_cache::hooks::outbox;
    use sqlx::postgres::PgPool;

    let server = PostgresServer::start().await;
    let url = server.url();
    let ask = async || run(&[("DATABASE_URL", &url)], &["outbox", "status", "--json"]).await;
    let missing = ask().await;
    assert_eq!(missing.code, 4, "there is no outbox: {}", missing.out);
    assert!(
        missing.err.contains("smart_cache_outbox"),
        "{}",
        missing.err
    );
    let pool = PgPool::connect(&url).await.unwrap();
    outbox::create(&pool).await.unwrap();
    assert_eq!(ask().await.json()[0]["pending"], 0);
    let mut transaction = pool.begin().await.unwrap();
    outbox::clear_in(&mut transaction, ["product:1", "products"])
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    let document = ask().await.json();
    // Keys of one write are one row there.
    assert_eq!(document[0]["pending"], 1, "{document:?}");
    assert_eq!(document[0]["stuck"], false, "{document:?}");
}
