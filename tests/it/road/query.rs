//! Which queries are one, by what the handler reads of them.

use smart_cache_tests::harness::Gate;

use super::variants::{app, check_apart, check_same};
use super::{HIT, STORED, get, memory, status_of};

#[tokio::test]
async fn the_order_of_different_parameters_does_not_count() {
    check_same("/search?a=1&b=2", "/search?b=2&a=1").await;
    check_same("/search?a=1&b=2", "/search?a=1&&b=2&").await;
}

#[tokio::test]
async fn the_order_of_one_parameters_values_counts() {
    check_apart("/search?a=1&a=2", "/search?a=2&a=1").await;
    check_apart("/search?a=1&a=1", "/search?a=1").await;
    check_apart("/search?a=1&%61=2", "/search?%61=2&a=1").await;
}

#[tokio::test]
async fn analytics_parameters_do_not_count() {
    check_same(
        "/search?a=1",
        "/search?utm_source=mail&a=1&gclid=5&fbclid=x",
    )
    .await;
    check_same("/search", "/search?utm_campaign=x").await;
    check_same("/search?a=1", "/search?a=1&utm%5Fsource=x").await;
    check_apart("/search?a=1", "/search?a=1&utmost=x").await;
    check_apart("/search?a=1", "/search?a=1&UTM_source=x").await;
}

#[tokio::test]
async fn values_are_compared_to_the_byte() {
    check_apart("/search?a=1", "/search?a=2").await;
    check_apart("/search?a=", "/search?a").await;
    check_apart("/search?a=", "/search").await;
    check_apart("/search?a=1%26b=2", "/search?a=1&b=2").await;
    check_apart("/search?a=b=c", "/search?a=b&c").await;
    check_apart("/search?a=A", "/search?a=a").await;
}

#[tokio::test]
async fn a_handler_that_reads_the_raw_query_is_not_given_anothers() {
    check_apart("/raw?a=1", "/raw?a=2").await;
    check_apart("/raw?", "/raw").await;
}

#[tokio::test]
async fn named_parameters_are_the_only_ones_that_count() {
    check_same("/paged?page=1", "/paged?page=1&sort=up&x").await;
    check_same("/paged?page=1&q=x", "/paged?q=x&other&page=1").await;
    check_same("/paged?p%61ge=2", "/paged?p%61ge=2&a=1").await;
    check_apart("/paged?page=1", "/paged?page=2").await;
    check_apart("/paged?page=1", "/paged?page=1&q=").await;
    check_apart("/paged", "/paged?page").await;
    check_same("/paged", "/paged?").await;
    check_same("/paged", "/paged?sort=up").await;
}

#[tokio::test]
async fn a_handler_that_reads_no_query_is_not_split_by_it() {
    check_same("/blind", "/blind?a=1").await;
    check_same("/blind?x", "/blind?y").await;
    check_same("/item/7?a", "/item/7").await;
}

#[tokio::test]
async fn the_list_of_ignored_parameters_can_be_set() {
    let gate = Gate::opened();
    let cache = memory().ignored_query("ref,trk_*").build().await.unwrap();
    let app = app(cache, &gate);
    get(&app, "/search?a=1").await;
    assert_eq!(
        status_of(&get(&app, "/search?ref=x&a=1&trk_id=5").await),
        HIT
    );
    assert_eq!(
        status_of(&get(&app, "/search?a=1&utm_source=x").await),
        STORED
    );
}
