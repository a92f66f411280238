//! `Age` as a header value (RFC 9111, section 5.1), ready-made for the ages that most answers have.

use http::{HeaderMap, HeaderValue, header};

/// Ages below this are cut out of [`DIGITS`]: nearly three hours.
const READY: u64 = 10_000;

/// `0000` to `9999`, one behind the other.
static DIGITS: &str = match std::str::from_utf8(&BYTES) {
    Ok(digits) => digits,
    Err(_) => "",
};

static BYTES: [u8; 4 * READY as usize] = {
    let mut digits = [b'0'; 4 * READY as usize];
    let mut number = 0;
    while number < READY as usize {
        let (mut rest, mut at) = (number, 4);
        while at > 0 {
            at -= 1;
            digits[4 * number + at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        number += 1;
    }
    digits
};

/// An age in seconds. Below [`READY`] nothing is formatted and nothing allocated.
pub(crate) fn value(seconds: u64) -> HeaderValue {
    if seconds >= READY {
        return HeaderValue::from(seconds);
    }
    let zeros = match seconds {
        0..10 => 3,
        10..100 => 2,
        100..1000 => 1,
        _ => 0,
    };
    let at = 4 * seconds as usize;
    DIGITS
        .get(at + zeros..at + 4)
        .map_or_else(|| HeaderValue::from(seconds), HeaderValue::from_static)
}

/// Where the age stands among these headers: nearly always the first.
pub(crate) fn place(headers: &mut HeaderMap) -> Option<&mut HeaderValue> {
    if headers
        .iter()
        .next()
        .is_some_and(|(name, _)| name == header::AGE)
    {
        return headers.values_mut().next();
    }
    headers.get_mut(header::AGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_age_is_its_number() {
        for seconds in (0..READY + 3).chain([86_400, u64::MAX]) {
            assert_eq!(value(seconds).to_str().unwrap(), seconds.to_string());
        }
    }
}
