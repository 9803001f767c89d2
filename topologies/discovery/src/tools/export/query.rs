//! Queries: the parameters of `/api/events`, from a text or from the payload of a job.

use serde_json::{Map, Value};
use url::form_urlencoded;

use super::error::ExportError;
use super::format::Format;

/// Parameters that say which part of a list is given, or add to it: an export gives all of it and nothing else.
const NOT_OF_EXPORTS: [&str; 4] = ["cursor", "limit", "offset", "facets"];

/// Parameters, in the order in which they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// The query in a text such as `city=Melbourne&price=free`.
    ///
    /// # Errors
    /// The first parameter that an export cannot have.
    pub fn of_text(text: &str) -> Result<Self, ExportError> {
        let text = text.strip_prefix('?').unwrap_or(text);
        Self::of(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// The query in the payload of a job, and the format that its field `format` names. A parameter is a text, a
    /// number, a truth value, or a list of these. `null` is every event.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_payload(text: &str) -> Result<(Self, Option<Format>), ExportError> {
        let payload = |reason: String| ExportError::Payload { reason };
        let fields: Option<Map<String, Value>> =
            serde_json::from_str(text).map_err(|error| payload(format!("{error}; it has to be an object")))?;
        let mut fields = fields.unwrap_or_default();
        let format = match fields.remove("format") {
            None | Some(Value::Null) => None,
            Some(name) => Some(serde_json::from_value(name).map_err(|error| payload(format!("format: {error}")))?),
        };
        let mut pairs = Vec::new();
        for (name, value) in fields {
            match text_of(&value) {
                Some(text) => pairs.push((name, text)),
                None if value.is_null() => {}
                None => {
                    let reason = "it has to be a text, a number, true, false, or a list of these".to_owned();
                    return Err(ExportError::Parameter { name, reason });
                }
            }
        }
        Ok((Self::of(pairs)?, format))
    }

    fn of(pairs: Vec<(String, String)>) -> Result<Self, ExportError> {
        match pairs.iter().find(|(name, _)| NOT_OF_EXPORTS.contains(&&**name)) {
            None => Ok(Self(pairs)),
            Some((name, _)) => {
                let reason = "an export gives the whole list; leave it out".to_owned();
                Err(ExportError::Parameter { name: name.clone(), reason })
            }
        }
    }

    /// The parameters for a page after `cursor`, of `limit` events.
    pub fn page(&self, limit: usize, cursor: Option<&str>) -> Vec<(String, String)> {
        let mut pairs = self.0.clone();
        pairs.push(("limit".to_owned(), limit.to_string()));
        pairs.extend(cursor.map(|cursor| ("cursor".to_owned(), cursor.to_owned())));
        pairs
    }

    /// The parameters for as little as tells the size of the list.
    pub fn size(&self) -> Vec<(String, String)> {
        let mut pairs = self.page(1, None);
        pairs.retain(|(name, _)| name != "fields");
        pairs.push(("fields".to_owned(), "id".to_owned()));
        pairs
    }
}

/// A value as the API takes it. Of a list, a comma within a value is `\,`.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Array(values) => {
            let one = |value: &Value| match value {
                Value::Array(_) => None,
                value => text_of(value).map(|text| text.replace(',', "\\,")),
            };
            values.iter().map(one).collect::<Option<Vec<_>>>().map(|texts| texts.join(","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_text_and_a_payload_say_the_same() {
        let text = Query::of_text("?city=S%C3%A3o+Paulo&price=free&category=Arts%5C%2C+Crafts,Music").unwrap();
        let payload =
            r#"{"city":"São Paulo","price":"free","category":["Arts, Crafts","Music"],"format":"ics","q":null}"#;
        let (query, format) = Query::of_payload(payload).unwrap();
        let sorted = |query: Query| {
            let mut pairs = query.0;
            pairs.sort();
            pairs
        };
        assert_eq!((sorted(query), format), (sorted(text), Some(Format::Ics)));
    }

    #[test]
    fn numbers_and_lists_are_as_the_api_takes_them() {
        let (query, format) = Query::of_payload(r#"{"bbox":[144.5,-38,145.5,-37.5],"online":true}"#).unwrap();
        assert_eq!((query.0, format), (pairs(&[("bbox", "144.5,-38,145.5,-37.5"), ("online", "true")]), None));
        assert_eq!(Query::of_payload("null").unwrap(), (Query::default(), None));
    }

    #[test]
    fn what_is_no_query_is_told() {
        let payload = |text: &str| Query::of_payload(text).unwrap_err().to_string();
        assert!(payload("").starts_with("standard input is no query: EOF"), "{}", payload(""));
        assert!(payload("[1]").contains("it has to be an object"), "{}", payload("[1]"));
        assert!(payload(r#"{"format":"pdf"}"#).contains("unknown variant `pdf`"));
        assert!(payload(r#"{"city":{"a":1}}"#).starts_with("the parameter city: it has to be a text"));
        assert!(payload(r#"{"city":[["a"]]}"#).starts_with("the parameter city: "));
        assert!(payload(r#"{"limit":5}"#).starts_with("the parameter limit: an export gives the whole list"));
        let error = Query::of_text("q=a&cursor=x").unwrap_err();
        assert!(error.to_string().starts_with("the parameter cursor: "));
    }

    #[test]
    fn pages_and_the_size_are_asked_for_with_the_same_filter() {
        let query = Query::of_text("city=Ely&fields=title").unwrap();
        let asked = [("city", "Ely"), ("fields", "title"), ("limit", "200"), ("cursor", "c")];
        assert_eq!(query.page(200, Some("c")), pairs(&asked));
        assert_eq!(query.size(), pairs(&[("city", "Ely"), ("limit", "1"), ("fields", "id")]));
    }
}
