//! Identities of the domain, see [`headwater_flow::ids`].

use headwater_flow::id_type;
pub use headwater_flow::ids::{DocumentId, digest};

id_type! {
    /// Stand-in for a listing's identity (source, external id). Shown as 32 hexadecimal digits.
    ListingId
}
id_type! {
    /// Identity of an event. Shown as 32 hexadecimal digits.
    EventId
}
impl ListingId {
    /// The stand-in of the listing `external_id` of `source`.
    ///
    /// ```
    /// use headwater_operators::ListingId;
    /// assert_eq!(ListingId::of("venue", "17"), ListingId::of("venue", "17"));
    /// assert_ne!(ListingId::of("venue", "17"), ListingId::of("venue1", "7"));
    /// ```
    pub fn of(source: &str, external_id: &str) -> Self {
        Self(digest(&[b"listing", source.as_bytes(), external_id.as_bytes()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_json() {
        let id = ListingId::of("a", "b");
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{:032x}\"", { id.0 }));
        assert_eq!(id.to_string(), format!("{:032x}", { id.0 }));
        assert_eq!(serde_json::from_str::<ListingId>(&json).unwrap(), id);
        assert!(serde_json::from_str::<ListingId>("\"not hex\"").is_err());
    }
}
