//! What a start makes cold, and what it leaves alone.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use smart_cache_tests::harness::{Chaos, RedisServer, eventually, namespace};
use tempfile::TempDir;

use super::{Environment, PROBE, Probe};

/// A copy of the probe, with `more` behind it: another program to those who look at its bytes.
fn another_build(folder: &TempDir, name: &str, more: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::copy(PROBE, &path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(more).unwrap();
    path
}

/// Everything in database 0, with its value, except what the cache itself says about its builds.
async fn dump(server: &RedisServer) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut connection = server.connection().await;
    let mut names: Vec<Vec<u8>> = redis::cmd("KEYS")
        .arg("*")
        .query_async(&mut connection)
        .await
        .unwrap();
    names.sort();
    let mut all = Vec::new();
    for name in names {
        let value = redis::cmd("DUMP")
            .arg(&name)
            .query_async(&mut connection)
            .await
            .unwrap();
        all.push((name, value));
    }
    all
}

#[tokio::test]
async fn a_start_makes_the_namespace_cold_with_one_del_and_touches_nothing_else() {
    let server = RedisServer::start().await;
    let ns = namespace();
    let longer = format!("{ns}-too");
    let first = Environment::of(&server, &ns).probe().await;
    let neighbour = Environment::of(&server, &longer).probe().await;
    let before = first.hit("/page/1").await;
    let next_door = neighbour.hit("/page/1").await;
    assert_eq!(server.cli(&["SET", "of another program", "value"]), "OK");
    let token = format!("{{{ns}}}:t:").into_bytes();
    let is_other = |(name, _): &(Vec<u8>, _)| {
        *name != token && !name.ends_with(b":builds") && !name.ends_with(b":v")
    };
    let was: Vec<_> = dump(&server).await.into_iter().filter(is_other).collect();
    assert_eq!(server.cli(&["CONFIG", "RESETSTAT"]), "OK");

    let flushing =
        Environment::of(&server, &ns).with("SMART_REDIS_RESTART_AND_CLEAR_CACHE", "True");
    let second = flushing.probe().await;
    let stats = server.cli(&["INFO", "commandstats"]);
    assert!(stats.contains("cmdstat_del:calls=1,"), "{stats}");
    for forbidden in ["flush", "unlink", "scan", "keys"] {
        assert!(
            !stats.contains(&format!("cmdstat_{forbidden}")),
            "{forbidden}: {stats}"
        );
    }
    let is: Vec<_> = dump(&server).await.into_iter().filter(is_other).collect();
    assert!(
        is == was,
        "the flush touched more than the namespace's token"
    );
    let after = second.get("/page/1").await;
    assert!(!after.is_hit() && second.made(&after), "{after:?}");
    assert_ne!(
        first.get("/page/1").await.body,
        before.body,
        "cold for every process"
    );
    assert_eq!(neighbour.get("/page/1").await.body, next_door.body);
}

#[tokio::test]
async fn without_the_flush_a_restart_of_the_same_version_hits_at_once() {
    let server = RedisServer::start().await;
    let one = Environment::of(&server, &namespace()).with("SMART_REDIS_APP_VERSION", "one");
    let first = one.probe().await;
    let before = first.hit("/page/1").await;
    drop(first);
    let again = one.probe().await.get("/page/1").await;
    assert!(again.is_hit(), "{again:?}");
    assert_eq!(again.body, before.body);
    let two = one
        .clone()
        .with("SMART_REDIS_APP_VERSION", "two")
        .probe()
        .await;
    let other = two.hit("/page/1").await;
    assert!(
        two.made(&other),
        "another version's answer was served: {other:?}"
    );
    assert_eq!(
        one.probe().await.get("/page/1").await.body,
        before.body,
        "and the first keeps its own"
    );
    assert_eq!(two.post("/clear/page:1").await, "ok");
    let cleared = one.probe().await.get("/page/1").await;
    assert!(
        !cleared.is_hit(),
        "a clear of one version is a clear of all: {cleared:?}"
    );
}

#[tokio::test]
async fn in_version_mode_only_the_first_start_of_a_version_flushes() {
    let server = RedisServer::start().await;
    let ns = namespace();
    let of = |version| {
        Environment::of(&server, &ns)
            .with("SMART_REDIS_RESTART_AND_CLEAR_CACHE", "version")
            .with("SMART_REDIS_APP_VERSION", version)
    };
    let kept = Environment::of(&server, &ns)
        .with("SMART_REDIS_APP_VERSION", "zero")
        .probe()
        .await;
    let before = kept.hit("/page/1").await;
    let first = of("one").probe().await;
    let now = kept.get("/page/1").await;
    assert_ne!(now.body, before.body, "a new version flushes everything");
    let (of_kept, of_first) = (kept.hit("/page/1").await, first.hit("/page/1").await);
    for _ in 0..3 {
        let again = of("one").probe().await.get("/page/1").await;
        assert_eq!(again.body, of_first.body, "a known version flushes nothing");
    }
    assert_eq!(kept.get("/page/1").await.body, of_kept.body);
}

#[tokio::test]
async fn one_build_shares_its_entries_and_another_does_not() {
    let server = RedisServer::start().await;
    let folder = TempDir::new().unwrap();
    let environment = Environment::of(&server, &namespace());
    let same = another_build(&folder, "same", b"");
    let newer = another_build(&folder, "newer", b"\n");
    let first = environment.probe().await;
    let before = first.hit("/page/1").await;
    let shared = Probe::started(environment.start(&same, &[]))
        .await
        .get("/page/1")
        .await;
    assert_eq!(
        shared.body, before.body,
        "the same bytes are the same build"
    );
    let newer = Probe::started(environment.start(&newer, &[])).await;
    let own = newer.hit("/page/1").await;
    assert!(
        newer.made(&own),
        "another build's answer was served: {own:?}"
    );
    assert_eq!(first.get("/page/1").await.body, before.body);
}

#[tokio::test]
async fn a_flush_that_redis_missed_is_made_up_for_when_it_comes() {
    let server = RedisServer::start().await;
    let (ns, chaos) = (namespace(), Chaos::in_front_of(server.address()).await);
    let environment = Environment::of(&server, &ns).with("SMART_REDIS_APP_VERSION", "one");
    let first = environment.probe().await;
    let before = first.hit("/page/1").await;

    chaos.refuse_connections();
    for mode in ["true", "version"] {
        let late = environment
            .clone()
            .with("SMART_REDIS_URL", &chaos.url())
            .with("SMART_REDIS_RESTART_AND_CLEAR_CACHE", mode)
            .probe()
            .await;
        assert!(late.made(&late.get("/page/1").await));
        assert_eq!(
            late.get("/pending").await.body,
            "1",
            "the flush is still to be done"
        );
        assert_eq!(
            first.get("/page/1").await.body,
            before.body,
            "nobody has told the others"
        );
        if mode == "version" {
            break;
        }
    }
    let mut late = environment
        .clone()
        .with("SMART_REDIS_URL", &chaos.url())
        .with("SMART_REDIS_RESTART_AND_CLEAR_CACHE", "true")
        .probe()
        .await;
    chaos.accept_connections();
    eventually("a hit of the late process", async || {
        let answer = late.get("/page/1").await;
        assert_ne!(
            answer.body, before.body,
            "what was to be flushed was served"
        );
        answer.is_hit().then_some(())
    })
    .await;
    late.logs("all clears are acknowledged").await;
    assert_ne!(first.get("/page/1").await.body, before.body);
}
