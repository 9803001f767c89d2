use super::*;
use crate::listing::{Geo, GeoProvenance, Listing, LiveListing, Point};

fn listing(source: &str, id: &str, title: &str, start: &str) -> Listing {
    Listing::new(source, id, title, start.parse().unwrap())
}

fn at(mut listing: Listing, venue: &str, city: &str) -> Listing {
    listing.venue.name = Some(venue).filter(|name| !name.is_empty()).map(Into::into);
    listing.venue.city = Some(city).filter(|name| !name.is_empty()).map(Into::into);
    listing
}

fn compare_with(config: &ResolveConfig, a: &Listing, b: &Listing) -> Comparison {
    let fingerprint = |listing: &Listing| {
        let live = LiveListing::new(listing, 0, 0);
        Fingerprint::of(&live, config)
    };
    let (a, b) = (fingerprint(a), fingerprint(b));
    let comparer = Comparer::new(config);
    let there = comparer.compare(&a, &b);
    let back = comparer.compare(&b, &a);
    assert_eq!((there.score, there.veto, there.matched), (back.score, back.veto, back.matched), "not symmetric");
    assert_eq!(comparer.matches(&a, &b), there.matched.then_some(there.score));
    let sum: f64 = there.contributions.iter().map(|part| part.points.get()).sum();
    assert!((sum - there.points).abs() < 0.01, "the contributions of {there} do not add up to {}", there.points);
    there
}

fn compare(a: &Listing, b: &Listing) -> Comparison {
    compare_with(&ResolveConfig::default(), a, b)
}

/// Two titles of one evening at one place.
fn same_evening(a: &str, b: &str) -> Comparison {
    let evening =
        |source, title| at(listing(source, "1", title, "2026-05-01T18:00:00-07:00"), "Odd Fellows Hall", "Davis");
    compare(&evening("a", a), &evening("b", b))
}

#[test]
fn the_same_letters_in_more_words_count_alike_from_both_sides() {
    assert!(same_evening("Fai&r", "Fair").matched);
    assert!(same_evening("Blue Bird Orchestra", "Bluebird Orchestra").matched);
}

#[test]
fn other_words_half_an_hour_apart_at_one_place_match() {
    let a = at(listing("a", "1", "Food Festival at Indiranagar", "2026-05-01T18:00:00+05:30"), "Indiranagar Club", "");
    let b = at(listing("b", "1", "Indiranagar Food Festival", "2026-05-01T18:30:00+05:30"), "Indiranagar Club", "");
    let found = compare(&a, &b);
    assert!(found.matched, "{found}");
    assert_eq!(found.to_string().split(':').next(), Some("the same event"));
    assert!(found.to_string().contains("title +"), "{found}");
}

#[test]
fn one_telling_word_that_differs_outweighs_many_that_agree() {
    for (a, b) in [
        ("Memory Lab: Scanning", "Memory Lab: Cassettes"),
        ("Toddler Storytime with Puppets", "Preschool Storytime with Puppets"),
        ("Bird Walk part 1", "Bird Walk part 2"),
        ("Ravens vs Owls Girls Soccer", "Ravens vs Owls Boys Soccer"),
    ] {
        let found = same_evening(a, b);
        assert!(!found.matched, "{a} / {b}: {found}");
    }
}

#[test]
fn the_same_in_other_words_is_the_same() {
    for (a, b) in [
        ("Ravens vs Owls Soccer", "Owls at Ravens Soccer"),
        ("CANCELED: Rat Therapy Quartet", "Rat Therapy Quartet"),
        ("Golden State Bank presents: Rat Therapy Quartet", "Rat Therapy Quartet"),
        ("12th Annual Harvest Marathon", "Harvest Marathon (12th)"),
        ("RailsIsrael", "Rails Israel"),
        ("International Symposium on Bird Identification and Banding (ISBIB)", "ISBIB 2026"),
        ("Łódź Jazz Quartet", "Lodz Jazz Quartet"),
        ("Brass I/O", "Brass IO"),
        ("R & B Cellar", "R&B Cellar"),
        ("Driftwood Kestrelconf", "Driftwood Kestrel"),
        ("KestrelBerry Conference", "Kestrel Berry"),
        ("SiCoKaFe", "Silver Coast Kayak Festival"),
    ] {
        let found = same_evening(a, b);
        assert!(found.matched, "{a} / {b}: {found}");
    }
}

#[test]
fn one_event_in_two_languages_is_one() {
    assert!(same_evening("Kestrel Quartett spielt Haydn", "Kestrel Quartet plays Haydn").matched);
    assert!(same_evening("Konzert für Kinder: Die Otter", "Concert for Children: Die Otter").matched);
    assert!(!same_evening("Kestrel Quartett spielt Haydn", "Kestrel Quartet plays Bartok").matched);
}

#[test]
fn that_both_are_online_is_no_house_in_common() {
    let talk = |source: &str, title: &str, venue: &str| {
        let mut talk = at(listing(source, "1", title, "2026-05-01T18:00:00Z"), venue, "");
        talk.online = true;
        compare(&talk, &{
            let mut other = at(listing("b", "1", "Study Abroad Fair", "2026-05-01T18:00:00Z"), "Online", "");
            other.online = true;
            other
        })
    };
    let found = talk("a", "Study Abroad in Peru", "Zoom (Online)");
    let of_place = |feature: &Feature| matches!(feature, Feature::VenueHeld | Feature::VenueSame | Feature::VenuePart);
    assert!(!found.found.iter().any(|(feature, _)| of_place(feature)), "{found}");
    assert!(talk("a", "Study Abroad Fair", "Zoom (Online)").matched);
}

#[test]
fn trivia_nights_without_a_place_do_not_match() {
    let a = listing("a", "1", "Trivia Night", "2026-05-01");
    let b = listing("b", "1", "Trivia Night", "2026-05-01");
    let found = compare(&a, &b);
    assert!(!found.matched, "{found}");
    let in_a_pub = |source| at(listing(source, "1", "Trivia Night", "2026-05-01T19:00:00-07:00"), "Sudwerk", "Davis");
    assert!(compare(&in_a_pub("a"), &in_a_pub("b")).matched);
    let elsewhere = at(listing("b", "1", "Trivia Night", "2026-05-01T19:00:00-07:00"), "Odd Fellows", "Davis");
    assert!(!compare(&in_a_pub("a"), &elsewhere).matched);
}

#[test]
fn a_missing_place_neither_raises_nor_lowers_much() {
    let a = listing("a", "1", "John Scofield Trio", "2026-05-01T19:00:00-07:00");
    let with_place = at(listing("b", "1", "John Scofield Trio", "2026-05-01T19:00:00-07:00"), "Blue Note", "Napa");
    let found = compare(&a, &with_place);
    assert!(found.matched, "{found}");
}

#[test]
fn vetoes_hold_whatever_else_agrees() {
    let base = || at(listing("a", "1", "Harvest Marathon 2026", "2026-05-01T09:00:00Z"), "Town Hall", "Napa");
    let veto = |change: fn(&mut Listing)| {
        let mut other = Listing { source: "b".into(), ..base() };
        change(&mut other);
        compare(&base(), &other).veto
    };
    assert_eq!(veto(|_| ()), None);
    assert_eq!(veto(|other| other.title = "Harvest Marathon 2027".into()), Some(Veto::OtherEdition));
    assert_eq!(veto(|other| other.start = "2026-05-01T14:00:00Z".parse().unwrap()), Some(Veto::OtherSession));
    let config = ResolveConfig { duplicate_free: ["a".to_owned()].into(), ..ResolveConfig::default() };
    let twin = Listing { external_id: "2".into(), ..base() };
    assert_eq!(compare_with(&config, &base(), &twin).veto, Some(Veto::SameSource));
    assert_eq!(compare(&base(), &twin).veto, None);
}

#[test]
fn sessions_one_after_the_other_are_different() {
    let mut a = at(listing("a", "1", "Vinyasa Flow Basics", "2026-05-01T09:00:00Z"), "Lotus Studio", "Napa");
    let mut b = at(listing("b", "1", "Vinyasa Flow Basics", "2026-05-01T10:00:00Z"), "Lotus Studio", "Napa");
    assert!(compare(&a, &b).matched, "{}", compare(&a, &b));
    a.end = Some(b.start);
    b.end = Some("2026-05-01T11:00:00Z".parse().unwrap());
    assert_eq!(compare(&a, &b).veto, Some(Veto::OtherSession));
}

#[test]
fn the_right_time_of_the_wrong_zone_matches() {
    let a = at(listing("a", "1", "Rat Therapy Quartet", "2026-05-01T20:00:00-07:00"), "Mystic Theatre", "");
    let b = at(listing("b", "1", "Rat Therapy Quartet", "2026-05-01T20:00:00-04:00"), "Mystic Theater", "");
    assert!(compare(&a, &b).matched, "{}", compare(&a, &b));
}

#[test]
fn a_city_centre_is_not_a_venue() {
    let place = |source: &str, precision, lon| {
        let mut listing = listing(source, "1", "Open Mic", "2026-05-01T19:00:00Z");
        let point = Point::from_degrees(38.5, lon).unwrap();
        listing.venue.geo = Some(Geo { point, precision, provenance: GeoProvenance::Gazetteer });
        listing
    };
    let (centre, venue) = (GeoPrecision::City, GeoPrecision::Venue);
    let score = |precision, lon| compare(&place("a", precision, -121.7), &place("b", precision, lon)).points;
    assert!(score(venue, -121.7) > score(centre, -121.7));
    assert!(score(venue, -121.7) > score(venue, -121.72));
    assert_eq!(compare(&place("a", centre, -121.7), &place("b", venue, -125.0)).veto, Some(Veto::OtherCity));
}

#[test]
fn the_centre_of_a_region_is_no_other_city() {
    let place = |source: &str, city: &str, lat| {
        let mut listing = at(listing(source, "1", "Kestrel Banding Days", "2026-05-01"), "", city);
        let geo = |point| Geo { point, precision: GeoPrecision::Venue, provenance: GeoProvenance::Source };
        listing.venue.geo = Point::from_degrees(lat, 12.5).map(geo);
        listing
    };
    let veto = |a: &str, b: &str, lat| compare(&place("a", a, 41.9), &place("b", b, lat)).veto;
    assert_eq!(veto("Rome", "Lower Kestrelshire", 43.0), None);
    assert_eq!(veto("Rome", "Lower Kestrelshire", 47.0), Some(Veto::OtherCity));
    assert_eq!(veto("Rome", "Florence", 43.8), Some(Veto::OtherCity));
}

#[test]
fn a_suburb_or_resort_in_the_address_is_the_same_city() {
    let of_city = |found: &Comparison| found.found.iter().any(|(feature, _)| matches!(feature, Feature::CityOther));
    let a = at(listing("a", "1", "Kestrel Banding Days", "2026-05-01"), "", "Heronsgate");
    let mut b = at(listing("b", "1", "Kestrel Banding Days", "2026-05-01"), "", "Oakham");
    assert!(of_city(&compare(&a, &b)));
    b.venue.address = Some("4 Mill Lane, Heronsgate, Oakham".into());
    assert!(!of_city(&compare(&a, &b)));
}

#[test]
fn a_venue_in_the_title_is_known_however_it_is_spelt() {
    let evening = |source: &str, title: &str| {
        at(listing(source, "1", title, "2026-05-01T18:00:00-07:00"), "Lantern Music Theatre", "Davis")
    };
    let found = compare(
        &evening("a", "Rat Therapy at Lantern Music Theater"),
        &evening("b", "Rat Therapy: The Quiet Tour with Marsh Owls"),
    );
    assert!(found.matched, "{found}");
}

#[test]
fn a_part_is_not_the_whole() {
    let of = |source, title| at(listing(source, "1", title, "2026-05-01"), "", "Davis");
    let whole = of("a", "Lighthouse Weavers");
    let part = compare(&whole, &of("b", "Loom devroom at Lighthouse Weavers"));
    assert!(!part.matched, "{part}");
    let longer = compare(&whole, &of("b", "Loom days at Lighthouse Weavers"));
    assert!(longer.matched, "{longer}");
}

#[test]
fn co_located_events_share_a_site() {
    let with = |source: &str, title: &str, url: &str| {
        let mut listing = at(listing(source, "1", title, "2026-05-01"), "", "Davis");
        listing.urls = [url.into()].into();
        listing
    };
    let a = with("a", "Kestrelconf", "https://kestrel.example.com/");
    let b = with("b", "Community Days of Lanterns", "https://kestrel.example.com/lanterns");
    assert!(!compare(&a, &b).matched, "{}", compare(&a, &b));
}

#[test]
fn days_and_instants_agree_on_the_day() {
    let day = at(listing("a", "1", "Strawberry Harvest Fair", "2026-05-01"), "Fairgrounds", "Napa");
    let hour = at(listing("b", "1", "Strawberry Harvest Fair", "2026-05-01T23:00:00-07:00"), "Fairgrounds", "Napa");
    let next = at(listing("b", "1", "Strawberry Harvest Fair", "2026-05-02T01:00:00-07:00"), "Fairgrounds", "Napa");
    assert!(compare(&day, &hour).matched, "{}", compare(&day, &hour));
    assert_eq!(compare(&day, &next).veto, Some(Veto::OtherSession));
}

#[test]
fn weights_scale_the_points_of_their_field() {
    let a = at(listing("a", "1", "Strawberry Harvest Fair", "2026-05-01T10:00:00Z"), "Fairgrounds", "Napa");
    let b = Listing { source: "b".into(), ..a.clone() };
    let mut config = ResolveConfig::default();
    config.weights.title = 0.0;
    let of_title = |found: &Comparison| {
        found.contributions.iter().find(|part| part.field == Field::Title).map_or(0.0, |part| part.points.get())
    };
    assert!(of_title(&compare(&a, &b)) > 1.0);
    assert_eq!(of_title(&compare_with(&config, &a, &b)), 0.0);
}

/// Two entries of one source, which differ by `change`.
fn twice(change: impl FnOnce(&mut Listing)) -> Comparison {
    let first = at(listing("guide", "1", "Marsh Owls Shadow Theatre", "2026-05-01T15:00:00Z"), "Odd Fellows Hall", "");
    let mut second = Listing { external_id: "2".into(), ..first.clone() };
    change(&mut second);
    compare(&first, &second)
}

#[test]
fn entries_of_one_source_at_other_times_are_sessions() {
    let start = |text: &'static str| twice(|second| second.start = text.parse().unwrap());
    assert!(twice(|_| ()).matched, "what a source repeats is one");
    assert!(start("2026-05-01").matched, "one has lost its time");
    for text in ["2026-05-01T15:05:00Z", "2026-05-01T15:15:00Z", "2026-05-01T16:00:00Z", "2026-05-02"] {
        assert_eq!(start(text).veto, Some(Veto::OtherSession), "{text}");
    }
}

#[test]
fn entries_of_one_source_with_own_ends_or_pages_are_sessions() {
    let with = |ends: [&str; 2], pages: [&str; 2]| {
        let of = |id: &str, end: &str, page: &str| {
            let mut one = listing("guide", id, "Marsh Owls Shadow Theatre", "2026-05-01T15:00:00Z");
            one.end = Some(end).filter(|end| !end.is_empty()).map(|end| end.parse().unwrap());
            one.urls = [page.into()].into();
            at(one, "Odd Fellows Hall", "")
        };
        compare(&of("1", ends[0], pages[0]), &of("2", ends[1], pages[1])).veto
    };
    let page = "https://hall.example.org/shadows";
    let own = ["https://hall.example.org/shadows-1", "https://hall.example.org/shadows-2"];
    let platform = ["https://www.facebook.com/events/1", "https://www.facebook.com/events/2"];
    assert_eq!(with(["2026-05-01T16:00:00Z"; 2], [page; 2]), None);
    assert_eq!(with(["2026-05-01T16:00:00Z", ""], [page; 2]), None);
    assert_eq!(with(["2026-05-01T16:00:00Z", "2026-05-01T17:00:00Z"], [page; 2]), Some(Veto::OtherSession));
    assert_eq!(with(["2026-05-01T16:00:00Z"; 2], own), Some(Veto::OtherSession));
    assert_eq!(with(["2026-05-01T16:00:00Z"; 2], platform), None);
}

#[test]
fn instances_of_one_series_are_never_one() {
    let of = |id: &str, start: &str| at(listing("guide", id, "Marsh Owls", start), "Odd Fellows Hall", "");
    let first = of("owls@hall/20260501T150000Z", "2026-05-01T15:00:00Z");
    assert_eq!(
        compare(&first, &of("owls@hall/20260501T160000Z", "2026-05-01T15:00:00Z")).veto,
        Some(Veto::OtherSession)
    );
    assert_eq!(compare(&first, &of("owls@hall/20260501", "2026-05-01")).veto, Some(Veto::OtherSession));
    assert_eq!(compare(&first, &of("owls@barn/20260501", "2026-05-01")).veto, None);
}

#[test]
fn one_source_has_no_event_at_two_venues() {
    let elsewhere = |venue: &str, city: &str| {
        let (venue, city) = (venue.to_owned(), city.to_owned());
        twice(move |second| *second = at(second.clone(), &venue, &city)).veto
    };
    assert_eq!(elsewhere("Heron Branch Library", ""), Some(Veto::OtherVenue));
    assert_eq!(elsewhere("Odd Fellows Hall, Room 2", ""), None);
    assert_eq!(elsewhere("Marsh Stage", ""), None, "the title names it");
    let on_one_page = |venues: [&str; 2]| {
        let entry = |id: &str, venue: &str| {
            let mut entry = at(listing("library", id, "Toddler Time", "2026-05-01T10:00:00Z"), venue, "");
            entry.urls.push("https://library.example.org/programme/toddlers".into());
            entry
        };
        compare(&entry("1", venues[0]), &entry("2", venues[1])).veto
    };
    assert_eq!(on_one_page(["Heron Branch Library", "Kestrel Branch Library"]), Some(Veto::OtherVenue));
    assert_eq!(on_one_page(["Heron Branch Library", "Heron Library"]), None);
    let geo = |mut listing: Listing| {
        let point = Point::from_degrees(38.5, -121.7).unwrap();
        listing.venue.geo = Some(Geo { point, precision: GeoPrecision::Venue, provenance: GeoProvenance::Source });
        listing
    };
    let group =
        |id: &str, venue: &str| geo(at(listing("group", id, "Study Circle", "2026-05-01T18:00:00Z"), venue, ""));
    let found = compare(&group("1", "Kestrel Hub"), &group("2", "Heron Library"));
    assert!(!found.matched && !found.found.iter().any(|(feature, _)| *feature == Feature::PlaceSame), "{found}");
}

#[test]
fn entries_of_one_source_and_day_with_words_of_their_own_are_other_events() {
    let with = |titles: [&str; 2], start: &str| {
        let entry = |id: &str, title: &str, start: &str| at(listing("guide", id, title, start), "", "Davis");
        compare(&entry("1", titles[0], "2026-04-05"), &entry("2", titles[1], start)).veto
    };
    let hunts = ["Easter Egg Hunt of the Otters", "Easter Egg Hunt at Heron Farm"];
    assert_eq!(with(hunts, "2026-04-05T11:00:00-07:00"), Some(Veto::OtherSession));
    assert_eq!(with(hunts, "2026-04-05"), Some(Veto::OtherSession));
    assert_eq!(with(["Water Communion", "Campus: Water Communion"], "2026-04-05T11:00:00-07:00"), None);
}

#[test]
fn titles_that_name_their_own_venues_are_of_two_places() {
    let hunt = |source: &str, title: &str, venue: &str| {
        at(listing(source, "1", title, "2026-04-05T10:00:00-07:00"), venue, "Davis")
    };
    for (titles, venues) in [
        (["Marshfield Easter Egg Hunt", "Easter Egg Hunt at the Orchard"], ["Marshfield Park", "Heron Orchard"]),
        (["Open Studio at Kestrel Hall", "Open Studio @ Otter House"], ["Kestrel Hall", "Otter House"]),
    ] {
        for sources in [["a", "b"], ["a", "a"]] {
            let found = compare(&hunt(sources[0], titles[0], venues[0]), &hunt(sources[1], titles[1], venues[1]));
            assert!(!found.matched, "{titles:?}: {found}");
        }
    }
    let alike = |venues: [&str; 2]| {
        let title = ["Marsh Owls at the Heron Orchard", "Marsh Owls, Orchard Barn"];
        compare(&hunt("a", title[0], venues[0]), &hunt("b", title[1], venues[1]))
    };
    let found = alike(["Heron Orchard", "Barn at Heron Orchard"]);
    assert!(found.matched, "one house: {found}");
}

#[test]
fn what_one_source_offers_alone_and_with_more_is_two_offers() {
    let with = |first: &str, second: &str| {
        let entry =
            |id: &str, title: &str| at(listing("guide", id, title, "2026-05-01T15:00:00Z"), "Heron Orchard", "Davis");
        compare(&entry("1", first), &entry("2", second)).veto
    };
    assert_eq!(with("Picnic Supper and Lantern Walk", "Lantern Walk"), Some(Veto::OtherPart));
    assert_eq!(with("Führung und Laternenumzug", "LATERNENUMZUG"), Some(Veto::OtherPart));
    assert_eq!(with("Salt and Pepper", "Pepper"), None);
    assert_eq!(with("Ada Brook and the Marsh Owls", "Ada Brook"), None);
}

#[test]
fn rooms_and_groups_are_told_apart() {
    let room = |source: &str, room: &str| {
        let mut one = at(listing(source, "1", "Vinyasa Flow Basics", "2026-05-01T09:00:00Z"), room, "Napa");
        one.venue.address = Some("4 Mill Lane".into());
        one
    };
    assert_eq!(compare(&room("a", "Studio A"), &room("b", "Studio B")).veto, Some(Veto::OtherPart));
    assert_eq!(compare(&room("a", "Studio A"), &room("b", "Studio A")).veto, None);
    let online = |source: &str, organizer: &str| {
        let mut one = listing(source, "1", "Weavers Study Circle", "2026-05-01T09:00:00Z");
        one.online = true;
        one.organizer = Some(crate::listing::Organizer { name: organizer.into(), url: None });
        one.urls = [format!("https://{source}.example.org/circle").into()].into();
        one
    };
    let circles = |x: &str, y: &str| compare(&online("a", x), &online("b", y)).veto;
    assert_eq!(circles("Loom Guild of Davis", "Reed Society"), Some(Veto::OtherOrganizer));
    assert_eq!(circles("Loom Guild of Davis", "The Loom Guild"), None);
}

#[test]
fn equal_clocks_of_two_zones_are_two_regions_unless_the_place_is_one() {
    let meeting =
        |source: &str, start: &str, venue: &str| at(listing(source, "1", "Council Study Session", start), venue, "");
    let of = |venue: &str| {
        let west = meeting("a", "2026-05-01T18:00:00-07:00", venue);
        compare(&west, &meeting("b", "2026-05-01T18:00:00-04:00", venue)).veto
    };
    assert_eq!(of(""), Some(Veto::OtherSession));
    assert_eq!(of("Kestrel Chambers"), None);
    let unknown = meeting("b", "2026-05-01T18:00:00Z", "");
    assert_eq!(compare(&meeting("a", "2026-05-01T18:00:00-07:00", ""), &unknown).veto, None);
}

#[test]
fn midnight_lies_between_two_days() {
    let night = |source: &str, start: &str| at(listing(source, "1", "Moth Parade Techno", start), "Cellar Nine", "");
    let before = night("a", "2026-05-01T23:59:00+02:00");
    assert!(compare(&before, &night("b", "2026-05-02T00:00:00+02:00")).matched);
    assert_eq!(compare(&before, &night("b", "2026-05-01T00:00:00+02:00")).veto, Some(Veto::OtherSession));
    let config = ResolveConfig { midnight_is_no_time: ["b".to_owned()].into(), ..ResolveConfig::default() };
    assert!(compare_with(&config, &before, &night("b", "2026-05-01T00:00:00+02:00")).matched);
    let from =
        |source: &str, start: &str, end: &str| Listing { end: Some(end.parse().unwrap()), ..night(source, start) };
    let early = from("a", "2026-05-01T20:00:00+02:00", "2026-05-02T01:00:00+02:00");
    let late = from("b", "2026-05-01T23:00:00+02:00", "2026-05-02T02:00:00+02:00");
    assert_eq!(compare(&early, &late).veto, Some(Veto::OtherSession), "nights are sessions too");
}

#[test]
fn a_run_and_a_part_of_it_are_related() {
    let run = Listing {
        end: Some("2026-06-20".parse().unwrap()),
        ..at(listing("museum", "1", "Glass Herons", "2026-05-01"), "Kestrel Gallery", "Napa")
    };
    let opening = at(listing("guide", "1", "Glass Herons: Opening", "2026-05-01T18:00:00Z"), "Kestrel Gallery", "Napa");
    assert_eq!(compare(&run, &opening).veto, Some(Veto::PartOfRun));
    let of = |listing: &Listing| Fingerprint::of(&LiveListing::new(listing, 0, 0), &ResolveConfig::default());
    let comparer = Comparer::new(&ResolveConfig::default());
    let relation = |a: &Listing, b: &Listing| comparer.relation(&of(a), &of(b)).map(|(relation, _)| relation);
    assert_eq!(relation(&run, &opening), Some(Relation::RunAndPart));
    assert_eq!(relation(&opening, &run), Some(Relation::PartAndRun));
    let other = Listing { title: "Basket Weaving with Ben".into(), ..opening };
    assert_eq!(relation(&run, &other), None);
}

#[test]
fn one_page_outweighs_names_and_cities_that_differ() {
    let with = |source: &str, title: &str, city: &str, lat: f64, page: &str| {
        let mut one = at(listing(source, "1", title, "2026-05-01"), "", city);
        let geo = |point| Geo { point, precision: GeoPrecision::City, provenance: GeoProvenance::Gazetteer };
        one.venue.geo = Point::from_degrees(lat, 12.5).map(geo);
        one.urls = [page.into()].into();
        one
    };
    let page = "https://kestrel.example.org/2026/weavers";
    let a = with("a", "Kestrel Weavers", "Rome", 41.9, page);
    assert_eq!(compare(&a, &with("b", "Kestrel Weavers", "Milan", 45.5, page)).veto, None);
    let other = "https://kestrel.example.org/2026/spinners";
    assert_eq!(compare(&a, &with("b", "Kestrel Weavers", "Milan", 45.5, other)).veto, Some(Veto::OtherCity));
}

#[test]
fn years_and_numbers_may_be_glued_to_a_name() {
    for (a, b) in [
        ("KestrelCon2026", "KestrelCon"),
        ("KestrelCon '26", "KestrelCon 2026"),
        ("Ada Leahyand the Owls", "Ada Leahy and the Owls"),
        ("Marsh Owls: The Quiet Water Tour", "Marsh Owls w/ Tin Kettle"),
    ] {
        let found = same_evening(a, b);
        assert!(found.matched, "{a} / {b}: {found}");
    }
    assert!(!same_evening("KestrelCon '26", "KestrelCon '27").matched);
    assert!(!same_evening("Basket Weaving with Ana", "Basket Weaving with Ben").matched);
}
