//! The page in a real browser, driven by the script in `tests/browser`; and a million entries.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use axum::Router;
use axum::response::Html;
use axum::routing::get as on_get;
use smart_cache_tests::harness::{RedisServer, serve};
use tokio::process::Command;

use super::{json, see, shop};
use crate::road::redis_at;

/// Longest that the whole script may take, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_sound_in_a_browser() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    install(&folder).await;
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
    let script = Command::new("node")
        .current_dir(&folder)
        .arg("admin.mjs")
        .arg(format!("http://{address}/admin/cache"))
        .arg(format!("http://{address}"))
        .arg(&evil)
        .env("CHROMIUM", chromium())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, script)
        .await
        .expect("the script has ended")
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    assert!(output.status.success(), "{said}\n{complained}");
    let checks = said.lines().filter(|line| line.starts_with("ok ")).count();
    assert_eq!(checks, 11, "{said}");
}

fn evil_port(evil: &smart_cache_tests::harness::Served) -> u16 {
    evil.address().port()
}

/// What the script needs of npm, once for a checkout.
async fn install(folder: &Path) {
    if folder.join("node_modules/puppeteer-core").exists()
        && folder.join("node_modules/axe-core").exists()
    {
        return;
    }
    let npm = Command::new("npm")
        .current_dir(folder)
        .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
        .output()
        .await
        .expect("npm is installed: run tests/run once");
    let complained = String::from_utf8_lossy(&npm.stderr);
    assert!(npm.status.success(), "npm ci failed: {complained}");
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
