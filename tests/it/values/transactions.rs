//! Values whose key the running task is writing: neither served to it nor stored by it.

use std::collections::HashMap;

use smart_cache::Timeout::Default;
use smart_cache::hooks::Collector;
use smart_cache::{depends_on, fragment};

use super::on_each_store;
use super::stage::Stage;

async fn a_computed_value_of_a_key_under_write_is_neither_served_nor_stored(stage: &Stage) {
    let smart = stage.smart().await;
    let values = smart.values();
    let computed = async |tags: &[&str], value: u8| {
        let computed = values.get_or_set("product:7").tags(tags.to_vec());
        computed.compute(async || value).await.unwrap()
    };
    for (tags, written) in [
        (&[][..], "product:7"),
        (&["products"], "product:7"),
        (&["products"], "products"),
    ] {
        assert_eq!(computed(tags, 1).await, 1);
        assert_eq!(computed(tags, 2).await, 1);
        let collector = Collector::of(&smart);
        collector.add(written);
        // The row as this transaction sees it, which nobody else does.
        assert_eq!(computed(tags, 3).await, 3, "{tags:?} {written}");
        assert_eq!(computed(tags, 4).await, 4, "{tags:?} {written}");
        let elsewhere = {
            let (values, tags) = (values.clone(), tags.to_vec());
            let computed = values.get_or_set("product:7").tags(tags);
            tokio::spawn(async move { computed.compute(async || 5_u8).await.unwrap() })
        };
        assert_eq!(elsewhere.await.unwrap(), 1, "others go on");
        collector.discard();
        assert_eq!(computed(tags, 6).await, 1, "nothing was stored");
        values.delete("product:7").await.unwrap();
        smart.clear("products").await.unwrap();
    }
}

async fn what_is_computed_first_while_its_key_is_written_is_not_stored(stage: &Stage) {
    let smart = stage.smart().await;
    let values = smart.values();
    for tags in [&[][..], &["products"]] {
        let collector = Collector::of(&smart);
        collector.add("product:7");
        let first = values.get_or_set("product:7").tags(tags.to_vec());
        assert_eq!(first.compute(async || 1_u8).await.unwrap(), 1);
        drop(collector);
        let next = values.get_or_set("product:7").tags(tags.to_vec());
        assert_eq!(next.compute(async || 2_u8).await.unwrap(), 2);
        values.delete("product:7").await.unwrap();
    }
}

/// The write begins when the value is computed already, so only the store can know of it.
async fn a_write_that_is_opened_while_a_value_is_computed_keeps_it_from_being_stored(
    stage: &Stage,
) {
    let smart = stage.smart().await;
    let values = smart.values();
    for tags in [&[][..], &["products"]] {
        let mut open = None;
        let first = values.get_or_set("product:7").tags(tags.to_vec());
        let first = first.compute(async || {
            let collector = Collector::of(&smart);
            collector.add("product:7");
            open = Some(collector);
            1_u8
        });
        assert_eq!(first.await.unwrap(), 1);
        drop(open);
        let next = values.get_or_set("product:7").tags(tags.to_vec());
        assert_eq!(next.compute(async || 2_u8).await.unwrap(), 2);
        values.delete("product:7").await.unwrap();
    }
}

async fn a_tag_that_the_computation_finds_counts_too(stage: &Stage) {
    let smart = stage.smart().await;
    let values = smart.values();
    let list = async |value: u8| {
        let list = values.get_or_set("list").compute(async || {
            depends_on("product:7");
            value
        });
        list.await.unwrap()
    };
    // The first fill mints the tag's token, the second one is kept.
    list(1).await;
    assert_eq!(list(2).await, list(3).await);
    let before = list(4).await;
    let collector = Collector::of(&smart);
    collector.add("product:7");
    assert_eq!(list(5).await, 5);
    collector.discard();
    assert_eq!(list(6).await, before);
}

async fn a_fragment_under_write_is_rendered_and_not_stored(stage: &Stage) {
    let smart = stage.smart().await;
    let render = async |text: &str| {
        let piece = fragment("offers", &[&7]).tags("products").cache(&smart);
        piece.get_or_render(async || text.to_owned()).await
    };
    assert_eq!(render("old").await, "old");
    for written in ["products", "fragment:offers"] {
        let collector = Collector::of(&smart);
        collector.add(written);
        assert_eq!(render(written).await, written);
        collector.discard();
        assert_eq!(render("later").await, "old");
    }
}

async fn a_plain_value_of_a_key_under_write_is_missing_for_its_task(stage: &Stage) {
    let smart = stage.smart().await;
    let values = smart.values();
    values.set("product:7", "old", Default).await.unwrap();
    values.set("product:8", "other", Default).await.unwrap();
    let both = ["product:7", "product:8"];
    let collector = Collector::of(&smart);
    collector.add("product:7");
    assert_eq!(values.get::<String>("product:7").await.unwrap(), None);
    assert_eq!(values.get_bytes("product:7").await.unwrap(), None);
    assert!(!values.has_key("product:7").await.unwrap());
    let other = HashMap::from([("product:8".to_owned(), "other".to_owned())]);
    assert_eq!(values.get_many::<String>(both).await.unwrap(), other);
    assert_eq!(values.get_many_bytes(both).await.unwrap().len(), 1);
    let elsewhere = {
        let values = values.clone();
        tokio::spawn(async move { values.get::<String>("product:7").await.unwrap() })
    };
    assert_eq!(elsewhere.await.unwrap().as_deref(), Some("old"));
    let carried = {
        let values = values.clone();
        tokio::spawn(collector.carry(async move { values.get::<String>("product:7").await }))
    };
    assert_eq!(carried.await.unwrap().unwrap(), None);
    collector.discard();
    assert_eq!(
        values.get::<String>("product:7").await.unwrap().as_deref(),
        Some("old")
    );
}

on_each_store!(
    a_computed_value_of_a_key_under_write_is_neither_served_nor_stored,
    what_is_computed_first_while_its_key_is_written_is_not_stored,
    a_write_that_is_opened_while_a_value_is_computed_keeps_it_from_being_stored,
    a_tag_that_the_computation_finds_counts_too,
    a_fragment_under_write_is_rendered_and_not_stored,
    a_plain_value_of_a_key_under_write_is_missing_for_its_task,
);
