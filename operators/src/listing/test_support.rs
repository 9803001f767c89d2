//! Listings for tests.

use proptest::prelude::*;

use super::*;

fn any_text() -> impl Strategy<Value = SmolStr> {
    prop_oneof!["", "[a-z]{1,30}", "\\PC{0,40}"].prop_map(SmolStr::from)
}

fn maybe_text() -> impl Strategy<Value = Option<SmolStr>> {
    proptest::option::of(any_text())
}

fn any_texts() -> impl Strategy<Value = Vec<SmolStr>> {
    prop::collection::vec(any_text(), 0..4)
}

fn any_moment() -> impl Strategy<Value = Moment> {
    const TEXTS: &[&str] = &["2026-03-28", "2026-03-28T19:30:00-07:00", "1999-12-31T23:59:59Z", "2027-01-01"];
    prop::sample::select(TEXTS).prop_map(|text| text.parse().unwrap())
}

fn any_geo() -> impl Strategy<Value = Geo> {
    let precision = prop_oneof![Just(GeoPrecision::City), Just(GeoPrecision::Street), Just(GeoPrecision::Venue)];
    let provenance =
        prop_oneof![Just(GeoProvenance::Source), Just(GeoProvenance::Places), Just(GeoProvenance::Gazetteer)];
    (1.0..90.0_f64, -180.0..180.0_f64, precision, provenance).prop_map(
        |(latitude, longitude, precision, provenance)| Geo {
            point: Point::from_degrees(latitude, longitude).unwrap(),
            precision,
            provenance,
        },
    )
}

fn any_venue() -> impl Strategy<Value = Venue> {
    let texts = (maybe_text(), maybe_text(), maybe_text(), maybe_text(), maybe_text(), maybe_text());
    (texts, proptest::option::of(any_geo())).prop_map(|((name, address, city, region, postal_code, country), geo)| {
        Venue { name, address, city, region, postal_code, country, geo }
    })
}

fn any_pricing() -> impl Strategy<Value = Pricing> {
    let amount = || proptest::option::of((-9_000_000..9_000_000_i64).prop_map(Amount));
    (amount(), amount(), maybe_text(), any::<Option<bool>>()).prop_map(|(min, max, currency, free)| Pricing {
        min,
        max,
        currency,
        free,
    })
}

prop_compose! {
    /// Any listing at all, with every field there or not.
    pub(crate) fn any_listing()(
        (source, external_id, title) in (any_text(), any_text(), any_text()),
        description in proptest::option::of("\\PC{0,90}"),
        (source_categories, tags, labels, images, urls) in
            (any_texts(), any_texts(), any_texts(), any_texts(), any_texts()),
        (category, confidence, timezone) in (maybe_text(), 0.0..1.0, maybe_text()),
        (start, end) in (any_moment(), proptest::option::of(any_moment())),
        venue in any_venue(),
        organizer in proptest::option::of((any_text(), maybe_text())),
        (pricing, capacity) in (proptest::option::of(any_pricing()), any::<Option<i64>>()),
        (online, cancelled) in any::<(bool, bool)>(),
    ) -> Listing {
        Listing {
            source,
            external_id,
            title,
            description: description.map(Into::into),
            source_categories: source_categories.into(),
            category,
            category_confidence: Ratio::new(confidence),
            tags,
            labels,
            start,
            end,
            timezone,
            venue,
            online,
            organizer: organizer.map(|(name, url)| Organizer { name, url }),
            pricing,
            capacity,
            images: images.into(),
            urls: urls.into(),
            status: if cancelled { Status::Cancelled } else { Status::Scheduled },
        }
    }
}
