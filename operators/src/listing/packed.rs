//! [`PackedListing`]: a listing as it is kept, and [`ListingView`]: what is read out of it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;

use super::{Amount, Geo, Listing, Organizer, Pricing, Ratio, Status, Venue, VenueView};
use crate::moment::Moment;
use crate::packed::{Packer, TextList, Unpacker};

/// A [`Listing`] in little memory: its texts are one piece.
///
/// What is asked for all the time is at hand; [`view`](Self::view) reads the rest. It is written and
/// read as the listing itself would be.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackedListing {
    /// All texts, lists and amounts, see `view`.
    piece: Box<str>,
    start: Moment,
    end: Option<Moment>,
    geo: Option<Geo>,
    category_confidence: Ratio,
    online: bool,
    status: Status,
}

impl PackedListing {
    /// Its source and the source's id for it.
    pub fn name(&self) -> (&str, &str) {
        let mut from = Unpacker::new(&self.piece);
        (from.text(), from.text())
    }

    /// Its source and its category.
    pub fn source_and_category(&self) -> (&str, Option<&str>) {
        let mut from = Unpacker::new(&self.piece);
        let (source, _external_id) = (from.text(), from.text());
        (source, from.optional())
    }

    /// Confidence of its category.
    pub fn category_confidence(&self) -> Ratio {
        self.category_confidence
    }

    /// When it begins.
    pub fn start(&self) -> Moment {
        self.start
    }

    /// When it ends: exclusive for instants, the last day for days.
    pub fn end(&self) -> Option<Moment> {
        self.end
    }

    /// The coordinates that the source gave.
    pub fn geo(&self) -> Option<Geo> {
        self.geo
    }

    /// The listing, to read. This costs a fraction of a microsecond: ask once.
    pub fn view(&self) -> ListingView<'_> {
        let mut from = Unpacker::new(&self.piece);
        ListingView {
            source: from.text(),
            external_id: from.text(),
            category: from.optional(),
            title: from.text(),
            source_categories: from.list(),
            category_confidence: self.category_confidence,
            tags: from.list(),
            labels: from.list(),
            start: self.start,
            end: self.end,
            timezone: from.optional(),
            venue: VenueView::unpack(&mut from, self.geo),
            online: self.online,
            organizer: OrganizerView::unpack(&mut from),
            pricing: PricingView::unpack(&mut from),
            capacity: from.signed(),
            images: from.list(),
            urls: from.list(),
            description: from.optional(),
            status: self.status,
        }
    }
}

impl From<&Listing> for PackedListing {
    fn from(listing: &Listing) -> Self {
        let mut into = Packer::new();
        into.text(&listing.source);
        into.text(&listing.external_id);
        into.optional(listing.category.as_deref());
        into.text(&listing.title);
        into.list(&listing.source_categories);
        into.list(&listing.tags);
        into.list(&listing.labels);
        into.optional(listing.timezone.as_deref());
        listing.venue.view().pack(&mut into);
        OrganizerView::pack(listing.organizer.as_ref().map(Organizer::view), &mut into);
        PricingView::pack(listing.pricing.as_ref().map(Pricing::view), &mut into);
        into.signed(listing.capacity);
        into.list(&listing.images);
        into.list(&listing.urls);
        into.optional(listing.description.as_deref());
        Self {
            piece: into.finish(),
            start: listing.start,
            end: listing.end,
            geo: listing.venue.geo,
            category_confidence: listing.category_confidence,
            online: listing.online,
            status: listing.status,
        }
    }
}

impl fmt::Debug for PackedListing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

impl Serialize for PackedListing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.view().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PackedListing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Listing::deserialize(deserializer).map(|listing| Self::from(&listing))
    }
}

/// A [`Listing`] to read, without texts of its own. It is written as the listing would be.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "see the fields of Listing")]
pub struct ListingView<'a> {
    pub source: &'a str,
    pub external_id: &'a str,
    pub title: &'a str,
    pub description: Option<&'a str>,
    pub source_categories: TextList<'a>,
    pub category: Option<&'a str>,
    pub category_confidence: Ratio,
    pub tags: TextList<'a>,
    pub labels: TextList<'a>,
    pub start: Moment,
    pub end: Option<Moment>,
    pub timezone: Option<&'a str>,
    pub venue: VenueView<'a>,
    pub online: bool,
    pub organizer: Option<OrganizerView<'a>>,
    pub pricing: Option<PricingView<'a>>,
    pub capacity: Option<i64>,
    pub images: TextList<'a>,
    pub urls: TextList<'a>,
    pub status: Status,
}

impl From<&ListingView<'_>> for Listing {
    fn from(view: &ListingView<'_>) -> Self {
        Self {
            source: view.source.into(),
            external_id: view.external_id.into(),
            title: view.title.into(),
            description: view.description.map(SmolStr::from),
            source_categories: view.source_categories.iter().map(SmolStr::from).collect(),
            category: view.category.map(SmolStr::from),
            category_confidence: view.category_confidence,
            tags: view.tags.iter().map(SmolStr::from).collect(),
            labels: view.labels.iter().map(SmolStr::from).collect(),
            start: view.start,
            end: view.end,
            timezone: view.timezone.map(SmolStr::from),
            venue: Venue::from(&view.venue),
            online: view.online,
            organizer: view.organizer.map(Organizer::from),
            pricing: view.pricing.map(Pricing::from),
            capacity: view.capacity,
            images: view.images.iter().map(SmolStr::from).collect(),
            urls: view.urls.iter().map(SmolStr::from).collect(),
            status: view.status,
        }
    }
}

impl<'a> VenueView<'a> {
    pub(crate) fn unpack(from: &mut Unpacker<'a>, geo: Option<Geo>) -> Self {
        Self {
            name: from.optional(),
            address: from.optional(),
            city: from.optional(),
            region: from.optional(),
            postal_code: from.optional(),
            country: from.optional(),
            geo,
        }
    }

    /// Everything but the coordinates.
    pub(crate) fn pack(&self, into: &mut Packer) {
        let texts = [self.name, self.address, self.city, self.region, self.postal_code, self.country];
        texts.into_iter().for_each(|text| into.optional(text));
    }
}

/// An [`Organizer`] to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "see the fields of Organizer")]
pub struct OrganizerView<'a> {
    pub name: &'a str,
    pub url: Option<&'a str>,
}

impl<'a> OrganizerView<'a> {
    pub(crate) fn unpack(from: &mut Unpacker<'a>) -> Option<Self> {
        let name = from.optional()?;
        Some(Self { name, url: from.optional() })
    }

    pub(crate) fn pack(organizer: Option<Self>, into: &mut Packer) {
        into.optional(organizer.map(|organizer| organizer.name));
        if let Some(organizer) = organizer {
            into.optional(organizer.url);
        }
    }
}

impl Organizer {
    /// The organizer, to read.
    pub fn view(&self) -> OrganizerView<'_> {
        OrganizerView { name: &self.name, url: self.url.as_deref() }
    }
}

impl From<OrganizerView<'_>> for Organizer {
    fn from(view: OrganizerView<'_>) -> Self {
        Self { name: view.name.into(), url: view.url.map(SmolStr::from) }
    }
}

/// A [`Pricing`] to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "see the fields of Pricing")]
pub struct PricingView<'a> {
    pub min: Option<Amount>,
    pub max: Option<Amount>,
    pub currency: Option<&'a str>,
    pub free: Option<bool>,
}

impl<'a> PricingView<'a> {
    const ABSENT: u64 = 0;
    const SILENT: u64 = 1;
    const COSTS: u64 = 2;
    const FREE: u64 = 3;

    pub(crate) fn unpack(from: &mut Unpacker<'a>) -> Option<Self> {
        let free = match from.number() {
            Self::ABSENT => return None,
            Self::COSTS => Some(false),
            Self::FREE => Some(true),
            _ => None,
        };
        let (min, max) = (from.signed().map(Amount), from.signed().map(Amount));
        Some(Self { min, max, currency: from.optional(), free })
    }

    pub(crate) fn pack(pricing: Option<Self>, into: &mut Packer) {
        let Some(pricing) = pricing else { return into.number(Self::ABSENT) };
        into.number(match pricing.free {
            None => Self::SILENT,
            Some(false) => Self::COSTS,
            Some(true) => Self::FREE,
        });
        into.signed(pricing.min.map(|amount| amount.0));
        into.signed(pricing.max.map(|amount| amount.0));
        into.optional(pricing.currency);
    }
}

impl Pricing {
    /// The prices, to read.
    pub fn view(&self) -> PricingView<'_> {
        PricingView { min: self.min, max: self.max, currency: self.currency.as_deref(), free: self.free }
    }
}

impl From<PricingView<'_>> for Pricing {
    fn from(view: PricingView<'_>) -> Self {
        Self { min: view.min, max: view.max, currency: view.currency.map(SmolStr::from), free: view.free }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::test_support::any_listing;
    use super::*;

    proptest! {
        #[test]
        fn a_packed_listing_says_what_the_listing_says(listing in any_listing(), other in any_listing()) {
            let packed = PackedListing::from(&listing);
            prop_assert_eq!(&Listing::from(&packed.view()), &listing);
            prop_assert_eq!((packed.start(), packed.end(), packed.geo()), (listing.start, listing.end, listing.venue.geo));
            prop_assert_eq!(packed.name(), (listing.source.as_str(), listing.external_id.as_str()));
            prop_assert_eq!(packed.source_and_category(), (listing.source.as_str(), listing.category.as_deref()));
            prop_assert_eq!(packed == PackedListing::from(&other), listing == other);
        }

        #[test]
        fn a_packed_listing_is_written_as_the_listing_itself(listing in any_listing()) {
            let packed = PackedListing::from(&listing);
            let json = serde_json::to_string(&listing).unwrap();
            prop_assert_eq!(&serde_json::to_string(&packed).unwrap(), &json);
            prop_assert_eq!(&serde_json::from_str::<PackedListing>(&json).unwrap(), &packed);
            let bytes = bincode::serialize(&listing).unwrap();
            prop_assert_eq!(&bincode::serialize(&packed).unwrap(), &bytes);
            prop_assert_eq!(bincode::deserialize::<PackedListing>(&bytes).unwrap(), packed);
        }
    }
}
