//! The shop as a process of its own, and the `sqlite3` shell as another that writes to its file.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use smart_cache_tests::harness::{Client, RedisServer, eventually, sqlite3};
use tempfile::TempDir;

/// A running shop in a folder of its own; killed when it drops.
struct Shop {
    process: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Shop {
    /// Starts the shop as anybody would, with these variables of the cache.
    fn open(folder: TempDir, cache: &[(&str, &str)]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_example-app"))
            .current_dir(folder.path())
            .env("PORT", "0")
            .env("RUST_LOG", "info")
            .env("SMART_REDIS_SETTLE", "0")
            .envs(cache.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut triggers = 0;
        let address = loop {
            let line = lines.next().expect("the shop opens").unwrap();
            triggers += usize::from(line.contains("cleared by triggers"));
            assert!(!line.contains("nothing that is known"), "{line}");
            assert!(!line.contains("no annotated handler is cached"), "{line}");
            if let Some((_, address)) = line.split_once("the shop is open at http://") {
                break address.trim().parse().unwrap();
            }
        };
        assert_eq!(triggers, 5, "the start lists the tables");
        // A full pipe would stop the shop.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            process,
            address,
            folder,
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("shop.db")
    }

    /// The page, and whether it came from the cache.
    async fn page(&self, path: &str) -> (String, bool) {
        let answer = Client::of(self.address).get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        let hit = answer.headers()["cache-status"].to_str().unwrap() == "smart-cache; hit";
        (String::from_utf8(answer.body().to_vec()).unwrap(), hit)
    }

    async fn kept(&self, path: &str) -> String {
        eventually(format!("{path} is a hit"), async || {
            let (page, hit) = self.page(path).await;
            hit.then_some(page)
        })
        .await
    }

    /// Kills it, as a crash would; its file stays.
    fn crash(mut self) -> TempDir {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        std::mem::replace(&mut self.folder, TempDir::new().unwrap())
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn changes_of_the_shell_show(shop: &Shop) {
    for (statement, path, shows) in [
        (
            "update products set name = 'Shell Lamp' where id = 7",
            "/products/7",
            "Shell Lamp",
        ),
        (
            "insert into reviews (product_id, stars, author, text, written_at)
             values (7, 5, 'Shelly', 'By the shell.', 1700000000000)",
            "/api/products/7",
            "Shelly",
        ),
        (
            "update categories set name = 'Shell Kitchen' where slug = 'kitchen'",
            "/categories/kitchen",
            "Shell Kitchen",
        ),
        (
            "update products set name = 'Renamed ' || id",
            "/products?sort=name",
            "Renamed 1",
        ),
    ] {
        let before = shop.kept(path).await;
        assert!(!before.contains(shows), "{path} shows {shows} before");
        sqlite3(&shop.file(), statement);
        let written = Instant::now();
        eventually(format!("{path} shows {shows}"), async || {
            shop.page(path).await.0.contains(shows).then_some(())
        })
        .await;
        let took = written.elapsed();
        // All ten thousand products at once take a debug build longer.
        let most = if statement.contains("where") || statement.contains("insert") {
            1
        } else {
            8
        };
        assert!(took < Duration::from_secs(most), "{statement}: {took:?}");
    }
}

#[tokio::test]
async fn a_row_that_the_shell_changes_is_gone_from_the_shops_memory() {
    let memory = [("SMART_REDIS_BACKEND", "memory")];
    let shop = Shop::open(TempDir::new().unwrap(), &memory);
    changes_of_the_shell_show(&shop).await;
}

#[tokio::test]
async fn a_row_that_the_shell_changes_is_gone_from_redis_also_while_the_shop_was_dead() {
    let server = RedisServer::start().await;
    let url = server.url();
    let redis = [
        ("SMART_REDIS_URL", url.as_str()),
        ("SMART_REDIS_RESTART_AND_CLEAR_CACHE", "false"),
    ];
    let shop = Shop::open(TempDir::new().unwrap(), &redis);
    changes_of_the_shell_show(&shop).await;
    let path = "/products/9";
    shop.kept(path).await;
    let folder = shop.crash();
    sqlite3(
        &folder.path().join("shop.db"),
        "update products set name = 'While it was dead' where id = 9",
    );
    let shop = Shop::open(folder, &redis);
    eventually("the new name is shown", async || {
        shop.page(path)
            .await
            .0
            .contains("While it was dead")
            .then_some(())
    })
    .await;
}
