-- Every statement may run again: it is executed at each start.

CREATE TABLE IF NOT EXISTS categories (
    id    INTEGER PRIMARY KEY,
    slug  TEXT NOT NULL UNIQUE,
    name  TEXT NOT NULL,
    blurb TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS products (
    id          INTEGER PRIMARY KEY,
    category_id INTEGER NOT NULL REFERENCES categories (id),
    name        TEXT NOT NULL,
    maker       TEXT NOT NULL,
    description TEXT NOT NULL,
    price_cents INTEGER NOT NULL CHECK (price_cents >= 0)
) STRICT;
CREATE INDEX IF NOT EXISTS products_by_category ON products (category_id);

CREATE TABLE IF NOT EXISTS reviews (
    id         INTEGER PRIMARY KEY,
    product_id INTEGER NOT NULL REFERENCES products (id) ON DELETE CASCADE,
    stars      INTEGER NOT NULL CHECK (stars BETWEEN 1 AND 5),
    author     TEXT NOT NULL,
    text       TEXT NOT NULL,
    written_at INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS reviews_by_product ON reviews (product_id, stars);

CREATE TABLE IF NOT EXISTS stock (
    product_id INTEGER NOT NULL REFERENCES products (id) ON DELETE CASCADE,
    warehouse  TEXT NOT NULL,
    quantity   INTEGER NOT NULL CHECK (quantity >= 0),
    PRIMARY KEY (product_id, warehouse)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS cart_lines (
    visitor    TEXT NOT NULL,
    product_id INTEGER NOT NULL REFERENCES products (id) ON DELETE CASCADE,
    quantity   INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND 99),
    PRIMARY KEY (visitor, product_id)
) STRICT, WITHOUT ROWID;

-- What a list shows of a product. Nothing in it is stored twice: the rating and the stock are
-- computed from their rows each time, which is honest work for a cache to save. The score
-- ranks by rating as if five reviewers had given 3.5 stars, so one happy buyer wins nothing.
CREATE VIEW IF NOT EXISTS listing AS
SELECT *,
    CASE
        WHEN price_cents < 2500 THEN 'under-25'
        WHEN price_cents < 7500 THEN '25-75'
        WHEN price_cents < 20000 THEN '75-200'
        ELSE 'over-200'
    END AS price_band,
    (17.5 + coalesce(rating, 0) * reviews) / (5 + reviews) AS score
FROM (
    SELECT
        p.id, p.name, p.maker, p.description, p.price_cents,
        c.slug AS category, c.name AS category_name,
        (SELECT avg(stars) FROM reviews WHERE product_id = p.id) AS rating,
        (SELECT count(*) FROM reviews WHERE product_id = p.id) AS reviews,
        coalesce((SELECT sum(quantity) FROM stock WHERE product_id = p.id), 0) AS stock
    FROM products AS p JOIN categories AS c ON c.id = p.category_id
);
