//! The page in a real browser, driven by the script in `tests/browser`; and a million entries.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use axum::Router;
use axum::response::Html;
use axum::routing::get as on_get;
use smart_cache::hooks::Collector;
use smart_cache_tests::harness::{RedisServer, eventually, npm_install, serve};
use tokio::process::Command;

use super::{json, see, shop, warm};
use crate::road::{get as get_page, redis_at};

/// Longest that the whole script may take, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_sound_in_a_browser() {
    let server = RedisServer::start().await;
    let cache = redis_at(&server.url()).local_capacity(1 << 20);
    let cache = cache.build().await.unwrap();
    let shop = serve(shop(&cache)).await;
    let address = shop.address();
    // Another site: another port is another origin, and another name is another site.
    let form = format!(
        "<form method=post action='http://{address}/admin/cache/clear'>\
         <input name=what value=key><input name=name value='product:1'><input name=token value=guessed>\
         </form><script>document.forms[0].submit()</script>"
    );
    let evil = serve(Router::new().route("/", on_get(async move || Html(form)))).await;
    let evil = format!("http://localhost:{}/", evil_port(&evil));
    let admin = format!("http://{address}/admin/cache");
    let said = node("admin.mjs", &[&admin, &format!("http://{address}"), &evil]).await;
    let checks = said.lines().filter(|line| line.starts_with("ok ")).count();
    assert_eq!(checks, 11, "{said}");
}

/// Runs a script of `tests/browser` to its good end: what it said.
async fn node(script: &str, arguments: &[&str]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    npm_install(&folder).await;
    let script = Command::new("node")
        .current_dir(&folder)
        .arg(script)
        .args(arguments)
        .env("CHROMIUM", chromium())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, script)
        .await
        .expect("the script has ended")
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    assert!(output.status.success(), "{said}\n{complained}");
    said
}

/// Keys that a page could break on: without an end, without a space, from right to left.
fn awkward_keys() -> [String; 4] {
    [
        format!("product:{}", "without-an-end".repeat(40)),
        "product:<script>alert(1)</script> & \"quotes\"".to_owned(),
        "product:\u{202e}\u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{1f980}\n\u{7}".to_owned(),
        "product:7".to_owned(),
    ]
}

/// The pages with what they show rarely: every state of an entry, long names, partitions, a fleet;
/// then without their server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_sound_whatever_it_has_to_show() {
    let mut server = RedisServer::start().await;
    let spread = || {
        redis_at(&server.url())
            .partitions(3)
            .local_capacity(1 << 20)
            .timeout(Duration::from_millis(500))
    };
    let cache = spread().build().await.unwrap();
    let other = "a-build-of-the-other-kind-with-a-long-name-0.12.3+4f2a9c";
    let others = spread().app_version(other).build().await.unwrap();
    let (app, others) = (shop(&cache), shop(&others));
    let path = |key: &str| {
        let id = key.strip_prefix("product:").unwrap();
        let id = percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC);
        format!("/product/{id}")
    };
    for key in awkward_keys() {
        warm(&app, &path(&key)).await;
        warm(&others, &path(&key)).await;
    }
    for page in 0..12 {
        warm(
            &app,
            &format!("/product/7?page={page}&filter=a+rather+long+one"),
        )
        .await;
    }
    for number in 0..20 {
        get_page(&app, &format!("/private/{number}")).await;
    }
    for name in ["held", "soft", "gone"] {
        warm(&app, &format!("/product/{name}")).await;
    }
    cache.expire("product:soft").await.unwrap();
    cache.clear("product:gone").await.unwrap();
    let many: Vec<_> = (0..30).map(|number| format!("category:{number}")).collect();
    cache.clear(&many[..]).await.unwrap();
    cache.clear(&awkward_keys()[0]).await.unwrap();
    warm(&app, &path(&awkward_keys()[0])).await;
    let hold = Collector::of(&cache);
    let longest = Duration::from_secs(300);
    hold.hold("product:held", longest).await.unwrap();
    eventually("both processes in the fleet", async || {
        (cache.fleet().await.unwrap().len() > 1).then_some(())
    })
    .await;

    let served = serve(app.clone()).await;
    let admin = format!("http://{}/admin/cache", served.address());
    let mut views = vec![
        "overview=/overview".to_owned(),
        "handlers=/handlers".to_owned(),
        "keys=/keys".to_owned(),
        "clears=/clears?cleared=product%3A7".to_owned(),
    ];
    for (number, key) in awkward_keys().iter().enumerate() {
        let key = percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC);
        let entries = json(&app, &format!("/key.json?key={key}")).await;
        let entry = &entries["entries"][0];
        let (version, id) = (entry["version"].as_str(), entry["id"].as_str());
        let (Some(version), Some(id)) = (version, id) else {
            panic!("{key}: {entries}")
        };
        let version =
            percent_encoding::utf8_percent_encode(version, percent_encoding::NON_ALPHANUMERIC);
        views.push(format!("key-{number}=/key?key={key}"));
        views.push(format!("entry-{number}=/entry?version={version}&id={id}"));
        if number == 0 {
            views.push(format!("question=/question?what=key&name={key}"));
        }
    }
    let all: Vec<_> = views.iter().map(String::as_str).collect();
    let said = node("looks.mjs", &[&[&*admin], &all[..]].concat()).await;
    assert_eq!(said.matches("ok ").count(), 4 * views.len(), "{said}");
    drop(hold);

    server.kill();
    for key in awkward_keys() {
        cache.clear(&key).await.unwrap_err();
    }
    let views = [
        "down-overview=/overview",
        "down-handlers=/handlers",
        "down-keys=/keys",
        "down-clears=/clears",
        "down-question=/question?what=key&name=product%3A7",
    ];
    let said = node("looks.mjs", &[&[&*admin], &views[..]].concat()).await;
    assert_eq!(said.matches("ok ").count(), 4 * views.len(), "{said}");
}

fn evil_port(evil: &smart_cache_tests::harness::Served) -> u16 {
    evil.address().port()
}

fn chromium() -> PathBuf {
    let known = [
        "/usr/bin/chromium",
        "/usr/bin/chromium-browser",
        "/usr/bin/google-chrome",
    ];
    let found = known.iter().map(PathBuf::from).find(|path| path.exists());
    found.expect("a chromium is installed: run tests/run once")
}

#[tokio::test]
async fn a_million_entries_are_paged_and_searched_quickly() {
    let server = RedisServer::start().await;
    let fill = "for i = ARGV[1], ARGV[1] + 99999 do \
         redis.call('SADD', '{n}:n:v:item:' .. i, string.format('%040x', i)) \
         redis.call('SET', '{n}:e:v:' .. string.format('%040x', i), 'x') end";
    for start in (0..10).map(|part| part * 100_000) {
        let _ = server.cli(&["EVAL", fill, "0", &start.to_string()]);
    }
    let cache = redis_at(&server.url()).build().await.unwrap();
    let app = shop(&cache);
    let quickly = async |path: &str| {
        let began = Instant::now();
        let page = json(&app, path).await;
        let took = began.elapsed();
        println!("{path}: {took:?}, {} names looked at", page["looked_at"]);
        assert!(took < Duration::from_secs(2), "{path}: {took:?}");
        page
    };
    let mut path = "/keys.json".to_owned();
    for _ in 0..5 {
        let page = quickly(&path).await;
        let keys = page["keys"].as_array().unwrap().len();
        assert!((50..=300).contains(&keys), "{keys}");
        path = format!("/keys.json?from={}", page["next"].as_str().unwrap());
    }
    let exact = quickly("/keys.json?search=item:765432").await;
    assert_eq!(exact["keys"][0]["key"], "item:765432");
    // Something rare, which only a look at everything finds.
    let (mut from, mut found, mut pages) = (String::new(), 0, 0);
    loop {
        let page = quickly(&format!("/keys.json?search=*m:99999%3F{from}")).await;
        found += page["keys"].as_array().unwrap().len();
        pages += 1;
        match page["next"].as_str() {
            Some(next) => from = format!("&from={next}"),
            None => break,
        }
    }
    assert_eq!(found, 10);
    println!("a search through everything took {pages} pages");
    assert_eq!(see(&app, "/overview").await.status, 200);
    // Neither of what would stop the server for everybody.
    let commands = server.cli(&["INFO", "commandstats"]);
    assert!(commands.contains("cmdstat_scan:"), "{commands}");
    for slow in ["cmdstat_keys:", "cmdstat_smembers:"] {
        assert!(!commands.contains(slow), "{commands}");
    }
}
