//! The events that the floor writes: the fields that the pipeline writes, as plain JSON.

use serde::Serialize;

use super::parse::{Listing, Text};

/// A listing with its identity.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    pub source: &'a str,
    pub key: &'a [u8],
    pub listing: &'a Listing<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    format: u8,
    id: String,
    title: &'a Text<'a>,
    description: &'a Text<'a>,
    category: Option<&'a Text<'a>>,
    start_time: String,
    end_time: Option<String>,
    timezone: Option<&'a Text<'a>>,
    all_day: bool,
    venue: Venue<'a>,
    organizer: Organizer<'a>,
    pricing: Option<Pricing<'a>>,
    capacity: i64,
    images: Vec<&'a Text<'a>>,
    urls: Vec<&'a Text<'a>>,
    status: &'a Text<'a>,
    listings: Vec<MemberName<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Venue<'a> {
    name: Option<&'a Text<'a>>,
    address: Option<&'a Text<'a>>,
    city: &'a Text<'a>,
    region: Option<&'a Text<'a>>,
    postal_code: Option<&'a Text<'a>>,
    country: Option<&'a Text<'a>>,
    latitude: Option<f64>,
    longitude: Option<f64>,
}

#[derive(Serialize)]
struct Organizer<'a> {
    name: &'a Text<'a>,
    url: Option<&'a Text<'a>>,
}

#[derive(Serialize)]
struct Pricing<'a> {
    min: f64,
    max: f64,
    currency: Option<&'a Text<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemberName<'a> {
    source: &'a str,
    external_id: &'a str,
    url: &'a Text<'a>,
}

/// Appends the event of `members`, which are not empty, to `out`. Of each field the first value
/// counts, of descriptions the longest.
pub(super) fn write(members: &[Member<'_>], out: &mut Vec<u8>) {
    let Some(first) = members.first() else { return };
    let listings = || members.iter().map(|member| member.listing);
    let longest = listings().max_by_key(|listing| listing.description.0.len()).unwrap_or(first.listing);
    let point = listings().find_map(|listing| listing.point);
    let priced = listings().find(|listing| listing.price.is_some());
    let event = Event {
        format: 1,
        id: format!("{:032x}", identity(first)),
        title: &first.listing.title,
        description: &longest.description,
        category: listings().find_map(|listing| listing.category.as_ref()),
        start_time: time(first.listing.start, first.listing.whole_days),
        end_time: listings().find_map(|one| Some(time(one.end?, one.whole_days))),
        timezone: listings().find_map(|listing| listing.timezone.as_ref()),
        all_day: first.listing.whole_days,
        venue: Venue {
            name: listings().find_map(|listing| listing.venue.as_ref()),
            address: listings().find_map(|listing| listing.street.as_ref()),
            city: &first.listing.city,
            region: listings().find_map(|listing| listing.region.as_ref()),
            postal_code: listings().find_map(|listing| listing.postal_code.as_ref()),
            country: listings().find_map(|listing| listing.country.as_ref()),
            latitude: point.map(|(lat, _)| lat),
            longitude: point.map(|(_, lon)| lon),
        },
        organizer: Organizer {
            name: &first.listing.organizer,
            url: listings().find_map(|listing| listing.organizer_url.as_ref()),
        },
        pricing: priced.and_then(|listing| {
            let (min, max) = listing.price?;
            Some(Pricing { min, max, currency: listing.currency.as_ref() })
        }),
        capacity: first.listing.seats,
        images: listings().filter_map(|listing| listing.image.as_ref()).collect(),
        urls: listings().map(|listing| &listing.url).collect(),
        status: &first.listing.status,
        listings: members.iter().map(name).collect(),
    };
    // Writing to memory cannot fail, and finite numbers and text can always be written.
    let _ = serde_json::to_writer(out, &event);
}

fn name<'a>(member: &Member<'a>) -> MemberName<'a> {
    let external_id = std::str::from_utf8(member.key).unwrap_or_default();
    MemberName { source: member.source, external_id, url: &member.listing.url }
}

fn identity(member: &Member<'_>) -> u128 {
    xxhash_rust::xxh3::xxh3_128_with_seed(member.key, xxhash_rust::xxh3::xxh3_64(member.source.as_bytes()))
}

fn time(minutes: i64, whole_days: bool) -> String {
    let moment = jiff::Timestamp::from_second(minutes * 60).unwrap_or_default();
    let text = moment.to_string();
    if whole_days { text.get(..10).unwrap_or_default().to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_takes_what_its_listings_have() {
        let one = Listing { title: Text("Jazz".into()), description: Text("short".into()), ..Listing::default() };
        let other = Listing {
            title: Text("JAZZ".into()),
            description: Text("much longer".into()),
            point: Some((52.5, 13.25)),
            end: Some(90),
            ..Listing::default()
        };
        let member = |key, listing| Member { source: "s", key, listing };
        let mut out = Vec::new();
        write(&[member(b"1", &one), member(b"2", &other)], &mut out);
        let event: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(event["title"], "Jazz");
        assert_eq!(event["description"], "much longer");
        assert_eq!(event["startTime"], "1970-01-01T00:00:00Z");
        assert_eq!(event["endTime"], "1970-01-01T01:30:00Z");
        assert_eq!(event["venue"]["latitude"], 52.5);
        assert_eq!(event["listings"][1]["externalId"], "2");
    }
}
