//! One request on its way through a layer.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::Method;
use tower_service::Service;

use super::seen::{Behind, ask, is_write};
use super::settings::Settings;
use crate::cache::SmartCache;
use crate::run;
use crate::serve::serve;
use crate::stats::{Counted, Origin};
use crate::write::ClearGuard;

/// What a [`CacheLayer`](super::CacheLayer) makes of a service: the same answers, most of them
/// without asking it.
#[derive(Debug, Clone)]
pub struct CacheService<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> CacheService<S> {
    pub(super) fn new(inner: S, settings: Settings) -> Self {
        Self {
            inner,
            settings: Arc::new(settings),
        }
    }
}

impl<S> Service<Request> for CacheService<S>
where
    S: Service<Request, Error = Infallible> + Clone + Send + 'static,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The one that is ready answers; its clone waits for the next request.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let settings = Arc::clone(&self.settings);
        Box::pin(async move { Ok(answer(&settings, inner, request).await) })
    }
}

async fn answer<S>(settings: &Settings, mut inner: S, request: Request) -> Response
where
    S: Service<Request, Error = Infallible> + Send + 'static,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    let router = request.extensions().get::<SmartCache>().cloned();
    let cache = settings.cache(router).await;
    let (mut parts, body) = request.into_parts();
    let guard = is_write(&parts.method).then(|| ClearGuard {
        cache: cache.clone(),
        name: settings.cache_name(),
        keys: settings.clears.iter().flat_map(|of| of(&parts)).collect(),
    });
    let asked = cache
        .as_ref()
        .map(|cache| ask(cache, settings, &parts, &body));
    let is_head = parts.method == Method::HEAD;
    let behind = Behind::this(&parts);
    let run = async move {
        parts.extensions.insert(behind);
        match inner.call(Request::from_parts(parts, body)).await {
            Ok(response) => response.into_response(),
            Err(never) => match never {},
        }
    };
    let mut response = match cache.zip(asked) {
        Some((cache, asked)) => {
            let origin = Origin::layer(&settings.name, settings.place);
            let asked = asked.as_ref().map_err(|bypass| *bypass);
            serve(&Counted::new(&cache, origin), asked, run::detachable(run)).await
        }
        None => run.await,
    };
    if is_head {
        // Outside a router nobody else takes away the body of a stored GET.
        *response.body_mut() = Body::empty();
    }
    if let Some(guard) = guard {
        guard.answered(response.status()).await;
    }
    response
}
