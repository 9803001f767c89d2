//! What the codes of dead letters ask for.

/// What to change, by the code of a dead letter. docs/dead-letters.md says more.
pub(crate) fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "unknown-source" => "Configure the source under [sources.NAME], or name it in the input.",
        "unknown-content-type" => "Say what it is: format or content_type of the source.",
        "malformed" => "The bytes are not what the content type promises: look at the source, or at its format.",
        "missing-field" | "invalid-field" => {
            "A listing has no title, start or id that can be read: look at the mapping, date_formats and timezone."
        }
        "record-too-large" | "nested-too-deeply" | "string-too-long" | "too-many-listings" => {
            "It is over a limit of [limits]: raise it, or ask the source for less at once."
        }
        "held-back" => {
            "The document gives far less than before. If that is right, replay it, or send the next one; what it lacks \
             is withdrawn then."
        }
        "unknown-timezone" => "The listing is there, in another zone: configure timezone of the source.",
        "read-leniently" => "It was read all the same; the source, or a charset in content_type, would mend it.",
        "not-an-event" => "A thing with a start that is no event was left out; the rest of the record is there.",
        "empty-record" => "It has neither a key nor a value: look at the source.",
        "output-too-large" => "What came of it is larger than its topic takes: raise topics.max_record.",
        "invalid-control" => "A decision, a place or a control record cannot be read: write it again.",
        _ => return None,
    })
}
