//! Which keys a type reads from a table.

use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor, value};
use serde::forward_to_deserialize_any;

/// The keys of a struct, as they are written; `None` for what is no struct of plain fields, so that
/// nobody can tell.
pub fn keys_of<T: DeserializeOwned>() -> Option<&'static [&'static str]> {
    let mut keys = None;
    // It never comes to a value: the deserialiser ends when it has heard of the fields.
    let _ = T::deserialize(Listener { keys: &mut keys });
    keys
}

struct Listener<'k> {
    keys: &'k mut Option<&'static [&'static str]>,
}

impl<'de> Deserializer<'de> for Listener<'_> {
    type Error = value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, value::Error> {
        *self.keys = Some(fields);
        Err(value::Error::custom("there is no value"))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, value::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, value::Error> {
        Err(value::Error::custom("no struct"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    #[allow(dead_code, reason = "only its keys matter")]
    struct Section {
        first: u32,
        #[serde(rename = "other")]
        second: String,
        #[serde(skip)]
        third: bool,
    }

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "only its keys matter")]
    struct Wrapped(Section);

    #[test]
    fn a_struct_tells_its_keys() {
        assert_eq!(keys_of::<Section>(), Some(&["first", "other"][..]));
        assert_eq!(keys_of::<Wrapped>(), Some(&["first", "other"][..]));
    }

    #[test]
    fn a_map_has_no_keys_of_its_own() {
        assert_eq!(keys_of::<BTreeMap<String, u32>>(), None);
        assert_eq!(keys_of::<u32>(), None);
    }
}
