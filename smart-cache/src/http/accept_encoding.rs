//! Which of the stored bodies a request gets (RFC 9110, section 12.5.3).

use http::HeaderValue;

use super::encoding::Encoding;
use super::quality::{Weighted, members};

/// The encoding to answer with, among those that are stored in the order of the server's
/// preference; `None` is the plain body.
///
/// The highest weight wins, the server's order decides between equal ones, and the plain body comes
/// last among its equals: whoever keeps encoded bodies prefers to send them. The plain body is also
/// the answer to a request that allows nothing else that is there, as the standard asks.
pub(crate) fn choose<'a>(
    lines: impl Iterator<Item = &'a HeaderValue> + Clone,
    stored: impl Iterator<Item = Encoding>,
) -> Option<Encoding> {
    let any = weight_of(lines.clone(), |name| name == b"*");
    let mut best = None;
    let mut most = 0;
    for encoding in stored {
        let named = weight_of(lines.clone(), |name| is_named(encoding, name));
        let weight = named.or(any).unwrap_or(0);
        if weight > most {
            (best, most) = (Some(encoding), weight);
        }
    }
    // Unless it is named, the plain body is only what is left.
    let plain = weight_of(lines, |name| name.eq_ignore_ascii_case(b"identity"));
    best.filter(|_| plain.is_none_or(|plain| plain <= most))
}

fn is_named(encoding: Encoding, name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(encoding.name().as_bytes())
        // The old name means the same.
        || (encoding == Encoding::Gzip && name.eq_ignore_ascii_case(b"x-gzip"))
}

/// The weight of the first member that is meant; one that is malformed says nothing.
fn weight_of<'a>(
    lines: impl Iterator<Item = &'a HeaderValue>,
    is_meant: impl Fn(&[u8]) -> bool,
) -> Option<u16> {
    lines
        .flat_map(|line| members(line.as_bytes()))
        .flatten()
        .find(|Weighted { name, .. }| is_meant(name))
        .map(|member| member.weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&'static str], expected: Option<Encoding>) {
        let lines: Vec<_> = lines
            .iter()
            .map(|line| HeaderValue::from_static(line))
            .collect();
        assert_eq!(
            choose(lines.iter(), Encoding::ALL.into_iter()),
            expected,
            "{lines:?}"
        );
    }

    const ZSTD: Option<Encoding> = Some(Encoding::Zstd);
    const BROTLI: Option<Encoding> = Some(Encoding::Brotli);
    const GZIP: Option<Encoding> = Some(Encoding::Gzip);

    #[test]
    fn the_highest_weight_wins_and_the_servers_order_among_equals() {
        check(&["gzip, deflate, br, zstd"], ZSTD);
        check(&["gzip, deflate, br"], BROTLI);
        check(&["gzip;q=1.0, br;q=0.5"], GZIP);
        check(&["gzip", "br"], BROTLI);
        check(&["GZIP"], GZIP);
        check(&["x-gzip"], GZIP);
        check(&["br;q=0.001"], BROTLI);
    }

    #[test]
    fn what_is_not_named_is_not_wanted() {
        check(&[], None);
        check(&[""], None);
        check(&["deflate"], None);
        check(&["identity"], None);
        check(&["br;q=0"], None);
        check(&["br;q=0, gzip;q=0.1"], GZIP);
    }

    #[test]
    fn a_star_is_for_everything_that_is_not_named() {
        check(&["*"], ZSTD);
        check(&["zstd;q=0, *"], BROTLI);
        check(&["*;q=0"], None);
        check(&["gzip, *;q=0"], GZIP);
        check(&["gzip;q=0.5, *;q=0.8"], ZSTD);
    }

    #[test]
    fn the_plain_body_can_be_preferred_and_can_be_all_that_is_left() {
        check(&["identity, gzip;q=0.5"], None);
        check(&["identity;q=0.5, gzip"], GZIP);
        check(&["identity;q=0.5, gzip;q=0.5"], GZIP);
        check(&["identity;q=0"], None);
        check(&["identity;q=0, gzip"], GZIP);
        check(&["identity;q=0, deflate"], None);
        check(&["identity;q=1, *;q=0"], None);
    }

    #[test]
    fn nonsense_says_nothing() {
        check(&["gzip;q=2, br"], BROTLI);
        check(&["gzip;level=9"], None);
        check(&[";;;,,,=,"], None);
        check(&["gzip;q=0.5, gzip;q=0"], GZIP);
    }
}
