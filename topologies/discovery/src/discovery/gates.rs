//! The quality gates in force: the configured ones, and laid over them what the newest record of the topic
//! `control` sets.

use differential_dataflow::VecCollection;
use headwater::dataflow::Flow;
use headwater_flow::{LogPosition, Positioned};
use headwater_operators::Epoch;
use headwater_operators::score::{Control, Gates};
use timely::dataflow::operators::vec::Map;

use super::topics::Topics;

/// A record of `control` and its key.
type Said = (String, Positioned<Control>);

/// The gates in force. Says at a start which keys of `[score]` a record sets.
pub fn gates_in_force<'s>(flow: &mut Flow<'s>, topics: &Topics, configured: &Gates) -> VecCollection<'s, Epoch, Gates> {
    let newest = newest(flow.steady_table(&topics.control, &topics.gates));
    flow.note(newest.clone().inner.flat_map(|(said, _epoch, diff)| overridden(&said).filter(|_| diff > 0)));
    let nothing = flow.constant(None::<Control>);
    let said = newest.map(|(_, said)| Some(said.value)).concat(nothing).map(|said| ((), said));
    let configured = configured.clone();
    let gates = said.reduce(move |(), said, out| {
        // `None` comes before what a record says.
        let set = said.last().and_then(|(said, _)| said.as_ref());
        out.push((set.map_or_else(|| configured.clone(), |set| set.gates.over(&configured)), 1isize));
    });
    gates.map(|((), gates)| gates)
}

/// The record that was written last.
fn newest(control: VecCollection<'_, Epoch, Said>) -> VecCollection<'_, Epoch, Said> {
    let by_position = control.map(|(key, said)| ((), (said.position, key, said.value)));
    let newest = by_position.reduce(|(), said, out| {
        out.extend(said.last().map(|(newest, _)| ((*newest).clone(), 1isize)));
    });
    newest.map(|((), (position, key, value))| (key, Positioned { position, value }))
}

/// Which keys of the configuration have no effect while this record is there.
fn overridden((key, said): &Said) -> Option<String> {
    let LogPosition { partition, offset, .. } = said.position;
    let keys: Vec<String> = said.value.gates.keys().iter().map(|key| format!("score.{key}")).collect();
    (!keys.is_empty()).then(|| {
        format!(
            "the record {key:?} of the topic `control` (partition {partition}, offset {offset}) sets {}: the \
             configuration has no effect on them. Write a tombstone under this key to let it",
            keys.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use headwater::dataflow::Recovery;
    use headwater::driver::Driver;
    use headwater_operators::listing::Ratio;
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Config;
    use crate::discovery::Discovery;

    /// A driver with one event, which is in force of `[score]` with the threshold `pass`.
    fn driver(pass: f64) -> Driver {
        let mut config = Config::default();
        config.topology.score.pass = Ratio::new(pass);
        let mut driver = Driver::of::<Discovery>(&config).unwrap();
        let event = json!({"@type": "Event", "@id": "1", "name": "Jazz", "startDate": "2099-03-28T19:30:00Z"});
        let json_ld = "application/ld+json";
        driver.produce("raw.events", |record| record.source("city").content_type(json_ld).json(&event));
        driver.advance_to(1_000);
        driver
    }

    fn control(driver: &mut Driver, key: &str, gates: &Value) {
        driver.put("control", key, json!({"gates": gates}));
        let next = driver.epoch() + 1_000;
        driver.advance_to(next);
    }

    fn event(driver: &Driver) -> Value {
        driver.rows("events").into_values().next().unwrap()
    }

    fn passes(driver: &Driver) -> bool {
        event(driver)["passed"] == true
    }

    #[test]
    fn the_newest_record_holds_and_not_the_greatest() {
        let mut driver = driver(0.0);
        control(&mut driver, "strict", &json!({"pass": 1.0}));
        assert!(!passes(&driver));
        control(&mut driver, "lenient", &json!({"pass": 0.1}));
        assert!(passes(&driver), "it was written last");
        driver.restart(Recovery::Compare).unwrap();
        assert_eq!((driver.differences(), passes(&driver)), (&[][..], true));
        driver.remove("control", "lenient");
        driver.advance_to(10_000);
        assert!(!passes(&driver), "the other one holds again");
    }

    #[test]
    fn keys_are_in_camel_case_or_as_in_the_configuration() {
        for (key, number) in [("coreCompleteness", 0), ("core_completeness", 0), ("geographicData", 3)] {
            let mut driver = driver(0.0);
            let before = event(&driver)["gates"][number]["passed"].clone();
            control(&mut driver, "k", &json!({key: {"threshold": 0.0}, "maxYearsAhead": 9, "max_years_past": 9}));
            assert_eq!((driver.letters().len(), before), (0, json!(false)), "{key}");
            assert_eq!(event(&driver)["gates"][number]["passed"], true, "{key}");
        }
    }

    #[test]
    fn what_is_set_is_laid_over_the_configuration_key_by_key() {
        // The event reaches the configured mark, and not the built-in one.
        let mut driver = driver(0.1);
        assert!(passes(&driver));
        control(&mut driver, "k", &json!({"coreCompleteness": {"threshold": 0.0}}));
        assert!(passes(&driver), "the configured mark stays");
        assert_eq!(event(&driver)["gates"][0]["passed"], true);
        let configured = Gates { pass: Ratio::ONE, ..Gates::default() };
        let set: Control = serde_json::from_value(json!({"gates": {"grades": {"b": 0.85}}})).unwrap();
        let gates = set.gates.over(&configured);
        assert_eq!((gates.pass, gates.grades.a, gates.grades.b), (Ratio::ONE, Ratio::new(0.9), Ratio::new(0.85)));
    }

    #[test]
    fn an_invalid_record_leaves_what_holds_and_says_what_is_wrong() {
        let mut driver = driver(1.0);
        control(&mut driver, "k", &json!({"pass": 0.1}));
        assert!(passes(&driver));
        for (wrong, word) in [(json!({"pass": 7}), "7 is not between 0 and 1"), (json!({"passs": 0.5}), "passs")] {
            control(&mut driver, "k", &wrong);
            assert!(passes(&driver), "{wrong}");
            let letters = driver.letters();
            let last = letters.last().unwrap();
            assert!(last.code == "invalid-control" && last.reason.contains(word), "{}", last.reason);
        }
        // Also when compaction has left only the invalid record.
        driver.compact("control");
        driver.restart(Recovery::Compare).unwrap();
        assert_eq!((driver.differences(), passes(&driver), driver.letters().len()), (&[][..], true, 2));
        driver.rebuild();
        assert_eq!((driver.differences(), passes(&driver)), (&[][..], true));
        driver.remove("control", "k");
        driver.advance_to(20_000);
        assert!(!passes(&driver));
        driver.restart(Recovery::Compare).unwrap();
        assert_eq!((driver.differences(), passes(&driver), driver.rows("gates").len()), (&[][..], false, 0));
    }

    #[test]
    fn a_start_says_which_keys_of_the_configuration_have_no_effect() {
        let mut driver = driver(1.0);
        assert_eq!(driver.notes(), Vec::<String>::new());
        control(&mut driver, "desk", &json!({"pass": 0.1, "geographicData": {"weight": 0.5}}));
        assert_eq!(driver.notes(), Vec::<String>::new(), "it is about starts");
        for workers in [1, 3] {
            driver = driver.workers(workers);
            driver.restart(Recovery::Compare).unwrap();
            let [note] = driver.notes().try_into().unwrap();
            assert!(
                note.starts_with("the record \"desk\" of the topic `control` (partition 0, offset 0) sets "),
                "{note}"
            );
            assert!(note.contains("score.geographic_data.weight, score.pass:"), "{note}");
        }
    }
}
