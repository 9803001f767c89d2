//! `headwater evaluate` on files, against the figures of an independent scorer.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use discovery::config::Config;
use discovery::tools::evaluate::{EvaluateOptions, MistakeKind, Report, evaluate};
use headwater::error::{Domain, Fault};
use headwater::log::embedded::EmbeddedLog;
use headwater_operators::{EventId, Listing, ListingId};
use serde_json::{Value, json};

/// Precision, recall, F1 and false-positive rate of the fixture as score.py gives them.
const FIGURES_CONF: [Option<f64>; 4] = [Some(0.8333), Some(0.3333), Some(0.4762), Some(0.0294)];
const FIGURES_CALENDAR: [Option<f64>; 4] = [Some(0.8182), Some(0.4737), Some(0.6), Some(0.0556)];

/// Listing `n` of the fixture: source, id, and the number of the event that it was put into.
fn member(n: u64) -> (String, String, u64) {
    (format!("s{}", n % 3), format!("id-{n}"), n * n % 7)
}

/// Labelled pairs of listings, by a rule without meaning that gives every label often enough.
fn labels() -> Vec<(u64, u64, &'static str, &'static str, &'static str)> {
    let mut labels = Vec::new();
    for a in 0..40 {
        for b in (a + 1..40).filter(|b| (a * 7 + b * 3) % 4 == 0) {
            let same = member(a).2 == member(b).2;
            let label = match (a * 31 + b * 17) % 11 {
                0 => "ambiguous",
                1 => "date_conflict",
                2 | 3 => {
                    if same {
                        "negative"
                    } else {
                        "positive"
                    }
                }
                _ => {
                    if same {
                        "positive"
                    } else {
                        "negative"
                    }
                }
            };
            let how = ["url+date", "same_uid", "venue+slot"][(a + b) as usize % 3];
            labels.push((a, b, label, how, ["conf", "calendar"][(a * b) as usize % 2]));
        }
    }
    labels
}

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        let mut truth = "source_a,id_a,source_b,id_b,label,how,group,note\n".to_owned();
        for (a, b, label, how, group) in labels() {
            let ((x, i, _), (y, j, _)) = (member(a), member(b));
            writeln!(truth, "{x},{i},{y},{j},{label},{how},{group},\"a note, with a comma\"").unwrap();
        }
        let (mut links, mut listings, mut clusters) = (String::new(), String::new(), "source,id,cluster\n".to_owned());
        for (source, id, event) in (0..40).map(member) {
            let start = "2026-05-01T18:00:00Z".parse().unwrap();
            let listing = Listing::new(&source, &id, &format!("Event {event}"), start);
            writeln!(links, "{}", link(&source, &id, event)).unwrap();
            let seen = "2026-01-01T00:00:00Z";
            let state = json!({ "format": 1, "id": listing.id(), "firstSeen": seen, "updatedAt": seen,
                "listing": listing, "claims": [claim(seen)] });
            writeln!(listings, "{state}").unwrap();
            writeln!(clusters, "{source},{id},{event}").unwrap();
        }
        for (name, text) in
            [("truth.csv", truth), ("links.jsonl", links), ("listings.jsonl", listings), ("clusters.csv", clusters)]
        {
            fs::write(files.path(name), text).unwrap();
        }
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn options(&self) -> EvaluateOptions {
        EvaluateOptions {
            truth: self.path("truth.csv"),
            exclude_how: vec!["same_uid".to_owned()],
            links: Some(self.path("links.jsonl")),
            listings: Some(self.path("listings.jsonl")),
            mistakes: 2,
            ..EvaluateOptions::default()
        }
    }

    fn evaluate(&self, options: &EvaluateOptions) -> Report {
        let log = EmbeddedLog::open(&self.path("log.db")).unwrap();
        evaluate(&log, &Config::default(), options).unwrap()
    }
}

fn claim(seen: &str) -> Value {
    let version = json!({ "sequence": 0, "modifiedMs": 0, "orderMs": 0, "topic": 0, "partition": 0, "offset": 0 });
    json!({ "document": format!("{:032x}", 1), "version": version, "contentHash": format!("{:016x}", 1),
        "firstSeen": seen, "updatedAt": seen, "listing": null })
}

fn link(source: &str, id: &str, event: u64) -> Value {
    json!({
        "format": 1, "source": source, "externalId": id, "listing": ListingId::of(source, id),
        "eventId": EventId(u128::from(event)), "eventFirstSeen": "2026-01-01T00:00:00Z",
        "similarity": 1.0, "via": null, "contributions": [], "decisions": [],
    })
}

fn figures(report: &Report, group: &str) -> [Option<f64>; 4] {
    let scores = report.groups[group].scores;
    [scores.precision, scores.recall, scores.f1, scores.false_positive_rate]
        .map(|figure| figure.map(|figure| (figure * 10_000.0).round() / 10_000.0))
}

#[test]
fn figures_agree_with_an_independent_scorer() {
    let files = Files::new();
    let report = files.evaluate(&files.options());
    // What score.py says of the same files; it is run as well, where it is at hand.
    assert_eq!(figures(&report, "conf"), FIGURES_CONF);
    assert_eq!(figures(&report, "calendar"), FIGURES_CALENDAR);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let scorer = env::var_os("HEADWATER_DATA").map_or(beside, PathBuf::from).join("score.py");
    if !scorer.is_file() {
        println!("skipped: there is no {}", scorer.display());
        return;
    }
    let arguments =
        [Path::new("--truth"), &files.path("truth.csv"), Path::new("--clusters"), &files.path("clusters.csv")];
    let output = match Command::new("python3").arg(scorer).args(arguments).output() {
        Ok(output) => output,
        Err(error) => return println!("skipped: no python3 ({error})"),
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let scored: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (name, group) in &report.groups {
        let theirs = &scored["groups"][name]["all"]["cluster"];
        let figure = |key: &str| theirs[key].as_f64();
        assert_eq!(figures(&report, name), ["precision", "recall", "f1", "fpr"].map(figure), "{name}");
        let counts = ["positives", "negatives", "tp", "fp"].map(|key| theirs[key].as_u64().unwrap() as usize);
        let ours = group.scores;
        assert_eq!([ours.positives, ours.negatives, ours.found, ours.merged], counts, "{name}");
        let conflicts = ["pairs", "merged"].map(|key| theirs["date_conflict"][key].as_u64().unwrap() as usize);
        assert_eq!([ours.date_conflicts, ours.date_conflicts_merged], conflicts, "{name}");
    }
}

#[test]
fn groups_and_mistakes_are_as_asked_for() {
    let files = Files::new();
    let report = files.evaluate(&EvaluateOptions { groups: vec!["conf".to_owned()], ..files.options() });
    assert_eq!(report.groups.keys().collect::<Vec<_>>(), ["conf"]);
    assert_eq!(report.mistakes.iter().filter(|mistake| mistake.kind == MistakeKind::Merged).count(), 1);
    assert_eq!(report.mistakes.iter().filter(|mistake| mistake.kind == MistakeKind::Missed).count(), 2);
    assert_eq!(report.listings, 40);
    let table = report.to_string();
    assert!(table.contains("40 listings in 4 events"), "{table}");
    // Every listing answers to its name.
    assert_eq!(report.missing, 0);
}

#[test]
fn listings_can_be_resolved_anew() {
    let files = Files::new();
    let report = files.evaluate(&EvaluateOptions { anew: true, links: None, ..files.options() });
    // "Event 4" without a place is too little to know two listings by.
    assert_eq!(report.sizes.keys().copied().collect::<Vec<_>>(), [1]);
}

#[test]
fn a_change_of_event_is_counted() {
    let files = Files::new();
    let again = [link("s0", "id-0", 5), link("s1", "id-1", 1)].map(|link| format!("{link}\n")).concat();
    let links = fs::read_to_string(files.path("links.jsonl")).unwrap() + &again;
    fs::write(files.path("links.jsonl"), links).unwrap();
    let churn = files.evaluate(&files.options()).churn;
    assert_eq!((churn.updates, churn.changed), (2, 1));
}

#[test]
fn known_events_are_as_good_as_the_label_of_every_pair() {
    let files = Files::new();
    // The truth puts other listings together than the links do, and some are alone.
    let event = |n: u64| if n.is_multiple_of(5) { n } else { 100 + n * 3 % 8 };
    let mut of_events = "source,external_id,event\n".to_owned();
    let mut of_pairs = "source_a,id_a,source_b,id_b,label\n".to_owned();
    for a in 0..40 {
        let (x, i, _) = member(a);
        writeln!(of_events, "{x},{i},{}", event(a)).unwrap();
        for b in a + 1..40 {
            let (y, j, _) = member(b);
            let label = if event(a) == event(b) { "positive" } else { "negative" };
            writeln!(of_pairs, "{x},{i},{y},{j},{label}").unwrap();
        }
    }
    let [events, pairs] = [("events.csv", of_events), ("pairs.csv", of_pairs)].map(|(name, text)| {
        fs::write(files.path(name), text).unwrap();
        files.evaluate(&EvaluateOptions { truth: files.path(name), ..files.options() })
    });
    let scores = pairs.groups[""].scores;
    assert!(scores.found > 0 && scores.merged > 0 && scores.positives > scores.found, "{scores:?}");
    assert_eq!(events.groups[""].scores, scores);
    // To the order in which they are added up.
    let b_cubed = |report: &Report| {
        let of = report.groups[""].b_cubed.unwrap();
        [of.precision, of.recall, of.f1].map(|share| (share * 1e9).round())
    };
    assert_eq!(b_cubed(&events), b_cubed(&pairs));
    assert_eq!((events.missing, pairs.missing), (0, 0));
    assert_eq!(events.groups[""].blocking_recall, pairs.groups[""].blocking_recall);
}

#[test]
fn a_wrong_line_is_named() {
    let files = Files::new();
    let truth = fs::read_to_string(files.path("truth.csv")).unwrap().replacen("positive", "perhaps", 1);
    fs::write(files.path("truth.csv"), truth).unwrap();
    let log = EmbeddedLog::open(&files.path("log.db")).unwrap();
    let error = evaluate(&log, &Config::default(), &files.options()).unwrap_err();
    assert_eq!(error.domain(), Domain::User);
    assert!(error.to_string().contains("truth.csv, row "), "{error}");
}
