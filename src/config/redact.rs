//! Keeping secrets out of what is printed.

use std::collections::BTreeMap;

/// What stands where a secret was.
pub const MASK: &str = "***";

/// Parts of property names whose values are secret.
const SECRET_NAMES: [&str; 7] = ["password", "passwd", "secret", "token", "jaas", "key.pem", "credential"];

/// Whether the value of a property of this name must not be printed.
///
/// ```
/// use headwater::config::redact::is_secret_name;
/// assert!(is_secret_name("sasl.password"));
/// assert!(is_secret_name("ssl.key.pem"));
/// assert!(!is_secret_name("ssl.ca.location"));
/// ```
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|part| name.contains(part))
}

/// A copy of `properties` (librdkafka's, for instance) that may be printed.
pub fn properties(properties: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    properties
        .iter()
        .map(|(name, value)| {
            let shown = if is_secret_name(name) { MASK.to_owned() } else { url(value) };
            (name.clone(), shown)
        })
        .collect()
}

/// `text` without the passwords that it holds as a URL (`postgres://user:password@host`) or as a
/// `password=…` item of a connection string or query.
///
/// ```
/// use headwater::config::redact::url;
/// assert_eq!(url("postgres://me:secret@db/events"), "postgres://me:***@db/events");
/// assert_eq!(url("host=db password=secret dbname=x"), "host=db password=*** dbname=x");
/// assert_eq!(url("localhost:9092"), "localhost:9092");
/// ```
pub fn url(text: &str) -> String {
    mask_items(&mask_user_info(text))
}

/// Masks what stands between the first `:` of the user info and its `@`.
fn mask_user_info(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    // A password may hold `/` or `?` when it was not encoded: the last `@` ends it.
    let Some((user_info, host)) = rest.rsplit_once('@') else { return text.to_owned() };
    match user_info.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:{MASK}@{host}"),
        None => text.to_owned(),
    }
}

/// Masks the values of `name=value` items with secret names, quoted values included.
fn mask_items(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('=') {
        shown.push_str(before);
        shown.push('=');
        let name = before.rsplit(|c: char| c.is_whitespace() || matches!(c, '?' | '&' | ';')).next().unwrap_or(before);
        rest = after;
        if is_secret_name(name) {
            shown.push_str(MASK);
            rest = skip_value(after);
        }
    }
    shown.push_str(rest);
    shown
}

/// What follows the value at the start of `text`.
fn skip_value(text: &str) -> &str {
    if let Some(quoted) = text.strip_prefix('\'') {
        let mut escaped = false;
        let end = quoted.char_indices().find(|(_, c)| {
            let ends = *c == '\'' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        return end.and_then(|(at, _)| quoted.get(at + 1..)).unwrap_or("");
    }
    let end = text.find(|c: char| c.is_whitespace() || matches!(c, '&' | ';')).unwrap_or(text.len());
    text.get(end..).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn passwords_go_and_the_rest_stays() {
        for (text, shown) in [
            ("postgres://localhost/x", "postgres://localhost/x"),
            ("postgres://me@localhost/x", "postgres://me@localhost/x"),
            ("postgres://me:a:b@c@h:1/x", "postgres://me:***@h:1/x"),
            ("postgres:///x?user=me&password=p&sslmode=require", "postgres:///x?user=me&password=***&sslmode=require"),
            ("user=me password='it\\'s x' dbname=y", "user=me password=*** dbname=y"),
            ("password='a b' dbname=y", "password=*** dbname=y"),
            ("a=b", "a=b"),
        ] {
            assert_eq!(url(text), shown);
        }
    }

    #[test]
    fn secret_properties_are_masked() {
        let given = BTreeMap::from([
            ("sasl.password".to_owned(), "x".to_owned()),
            ("security.protocol".to_owned(), "ssl".to_owned()),
        ]);
        let shown = properties(&given);
        assert_eq!(shown.get("sasl.password").map(String::as_str), Some("***"));
        assert_eq!(shown.get("security.protocol").map(String::as_str), Some("ssl"));
    }

    proptest! {
        #[test]
        fn no_password_of_a_url_survives(password in "[A-Z0-9@:/?=&]{8,20}") {
            let shown = url(&format!("postgres://user:{password}@host/db"));
            prop_assert!(!shown.contains(&password));
        }

        #[test]
        fn any_text_is_taken(text in ".{0,60}") {
            let _ = url(&text);
        }
    }
}
