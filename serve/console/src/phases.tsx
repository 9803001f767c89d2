// Where a job stands: a word, a shape and a colour each.

import { Attempt, Job, Phase } from "./jobs-api";
import { serverNow } from "./api";
import { absolute, duration, roughly } from "./format";
import { useTick } from "./ui";

type Kind = "good" | "waiting" | "warning" | "bad" | "active";

interface Look {
  kind: Kind;
  shape: string;
  hint: string;
}

const LOOKS: Record<Phase, Look> = {
  blocked: { kind: "waiting", shape: "M3 2v8M9 2v8", hint: "It waits for its parents." },
  delayed: { kind: "waiting", shape: "M6 10.500A4.500 4.500 0 1 0 6 1.500a4.500 4.500 0 0 0 0 9zM6 3.500V6l2 1", hint: "It waits for its time." },
  waiting: { kind: "waiting", shape: "M6 10A4 4 0 1 0 6 2a4 4 0 0 0 0 8z", hint: "It waits for a worker." },
  leased: { kind: "active", shape: "M3.500 2l6 4-6 4z", hint: "A worker has it." },
  failed: { kind: "warning", shape: "M6 1.500 11 10.500H1z", hint: "An attempt has failed. It waits for the next." },
  done: { kind: "good", shape: "M2 6.500 5 9.500l5-7", hint: "It was completed." },
  dead: { kind: "bad", shape: "M2.500 2.500l7 7M9.500 2.500l-7 7", hint: "It is not tried any more: its attempts have failed, or its time is over." },
  cancelled: { kind: "waiting", shape: "M6 10.500A4.500 4.500 0 1 0 6 1.500a4.500 4.500 0 0 0 0 9zM2.900 9.100l6.200-6.200", hint: "It was cancelled." },
};

export const phaseHint = (phase: Phase): string => LOOKS[phase]?.hint ?? "";

export function PhaseWord({ phase, cancelling }: { phase: Phase; cancelling?: boolean }) {
  const look = LOOKS[phase] ?? LOOKS.waiting;
  return (
    <span class={`status phase status-${look.kind}`} title={look.hint}>
      <svg viewBox="0 0 12 12" aria-hidden="true"><path d={look.shape} /></svg>
      {phase}{cancelling && phase === "leased" && <span class="phase-note">, to stop</span>}
    </span>
  );
}

/** How far the worker says that it has come. */
export function ProgressBar({ job }: { job: Job }) {
  if (job.phase !== "leased" || !job.progress) return null;
  const { fraction, message } = job.progress;
  const percent = Math.round(fraction * 100);
  return (
    <span class="job-progress" title={message}>
      <progress max={1} value={fraction} aria-label={`Progress of ${job.id}`} />
      <span class="num">{percent} %</span>
    </span>
  );
}

export const OUTCOMES: Record<Attempt["outcome"], { word: string; kind: Kind; hint: string }> = {
  done: { word: "done", kind: "good", hint: "It completed the job." },
  failed: { word: "failed", kind: "bad", hint: "The worker said that it failed." },
  "lease-expired": { word: "lease expired", kind: "warning", hint: "Nothing was heard of the worker in time." },
  "timed-out": { word: "timed out", kind: "warning", hint: "It took longer than the job allows." },
  cancelled: { word: "cancelled", kind: "waiting", hint: "The worker was told to stop." },
  released: { word: "released", kind: "waiting", hint: "The worker gave the job back. It does not count." },
};

/** A time to come: in 4 min. */
export function Due({ at }: { at: string }) {
  const ms = Date.parse(at);
  useTick(1_000);
  const left = ms - serverNow();
  return <time dateTime={new Date(ms).toISOString()} title={absolute(ms)}>{left < 1_000 ? "now" : `in ${duration(Math.round(left / 1_000) * 1_000)}`}</time>;
}

/** How long ago something began, without “ago”. */
export function Age({ at, rough }: { at: string; rough?: boolean }) {
  const ms = Date.parse(at);
  useTick(1_000);
  const age = Math.max(0, serverNow() - ms);
  return <time dateTime={new Date(ms).toISOString()} title={`Since ${absolute(ms)}`}>{age < 1_000 ? "< 1 s" : (rough ? roughly : duration)(Math.floor(age / 1_000) * 1_000)}</time>;
}
