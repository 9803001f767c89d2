//! Training: the parameters of a [`Model`] from labelled comparisons.
//!
//! Logistic regression with a ridge around given parameters (those that come with the crate, or
//! none), by Newton's method: a few dozen parameters need no more than a few small linear systems,
//! which is why no library is drawn in for it.

use super::model::{FEATURES, Feature, Found, Model, Sign};

/// A labelled comparison.
#[derive(Debug, Clone)]
pub struct Example {
    /// What the comparison found.
    pub found: Found,
    /// Whether the two are one event.
    pub same: bool,
    /// How much it counts.
    pub weight: f64,
}

/// How to train.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Training {
    /// How strongly parameters are held at where they start; 0 not at all.
    pub ridge: f64,
    /// Most steps of Newton's method.
    pub steps: usize,
}

impl Default for Training {
    fn default() -> Self {
        Self { ridge: 3.0, steps: 50 }
    }
}

/// The parameters that fit `examples` best while staying near those of `start`.
pub fn train(examples: &[Example], start: &Model, training: Training) -> Model {
    let prior = Feature::ALL.map(|feature| start.of(feature));
    let mut at = prior;
    for _ in 0..training.steps {
        let step = newton_step(examples, &at, &prior, training.ridge);
        let Some(step) = step else { break };
        let largest = step.iter().fold(0.0_f64, |largest, change| largest.max(change.abs()));
        let scale = if largest > 2.0 { 2.0 / largest } else { 1.0 };
        for ((parameter, change), feature) in at.iter_mut().zip(step).zip(Feature::ALL) {
            let moved = *parameter + scale * change;
            *parameter = match feature.sign() {
                Sign::For => moved.max(0.0),
                Sign::Against => moved.min(0.0),
                Sign::Either => moved,
            };
        }
        if largest < 1e-6 {
            break;
        }
    }
    Model::new(at)
}

type Vector = [f64; FEATURES];

fn newton_step(examples: &[Example], at: &Vector, prior: &Vector, ridge: f64) -> Option<Vector> {
    let mut gradient = [0.0; FEATURES];
    let mut hessian = vec![[0.0; FEATURES]; FEATURES];
    for (i, row) in hessian.iter_mut().enumerate() {
        row[i] = ridge.max(1e-9);
        gradient[i] = ridge * (prior[i] - at[i]);
    }
    for example in examples {
        let sum: f64 = example.found.iter().map(|(feature, value)| at[*feature as usize] * f64::from(*value)).sum();
        let likely = 1.0 / (1.0 + (-sum).exp());
        let off = example.weight * (f64::from(u8::from(example.same)) - likely);
        let curve = example.weight * likely * (1.0 - likely);
        for (x, a) in &example.found {
            gradient[*x as usize] += off * f64::from(*a);
            for (y, b) in &example.found {
                hessian[*x as usize][*y as usize] += curve * f64::from(*a) * f64::from(*b);
            }
        }
    }
    // A parameter at the end of its range that wants to go beyond stays, and the others move as if
    // it were a constant.
    for (i, feature) in Feature::ALL.into_iter().enumerate() {
        let pinned = at[i] == 0.0
            && match feature.sign() {
                Sign::For => gradient[i] < 0.0,
                Sign::Against => gradient[i] > 0.0,
                Sign::Either => false,
            };
        if pinned {
            gradient[i] = 0.0;
            for (j, row) in hessian.iter_mut().enumerate() {
                row[i] = if i == j { 1.0 } else { 0.0 };
            }
            hessian[i] = std::array::from_fn(|j| if i == j { 1.0 } else { 0.0 });
        }
    }
    solve(hessian, gradient)
}

/// Solves a symmetric positive definite system by Gauss's elimination.
fn solve(mut matrix: Vec<Vector>, mut right: Vector) -> Option<Vector> {
    for pivot in 0..FEATURES {
        let row = matrix[pivot];
        if row[pivot].abs() < 1e-12 {
            return None;
        }
        for below in pivot + 1..FEATURES {
            let factor = matrix[below][pivot] / row[pivot];
            if factor != 0.0 {
                (pivot..FEATURES).for_each(|column| matrix[below][column] -= factor * row[column]);
                right[below] -= factor * right[pivot];
            }
        }
    }
    for pivot in (0..FEATURES).rev() {
        let known: f64 = (pivot + 1..FEATURES).map(|column| matrix[pivot][column] * right[column]).sum();
        right[pivot] = (right[pivot] - known) / matrix[pivot][pivot];
    }
    Some(right)
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;

    fn example(found: &[(Feature, f32)], same: bool) -> Example {
        let mut all: Found = smallvec![(Feature::Base, 1.0)];
        all.extend(found.iter().copied());
        Example { found: all, same, weight: 1.0 }
    }

    fn zero() -> Model {
        Model::new([0.0; FEATURES])
    }

    /// Nine in ten with the feature are the same, one in ten without: the parameters are known.
    #[test]
    fn the_likeliest_parameters_are_found() {
        let with = [(Feature::TitleSame, 1.0)];
        let examples: Vec<Example> = (0..10).flat_map(|n| [example(&with, n > 0), example(&[], n == 0)]).collect();
        let model = train(&examples, &zero(), Training { ridge: 0.0, steps: 50 });
        assert!((model.of(Feature::Base) + 9.0_f64.ln()).abs() < 1e-3);
        assert!((model.of(Feature::TitleSame) - 2.0 * 9.0_f64.ln()).abs() < 1e-3);
        assert_eq!(model.of(Feature::UrlSame), 0.0);
    }

    #[test]
    fn signs_hold_whatever_the_examples_say() {
        let odd = [(Feature::TitleSame, 1.0)];
        let examples: Vec<Example> = (0..10).flat_map(|_| [example(&odd, false), example(&[], true)]).collect();
        let model = train(&examples, &zero(), Training { ridge: 0.1, steps: 50 });
        assert!(model.of(Feature::TitleSame) >= 0.0);
    }

    #[test]
    fn a_ridge_holds_parameters_where_they_were() {
        let examples: Vec<Example> = (0..4).map(|_| example(&[(Feature::UrlSame, 1.0)], true)).collect();
        let start = Model::default();
        let held = train(&examples, &start, Training { ridge: 1e6, steps: 50 });
        assert!(Feature::ALL.iter().all(|at| (held.of(*at) - start.of(*at)).abs() < 1e-3));
    }
}
