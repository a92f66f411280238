//! What an extractor shows a handler of the request: the part it adds to a variant.
//!
//! Two requests may share an entry only if the handler could not tell them apart. A handler
//! sees a request through its extractors and nothing else, so each extractor says here what
//! it lets through, and a type that says nothing does not compile. That is why there is no
//! empty default, no blanket implementation, and none for headers, methods, extensions and
//! bodies: those must be named by the author of the handler.
//!
//! The full path is always in the variant, and so is the handler itself; a part that shows
//! nothing more than those adds nothing.

use axum::extract::{
    Form, MatchedPath, NestedPath, OriginalUri, Path, Query, RawPathParams, RawQuery, State,
};
use axum::http::Uri;

use super::Variant;

/// What a [`KeyPart`]'s value is made of, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shows {
    /// Nothing of the request, as with `State`.
    Nothing,
    /// Nothing more than its path, which every variant holds anyway.
    Path,
    /// Nothing more than its path and its query.
    Query,
    /// Something else, such as a header or who is asking.
    More,
}

impl Shows {
    /// What two parts show together.
    const fn and(self, other: Self) -> Self {
        if (self as u8) < (other as u8) {
            other
        } else {
            self
        }
    }
}

/// What an extractor shows of the request, so that two answers are told apart by it.
///
/// It is implemented for axum's extractors that show nothing (`State`), the path (`Path`,
/// `MatchedPath`, ..) or the query (`Query`, `RawQuery`, `Form`), for `Uri` and `OriginalUri`,
/// and for options, results and tuples of such. It is deliberately missing for `HeaderMap`,
/// `Method`, `Extension<T>`, `Request`, cookies and bodies: there the handler says what counts,
/// with `#[key(ignore)]` or `#[key(user.id)]` on the argument, or with `vary("accept-language")`.
///
/// Implement it for an extractor of your own that many handlers take. What you do not push is
/// shared: everybody for whom the pushed values are equal gets the same stored response.
///
/// # Example
///
/// ```
/// use smart_cache::{KeyPart, Variant};
///
/// /// Who is asking; extracted from a session.
/// struct CurrentUser { id: u64 }
///
/// impl KeyPart for CurrentUser {
///     fn show(&self, variant: &mut Variant) {
///         variant.push(self.id);
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "the cache cannot know what `{Self}` shows this handler of the request",
    label = "say what of this the response depends on",
    note = "on nothing of it: put `#[key(ignore)]` on the argument; on a part of it: `#[key(user.id)]`",
    note = "on a header: `vary(\"accept-language\")` in the attribute, and `#[key(ignore)]` here",
    note = "for an extractor of your own, wherever it is used: `impl smart_cache::KeyPart for {Self}`"
)]
pub trait KeyPart {
    /// What the value is made of. Only [`Shows::More`], the default, is right for an extractor
    /// that reads a header, a cookie, an extension or a database.
    const SHOWS: Shows = Shows::More;

    /// Adds to the variant what tells two values of this type apart.
    fn show(&self, variant: &mut Variant);

    /// Adds that there is no value, for those that are optional.
    #[doc(hidden)]
    fn absent(variant: &mut Variant) {
        match Self::SHOWS {
            Shows::Nothing | Shows::Path => {}
            Shows::Query => variant.query(),
            Shows::More => variant.absent(),
        }
    }
}

/// [`KeyPart`] in the words for a type that is named like one that reads headers.
///
/// The attribute asks for it by the name of the type, which decides nothing: it holds for
/// exactly the types that are a `KeyPart`. Only the message differs.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` shows this handler headers of the request, and the cache must know which",
    label = "name the headers that the response depends on",
    note = "write `vary(\"accept-language\")` in the attribute, and `#[key(ignore)]` on this argument"
)]
pub trait HeaderPart {
    /// See [`KeyPart::show`].
    fn show(&self, variant: &mut Variant);
}

#[diagnostic::do_not_recommend]
impl<T: KeyPart> HeaderPart for T {
    fn show(&self, variant: &mut Variant) {
        KeyPart::show(self, variant);
    }
}

/// [`KeyPart`] in the words for a type that is named like one that reads the body.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` takes the body of the request, and a cached handler answers GET, which has none",
    label = "a cached handler takes no body",
    note = "read the query with `Query` instead; a handler that writes takes `#[clears_cache(\"product:{{id}}\")]`"
)]
pub trait BodyPart {
    /// See [`KeyPart::show`].
    fn show(&self, variant: &mut Variant);
}

#[diagnostic::do_not_recommend]
impl<T: KeyPart> BodyPart for T {
    fn show(&self, variant: &mut Variant) {
        KeyPart::show(self, variant);
    }
}

/// Extractors that add nothing to what is in every variant, or the query as a whole.
macro_rules! parts {
    ($($(#[$meta:meta])* [$($generic:ident)?] $part:ty => $shows:ident;)*) => {$(
        $(#[$meta])*
        #[diagnostic::do_not_recommend]
        impl$(<$generic>)? KeyPart for $part {
            const SHOWS: Shows = Shows::$shows;

            fn show(&self, variant: &mut Variant) {
                if Self::SHOWS == Shows::Query {
                    variant.query();
                }
            }
        }
    )*};
}

parts! {
    [] () => Nothing;
    [T] State<T> => Nothing;
    [T] Path<T> => Path;
    [] RawPathParams => Path;
    [] MatchedPath => Path;
    [] NestedPath => Path;
    [T] Query<T> => Query;
    [] RawQuery => Query;
    // axum reads a form from the query when the method is GET or HEAD.
    [T] Form<T> => Query;
}

/// The request's target as it was sent, not normalised.
#[diagnostic::do_not_recommend]
impl KeyPart for Uri {
    fn show(&self, variant: &mut Variant) {
        variant.exact_uri();
    }
}

/// The request's target as it was sent, not normalised.
#[diagnostic::do_not_recommend]
impl KeyPart for OriginalUri {
    fn show(&self, variant: &mut Variant) {
        variant.exact_uri();
    }
}

#[diagnostic::do_not_recommend]
impl<T: KeyPart> KeyPart for Option<T> {
    const SHOWS: Shows = T::SHOWS;

    fn show(&self, variant: &mut Variant) {
        match self {
            Some(part) => {
                if T::SHOWS == Shows::More {
                    variant.present();
                }
                part.show(variant);
            }
            None => T::absent(variant),
        }
    }
}

#[diagnostic::do_not_recommend]
impl<T: KeyPart, E> KeyPart for Result<T, E> {
    const SHOWS: Shows = T::SHOWS;

    fn show(&self, variant: &mut Variant) {
        match (self, T::SHOWS) {
            (Ok(part), shows) => {
                if shows == Shows::More {
                    variant.present();
                }
                part.show(variant);
            }
            (Err(_), Shows::Nothing | Shows::Path) => {}
            (Err(_), Shows::Query) => {
                variant.query();
                // With `query("page")`, a parameter that does not count may still be refused.
                variant.absent();
            }
            // A rejection may tell anything that the extractor saw.
            (Err(_), Shows::More) => variant.bypass(),
        }
    }
}

macro_rules! tuples {
    ($first:ident $($rest:ident)*) => {
        tuples!($($rest)*);

        #[diagnostic::do_not_recommend]
        impl<$first: KeyPart, $($rest: KeyPart),*> KeyPart for ($first, $($rest,)*) {
            const SHOWS: Shows = $first::SHOWS$(.and($rest::SHOWS))*;

            #[expect(non_snake_case, reason = "the type parameters' names serve for the fields too")]
            fn show(&self, variant: &mut Variant) {
                let ($first, $($rest,)*) = self;
                $first.show(variant);
                $($rest.show(variant);)*
            }
        }
    };
    () => {};
}

tuples!(A B C D E F G H I J K L M N O P);

#[cfg(feature = "axum-extra")]
mod extra {
    //! The same for the extractors of axum-extra.

    use axum_extra::either::{Either, Either3, Either4, Either5, Either6, Either7, Either8};
    use axum_extra::extract::{Cached, OptionalQuery, Query, WithRejection};

    use super::{KeyPart, Shows, Variant};

    parts! {
        [T] Query<T> => Query;
        [T] OptionalQuery<T> => Query;
    }

    #[diagnostic::do_not_recommend]
    impl<T: KeyPart> KeyPart for Cached<T> {
        const SHOWS: Shows = T::SHOWS;

        fn show(&self, variant: &mut Variant) {
            self.0.show(variant);
        }
    }

    #[diagnostic::do_not_recommend]
    impl<T: KeyPart, R> KeyPart for WithRejection<T, R> {
        const SHOWS: Shows = T::SHOWS;

        fn show(&self, variant: &mut Variant) {
            self.0.show(variant);
        }
    }

    macro_rules! eithers {
        ($($either:ident: $first:ident $($rest:ident)*;)*) => {$(
            #[diagnostic::do_not_recommend]
            impl<$first: KeyPart, $($rest: KeyPart),*> KeyPart for $either<$first, $($rest),*> {
                const SHOWS: Shows = $first::SHOWS$(.and($rest::SHOWS))*;

                fn show(&self, variant: &mut Variant) {
                    // Which one it became is all that is known of those that failed before it.
                    if Self::SHOWS >= Shows::Query {
                        variant.push(match self {
                            Self::$first(_) => stringify!($first),
                            $(Self::$rest(_) => stringify!($rest),)*
                        });
                    }
                    if Self::SHOWS == Shows::Query {
                        variant.query();
                    }
                    match self {
                        Self::$first(part) => part.show(variant),
                        $(Self::$rest(part) => part.show(variant),)*
                    }
                }
            }
        )*};
    }

    eithers! {
        Either: E1 E2;
        Either3: E1 E2 E3;
        Either4: E1 E2 E3 E4;
        Either5: E1 E2 E3 E4 E5;
        Either6: E1 E2 E3 E4 E5 E6;
        Either7: E1 E2 E3 E4 E5 E6 E7;
        Either8: E1 E2 E3 E4 E5 E6 E7 E8;
    }
}
