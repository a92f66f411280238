//! The command line of a measuring program.

/// The number behind `flag`, as in `--rounds 5`.
///
/// # Panics
///
/// When what stands behind it is no number.
#[must_use]
pub fn number_after(flag: &str) -> Option<u64> {
    let text = text_after(flag)?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{flag} takes a number, not {text:?}")),
    )
}

/// The word behind `flag`.
#[must_use]
pub fn text_after(flag: &str) -> Option<String> {
    let mut words = std::env::args().skip_while(|word| word != flag);
    words.next()?;
    words.next()
}
