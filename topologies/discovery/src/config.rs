//! Discovery's own sections of the configuration.

use std::collections::BTreeMap;

use crate::generate::{FeedConfig, GenerateError};
use headwater::config::{Invalid, Lifetime, Period, Runtime, Section, TopicRole};
use headwater::schema::roles;
use headwater_operators::categorize::{Taxonomy, TaxonomyConfig, TaxonomyProblem};
use headwater_operators::extract::{ExtractConfig, Extractor, Limits, SourceConfig, UnknownSources};
use headwater_operators::geocode::GeocodeConfig;
use headwater_operators::listing::Ratio;
use headwater_operators::resolve::ResolveConfig;
use headwater_operators::sanitize::SanitizeConfig;
use headwater_operators::score::Gates;
use headwater_operators::window::WindowConfig;
use headwater_serve::config::ServeConfig;
use serde::Deserialize;

use crate::discovery::topics::Topics;
use crate::place_jobs::JobsSection;

/// The configuration of discovery.
pub type Config = headwater::config::Config<Sections>;

/// Discovery's own sections.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sections {
    /// How long events stay when they are over.
    pub retention: RetentionSection,
    /// What becomes of sources that are not named here, and what holds for all.
    pub extract: ExtractSection,
    /// The sources, by name: how their records are read.
    pub sources: BTreeMap<String, SourceConfig>,
    /// Bounds on what one record may cost.
    pub limits: Limits,
    /// Limits of texts and lists in a listing.
    pub sanitize: SanitizeConfig,
    /// Categories and tags, and the words that speak for them.
    pub taxonomy: TaxonomyConfig,
    /// How listings without coordinates are located.
    pub geocode: GeocodeConfig,
    /// How duplicates are found, held together and merged.
    pub resolve: ResolveConfig,
    /// The quality gates.
    pub score: Gates,
    /// How windows of metrics are cut.
    pub window: WindowConfig,
    /// The API for people and programs; it is served from memory.
    pub serve: ServeConfig,
    /// Place requests become jobs of the topology `jobs`; not without this section.
    pub jobs: Option<JobsSection>,
    /// A generated feed that arrives live in the first of the inputs; none without this section.
    pub generate: Option<FeedConfig>,
}

/// `[extract]`: what becomes of sources that are not named, and what holds for all.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExtractSection {
    /// What becomes of records of a source that is not named under `[sources]`.
    pub unknown_sources: UnknownSources,
    /// How to read sources that are not named. Its `format`, `content_type` and `timezone` also
    /// hold for named sources that leave them out.
    pub defaults: SourceConfig,
}

/// `[retention]`: how long events stay when they are over.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionSection {
    /// Listings leave this long after their event's end: `"30 days"`, or `"forever"`.
    pub past_events: Lifetime,
}

impl Default for RetentionSection {
    fn default() -> Self {
        Self { past_events: Lifetime::For(Period::from_days(30)) }
    }
}

impl Section for Sections {
    const NAME: &'static str = "discovery";
    const PREFIX: &'static str = "headwater.";
    const INPUT: &'static str = "raw.events";

    fn topics(&self) -> Vec<TopicRole> {
        roles(|schema| drop(Topics::declare(schema)))
    }

    fn validate(&self, _runtime: &Runtime) -> Vec<Invalid> {
        let mut found = self.compile().err().unwrap_or_default();
        let resolve = self.resolve.validate().into_iter();
        found.extend(resolve.map(|wrong| Invalid::new(format!("resolve.{}", wrong.key), wrong.problem)));
        found.extend(self.ranges());
        found.extend(self.relations());
        found.extend(self.serve.validate());
        found.extend(self.jobs.iter().flat_map(JobsSection::validate));
        let generate = self.generate.as_ref().and_then(|feed| feed.generate.check().err());
        found.extend(generate.map(|error| match &error {
            GenerateError::Config { name, .. } => Invalid::new(format!("generate.generate.{name}"), error.to_string()),
            _ => Invalid::new("generate", error.to_string()),
        }));
        found
    }
}

impl Sections {
    /// What the operators need that takes some compiling.
    ///
    /// # Errors
    /// Everything that is wrong with sources, limits, extraction and taxonomy.
    pub fn compile(&self) -> Result<(Extractor, Taxonomy), Vec<Invalid>> {
        match (Extractor::new(&self.extract_config()), Taxonomy::new(&self.taxonomy)) {
            (Ok(extractor), Ok(taxonomy)) => Ok((extractor, taxonomy)),
            (extractor, taxonomy) => {
                let extraction = extractor.err().unwrap_or_default().into_iter();
                let extraction = extraction.map(|problem| Invalid::new(extraction_key(&problem.path), problem.message));
                let taxonomy = taxonomy.err().unwrap_or_default().into_iter();
                let taxonomy = taxonomy.map(|problem| Invalid::new(self.taxonomy_key(&problem), problem.to_string()));
                Err(extraction.chain(taxonomy).collect())
            }
        }
    }

    /// Numbers that are out of their range, where no operator looks for itself.
    fn ranges(&self) -> impl Iterator<Item = Invalid> {
        let (sanitize, score, window) = (&self.sanitize, &self.score, &self.window);
        let counts = [
            ("sanitize.max_title_chars", sanitize.max_title_chars, 1, 1_000_000),
            ("sanitize.max_description_chars", sanitize.max_description_chars, 1, 100_000_000),
            ("sanitize.max_field_chars", sanitize.max_field_chars, 1, 1_000_000),
            ("sanitize.max_url_bytes", sanitize.max_url_bytes, 1, 1_000_000),
            ("sanitize.max_items", sanitize.max_items, 1, 1_000_000),
            ("score.max_years_ahead", score.max_years_ahead.into(), 1, 1_000),
            ("score.max_years_past", score.max_years_past.into(), 1, 1_000),
            ("score.full_description_chars", score.full_description_chars as usize, 1, 1_000_000),
            ("window.size_ms", window.size_ms as usize, 1, u32::MAX as usize),
            ("window.keep_closed", window.keep_closed, 0, 100_000),
        ];
        let counts =
            counts.into_iter().filter_map(|(key, value, least, most)| Invalid::outside(key, value, least, most));
        let feed = self.generate.iter().flat_map(|feed| {
            [
                Invalid::outside("generate.rate", feed.rate, 0.0, 1e9),
                Invalid::outside("generate.window", feed.window, 16, 1_000_000),
            ]
        });
        counts.chain(feed.flatten())
    }

    /// Numbers of `[score]` that are right one by one and wrong together.
    fn relations(&self) -> Vec<Invalid> {
        let Gates { grades, .. } = &self.score;
        let mut found = Vec::new();
        for (key, better, worse) in [("b", grades.a, grades.b), ("c", grades.b, grades.c), ("d", grades.c, grades.d)] {
            if worse > better {
                let message = format!("is {}, more than the better grade's {}", worse.get(), better.get());
                found.push(Invalid::new(format!("score.grades.{key}"), message));
            }
        }
        let weights = self.score.all().map(|(_, gate)| gate.weight);
        if weights.iter().all(|weight| *weight == Ratio::ZERO) {
            found.push(Invalid::new("score", "no gate has a weight: every score would be 0"));
        }
        found
    }

    /// How records become listings, in one piece.
    fn extract_config(&self) -> ExtractConfig {
        ExtractConfig {
            limits: self.limits.clone(),
            unknown_sources: self.extract.unknown_sources,
            defaults: self.extract.defaults.clone(),
            sources: self.sources.clone(),
        }
    }

    /// `[resolve]` with what the sources say of themselves, where it says nothing of them.
    pub fn resolve_config(&self) -> ResolveConfig {
        let mut resolve = self.resolve.clone();
        for (name, source) in &self.sources {
            if source.duplicate_free {
                resolve.duplicate_free.insert(name.clone());
            }
            if source.trust != resolve.trust_of(name) {
                resolve.trust.entry(name.clone()).or_insert(source.trust);
            }
        }
        resolve
    }

    /// The key that a problem of the taxonomy is about.
    fn taxonomy_key(&self, problem: &TaxonomyProblem) -> String {
        let categories = &self.taxonomy.categories;
        let position = match problem {
            TaxonomyProblem::Unnamed(number) => number.checked_sub(1),
            TaxonomyProblem::UnknownParent { category, .. }
            | TaxonomyProblem::Cycle(category)
            | TaxonomyProblem::Duplicate(category) => categories.iter().rposition(|one| &one.name == category),
            TaxonomyProblem::OutOfRange { .. } | TaxonomyProblem::EmptyPhrase { .. } => None,
        };
        position.map_or_else(|| "taxonomy".to_owned(), |index| format!("taxonomy.categories[{index}]"))
    }
}

/// Where the sections of extraction stand in the file.
fn extraction_key(path: &str) -> String {
    let own_section = ["sources.", "limits."].iter().any(|section| path.starts_with(section));
    if own_section { path.to_owned() } else { format!("extract.{path}") }
}

#[cfg(test)]
mod tests {
    use headwater::log::Cleanup;

    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Config::default().validate(), []);
    }

    #[test]
    fn every_topic_is_kept_as_it_is_used() {
        let runtime = Config::default().runtime;
        let compacted =
            ["events", "listings", "links", "redirects", "decision-reports", "metrics", "place-requests", "gates"];
        for topic in compacted.into_iter().chain(["progress", "places", "decisions", "control"]) {
            assert_eq!(runtime.topic_spec(topic).cleanup, Cleanup::Compact, "{topic}");
        }
        assert_ne!(runtime.topic_spec("dead-letters").cleanup, Cleanup::Compact);
        assert_eq!(runtime.topic_spec("progress").partitions, 1);
        let names: Vec<String> = runtime.topic_specs().into_iter().map(|spec| spec.name).collect();
        assert_eq!(
            names.len(),
            compacted.len() + 4 + ["dead-letters", "replays", "audit", "raw.events"].len(),
            "{names:?}"
        );
    }

    #[test]
    fn every_wrong_section_is_found_under_its_key() {
        let mut config = Config::default();
        config.topology.window.size_ms = 0;
        config.topology.resolve.threshold = 1.5;
        config.topology.sources.insert("a".to_owned(), SourceConfig { trust: 2.0, ..SourceConfig::default() });
        let keys: Vec<String> = config.validate().into_iter().map(|invalid| invalid.key).collect();
        assert_eq!(keys, ["sources.a.trust", "resolve.threshold", "window.size_ms"]);
    }

    #[test]
    fn every_number_has_its_range() {
        let wrong = |toml: &str| -> Vec<String> {
            let topology: Sections = toml::from_str(toml).unwrap();
            let found = topology.validate(&Runtime::default());
            found.into_iter().map(|one| format!("{}: {}", one.key, one.message)).collect()
        };
        let beyond = [
            ("limits.max_nesting = 101", "limits.max_nesting: must be from 1 to 100, and is 101"),
            ("limits.max_list_items = 1000001", "limits.max_list_items: must be from 0 to 1000000, and is 1000001"),
            ("limits.max_recurrence_steps = 0", "limits.max_recurrence_steps: must be from 1 to 1000000000, and is 0"),
            ("limits.horizon_future_days = 99999", "limits.horizon_future_days: must be from 0 to 36525, and is 99999"),
            (
                "sources.a.horizon_past_days = 99999",
                "sources.a.horizon_past_days: must be from 0 to 36525, and is 99999",
            ),
            ("sanitize.max_title_chars = 0", "sanitize.max_title_chars: must be from 1 to 1000000, and is 0"),
            (
                "sanitize.max_description_chars = 0",
                "sanitize.max_description_chars: must be from 1 to 100000000, and is 0",
            ),
            ("sanitize.max_field_chars = 0", "sanitize.max_field_chars: must be from 1 to 1000000, and is 0"),
            ("sanitize.max_url_bytes = 0", "sanitize.max_url_bytes: must be from 1 to 1000000, and is 0"),
            ("sanitize.max_items = 0", "sanitize.max_items: must be from 1 to 1000000, and is 0"),
            ("resolve.block_cap = 1", "resolve.block_cap: 1 is not in 2..=10000"),
            ("score.max_years_ahead = 0", "score.max_years_ahead: must be from 1 to 1000, and is 0"),
            ("score.max_years_past = 1001", "score.max_years_past: must be from 1 to 1000, and is 1001"),
            ("score.full_description_chars = 0", "score.full_description_chars: must be from 1 to 1000000, and is 0"),
            ("score.grades.b = 0.95", "score.grades.b: is 0.95, more than the better grade's 0.9"),
            ("window.keep_closed = 100001", "window.keep_closed: must be from 0 to 100000, and is 100001"),
            ("generate.rate = -1.0", "generate.rate: must be from 0 to 1000000000, and is -1"),
            ("generate.window = 1", "generate.window: must be from 16 to 1000000, and is 1"),
        ];
        for (toml, expected) in beyond {
            assert_eq!(wrong(toml), [expected]);
        }
        let gates = ["core_completeness", "format_accuracy", "business_logic", "geographic_data", "content_quality"];
        let weightless: String = gates.map(|gate| format!("score.{gate}.weight = 0.0\n")).concat();
        assert_eq!(wrong(&weightless), ["score: no gate has a weight: every score would be 0"]);
    }
}
