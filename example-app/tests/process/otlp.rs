//! The shop's traces, as a collector receives them.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use http::Request;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use smart_cache_tests::harness::{RedisServer, Served, eventually, serve};

use crate::shop::{Shop, hit};

/// A collector as small as can be: OTLP over HTTP, protobuf.
#[derive(Debug, Clone, Default)]
struct Collector {
    received: Arc<Mutex<Received>>,
}

#[derive(Debug, Default)]
struct Received {
    services: Vec<String>,
    spans: Vec<Span>,
}

async fn receive(State(collector): State<Collector>, body: Bytes) -> Vec<u8> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mut received = collector.received.lock().unwrap();
    for resource in request.resource_spans {
        let of = resource.resource.unwrap_or_default();
        received.services.extend(
            of.attributes
                .iter()
                .filter(|attribute| attribute.key == "service.name")
                .map(|attribute| format!("{:?}", attribute.value)),
        );
        for scope in resource.scope_spans {
            received.spans.extend(scope.spans);
        }
    }
    Vec::new()
}

impl Collector {
    async fn listening() -> (Self, Served) {
        let collector = Self::default();
        let router = Router::new()
            .route("/v1/traces", post(receive))
            .with_state(collector.clone());
        (collector, serve(router).await)
    }

    /// The spans of one trace, once there are so many of this name.
    async fn trace(&self, id: &str, name: &str, count: usize) -> Vec<Span> {
        eventually(format!("{count} spans {name}"), async || {
            let received = self.received.lock().unwrap();
            let mut spans = received.spans.clone();
            spans.retain(|span| hex(&span.trace_id) == id);
            (spans.iter().filter(|span| span.name == name).count() >= count).then_some(spans)
        })
        .await
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|found| found.key == name);
    let value = found.and_then(|found| found.value.as_ref()?.value.clone());
    match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn named<'s>(spans: &'s [Span], name: &str) -> Vec<&'s Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

#[tokio::test]
async fn the_spans_of_the_cache_join_the_trace_of_the_request() {
    let (collector, served) = Collector::listening().await;
    let redis = RedisServer::start().await;
    let endpoint = format!("http://{}", served.address());
    let environment = [
        ("SMART_REDIS_URL", &*redis.url()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ];
    let mut process = Shop::start(&environment);
    let shop = process.client().await;
    let (trace, sender) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let ask = async || {
        let request = Request::get("/products/7")
            .header("traceparent", format!("00-{trace}-{sender}-01"))
            .body(Bytes::new());
        shop.send(request.unwrap()).await
    };
    assert_eq!(ask().await.status(), 200);
    let spans = collector.trace(trace, "store", 1).await;
    let request = named(&spans, "GET /products/{id}")[0];
    assert_eq!(hex(&request.parent_span_id), sender);
    assert_eq!(attribute(request, "http.route"), "/products/{id}");
    assert_eq!(attribute(request, "http.response.status_code"), "200");
    let cache = named(&spans, "cache")[0];
    assert_eq!(cache.parent_span_id, request.span_id);
    assert_eq!(attribute(cache, "key"), "product:{product.id}");
    assert_eq!(attribute(cache, "result"), "miss");
    for inner in ["lookup", "turn", "store"] {
        let inner = named(&spans, inner)[0];
        assert_eq!(inner.parent_span_id, cache.span_id, "{}", inner.name);
    }
    assert!(
        named(&spans, "store")[0].end_time_unix_nano >= request.end_time_unix_nano,
        "the answer does not wait for it"
    );

    hit(shop, "/products/7").await;
    assert_eq!(ask().await.status(), 200);
    let spans = collector.trace(trace, "cache", 2).await;
    let results: Vec<_> = named(&spans, "cache")
        .iter()
        .map(|span| attribute(span, "result"))
        .collect();
    assert!(results.contains(&"hit".to_owned()), "{results:?}");
    assert_eq!(named(&spans, "store").len(), 1, "a hit stores nothing");

    // What is on its way when the shop is told to stop arrives all the same.
    let last = Request::get("/categories/garden")
        .header("traceparent", format!("00-{}-{sender}-01", "5".repeat(32)))
        .body(Bytes::new());
    assert_eq!(shop.send(last.unwrap()).await.status(), 200);
    process.stop();
    assert!(process.ended().await.success());
    let spans = collector.trace(&"5".repeat(32), "cache", 1).await;
    assert_eq!(named(&spans, "GET /categories/{slug}").len(), 1);
    let services = collector.received.lock().unwrap().services.clone();
    assert!(
        services.iter().all(|name| name.contains("shop")),
        "{services:?}"
    );
}
