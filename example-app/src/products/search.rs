//! Finding products: words and filters in, one page of products and the facets out.
//!
//! A facet counts what choosing one of its values would give, so each is counted under all
//! filters but its own. Nothing here is indexed for the words: that is the honest price of
//! a search for any part of a word, and what the cache is for.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use super::choice::{Choice, Price, Sort, Stars, Stock};
use crate::db::Db;
use crate::error::AppError;
use crate::listing::Listing;
use crate::posted::blank_is_none;

pub(super) const LONGEST_QUESTION: usize = 100;
const PAGE_SIZE: u32 = 24;

/// What is looked for, as the query string has it, both read and written.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Search {
    #[serde(deserialize_with = "blank_is_none")]
    pub(super) category: Option<String>,
    #[serde(deserialize_with = "blank_is_none")]
    pub(super) q: Option<String>,
    #[serde(deserialize_with = "blank_is_none")]
    pub(super) price: Option<Price>,
    #[serde(deserialize_with = "blank_is_none")]
    pub(super) stars: Option<Stars>,
    #[serde(deserialize_with = "blank_is_none")]
    pub(super) stock: Option<Stock>,
    #[serde(deserialize_with = "blank_is_none")]
    pub(super) sort: Option<Sort>,
    #[serde(deserialize_with = "blank_is_none")]
    pub(super) page: Option<NonZeroU32>,
}

/// One page of what was found.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(super) total: i64,
    pub(super) page: u32,
    pub(super) pages: u32,
    pub(super) products: Vec<Listing>,
    pub(super) facets: Vec<Facet>,
}

/// What one value of a filter would give.
#[derive(Debug, FromRow, Serialize)]
pub(crate) struct Facet {
    pub(super) parameter: String,
    pub(super) value: String,
    pub(super) label: String,
    pub(super) products: i64,
}

/// Puts what has the words in front of a query: `?1` holds them as a JSON array.
macro_rules! matching_words {
    ($query:literal) => {
        concat!(
            "WITH matching AS MATERIALIZED (
                SELECT *, coalesce(rating, 0) AS mean FROM listing WHERE NOT EXISTS (
                    SELECT 1 FROM json_each(?1) AS word WHERE instr(
                        lower(name || ' ' || maker || ' ' || category_name || ' ' || description),
                        word.value
                    ) = 0
                )
            ) ",
            $query
        )
    };
}

impl Results {
    pub(super) async fn of(db: &Db, search: &Search) -> Result<Self, AppError> {
        let words = search.words()?;
        let mut facets = search.facets(db, &words).await?;
        let total = facets
            .extract_if(.., |facet| facet.parameter == "total")
            .map(|f| f.products)
            .sum();
        let pages = u32::try_from(total)
            .unwrap_or(u32::MAX)
            .div_ceil(PAGE_SIZE)
            .max(1);
        Ok(Self {
            total,
            page: search.page(),
            pages,
            products: search.products(db, &words).await?,
            facets,
        })
    }

    /// The facets of one parameter.
    pub(super) fn facets_of(&self, parameter: &str) -> impl Iterator<Item = &Facet> {
        self.facets
            .iter()
            .filter(move |facet| facet.parameter == parameter)
    }
}

impl Search {
    fn page(&self) -> u32 {
        self.page.map_or(1, NonZeroU32::get)
    }

    /// The words that a product must have, as a JSON array.
    fn words(&self) -> Result<String, AppError> {
        let question = self.q.as_deref().unwrap_or_default();
        if question.chars().count() > LONGEST_QUESTION {
            let message = format!("q must have at most {LONGEST_QUESTION} characters");
            return Err(AppError::invalid(message));
        }
        // SQLite's lower() knows ASCII alone, and both sides must agree.
        let question = question.to_ascii_lowercase();
        let words: Vec<_> = question.split_whitespace().collect();
        Ok(serde_json::Value::from(words).to_string())
    }

    async fn products(&self, db: &Db, words: &str) -> Result<Vec<Listing>, sqlx::Error> {
        let sql = matching_words!(
            "SELECT * FROM matching
             WHERE (?2 IS NULL OR category = ?2) AND (?3 IS NULL OR price_band = ?3)
               AND mean >= ?4 AND (NOT ?5 OR stock > 0)
             ORDER BY
               CASE ?6 WHEN 'cheapest' THEN price_cents WHEN 'dearest' THEN -price_cents END,
               CASE ?6 WHEN 'name' THEN name END,
               score DESC, id
             LIMIT ?7 OFFSET ?8"
        );
        sqlx::query_as(sql)
            .bind(words)
            .bind(self.category.as_deref())
            .bind(self.price.map(Choice::value))
            .bind(self.stars.map_or(0, Stars::least))
            .bind(self.stock.is_some())
            .bind(self.sort.unwrap_or(Sort::Best).value())
            .bind(PAGE_SIZE)
            .bind(i64::from(self.page() - 1) * i64::from(PAGE_SIZE))
            .fetch_all(db.pool())
            .await
    }

    async fn facets(&self, db: &Db, words: &str) -> Result<Vec<Facet>, sqlx::Error> {
        let sql = matching_words!(
            "SELECT 'total' AS parameter, '' AS value, '' AS label, count(*) AS products
             FROM matching
             WHERE (?2 IS NULL OR category = ?2) AND (?3 IS NULL OR price_band = ?3)
               AND mean >= ?4 AND (NOT ?5 OR stock > 0)
             UNION ALL
             SELECT 'category', category, category_name, count(*) FROM matching
             WHERE (?3 IS NULL OR price_band = ?3) AND mean >= ?4 AND (NOT ?5 OR stock > 0)
             GROUP BY category
             UNION ALL
             SELECT 'price', price_band, '', count(*) FROM matching
             WHERE (?2 IS NULL OR category = ?2) AND mean >= ?4 AND (NOT ?5 OR stock > 0)
             GROUP BY price_band
             UNION ALL
             SELECT 'stars', CAST(least.value AS TEXT), '', count(*)
             FROM json_each('[4, 3, 2]') AS least JOIN matching ON mean >= least.value
             WHERE (?2 IS NULL OR category = ?2) AND (?3 IS NULL OR price_band = ?3)
               AND (NOT ?5 OR stock > 0)
             GROUP BY least.value
             UNION ALL
             SELECT 'stock', 'in', '', count(*) FROM matching
             WHERE (?2 IS NULL OR category = ?2) AND (?3 IS NULL OR price_band = ?3)
               AND mean >= ?4 AND stock > 0"
        );
        let mut facets: Vec<Facet> = sqlx::query_as(sql)
            .bind(words)
            .bind(self.category.as_deref())
            .bind(self.price.map(Choice::value))
            .bind(self.stars.map_or(0, Stars::least))
            .bind(self.stock.is_some())
            .fetch_all(db.pool())
            .await?;
        label::<Price>(&mut facets);
        label::<Stars>(&mut facets);
        label::<Stock>(&mut facets);
        Ok(facets)
    }
}

/// Gives the facets of a choice the choice's own words and order.
fn label<C: Choice>(facets: &mut Vec<Facet>) {
    let mut counted: Vec<_> = facets
        .extract_if(.., |facet| facet.parameter == C::PARAMETER)
        .collect();
    for choice in C::ALL {
        if let Some(at) = counted
            .iter()
            .position(|facet| facet.value == choice.value())
        {
            facets.push(Facet {
                label: choice.label().to_owned(),
                ..counted.swap_remove(at)
            });
        }
    }
}
