//! What serde and Postgres see differently from the writer of a JSON text; the places are RFC 6901 pointers.

use serde_json::Value;

/// serde reads an array into a struct by position: a `[lon, lat]` in GeoJSON's order would silently become latitude and
/// longitude. Says where `given` has an array and what was `read` from it an object.
#[must_use]
pub fn array_as_object(given: &Value, read: &Value) -> Option<String> {
    match (given, read) {
        (Value::Array(_), Value::Object(_)) => Some(String::new()),
        (Value::Array(given), Value::Array(read)) => given
            .iter()
            .zip(read)
            .enumerate()
            .find_map(|(index, (given, read))| Some(format!("/{index}{}", array_as_object(given, read)?))),
        (Value::Object(given), Value::Object(read)) => given
            .iter()
            .find_map(|(key, given)| Some(format!("/{}{}", escaped(key), array_as_object(given, read.get(key)?)?))),
        _ => None,
    }
}

/// Postgres holds no NUL, in text or in JSON. Says where one stands: in the text there, or in a key of the object there.
#[must_use]
pub fn nul(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| Some(format!("/{index}{}", nul(item)?)))
        }
        Value::Object(fields) if fields.keys().any(|key| key.contains('\0')) => Some(String::new()),
        Value::Object(fields) => fields.iter().find_map(|(key, item)| Some(format!("/{}{}", escaped(key), nul(item)?))),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// A key as a part of a pointer.
#[must_use]
pub fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_array_is_found_where_an_object_was_read() {
        let found = |given, read| array_as_object(&given, &read);
        assert_eq!(found(json!([1]), json!({"a": 1})).as_deref(), Some(""));
        assert_eq!(found(json!({"a/b": [[1], [2]]}), json!({"a/b": [[1], {"x": 2}]})).as_deref(), Some("/a~1b/1"));
        assert_eq!(found(json!({"a": [1], "later": [2]}), json!({"a": [1]})), None);
    }

    #[test]
    fn a_nul_is_found_wherever_it_stands() {
        assert_eq!(nul(&json!({"a": ["x", {"b~": "x\0"}]})).as_deref(), Some("/a/1/b~0"));
        assert_eq!(nul(&json!({"a": {"b\0": 1}})).as_deref(), Some("/a"));
        assert_eq!(nul(&json!("\0")).as_deref(), Some(""));
        // The six characters are not the one.
        assert_eq!(nul(&json!({"\\u0000": "\\u0000", "n": null})), None);
    }
}
