//! Reads what stands in an attribute's parentheses: templates first, then named arguments.
//!
//! One reader serves both attributes, so a doubled or unknown argument is always an error,
//! and an error in one argument never hides those in the next.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Error, Ident, Lit, LitStr, Result, Token, token};

/// The arguments that one attribute understands.
pub(crate) trait Arguments: Default {
    /// How the attribute is written, without its brackets.
    const ATTRIBUTE: &'static str;
    /// The named arguments, in the order in which a message lists them.
    const NAMED: &'static [&'static str];

    /// Takes one of the templates that stand without a name.
    fn template(&mut self, literal: LitStr) -> Result<()>;

    /// Hears that something else stood where a template belongs, which is reported already.
    fn misread_template(&mut self);

    /// The place for the argument called `name`; there must be one for each of `NAMED`.
    fn named(&mut self, name: &str) -> Option<&mut dyn Slot>;
}

/// How one named argument is written, and what it means.
pub(crate) trait Value: Sized {
    /// A correct use, quoted when this one is not.
    const EXAMPLE: &'static str;

    /// Parses what follows the name.
    fn parse(input: ParseStream<'_>) -> Result<Self>;
}

/// A named argument that may be given once.
pub(crate) struct Arg<V> {
    seen: bool,
    value: Option<V>,
}

impl<V> Default for Arg<V> {
    fn default() -> Self {
        Self {
            seen: false,
            value: None,
        }
    }
}

impl<V> Arg<V> {
    /// The value, if the argument was given and was right.
    pub(crate) fn get(&self) -> Option<&V> {
        self.value.as_ref()
    }
}

/// An [`Arg`] of any type, as the reader sees it.
pub(crate) trait Slot {
    /// Parses the value; an error if the argument was there before.
    fn fill(&mut self, name: &Ident, input: ParseStream<'_>) -> Result<()>;
}

impl<V: Value> Slot for Arg<V> {
    fn fill(&mut self, name: &Ident, input: ParseStream<'_>) -> Result<()> {
        let value = V::parse(input);
        if std::mem::replace(&mut self.seen, true) {
            return Err(Error::new(
                name.span(),
                format!("`{name}` is given more than once"),
            ));
        }
        self.value = Some(value?);
        Ok(())
    }
}

/// Every mistake found so far, reported together at the end.
#[derive(Default)]
pub(crate) struct Errors(Option<Error>);

impl Errors {
    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Adds a mistake.
    pub(crate) fn push(&mut self, error: Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            none => *none = Some(error),
        }
    }

    /// Adds the mistake of a result, and gives its value otherwise.
    pub(crate) fn take<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// The mistakes as one error.
    pub(crate) fn into_result(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }

    /// The mistakes as tokens that the compiler reports; nothing if there are none.
    pub(crate) fn into_tokens(self) -> TokenStream {
        self.0.map(Error::into_compile_error).unwrap_or_default()
    }
}

/// Reads all arguments; what is wrong goes to `errors` and is left out.
pub(crate) fn read<A: Arguments>(tokens: TokenStream, errors: &mut Errors) -> A {
    let mut arguments = A::default();
    let result = (|input: ParseStream<'_>| {
        each(input, errors, |input| argument(&mut arguments, input));
        Ok(())
    })
    .parse2(tokens);
    errors.take(result);
    arguments
}

/// Parses items between commas, going on with the next one after an error.
pub(crate) fn each(
    input: ParseStream<'_>,
    errors: &mut Errors,
    mut item: impl FnMut(ParseStream<'_>) -> Result<()>,
) {
    while !input.is_empty() {
        let result = item(input).and_then(|()| {
            if input.is_empty() || input.peek(Token![,]) {
                Ok(())
            } else {
                Err(input.error("expected `,`"))
            }
        });
        errors.take(result);
        while !input.is_empty() && !input.peek(Token![,]) {
            // Only skips what could not be understood, so that the next item gets its turn.
            if input.parse::<TokenTree>().is_err() {
                return;
            }
        }
        if input.parse::<Option<Token![,]>>().is_err() {
            return;
        }
    }
}

fn argument<A: Arguments>(arguments: &mut A, input: ParseStream<'_>) -> Result<()> {
    let start = input.span();
    if input.peek(Lit) {
        return match input.parse()? {
            Lit::Str(literal) => arguments.template(literal),
            _ => Err(not_a_template(arguments, start)),
        };
    }
    if !input.peek(Ident::peek_any) {
        return Err(not_a_template(arguments, start));
    }
    let name = input.call(Ident::parse_any)?;
    let has_value = input.peek(Token![=]) || input.peek(token::Paren);
    match arguments.named(&name.to_string()) {
        Some(slot) if has_value => slot.fill(&name, input),
        Some(_) => Err(Error::new(start, format!("`{name}` needs a value"))),
        None if has_value => Err(Error::new(
            start,
            format!(
                "unknown argument `{name}`; `#[{}]` knows {}",
                A::ATTRIBUTE,
                list(A::NAMED)
            ),
        )),
        None => Err(not_a_template(arguments, start)),
    }
}

fn not_a_template<A: Arguments>(arguments: &mut A, span: Span) -> Error {
    arguments.misread_template();
    Error::new(
        span,
        "a template must be a string literal, for it is read while compiling; write names in it: \"product:{id}\"",
    )
}

/// "`a`, `b` and `c`".
fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        all => all.join(", "),
    }
}
