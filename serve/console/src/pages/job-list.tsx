// The list of jobs: filters, ticks, and what many of them need.

import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "../api";
import { Action } from "../access";
import { glance } from "../content";
import { count, precise, rounded } from "../format";
import { ErrorGroup, Filter, getJob, inPhases, Job, JobPage, listJobs, Phase, PHASES, QueueRow } from "../jobs-api";
import { live } from "../jobs-live";
import { jobsHref } from "../jobs-links";
import { PhaseWord, phaseHint, ProgressBar } from "../phases";
import { go } from "../route";
import { Ago, Bones, Empty, isTyping, Popover, Trouble, useRowKeys } from "../ui";
import { Many, Subject, Verb } from "./many";

const PAGE = 50;
/** Changes are followed at most so often; the server looks through all documents for a text. */
const FOLLOW_MS = 1_000;
const FOLLOW_TEXT_MS = 5_000;
/** So many rows that left the result are asked for at once. */
const MOST_LEFT = 20;

interface Shown {
  asked: string;
  rows: Job[];
  total: number;
  next: string | null;
  /** Jobs that came to the result and are not shown. */
  fresh: number;
  /** Those that are not there any more. */
  gone: Set<string>;
}

/** The list that was shown last, for the way back: its rows, its address, and the job that it was left for. */
let kept: Shown | null = null;
let address: string | null = null;
let left: string | null = null;

/** The list with its filters that the reader came from, or else the whole one. */
export const listLeft = (): string => address ?? jobsHref();

/** The rows stay in their places; they follow what becomes of their jobs. */
async function followed(before: Shown, changed: Set<string> | null): Promise<Shown> {
  const query = new URLSearchParams(before.asked);
  const now: JobPage = await listJobs(query);
  const found = new Map(now.jobs.map((job) => [job.id, job]));
  const away = before.rows.filter((row) => !found.has(row.id) && (changed === null || changed.has(row.id))).slice(0, MOST_LEFT);
  const gone = new Set(before.gone);
  await Promise.all(
    away.map(async ({ id }) => {
      try {
        found.set(id, await getJob(id));
      } catch (error) {
        if (!(error instanceof ApiError && error.status === 404)) throw error;
        gone.add(id);
      }
    }),
  );
  // Further down come rows of the next page, where others have left the result.
  const ids = new Set(before.rows.map((row) => row.id));
  const known = now.jobs.map((job) => ids.has(job.id));
  const fresh = query.has("cursor") ? 0 : known.slice(0, before.rows.length < PAGE || !known.includes(true) ? undefined : known.lastIndexOf(true)).filter((one) => !one).length;
  return { ...before, rows: before.rows.map((row) => found.get(row.id) ?? row), total: now.total, fresh, gone };
}

function useJobs(asked: string) {
  const [shown, setShown] = useState<Shown | null>(kept?.asked === asked ? kept : null);
  const [error, setError] = useState<unknown>(null);
  const [round, setRound] = useState(0);
  const current = useRef(shown);
  const take = (next: Shown) => {
    current.current = next;
    kept = next;
    setShown(next);
    setError(null);
  };
  const load = async (abort: AbortController) => {
    try {
      const { jobs, total, next } = await listJobs(new URLSearchParams(asked), abort.signal);
      take({ asked, rows: jobs, total, next, fresh: 0, gone: new Set() });
    } catch (error) {
      if (!abort.signal.aborted) setError(error);
    }
  };
  useEffect(() => {
    const abort = new AbortController();
    const rest = new URLSearchParams(asked).has("q") ? FOLLOW_TEXT_MS : FOLLOW_MS;
    let changed: Set<string> | null = new Set();
    let timer = 0;
    const follow = async () => {
      const before = current.current;
      const these = changed;
      changed = new Set();
      try {
        if (before?.asked === asked) {
          const next = await followed(before, these);
          if (!abort.signal.aborted && current.current === before) take(next);
        } else await load(abort);
      } catch (error) {
        // The top line says that the server is away; the rows stay as they were.
        if (error instanceof ApiError && error.status > 0 && !abort.signal.aborted) setError(error);
      }
      timer = 0;
      if (changed === null || changed.size > 0) plan();
    };
    const plan = () => {
      if (!abort.signal.aborted) timer ||= window.setTimeout(() => void follow(), rest);
    };
    const stop = live.onChange((ids) => {
      if (ids === null) changed = null;
      else if (changed) for (const id of ids) changed.add(id);
      plan();
    });
    if (round === 0 && current.current?.asked === asked) {
      changed = null;
      void follow();
    } else void load(abort);
    return () => {
      abort.abort();
      clearTimeout(timer);
      stop();
    };
  }, [asked, round]);
  // Rows of another address are not those of this one.
  return { shown: shown?.asked === asked ? shown : null, error, reload: () => setRound(round + 1) };
}

interface ListProps {
  filter: Filter;
  query: URLSearchParams;
  rows: QueueRow[];
  errors: ErrorGroup[];
}

export function JobList({ filter, query, rows: queues, errors }: ListProps) {
  const cursor = query.get("cursor");
  const asked = new URLSearchParams({ ...filter, limit: String(PAGE), ...(cursor && { cursor }) }).toString();
  const { shown, error, reload } = useJobs(asked);
  const [ticked, setTicked] = useState<Map<string, Job>>(new Map());
  const [verb, setVerb] = useState<Verb | null>(null);
  const filtered = Object.keys(filter).length > 0;
  const list = useRowKeys(() => {});
  const head = useRef<HTMLElement>(null);
  const rows = shown?.rows ?? [];
  const change = (edit: (next: URLSearchParams) => void) => {
    const next = new URLSearchParams(query);
    next.delete("cursor");
    edit(next);
    go(jobsHref(next));
  };
  // Two may come before the list is drawn anew.
  const toggle = (job: Job) =>
    setTicked((before) => {
      const next = new Map(before);
      if (!next.delete(job.id)) next.set(job.id, job);
      return next;
    });
  useTicking(rows, toggle);
  useEffect(() => {
    address = jobsHref(query);
  }, [query]);
  useEffect(() => {
    if (rows.length === 0) return;
    // Who has chosen a filter above wants to see what it gives.
    if (!left && filtered && (head.current?.getBoundingClientRect().top ?? 0) > innerHeight / 2) head.current?.scrollIntoView({ block: "start" });
    if (!left) return;
    const link = [...(list.current?.querySelectorAll<HTMLElement>("a.cursor") ?? [])].find((link) => link.dataset.id === left);
    left = null;
    link?.focus();
    link?.scrollIntoView({ block: "center" });
  }, [rows.length > 0]);
  const turned = useRef(cursor);
  useEffect(() => {
    if (turned.current !== cursor) head.current?.scrollIntoView({ block: "start" });
    turned.current = cursor;
  }, [cursor]);
  const present = rows.filter((row) => !shown?.gone.has(row.id));
  const all = present.length > 0 && present.every((row) => ticked.has(row.id));
  const phaseNow = (job: Job): Phase => rows.find((row) => row.id === job.id)?.phase ?? job.phase;
  const subject: Subject = ticked.size > 0 ? { ticked: new Map([...ticked.values()].map((job) => [job.id, phaseNow(job)])) } : { filter };
  return (
    <section class="job-list" ref={head} aria-labelledby="job-list">
      <header class="section-head">
        <h2 id="job-list">{filtered ? "Jobs of the filter" : "All jobs"}</h2>
        <span class="faint num">{shown ? precise(shown.total) : ""}</span>
        {shown && shown.fresh > 0 && <button type="button" class="button button-new" onClick={reload}>{shown.fresh >= PAGE ? `${PAGE}+` : shown.fresh} new</button>}
      </header>
      <PhaseTabs filter={filter} query={query} queues={queues} />
      <Filters filter={filter} queues={queues} errors={errors} rows={rows} change={change} />
      {error !== null && <Trouble error={error} retry={reload} />}
      {!shown && error === null && <Bones rows={8} />}
      {shown && rows.length === 0 && <Nothing filter={filter} query={query} />}
      {shown && rows.length > 0 && (
        <>
          <ManyActions ticked={ticked.size} filter={filter} total={shown.total} ask={setVerb} clear={() => setTicked(new Map())} />
          <table class="table letters jobs" ref={list}>
            <thead>
              <tr>
                <th scope="col" class="tick-cell"><input type="checkbox" aria-label="Tick all of this page" checked={all} onChange={() => setTicked(new Map(all ? [] : present.map((row) => [row.id, row])))} /></th>
                <th scope="col">Job</th>
                <th scope="col">Phase</th>
                <th scope="col">Payload</th>
                <th scope="col" class="right">Attempt</th>
                <th scope="col" class="right">Submitted</th>
              </tr>
            </thead>
            <tbody>
              {rows.map((job) => <Row key={job.id} job={job} state={shown.gone.has(job.id) ? "gone" : fits(job, filter) ? "" : "left"} ticked={ticked.has(job.id)} toggle={() => toggle(job)} />)}
            </tbody>
          </table>
          <Pager shown={shown} cursor={cursor} change={change} />
        </>
      )}
      {verb && (
        <Many
          verb={verb}
          subject={subject}
          which={ticked.size > 0 ? (ticked.size === 1 ? "that is ticked" : "of those that are ticked") : "of the filter"}
          done={() => setTicked(new Map())}
          close={() => setVerb(null)}
        />
      )}
    </section>
  );
}

/** `x` ticks the row that has the focus. */
function useTicking(rows: Job[], toggle: (job: Job) => void): void {
  useEffect(() => {
    const key = (event: KeyboardEvent) => {
      if (event.key !== "x" || event.metaKey || event.ctrlKey || event.altKey || isTyping(event.target)) return;
      const id = (document.activeElement as HTMLElement | null)?.dataset.id;
      const job = rows.find((row) => row.id === id);
      if (job) toggle(job);
    };
    addEventListener("keydown", key);
    return () => removeEventListener("keydown", key);
  });
}

/** Whether a job is still one of the filter, as far as that shows. */
function fits(job: Job, { queue, phase, kind, group, error, schedule }: Filter): boolean {
  const is = (wanted: string | undefined, has: string | undefined) => wanted === undefined || wanted === has;
  return is(queue, job.queue) && is(phase, job.phase) && is(kind, job.kind) && is(group, job.group) && is(error, job.error?.code) && is(schedule, job.schedule);
}

function Row({ job, state, ticked, toggle }: { job: Job; state: "" | "gone" | "left"; ticked: boolean; toggle: () => void }) {
  const told = { "": undefined, gone: "It is not there any more", left: "It does not match the filter any more" }[state];
  const failed = job.error && job.phase !== "done";
  return (
    <tr class={state ? "job-left" : undefined} title={told}>
      <td class="tick-cell"><input type="checkbox" aria-label={`Tick ${job.id}`} checked={ticked} disabled={state === "gone"} onChange={toggle} /></td>
      <th scope="row" class="job-name">
        <a class="cursor" data-id={job.id} href={jobsHref(new URLSearchParams({ job: job.id }))} onClick={() => (left = job.id)}>{job.id}</a>
        <span class="job-of">{[job.queue, job.kind, job.group].filter(Boolean).join(" · ")}</span>
      </th>
      <td class="job-phase">{state === "gone" ? <span class="faint">gone</span> : <PhaseWord phase={job.phase} cancelling={job.cancelling} />}<ProgressBar job={job} /></td>
      <td class="why">
        <code class="job-payload">{glance(JSON.stringify(job.payload))}</code>
        {failed && <span class="job-error" title={job.error?.message}>{job.error?.code}: {job.error?.message}</span>}
      </td>
      <td class="right job-attempt" title={`Attempts that have begun, of ${count(job.limits.maxAttempts, "possible one")}`}>{job.attempt}<span class="faint"> / {job.limits.maxAttempts}</span></td>
      <td class="right"><Ago at={job.submittedAt} /></td>
    </tr>
  );
}

/** Where not all phases fit, so much is seen before the chosen one, in px. */
const MARGIN = 48;

/** The phases with their counts, which are those of the queues: a further filter has counts of its own. */
function PhaseTabs({ filter, query, queues }: { filter: Filter; query: URLSearchParams; queues: QueueRow[] }) {
  const mine = queues.filter((row) => !filter.queue || row.queue === filter.queue);
  const known = Object.keys(filter).every((key) => key === "queue" || key === "phase");
  const to = (phase: string | null): string => {
    const next = new URLSearchParams(query);
    for (const gone of ["cursor", "phase"]) next.delete(gone);
    if (phase) next.set("phase", phase);
    return jobsHref(next);
  };
  const tab = (phase: Phase | null) => {
    const n = mine.reduce((all, row) => all + inPhases(row, phase ? [phase] : PHASES), 0);
    const on = (filter.phase ?? null) === phase;
    return (
      <a key={phase ?? ""} class={`tab${known && n === 0 && !on ? " tab-none" : ""}`} href={to(phase)} title={phase ? phaseHint(phase) : undefined} aria-current={on ? "true" : undefined}>
        {phase ? phase[0].toUpperCase() + phase.slice(1) : "All"}
        {known && <span class="num tab-count">{rounded(n)}</span>}
      </a>
    );
  };
  const tabs = useRef<HTMLElement>(null);
  useEffect(() => {
    const on = tabs.current?.querySelector<HTMLElement>("[aria-current]");
    if (tabs.current && on) tabs.current.scrollLeft = on.offsetLeft - tabs.current.offsetLeft - MARGIN;
  }, []);
  return <nav class="tabs" aria-label="Phases" ref={tabs}>{[null, ...PHASES].map(tab)}</nav>;
}

type Change = (edit: (next: URLSearchParams) => void) => void;

function Filters({ filter, queues, errors, rows, change }: { filter: Filter; queues: QueueRow[]; errors: ErrorGroup[]; rows: Job[]; change: Change }) {
  const seen = (of: (job: Job) => string | undefined) => [...new Set(rows.flatMap((job) => of(job) ?? []))].sort();
  const codes = [...new Set([...errors.flatMap((group) => group.code ?? []), ...rows.flatMap((job) => job.error?.code ?? [])])].sort();
  const set = (key: keyof Filter) => (value: string) =>
    change((next) => {
      if (value) next.set(key, value);
      else next.delete(key);
    });
  return (
    <div class="filters job-filters">
      <Words value={filter.q ?? ""} set={set("q")} />
      <Pick name="queue" values={queues.map((row) => row.queue)} value={filter.queue} set={set("queue")} />
      <Pick name="error" values={codes} value={filter.error} set={set("error")} />
      <Named name="kind" seen={seen((job) => job.kind)} value={filter.kind} set={set("kind")} />
      <Named name="group" seen={seen((job) => job.group)} value={filter.group} set={set("group")} />
      {filter.schedule && <button type="button" class="chip chip-active" onClick={() => set("schedule")("")}>Schedule {filter.schedule}<span class="chip-remove" aria-label="Remove">×</span></button>}
      {Object.keys(filter).length > 0 && <a href={jobsHref()}>Clear</a>}
    </div>
  );
}

/** Text that ids, payloads, errors or results contain. */
function Words({ value, set }: { value: string; set: (value: string) => void }) {
  const [typed, setTyped] = useState(value);
  useEffect(() => setTyped(value), [value]);
  const submit = (event: Event) => {
    event.preventDefault();
    set(typed.trim());
  };
  return (
    <form class="words" role="search" aria-label="Jobs" onSubmit={submit}>
      <input class={`chip${value ? " chip-active" : ""}`} type="search" placeholder="Contains" aria-label="Text in ids, payloads, errors and results" value={typed} onInput={(event) => setTyped(event.currentTarget.value)} onBlur={() => typed.trim() !== value && set(typed.trim())} />
    </form>
  );
}

function Pick({ name, values, value, set }: { name: string; values: string[]; value: string | undefined; set: (value: string) => void }) {
  const all = value && !values.includes(value) ? [...values, value] : values;
  return (
    <select class={`chip${value ? " chip-active" : ""}`} aria-label={name[0].toUpperCase() + name.slice(1)} value={value ?? ""} onChange={(event) => set(event.currentTarget.value)}>
      <option value="">Any {name}</option>
      {all.map((one) => <option key={one} value={one}>{one}</option>)}
    </select>
  );
}

/** A name that is typed, or one of those that are in the list. */
function Named({ name, seen, value, set }: { name: string; seen: string[]; value: string | undefined; set: (value: string) => void }) {
  const [typed, setTyped] = useState(value ?? "");
  if (value) {
    return <button type="button" class="chip chip-active" onClick={() => set("")}>{name[0].toUpperCase() + name.slice(1)} {value}<span class="chip-remove" aria-hidden="true">×</span><span class="sr">, remove</span></button>;
  }
  return (
    <Popover label={`Any ${name}`}>
      {(close) => {
        const take = (one: string) => {
          close();
          set(one);
        };
        return (
          <>
            <form class="named" onSubmit={(event) => { event.preventDefault(); take(typed.trim()); }}>
              <label class="field">The {name}<input type="text" autocomplete="off" spellcheck={false} value={typed} onInput={(event) => setTyped(event.currentTarget.value)} /></label>
            </form>
            {seen.filter((one) => one.toLowerCase().includes(typed.toLowerCase())).slice(0, 12).map((one) => <button key={one} type="button" class="choice" onClick={() => take(one)}>{one}</button>)}
            {seen.length === 0 && <p class="note named-none">No job of this page has one.</p>}
          </>
        );
      }}
    </Popover>
  );
}

/** What can be done with many: the ticked ones, or all of the filter. */
function ManyActions({ ticked, filter, total, ask, clear }: { ticked: number; filter: Filter; total: number; ask: (verb: Verb) => void; clear: () => void }) {
  // A schedule cannot be said in what is sent; and all that there is is nobody's wish.
  const sayable = Object.keys(filter).length > 0 && !filter.schedule;
  const able = ticked > 0 || sayable;
  return (
    <p class="actions job-actions">
      <Action scope="admin" class="button button-small" disabled={!able} title="Says how many first, and asks" onClick={() => ask("retry")}>Retry…</Action>
      <Action scope="admin" class="button button-small" disabled={!able} title="Says how many first, and asks" onClick={() => ask("cancel")}>Cancel…</Action>
      <span class="muted">
        {ticked > 0 ? <>{count(ticked, "ticked job")} <button type="button" class="link" onClick={clear}>Untick</button></> : sayable ? `all ${precise(total)} of the filter` : filter.schedule ? "Tick jobs." : "Tick jobs, or choose a filter."}
      </span>
    </p>
  );
}

function Pager({ shown, cursor, change }: { shown: Shown; cursor: string | null; change: Change }) {
  if (!cursor && !shown.next) return null;
  return (
    <p class="pager">
      {cursor && <button type="button" class="button" onClick={() => change(() => {})}>Newest</button>}
      <span class="faint">{precise(shown.rows.length)} of {precise(shown.total)}</span>
      {shown.next && <button type="button" class="button" onClick={() => change((next) => next.set("cursor", shown.next ?? ""))}>Older</button>}
    </p>
  );
}

function Nothing({ filter, query }: { filter: Filter; query: URLSearchParams }) {
  const without = (key: string): string => {
    const next = new URLSearchParams(query);
    for (const gone of [key, "cursor"]) next.delete(gone);
    return jobsHref(next);
  };
  const keys = Object.keys(filter);
  if (keys.length === 0) return <Empty title="No job is left"><p>Settled jobs leave after a time. New ones appear here by themselves.</p></Empty>;
  return (
    <Empty title="No job matches">
      <p>Remove {keys.map((key, i) => <span key={key}>{i > 0 && ", "}<a href={without(key)}>{key === "q" ? "the text" : key}</a></span>)}, or <a href={jobsHref()}>show all</a>.</p>
    </Empty>
  );
}
