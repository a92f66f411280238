//! Traces for OpenTelemetry, with the feature `otlp`: where the time of a request went.
//!
//! `OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 cargo run -p example-app --features otlp`
//!
//! Every request has a span, in the trace of whoever sent it (`traceparent`). The cache's own spans
//! are inside of it: `cache` with the key's template and what came of it, `lookup` and `turn` for the
//! backend, then what the handler did, and `store`, which ends after the answer has left. Without an
//! endpoint in the environment nothing is traced; `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER` and the
//! like mean what they mean everywhere.

use axum::body::Bytes;
use axum::extract::{MatchedPath, Request};
use axum::http;
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TIMEOUT_DEFAULT,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, SpanExporter, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::field::Empty;
use tracing::{Instrument as _, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

/// What sends the spans.
#[derive(Debug)]
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// Sends to the collector that the environment names; `None` where it names none.
    ///
    /// # Errors
    /// The endpoint cannot be one.
    pub(crate) fn from_env() -> Result<Option<Self>, ExporterBuildError> {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        if !is_set(OTEL_EXPORTER_OTLP_ENDPOINT) && !is_set(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) {
            return Ok(None);
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(OnRuntime::new())
            .build()?;
        let resource = Resource::builder();
        let resource = if is_set("OTEL_SERVICE_NAME") {
            resource
        } else {
            resource.with_service_name("shop")
        };
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.build())
            .with_batch_exporter(exporter);
        Ok(Some(Self(provider.build())))
    }

    /// Takes the shop's spans and the cache's, which a log does not need and a trace does.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let spans = Targets::new()
            .with_target(env!("CARGO_CRATE_NAME"), LevelFilter::INFO)
            .with_target("smart_cache", LevelFilter::DEBUG);
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer(env!("CARGO_PKG_NAME")))
            .with_filter(spans)
    }

    /// Sends what has not been sent yet.
    pub(crate) async fn finish(self) {
        // It blocks until the last batch is on its way, over this very runtime.
        let sent = tokio::task::spawn_blocking(move || self.0.shutdown()).await;
        if let Ok(Err(why)) = sent {
            tracing::warn!("the last spans were not sent: {why}");
        }
    }
}

/// Puts a request into a span, below the one that its sender tells of.
pub(crate) async fn join(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("", MatchedPath::as_str);
    let span = tracing::info_span!(
        "request",
        otel.name = format!("{method} {route}").trim_end(),
        otel.kind = "server",
        http.request.method = %method,
        http.route = route,
        url.path = request.uri().path(),
        http.response.status_code = Empty,
    );
    let sender = TraceContextPropagator::new().extract(&HeaderExtractor(request.headers()));
    // Fails where nothing is traced.
    let _ = span.set_parent(sender);
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    response
}

/// The spans are sent by a thread of OpenTelemetry's own; the connection needs the shop's runtime.
#[derive(Debug)]
struct OnRuntime {
    client: Client<HttpConnector, Full<Bytes>>,
    runtime: Handle,
}

impl OnRuntime {
    fn new() -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build(HttpConnector::new()),
            runtime: Handle::current(),
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, HttpError> {
        let answer = self.client.request(request.map(Full::new));
        let exchange = async move {
            let (head, body) = answer.await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(http::Response::from_parts(head, body))
        };
        let patience = OTEL_EXPORTER_OTLP_TIMEOUT_DEFAULT;
        let answered = self
            .runtime
            .spawn(async move { tokio::time::timeout(patience, exchange).await });
        answered.await??
    }
}
