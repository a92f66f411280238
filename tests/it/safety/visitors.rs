//! Two visitors, one of them perhaps unknown, never share what is one's own.

use std::convert::Infallible;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::routing::get as on_get;
use http::request::Parts;
use http::{HeaderMap, header};
use smart_cache::{CacheLayer, KeyPart, Variant, layer, smart_cache};
use smart_cache_tests::harness::{Served, serve};

use super::{HIT, Reply, ask, in_memory};

/// Who asks: by `Authorization`, else by the cookie `id`.
struct Visitor(Option<String>);

impl Visitor {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap());
        let cookie = || text(header::COOKIE)?.strip_prefix("id=");
        let named = text(header::AUTHORIZATION).or_else(cookie);
        Self(named.map(str::to_owned))
    }

    fn page(&self) -> String {
        format!("page of {:?}", self.0)
    }
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

impl KeyPart for Visitor {
    fn show(&self, variant: &mut Variant) {
        match &self.0 {
            Some(name) => {
                variant.present();
                variant.push(name);
            }
            None => variant.absent(),
        }
    }
}

#[smart_cache("mine")]
async fn mine(visitor: Visitor) -> String {
    visitor.page()
}

/// The page behind the attribute, and behind the layer with each way to allow who asks.
async fn sites() -> Vec<(&'static str, Served)> {
    let foreign = || {
        let page = |visitor: Visitor| async move { visitor.page() };
        Router::new()
            .route("/", on_get(page))
            .route("/account/{*rest}", on_get(page))
    };
    type Option = (&'static str, fn(CacheLayer) -> CacheLayer);
    let options: [Option; 4] = [
        ("layer", |layer| layer),
        ("layer that allows", |layer| {
            layer.allow_authorization().allow_cookies(["id"])
        }),
        ("layer that varies", |layer| {
            layer.vary(["authorization", "cookie"])
        }),
        ("layer that shows", |layer| {
            layer
                .ignore_authorization()
                .allow_cookies([])
                .variant(|request, variant| Visitor::of(&request.headers).show(variant))
        }),
    ];
    let attribute = Router::new()
        .route("/", on_get(mine))
        .route("/account/{*rest}", on_get(mine))
        .layer(axum::Extension(in_memory().await));
    let mut sites = vec![("attribute", serve(attribute).await)];
    for (name, option) in options {
        let cached = foreign().layer(option(layer("mine")).cache(in_memory().await));
        sites.push((name, serve(cached).await));
    }
    sites
}

const VISITORS: [&[(&str, &str)]; 8] = [
    &[],
    &[("authorization", "Bearer anna")],
    &[("authorization", "Bearer bert")],
    &[("authorization", "")],
    &[("cookie", "id=anna")],
    &[("cookie", "id=bert")],
    &[("cookie", "theme=dark")],
    &[("cookie", "")],
];

fn expected(headers: &[(&'static str, &str)]) -> String {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    Visitor::of(&headers.collect()).page()
}

#[tokio::test]
async fn everybody_gets_their_own_page_in_every_order() {
    for (name, site) in sites().await {
        for first in 0..VISITORS.len() {
            for at in 0..VISITORS.len() {
                let headers = VISITORS[(first + at) % VISITORS.len()];
                let reply = ask(&site, "/", headers).await;
                assert_eq!(reply.body, expected(headers), "{name} {headers:?}");
            }
        }
    }
}

#[tokio::test]
async fn two_users_of_one_browser_get_their_own_page_by_validators_too() {
    for (name, site) in sites().await {
        let mut tags: Vec<String> = Vec::new();
        // The last two are as unknown as the first: it has their page already.
        for headers in &VISITORS[..6] {
            // The browser still has what it was given for those before.
            let known = tags.join(", ");
            let mut with = headers.to_vec();
            if !known.is_empty() {
                with.push(("if-none-match", &known));
            }
            let reply: Reply = ask(&site, "/", &with).await;
            assert_eq!(
                (reply.status, reply.body.as_str()),
                (200, expected(headers).as_str()),
                "{name} {headers:?}"
            );
            tags.extend(reply.header("etag").map(str::to_owned));
        }
    }
}

/// An attacker has a visitor open a page of their own under the name of a file, then asks for it.
#[tokio::test]
async fn a_page_of_ones_own_stays_ones_own_under_the_name_of_a_file() {
    let [nobody, .., anna, bert, _, _] = VISITORS;
    for (name, site) in sites().await {
        for target in [
            "/account/x.css",
            "/account/style.css;.js",
            "/account/style.css;jsessionid=1",
            "/account/%2e%2e/a.png",
            "/account/../a.png",
            "/account/..%2fstatic%2fa.png",
            "/account/x%00.css",
            "/account/x%3f.css",
            "/account/x%23.css",
            "/account/x.css?y",
            "/account/static//x.js",
        ] {
            for headers in [anna, nobody, bert, nobody, anna] {
                let reply = ask(&site, target, headers).await;
                assert_eq!(
                    (reply.status, reply.body),
                    (200, expected(headers)),
                    "{name} {target} {headers:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn those_who_are_unknown_share_one_answer() {
    for (name, site) in sites().await {
        ask(&site, "/", &[]).await;
        let again = ask(&site, "/", &[]).await;
        assert!(again.head.contains(HIT), "{name}");
    }
}
