//! From collections to records, on the workers, so that the committer only hands over bytes.

use std::collections::BTreeSet;

use differential_dataflow::{ExchangeData, VecCollection};
use headwater_flow::Epoch;
use headwater_flow::epochs::CompleteEpochs;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::operator::Operator;

use super::context::Context;
use super::record::OutRecord;
use crate::schema::{Codec, Counted, Fact, TopicId};

/// The records of a topic that always holds what `rows` holds: one a key.
pub(super) fn rows<'s, K: ExchangeData, V: ExchangeData>(
    context: Context,
    topic: TopicId,
    codec: Codec<K, V>,
    counted: Option<Counted<V>>,
    rows: VecCollection<'s, Epoch, (K, V)>,
) -> StreamVec<'s, Epoch, OutRecord> {
    let name = format!("encode/{}", context.catalog.name(topic));
    let route = codec.route.clone();
    // All differences of a key have to be seen by one worker.
    let by_key = Exchange::new(move |((key, _), _, _): &((K, V), Epoch, isize)| route(key));
    rows.inner.unary_frontier(by_key, &name, move |_capability, _info| {
        let mut epochs: CompleteEpochs<Vec<(K, V, isize)>> = CompleteEpochs::new(1);
        move |(input, frontier), out| {
            input.for_each(|capability, data| {
                // Differences of a batch may lie at later epochs than its capability.
                for ((key, value), epoch, diff) in data.drain(..) {
                    epochs.at(&capability, epoch).push((key, value, diff));
                }
            });
            while let Some(complete) = epochs.next([frontier]) {
                let (epoch, changes) = (complete.epoch, complete.input);
                if let Some(counted) = &counted {
                    context.gauges.add(counted.gauge, change_of(counted, &changes));
                }
                let Some(capability) = complete.capabilities.first().filter(|_| !context.skips(epoch)) else {
                    continue;
                };
                let mut session = out.session(capability);
                for NetChange { key, now } in net_changes(changes) {
                    let value = now.map(|now| (codec.value)(&key, &now));
                    let record = OutRecord::row(topic, (codec.key)(&key), value);
                    session.give_iterator(context.checked(record).filter_map(|record| context.news(epoch, record)));
                }
            }
        }
    })
}

/// The records of a state whose changes come key by key, each on the worker that knows the key.
pub(super) fn state<'s, K: 'static, V: 'static>(
    context: Context,
    topic: TopicId,
    codec: Codec<K, V>,
    changes: StreamVec<'s, Epoch, (K, Option<V>)>,
) -> StreamVec<'s, Epoch, OutRecord> {
    let name = format!("encode/{}", context.catalog.name(topic));
    changes.unary(Pipeline, &name, move |_capability, _info| {
        move |input, out| {
            input.for_each(|capability, data| {
                let epoch = *capability.time();
                if context.skips(epoch) {
                    return;
                }
                let mut session = out.session(&capability);
                for (key, value) in data.drain(..) {
                    let value = value.map(|value| (codec.value)(&key, &value));
                    let record = OutRecord::row(topic, (codec.key)(&key), value);
                    session.give_iterator(context.checked(record).filter_map(|record| context.news(epoch, record)));
                }
            });
        }
    })
}

/// The records of facts. Those of records that are read again have been written before.
pub(super) fn facts<'s, T: 'static>(
    context: Context,
    topic: TopicId,
    encode: impl Fn(T) -> Fact + 'static,
    facts: StreamVec<'s, Epoch, T>,
) -> StreamVec<'s, Epoch, OutRecord> {
    let name = format!("encode/{}", context.catalog.name(topic));
    facts.unary(Pipeline, &name, move |_capability, _info| {
        move |input, out| {
            input.for_each(|capability, data| {
                if *capability.time() <= context.restored_epoch {
                    return;
                }
                let mut session = out.session(&capability);
                for fact in data.drain(..) {
                    let Fact { key, value, headers } = encode(fact);
                    let record = OutRecord { topic, member: None, key, value, headers };
                    session.give_iterator(context.checked(record));
                }
            });
        }
    })
}

/// More topics of a family are not made on one worker: whoever names them could name any number.
const MOST_MEMBERS: usize = 1_000;

/// The records of facts whose topics are named with them.
pub(super) fn family<'s, T: 'static>(
    context: Context,
    topic: TopicId,
    encode: impl Fn(T) -> Fact + 'static,
    facts: StreamVec<'s, Epoch, (String, T)>,
) -> StreamVec<'s, Epoch, OutRecord> {
    let name = format!("encode/{}", context.catalog.name(topic));
    facts.unary(Pipeline, &name, move |_capability, _info| {
        let mut members = Members { stem: context.names.of(topic).len(), known: BTreeSet::new() };
        move |input, out| {
            input.for_each(|capability, data| {
                if *capability.time() <= context.restored_epoch {
                    return;
                }
                let mut session = out.session(&capability);
                for (member, fact) in data.drain(..) {
                    let refused = members.refusal(&member);
                    let Fact { key, value, headers } = encode(fact);
                    let record = OutRecord { topic, member: Some(member.into()), key, value, headers };
                    match refused {
                        None => session.give_iterator(context.checked(record)),
                        Some(reason) => session.give_iterator(context.checked(context.misnamed(record, reason))),
                    }
                }
            });
        }
    })
}

/// The topics of a family that a worker has written to.
struct Members {
    /// Length of what all their names begin with.
    stem: usize,
    known: BTreeSet<String>,
}

impl Members {
    /// Why there can be no topic of this name.
    fn refusal(&mut self, member: &str) -> Option<String> {
        if self.known.contains(member) {
            return None;
        }
        if member.is_empty() || !crate::log::is_legal_topic(member) {
            return Some(format!("{member:?} is no name of a topic: letters, digits, `.`, `_` and `-` only"));
        }
        if self.stem + member.len() > crate::log::LONGEST_TOPIC {
            return Some(format!("{member:?} is too long for the name of a topic"));
        }
        if self.known.len() >= MOST_MEMBERS {
            return Some(format!("{member:?} would be one topic more than the {MOST_MEMBERS} that may be named"));
        }
        self.known.insert(member.to_owned());
        None
    }
}

/// By how much the rows that count become more.
fn change_of<K, V>(counted: &Counted<V>, differences: &[(K, V, isize)]) -> i64 {
    differences.iter().filter(|(_, value, _)| (counted.counts)(value)).map(|(_, _, diff)| *diff as i64).sum()
}

struct NetChange<K, V> {
    key: K,
    now: Option<V>,
}

/// What an epoch's differences come to, key by key; keys without a net change are left out.
fn net_changes<K: Ord, V: Ord>(changes: Vec<(K, V, isize)>) -> Vec<NetChange<K, V>> {
    let mut updates: Vec<((K, V), isize)> = changes.into_iter().map(|(k, v, d)| ((k, v), d)).collect();
    differential_dataflow::consolidation::consolidate(&mut updates);
    let mut net: Vec<NetChange<K, V>> = Vec::new();
    for ((key, value), diff) in updates {
        if net.last().is_none_or(|last| last.key != key) {
            net.push(NetChange { key, now: None });
        }
        if let Some(last) = net.last_mut().filter(|_| diff > 0) {
            last.now = Some(value);
        }
    }
    net
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;

    #[test]
    fn net_changes_tell_new_rows_from_changed_and_gone_ones() {
        let changes = vec![("a", 1, -1), ("a", 2, 1), ("b", 1, 1), ("c", 1, -1), ("d", 1, 1), ("d", 1, -1)];
        let gauge = Schema::default().gauge("ones", "Ones.");
        let counted = Counted { gauge, counts: std::sync::Arc::new(|value| *value == 1) };
        assert_eq!(change_of(&counted, &changes), -1);
        let net = net_changes(changes);
        let told: Vec<_> = net.iter().map(|n| (n.key, n.now)).collect();
        assert_eq!(told, [("a", Some(2)), ("b", Some(1)), ("c", None)]);
    }

    #[test]
    fn a_topic_of_a_family_needs_a_legal_name() {
        let mut members = Members { stem: 240, known: BTreeSet::new() };
        assert_eq!(members.refusal("music"), None);
        for refused in ["", "a b", "a/b", "ü", "0123456789"] {
            assert!(members.refusal(refused).is_some(), "{refused}");
        }
        let mut members = Members { stem: 0, known: (0..MOST_MEMBERS).map(|n| n.to_string()).collect() };
        assert_eq!(members.refusal("7"), None);
        assert!(members.refusal("new").unwrap().contains("1000"));
    }
}
