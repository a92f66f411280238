//! Could this template produce this key? And if none can, which one was meant?
//!
//! Only for advice: a clear of a key that nobody caches is usually a typo.

/// One piece of a template.
enum Piece {
    Literal(String),
    Any,
}

/// Splits a template into literals and placeholders; `{{` and `}}` are braces.
fn pieces(template: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut chars = template.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '{' | '}' if chars.peek() == Some(&char) => {
                chars.next();
                literal.push(char);
            }
            '{' => {
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Any);
                chars.by_ref().find(|char| *char == '}');
            }
            _ => literal.push(char),
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    pieces
}

/// A template, ready to be compared with keys.
pub(crate) struct Template {
    text: &'static str,
    pieces: Vec<Piece>,
}

impl Template {
    pub(crate) fn new(text: &'static str) -> Self {
        Self {
            text,
            pieces: pieces(text),
        }
    }

    /// Whether some values of the placeholders make this template into `key`.
    pub(crate) fn can_produce(&self, key: &str) -> bool {
        matches(&self.pieces, key)
    }
}

fn matches(pieces: &[Piece], rest: &str) -> bool {
    match pieces {
        [] => rest.is_empty(),
        [Piece::Any] => true,
        [Piece::Literal(literal), tail @ ..] => rest
            .strip_prefix(literal.as_str())
            .is_some_and(|rest| matches(tail, rest)),
        [Piece::Any, Piece::Any, ..] => matches(&pieces[1..], rest),
        // The last literal must stand at the end; for the others the first place is as good as
        // any, for what follows is a placeholder again.
        [Piece::Any, Piece::Literal(literal)] => rest.ends_with(literal.as_str()),
        [Piece::Any, Piece::Literal(literal), tail @ ..] => rest
            .find(literal.as_str())
            .is_some_and(|at| matches(tail, &rest[at + literal.len()..])),
    }
}

/// Whether some key can be produced by both templates.
pub(crate) fn overlap(one: &str, other: &str) -> bool {
    let (one, other) = (marks(one), marks(other));
    // Whether the first i marks of one and the first j of the other can be the same text.
    let mut row: Vec<bool> = Vec::with_capacity(other.len() + 1);
    for i in 0..=one.len() {
        let mut next = Vec::with_capacity(other.len() + 1);
        for j in 0..=other.len() {
            let (a, b) = (i.checked_sub(1), j.checked_sub(1));
            let (a, b) = (a.map(|i| one[i]), b.map(|j| other[j]));
            let same = match (a, b) {
                (None, None) => true,
                _ => {
                    let skip_one = a.is_some() && row[j];
                    let skip_other = b.is_some() && next[j - 1];
                    let both = a.is_some() && b.is_some() && row[j - 1];
                    (a == Some(None) && skip_one)
                        || (b == Some(None) && skip_other)
                        || (a == Some(None) && skip_other)
                        || (b == Some(None) && skip_one)
                        || (a.is_some() && a == b && both)
                }
            };
            next.push(same);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// The characters of a template; `None` is a placeholder.
fn marks(template: &str) -> Vec<Option<char>> {
    let mut marks = Vec::new();
    for piece in pieces(template) {
        match piece {
            Piece::Literal(literal) => marks.extend(literal.chars().map(Some)),
            Piece::Any => marks.push(None),
        }
    }
    marks
}

/// The template that is spelled most like `key`, if one is near enough to be meant.
pub(crate) fn nearest(key: &str, templates: &[Template]) -> Option<&'static str> {
    let wanted = shape(key);
    templates
        .iter()
        .map(|template| {
            (
                strsim::damerau_levenshtein(&wanted, &shape(template.text)),
                template.text,
            )
        })
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= wanted.len().max(4) / 2)
        .map(|(_, template)| template)
}

/// The literal part of a key or template: what a typo would be in. Long keys are cut, since the
/// comparison is quadratic.
fn shape(text: &str) -> String {
    let text: String = text.chars().take(80).collect();
    let literal: String = pieces(&text)
        .into_iter()
        .map(|piece| match piece {
            Piece::Literal(literal) => literal,
            Piece::Any => "0".to_owned(),
        })
        .collect();
    let mut shape = String::with_capacity(literal.len());
    for char in literal.chars() {
        let char = if char.is_ascii_digit() { '0' } else { char };
        if !(char == '0' && shape.ends_with('0')) {
            shape.push(char);
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_produces_its_keys_and_no_others() {
        for (template, key, can) in [
            ("product:{id}", "product:7", true),
            ("product:{id}", "products:7", false),
            ("product:{id}", "product:", true),
            ("a:{x}:b:{y}", "a:1:b:2", true),
            ("a:{x}:b", "a:1:c", false),
            ("{a}{b}", "anything", true),
            ("{{x}}:{y}", "{x}:1", true),
            ("plain", "plain", true),
            ("plain", "plain2", false),
            ("{x}:end", "a:end:end", true),
        ] {
            assert_eq!(
                Template::new(template).can_produce(key),
                can,
                "{template} {key}"
            );
        }
    }

    #[test]
    fn two_templates_overlap_when_one_key_fits_both() {
        for (one, other, can) in [
            ("product:{id}", "product:{product.id}", true),
            ("product:{id}", "product:7", true),
            ("product:{id}", "products", false),
            ("products", "products", true),
            ("a:{x}:b", "a:{y}", true),
            ("a:{x}:b", "{y}:c", false),
            ("a:{x}", "{y}:b", true),
            ("{x}", "anything", true),
            ("{x}{y}", "", true),
            ("a{x}b", "ab", true),
            ("a{x}b", "a", false),
        ] {
            assert_eq!(overlap(one, other), can, "{one} {other}");
            assert_eq!(overlap(other, one), can, "{other} {one}");
        }
    }

    #[test]
    fn a_typo_finds_what_was_meant() {
        let templates = ["product:{id}", "category:{slug}", "products"].map(Template::new);
        assert_eq!(nearest("prodcut:7", &templates), Some("product:{id}"));
        assert_eq!(nearest("zzzzzzzzzzzzzzzz", &templates), None);
    }
}
