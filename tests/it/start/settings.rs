//! What a variable may hold, what a bad one does, and what is never printed.

use smart_cache_tests::harness::{RedisServer, namespace};

use super::{Environment, assert_says};

#[tokio::test]
async fn each_bad_variable_stops_the_start_and_says_what_is_allowed() {
    for (name, value, allowed) in [
        ("PORT", "70000", "1 to 65535"),
        ("PORT", "redis", "1 to 65535"),
        ("HOST", "redis://somewhere", "SMART_REDIS_URL"),
        ("DB", "first", "0 or greater"),
        ("URL", "http://example.org", "redis://"),
        (
            "BACKEND",
            "mongo",
            "auto, redis, memory, sql, file, memcached, off",
        ),
        ("NAMESPACE", "a{b}", "braces"),
        ("RESTART_AND_CLEAR_CACHE", "perhaps", "true, false"),
        ("TIMEOUT", "soon", "250ms"),
        ("TIMEOUT", "0", "at least"),
        ("SETTLE", "-1s", "2s"),
        ("LEASE", "1ms", "at least 100ms"),
        ("WAIT", "x", "250ms"),
        ("LOCAL_CAPACITY", "much", "MiB"),
        ("LOCAL_STALENESS", "1us", "at least 20ms"),
        ("MAX_BODY", "-3", "bytes"),
        ("AUDIT", "1.5", "from 0 to 1"),
        ("MAX_VARIANTS", "0", "whole number"),
        ("STATUS_HEADER", "7", "true or false"),
        ("APP_VERSION", "a:b", "colons"),
        ("SERVER_ID", "a b", "letters and digits"),
        ("CACHES", "a-b", "letters, digits and underscores"),
        ("CACHES", "default", "SMART_REDIS_DEFAULT_TIMEOUT"),
        ("ON_ERROR", "perhaps", "miss"),
        ("DEFAULT_TIMEOUT", "soon", "never"),
        ("VERSION", "-1", "whole number"),
    ] {
        let name = format!("SMART_REDIS_{name}");
        let environment = Environment::default()
            .with("SMART_REDIS_BACKEND", "memory")
            .with(&name, value);
        let (succeeded, output) = environment.run(&["GET:/page/1"]).await;
        assert!(!succeeded, "{name}={value} was taken:\n{output}");
        let error = output.lines().find(|line| line.starts_with("error: "));
        let error = error.unwrap_or_else(|| panic!("no error for {name}:\n{output}"));
        for part in [name.as_str(), value, allowed] {
            assert_says(error, part);
        }
    }
}

#[tokio::test]
async fn an_address_that_is_given_twice_stops_the_start() {
    for second in ["SMART_REDIS_HOST", "SMART_REDIS_PORT"] {
        let environment = Environment::default()
            .with("SMART_REDIS_URL", "redis://127.0.0.1:1")
            .with(second, "1");
        let (succeeded, output) = environment.run(&["GET:/page/1"]).await;
        assert!(!succeeded, "{output}");
        assert_says(&output, "SMART_REDIS_URL");
        assert_says(&output, second);
    }
}

#[tokio::test]
async fn a_bad_variable_of_a_named_cache_stops_the_start() {
    for (suffix, value) in [
        ("SETTLE", "soon"),
        ("URL", "http://example.org"),
        ("PORT", "70000"),
        ("BACKEND", "mongo"),
        ("NAMESPACE", "a{b}"),
        ("ON_ERROR", "perhaps"),
        ("DEFAULT_TIMEOUT", "soon"),
        ("VERSION", "one"),
    ] {
        let variable = format!("SMART_REDIS_SESSIONS_{suffix}");
        let environment = Environment::default()
            .with("SMART_REDIS_BACKEND", "memory")
            .with("SMART_REDIS_CACHES", "pages,sessions")
            .with(&variable, value);
        let (succeeded, output) = environment.run(&["GET:/page/1"]).await;
        assert!(!succeeded, "{variable}={value} was taken:\n{output}");
        let error = output.lines().find(|line| line.starts_with("error: "));
        let error = error.unwrap_or_else(|| panic!("no error for {variable}:\n{output}"));
        assert_says(error, &variable);
        assert_says(error, value);
    }
}

/// What a store finds wrong with its own URL is said of the variable that it was read from.
#[tokio::test]
async fn a_url_that_a_store_refuses_stops_the_start_and_names_its_variable() {
    for (suffix, value) in [
        ("URL", "sqlite::memory:"),
        ("URL", "sqlite:x.db?mode=memory"),
        ("URL", "file:relative"),
        ("URL", "file:/x?capacity=much"),
        ("URL", "memcached://a b"),
        ("URL", "postgres://["),
        ("URL", "mysql://host:port/x"),
    ] {
        for prefix in ["SMART_REDIS_", "SMART_REDIS_SESSIONS_"] {
            let variable = format!("{prefix}{suffix}");
            let environment = Environment::default()
                .with("SMART_REDIS_URL", "redis://127.0.0.1:1")
                .with("SMART_REDIS_CACHES", "sessions")
                .with(&variable, value);
            let (succeeded, output) = environment.run(&["GET:/page/1"]).await;
            assert!(!succeeded, "{variable}={value} was taken:\n{output}");
            let error = output.lines().find(|line| line.starts_with("error: "));
            let error = error.unwrap_or_else(|| panic!("no error for {variable}:\n{output}"));
            assert_says(error, &format!("{variable}="));
        }
    }
}

#[tokio::test]
async fn an_address_of_its_own_goes_before_a_backend_that_a_named_cache_inherits() {
    let folder = tempfile::TempDir::with_prefix("named-").unwrap();
    let environment = Environment::default()
        .with("SMART_REDIS_BACKEND", "file")
        .with(
            "SMART_REDIS_URL",
            &format!("file:{}/a", folder.path().display()),
        )
        .with("SMART_REDIS_CACHES", "sessions,pages")
        .with(
            "SMART_REDIS_SESSIONS_URL",
            &format!("sqlite:{}/b.db", folder.path().display()),
        );
    let requests = [
        "POST:/value/sessions/k",
        "POST:/value/pages/k",
        "GET:/value/sessions/k",
    ];
    let (succeeded, output) = environment.run(&requests).await;
    assert!(succeeded, "{output}");
    assert_says(&output, "Some(\"sessions\")");
    assert!(folder.path().join("b.db").exists());
    // A backend of its own that its address contradicts is a mistake, and of its own variable.
    let environment = environment.with("SMART_REDIS_SESSIONS_BACKEND", "memcached");
    let (succeeded, output) = environment.run(&requests).await;
    assert!(!succeeded, "{output}");
    let error = output.lines().find(|line| line.starts_with("error: "));
    assert_says(error.unwrap(), "SMART_REDIS_SESSIONS_URL=");
}

/// Without `start()` nothing can be stopped: handlers run, the log says why, and a late `start()`
/// must not pretend that all is well.
#[tokio::test]
async fn a_bad_variable_of_a_lazy_start_is_said_once_and_stops_no_handler() {
    let environment = Environment::default().with("SMART_REDIS_PORT", "70000");
    let requests = [
        "GET:/page/1",
        "GET:/page/1",
        "POST:/clear/page:1",
        "GET:/pending",
    ];
    let (succeeded, output) = environment
        .run(&[&["--lazy"], &requests[..]].concat())
        .await;
    assert!(succeeded, "{output}");
    assert_eq!(output.matches("CACHE NOT ACTIVE").count(), 1, "{output}");
    assert_eq!(
        output.matches("GET:/page/1 -> 200 OK").count(),
        2,
        "{output}"
    );
    assert_says(
        &output,
        "POST:/clear/page:1 -> 200 OK [no cache-status] error: the cache is not set up",
    );
    let late = output.lines().find(|line| line.starts_with("GET:/pending"));
    assert_says(late.unwrap(), "SMART_REDIS_PORT");
}

#[tokio::test]
async fn booleans_come_in_any_usual_spelling() {
    for (value, shown) in [
        ("True", true),
        ("true", true),
        ("1", true),
        ("FALSE", false),
        ("False", false),
        ("0", false),
    ] {
        let environment = Environment::default()
            .with("SMART_REDIS_BACKEND", "memory")
            .with("SMART_REDIS_STATUS_HEADER", value);
        let (succeeded, output) = environment.run(&["GET:/page/1"]).await;
        assert!(succeeded, "{output}");
        assert_eq!(output.contains("[smart-cache;"), shown, "{value}: {output}");
    }
}

#[tokio::test]
async fn an_empty_variable_is_one_that_is_not_set() {
    let environment = Environment::default()
        .with("SMART_REDIS_BACKEND", "memory")
        .with("SMART_REDIS_PORT", "")
        .with("SMART_REDIS_TIMEOUT", " ");
    let (succeeded, output) = environment.run(&["GET:/page/1"]).await;
    assert!(succeeded, "{output}");
}

#[tokio::test]
async fn a_password_is_printed_nowhere_not_even_at_the_finest_level() {
    const SECRET: &str = "s3cr3tw0rd";
    let server = RedisServer::options().password(SECRET).start().await;
    let (port, socket) = (server.port().to_string(), server.unix_url());
    let plain = Environment::default()
        .with("RUST_LOG", "trace")
        .with("SMART_REDIS_NAMESPACE", &namespace());
    let address = format!("127.0.0.1:{port}");
    let url = |url: String| plain.clone().with("SMART_REDIS_URL", &url);
    let wrong = format!("{SECRET}wrong");
    for (what, environment, starts) in [
        (
            "a variable",
            plain
                .clone()
                .with("SMART_REDIS_PORT", &port)
                .with("SMART_REDIS_PASSWORD", SECRET),
            true,
        ),
        (
            "a wrong variable",
            plain
                .clone()
                .with("SMART_REDIS_PORT", &port)
                .with("SMART_REDIS_PASSWORD", &wrong),
            true,
        ),
        ("a URL", url(format!("redis://:{SECRET}@{address}")), true),
        (
            "a wrong URL",
            url(format!("redis://:{wrong}@{address}")),
            true,
        ),
        ("a socket", url(socket.clone()), true),
        (
            "a socket with a bad number",
            url(format!("{socket}&db=x")),
            false,
        ),
        (
            "a URL with a bad port",
            url(format!("redis://user:{SECRET}@127.0.0.1:99999999")),
            false,
        ),
        (
            "a URL without slashes",
            url(format!("redis:user:{SECRET}@127.0.0.1")),
            false,
        ),
        (
            "a URL of another scheme",
            url(format!("http://user:{SECRET}@127.0.0.1")),
            false,
        ),
        (
            "a URL with parameters",
            url(format!("redis://127.0.0.1:x/?password={SECRET}")),
            false,
        ),
        (
            "a host that is a URL",
            plain
                .clone()
                .with("SMART_REDIS_HOST", &format!("user:{SECRET}@127.0.0.1")),
            false,
        ),
        (
            "a password with an at sign",
            url(format!("redis://user:{SECRET}@{SECRET}@127.0.0.1:x")),
            false,
        ),
        (
            "a password with a slash",
            url(format!("redis://user:{SECRET}/{SECRET}@127.0.0.1:x")),
            false,
        ),
    ] {
        let requests = [
            "GET:/page/1",
            "GET:/page/1",
            "POST:/clear/page:1",
            "GET:/pending",
        ];
        let (succeeded, output) = environment.run(&requests).await;
        assert_eq!(succeeded, starts, "{what}: {output}");
        let line = output.lines().find(|line| line.contains(SECRET));
        assert!(line.is_none(), "{what} is printed: {line:?}");
    }
}
