//! The reading side: a deserializer in front of another one, and a visitor in front of the user's.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::Inside;

macro_rules! pass {
    ($($method:ident)*) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
                let inner = Inside { value: visitor, some: self.some };
                self.value.$method(inner)
            }
        )*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Inside<D> {
    type Error = D::Error;

    pass! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32
        deserialize_i64 deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32
        deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char
        deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_seq
        deserialize_map deserialize_identifier deserialize_ignored_any
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        if self.some {
            self.value.deserialize_seq(NestedOption(visitor))
        } else {
            self.value.deserialize_option(Inside::plain(visitor))
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        if self.some {
            self.value.deserialize_seq(NestedUnit(visitor))
        } else {
            self.value.deserialize_unit(visitor)
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.value.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let inner = Inside {
            value: visitor,
            some: self.some,
        };
        self.value.deserialize_newtype_struct(name, inner)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.value.deserialize_tuple(length, Inside::plain(visitor))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.value
            .deserialize_tuple_struct(name, length, Inside::plain(visitor))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.value
            .deserialize_struct(name, fields, Inside::plain(visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.value
            .deserialize_enum(name, variants, Inside::plain(visitor))
    }

    fn is_human_readable(&self) -> bool {
        self.value.is_human_readable()
    }
}

/// An option directly inside a `Some`: a sequence of none or one.
struct NestedOption<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for NestedOption<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<V::Value, A::Error> {
        struct Some_<V>(V);
        impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Some_<V> {
            type Value = V::Value;

            fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
                self.0.visit_some(Inside {
                    value: inner,
                    some: true,
                })
            }
        }
        if sequence.size_hint() == Some(0) {
            return self.0.visit_none();
        }
        let found = sequence.next_element_seed(Some_(self.0))?;
        let value = found.ok_or_else(|| A::Error::invalid_length(0, &"an option"))?;
        end(sequence)?;
        Ok(value)
    }
}

/// A unit directly inside a `Some`: an empty sequence.
struct NestedUnit<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for NestedUnit<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<V::Value, A::Error> {
        end(sequence)?;
        self.0.visit_unit()
    }
}

fn end<'de, A: SeqAccess<'de>>(mut sequence: A) -> Result<(), A::Error> {
    match sequence.next_element::<IgnoredAny>()? {
        None => Ok(()),
        Some(_) => Err(A::Error::custom("more than one value in an option")),
    }
}

macro_rules! visit {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(
            fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
                self.value.$method(value)
            }
        )*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Inside<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.expecting(f)
    }

    visit! {
        visit_bool: bool, visit_i8: i8, visit_i16: i16, visit_i32: i32, visit_i64: i64,
        visit_i128: i128, visit_u8: u8, visit_u16: u16, visit_u32: u32, visit_u64: u64,
        visit_u128: u128, visit_f32: f32, visit_f64: f64, visit_char: char, visit_str: &str,
        visit_borrowed_str: &'de str, visit_string: String, visit_bytes: &[u8],
        visit_borrowed_bytes: &'de [u8], visit_byte_buf: Vec<u8>,
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.value.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.value.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.value.visit_some(Inside {
            value: inner,
            some: true,
        })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.value.visit_newtype_struct(Inside {
            value: inner,
            some: self.some,
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<V::Value, A::Error> {
        self.value.visit_seq(Inside::plain(sequence))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.value.visit_map(Inside::plain(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<V::Value, A::Error> {
        self.value.visit_enum(Inside::plain(data))
    }
}

/// A part of something that is told from nil.
impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Inside<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.value.deserialize(Inside::plain(inner))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Inside<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.value.next_element_seed(Inside::plain(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.value.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Inside<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.value.next_key_seed(Inside::plain(seed))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.value.next_value_seed(Inside::plain(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.value.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Inside<A> {
    type Error = A::Error;
    type Variant = Inside<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, variant) = self.value.variant_seed(Inside::plain(seed))?;
        Ok((value, Inside::plain(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Inside<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.value.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.value.newtype_variant_seed(Inside::plain(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.value.tuple_variant(length, Inside::plain(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.value.struct_variant(fields, Inside::plain(visitor))
    }
}
