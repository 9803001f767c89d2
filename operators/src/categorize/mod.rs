//! Sorts listings into the categories of a taxonomy, by the source's own category words and by
//! the words of title and description.
//!
//! A taxonomy is data. It is compiled once; after that each text is read once, however many words
//! the taxonomy knows.

mod config;
mod phrases;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use differential_dataflow::VecCollection;
use smallvec::SmallVec;
use smol_str::SmolStr;
use timely::progress::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

pub use self::config::{CategoryConfig, TaxonomyConfig, TaxonomyProblem, Weight};
use self::phrases::{BOUNDARY, Phrases, Words, push_words};
use crate::listing::{Listing, Ratio};

/// Raised when the same configuration begins to give other results.
const LOGIC_VERSION: u64 = 1;

/// The category of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Category {
    /// Its name; `None` where nothing is sure enough.
    pub name: Option<SmolStr>,
    /// How sure it is; 0 without a name.
    pub confidence: Ratio,
    /// Labels that the words earn, sorted.
    pub tags: Vec<SmolStr>,
}

/// One reason for a category: see [`Taxonomy::explain`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The category that it speaks for.
    pub category: SmolStr,
    /// Where the words stand.
    pub field: Field,
    /// The words, as configured.
    pub words: SmolStr,
    /// How sure they alone make.
    pub weight: Ratio,
}

/// A part of a listing in which words are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// The source's category words.
    Source,
    /// The title.
    Title,
    /// The description.
    Description,
}

/// A taxonomy, ready for use.
///
/// The confidence of a category is `1 - (1 - w1)(1 - w2)…` over the weights of the words that
/// were found (each counted once a field): the probability that at least one of them is right,
/// were they independent.
#[derive(Debug)]
pub struct Taxonomy {
    min_confidence: f32,
    fingerprint: u64,
    categories: Vec<Node>,
    /// Indexes of `categories`, every parent after its children.
    children_first: Vec<usize>,
    signals: Vec<Signal>,
    phrases: Phrases,
}

#[derive(Debug)]
struct Node {
    name: SmolStr,
    parent: Option<usize>,
}

/// What a phrase means.
#[derive(Debug)]
struct Signal {
    words: SmolStr,
    meaning: Meaning,
}

#[derive(Debug)]
enum Meaning {
    /// Speaks for a category, by field in the order of [`Field`].
    Category { index: usize, weights: [f32; 3] },
    /// Earns a tag, in any category or in one.
    Tag { label: SmolStr, within: Option<usize> },
}

const FIELDS: [Field; 3] = [Field::Source, Field::Title, Field::Description];

impl Taxonomy {
    /// Compiles a taxonomy.
    ///
    /// # Errors
    /// All problems of `config` at once.
    pub fn new(config: &TaxonomyConfig) -> Result<Self, Vec<TaxonomyProblem>> {
        let mut compiler = Compiler::default();
        compiler.check_numbers(config);
        let categories = compiler.categories(config);
        for (index, category) in config.categories.iter().enumerate() {
            compiler.category(index, category, config);
        }
        compiler.tags(&config.tags, None, "the tags of the taxonomy");
        if !compiler.problems.is_empty() {
            return Err(compiler.problems);
        }
        let text = serde_json::to_vec(config).unwrap_or_default();
        Ok(Self {
            min_confidence: config.min_confidence as f32,
            fingerprint: xxh3_64(&text) ^ LOGIC_VERSION,
            children_first: children_first(&categories),
            categories,
            signals: compiler.signals,
            phrases: compiler.phrases,
        })
    }

    /// Changes whenever the same listing might be categorized otherwise.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The category of a listing.
    ///
    /// ```
    /// use headwater_operators::Listing;
    /// use headwater_operators::categorize::{Taxonomy, TaxonomyConfig};
    ///
    /// let taxonomy = Taxonomy::new(&TaxonomyConfig::default()).unwrap();
    /// let start = "2026-03-28".parse().unwrap();
    /// let category = taxonomy.categorize(&Listing::new("venue", "17", "Jazz Concert in the Park", start));
    ///
    /// assert_eq!(category.name.as_deref(), Some("Music"));
    /// assert!(category.confidence.get() > 0.9);
    /// assert_eq!(category.tags, ["jazz"]);
    /// ```
    pub fn categorize(&self, listing: &Listing) -> Category {
        let mut doubts: SmallVec<[f32; 32]> = SmallVec::from_elem(1.0, self.categories.len());
        let mut labels: SmallVec<[&Signal; 8]> = SmallVec::new();
        self.for_each_signal(listing, |signal, field| match &signal.meaning {
            Meaning::Category { index, weights } => {
                if let Some(doubt) = doubts.get_mut(*index) {
                    *doubt *= 1.0 - weights[field as usize];
                }
            }
            Meaning::Tag { .. } => labels.push(signal),
        });
        let chosen = self.choose(&mut doubts);
        let confidence = chosen.and_then(|index| doubts.get(index)).map_or(0.0, |doubt| 1.0 - doubt);
        Category {
            name: chosen.and_then(|index| self.categories.get(index)).map(|node| node.name.clone()),
            confidence: Ratio::new(f64::from(confidence)),
            tags: self.tags_within(&labels, chosen),
        }
    }

    /// Categorizes `listing` in place: sets its category, confidence and labels. Whatever stood
    /// there is replaced, so that a listing can be categorized again by another taxonomy.
    pub fn apply(&self, listing: &mut Listing) {
        let category = self.categorize(listing);
        listing.category = category.name;
        listing.category_confidence = category.confidence;
        listing.labels = category.tags;
    }

    /// All that speaks for any category, in the order of the fields and their text.
    pub fn explain(&self, listing: &Listing) -> Vec<Evidence> {
        let mut evidence = Vec::new();
        self.for_each_signal(listing, |signal, field| {
            let Meaning::Category { index, weights } = &signal.meaning else { return };
            let weight = weights[field as usize];
            let Some(node) = self.categories.get(*index).filter(|_| weight > 0.0) else { return };
            evidence.push(Evidence {
                category: node.name.clone(),
                field,
                words: signal.words.clone(),
                weight: Ratio::new(f64::from(weight)),
            });
        });
        evidence
    }

    fn for_each_signal<'a>(&'a self, listing: &Listing, mut found: impl FnMut(&'a Signal, Field)) {
        let mut words = Words::new();
        for field in FIELDS {
            words.clear();
            match field {
                Field::Source => {
                    for category in &listing.source_categories {
                        push_words(category, &mut words);
                        words.push(BOUNDARY);
                    }
                }
                Field::Title => push_words(&listing.title, &mut words),
                Field::Description => push_words(listing.description.as_deref().unwrap_or_default(), &mut words),
            }
            let mut seen: SmallVec<[u64; 24]> = SmallVec::from_elem(0, self.signals.len().div_ceil(64));
            self.phrases.find(&words, |at| {
                let (Some(bits), Some(signal)) = (seen.get_mut(at / 64), self.signals.get(at)) else { return };
                let bit = 1 << (at % 64);
                if *bits & bit == 0 {
                    *bits |= bit;
                    found(signal, field);
                }
            });
        }
    }

    /// Adds what speaks for children to their parents, then goes from the most likely root to the
    /// most special category that is sure enough.
    fn choose(&self, doubts: &mut [f32]) -> Option<usize> {
        for &index in &self.children_first {
            let parent = self.categories.get(index).and_then(|node| node.parent);
            let doubt = doubts.get(index).copied().unwrap_or(1.0);
            if let Some(parent_doubt) = parent.and_then(|parent| doubts.get_mut(parent)) {
                *parent_doubt *= doubt;
            }
        }
        let mut chosen = None;
        while let Some(next) = self.likeliest_child(chosen, doubts) {
            chosen = Some(next);
        }
        chosen
    }

    fn likeliest_child(&self, parent: Option<usize>, doubts: &[f32]) -> Option<usize> {
        let mut best = None;
        let mut least_doubt = f32::INFINITY;
        for (index, (node, &doubt)) in self.categories.iter().zip(doubts).enumerate() {
            let sure = doubt < 1.0 && 1.0 - doubt >= self.min_confidence;
            if node.parent == parent && sure && doubt < least_doubt {
                best = Some(index);
                least_doubt = doubt;
            }
        }
        best
    }

    fn tags_within(&self, labels: &[&Signal], chosen: Option<usize>) -> Vec<SmolStr> {
        let mut tags = Vec::new();
        for signal in labels {
            let Meaning::Tag { label, within } = &signal.meaning else { continue };
            if within.is_none() || self.and_parents(chosen).any(|index| Some(index) == *within) {
                tags.push(label.clone());
            }
        }
        tags.sort();
        tags.dedup();
        tags
    }

    fn and_parents(&self, index: Option<usize>) -> impl Iterator<Item = usize> {
        std::iter::successors(index, |&index| self.categories.get(index).and_then(|node| node.parent))
    }
}

/// Categorizes every listing of a collection.
pub trait Categorize {
    /// Applies [`Taxonomy::apply`] to each listing.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use differential_dataflow::input::Input;
    /// use headwater_operators::Listing;
    /// use headwater_operators::categorize::{Categorize, Taxonomy, TaxonomyConfig};
    ///
    /// let taxonomy = Arc::new(Taxonomy::new(&TaxonomyConfig::default()).unwrap());
    /// timely::example(move |scope| {
    ///     let start = "2026-03-28".parse().unwrap();
    ///     let listings = scope.new_collection_from([Listing::new("venue", "17", "Farmers market", start)]).1;
    ///     let expected = scope.new_collection_from([Some("Markets".into())]).1;
    ///     listings.categorize(taxonomy).map(|listing| listing.category).assert_eq(expected);
    /// });
    /// ```
    #[must_use]
    fn categorize(self, taxonomy: Arc<Taxonomy>) -> Self;
}

impl<T: Timestamp> Categorize for VecCollection<'_, T, Listing, isize> {
    fn categorize(self, taxonomy: Arc<Taxonomy>) -> Self {
        self.map_in_place(move |listing| taxonomy.apply(listing))
    }
}

/// Gathers the parts of a taxonomy, and what is wrong with them.
#[derive(Default)]
struct Compiler {
    signals: Vec<Signal>,
    phrases: Phrases,
    problems: Vec<TaxonomyProblem>,
}

impl Compiler {
    fn check_numbers(&mut self, config: &TaxonomyConfig) {
        self.check("min_confidence", config.min_confidence);
        self.check("alias_weight", config.alias_weight);
        self.check("description_factor", config.description_factor);
    }

    fn check(&mut self, what: &str, value: f64) {
        if !(0.0..=1.0).contains(&value) {
            self.problems.push(TaxonomyProblem::OutOfRange { what: what.to_owned(), value });
        }
    }

    fn categories(&mut self, config: &TaxonomyConfig) -> Vec<Node> {
        let mut by_name = HashMap::new();
        for (index, category) in config.categories.iter().enumerate() {
            if category.name.trim().is_empty() {
                self.problems.push(TaxonomyProblem::Unnamed(index + 1));
            }
            if by_name.insert(category.name.as_str(), index).is_some() {
                self.problems.push(TaxonomyProblem::Duplicate(category.name.clone()));
            }
        }
        let mut nodes = Vec::new();
        for category in &config.categories {
            let parent = category.parent.as_deref().and_then(|parent| {
                let index = by_name.get(parent).copied();
                if index.is_none() {
                    self.problems.push(TaxonomyProblem::UnknownParent {
                        category: category.name.clone(),
                        parent: parent.to_owned(),
                    });
                }
                index
            });
            nodes.push(Node { name: category.name.as_str().into(), parent });
        }
        self.check_cycles(&nodes);
        nodes
    }

    fn check_cycles(&mut self, nodes: &[Node]) {
        for (start, node) in nodes.iter().enumerate() {
            let parents = std::iter::successors(node.parent, |&at| nodes.get(at).and_then(|node| node.parent));
            if parents.take(nodes.len()).any(|at| at == start) {
                self.problems.push(TaxonomyProblem::Cycle(node.name.to_string()));
            }
        }
    }

    fn category(&mut self, index: usize, category: &CategoryConfig, config: &TaxonomyConfig) {
        let place = format!("category \"{}\"", category.name);
        for alias in &category.aliases {
            self.add(alias, &place, Meaning::Category { index, weights: [config.alias_weight as f32, 0.0, 0.0] });
        }
        for (keyword, &weight) in &category.keywords {
            let (title, description) = match weight {
                Weight::Title(title) => (title, title * config.description_factor),
                Weight::Each { title, description } => (title, description),
            };
            self.check(&format!("the weight of \"{keyword}\" in {place}"), title.max(description));
            self.check(&format!("the weight of \"{keyword}\" in {place}"), title.min(description));
            let weights = [title as f32, title as f32, description as f32];
            self.add(keyword, &place, Meaning::Category { index, weights });
        }
        self.tags(&category.tags, Some(index), &place);
    }

    fn tags(&mut self, tags: &BTreeMap<String, Vec<String>>, within: Option<usize>, place: &str) {
        for (label, phrases) in tags {
            let label: SmolStr = label.as_str().into();
            for phrase in phrases {
                self.add(phrase, place, Meaning::Tag { label: label.clone(), within });
            }
        }
    }

    fn add(&mut self, phrase: &str, place: &str, meaning: Meaning) {
        let mut words = Words::new();
        push_words(phrase, &mut words);
        if words.is_empty() {
            self.problems.push(TaxonomyProblem::EmptyPhrase { phrase: phrase.to_owned(), place: place.to_owned() });
            return;
        }
        self.phrases.insert(&words, self.signals.len());
        self.signals.push(Signal { words: phrase.into(), meaning });
    }
}

fn children_first(nodes: &[Node]) -> Vec<usize> {
    let depth =
        |index: usize| std::iter::successors(Some(index), |&at| nodes.get(at).and_then(|node| node.parent)).count();
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    order.sort_by_cached_key(|&index| std::cmp::Reverse(depth(index)));
    order
}

#[cfg(test)]
mod tests {
    use super::phrases::push_folded_words;
    use super::*;
    use crate::words::fold;
    use std::collections::HashSet;

    use proptest::prelude::*;

    fn listing(title: &str, description: &str, source: &[&str]) -> Listing {
        let mut listing = Listing::new("s", "1", title, "2026-03-28".parse().unwrap());
        listing.description = Some(description.into());
        listing.source_categories = source.iter().map(|&word| word.into()).collect();
        listing
    }

    fn default_taxonomy() -> Taxonomy {
        Taxonomy::new(&TaxonomyConfig::default()).unwrap()
    }

    #[test]
    fn the_embedded_taxonomy_reads_well() {
        let config: TaxonomyConfig = toml::from_str(include_str!("../taxonomy.toml")).unwrap();
        assert_eq!(config.categories.len(), 20);
        assert_eq!(config, TaxonomyConfig::default());
        default_taxonomy();
    }

    #[test]
    fn plain_cases() {
        let taxonomy = default_taxonomy();
        for (title, source, expected) in [
            ("Davis City Council Meeting", vec![], Some("Government")),
            ("Toddler Storytime", vec![], Some("Family")),
            ("Chair Yoga", vec![], Some("Wellness")),
            ("JSConf EU", vec!["conference"], Some("Conferences")),
            ("Summer Classes for Adults", vec![], Some("Classes")),
            ("Untitled", vec!["MusicEvent"], Some("Music")),
            ("Pottery", vec!["Arts & Crafts"], Some("Arts & Exhibitions")),
            ("Giants vs. Dodgers", vec![], Some("Sports")),
            ("Café Concert", vec![], Some("Music")),
            ("Lunes con amigos", vec![], None),
            ("", vec![], None),
        ] {
            assert_eq!(taxonomy.categorize(&listing(title, "", &source)).name.as_deref(), expected, "{title}");
        }
    }

    #[test]
    fn a_title_weighs_more_than_a_description() {
        let taxonomy = default_taxonomy();
        let category = taxonomy.categorize(&listing("Marathon", "Live music at the finish", &[]));
        assert_eq!(category.name.as_deref(), Some("Sports"));
        let in_text = taxonomy.categorize(&listing("Saturday", "concert", &[])).confidence;
        assert!(in_text < taxonomy.categorize(&listing("concert", "", &[])).confidence);
    }

    #[test]
    fn repeating_a_word_changes_nothing() {
        let taxonomy = default_taxonomy();
        let once = taxonomy.categorize(&listing("Workshop", "", &[]));
        assert_eq!(taxonomy.categorize(&listing("Workshop, Workshop and workshops", "", &[])), once);
    }

    #[test]
    fn evidence_is_explained_and_adds_up() {
        let taxonomy = default_taxonomy();
        let listing = listing("Jazz Concert", "", &["Music"]);
        let evidence = taxonomy.explain(&listing);
        let words: Vec<_> = evidence.iter().map(|e| (e.field, &*e.words)).collect();
        assert_eq!(
            words,
            [(Field::Source, "music"), (Field::Source, "music"), (Field::Title, "jazz"), (Field::Title, "concert")]
        );
        let doubt: f64 = evidence.iter().map(|e| 1.0 - e.weight.get()).product();
        assert!((taxonomy.categorize(&listing).confidence.get() - (1.0 - doubt)).abs() < 1e-3);
    }

    #[test]
    fn tags_belong_to_their_category() {
        let taxonomy = default_taxonomy();
        assert_eq!(
            taxonomy.categorize(&listing("Jazz concert", "free admission, children welcome", &[])).tags,
            ["free", "jazz", "kids"]
        );
        assert!(taxonomy.categorize(&listing("Utah Jazz basketball tournament", "", &[])).tags.is_empty());
        let mut tagged = listing("Jazz concert", "", &[]);
        tagged.tags = vec!["Jazz".into()];
        taxonomy.apply(&mut tagged);
        assert_eq!(tagged.tags, ["Jazz"]);
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let config: TaxonomyConfig = toml::from_str(
            r#"
            min_confidence = 2
            [[categories]]
            name = "A"
            parent = "B"
            aliases = ["!"]
            keywords = { x = 1.5 }
            [[categories]]
            name = "B"
            parent = "A"
            [[categories]]
            name = "B"
            parent = "nowhere"
            [[categories]]
            name = " "
            "#,
        )
        .unwrap();
        let problems = Taxonomy::new(&config).unwrap_err();
        let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            [
                "min_confidence is 2, which is not between 0 and 1",
                "category \"B\" is defined twice",
                "category number 4 has no name",
                "parent \"nowhere\" of category \"B\" is not a category",
                "\"!\" in category \"A\" has no letters or digits",
                "the weight of \"x\" in category \"A\" is 1.5, which is not between 0 and 1",
            ]
            .map(str::to_owned)
        );
    }

    #[test]
    fn special_cases_are_preferred_and_cycles_refused() {
        let mut config: TaxonomyConfig = toml::from_str(
            r#"
            [[categories]]
            name = "Music"
            keywords = { concert = 0.6 }
            [[categories]]
            name = "Jazz"
            parent = "Music"
            keywords = { jazz = 0.5 }
            "#,
        )
        .unwrap();
        let taxonomy = Taxonomy::new(&config).unwrap();
        let category = taxonomy.categorize(&listing("jazz concert", "", &[]));
        assert_eq!((category.name.as_deref(), category.confidence), (Some("Jazz"), Ratio::new(0.5)));
        let category = taxonomy.categorize(&listing("concert", "jazz", &[]));
        assert_eq!(
            (category.name.as_deref(), category.confidence),
            (Some("Music"), Ratio::new(1.0 - 0.4 * (1.0 - 0.5 * 0.35)))
        );

        config.categories[0].parent = Some("Jazz".to_owned());
        let problems = Taxonomy::new(&config).unwrap_err();
        assert_eq!(problems, ["Music", "Jazz"].map(|name| TaxonomyProblem::Cycle(name.to_owned())));
    }

    #[test]
    fn the_fingerprint_follows_the_configuration() {
        let mut config = TaxonomyConfig::default();
        let before = Taxonomy::new(&config).unwrap().fingerprint();
        assert_eq!(Taxonomy::new(&config).unwrap().fingerprint(), before);
        config.min_confidence = 0.5;
        assert_ne!(Taxonomy::new(&config).unwrap().fingerprint(), before);
    }

    /// What [`Phrases`] must find, by looking for every phrase at every word.
    fn found_naively(phrases: &[Vec<u64>], words: &[u64]) -> HashSet<usize> {
        let at_any_word = |phrase: &[u64]| words.windows(phrase.len()).any(|window| window == phrase);
        (0..phrases.len()).filter(|&index| at_any_word(&phrases[index])).collect()
    }

    proptest! {
        #[test]
        fn words_are_those_of_the_folded_text(text in "(\\PC|[a-z'’ é\n-]| ){0,40}") {
            let (mut words, mut expected) = (Words::new(), Words::new());
            push_words(&text, &mut words);
            push_folded_words(&fold(&text), &mut expected);
            prop_assert_eq!(words, expected);
        }

        #[test]
        fn phrases_are_found_wherever_they_stand(
            phrases in prop::collection::vec(prop::collection::vec(1u64..5, 1..4), 1..12),
            words in prop::collection::vec(0u64..6, 0..30),
        ) {
            let hash = |words: &[u64]| words.iter().map(|&word| xxh3_64(&[word as u8])).collect::<Vec<_>>();
            let mut tree = Phrases::default();
            for (index, phrase) in phrases.iter().enumerate() {
                tree.insert(&hash(phrase), index);
            }
            let mut found = HashSet::new();
            tree.find(&hash(&words), |signal| { found.insert(signal); });
            prop_assert_eq!(found, found_naively(&phrases, &words));
        }

        #[test]
        fn any_text_is_fine(title in "\\PC{0,60}", description in "\\PC{0,200}") {
            let category = default_taxonomy().categorize(&listing(&title, &description, &[&title]));
            prop_assert_eq!(category.name.is_some(), category.confidence > Ratio::ZERO);
        }
    }
}
