//! [`Reason`]: everything that can cost an event points, with what would mend it.

use serde::{Deserialize, Serialize};

/// Reasons, each at most once, in the order of [`Reason::ALL`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reasons(u32);

const _: () = assert!(Reason::ALL.len() <= u32::BITS as usize);

impl Reasons {
    pub(super) fn add(&mut self, reason: Reason) {
        self.0 |= 1 << reason as u32;
    }

    /// The reasons.
    pub fn iter(self) -> impl Iterator<Item = Reason> {
        Reason::ALL.iter().copied().filter(move |reason| self.0 & (1 << *reason as u32) != 0)
    }

    /// How many they are.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Reason> for Reasons {
    fn from_iter<I: IntoIterator<Item = Reason>>(reasons: I) -> Self {
        let mut all = Self::default();
        reasons.into_iter().for_each(|reason| all.add(reason));
        all
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $code:literal $text:literal $mend:literal)*) => {
        /// Something that costs an event points. The codes are stable: tools filter by them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$doc])* #[serde(rename = $code)] $name,)*
        }

        impl Reason {
            /// All reasons there are.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable text form, such as `no-place`.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What is wrong, for people.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What would mend it.
            pub fn recommendation(self) -> &'static str {
                match self { $(Self::$name => $mend,)* }
            }
        }
    };
}

reasons! {
    /// Core: the title is empty.
    NoTitle "no-title" "has no title" "give the event a title"
    /// Core: neither online nor with a venue, address or city.
    NoPlace "no-place" "says neither where it is nor that it is online" "name the venue, or mark the event as online"
    /// Core: no web address.
    NoUrl "no-url" "has no page of its own" "link to the page of the event"
    /// Core: no description.
    NoDescription "no-description" "has no description" "describe the event in a few sentences"
    /// Format: shorter than 3 or longer than 200 characters.
    TitleLength "title-length" "has a title shorter than 3 or longer than 200 characters" "use a title that fits on one line"
    /// Format: more than ten letters, none of them small.
    TitleShouts "title-shouts" "has a title in capital letters only" "write the title in normal case"
    /// Format: neither `http://` nor `https://`, or with spaces.
    InvalidUrl "invalid-url" "has a link that is not a web address" "use addresses that begin with https://"
    /// Format: not a name of the IANA database.
    UnknownTimezone "unknown-timezone" "names a time zone that does not exist" "use an IANA name such as Europe/Paris"
    /// Format: a currency that is not three capital letters, or prices without any.
    InvalidCurrency "invalid-currency" "has a price without a valid currency" "give the currency as an ISO 4217 code such as EUR"
    /// Format: not a country's name or code.
    UnknownCountry "unknown-country" "names a country that is not known" "give the country by its name or ISO 3166 code"
    /// Business: the end lies before the start.
    EndBeforeStart "end-before-start" "ends before it starts" "correct the start or the end"
    /// Business: too long after it was first seen.
    TooFarAhead "too-far-ahead" "starts absurdly late" "check the year of the start"
    /// Business: too long before it was first seen.
    TooLongAgo "too-long-ago" "was long over when it was first seen" "check the year of the start"
    /// Business: a price below zero.
    NegativePrice "negative-price" "has a price below zero" "correct the price"
    /// Business: the lowest price exceeds the highest.
    PriceRange "price-range" "has a lowest price above its highest" "swap or correct the prices"
    /// Business: zero or less.
    Capacity "capacity" "takes no people at all" "correct or leave out the capacity"
    /// Geography: no coordinates.
    NoCoordinates "no-coordinates" "has no coordinates" "give coordinates, or an address that can be found"
    /// Geography: coordinates of a city or street only.
    CoarseCoordinates "coarse-coordinates" "is located by its city or street only" "give the coordinates of the venue"
    /// Geography: neither venue nor address.
    NoVenue "no-venue" "names neither venue nor street address" "name the venue or give its address"
    /// Geography: no city.
    NoCity "no-city" "names no city" "name the city"
    /// Geography: no country.
    NoCountry "no-country" "names no country" "name the country"
    /// Content: no description, or a short one.
    ShortDescription "short-description" "says little about itself" "describe what happens, for whom, and what to bring"
    /// Content: no image.
    NoImage "no-image" "has no image" "add an image"
    /// Content: no category.
    NoCategory "no-category" "fits no category" "use words that say what kind of event it is"
    /// Content: no organizer.
    NoOrganizer "no-organizer" "does not say who is behind it" "name the organizer"
    /// Content: no tags.
    NoTags "no-tags" "has no tags" "add tags"
    /// Content: a single word.
    BareTitle "bare-title" "has a title of one word" "say in the title what happens"
}
