//! A taxonomy as configured, and what can be wrong with one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A taxonomy as configured. The default is an embedded one of twenty categories.
///
/// Words are compared in lower case, without accents, and without the endings of the English
/// plural. An entry of several words matches them in a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaxonomyConfig {
    /// Confidence below which a listing stays without a category, 0..=1. Default 0.35.
    #[serde(default = "default_min_confidence")]
    pub min_confidence: f64,
    /// How sure an alias in the source's own category words makes, 0..=1. Default 0.9.
    #[serde(default = "default_alias_weight")]
    pub alias_weight: f64,
    /// What a keyword in the description counts, as a share of what it counts in the title, unless
    /// the keyword says so itself; 0..=1. Default 0.35.
    #[serde(default = "default_description_factor")]
    pub description_factor: f64,
    /// Tags for listings of any category: label, then the words that earn it.
    #[serde(default)]
    pub tags: BTreeMap<String, Vec<String>>,
    /// The categories. Of two equally likely ones the earlier wins.
    #[serde(default)]
    pub categories: Vec<CategoryConfig>,
}

/// A category of a taxonomy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CategoryConfig {
    /// Name, as it appears in listings and events.
    pub name: String,
    /// Name of the category of which this is a special case. What speaks for a category speaks
    /// for its parent too; the most special one that is sure enough is chosen.
    #[serde(default)]
    pub parent: Option<String>,
    /// Words by which sources name it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Words in title, description or the source's category words that speak for it.
    #[serde(default)]
    pub keywords: BTreeMap<String, Weight>,
    /// Tags for listings of this category or a special case of it: label, then words.
    #[serde(default)]
    pub tags: BTreeMap<String, Vec<String>>,
}

/// How sure a word alone makes, 0..=1: the share of texts with this word that belong here.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Weight {
    /// In the title; in the description the configured share of it.
    Title(f64),
    /// In each on its own.
    Each {
        /// In the title, and in the source's category words.
        title: f64,
        /// In the description.
        description: f64,
    },
}

fn default_min_confidence() -> f64 {
    0.35
}

fn default_alias_weight() -> f64 {
    0.9
}

fn default_description_factor() -> f64 {
    0.35
}

impl Default for TaxonomyConfig {
    fn default() -> Self {
        // The embedded text is tested; an empty taxonomy stands in for one that cannot be read.
        toml::from_str(include_str!("../taxonomy.toml")).unwrap_or_else(|_| Self {
            min_confidence: default_min_confidence(),
            alias_weight: default_alias_weight(),
            description_factor: default_description_factor(),
            tags: BTreeMap::new(),
            categories: Vec::new(),
        })
    }
}

/// What is wrong with a [`TaxonomyConfig`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TaxonomyProblem {
    /// Two categories of one name.
    #[error("category \"{0}\" is defined twice")]
    Duplicate(String),
    /// A category without a name.
    #[error("category number {0} has no name")]
    Unnamed(usize),
    /// A parent that is not among the categories.
    #[error("parent \"{parent}\" of category \"{category}\" is not a category")]
    UnknownParent {
        /// The category that names it.
        category: String,
        /// The unknown name.
        parent: String,
    },
    /// A category that is its own ancestor.
    #[error("category \"{0}\" is among its own parents")]
    Cycle(String),
    /// A number outside 0..=1.
    #[error("{what} is {value}, which is not between 0 and 1")]
    OutOfRange {
        /// What has the value.
        what: String,
        /// The value.
        value: f64,
    },
    /// An alias, keyword or tag word without any letter or digit.
    #[error("\"{phrase}\" in {place} has no letters or digits")]
    EmptyPhrase {
        /// The entry.
        phrase: String,
        /// Where it stands.
        place: String,
    },
}
