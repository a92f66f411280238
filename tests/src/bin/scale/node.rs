//! One process of the fleet: it reads its pages, and looks at the probes all the time.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Extension, Router};
use smart_cache::{SmartCache, smart_cache};
use smart_cache_tests::harness::{eventually, number_after, text_after};

use super::shared::{Phase, Shared, ask, cache, micros, number};

/// How often a process reads some of its pages.
const TICKS: u64 = 100;

/// Never cleared; what happens to these happens because others are.
#[smart_cache("page:{id}", tags("pages"))]
async fn page(Path(id): Path<u64>) -> String {
    format!("{id:0>1024}")
}

/// Cleared once in a while, with a new version each time.
#[smart_cache("probe:{id}")]
async fn probe(State(shared): State<Arc<Shared>>, Path(id): Path<u64>) -> String {
    shared.version(id).to_string()
}

/// Cleared by the thousand, each once.
#[smart_cache("item:{id}")]
pub(crate) async fn item(Path(id): Path<u64>) -> String {
    format!("{id:0>64}")
}

struct Node {
    cache: SmartCache,
    router: Router,
    shared: Arc<Shared>,
}

/// Requests for pages, and how they were answered.
#[derive(Clone, Copy, Debug, Default)]
struct Pages {
    all: u64,
    local: u64,
}

pub(crate) async fn run() -> ExitCode {
    let wanted = |flag| number_after(flag).unwrap_or_else(|| panic!("{flag} N"));
    let file = text_after("--shared").expect("--shared FILE");
    let shared = Arc::new(Shared::open(FilePath::new(&file)));
    let cache = cache(&text_after("--url").expect("--url URL"), |builder| builder).await;
    let router = Router::new()
        .route("/page/{id}", get(page))
        .route("/probe/{id}", get(probe))
        .layer(Extension(cache.clone()))
        .with_state(Arc::clone(&shared));
    let node = Arc::new(Node {
        cache,
        router,
        shared,
    });
    eventually("a live local tier", async || {
        let local = node.cache.stats().local;
        local.is_some_and(|local| local.live).then_some(())
    })
    .await;
    let (working, reads) = (wanted("--working"), wanted("--reads"));
    for page in 0..working {
        ask(&node.router, &format!("/page/{page}")).await;
    }
    println!("ready");
    let looking = {
        let (node, probes) = (Arc::clone(&node), wanted("--probes"));
        let pause = Duration::from_micros(wanted("--poll-us"));
        tokio::spawn(async move { node.look(probes, pause).await })
    };
    let [quiet, clearing] = node.read(working, reads).await;
    for ((probe, version), last) in looking.await.expect("no panic") {
        println!("saw {probe} {version} {last}");
    }
    for (phase, pages) in [("quiet", quiet), ("clearing", clearing)] {
        println!("{phase} {} {}", pages.all, pages.local);
    }
    ExitCode::SUCCESS
}

impl Node {
    /// When the last request began that was answered with each version of each probe.
    async fn look(&self, probes: u64, pause: Duration) -> BTreeMap<(u64, u64), u64> {
        let mut seen = BTreeMap::new();
        let mut ticks = tokio::time::interval(pause);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while self.shared.phase() != Phase::End {
            ticks.tick().await;
            for probe in 0..probes {
                let began = micros();
                let answer = ask(&self.router, &format!("/probe/{probe}")).await;
                seen.insert((probe, number(&answer)), began);
            }
        }
        seen
    }

    /// Reads pages in turn, so many a second; what came of it while nobody cleared and while many did.
    async fn read(&self, working: u64, reads: u64) -> [Pages; 2] {
        let mut next = 0;
        let mut ticks = tokio::time::interval(Duration::from_millis(1000 / TICKS));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let (mut phase, mut since) = (Phase::Warm, Pages::default());
        let mut counted = [Pages::default(); 2];
        loop {
            ticks.tick().await;
            let now = self.shared.phase();
            if now != phase {
                let pages = self.pages();
                let grown = Pages {
                    all: pages.all - since.all,
                    local: pages.local - since.local,
                };
                match phase {
                    Phase::Quiet => counted[0] = grown,
                    Phase::Clearing => counted[1] = grown,
                    _ => {}
                }
                (phase, since) = (now, pages);
            }
            if phase == Phase::End {
                return counted;
            }
            for _ in 0..reads.div_ceil(TICKS) {
                ask(&self.router, &format!("/page/{}", next % working.max(1))).await;
                next += 1;
            }
        }
    }

    fn pages(&self) -> Pages {
        let handlers = self.cache.handler_stats();
        let page = handlers.iter().find(|handler| handler.key == "page:{id}");
        page.map_or(Pages::default(), |page| Pages {
            all: page.hits + page.misses + page.collapsed,
            local: page.local_hits,
        })
    }
}
