//! What an audit record says of a request, member by member.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::Value;
use std::borrow::Cow;

/// The members of a JSON object, in the order of their names and each once. There are few, and nearly all
/// names are known to the program, which a map would copy for every request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Members(Vec<(Cow<'static, str>, Value)>);

impl Members {
    /// None.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a member, or gives the one of this name another value.
    pub fn insert(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        let (name, value) = (name.into(), value.into());
        match self.place(&name) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (name, value)),
        }
    }

    /// Takes a member out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self.place(name).ok()?;
        Some(self.0.remove(at).1)
    }

    /// The value of a member.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let at = self.place(name).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0
            .binary_search_by(|(other, _)| other.as_ref().cmp(name))
    }
}

impl<N: Into<Cow<'static, str>>, V: Into<Value>> FromIterator<(N, V)> for Members {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(members: I) -> Self {
        let mut all = Self::new();
        for (name, value) in members {
            all.insert(name, value);
        }
        all
    }
}

impl From<Members> for Value {
    fn from(Members(members): Members) -> Self {
        let named = members.into_iter();
        Self::Object(
            named
                .map(|(name, value)| (name.into_owned(), value))
                .collect(),
        )
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Members::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    members.insert(name, value);
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn they_are_an_object_s_in_their_order_and_each_once() {
        let mut members = Members::from_iter([("keyId", json!("k")), ("dryRun", json!(false))]);
        members.insert("a".to_owned(), json!({ "b": 1 }));
        members.insert("keyId", "other");
        let text = r#"{"a":{"b":1},"dryRun":false,"keyId":"other"}"#;
        assert_eq!(serde_json::to_string(&members).unwrap(), text);
        assert_eq!(serde_json::from_str::<Members>(text).unwrap(), members);
        assert_eq!(members.get("keyId"), Some(&json!("other")));
        assert_eq!(members.get("keyID"), None);
        assert_eq!(members.remove("dryRun"), Some(json!(false)));
        assert_eq!(members.remove("dryRun"), None);
        assert_eq!(members.iter().len(), 2);
        assert_eq!(
            Value::from(members),
            json!({"a": {"b": 1}, "keyId": "other"})
        );
        assert!(serde_json::from_str::<Members>("[]").is_err());
    }
}
