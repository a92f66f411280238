//! Spans: the way of a request through the cache stands in the request's own trace.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use axum::extract::Path;
use axum::routing::get as on_get;
use axum::{Extension, Router};
use smart_cache::{SmartCache, smart_cache};
use smart_cache_tests::harness::RedisServer;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Instrument as _, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use crate::road::{get, redis_at, stored};

#[smart_cache("traced:{id}")]
async fn traced(Path(id): Path<String>) -> String {
    tracing::info_span!("query").in_scope(|| id)
}

#[derive(Debug, Default, Clone)]
struct Seen {
    name: &'static str,
    parent: Option<u64>,
    fields: BTreeMap<&'static str, String>,
}

/// Every span of this thread, by its id.
#[derive(Debug, Default, Clone)]
struct Spans(Arc<Mutex<BTreeMap<u64, Seen>>>);

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut seen = Seen {
            name: attributes.metadata().name(),
            ..Seen::default()
        };
        attributes.record(&mut Fields(&mut seen.fields));
        let span = context.span(id).unwrap();
        seen.parent = span.parent().map(|parent| parent.id().into_u64());
        self.0.lock().unwrap().insert(id.into_u64(), seen);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut spans = self.0.lock().unwrap();
        let seen = spans.get_mut(&id.into_u64()).unwrap();
        values.record(&mut Fields(&mut seen.fields));
    }
}

impl Spans {
    /// The span of this name, as `parent > name`, with its fields.
    #[track_caller]
    fn one(&self, name: &str) -> (String, BTreeMap<&'static str, String>) {
        let spans = self.0.lock().unwrap();
        let mut found = spans.values().filter(|seen| seen.name == name);
        let seen = found
            .next()
            .unwrap_or_else(|| panic!("no span {name}: {spans:?}"));
        assert!(found.next().is_none(), "one span {name}: {spans:?}");
        let parent = seen.parent.map_or("", |id| spans[&id].name);
        (format!("{parent} > {name}"), seen.fields.clone())
    }

    fn forget(&self) {
        self.0.lock().unwrap().clear();
    }
}

async fn served() -> (SmartCache, Router, RedisServer) {
    let server = RedisServer::start().await;
    let cache = redis_at(&server.url()).build().await.unwrap();
    let app = Router::new()
        .route("/traced/{id}", on_get(traced))
        .layer(Extension(cache.clone()));
    (cache, app, server)
}

#[tokio::test]
async fn the_spans_of_a_request_join_its_trace() {
    let (cache, app, _server) = served().await;
    let spans = Spans::default();
    let subscriber = tracing_subscriber::registry().with(
        spans
            .clone()
            .with_filter(LevelFilter::from_level(Level::DEBUG)),
    );
    let _listening = tracing::subscriber::set_default(subscriber);

    let ask = || get(&app, "/traced/7").instrument(tracing::info_span!("request"));
    ask().await;
    stored(&cache, 1).await;
    let (place, fields) = spans.one("cache");
    assert_eq!(place, "request > cache");
    assert_eq!(
        (&*fields["key"], &*fields["result"]),
        ("traced:{id}", "miss")
    );
    for (name, outcome) in [("lookup", "miss"), ("turn", "lead"), ("store", "stored")] {
        let (place, fields) = spans.one(name);
        assert_eq!(place, format!("cache > {name}"));
        assert_eq!(fields["outcome"], outcome);
    }
    assert_eq!(spans.one("query").0, "cache > query");

    spans.forget();
    ask().await;
    let (_, fields) = spans.one("cache");
    assert_eq!(fields["result"], "hit");
    assert_eq!(spans.one("lookup").1["outcome"], "hit");

    spans.forget();
    let write = cache
        .clear("traced:7")
        .instrument(tracing::info_span!("write"));
    write.await.unwrap();
    let (place, fields) = spans.one("clear");
    assert_eq!(place, "write > clear");
    assert_eq!(fields["outcome"], "acknowledged");
}

#[tokio::test]
async fn a_log_at_info_makes_no_spans() {
    let (cache, app, _server) = served().await;
    let spans = Spans::default();
    let subscriber =
        tracing_subscriber::registry().with(spans.clone().with_filter(LevelFilter::INFO));
    let _listening = tracing::subscriber::set_default(subscriber);
    get(&app, "/traced/7").await;
    stored(&cache, 1).await;
    get(&app, "/traced/7").await;
    cache.clear("traced:7").await.unwrap();
    let names: Vec<_> = spans
        .0
        .lock()
        .unwrap()
        .values()
        .map(|seen| seen.name)
        .collect();
    assert_eq!(names, ["query"], "the handler's own alone");
}
