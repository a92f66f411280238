//! `auto`: Redis, except where nothing was said and nobody listens.
//!
//! The default address is tried in a network of the process's own, where the test decides who
//! listens on port 6379.

use smart_cache_tests::harness::left_out;

use super::{Environment, PROBE, assert_says};

/// Runs the probe in a network with nothing but a loopback device; before it, `first`. `None` where this
/// machine gives no such network.
async fn alone(environment: Environment, first: &str, requests: &[&str]) -> Option<String> {
    let script = format!("ip link set lo up && {first} exec \"$0\" \"$@\"");
    let arguments = [&["-rn", "sh", "-c", &script, PROBE], requests].concat();
    let (status, lines) = environment.start("unshare", &arguments).ended().await;
    let output = lines.join("\n");
    if !status.success() && output.is_empty() {
        left_out("network");
        return None;
    }
    assert!(status.success(), "{output}");
    Some(output)
}

const TWICE: [&str; 2] = ["GET:/page/1", "GET:/page/1"];

#[tokio::test]
async fn with_nothing_given_and_nobody_listening_it_is_memory_and_said_loudly() {
    let Some(output) = alone(Environment::default(), "", &TWICE).await else {
        return;
    };
    assert_says(&output, "NO REDIS");
    assert_says(&output, "WARN");
    assert_says(&output, "ready: the memory of this process");
    assert_says(&output, "[smart-cache; hit]");
}

#[tokio::test]
async fn a_password_alone_is_no_address() {
    let environment = Environment::default().with("SMART_REDIS_PASSWORD", "x");
    let Some(output) = alone(environment, "", &TWICE).await else {
        return;
    };
    assert_says(&output, "NO REDIS");
}

#[tokio::test]
async fn with_somebody_on_the_default_address_it_is_redis() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    // The server ends with the network's last process, when the probe has.
    let first = format!(
        "redis-server --save '' --daemonize yes --dir {} --pidfile {}/pid --logfile {} >/dev/null && \
         until redis-cli ping >/dev/null 2>&1; do :; done;",
        folder.path().display(),
        folder.path().display(),
        log.display()
    );
    let requests = ["GET:/page/1", "GET:/page/1"];
    let environment = Environment::default().with("SMART_REDIS_SETTLE", "0");
    let output = alone(environment, &first, &requests).await;
    if let Ok(pid) = std::fs::read_to_string(folder.path().join("pid")) {
        let ended = std::process::Command::new("kill")
            .args(["-9", pid.trim()])
            .status();
        assert!(ended.unwrap().success());
    }
    let Some(output) = output else { return };
    assert!(!output.contains("NO REDIS"), "{output}");
    assert_says(&output, "ready: redis at 127.0.0.1:6379");
}

#[tokio::test]
async fn an_address_that_was_given_never_falls_back() {
    for (name, value) in [
        ("SMART_REDIS_HOST", "127.0.0.1"),
        ("SMART_REDIS_PORT", "6379"),
        ("SMART_REDIS_URL", "redis://127.0.0.1:6379"),
        ("SMART_REDIS_BACKEND", "redis"),
    ] {
        let environment = Environment::default().with(name, value);
        let Some(output) = alone(environment, "", &TWICE).await else {
            return;
        };
        assert!(!output.contains("NO REDIS"), "{name}: {output}");
        assert_says(&output, "cache not active");
        assert_says(&output, "ready: redis at 127.0.0.1:6379");
        assert_says(&output, "detail=");
        assert!(!output.contains("; hit"), "{name}: {output}");
    }
}

#[tokio::test]
async fn memory_and_off_are_what_they_are_called() {
    let of = |backend| Environment::default().with("SMART_REDIS_BACKEND", backend);
    let (_, output) = of("memory").run(&TWICE).await;
    assert_says(&output, "[smart-cache; hit]");
    assert!(!output.contains("NO REDIS"), "it was asked for: {output}");
    let (_, output) = of("off").run(&TWICE).await;
    assert!(!output.contains("; hit"), "{output}");
}
