//! The parameters of a search that take one of a few values.

use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A parameter with a few values, each with the words that a page shows for it.
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// The parameter's name.
    const PARAMETER: &'static str;
    /// The title of the group on a page.
    const TITLE: &'static str;
    const ALL: &'static [Self];

    /// As the query string has it.
    fn value(self) -> &'static str;
    /// As a page has it.
    fn label(self) -> &'static str;
}

macro_rules! choice {
    (
        $(#[$docs:meta])*
        $name:ident($parameter:literal, $title:literal) {
            $($variant:ident = $value:literal: $label:literal,)+
        }
    ) => {
        $(#[$docs])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($variant),+ }

        impl Choice for $name {
            const PARAMETER: &'static str = $parameter;
            const TITLE: &'static str = $title;
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn value(self) -> &'static str {
                match self { $(Self::$variant => $value),+ }
            }

            fn label(self) -> &'static str {
                match self { $(Self::$variant => $label),+ }
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                parse(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.value())
            }
        }
    };
}

choice! {
    /// How much it costs; the limits themselves are in the view `listing`.
    Price("price", "Price") {
        Under25 = "under-25": "Under €25",
        From25 = "25-75": "€25 to €75",
        From75 = "75-200": "€75 to €200",
        Over200 = "over-200": "€200 and more",
    }
}

choice! {
    /// The mean rating that it must have.
    Stars("stars", "Rating") {
        Four = "4": "4 stars and up",
        Three = "3": "3 stars and up",
        Two = "2": "2 stars and up",
    }
}

choice! {
    /// Whether it must be there.
    Stock("stock", "Availability") {
        In = "in": "In stock",
    }
}

choice! {
    /// What comes first.
    Sort("sort", "Sort by") {
        Best = "best": "Best rated",
        Cheapest = "cheapest": "Lowest price",
        Dearest = "dearest": "Highest price",
        Name = "name": "Name",
    }
}

impl Stars {
    pub(super) fn least(self) -> i64 {
        match self {
            Self::Four => 4,
            Self::Three => 3,
            Self::Two => 2,
        }
    }
}

fn parse<C: Choice>(text: &str) -> Result<C, String> {
    C::ALL
        .iter()
        .copied()
        .find(|choice| choice.value() == text)
        .ok_or_else(|| {
            let values: Vec<_> = C::ALL.iter().map(|choice| choice.value()).collect();
            format!(
                "{} must be one of {}, not {text:?}",
                C::PARAMETER,
                values.join(", ")
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<C: Choice>() {
        for choice in C::ALL {
            assert!(parse::<C>(choice.value()).is_ok_and(|parsed| parsed == *choice));
        }
        let message = parse::<C>("no such").err().unwrap();
        assert!(message.starts_with(C::PARAMETER), "{message}");
    }

    #[test]
    fn every_value_is_read_back_and_others_are_refused_with_the_list() {
        check::<Price>();
        check::<Stars>();
        check::<Stock>();
        check::<Sort>();
    }
}
