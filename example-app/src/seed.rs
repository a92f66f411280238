//! The shop's catalogue: made up, but the same on every machine.
//!
//! All of it follows from one fixed number, so a test or a measurement can name product 7
//! and everybody sees the same one. It is written in the transaction that also made the
//! schema: a start that is killed leaves an empty file, never half a shop.

mod categories;
mod random;
mod words;

use std::time::Instant;

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use self::categories::{CATEGORIES, Category};
use self::random::Random;
use self::words::{ADJECTIVES, AUTHORS, CARE, MAKERS, OPINIONS, TOWNS};
use crate::stock::WAREHOUSES;

const SEED: u64 = 0x5EED_CAFE;
/// Rows in one INSERT: far below SQLite's limit of 32 766 bound values.
const BATCH: usize = 1000;
/// 2025-12-31: the day of the latest review, fixed so that the data never depends on the clock.
const LATEST_REVIEW: i64 = 1_767_139_200;
const SECONDS_A_DAY: u64 = 86_400;

/// Fills the shop unless that has been done.
pub(crate) async fn fill_if_empty(
    connection: &mut SqliteConnection,
    products: u32,
) -> Result<(), sqlx::Error> {
    let filled: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM products)")
        .fetch_one(&mut *connection)
        .await?;
    if filled {
        return Ok(());
    }
    tracing::info!("the shop is empty: making {products} products");
    let started = Instant::now();
    let catalogue = Catalogue::new(products);
    catalogue.write(connection).await?;
    tracing::info!(
        "made {products} products with {} reviews in {:.1?}",
        catalogue.reviews.len(),
        started.elapsed()
    );
    Ok(())
}

struct Product {
    id: i64,
    category_id: i64,
    name: String,
    maker: &'static str,
    description: String,
    price_cents: i64,
}

struct Review {
    product_id: i64,
    stars: i64,
    author: &'static str,
    text: String,
    written_at: i64,
}

struct Shelf {
    product_id: i64,
    warehouse: &'static str,
    quantity: i64,
}

#[derive(Default)]
struct Catalogue {
    products: Vec<Product>,
    reviews: Vec<Review>,
    shelves: Vec<Shelf>,
}

impl Catalogue {
    fn new(products: u32) -> Self {
        let mut random = Random::new(SEED);
        let mut catalogue = Self::default();
        for id in 1..=i64::from(products) {
            catalogue.products.push(product(id, &mut random));
            catalogue.add_reviews(id, &mut random);
            catalogue.add_shelves(id, &mut random);
        }
        catalogue
    }

    fn add_reviews(&mut self, product_id: i64, random: &mut Random) {
        // Some things are simply better than others: one product's reviews agree, roughly.
        let liked = random.between(0, 60);
        // Most have a handful, one in eight is much talked of.
        let talked_of = random.between(0, 7) == 0;
        let count = random.between(0, 4) + if talked_of { random.between(5, 28) } else { 0 };
        for _ in 0..count {
            let stars = match liked + random.between(0, 100) {
                0..22 => 1,
                22..40 => 2,
                40..62 => 3,
                62..95 => 4,
                _ => 5,
            };
            let days_ago =
                random.between(0, 900) * SECONDS_A_DAY + random.between(0, SECONDS_A_DAY - 1);
            let (first, second) = opinions(stars, random);
            self.reviews.push(Review {
                product_id,
                stars,
                author: random.pick(&AUTHORS),
                text: format!("{first} {second}"),
                written_at: LATEST_REVIEW - days_ago.cast_signed(),
            });
        }
    }

    fn add_shelves(&mut self, product_id: i64, random: &mut Random) {
        let sold_out = random.between(0, 99) < 7;
        for warehouse in WAREHOUSES {
            let quantity = if sold_out {
                0
            } else {
                random.between(0, 40).cast_signed()
            };
            self.shelves.push(Shelf {
                product_id,
                warehouse,
                quantity,
            });
        }
    }

    async fn write(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let categories: Vec<_> = (1_i64..).zip(&CATEGORIES).collect();
        insert(
            connection,
            "categories (id, slug, name, blurb)",
            &categories,
            |mut row, (id, it)| {
                row.push_bind(*id)
                    .push_bind(it.slug)
                    .push_bind(it.name)
                    .push_bind(it.blurb);
            },
        )
        .await?;
        let products = "products (id, category_id, name, maker, description, price_cents)";
        insert(connection, products, &self.products, |mut row, it| {
            row.push_bind(it.id)
                .push_bind(it.category_id)
                .push_bind(&it.name);
            row.push_bind(it.maker)
                .push_bind(&it.description)
                .push_bind(it.price_cents);
        })
        .await?;
        let reviews = "reviews (product_id, stars, author, text, written_at)";
        insert(connection, reviews, &self.reviews, |mut row, it| {
            row.push_bind(it.product_id)
                .push_bind(it.stars)
                .push_bind(it.author);
            row.push_bind(&it.text).push_bind(it.written_at);
        })
        .await?;
        insert(
            connection,
            "stock (product_id, warehouse, quantity)",
            &self.shelves,
            |mut row, it| {
                row.push_bind(it.product_id)
                    .push_bind(it.warehouse)
                    .push_bind(it.quantity);
            },
        )
        .await
    }
}

type Row<'builder> = sqlx::query_builder::Separated<'builder, Sqlite, &'static str>;

async fn insert<T>(
    connection: &mut SqliteConnection,
    into: &'static str,
    rows: &[T],
    mut bind: impl FnMut(Row<'_>, &T),
) -> Result<(), sqlx::Error> {
    for batch in rows.chunks(BATCH) {
        let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO ");
        query.push(into).push(" ");
        query.push_values(batch, &mut bind);
        query.build().execute(&mut *connection).await?;
    }
    Ok(())
}

fn product(id: i64, random: &mut Random) -> Product {
    let index = category(random);
    let category = &CATEGORIES[index];
    let (noun, low, high) = *random.pick_ref(category.nouns);
    let material = random.pick(&category.materials);
    let maker = random.pick(&MAKERS);
    Product {
        id,
        category_id: index as i64 + 1,
        name: format!("{} {material} {noun}", random.pick(&ADJECTIVES)),
        maker,
        description: description(category, noun, material, maker, random),
        price_cents: price(low, high, random),
    }
}

/// The index of a category: the first ones are the larger ones.
fn category(random: &mut Random) -> usize {
    let last = CATEGORIES.len() as u64 - 1;
    let index = random.between(0, last).min(random.between(0, last + 4));
    // Never above `last`, which came from the length of an array.
    index as usize
}

/// A price of the kind that shops have: it ends in 00, 50 or 90.
fn price(low: u64, high: u64, random: &mut Random) -> i64 {
    let euros = random.between(low, high).min(random.between(low, high));
    (euros * 100 + random.pick(&[0, 50, 90, 90])).cast_signed()
}

fn description(
    category: &Category,
    noun: &str,
    material: &str,
    maker: &str,
    random: &mut Random,
) -> String {
    let material = material.to_lowercase();
    let (first, rest) = noun.split_at(1);
    let rest = rest.to_lowercase();
    let town = random.pick(&TOWNS);
    let purpose = random.pick(&category.purposes);
    let care = random.pick(&CARE);
    format!("{first}{rest} in {material}, made by {maker} in {town}. {purpose} {care}")
}

fn opinions(stars: i64, random: &mut Random) -> (&'static str, &'static str) {
    let (firsts, seconds) = match stars {
        1 | 2 => &OPINIONS[0],
        3 => &OPINIONS[1],
        _ => &OPINIONS[2],
    };
    (random.pick(firsts), random.pick(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_the_same_each_time() {
        let names = || Catalogue::new(50).products.into_iter().map(|it| it.name);
        assert!(names().eq(names()));
    }

    #[test]
    fn a_larger_shop_begins_with_the_smaller_one() {
        let (small, large) = (Catalogue::new(20), Catalogue::new(40));
        let reviews = |catalogue: &Catalogue| {
            let texts = catalogue.reviews.iter().filter(|it| it.product_id <= 20);
            texts.map(|it| it.text.clone()).collect::<Vec<_>>()
        };
        assert_eq!(reviews(&small), reviews(&large));
    }
}
