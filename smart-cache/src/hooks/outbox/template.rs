//! A key's template whose placeholders are columns of a table.

/// What is to be cleared cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// A brace without its other half.
    #[error("{0:?} has a brace without its other half: write {{column}}, and {{{{ for a brace")]
    Brace(String),
    /// `{}` names no column.
    #[error("{0:?} has a placeholder without a name: write the column's name, {{id}}")]
    Unnamed(String),
    /// An empty template; no handler can produce an empty key.
    #[error("an empty template names no key")]
    Empty,
    /// A name that no table, column or lookup can have.
    #[error("{0:?} cannot be a name: it is empty or holds a NUL")]
    Name(String),
}

/// One piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(String),
    /// A column, or the name of a lookup.
    Named(String),
}

/// Splits a template; `{{` and `}}` are braces.
pub(super) fn parse(template: &str) -> Result<Vec<Piece>, TemplateError> {
    if template.is_empty() {
        return Err(TemplateError::Empty);
    }
    check_name(template)?;
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
                let mut name = String::new();
                loop {
                    match chars.next() {
                        Some('}') => break,
                        Some('{') | None => return Err(TemplateError::Brace(template.to_owned())),
                        Some(char) => name.push(char),
                    }
                }
                if name.trim().is_empty() {
                    return Err(TemplateError::Unnamed(template.to_owned()));
                }
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Named(name));
            }
            '}' => return Err(TemplateError::Brace(template.to_owned())),
            _ => literal.push(char),
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

/// A database ends a name at a NUL.
pub(super) fn check_name(name: &str) -> Result<(), TemplateError> {
    if name.is_empty() || name.contains('\0') {
        return Err(TemplateError::Name(name.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_literals_and_columns() {
        let literal = |text: &str| Piece::Literal(text.to_owned());
        let named = |text: &str| Piece::Named(text.to_owned());
        assert_eq!(parse("products"), Ok(vec![literal("products")]));
        assert_eq!(
            parse("a:{id}:{b c}"),
            Ok(vec![literal("a:"), named("id"), literal(":"), named("b c")])
        );
        assert_eq!(
            parse("{{{id}}}"),
            Ok(vec![literal("{"), named("id"), literal("}")])
        );
    }

    #[test]
    fn what_is_no_template_is_refused_with_the_remedy() {
        for (template, says) in [
            ("", "empty"),
            ("a{", "other half"),
            ("a}", "other half"),
            ("a{b{c}", "other half"),
            ("a{}", "without a name"),
            ("a{ }", "without a name"),
            ("a\0", "NUL"),
        ] {
            let message = parse(template).unwrap_err().to_string();
            assert!(message.contains(says), "{template:?}: {message}");
        }
    }
}
