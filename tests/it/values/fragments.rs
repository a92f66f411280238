//! Pieces of pages.

use smart_cache::fragment;

use super::on_each_store;
use super::stage::Stage;

async fn a_piece_is_rendered_once_for_its_values(stage: &Stage) {
    let smart = stage.smart().await;
    let render = async |user: u64, text: &str| {
        let piece = fragment("sidebar", &[&user, &"en"])
            .cache(&smart)
            .tags("menus");
        piece.get_or_render(async || text.to_owned()).await
    };
    assert_eq!(render(1, "one").await, "one");
    assert_eq!(render(1, "again").await, "one");
    assert_eq!(render(2, "two").await, "two");
    let piece = fragment("sidebar", &[&1_u64, &"en"]).cache(&smart);
    piece.clear().await.unwrap();
    assert_eq!(render(1, "anew").await, "anew");
    assert_eq!(render(2, "again").await, "two");
    for key in ["menus", "fragment:sidebar"] {
        smart.clear(key).await.unwrap();
        assert_eq!(render(1, key).await, key);
        assert_eq!(render(2, key).await, key);
    }
}

async fn values_that_look_alike_are_told_apart(stage: &Stage) {
    let smart = stage.smart().await;
    let render = async |values: &[&dyn std::fmt::Display], text: &str| {
        let piece = fragment("f", values).cache(&smart);
        piece.get_or_render(async || text.to_owned()).await
    };
    assert_eq!(render(&[&"a", &"bc"], "1").await, "1");
    assert_eq!(render(&[&"ab", &"c"], "2").await, "2");
    assert_eq!(render(&[&"abc"], "3").await, "3");
    assert_eq!(render(&[&"abc", &""], "4").await, "4");
    assert_eq!(render(&[], "5").await, "5");
    assert_eq!(render(&[&"a", &"bc"], "6").await, "1");
}

async fn a_piece_that_fails_is_not_kept(stage: &Stage) {
    let smart = stage.smart().await;
    let piece = || fragment("f", &[]).cache(&smart);
    let failed = piece()
        .try_get_or_render(async || Err::<String, _>("no"))
        .await;
    assert_eq!(failed, Err("no"));
    let done = piece()
        .try_get_or_render(async || Ok::<_, &str>("yes".to_owned()))
        .await;
    assert_eq!(done.as_deref(), Ok("yes"));
    let kept = piece().get_or_render(async || "other".to_owned()).await;
    assert_eq!(kept, "yes");
}

on_each_store!(
    a_piece_is_rendered_once_for_its_values,
    values_that_look_alike_are_told_apart,
    a_piece_that_fails_is_not_kept,
);
