//! The writing side: a serializer in front of another one.

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::Inside;

/// Something to be written, inside of what it was found in.
impl<T: Serialize + ?Sized> Serialize for Inside<&T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Inside {
            value: serializer,
            some: self.some,
        })
    }
}

macro_rules! pass {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(
            fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
                self.value.$method(value)
            }
        )*
    };
}

impl<S: Serializer> Serializer for Inside<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Inside<S::SerializeSeq>;
    type SerializeTuple = Inside<S::SerializeTuple>;
    type SerializeTupleStruct = Inside<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Inside<S::SerializeTupleVariant>;
    type SerializeMap = Inside<S::SerializeMap>;
    type SerializeStruct = Inside<S::SerializeStruct>;
    type SerializeStructVariant = Inside<S::SerializeStructVariant>;

    pass! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32,
        serialize_i64: i64, serialize_i128: i128, serialize_u8: u8, serialize_u16: u16,
        serialize_u32: u32, serialize_u64: u64, serialize_u128: u128, serialize_f32: f32,
        serialize_f64: f64, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8],
        serialize_unit_struct: &'static str,
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        if self.some {
            self.value.serialize_seq(Some(0))?.end()
        } else {
            self.value.serialize_none()
        }
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let inner = Inside { value, some: true };
        if !self.some {
            return self.value.serialize_some(&inner);
        }
        let mut sequence = self.value.serialize_seq(Some(1))?;
        sequence.serialize_element(&inner)?;
        sequence.end()
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        if self.some {
            self.value.serialize_seq(Some(0))?.end()
        } else {
            self.value.serialize_unit()
        }
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.value.serialize_unit_variant(name, index, variant)
    }

    /// Leaves no trace in what is written, so what is inside is still directly inside.
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let inner = Inside {
            value,
            some: self.some,
        };
        self.value.serialize_newtype_struct(name, &inner)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.value
            .serialize_newtype_variant(name, index, variant, &Inside::plain(value))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.value.serialize_seq(length).map(Inside::plain)
    }

    fn serialize_tuple(self, length: usize) -> Result<Self::SerializeTuple, S::Error> {
        self.value.serialize_tuple(length).map(Inside::plain)
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        length: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        let inner = self.value.serialize_tuple_struct(name, length);
        inner.map(Inside::plain)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        self.value
            .serialize_tuple_variant(name, index, variant, length)
            .map(Inside::plain)
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        self.value.serialize_map(length).map(Inside::plain)
    }

    fn serialize_struct(
        self,
        name: &'static str,
        length: usize,
    ) -> Result<Self::SerializeStruct, S::Error> {
        self.value.serialize_struct(name, length).map(Inside::plain)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        self.value
            .serialize_struct_variant(name, index, variant, length)
            .map(Inside::plain)
    }

    fn is_human_readable(&self) -> bool {
        self.value.is_human_readable()
    }
}

/// Everything with several parts: each part is inside something that is told from nil.
macro_rules! parts {
    ($($trait:ident: $method:ident($($name:ident: $type:ty)?)),* $(,)?) => {
        $(
            impl<S: $trait> $trait for Inside<S> {
                type Ok = S::Ok;
                type Error = S::Error;

                fn $method<T: Serialize + ?Sized>(
                    &mut self,
                    $($name: $type,)?
                    value: &T,
                ) -> Result<(), S::Error> {
                    self.value.$method($($name,)? &Inside::plain(value))
                }

                fn end(self) -> Result<S::Ok, S::Error> {
                    self.value.end()
                }
            }
        )*
    };
}

parts! {
    SerializeSeq: serialize_element(),
    SerializeTuple: serialize_element(),
    SerializeTupleStruct: serialize_field(),
    SerializeTupleVariant: serialize_field(),
    SerializeStruct: serialize_field(name: &'static str),
    SerializeStructVariant: serialize_field(name: &'static str),
}

impl<S: SerializeMap> SerializeMap for Inside<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.value.serialize_key(&Inside::plain(key))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.value.serialize_value(&Inside::plain(value))
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.value.end()
    }
}
