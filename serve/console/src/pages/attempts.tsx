// The attempts of a job, one below the other: how long each waited and ran, on one axis of time.

import { serverNow } from "../api";
import { absolute, clockTime, duration } from "../format";
import { Attempt, Job } from "../jobs-api";
import { workerHref } from "../jobs-links";
import { Age, Due, OUTCOMES } from "../phases";
import { Ago, useTick } from "../ui";

/** A line of the drawing. Times are in ms since 1970. */
interface Line {
  key: string;
  name: string;
  /** Since when it could have begun; `began` where that is not known. */
  ready: number;
  began: number | null;
  ended: number;
  run: Attempt | null;
}

/** What is drawn of the time: as long as it was, or shortened where nothing happened. */
interface Piece {
  from: number;
  to: number;
  drawn: number;
  shortened: boolean;
}

/** Where nothing happens is drawn no longer than this part of what happens. */
const IDLE_SHARE = 0.15;
/** The least that is seen, in percent of the width. */
const LEAST = 0.6;

function linesOf(job: Job, now: number): Line[] {
  const lines: Line[] = (job.runs ?? []).map((run) => {
    const began = Date.parse(run.began);
    return { key: String(run.lease), name: run.outcome === "released" ? "–" : String(run.attempt), ready: began - Math.max(0, run.waitedMs), began, ended: Math.max(began, Date.parse(run.ended)), run };
  });
  const ready = Date.parse(job.readyAt);
  if (job.phase === "leased" && job.lease) {
    const began = Date.parse(job.lease.since);
    lines.push({ key: "now", name: String(job.attempt), ready: Math.min(ready, began), began, ended: Math.max(now, began), run: null });
  } else if (job.phase === "waiting") {
    lines.push({ key: "now", name: String(job.attempt + 1), ready: Math.min(ready, now), began: null, ended: now, run: null });
  }
  return lines;
}

function piecesOf(lines: Line[]): Piece[] {
  const spans = lines.map(({ ready, ended }) => [ready, ended]).sort((a, b) => a[0] - b[0]);
  const merged: number[][] = [];
  for (const [from, to] of spans) {
    const last = merged.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else merged.push([from, to]);
  }
  const busy = Math.max(1, merged.reduce((all, [from, to]) => all + to - from, 0));
  return merged.flatMap(([from, to], i) => {
    const piece = { from, to, drawn: to - from, shortened: false };
    const before = merged[i - 1]?.[1];
    if (before === undefined) return [piece];
    const drawn = Math.min(from - before, busy * IDLE_SHARE);
    return [{ from: before, to: from, drawn, shortened: drawn < from - before }, piece];
  });
}

/** The place of a moment, in percent. */
function scale(pieces: Piece[]): (at: number) => number {
  const whole = Math.max(1, pieces.reduce((all, piece) => all + piece.drawn, 0));
  return (at) => {
    let before = 0;
    for (const { from, to, drawn } of pieces) {
      if (at <= to) return ((before + (to > from ? (Math.max(0, at - from) / (to - from)) * drawn : 0)) / whole) * 100;
      before += drawn;
    }
    return 100;
  };
}

const bar = (from: number, to: number) => ({ left: `${Math.min(from, 100 - LEAST)}%`, width: `${Math.max(LEAST, to - from)}%` });

export function Attempts({ job }: { job: Job }) {
  const moving = job.phase === "leased" || job.phase === "waiting";
  useTick(moving ? 1_000 : 60_000);
  const lines = linesOf(job, serverNow());
  const pieces = piecesOf(lines);
  const at = scale(pieces);
  const first = pieces[0]?.from;
  const last = pieces.at(-1)?.to;
  return (
    <section class="attempts" aria-labelledby="attempts">
      <header class="section-head">
        <h2 id="attempts">Attempts</h2>
        <span class="attempt-legend faint" aria-hidden="true"><span class="swatch swatch-wait" /> waits <span class="swatch swatch-run" /> runs</span>
      </header>
      {lines.length === 0 && <p class="note">None has begun.</p>}
      {lines.length > 0 && (
        <ol>
          {lines.map((line, i) => <One key={line.key} line={line} before={lines[i - 1]?.run ?? null} job={job} at={at} pieces={pieces} />)}
        </ol>
      )}
      {(job.phase === "failed" || job.phase === "delayed") && <p class="note attempt-next">The {job.runs?.length ? "next" : "first"} attempt may begin <Due at={job.readyAt} />.</p>}
      {first !== undefined && last !== undefined && (
        <p class="attempt-axis faint"><time title={absolute(first)}>{short(first)}</time><span>{duration(last - first)}{pieces.some((piece) => piece.shortened) && ", pauses shortened"}</span><time title={absolute(last)}>{moving ? "now" : short(last, first)}</time></p>
      )}
    </section>
  );
}

const dated = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** A moment, with its day where that is another one than before. */
function short(ms: number, before?: number): string {
  const day = (ms: number) => new Date(ms).toDateString();
  return before !== undefined && day(before) === day(ms) ? clockTime(ms) : dated.format(ms).replace(",", "");
}

function One({ line, before, job, at, pieces }: { line: Line; before: Attempt | null; job: Job; at: (ms: number) => number; pieces: Piece[] }) {
  const { run, began, ready, ended } = line;
  const look = run ? OUTCOMES[run.outcome] ?? { word: run.outcome, kind: "waiting" as const, hint: "" } : null;
  // What was said before is not said again.
  const again = before?.error?.code === run?.error?.code && before?.error?.message === run?.error?.message;
  const worker = run?.worker ?? job.lease?.worker;
  const waited = (began ?? ended) - ready;
  const told = [`waited ${duration(waited)}`, began !== null && `${run ? "ran" : "has run"} ${duration(ended - began)}`].filter(Boolean).join(", ");
  return (
    <li class="attempt">
      <span class="attempt-number" title={line.name === "–" ? "It does not count" : `Attempt ${line.name}`}><span class="sr">Attempt </span>{line.name}</span>
      <span class="attempt-track" role="img" aria-label={told}>
        {pieces.filter((piece) => piece.shortened).map(({ from, to }) => <span key={from} class="attempt-gap" style={{ left: `${at(from)}%`, width: `${at(to) - at(from)}%` }} title={`${duration(to - from)} in which nothing happened`} />)}
        {waited > 0 && <span class="attempt-wait" style={bar(at(ready), at(began ?? ended))} title={`Waited ${duration(waited)}`} />}
        {began !== null && <span class={`attempt-run attempt-${look?.kind ?? "active"}`} style={bar(at(began), at(ended))} title={`Ran ${duration(ended - began)}, from ${absolute(began)}`} />}
      </span>
      <span class={`status status-${look?.kind ?? (began === null ? "waiting" : "active")}`} title={look?.hint}>{look?.word ?? (began === null ? "waiting" : "leased")}</span>
      <span class="attempt-times">
        <span><span class="faint">waited</span> {began === null ? <Age at={job.readyAt} /> : duration(waited)}</span>
        {began !== null && <span><span class="faint">{run ? "ran" : "runs for"}</span> {run ? duration(ended - began) : job.lease && <Age at={job.lease.since} />}</span>}
        {worker && began !== null && <span class="attempt-worker"><span class="faint">on</span> <a class="quiet" href={workerHref(worker)}>{worker}</a></span>}
        {run && <span class="faint">ended <Ago at={run.ended} /></span>}
        {again && run?.error && <span class="faint">with the same error</span>}
      </span>
      {run?.error && !again && <span class="attempt-error"><code>{run.error.code}</code> {run.error.message}</span>}
    </li>
  );
}
