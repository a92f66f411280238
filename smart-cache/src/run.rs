//! A handler's run: the future that answers one request, and whether it may outlive it.
//!
//! The handler stands on the heap by itself. The road that leads to it would else carry it through
//! each of its steps, and be compiled for each handler.

use std::future::Future;
use std::pin::Pin;

use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;

use crate::backend::BoxFuture;

/// One run of a handler, not started yet.
#[derive(Debug)]
pub(crate) struct Run<F> {
    /// The handler.
    pub(crate) future: F,
    detach: fn(F) -> Result<BoxFuture<'static, Response>, F>,
}

/// A run that may go on in a task of its own, after its request has had another answer.
pub(crate) fn detachable<F>(handler: F) -> Run<BoxFuture<'static, Response>>
where
    F: Future<Output: IntoResponse> + Send + 'static,
{
    Run {
        future: Box::pin(handler.map(IntoResponse::into_response)),
        detach: Ok,
    }
}

/// A run that ends with its request: the future may borrow from it, or stay on its thread.
pub(crate) fn attached<T: IntoResponse>(
    handler: impl Future<Output = T>,
) -> Run<Pin<Box<impl Future<Output = Response>>>> {
    Run {
        future: Box::pin(handler.map(IntoResponse::into_response)),
        detach: Err,
    }
}

impl<F> Run<F> {
    /// The run as a future that can be spawned; given back if it cannot.
    pub(crate) fn detach(self) -> Result<BoxFuture<'static, Response>, Self> {
        (self.detach)(self.future).map_err(|future| Self { future, ..self })
    }
}
