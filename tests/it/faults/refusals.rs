//! Redis is there and refuses: full, a replica, a password, a user without rights.

use std::time::Duration;

use smart_cache_tests::harness::{RedisServer, eventually, namespace};

use super::{App, assert_says, builder};

#[tokio::test]
async fn a_full_redis_stores_nothing_and_still_clears() {
    let server = RedisServer::start().await;
    let app = App::at(&server.url(), &namespace()).await;
    app.hit(1).await;
    assert_eq!(
        server.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]),
        "OK"
    );
    assert_eq!(server.cli(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    assert!(app.ask(1).await.is_hit(), "what is stored is served");
    for _ in 0..3 {
        assert!(!app.ask(2).await.is_hit(), "nothing new is stored");
    }
    app.cache.clear("page:1").await.unwrap();
    let cleared = app.ask(1).await;
    assert!(!cleared.is_hit(), "{cleared:?}");
    assert!(
        app.cache.stats().available,
        "a full server is not a missing one"
    );
    assert_eq!(server.cli(&["CONFIG", "SET", "maxmemory", "0"]), "OK");
    app.hit(1).await;
    app.hit(2).await;
}

#[tokio::test]
async fn a_replica_is_never_read_from() {
    let server = RedisServer::start().await;
    let app = App::at(&server.url(), &namespace()).await;
    let before = app.hit(1).await;
    let replica = RedisServer::options().replica_of(&server).start().await;
    replica.synced(&server).await;
    let ns = namespace();
    let of_replica = App::at(&replica.url(), &ns).await;
    for _ in 0..5 {
        assert!(of_replica.ask(1).await.is_unavailable());
    }
    assert_says(&of_replica.failing_clear("page:1").await, "replica");

    // The server that was read from becomes one, and its connections stay.
    let port = replica.port().to_string();
    assert_eq!(replica.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    assert_eq!(server.cli(&["REPLICAOF", "127.0.0.1", &port]), "OK");
    app.until(
        1,
        "the new role to be noticed",
        super::Answer::is_unavailable,
    )
    .await;
    of_replica.hit(1).await;
    assert_eq!(server.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    assert_ne!(
        app.hit(1).await.body,
        before.body,
        "another history is another life"
    );
}

#[tokio::test]
async fn a_replica_is_not_read_from_either_where_info_is_forbidden() {
    let server = RedisServer::start().await;
    let ns = namespace();
    let app = App::of(
        builder(&server.url(), &ns)
            .server_id("one")
            .build()
            .await
            .unwrap(),
    );
    app.hit(1).await;
    let replica = RedisServer::options()
        .replica_of(&server)
        .user("app on >secret ~* &* +@all -info")
        .start()
        .await;
    replica.synced(&server).await;
    let url = format!("redis://app:secret@127.0.0.1:{}", replica.port());
    let of_replica = App::of(builder(&url, &ns).server_id("one").build().await.unwrap());
    for _ in 0..5 {
        let answer = of_replica.ask(1).await;
        assert!(!answer.is_hit(), "read from a replica: {answer:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_named_and_heals_when_the_server_takes_it() {
    let server = RedisServer::options().password("right").start().await;
    let url = format!("redis://:wrong@127.0.0.1:{}", server.port());
    let app = App::at(&url, &namespace()).await;
    assert!(app.ask(1).await.is_unavailable());
    let error = app.failing_clear("page:1").await;
    assert_says(&error.to_lowercase(), "password");
    assert!(!error.contains("wrong@"), "{error}");
    assert_eq!(server.cli(&["CONFIG", "SET", "requirepass", "wrong"]), "OK");
    app.hit(1).await;
    app.all_cleared().await;
}

#[tokio::test]
async fn a_missing_password_is_named_and_heals_when_none_is_needed() {
    for server_id in [None, Some("one")] {
        let server = RedisServer::options().password("right").start().await;
        let url = format!("redis://127.0.0.1:{}", server.port());
        let ns = namespace();
        let mut builder = builder(&url, &ns);
        if let Some(id) = server_id {
            builder = builder.server_id(id);
        }
        let app = App::of(builder.build().await.unwrap());
        assert!(app.ask(1).await.is_unavailable());
        assert!(
            !app.cache.stats().available,
            "a server that asks for a password does not serve"
        );
        let error = app.failing_clear("page:1").await;
        assert_says(&error, "SMART_REDIS_PASSWORD");
        assert!(!error.contains("+info"), "the wrong advice: {error}");
        assert_eq!(server.cli(&["CONFIG", "SET", "requirepass", ""]), "OK");
        app.hit(1).await;
        app.all_cleared().await;
    }
}

#[tokio::test]
async fn a_forbidden_command_is_named_and_heals_when_it_is_allowed() {
    for command in ["evalsha", "mget", "del"] {
        let rules = format!("app on >secret ~* &* +@all -{command}");
        let server = RedisServer::options().user(&rules).start().await;
        let url = format!("redis://app:secret@127.0.0.1:{}", server.port());
        let app = App::at(&url, &namespace()).await;
        for _ in 0..3 {
            // Without DEL a ticket can be had, but the script that stores is refused.
            let answer = app.ask(1).await;
            assert!(!answer.is_hit(), "{command}: {answer:?}");
            assert!(
                answer.is_unavailable() || command == "del",
                "{command}: {answer:?}"
            );
        }
        if command == "del" {
            let error = app.failing_clear("page:1").await;
            assert_says(&error, "NOPERM");
            assert_says(&error, "del");
            let distrusted = app.ask(1).await;
            assert!(distrusted.how.contains("pending-clear"), "{distrusted:?}");
        }
        let allowed = server.cli(&["ACL", "SETUSER", "app", &format!("+{command}")]);
        assert_eq!(allowed, "OK");
        app.all_cleared().await;
        app.hit(1).await;
        app.cache.clear("page:1").await.unwrap();
    }
}

#[tokio::test]
async fn keys_that_are_forbidden_are_named() {
    let server = RedisServer::options()
        .user("app on >secret ~other* &* +@all")
        .start()
        .await;
    let url = format!("redis://app:secret@127.0.0.1:{}", server.port());
    let app = App::at(&url, &namespace()).await;
    assert!(app.ask(1).await.is_unavailable());
    assert_says(&app.failing_clear("page:1").await, "NOPERM");
    assert_eq!(server.cli(&["ACL", "SETUSER", "app", "~*"]), "OK");
    app.hit(1).await;
}

#[tokio::test]
async fn without_info_the_cache_says_what_it_needs() {
    let server = RedisServer::options()
        .user("app on >secret ~* &* +@all -info")
        .start()
        .await;
    let url = format!("redis://app:secret@127.0.0.1:{}", server.port());
    let ns = namespace();
    let app = App::at(&url, &ns).await;
    assert!(app.ask(1).await.is_unavailable());
    let error = app.failing_clear("page:1").await;
    assert_says(&error, "+info");
    assert_says(&error, "SMART_REDIS_SERVER_ID");

    let told = App::of(builder(&url, &ns).server_id("one").build().await.unwrap());
    told.hit(1).await;
    told.cache.clear("page:1").await.unwrap();
    assert!(!told.ask(1).await.is_hit());

    assert_eq!(server.cli(&["ACL", "SETUSER", "app", "+info"]), "OK");
    app.hit(2).await;
}

/// A loading server refuses every command but a few, INFO among them: it must look like a missing
/// one, not like one that comes and goes with each request.
#[tokio::test]
async fn a_loading_redis_is_a_missing_one() {
    let mut server = RedisServer::options()
        .debug_commands()
        .option("key-load-delay", "2000")
        .option("loading-process-events-interval-bytes", "1024")
        .start()
        .await;
    let filled = server.cli(&["DEBUG", "POPULATE", "1000", "k", "100"]);
    assert_eq!(filled, "OK");
    let app = App::at(&server.url(), &namespace()).await;
    app.hit(1).await;
    let before = app.ask(1).await.body;
    server.save().await;
    let restarting = server.restart();
    tokio::pin!(restarting);
    let (mut asked, mut worst) = (0, Duration::ZERO);
    loop {
        tokio::select! {
            () = &mut restarting => break,
            answer = app.ask(1) => {
                asked += 1;
                worst = worst.max(answer.took);
                // The server may be there a moment before its restart is over, and be filled anew.
                assert!(!answer.is_hit() || answer.body != before, "{answer:?}");
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("{asked} requests while loading, the slowest took {worst:?}");
    eventually("a hit again", async || {
        app.ask(1).await.is_hit().then_some(())
    })
    .await;
}
