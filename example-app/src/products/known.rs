//! The product that a request is about.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use crate::db::Db;
use crate::error::AppError;

/// The product that the path names; a request for one that is not there is refused.
///
/// It tells a write what to clear before the write begins, and a page what it depends on before it
/// is computed: the product, and the category that it is in.
#[derive(Clone, Debug)]
pub(crate) struct KnownProduct {
    pub(crate) id: i64,
    pub(crate) category: String,
}

impl KnownProduct {
    async fn of(db: &Db, id: i64) -> Result<Self, AppError> {
        let category: Option<String> = sqlx::query_scalar(
            "SELECT c.slug FROM products AS p JOIN categories AS c ON c.id = p.category_id
             WHERE p.id = ?1",
        )
        .bind(id)
        .fetch_optional(db.pool())
        .await?;
        let category = category.ok_or_else(|| AppError::no_product(id))?;
        Ok(Self { id, category })
    }
}

impl FromRequestParts<Db> for KnownProduct {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, db: &Db) -> Result<Self, Response> {
        let Path(id) = Path::from_request_parts(parts, db)
            .await
            .map_err(IntoResponse::into_response)?;
        Self::of(db, id).await.map_err(IntoResponse::into_response)
    }
}
