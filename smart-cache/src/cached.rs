//! What an annotated handler returns.

use axum::response::{IntoResponse, Response};

/// The result of an annotated handler: its own value when it was called as a plain function,
/// and the answer, from wherever it came, when it served a request.
#[derive(Debug)]
pub struct Cached<T>(Outcome<T>);

#[derive(Debug)]
enum Outcome<T> {
    Value(T),
    Response(Response),
}

impl<T> Cached<T> {
    pub(crate) fn value(value: T) -> Self {
        Self(Outcome::Value(value))
    }

    pub(crate) fn response(response: Response) -> Self {
        Self(Outcome::Response(response))
    }

    /// The handler's own value, after a call with [`uncached`](crate::uncached).
    ///
    /// # Panics
    /// When a request was served: then there is an answer and no value.
    #[must_use]
    #[track_caller]
    pub fn into_value(self) -> T {
        match self.0 {
            Outcome::Value(value) => value,
            Outcome::Response(_) => panic!(
                "this handler served a request: call it with smart_cache::uncached() to get its value"
            ),
        }
    }
}

impl<T: IntoResponse> IntoResponse for Cached<T> {
    fn into_response(self) -> Response {
        match self.0 {
            Outcome::Value(value) => value.into_response(),
            Outcome::Response(response) => response,
        }
    }
}
