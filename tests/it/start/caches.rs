//! Which cache a handler uses: the default one, named ones, those made in code; and the registry.

use smart_cache_tests::harness::{RedisServer, namespace};

use super::{Environment, PROBE, Probe, assert_says};

#[tokio::test]
async fn nothing_has_to_be_started() {
    let server = RedisServer::start().await;
    let environment = Environment::of(&server, &namespace());
    let lazy = Probe::started(environment.start(PROBE, &["--lazy"])).await;
    let before = lazy.hit("/page/1").await;
    assert_eq!(lazy.post("/clear/page:1").await, "ok");
    assert_ne!(lazy.hit("/page/1").await.body, before.body);
    assert_eq!(
        lazy.post("/write/1").await,
        format!("written 1 by process {}, run 2", lazy.program.id())
    );
}

/// Nobody awaits a start here: the first request must not pay for more than any other.
#[tokio::test]
async fn a_lazy_start_on_a_frozen_redis_costs_the_first_request_a_timeout() {
    let server = RedisServer::start().await;
    let environment = Environment::of(&server, &namespace()).with("SMART_REDIS_APP_VERSION", "one");
    let before = environment.probe().await.hit("/page/1").await;
    let lazy = environment.with("SMART_REDIS_RESTART_AND_CLEAR_CACHE", "true");
    let mut lazy = Probe::started(lazy.start(PROBE, &["--lazy"])).await;
    server.freeze();
    for request in 0..3 {
        let start = std::time::Instant::now();
        assert!(!lazy.get("/page/1").await.is_hit());
        let took = start.elapsed();
        println!("request {request} took {took:?}");
        assert!(
            took < std::time::Duration::from_millis(900),
            "request {request} took {took:?}"
        );
    }
    server.thaw();
    let after = lazy.hit("/page/1").await;
    assert_ne!(after.body, before.body, "the flush was still to be done");
    lazy.logs("all clears are acknowledged").await;
}

#[tokio::test]
async fn a_hundred_first_requests_at_once_set_one_cache_up() {
    let server = RedisServer::start().await;
    let environment =
        Environment::of(&server, &namespace()).with("SMART_REDIS_RESTART_AND_CLEAR_CACHE", "true");
    let mut lazy = Probe::started(environment.start(PROBE, &["--lazy"])).await;
    let client = lazy.client;
    let asking: Vec<_> = (0..100)
        .map(|id| tokio::spawn(async move { client.get(&format!("/page/{}", id % 10)).await }))
        .collect();
    for answer in asking {
        assert_eq!(answer.await.unwrap().status(), 200);
    }
    lazy.logs("cache ready").await;
    assert_eq!(lazy.log.matches("cache ready").count(), 1, "{}", lazy.log);
}

#[tokio::test]
async fn named_caches_come_from_the_environment_and_share_nothing() {
    let (server, other) = (RedisServer::start().await, RedisServer::start().await);
    let ns = namespace();
    let environment = Environment::of(&server, &ns)
        .with("SMART_REDIS_CACHES", "sessions, unused")
        .with("SMART_REDIS_SESSIONS_URL", &other.url());
    for arguments in [&[][..], &["--lazy"]] {
        let probe = Probe::started(environment.start(PROBE, arguments)).await;
        let (page, session) = (probe.hit("/page/1").await, probe.hit("/session/1").await);
        assert_eq!(probe.post("/clear-all").await, "ok");
        assert_ne!(probe.get("/page/1").await.body, page.body);
        assert_eq!(probe.get("/session/1").await.body, session.body);
        assert!(!other.cli(&["KEYS", "*:e:*"]).is_empty());
    }
}

#[tokio::test]
async fn the_low_level_api_finds_caches_by_the_names_of_the_environment() {
    let (server, other) = (RedisServer::start().await, RedisServer::start().await);
    let environment = Environment::of(&server, &namespace())
        .with("SMART_REDIS_CACHES", "sessions,pages")
        .with("SMART_REDIS_SESSIONS_URL", &other.url());
    for (arguments, key) in [(&[][..], "k"), (&["--lazy"], "l")] {
        let probe = Probe::started(environment.start(PROBE, arguments)).await;
        let value = async |cache: &str| probe.get(&format!("/value/{cache}/{key}")).await.body;
        assert_eq!(value("sessions").await, "None");
        assert_eq!(probe.post(&format!("/value/sessions/{key}")).await, "ok");
        assert_eq!(value("sessions").await, "Some(\"sessions\")");
        assert_eq!(value("pages").await, "None");
        assert_eq!(probe.post(&format!("/value/pages/{key}")).await, "ok");
        assert_eq!(value("pages").await, "Some(\"pages\")");
        assert_eq!(value("sessions").await, "Some(\"sessions\")");
        for name in ["sessions", "pages"] {
            assert_eq!(probe.get(&format!("/same/{name}")).await.body, "true");
        }
        // Each on its own server.
        let names = format!("*:v:1:{key}");
        assert_eq!(server.cli(&["KEYS", &names]).lines().count(), 1);
        assert_eq!(other.cli(&["KEYS", &names]).lines().count(), 1);
        let unknown = value("nowhere").await;
        for part in ["error: ", "\"nowhere\"", "sessions", "pages"] {
            assert_says(&unknown, part);
        }
    }
}

/// Each cache of the environment is asked for its own wish; nobody listens at these addresses.
#[tokio::test]
async fn each_named_cache_misses_or_fails_during_an_outage_as_it_was_told() {
    let silent = [
        ("redis", "redis://127.0.0.1:1"),
        ("memcached", "memcached://127.0.0.1:1"),
        ("postgres", "postgres://postgres@127.0.0.1:1/postgres"),
        ("mariadb", "mysql://root@127.0.0.1:1/mysql"),
        ("sqlite", "sqlite:/nowhere/at/all/cache.db"),
        ("file", "file:/dev/null/cache"),
    ];
    for (plain, own) in [("miss", "fail"), ("fail", "miss")] {
        let mut environment = Environment::default()
            .with("SMART_REDIS_URL", "redis://127.0.0.1:1")
            .with("SMART_REDIS_RESTART_AND_CLEAR_CACHE", "false")
            .with("SMART_REDIS_ON_ERROR", plain);
        let mut listed = Vec::new();
        for (name, url) in silent {
            let (inherits, told) = (format!("{name}_a"), format!("{name}_b"));
            for cache in [&inherits, &told] {
                let variable = format!("SMART_REDIS_{}_URL", cache.to_uppercase());
                environment = environment.with(&variable, url);
            }
            let variable = format!("SMART_REDIS_{}_ON_ERROR", told.to_uppercase());
            environment = environment.with(&variable, own);
            listed.extend([(inherits, plain), (told, own)]);
        }
        let names: Vec<_> = listed.iter().map(|(name, _)| name.as_str()).collect();
        let environment = environment.with("SMART_REDIS_CACHES", &names.join(","));
        let probe = Probe::started(environment.start(PROBE, &["--lazy"])).await;
        for (name, wish) in &listed {
            let read = probe.get(&format!("/value/{name}/k")).await.body;
            if *wish == "miss" {
                assert_eq!(read, "None", "{name}");
            } else {
                assert_says(&read, "error: ");
                assert!(!read.contains("no cache named"), "{name}: {read}");
            }
            let written = probe.post(&format!("/value/{name}/k")).await;
            assert_says(&written, "error: ");
        }
    }
}

#[tokio::test]
async fn a_named_cache_may_have_an_address_of_its_own_in_parts() {
    let (server, other) = (RedisServer::start().await, RedisServer::start().await);
    let environment = Environment::of(&server, &namespace())
        .with("SMART_REDIS_CACHES", "sessions")
        .with("SMART_REDIS_SESSIONS_PORT", &other.port().to_string());
    let probe = environment.probe().await;
    probe.hit("/page/1").await;
    probe.hit("/session/1").await;
    assert!(!other.cli(&["KEYS", "*:e:*"]).is_empty());
}

#[tokio::test]
async fn a_named_cache_stays_inside_its_applications_namespace() {
    let server = RedisServer::start().await;
    let of = |ns: &str| Environment::of(&server, ns).with("SMART_REDIS_CACHES", "sessions");
    let (one, two) = (namespace(), namespace());
    let (first, second) = (of(&one).probe().await, of(&two).probe().await);
    let before = first.hit("/session/1").await;
    let own = second.hit("/session/1").await;
    assert!(
        second.made(&own),
        "another application's session was served: {own:?}"
    );
    assert_eq!(first.get("/session/1").await.body, before.body);
}

#[tokio::test]
async fn an_unknown_named_cache_is_said_once_and_stops_no_handler() {
    let environment = Environment::default().with("SMART_REDIS_BACKEND", "memory");
    let (succeeded, output) = environment
        .run(&["GET:/nowhere/1", "GET:/nowhere/1", "GET:/nowhere/2"])
        .await;
    assert!(succeeded, "{output}");
    assert_eq!(output.matches("GET:/nowhere/").count(), 3, "{output}");
    assert!(!output.contains("; hit"), "{output}");
    let errors: Vec<_> = output
        .lines()
        .filter(|line| line.contains("ERROR"))
        .collect();
    assert_eq!(errors.len(), 1, "{output}");
    assert_says(errors[0], "no cache named \"nowhere\"");
}

#[tokio::test]
async fn a_cache_made_in_code_is_installed_once() {
    let environment = Environment::default().with("SMART_REDIS_PORT", "1");
    let requests = [
        "--install",
        "GET:/page/1",
        "GET:/page/1",
        "GET:/session/1",
        "GET:/session/1",
    ];
    let (succeeded, output) = environment.run(&requests).await;
    assert!(succeeded, "{output}");
    let installs: Vec<_> = output
        .lines()
        .filter(|line| line.starts_with("install"))
        .collect();
    assert_eq!(installs[..2], ["install: ok", "install_named: ok"]);
    assert_says(installs[2], "set up already");
    assert_says(installs[3], "\"sessions\"");
    assert_says(&output, "ready: the memory of this process");
    assert_eq!(output.matches("[smart-cache; hit]").count(), 2, "{output}");
}

#[tokio::test]
async fn every_handler_is_listed_once_also_a_generic_one() {
    let environment = Environment::default().with("SMART_REDIS_BACKEND", "memory");
    let (_, output) = environment
        .run(&["GET:/page/1", "GET:/large/1", "GET:/small/1"])
        .await;
    let mut listed: Vec<_> = output
        .lines()
        .filter_map(|line| line.strip_prefix("registered: "))
        .collect();
    listed.sort_unstable();
    let expected = [
        "kind as kind:{id}",
        "nowhere as nowhere:{id}",
        "page as page:{id}",
        "row as row:{id}",
        "session as session:{id}",
    ];
    assert_eq!(listed, expected);
    for key in ["page:{id}", "kind:{id}", "session:{id}", "nowhere:{id}"] {
        let lines = output
            .lines()
            .filter(|line| line.contains("cached handler=") && line.contains(key));
        assert_eq!(lines.count(), 1, "{key} in the start's log:\n{output}");
    }
    assert_says(&output, "large 1 by");
    assert_says(&output, "small 1 by");
}
