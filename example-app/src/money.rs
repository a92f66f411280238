//! Prices and other numbers: whole cents inside, readable where people read and write them.

/// The highest price that the shop takes: a million euros.
pub(crate) const HIGHEST_CENTS: i64 = 100_000_000;

/// `€1,234.50`
pub(crate) fn euros(cents: i64) -> String {
    format!("€{}.{:02}", grouped(cents / 100), cents % 100)
}

/// `10,000`; for numbers that are not negative.
pub(crate) fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1234.50`, as a form field holds it.
pub(crate) fn field(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// Reads `12`, `12.5`, `12.50` or `12,50`; `None` for anything else, a sign included.
pub(crate) fn parse_cents(text: &str) -> Option<i64> {
    let text = text.trim().trim_start_matches('€').trim_start();
    let (whole, part) = text.split_once(['.', ',']).unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > 2 || !digits(whole) || !digits(part) {
        return None;
    }
    let cents: i64 = format!("{part:0<2}").parse().ok()?;
    whole
        .parse::<i64>()
        .ok()?
        .checked_mul(100)?
        .checked_add(cents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn euros_are_grouped_by_thousands() {
        assert_eq!(euros(5), "€0.05");
        assert_eq!(euros(99_990), "€999.90");
        assert_eq!(euros(123_450), "€1,234.50");
        assert_eq!(euros(HIGHEST_CENTS), "€1,000,000.00");
    }

    #[test]
    fn what_a_form_shows_is_what_it_reads() {
        for cents in [0, 5, 50, 1999, HIGHEST_CENTS] {
            assert_eq!(parse_cents(&field(cents)), Some(cents));
        }
    }

    #[test]
    fn prices_are_read_with_point_or_comma() {
        assert_eq!(parse_cents("12"), Some(1200));
        assert_eq!(parse_cents(" €12,5 "), Some(1250));
        for wrong in [
            "",
            "-1",
            "1.234",
            "1.2.3",
            "a",
            ".5",
            "99999999999999999999",
        ] {
            assert_eq!(parse_cents(wrong), None, "{wrong}");
        }
    }
}
