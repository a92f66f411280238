//! Renaming and repricing a product.

use serde::Deserialize;

use crate::db::Db;
use crate::error::AppError;
use crate::money::{self, HIGHEST_CENTS};
use crate::posted::blank_is_none;

pub(super) const LONGEST_NAME: usize = 120;

/// What is to become of a product; what is absent stays as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    name: Option<String>,
    price_cents: Option<i64>,
}

/// The same as a form sends it: the price is text such as `12.50`, and blank is absent.
#[derive(Debug, Deserialize)]
pub(crate) struct EditForm {
    name: Option<String>,
    #[serde(default, deserialize_with = "blank_is_none")]
    price: Option<String>,
}

impl EditForm {
    pub(super) fn into_change(self) -> Result<Change, AppError> {
        let price_cents = match self.price {
            None => None,
            Some(text) => Some(money::parse_cents(&text).ok_or_else(|| {
                AppError::invalid(format!("price must look like 12.50, not {text:?}"))
            })?),
        };
        Ok(Change {
            name: self.name,
            price_cents,
        })
    }
}

impl Change {
    pub(super) async fn apply(self, db: &Db, id: i64) -> Result<(), AppError> {
        let Self { name, price_cents } = self.checked()?;
        let changed = sqlx::query(
            "UPDATE products
             SET name = coalesce(?2, name), price_cents = coalesce(?3, price_cents)
             WHERE id = ?1",
        )
        .bind(id)
        .bind(name)
        .bind(price_cents)
        .execute(db.pool())
        .await?;
        if changed.rows_affected() == 0 {
            return Err(AppError::no_product(id));
        }
        Ok(())
    }

    fn checked(self) -> Result<Self, AppError> {
        let name = self.name.map(|name| name.trim().to_owned());
        if name.is_none() && self.price_cents.is_none() {
            return Err(AppError::invalid(
                "nothing to change: send name, price_cents or both",
            ));
        }
        if let Some(name) = &name
            && (name.is_empty() || name.chars().count() > LONGEST_NAME)
        {
            let message = format!("name must have from 1 to {LONGEST_NAME} characters");
            return Err(AppError::invalid(message));
        }
        if let Some(cents) = self.price_cents
            && !(0..=HIGHEST_CENTS).contains(&cents)
        {
            let message = format!("price_cents must be from 0 to {HIGHEST_CENTS}, not {cents}");
            return Err(AppError::invalid(message));
        }
        Ok(Self { name, ..self })
    }
}
