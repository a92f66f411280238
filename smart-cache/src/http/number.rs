//! Numbers as header values, ready-made where they are small: that is what most ages and lengths are.

use http::HeaderValue;

/// Numbers below this are cut out of [`DIGITS`]: ages of nearly three hours, bodies of 10 KB.
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

/// A number as a value. Below [`READY`] nothing is formatted, allocated or counted.
pub(crate) fn value(number: u64) -> HeaderValue {
    if number >= READY {
        return HeaderValue::from(number);
    }
    let zeros = match number {
        0..10 => 3,
        10..100 => 2,
        100..1000 => 1,
        _ => 0,
    };
    let at = 4 * number as usize;
    DIGITS
        .get(at + zeros..at + 4)
        .map_or_else(|| HeaderValue::from(number), HeaderValue::from_static)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_its_digits() {
        for number in (0..READY + 3).chain([86_400, u64::MAX]) {
            assert_eq!(value(number).to_str().unwrap(), number.to_string());
        }
    }
}
