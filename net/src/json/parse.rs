//! From text to a tree: bounded in depth and in size, and aware of members that stand there twice.

use std::{
    cell::{Cell, RefCell},
    fmt,
};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// How deep values may stand in values.
pub const DEPTH_MAX: usize = 16;
/// Most values in one message, so that a small message does not become a large tree: as many as a
/// RESP command has arguments.
pub const VALUES_MAX: usize = 1 << 20;

/// What was read.
pub(super) struct Tree {
    pub(super) value: Value,
    /// The first member of an object that stands in it twice.
    pub(super) twice: Option<String>,
}

/// # Errors
/// What is wrong with the text, and where; no byte of it is repeated.
pub(super) fn parse(text: &[u8]) -> Result<Tree, serde_json::Error> {
    let (left, twice) = (Cell::new(VALUES_MAX), RefCell::new(None));
    let mut from = serde_json::Deserializer::from_slice(text);
    let value = Node { depth: DEPTH_MAX, left: &left, twice: &twice }.deserialize(&mut from)?;
    from.end()?;
    Ok(Tree { value, twice: twice.into_inner() })
}

#[derive(Clone, Copy)]
struct Node<'a> {
    depth: usize,
    left: &'a Cell<usize>,
    twice: &'a RefCell<Option<String>>,
}

impl Node<'_> {
    fn inner<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))?;
        Ok(Node { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.ok_or_else(|| D::Error::custom("too many values"))?);
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, yes: bool) -> Result<Value, E> {
        Ok(Value::Bool(yes))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut members = Map::new();
        while let Some(name) = from.next_key::<String>()? {
            let value = from.next_value_seed(inner)?;
            if members.contains_key(&name) {
                self.twice.borrow_mut().get_or_insert(name);
            } else {
                members.insert(name, value);
            }
        }
        Ok(members.into())
    }
}
