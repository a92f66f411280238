//! aide documents a cached handler as if it were not cached.

use aide::{OperationInput, OperationOutput};

use crate::cached::Cached;
use crate::context::CacheContext;

impl<H> OperationInput for CacheContext<H> {}

impl<T: OperationOutput> OperationOutput for Cached<T> {
    type Inner = T::Inner;

    fn operation_response(
        context: &mut aide::generate::GenContext,
        operation: &mut aide::openapi::Operation,
    ) -> Option<aide::openapi::Response> {
        T::operation_response(context, operation)
    }

    fn inferred_responses(
        context: &mut aide::generate::GenContext,
        operation: &mut aide::openapi::Operation,
    ) -> Vec<(Option<u16>, aide::openapi::Response)> {
        T::inferred_responses(context, operation)
    }
}
