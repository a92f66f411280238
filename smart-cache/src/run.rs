//! A handler's run: the future that answers one request, and whether it may outlive it.

use std::future::Future;

use axum::response::{IntoResponse, Response};

use crate::backend::BoxFuture;

/// One run of a handler, not started yet.
#[derive(Debug)]
pub(crate) struct Run<F> {
    /// The handler.
    pub(crate) future: F,
    detach: fn(F) -> Result<BoxFuture<'static, Response>, F>,
}

impl<F, T> Run<F>
where
    F: Future<Output = T>,
    T: IntoResponse,
{
    /// A run that ends with its request: the future may borrow from it, or stay on its thread.
    pub(crate) fn attached(future: F) -> Self {
        Self {
            future,
            detach: Err,
        }
    }

    /// A run that may go on in a task of its own, after its request has had another answer.
    pub(crate) fn detachable(future: F) -> Self
    where
        F: Send + 'static,
    {
        Self {
            future,
            detach: |future| Ok(Box::pin(async move { future.await.into_response() })),
        }
    }

    /// The run as a future that can be spawned; given back if it cannot.
    pub(crate) fn detach(self) -> Result<BoxFuture<'static, Response>, Self> {
        (self.detach)(self.future).map_err(|future| Self { future, ..self })
    }
}
