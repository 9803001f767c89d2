//! Whether a place is on the web, on site, or both, by what it is called.
//!
//! Not by single words: a zoo may be called ZOOM, and an arcade may be one of virtual reality. A part of a
//! text is online where nothing is left of it besides the names of programs and the words around them.

use std::sync::LazyLock;

use regex::Regex;

use crate::words::fold;

/// Where something takes place, by the words for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// At a place, or nothing is said.
    OnSite,
    /// On the web alone.
    Online,
    /// At a place and on the web.
    Hybrid,
}

/// What the text that names a place says.
pub(crate) fn presence(text: &str) -> Presence {
    static HINT: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(
            r"(?i)online|on-line|virtual|virtuel|zoom|teams|meet|webex|jitsi|skype|webinar|stream|internet|youtube|twitch|discord|gotomeeting|gotowebinar|bigbluebutton|whereby|ligne|línea|linea|remote|digital|distanc|https?://|videoconf|videokonf|web",
        )
        .ok()
    });
    if !HINT.as_ref().is_some_and(|hint| hint.is_match(text)) {
        return Presence::OnSite;
    }
    let (mut online, mut on_site) = (false, false);
    for part in parts(text) {
        if is_meeting(part) {
            online = true;
        } else if is_address(part) {
            // A page about it, or a map.
        } else {
            let words = fold(part);
            match words.is_empty() || is_filler(&words) {
                true => {}
                false if is_online(&words) => online = true,
                false => on_site = true,
            }
        }
    }
    match (online, on_site) {
        (false, _) => Presence::OnSite,
        (true, false) => Presence::Online,
        (true, true) => Presence::Hybrid,
    }
}

/// Whether a text that names a place means the web alone.
pub(crate) fn is_the_web(text: &str) -> bool {
    presence(text) == Presence::Online
}

/// Whether an address is one of a meeting on the web.
pub(crate) fn is_meeting(text: &str) -> bool {
    const HOSTS: &[&str] = &[
        "zoom.us",
        "zoom.com",
        "zoomgov.com",
        "teams.microsoft.com",
        "teams.live.com",
        "meet.google.com",
        "webex.com",
        "meet.jit.si",
        "gotomeeting.com",
        "gotowebinar.com",
        "goto.com",
        "bluejeans.com",
        "whereby.com",
        "join.skype.com",
        "meet.ffmuc.net",
        "bigbluebutton.org",
        "hangouts.google.com",
        "app.gather.town",
        "livestorm.co",
        "crowdcast.io",
    ];
    let Some(rest) = text.trim().strip_prefix("https://").or_else(|| text.trim().strip_prefix("http://")) else {
        return false;
    };
    let host = rest.split(['/', '?', '#', ':', ' ', '\n']).next().unwrap_or_default().to_ascii_lowercase();
    let of = |known: &&str| host == **known || host.strip_suffix(*known).is_some_and(|before| before.ends_with('.'));
    HOSTS.iter().any(of) || ["meet.", "jitsi.", "bbb."].iter().any(|start| host.starts_with(start))
}

/// Whether a text is nothing but a web address, and not one of a map: who gives that as the place means the
/// web.
pub(crate) fn is_on_the_web(text: &str) -> bool {
    const MAPS: [&str; 6] =
        ["google.com/maps", "maps.google.", "goo.gl/maps", "maps.app.goo.gl", "openstreetmap.org", "maps.apple.com"];
    let text = text.trim();
    is_address(text) && !text.contains(char::is_whitespace) && !MAPS.iter().any(|map| text.contains(map))
}

/// The address of a meeting in a longer text.
pub(crate) fn meeting_in(text: &str) -> Option<&str> {
    text.split(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | '(' | ')' | ','))
        .find(|word| is_meeting(word))
}

fn is_address(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

/// The parts of a text that may each name a place: between commas and the like, and between "and" and "or".
fn parts(text: &str) -> Vec<&str> {
    static BETWEEN: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(
            r"(?i)\s+(?:and|und|et|e|y|en|og|och|or|oder|ou|sowie|plus|as well as|&|\+|-|–|—)\s+|[;|\n,/()\[\]]+\s*",
        )
        .ok()
    });
    if is_address(text) {
        return text.split_whitespace().collect();
    }
    let Some(between) = BETWEEN.as_ref() else { return vec![text] };
    let mut parts = Vec::new();
    let mut rest = text;
    // Addresses hold slashes and the like: they are taken out first.
    while let Some(at) = rest.find("http") {
        let (before, after) = rest.split_at(at);
        parts.extend(between.split(before).map(str::trim));
        let end = after.find(char::is_whitespace).unwrap_or(after.len());
        parts.push(after.get(..end).unwrap_or_default());
        rest = after.get(end..).unwrap_or_default();
    }
    parts.extend(between.split(rest).map(str::trim));
    parts
}

/// Whether words name nothing but something on the web.
fn is_online(words: &str) -> bool {
    const ALONE: &[&str] = &[
        "online",
        "virtual",
        "virtuell",
        "virtuel",
        "virtuelle",
        "virtually",
        "zoom",
        "webex",
        "jitsi",
        "skype",
        "webinar",
        "livestream",
        "internet",
        "youtube",
        "twitch",
        "remote",
        "remotely",
        "digital",
        "gotomeeting",
        "gotowebinar",
        "bigbluebutton",
        "whereby",
        "videoconference",
        "videokonferenz",
        "visioconference",
        "teams",
        "discord",
        "onlineveranstaltung",
        "onlineevent",
        "web",
        "webcast",
        "cyberspace",
    ];
    const TOGETHER: &[&str] = &[
        "google meet",
        "google hangouts",
        "microsoft teams",
        "ms teams",
        "jitsi meet",
        "on line",
        "live stream",
        "en ligne",
        "en linea",
        "a distance",
        "cisco webex",
        "facebook live",
        "big blue button",
        "world wide web",
    ];
    let mut rest = format!(" {words} ");
    let mut named = false;
    for name in TOGETHER {
        let name = format!(" {name} ");
        named |= rest.contains(&name);
        rest = rest.replace(&name, " ");
    }
    let left = rest.split(' ').filter(|word| !word.is_empty());
    let mut fine = true;
    for word in left {
        let online = ALONE.contains(&word) || word.strip_prefix("online").is_some_and(is_filler_word);
        named |= online;
        fine &= online || is_filler_word(word);
    }
    named && fine
}

fn is_filler(words: &str) -> bool {
    words.split(' ').all(is_filler_word)
}

/// Words that stand around the name of a program, and are no place.
fn is_filler_word(word: &str) -> bool {
    const FILLERS: &[&str] = &[
        "a",
        "about",
        "access",
        "after",
        "all",
        "also",
        "an",
        "as",
        "aussi",
        "auch",
        "hybrid",
        "too",
        "well",
        "are",
        "at",
        "auf",
        "available",
        "be",
        "below",
        "bei",
        "broadcast",
        "by",
        "call",
        "chat",
        "check",
        "class",
        "code",
        "conference",
        "das",
        "dem",
        "der",
        "description",
        "details",
        "die",
        "ein",
        "email",
        "event",
        "events",
        "evento",
        "evenement",
        "for",
        "format",
        "free",
        "from",
        "fully",
        "hosted",
        "id",
        "im",
        "in",
        "info",
        "information",
        "is",
        "it",
        "join",
        "konferenz",
        "kurs",
        "lecture",
        "link",
        "live",
        "login",
        "meeting",
        "meetings",
        "meetup",
        "mit",
        "modus",
        "nach",
        "note",
        "notes",
        "of",
        "on",
        "only",
        "our",
        "par",
        "participation",
        "passcode",
        "password",
        "per",
        "platform",
        "please",
        "provided",
        "pwd",
        "register",
        "registered",
        "registrants",
        "registration",
        "required",
        "reunion",
        "room",
        "rooms",
        "see",
        "seminar",
        "sent",
        "session",
        "sur",
        "talk",
        "tba",
        "tbd",
        "text",
        "the",
        "this",
        "through",
        "to",
        "training",
        "uber",
        "ueber",
        "upon",
        "ve",
        "veranstaltung",
        "via",
        "video",
        "visio",
        "website",
        "will",
        "with",
        "workshop",
        "you",
        "your",
        "zum",
        "zur",
        "usa",
        "us",
        "uk",
        "worldwide",
        "anywhere",
        "everywhere",
        "world",
        "global",
    ];
    FILLERS.contains(&word) || word.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_on_the_web() {
        for text in [
            "Online",
            "online event",
            "Zoom",
            "Zoom Meeting (link sent upon registration)",
            "Zoom Conference Room",
            "Microsoft Teams Meeting",
            "MS Teams",
            "Google Meet",
            "Webex",
            "Jitsi",
            "via Zoom",
            "Online-Veranstaltung",
            "En ligne",
            "Virtual",
            "Virtual event, USA",
            "https://us02web.zoom.us/j/8?pwd=x",
            "https://meet.jit.si/oven",
            "Livestream on YouTube",
            "Online / Zoom",
            "Join us on Zoom: https://zoom.us/j/8",
            "Discord",
            "Meeting-ID: 812 3456, Zoom",
        ] {
            assert_eq!(presence(text), Presence::Online, "{text}");
        }
    }

    #[test]
    fn places_on_site() {
        for text in [
            "ZOOM Wildlife Park, 3 Zoo Lane",
            "Virtual Reality Lounge",
            "Teams Sports Bar, 4 Dock St",
            "Digital Arts Hall",
            "Meeting House",
            "Internet Café Byte",
            "Webster Library",
            "Meetinghouse, Webb Street",
            "Streamside Lodge",
            "https://maps.example/barn",
            "",
            "Room 4",
            "Skype Towers",
        ] {
            assert_eq!(presence(text), Presence::OnSite, "{text}");
        }
    }

    #[test]
    fn both() {
        for text in [
            "Town Hall and online",
            "Barn & Zoom",
            "Online or Library, 2 High St",
            "Barn (also via Zoom)",
            "Weir House / Livestream",
            "Barn, Delft; https://zoom.us/j/8",
            "Rathaus und online",
        ] {
            assert_eq!(presence(text), Presence::Hybrid, "{text}");
        }
    }

    #[test]
    fn addresses_of_meetings() {
        for address in ["https://zoom.us/j/8", "https://acme.webex.com/meet/x", "https://meet.oven.example/x"] {
            assert!(is_meeting(address), "{address}");
        }
        for address in ["https://notzoom.us.example/", "https://example.org/zoom.us", "zoom.us", "https://myzoom.us/"] {
            assert!(!is_meeting(address), "{address}");
        }
        assert!(is_on_the_web("https://oven.example/register"));
        for text in ["https://maps.app.goo.gl/x", "https://www.google.com/maps/place/Barn", "Barn https://oven.example"]
        {
            assert!(!is_on_the_web(text), "{text}");
        }
        assert_eq!(meeting_in("Join: <https://zoom.us/j/8> now"), Some("https://zoom.us/j/8"));
    }
}
