//! The scheduler against one that looks at all jobs for each decision.

mod naive;

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_flow::{Origin, RawRecord};
use proptest::prelude::*;
use serde_json::{Value, json};

use self::naive::Naive;
use super::*;

/// A time in 2026, in ms.
const NOW: i64 = 1_796_000_000_000;

/// What happens in a step: how much later it is, and what is said.
type Step = (i64, Vec<Value>);

fn settings(text: &str) -> SchedulerSettings {
    #[derive(serde::Deserialize)]
    struct Text {
        queues: BTreeMap<String, QueueSettings>,
    }
    let Text { queues } = toml::from_str(text).unwrap();
    SchedulerSettings { queues, retention: Retention::default() }
}

/// Limits of every kind, all of them small.
fn limited() -> SchedulerSettings {
    settings(
        "[queues.'*']\nbackoff = '4 s'\nattempts = 2\nageing = '3 s'\n\
         [queues.p]\nconcurrency = 2\ngroup_concurrency = 1\n\
         [queues.r]\nrate = '1 / 2 s'\nburst = 2\ngroup_rate = '1 / 5 s'\ngroup_burst = 2\n",
    )
}

/// The same with leases that outlive the test: a restart lengthens them, which is told elsewhere.
fn patient() -> SchedulerSettings {
    let mut settings = limited();
    let hour = headwater::config::Period::from_secs(3_600);
    settings.queues.values_mut().for_each(|queue| queue.heartbeat_within = Some(hour));
    settings
}

fn read(command: &Value, offset: i64, now: i64) -> (Command, RawRecord) {
    let origin = Origin { topic: "c".into(), partition: 0, offset, timestamp_ms: now, order_ms: now };
    let record = RawRecord { origin, value: Some(command.to_string().into_bytes()), ..RawRecord::default() };
    (Command::read(&record).unwrap_or_else(|wrong| panic!("{command}: {}", wrong.reason)), record)
}

/// The commands with the numbers of leases that they mean: 1 is the last lease of the job, 2 the one before, 3 the next.
fn with_leases(scheduler: &Scheduler, commands: &[Value]) -> Vec<Value> {
    let with_lease = |command: &Value| {
        let mut command = command.clone();
        let id = command["id"].as_str().unwrap_or_default();
        let last = scheduler.state.find(id).map_or(1, |no| scheduler.state.job(no).lease_number);
        let meant = command["lease"].as_u64().map(|meant| match meant {
            1 => last,
            2 => last.saturating_sub(1),
            _ => last + 1,
        });
        if let Some(meant) = meant {
            command["lease"] = json!(meant);
        }
        command
    };
    commands.iter().map(with_lease).collect()
}

fn step(scheduler: &mut Scheduler, now: i64, commands: &[Value]) -> Changes {
    let commands = &with_leases(scheduler, commands);
    let commands = (0..).zip(commands).map(|(offset, command)| read(command, offset, now)).collect();
    scheduler.step(now, Input { commands, ..Input::default() })
}

/// What can be seen of a job.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    phase: &'static str,
    attempt: u32,
    ready: i64,
    lease: Option<(u32, String, u32, i64)>,
    cancelling: bool,
    error: Option<String>,
    runs: usize,
}

fn seen(scheduler: &Scheduler) -> BTreeMap<String, Seen> {
    let ms = |time: jiff::Timestamp| time.as_millisecond() - NOW;
    let job = |(_, job): (u32, &Job)| {
        let lease = job.lease.as_ref();
        let lease = lease.map(|lease| (lease.number, lease.worker.to_string(), lease.slot, ms(lease.until)));
        let seen = Seen {
            phase: job.phase.name(),
            attempt: job.attempt,
            ready: ms(job.ready_at),
            lease,
            cancelling: job.cancelling,
            error: job.error.as_ref().map(|error| error.code.clone()),
            runs: job.runs.len(),
        };
        (job.id.to_string(), seen)
    };
    scheduler.state.jobs().map(job).collect()
}

/// The documents, as they were written last.
#[derive(Default)]
struct Documents {
    jobs: BTreeMap<Arc<str>, Vec<u8>>,
    queues: BTreeMap<Arc<str>, Vec<u8>>,
    leases: BTreeMap<String, Vec<u8>>,
    told: BTreeMap<Arc<str>, Vec<u8>>,
}

impl Documents {
    fn write(&mut self, changes: &Changes) {
        fn put<K: Ord + Clone>(rows: &mut BTreeMap<K, Vec<u8>>, changes: &[(K, Option<bytes::Bytes>)]) {
            for (key, row) in changes {
                match row {
                    Some(row) => drop(rows.insert(key.clone(), row.to_vec())),
                    None => drop(rows.remove(key)),
                }
            }
        }
        put(&mut self.jobs, &changes.jobs);
        put(&mut self.queues, &changes.queues);
        put(&mut self.leases, &changes.leases);
        put(&mut self.told, &changes.settings);
    }

    /// A scheduler that finds itself again by them, and the rows that it tells.
    fn restart(&self, settings: SchedulerSettings) -> (Scheduler, Documents) {
        let mut scheduler = Scheduler::new(settings);
        for job in self.jobs.values() {
            scheduler.restore_job(serde_json::from_slice(job).unwrap());
        }
        for (name, told) in &self.told {
            scheduler.restore_queue(name, serde_json::from_slice(told).unwrap());
        }
        let changes = scheduler.restored();
        assert!(changes.jobs.is_empty() && changes.letters.is_empty() && changes.runs.is_empty());
        let mut rows = Documents::default();
        rows.write(&changes);
        (scheduler, rows)
    }
}

fn command() -> impl Strategy<Value = Value> {
    let id = || prop::sample::select(vec!["a", "b", "c", "d", "e", "f"]);
    let queue = || prop::sample::select(vec!["p", "q", "r"]);
    let worker = || prop::sample::select(vec!["v", "w"]);
    let parents = prop::sample::subsequence(vec!["a", "b", "c", "d", "e", "f"], 1..3);
    let group = prop::option::of(prop::sample::select(vec!["x", "y"]));
    let submit = (id(), queue(), group, -2i16..3, 0u8..8, parents).prop_map(
        |(id, queue, group, priority, kind, mut parents)| {
            parents.retain(|parent| *parent != id);
            let mut submit = json!({"type": "submit", "id": id, "queue": queue, "group": group, "priority": priority});
            match kind {
                0 => submit["delay"] = json!("3 s"),
                1 => submit["startWithin"] = json!("6 s"),
                2 => submit["finishWithin"] = json!("7 s"),
                3 => submit["heartbeatWithin"] = json!("2 s"),
                4 => submit["parents"] = json!(parents),
                5 => {
                    submit["parents"] = json!(parents);
                    submit["onParentFailure"] = json!("run");
                }
                6 => submit["keep"] = json!("5 s"),
                _ => {}
            }
            submit
        },
    );
    let hello = (worker(), prop::sample::subsequence(vec!["p", "q", "r"], 0..4), 0u32..3, 1u8..30)
        .prop_map(|(worker, queues, slots, seconds)| {
            json!({"type": "hello", "worker": worker, "queues": queues, "slots": slots, "for": format!("{seconds} s")})
        });
    let report = (id(), 1u32..4, prop::sample::select(vec!["complete", "fail", "release", "heartbeat"]), any::<bool>())
        .prop_map(|(id, lease, kind, retry)| match kind {
            "fail" => json!({"type": kind, "id": id, "lease": lease, "error": {"message": "m"}, "retry": retry}),
            _ => json!({"type": kind, "id": id, "lease": lease}),
        });
    let other = (id(), queue(), 0u8..5).prop_map(|(id, queue, kind)| match kind {
        0 => json!({"type": "queue", "queue": queue, "paused": true}),
        1 => json!({"type": "queue", "queue": queue, "paused": false}),
        2 => json!({"type": "queue", "queue": queue, "drain": true}),
        3 => json!({"type": "retry", "id": id}),
        _ => json!({"type": "cancel", "id": id}),
    });
    prop_oneof![4 => submit, 2 => hello, 4 => report, 2 => other]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pause = prop_oneof![3 => 1i64..2_000, 1 => 2_000i64..40_000];
    prop::collection::vec((pause, prop::collection::vec(command(), 0..6)), 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn decisions_are_those_of_a_look_at_all_jobs(steps in steps()) {
        let (mut scheduler, mut naive) = (Scheduler::new(limited()), Naive::new(limited()));
        let (mut documents, mut now) = (Documents::default(), NOW);
        for (pause, commands) in steps {
            now += pause;
            let commands = with_leases(&scheduler, &commands);
            let commands_read = (0..).zip(&commands).map(|(offset, command)| read(command, offset, now)).collect();
            let changes = scheduler.step(now, Input { commands: commands_read, ..Input::default() });
            let letters = naive.step(now, &commands);
            let codes: Vec<_> = changes.letters.iter().map(|letter| letter.code.as_str()).collect();
            prop_assert_eq!(codes, letters);
            prop_assert_eq!(seen(&scheduler), naive.seen(NOW));
            documents.write(&changes);
            // Whatever is kept follows from the jobs.
            let (_, rows) = documents.restart(limited());
            prop_assert_eq!(&rows.queues, &documents.queues);
            prop_assert_eq!(&rows.leases, &documents.leases);
            let due = scheduler.next_due();
            prop_assert!(due.is_none_or(|due| due > now), "something is due at {due:?} and was not done at {now}");
        }
    }

    #[test]
    fn a_restart_changes_no_decision(steps in steps(), at in 0usize..30) {
        let long = |command: &Value| command.get("heartbeatWithin").is_none();
        let (mut scheduler, mut restarted) = (Scheduler::new(patient()), None);
        let (mut documents, mut now) = (Documents::default(), NOW);
        for (number, (pause, commands)) in steps.into_iter().enumerate() {
            now += pause.min(2_000);
            let mut commands: Vec<_> = commands.into_iter().filter(long).collect();
            // What workers have said is forgotten: after the restart they say it again.
            if number >= at {
                commands.extend(["v", "w"].map(|worker| {
                    json!({"type": "hello", "worker": worker, "queues": ["p", "q", "r"], "slots": 1, "for": "1 h"})
                }));
            }
            if number == at {
                restarted = Some(documents.restart(patient()).0);
            }
            let changes = step(&mut scheduler, now, &commands);
            documents.write(&changes);
            if let Some(restarted) = &mut restarted {
                step(restarted, now, &commands);
                let phases = |scheduler: &Scheduler| {
                    let mut counts = BTreeMap::<&str, usize>::new();
                    seen(scheduler).into_values().for_each(|job| *counts.entry(job.phase).or_default() += 1);
                    counts
                };
                // Turns of groups begin anew, so another job may be first, and no more are leased or fewer.
                if number == at {
                    prop_assert_eq!(phases(&scheduler), phases(restarted));
                }
            }
        }
    }
}

fn leased(scheduler: &Scheduler) -> Vec<String> {
    let mut leased: Vec<_> =
        scheduler.state.jobs().filter_map(|(_, job)| Some((job.lease.as_ref()?.slot, job.id.to_string()))).collect();
    leased.sort_unstable();
    leased.into_iter().map(|(_, id)| id).collect()
}

/// 20 slots, jobs of 100 ms, one tenant with 10,000 and one, a second later, with 10: the longest waits of both.
#[test]
fn a_tenant_with_ten_jobs_does_not_wait_for_one_with_ten_thousand() {
    let mut scheduler = Scheduler::new(SchedulerSettings::default());
    let submit = |id: String, group: &str| json!({"type": "submit", "id": id, "queue": "q", "group": group});
    let large: Vec<_> = (0..10_000).map(|n| submit(format!("large-{n}"), "large")).collect();
    let small: Vec<_> = (0..10).map(|n| submit(format!("small-{n}"), "small")).collect();
    let (mut now, mut waits) = (NOW, BTreeMap::<String, i64>::new());
    step(&mut scheduler, now, &[&large[..], &[hello(&["q"], 20)]].concat());
    for _ in 0..510 {
        now += 100;
        let mut commands: Vec<_> =
            leased(&scheduler).iter().map(|id| json!({"type": "complete", "id": id, "lease": 1})).collect();
        if now == NOW + 1_000 {
            commands.extend(small.iter().cloned());
        }
        for run in step(&mut scheduler, now, &commands).runs {
            let longest = waits.entry(run.group.unwrap().to_string()).or_default();
            *longest = run.run.waited_ms.max(*longest);
        }
    }
    println!("the longest waits in ms: {waits:?}");
    assert!(seen(&scheduler).values().all(|job| job.phase == "done"));
    assert_eq!(waits["small"], 0);
    assert!((49_000..51_000).contains(&waits["large"]), "{waits:?}");
}

#[test]
fn a_worker_that_is_not_heard_of_is_given_nothing_until_it_says_hello() {
    let mut scheduler = Scheduler::new(SchedulerSettings::default());
    let submit = |id: &str| json!({"type": "submit", "id": id, "queue": "q", "heartbeatWithin": "5 s"});
    let hello = json!({"type": "hello", "worker": "w", "queues": ["q"], "slots": 1, "for": "1 h"});
    step(&mut scheduler, NOW, &[submit("a"), submit("b"), hello.clone()]);
    step(&mut scheduler, NOW + 5_000, &[]);
    assert_eq!(leased(&scheduler), Vec::<String>::new());
    step(&mut scheduler, NOW + 6_000, &[hello]);
    assert_eq!(leased(&scheduler), ["b"]);
}

#[test]
fn queues_that_nobody_names_are_forgotten() {
    let mut scheduler = Scheduler::new(settings("[queues.r]\nrate = '1 / 5 s'\n"));
    let names =
        |scheduler: &Scheduler| scheduler.state.queue_names().into_iter().map(str::to_owned).collect::<Vec<_>>();
    let queues: Vec<_> = (0..100).map(|n| format!("q{n}")).collect();
    let hello = |slots: u32| json!({"type": "hello", "worker": "w", "queues": queues, "slots": slots, "for": "1 h"});
    step(&mut scheduler, NOW, &[hello(1)]);
    assert_eq!(names(&scheduler).len(), 100);
    step(&mut scheduler, NOW + 1, &[hello(0), json!({"type": "queue", "queue": "q7", "paused": true})]);
    assert_eq!(names(&scheduler), ["q7"]);
    let other = json!({"type": "hello", "worker": "v", "queues": ["r"], "slots": 1, "for": "1 s"});
    let submit = json!({"type": "submit", "id": "a", "queue": "r", "keep": "1 ms"});
    step(&mut scheduler, NOW + 2, &[other, submit]);
    step(&mut scheduler, NOW + 3, &[json!({"type": "complete", "id": "a", "lease": 1})]);
    step(&mut scheduler, NOW + 2_000, &[json!({"type": "queue", "queue": "q7", "paused": false})]);
    assert_eq!(names(&scheduler), ["r"], "its rate is not forgotten");
    step(&mut scheduler, NOW + 5_002, &[]);
    assert!(names(&scheduler).is_empty());
}

fn hello(queues: &[&str], slots: u32) -> Value {
    json!({"type": "hello", "worker": "w", "queues": queues, "slots": slots, "for": "1 h"})
}

#[test]
fn a_deep_family_is_cancelled_as_a_whole() {
    let mut scheduler = Scheduler::new(SchedulerSettings::default());
    let generations = 100_000;
    let child = |n: usize| match n {
        0 => json!({"type": "submit", "id": "0", "queue": "q"}),
        n => json!({"type": "submit", "id": n.to_string(), "queue": "q", "parents": [(n - 1).to_string()]}),
    };
    step(&mut scheduler, NOW, &(0..generations).map(child).collect::<Vec<_>>());
    step(&mut scheduler, NOW + 1, &[json!({"type": "cancel", "id": "0"})]);
    let cancelled = seen(&scheduler).into_values().filter(|job| job.phase == "cancelled").count();
    assert_eq!(cancelled, generations);
}

#[test]
fn queues_take_turns_where_a_worker_has_one_slot() {
    let mut scheduler = Scheduler::new(SchedulerSettings::default());
    let submit = |n: usize| json!({"type": "submit", "id": format!("{n}"), "queue": if n.is_multiple_of(2) { "p" } else { "q" }});
    let jobs: Vec<_> = (0..20).map(submit).collect();
    step(&mut scheduler, NOW, &[&jobs[..], &[hello(&["p", "q"], 1)]].concat());
    let mut order = Vec::new();
    for turn in 1..=10 {
        let [job] = leased(&scheduler).try_into().unwrap();
        order.push(job.parse::<usize>().unwrap() % 2);
        step(&mut scheduler, NOW + turn, &[json!({"type": "complete", "id": job, "lease": 1})]);
    }
    assert_eq!(order, [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
}

#[test]
fn a_group_with_a_second_job_has_its_turn_although_new_groups_come() {
    let mut scheduler = Scheduler::new(SchedulerSettings::default());
    let submit = |id: String, group: String| json!({"type": "submit", "id": id, "queue": "q", "group": group});
    let old = (0..2).map(|n| submit(format!("old-{n}"), "old".to_owned()));
    step(&mut scheduler, NOW, &[&old.collect::<Vec<_>>()[..], &[hello(&["q"], 1)]].concat());
    let mut done = Vec::new();
    for turn in 1..=10 {
        let [job] = leased(&scheduler).try_into().unwrap();
        done.push(job.clone());
        let new = (0..2).map(|n| submit(format!("new-{turn}-{n}"), format!("group-{turn}-{n}")));
        let commands: Vec<_> = new.chain([json!({"type": "complete", "id": job, "lease": 1})]).collect();
        step(&mut scheduler, NOW + turn, &commands);
    }
    assert!(done[..5].contains(&"old-1".to_owned()), "{done:?}");
}

#[test]
fn a_job_that_is_given_back_is_not_late() {
    let mut scheduler = Scheduler::new(SchedulerSettings::default());
    let submit = json!({"type": "submit", "id": "a", "queue": "q", "startWithin": "1 s"});
    step(&mut scheduler, NOW, &[submit, hello(&["q"], 1)]);
    step(&mut scheduler, NOW + 5_000, &[hello(&["q"], 0), json!({"type": "release", "id": "a", "lease": 1})]);
    step(&mut scheduler, NOW + 5_001, &[]);
    assert_eq!(seen(&scheduler)["a"].phase, "waiting");
}

#[test]
fn an_id_may_be_used_again_and_old_reports_do_not_fit() {
    let mut scheduler = Scheduler::new(SchedulerSettings::default());
    let submit = json!({"type": "submit", "id": "a", "queue": "q", "keep": "1 s"});
    step(&mut scheduler, NOW, &[submit.clone(), hello(&["q"], 1)]);
    let lease = seen(&scheduler)["a"].lease.clone().unwrap().0;
    step(&mut scheduler, NOW + 1, &[json!({"type": "complete", "id": "a", "lease": 1})]);
    // The job that is over leaves at the step in which the id is submitted again.
    step(&mut scheduler, NOW + 2_000, &[submit]);
    let again = seen(&scheduler)["a"].lease.clone().unwrap().0;
    assert!(again > lease, "{again} {lease}");
    let late = json!({"type": "complete", "id": "a", "lease": lease});
    let input = Input { commands: vec![read(&late, 0, NOW)], ..Input::default() };
    let letters = scheduler.step(NOW + 2_001, input).letters;
    assert_eq!(letters[0].code, STALE_LEASE);
    assert_eq!(seen(&scheduler)["a"].phase, "leased");
}

#[test]
fn nothing_expires_while_nothing_could_be_heard() {
    for away in [false, true] {
        let mut scheduler = Scheduler::new(SchedulerSettings::default());
        step(&mut scheduler, NOW, &[json!({"type": "submit", "id": "a", "queue": "q"}), hello(&["q"], 1)]);
        if away {
            scheduler.was_away(NOW + 60_000);
            assert!(scheduler.next_due().is_some_and(|due| due <= NOW + 60_000));
        }
        step(&mut scheduler, NOW + 60_000, &[]);
        assert_eq!(seen(&scheduler)["a"].phase, if away { "leased" } else { "failed" });
    }
}

#[test]
fn a_change_of_a_schedule_does_not_swallow_what_was_due() {
    let text = |definition: Value| serde_json::from_value::<ScheduleText>(definition).unwrap();
    let mut scheduler = Scheduler::new(SchedulerSettings::default());
    let first = text(json!({"every": "1 h", "missed": "all", "job": {"queue": "q"}}));
    scheduler.step(NOW, Input { schedules: vec![("s".into(), Some(first))], ..Input::default() });
    let due = scheduler.next_due().unwrap();
    let changed = text(json!({"every": "2 h", "missed": "all", "job": {"queue": "q"}}));
    scheduler.step(due + 1_000, Input { schedules: vec![("s".into(), Some(changed))], ..Input::default() });
    assert_eq!(seen(&scheduler).len(), 1);
}

#[test]
fn priority_is_a_head_start() {
    let mut scheduler = Scheduler::new(settings("[queues.q]\nageing = '10 s'\n"));
    let submit = |id: &str, priority: i16| json!({"type": "submit", "id": id, "queue": "q", "priority": priority});
    step(&mut scheduler, NOW, &[submit("old", 0)]);
    step(&mut scheduler, NOW + 9_000, &[submit("urgent", 1), submit("plain", 0)]);
    step(&mut scheduler, NOW + 11_000, &[submit("late", 1)]);
    let hello = json!({"type": "hello", "worker": "w", "queues": ["q"], "slots": 4, "for": "1 h"});
    step(&mut scheduler, NOW + 12_000, &[hello]);
    assert_eq!(leased(&scheduler), ["urgent", "old", "late", "plain"]);
}

#[test]
fn pauses_double_up_to_the_longest() {
    let backoff = crate::model::Backoff { initial_ms: 1_000, max_ms: 60_000 };
    for (attempt, base) in [(1, 1_000), (2, 2_000), (5, 16_000), (9, 60_000), (u32::MAX, 60_000)] {
        let pause = life::pause(&backoff, "job", attempt);
        assert!((base * 4 / 5..=base * 6 / 5).contains(&pause), "{attempt}: {pause}");
    }
    let pauses: std::collections::BTreeSet<_> =
        (0..50).map(|n| life::pause(&backoff, &format!("job-{n}"), 3)).collect();
    assert!(pauses.len() > 40, "jobs that failed together come back apart");
}

#[test]
fn missed_times_are_skipped_run_once_or_run_all() {
    for (missed, expected) in [("skip", 0), ("once", 1), ("all", 3)] {
        let definition = json!({"cron": "0 * * * *", "missed": missed, "overlap": "allow", "job": {"queue": "q"}});
        let text: ScheduleText = serde_json::from_value(definition).unwrap();
        let mut scheduler = Scheduler::new(SchedulerSettings::default());
        let schedules = vec![("hourly".into(), Some(text))];
        scheduler.step(NOW, Input { schedules, ..Input::default() });
        let next = scheduler.next_due().unwrap();
        // Three times have passed when the engine is there again, ten minutes after the last.
        scheduler.step(next + 2 * 3_600_000 + 600_000, Input::default());
        assert_eq!(seen(&scheduler).len(), expected, "{missed}");
        scheduler.step(next + 3 * 3_600_000, Input::default());
        assert_eq!(seen(&scheduler).len(), expected + 1, "{missed}: the next time is as ever");
    }
}

#[test]
fn jobs_of_a_schedule_may_overlap_wait_or_be_left_out() {
    for (overlap, expected) in
        [("skip", vec!["waiting"]), ("allow", vec!["waiting"; 2]), ("queue", vec!["blocked", "waiting"])]
    {
        let definition = json!({"every": "1 h", "overlap": overlap, "job": {"queue": "q"}});
        let text: ScheduleText = serde_json::from_value(definition).unwrap();
        let mut scheduler = Scheduler::new(SchedulerSettings::default());
        scheduler.step(NOW, Input { schedules: vec![("s".into(), Some(text))], ..Input::default() });
        for _ in 0..2 {
            let next = scheduler.next_due().unwrap();
            scheduler.step(next, Input::default());
        }
        let mut phases: Vec<_> = seen(&scheduler).into_values().map(|job| job.phase).collect();
        phases.sort_unstable();
        assert_eq!(phases, expected, "{overlap}");
    }
}
