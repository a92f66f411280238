//! Settings as tables: what is read, what is refused and how, what is never shown.
//!
//! Over 400 lines, most of them rows of those tables.

use super::*;

fn read(table: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let table: Vec<(String, String)> = table
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    Config::read(&Source::new(None, move |name| {
        table
            .iter()
            .find(|(k, _)| k.strip_prefix("SMART_REDIS_").is_some() && k == name)
            .map(|(_, v)| v.into())
    }))
}

#[track_caller]
fn refused(name: &str, value: &str) -> String {
    let message = read(&[(name, value)])
        .expect_err("the value must be refused")
        .to_string();
    assert!(message.contains(name), "{message}");
    message
}

#[test]
fn defaults_are_those_of_the_ancestor() {
    let config = read(&[]).unwrap();
    assert_eq!(config.namespace, "cache");
    assert_eq!(config.flush, StartFlush::Always);
    assert!(config.address.is_none());
    assert_eq!(
        config.address_or_default().unwrap().to_string(),
        "127.0.0.1:6379"
    );
}

#[test]
fn what_answers_look_like_comes_from_the_environment_too() {
    let config = read(&[
        ("SMART_REDIS_ENCODE_FROM", "2KiB"),
        ("SMART_REDIS_STATUS_KEY", "true"),
        ("SMART_REDIS_STATUS_HEADER", "false"),
        ("SMART_REDIS_AUDIT", "0.001"),
    ])
    .unwrap();
    assert_eq!(config.encode_from, 2048);
    assert!(config.status_key && !config.status_header);
    assert!((config.audit - 0.001).abs() < f64::EPSILON);
    #[cfg(all(feature = "brotli", feature = "gzip"))]
    {
        let config = read(&[("SMART_REDIS_ENCODINGS", "br, gzip")]).unwrap();
        assert_ne!(config.encodings, read(&[]).unwrap().encodings);
    }
    refused("SMART_REDIS_ENCODINGS", "deflate");
    for (text, share) in [("0", 0.0), ("1", 1.0), ("1e-3", 0.001)] {
        let config = read(&[("SMART_REDIS_AUDIT", text)]).unwrap();
        assert!((config.audit - share).abs() < f64::EPSILON, "{text}");
    }
}

#[test]
fn booleans_come_in_any_usual_spelling() {
    for (text, flush) in [
        ("True", StartFlush::Always),
        ("FALSE", StartFlush::Never),
        ("0", StartFlush::Never),
        ("on", StartFlush::Always),
        ("version", StartFlush::EachVersion),
    ] {
        assert_eq!(
            read(&[("SMART_REDIS_RESTART_AND_CLEAR_CACHE", text)])
                .unwrap()
                .flush,
            flush,
            "{text}"
        );
    }
}

#[test]
fn bad_values_name_the_variable_the_value_and_what_is_allowed() {
    for (name, value, allowed) in [
        ("SMART_REDIS_PORT", "70000", "1 to 65535"),
        ("SMART_REDIS_PORT", "0", "1 to 65535"),
        ("SMART_REDIS_DB", "-1", "0 or greater"),
        ("SMART_REDIS_TIMEOUT", "soon", "250ms"),
        ("SMART_REDIS_TIMEOUT", "0", "at least 1ms"),
        ("SMART_REDIS_TIMEOUT", "9000 years", "at most a year"),
        (
            "SMART_REDIS_BACKEND",
            "mongo",
            "auto, redis, memory, sql, file, memcached, off",
        ),
        ("SMART_REDIS_NAMESPACE", "a{b}", "braces"),
        ("SMART_REDIS_MAX_BODY", "-3", "bytes"),
        ("SMART_REDIS_AUDIT", "1.5", "from 0 to 1"),
        ("SMART_REDIS_AUDIT", "nan", "from 0 to 1"),
        ("SMART_REDIS_AUDIT", "-0.1", "from 0 to 1"),
        ("SMART_REDIS_AUDIT", "0.1%", "such as 0.001"),
        ("SMART_REDIS_AUDIT", "true", "such as 0.001"),
        ("SMART_REDIS_MAX_VARIANTS", "0", "whole number"),
        (
            "SMART_REDIS_RESTART_AND_CLEAR_CACHE",
            "maybe",
            "true, false",
        ),
        ("SMART_REDIS_STATUS_HEADER", "7", "true or false"),
        ("SMART_REDIS_APP_VERSION", "a:b", "colons"),
        ("SMART_REDIS_URL", "http://example.org", "redis://"),
    ] {
        let message = refused(name, value);
        assert!(
            message.contains(value) && message.contains(allowed),
            "{message}"
        );
    }
}

#[test]
fn a_password_is_never_printed() {
    let message = refused("SMART_REDIS_URL", "redis://user:s3cret@host:99999999");
    assert!(
        !message.contains("s3cret") && message.contains("***"),
        "{message}"
    );
    let config = read(&[
        ("SMART_REDIS_HOST", "h"),
        ("SMART_REDIS_PASSWORD", "s3cret"),
    ])
    .unwrap();
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn whatever_may_be_a_password_is_hidden() {
    for text in [
        "redis://user:s3cret@host",
        "redis:user:s3cret@host",
        "user:s3cret@host",
        "redis://user:s3cret",
        "redis://:s3cret",
        "redis://user:a/b?s3cret@host",
        "redis://user:s3cret@s3cret@host",
        "unix:///run/redis.sock?pass=s3cret&db=x",
        "unix:///run/redis.sock?pass=a@s3cret",
        "redis://user:a://s3cret@host",
    ] {
        assert!(
            !redact(text).contains("s3cret"),
            "{text} -> {}",
            redact(text)
        );
    }
    for text in [
        "redis://host:6380/1",
        "http://example.org",
        "plain",
        "redis://[::1]:6379",
    ] {
        assert_eq!(redact(text), text);
    }
}

fn read_named(table: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let find = |name: &str| {
        let found = table.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| std::ffi::OsString::from(value))
    };
    Config::read(&Source::new(Some("pages"), find))
}

#[test]
fn a_named_cache_lives_beside_the_default_one_of_its_application() {
    let namespace = |table| read_named(table).unwrap().namespace;
    assert_eq!(namespace(&[]), "cache-pages");
    assert_eq!(
        namespace(&[("SMART_REDIS_NAMESPACE", "shop")]),
        "shop-pages"
    );
    let own = [
        ("SMART_REDIS_NAMESPACE", "shop"),
        ("SMART_REDIS_PAGES_NAMESPACE", "mine"),
    ];
    assert_eq!(namespace(&own), "mine");
}

#[test]
fn an_address_of_its_own_replaces_the_inherited_one() {
    for (table, address) in [
        (&[("SMART_REDIS_URL", "redis://a:1")][..], "a:1"),
        (
            &[
                ("SMART_REDIS_URL", "redis://a:1"),
                ("SMART_REDIS_PAGES_PORT", "2"),
            ],
            "127.0.0.1:2",
        ),
        (
            &[
                ("SMART_REDIS_HOST", "a"),
                ("SMART_REDIS_PAGES_URL", "redis://b:3"),
            ],
            "b:3",
        ),
        (
            &[("SMART_REDIS_HOST", "a"), ("SMART_REDIS_PAGES_PORT", "4")],
            "a:4",
        ),
    ] {
        let found = read_named(table).unwrap().address_or_default().unwrap();
        assert_eq!(found.to_string(), address, "{table:?}");
    }
    let both = [
        ("SMART_REDIS_PAGES_URL", "redis://a"),
        ("SMART_REDIS_PAGES_HOST", "b"),
    ];
    assert!(matches!(
        read_named(&both),
        Err(ConfigError::Conflict { .. })
    ));
}

#[test]
fn url_and_host_together_are_refused() {
    let error = read(&[("SMART_REDIS_URL", "redis://a"), ("SMART_REDIS_HOST", "b")]).unwrap_err();
    assert!(matches!(error, ConfigError::Conflict { .. }), "{error}");
}

#[test]
fn a_socket_and_a_url_are_understood() {
    let config = read(&[("SMART_REDIS_URL", "unix:///run/redis.sock?db=3")]).unwrap();
    let Address::Server(info) = config.address_or_default().unwrap() else {
        panic!("a socket is one server's");
    };
    assert_eq!(info.redis_settings().db(), 3);
    assert!(info.addr().to_string().contains("/run/redis.sock"));
}

fn url(text: &str) -> Result<Address, ConfigError> {
    Ok(read(&[("SMART_REDIS_URL", text)])?
        .address
        .expect("an address was given"))
}

#[test]
fn nodes_of_a_cluster_are_understood_in_every_spelling() {
    for text in [
        "redis+cluster://u:p%40ss@a:1,b,[::1]:3",
        "redis-cluster://u:p%40ss@a:1,b:6379,[::1]:3/",
        "valkey+cluster://u:p%40ss@a:1, b ,[::1]:3/0",
    ] {
        let Address::Cluster(nodes) = url(text).unwrap() else {
            panic!("{text} is no cluster");
        };
        let places: Vec<_> = nodes.iter().map(|node| node.addr().to_string()).collect();
        assert_eq!(places, ["a:1", "b:6379", "::1:3"], "{text}");
        for node in nodes {
            let settings = node.redis_settings();
            assert_eq!(settings.username(), Some("u"));
            assert_eq!(settings.password(), Some("p@ss"));
        }
    }
}

#[test]
fn sentinels_have_a_master_a_database_and_credentials_of_their_own() {
    let config = read(&[
        (
            "SMART_REDIS_URL",
            "redis+sentinel://u:p@a,b:2/my%20master/3?sentinel_password=own",
        ),
        ("SMART_REDIS_SENTINEL_USERNAME", "watcher"),
        ("SMART_REDIS_PASSWORD", "servers"),
    ])
    .unwrap();
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("own\"") && !shown.contains("servers"),
        "{shown}"
    );
    let Some(Address::Sentinels(sentinels)) = config.address else {
        panic!("no sentinels");
    };
    assert_eq!(sentinels.master, "my master");
    let places: Vec<_> = sentinels
        .seeds
        .iter()
        .map(|seed| seed.addr().to_string())
        .collect();
    assert_eq!(places, ["a:26379", "b:2"]);
    for seed in &sentinels.seeds {
        let settings = seed.redis_settings();
        assert_eq!(settings.username(), Some("watcher"));
        assert_eq!(settings.password(), Some("own"));
        assert_eq!(settings.db(), 0);
    }
    let settings = sentinels.server.redis_settings();
    assert_eq!(settings.username(), Some("u"));
    assert_eq!(settings.password(), Some("servers"));
    assert_eq!(settings.db(), 3);
}

#[test]
fn addresses_of_engines_that_make_no_sense_are_refused_with_what_would() {
    for (text, allowed) in [
        ("redis+cluster://", "redis+cluster://"),
        ("redis+cluster://a,,b", "redis+cluster://"),
        ("redis+cluster://a:0", "redis+cluster://"),
        ("redis+cluster://a:x", "redis+cluster://"),
        ("redis+cluster://a/1", "no database but 0"),
        ("redis+cluster://a?x=1", "redis+cluster://"),
        ("redis+sentinel://a", "/master"),
        ("redis+sentinel://a/", "/master"),
        ("redis+sentinel://a/m/x", "/master"),
        ("redis+sentinel://a/m/0/0", "/master"),
        ("redis+sentinel://a/m?password=x", "sentinel_password"),
        ("redis+swarm://a", "redis+cluster://"),
    ] {
        let message = url(text).expect_err(text).to_string();
        assert!(
            message.contains("SMART_REDIS_URL") && message.contains(allowed),
            "{message}"
        );
        assert!(!message.contains("password=x"), "{message}");
    }
    let error = read(&[
        ("SMART_REDIS_URL", "redis+cluster://a"),
        ("SMART_REDIS_DB", "2"),
    ]);
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains("SMART_REDIS_DB") && message.contains("no other database"),
        "{message}"
    );
    assert!(
        read(&[
            ("SMART_REDIS_URL", "redis+cluster://a"),
            ("SMART_REDIS_DB", "0")
        ])
        .is_ok()
    );
}

#[cfg(feature = "tls")]
#[test]
fn files_for_tls_need_an_address_with_tls() {
    for name in [
        "SMART_REDIS_TLS_CA",
        "SMART_REDIS_TLS_CERT",
        "SMART_REDIS_TLS_KEY",
    ] {
        let message = read(&[("SMART_REDIS_URL", "redis://a"), (name, "/x.pem")])
            .unwrap_err()
            .to_string();
        assert!(
            message.contains(name) && message.contains("rediss://"),
            "{message}"
        );
        let config = read(&[("SMART_REDIS_URL", "rediss+cluster://a"), (name, "/x.pem")]);
        assert!(!config.unwrap().tls.is_empty());
    }
    // What a named cache inherits does not count for an address of its own without TLS.
    let table = [
        ("SMART_REDIS_URL", "rediss://a"),
        ("SMART_REDIS_TLS_CA", "/x.pem"),
        ("SMART_REDIS_PAGES_URL", "redis://b"),
    ];
    assert!(read_named(&table).unwrap().tls.is_empty());
}

#[test]
fn numbers_of_replicas_and_partitions_are_checked() {
    refused("SMART_REDIS_MIN_REPLICAS", "-1");
    refused("SMART_REDIS_MIN_REPLICAS", "101");
    refused("SMART_REDIS_PARTITIONS", "0");
    refused("SMART_REDIS_PARTITIONS", "257");
    let message = refused("SMART_REDIS_NAMESPACE", "pages#1");
    assert!(message.contains("partitions"), "{message}");
    let config = read(&[
        ("SMART_REDIS_PARTITIONS", "16"),
        ("SMART_REDIS_MIN_REPLICAS", "1"),
        ("SMART_REDIS_NAMESPACE", "pages#one"),
    ])
    .unwrap();
    assert_eq!((config.partitions, config.min_replicas), (16, 1));
}

#[test]
fn a_named_cache_whose_variables_would_be_read_for_two_things_is_refused() {
    let named = |names: &str| {
        let names = names.to_owned();
        let read =
            move |variable: &str| (variable == "SMART_REDIS_CACHES").then(|| names.clone().into());
        super::environment::named_in(&Source::new(None, read))
    };
    assert_eq!(named("pages, sessions,pages").unwrap().len(), 3);
    assert_eq!(named("a,a_b").unwrap().len(), 2);
    for (names, variable) in [
        ("default", "SMART_REDIS_DEFAULT_TIMEOUT"),
        ("pages,App", "SMART_REDIS_APP_VERSION"),
        ("sentinel", "SMART_REDIS_SENTINEL_PASSWORD"),
        ("shop,shop_app", "SMART_REDIS_SHOP_APP_VERSION"),
        ("pages,PAGES", "SMART_REDIS_PAGES_"),
    ] {
        let refused = named(names).unwrap_err().to_string();
        assert!(refused.contains("SMART_REDIS_CACHES"), "{refused}");
        assert!(refused.contains(variable), "{refused}");
    }
}
