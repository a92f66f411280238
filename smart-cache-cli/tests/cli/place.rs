//! Which cache is meant: the environment says it, the command line has the last word. And what
//! shells are told of the command line.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use smart_cache_tests::harness::RedisServer;

use crate::world::{World, run};

#[tokio::test]
async fn a_server_on_the_command_line_is_meant_whatever_the_environment_says() {
    let world = World::new().await;
    world.fill(1..2).await;
    let (url, nobody) = (world.server.url(), RedisServer::start().await);
    let (nobody, port) = (nobody.url(), nobody.address().port().to_string());
    for settings in [
        &[("SMART_REDIS_URL", &*nobody)][..],
        &[
            ("SMART_REDIS_HOST", "127.0.0.1"),
            ("SMART_REDIS_PORT", &port),
        ],
        &[("SMART_REDIS_BACKEND", "memory")],
        &[("SMART_REDIS_URL", "sqlite:shop.db")],
        &[],
    ] {
        let settings = [settings, &[("SMART_REDIS_NAMESPACE", "shop")]].concat();
        // Before the command as well as behind it.
        for arguments in [["--url", &*url, "ls"], ["ls", "--url", &*url]] {
            let out = run(&settings, &arguments).await.well();
            assert!(out.contains("product:1"), "{settings:?}: {out}");
        }
    }
}

#[tokio::test]
async fn a_namespace_on_the_command_line_goes_before_that_of_the_environment() {
    let world = World::new().await;
    world.fill(1..2).await;
    let url = world.server.url();
    let settings = [
        ("SMART_REDIS_URL", &*url),
        ("SMART_REDIS_NAMESPACE", "elsewhere"),
    ];
    assert_eq!(run(&settings, &["ls"]).await.well(), "");
    let asked = ["ls", "--namespace", "shop"];
    let out = run(&settings, &asked).await.well();
    assert!(out.contains("product:1"), "{out}");
    let wrong = run(&settings, &["ls", "--namespace", "a{b}"]).await;
    assert_eq!(wrong.code, 3, "{}{}", wrong.out, wrong.err);
    assert!(wrong.err.contains("braces"), "{}", wrong.err);
}

#[tokio::test]
async fn a_named_cache_is_looked_at_with_its_own_variables() {
    let world = World::new().await;
    world.fill(1..2).await;
    let (url, other) = (world.server.url(), RedisServer::start().await);
    let settings = [
        ("SMART_REDIS_URL", &*other.url()),
        ("SMART_REDIS_PAGES_URL", &url),
        ("SMART_REDIS_PAGES_NAMESPACE", "shop"),
    ];
    assert_eq!(run(&settings, &["ls"]).await.well(), "");
    let out = run(&settings, &["ls", "--cache", "pages"]).await.well();
    assert!(out.contains("product:1"), "{out}");
    // The other two go before what the name means.
    let asked = ["ls", "--cache", "pages", "--namespace", "elsewhere"];
    assert_eq!(run(&settings, &asked).await.well(), "");
    let asked = ["ls", "--cache", "pages", "--url", &other.url()];
    assert_eq!(run(&settings, &asked).await.well(), "");
    // A namespace of its own by default, as in the programs that cache.
    let settings = [("SMART_REDIS_URL", &*url), ("SMART_REDIS_NAMESPACE", "a")];
    let asked = ["stats", "--cache", "pages", "--json"];
    let look = run(&settings, &asked).await.json();
    assert_eq!(look[0]["server"]["namespace"], "a-pages");
    let settings = [
        ("SMART_REDIS_URL", &*url),
        ("SMART_REDIS_PAGES_BACKEND", "memory"),
    ];
    let said = run(&settings, &["ls", "--cache", "pages"]).await;
    assert_eq!(said.code, 3, "{}{}", said.out, said.err);
    let said = run(&settings, &["ls"]).await;
    assert_eq!(said.code, 0, "the default cache is on Redis: {}", said.err);
}

#[tokio::test]
async fn the_patience_of_a_named_cache_is_its_own() {
    let server = RedisServer::start().await;
    let url = server.url();
    server.freeze();
    let settings = [
        ("SMART_REDIS_URL", &*url),
        ("SMART_REDIS_PAGES_TIMEOUT", "300ms"),
    ];
    let began = Instant::now();
    let said = run(&settings, &["ls", "--cache", "pages"]).await;
    assert_eq!(said.code, 4, "{}{}", said.out, said.err);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn completions_are_printed_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&[], &["completions", shell]).await.well();
        for word in ["doctor", "outbox", "namespace", "watch"] {
            assert!(script.contains(word), "{shell}: {word}: {script}");
        }
    }
}

/// The shell that is everywhere takes what it is given and completes.
#[tokio::test]
async fn bash_completes_with_its_completions() {
    let mut script = run(&[], &["completions", "bash"]).await.well();
    script.push_str(
        "\n[[ $(complete -p smart-cache) =~ -F\\ ([^ ]+) ]] || exit 1\
         \nfunction=${BASH_REMATCH[1]}\
         \nCOMP_WORDS=(smart-cache do); COMP_CWORD=1\
         \n$function smart-cache do smart-cache; echo \"${COMPREPLY[*]}\"\
         \nCOMP_WORDS=(smart-cache stats --w); COMP_CWORD=2\
         \n$function smart-cache --w stats; echo \"${COMPREPLY[*]}\"\
         \nCOMP_WORDS=(smart-cache outbox status --d); COMP_CWORD=3\
         \n$function smart-cache --d status; echo \"${COMPREPLY[*]}\"\n",
    );
    let mut bash = Command::new("bash")
        .args(["--norc", "--noprofile", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = bash.stdin.take().unwrap();
    input.write_all(script.as_bytes()).unwrap();
    drop(input);
    let output = bash.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "doctor\n--watch\n--database\n", "{complained}");
}
