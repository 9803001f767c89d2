//! `headwater train resolve`: parameters of comparison from labelled pairs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use headwater::cli::ConfigArgs;
use headwater::log::Log;
use headwater::tools::{Opened, Outcome, ToolError, opened_or_made, print_result};
use headwater_operators::ListingId;
use headwater_operators::resolve::model::{FEATURES, Found};
use headwater_operators::resolve::train::{Example, Training, train};
use headwater_operators::resolve::{Comparer, Feature, Field, Model, ResolveConfig};
use serde::Serialize;

use super::evaluate::measure::Counts;
use super::evaluate::truth::{Label, Pair, read_pairs};
use super::evaluate::{self, EvaluateError, EvaluateOptions, Resolved, Scores};
use crate::config::Config;

/// What to train on.
#[derive(Debug, Clone, Default)]
pub struct TrainOptions {
    /// Labelled pairs, see [`read_pairs`].
    pub truth: PathBuf,
    /// Leave out pairs that came to be known in these ways.
    pub exclude_how: Vec<String>,
    /// Listings as JSON lines, instead of those of the topic.
    pub listings: Option<PathBuf>,
    /// How strongly parameters are held at where they start.
    pub ridge: f64,
    /// Start from nothing instead of from the values set by hand.
    pub from_scratch: bool,
    /// For each source, train on the pairs without it and measure on those with it.
    pub cross_validate: bool,
}

/// Figures for one source, by parameters that were trained without it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fold {
    /// The source that was held out. Where there is none, all pairs together, each once: one of two
    /// sources counts as the worse of its two folds decided it.
    pub source: Option<String>,
    /// Group of the pairs.
    pub group: String,
    /// Whether web addresses were withheld.
    pub without_urls: bool,
    /// The figures.
    pub scores: Scores,
}

/// What training came to.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trained {
    /// Pairs trained on. Those with a veto teach nothing.
    pub pairs: usize,
    /// The parameters at the start and at the end.
    pub parameters: Vec<(&'static str, f64, f64)>,
    /// The parameters as configuration: a table `resolve.model`.
    pub config: String,
    /// Cross-validation, if it was asked for.
    pub folds: Vec<Fold>,
}

/// Trains the parameters of comparison.
///
/// # Errors
/// When the truth or the listings cannot be read, or when there are too few pairs of a label.
pub fn train_resolve(log: &dyn Log, config: &Config, options: &TrainOptions) -> Result<Trained, EvaluateError> {
    let mut pairs = read_pairs(&options.truth)?;
    pairs.retain(|pair| pair.label != Label::Ambiguous && !options.exclude_how.contains(&pair.how));
    let resolve = config.topology.resolve_config();
    let read = |without_urls| {
        let options =
            EvaluateOptions { listings: options.listings.clone(), without_urls, ..EvaluateOptions::default() };
        evaluate::read_listings(log, config, &options)
    };
    let listings = read(false)?;
    let resolved = Resolved::new(&listings, &resolve);
    let start = if options.from_scratch { Model::new([0.0; FEATURES]) } else { Model::prior() };
    let mut teacher = Teacher { examples: Vec::new(), start, ridge: options.ridge, unknown: 0, vetoed: 0 };
    teacher.learn(&pairs, &resolved, &resolve);
    teacher.enough(&options.truth)?;
    let model = teacher.model(|_| true);
    let mut folds = Vec::new();
    if options.cross_validate {
        for without_urls in [false, true] {
            let listings = read(without_urls)?;
            folds.extend(teacher.folds(&pairs, &listings, &resolve, without_urls));
        }
    }
    let note = format!("{} labelled pairs of {}", teacher.examples.len() / 2, options.truth.display());
    let parameters = Feature::ALL.iter().map(|at| (at.key(), teacher.start.of(*at), model.of(*at))).collect();
    let config = model.to_toml("resolve.model.", &note);
    Ok(Trained { pairs: teacher.examples.len() / 2, parameters, config, folds })
}

/// `headwater train`.
#[derive(Debug, Clone, Subcommand)]
#[command(after_help = "\
Examples:
  headwater train resolve --truth pairs.csv --cross-validate")]
pub enum TrainArgs {
    /// The parameters by which listings are resolved
    Resolve(TrainResolveArgs),
}

/// `headwater train resolve`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The truth is a file of pairs as for `headwater evaluate`, with 30 pairs or more of each of the labels positive \
and negative, of listings that are known. What --out writes is a configuration with nothing \
but a table resolve.model: name it under `include` in that of the topology.

Examples:
  headwater train resolve --truth pairs.csv --cross-validate
  headwater train resolve --truth pairs.csv --out config/model.toml")]
pub struct TrainResolveArgs {
    /// Labelled pairs, as CSV
    #[arg(long, value_name = "FILE")]
    pub truth: PathBuf,
    /// Leave out pairs that came to be known in this way; may be repeated
    #[arg(long, value_name = "HOW", default_values_t = ["same_uid".to_owned()])]
    pub exclude_how: Vec<String>,
    /// Read listings from a file of JSON lines, such as `consume listings` prints
    #[arg(long, value_name = "FILE")]
    pub listings: Option<PathBuf>,
    /// How strongly parameters are held at where they start
    #[arg(long, value_name = "X", default_value_t = 3.0)]
    pub ridge: f64,
    /// Start from nothing instead of from values set by hand
    #[arg(long)]
    pub from_scratch: bool,
    /// For each source, train on the pairs without it and measure on those with it
    #[arg(long)]
    pub cross_validate: bool,
    /// Write the parameters to this file
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
    /// Which configuration, and how much to log.
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl TrainArgs {
    /// Runs the tool.
    ///
    /// # Errors
    /// When it cannot do its work.
    pub fn run(self) -> Outcome {
        let Self::Resolve(args) = self;
        args.run()
    }
}

impl TrainResolveArgs {
    fn run(self) -> Outcome {
        let Opened { config, log, .. } = opened_or_made(&self.config)?;
        let options = TrainOptions {
            truth: self.truth,
            exclude_how: self.exclude_how,
            listings: self.listings,
            ridge: self.ridge,
            from_scratch: self.from_scratch,
            cross_validate: self.cross_validate,
        };
        let trained = train_resolve(log.as_ref(), &config, &options)?;
        if let Some(path) = self.out {
            std::fs::write(&path, &trained.config).map_err(|source| ToolError::Writing { path, source })?;
        }
        print_result(&trained, self.json)
    }
}

/// Labelled comparisons, each with the number of its pair.
struct Teacher {
    examples: Vec<(usize, Example)>,
    start: Model,
    ridge: f64,
    /// Pairs that name listings that are not there.
    unknown: usize,
    /// Pairs that a veto decides.
    vetoed: usize,
}

impl Teacher {
    /// Compares the pairs. Each is an example twice, with its web addresses and without, since a
    /// model has to do in both cases. Groups count the same, however many pairs they have.
    fn learn(&mut self, pairs: &[Pair], resolved: &Resolved<'_>, resolve: &ResolveConfig) {
        let comparer = Comparer::new(&ResolveConfig { model: None, ..resolve.clone() });
        for (number, pair) in pairs.iter().enumerate().filter(|(_, pair)| pair.label != Label::DateConflict) {
            let ids = resolved.pair(pair);
            let prints = &resolved.batch.fingerprints;
            let Some((x, y)) = ids.and_then(|(a, b)| prints.get(&a).zip(prints.get(&b))) else {
                self.unknown += 1;
                continue;
            };
            let comparison = comparer.compare(x, y);
            if comparison.veto.is_some() {
                self.vetoed += 1;
                continue;
            }
            let in_group = pairs.iter().filter(|other| other.group == pair.group).count();
            let weight = GROUP_WEIGHT / in_group as f64;
            let same = pair.label == Label::Positive;
            let bare: Found =
                comparison.found.iter().filter(|(feature, _)| feature.field() != Field::Url).copied().collect();
            for found in [comparison.found, bare] {
                self.examples.push((number, Example { found, same, weight }));
            }
        }
    }

    /// Refuses what is too little to train on: parameters would follow a handful of cases.
    fn enough(&self, truth: &Path) -> Result<(), EvaluateError> {
        // Each pair is two examples.
        let of = |same| self.examples.iter().filter(|(_, example)| example.same == same).count() / 2;
        let (positive, negative) = (of(true), of(false));
        if positive >= LEAST_PAIRS && negative >= LEAST_PAIRS {
            return Ok(());
        }
        let (unknown, vetoed) = (self.unknown, self.vetoed);
        let truth = truth.to_owned();
        Err(EvaluateError::TooFewPairs { truth, needed: LEAST_PAIRS, positive, negative, unknown, vetoed })
    }

    fn model(&self, keep: impl Fn(usize) -> bool) -> Model {
        let examples: Vec<Example> =
            self.examples.iter().filter(|(pair, _)| keep(*pair)).map(|(_, example)| example.clone()).collect();
        train(&examples, &self.start, Training { ridge: self.ridge, ..Training::default() })
    }

    fn folds(
        &self,
        pairs: &[Pair],
        listings: &evaluate::Listings,
        resolve: &ResolveConfig,
        without_urls: bool,
    ) -> Vec<Fold> {
        let sources: BTreeSet<(&str, &str)> =
            pairs.iter().flat_map(|pair| [(&*pair.group, &*pair.source_a), (&*pair.group, &*pair.source_b)]).collect();
        let mut folds = Vec::new();
        let mut wrong: BTreeSet<usize> = BTreeSet::new();
        for (group, source) in sources {
            let touches = |pair: &Pair| pair.source_a == source || pair.source_b == source;
            let model = self.model(|number| pairs.get(number).is_some_and(|pair| !touches(pair)));
            let held_out = ResolveConfig { model: Some(model), ..resolve.clone() };
            let resolved = Resolved::new(listings, &held_out);
            let mut counts = Counts::default();
            for (number, pair) in pairs.iter().enumerate().filter(|(_, pair)| pair.group == group && touches(pair)) {
                let same = resolved.together(pair);
                counts.add(pair.label, same);
                if same != (pair.label == Label::Positive) {
                    wrong.insert(number);
                }
            }
            let source = Some(source.to_owned());
            folds.push(Fold { source, group: group.to_owned(), without_urls, scores: Scores::of(&counts) });
        }
        let mut sums: BTreeMap<&str, Counts> = BTreeMap::new();
        for (number, pair) in pairs.iter().enumerate() {
            let same = (pair.label == Label::Positive) != wrong.contains(&number);
            sums.entry(&pair.group).or_default().add(pair.label, same);
        }
        let sums = sums.into_iter().map(|(group, counts)| Fold {
            source: None,
            group: group.to_owned(),
            without_urls,
            scores: Scores::of(&counts),
        });
        folds.extend(sums);
        folds
    }
}

/// Fewest pairs of each label to train on: about one for each parameter, of which there are
/// [`FEATURES`]. What --cross-validate shows says whether they are enough.
const LEAST_PAIRS: usize = 30;

/// Sum of the weights of a group's examples, halved because each pair gives two.
const GROUP_WEIGHT: f64 = 500.0;

impl fmt::Display for Trained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "trained on {} pairs\n", self.pairs)?;
        writeln!(f, "{:24} {:>8} {:>8}", "parameter", "start", "trained")?;
        for (name, before, after) in &self.parameters {
            writeln!(f, "{name:24} {before:8.3} {after:8.3}")?;
        }
        if self.folds.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nmeasured on each source by parameters trained without it")?;
        for Fold { source, group, without_urls, scores } in &self.folds {
            let name = source.as_deref().map_or_else(|| format!("all of {group}"), |source| format!("  {source}"));
            let urls = if *without_urls { "without URLs" } else { "with URLs" };
            let percent = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.1}", share * 100.0));
            let [p, r, f1, fpr] = [scores.precision, scores.recall, scores.f1, scores.false_positive_rate].map(percent);
            writeln!(f, "{name:36} {urls:12} precision {p:>5} recall {r:>5} F1 {f1:>5} merged negatives {fpr:>5}")?;
        }
        Ok(())
    }
}

impl Resolved<'_> {
    fn together(&self, pair: &Pair) -> bool {
        let (a, b) = pair.names();
        self.hit(&a, &b).is_some()
    }

    fn pair(&self, pair: &Pair) -> Option<(ListingId, ListingId)> {
        let (a, b) = pair.names();
        self.hit(&a, &b).or_else(|| self.nearest(&a, &b))
    }
}
