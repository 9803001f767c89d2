// What the API of jobs gives, and how it is asked.

import { get, write } from "./api";

export const PHASES = ["blocked", "delayed", "waiting", "leased", "failed", "done", "dead", "cancelled"] as const;
export type Phase = (typeof PHASES)[number];

/** Those that can still be cancelled. */
export const OPEN: Phase[] = ["blocked", "delayed", "waiting", "leased", "failed"];
/** Those for which another attempt can be asked: it begins now. */
export const RETRIABLE: Phase[] = ["delayed", "failed", "dead", "cancelled"];
/** Those that a drain cancels: no worker has them. */
export const DRAINED: Phase[] = ["blocked", "delayed", "waiting", "failed"];

export interface Failure {
  code: string;
  message: string;
}

export interface Attempt {
  attempt: number;
  lease: number;
  worker: string;
  waitedMs: number;
  began: string;
  ended: string;
  outcome: "done" | "failed" | "lease-expired" | "timed-out" | "cancelled" | "released";
  error?: Failure;
}

export interface Job {
  id: string;
  queue: string;
  number: number;
  kind?: string;
  group?: string;
  priority: number;
  phase: Phase;
  payload: unknown;
  submittedAt: string;
  readyAt: string;
  attempt: number;
  limits: {
    maxAttempts: number;
    backoff: { initialMs: number; maxMs: number };
    heartbeatWithinMs: number;
    startWithinMs?: number;
    finishWithinMs?: number;
    keepMs?: number;
  };
  parents?: string[];
  onParentFailure?: "cancel" | "run";
  notify?: string[];
  leaseNumber?: number;
  lease?: { number: number; worker: string; slot: number; since: string; until: string };
  progress?: { fraction: number; message?: string; at: string };
  cancelling?: boolean;
  result?: unknown;
  error?: Failure;
  runs?: Attempt[];
  settled?: { at: string; leavesAt: string };
  schedule?: string;
}

export interface JobPage {
  /** The newest first. */
  jobs: Job[];
  total: number;
  next: string | null;
}

export interface Quantiles {
  p50: number;
  p95: number;
}

export interface QueueRow {
  queue: string;
  paused: boolean;
  /** Phases without jobs may be left out. */
  counts: Partial<Record<Phase, number>>;
  oldestWaiting: string | null;
  waitMs: Quantiles | null;
  runMs: Quantiles | null;
  donePerMinute: number;
}

/** The dead jobs of a queue that have the same error. */
export interface ErrorGroup {
  queue: string;
  code: string | null;
  count: number;
  first: string | null;
  last: string | null;
  message: string;
  example: string;
}

export interface ScheduleDefinition {
  cron?: string;
  every?: string;
  zone?: string;
  missed?: "skip" | "once" | "all";
  overlap?: "skip" | "allow" | "queue";
  paused?: boolean;
  job: { queue: string; kind?: string; group?: string; payload?: unknown } & Record<string, unknown>;
}

export interface ScheduleEntry {
  name: string;
  /** As it was written; `null` where it cannot be read. */
  definition: ScheduleDefinition | null;
  next: string | null;
  lastJob: string | null;
  /** Up to when it was decided which jobs it submits; `null` before that has happened at all. */
  decided: string | null;
  submitted: number;
  skipped: number;
}

/** A worker that this server has not heard of itself is known by its jobs alone. */
export interface WorkerRow {
  worker: string;
  queues: string[] | null;
  slots: number | null;
  seen: string | null;
  leased: string[];
}

export const QUEUES = "/api/queues";
export const ERRORS = "/api/jobs/errors";
export const SCHEDULES = "/api/schedules";
export const WORKERS = "/api/workers";
export const jobPath = (id: string): string => `/api/jobs/${encodeURIComponent(id)}`;
export const queuePath = (queue: string): string => `${QUEUES}/${encodeURIComponent(queue)}`;
export const schedulePath = (name: string): string => `${SCHEDULES}/${encodeURIComponent(name)}`;

/** The filters of the list, in the order in which they are shown. */
export const FILTERS = ["q", "queue", "phase", "kind", "group", "error", "schedule"] as const;
export type Filter = Partial<Record<(typeof FILTERS)[number], string>>;

export async function listJobs(query: URLSearchParams, signal?: AbortSignal): Promise<JobPage> {
  return (await get(`/api/jobs?${query}`, signal)).json();
}

export async function getJob(id: string, signal?: AbortSignal): Promise<Job> {
  return (await get(jobPath(id), signal)).json();
}

/** How many jobs a filter matches. */
export async function countJobs(filter: Filter, signal?: AbortSignal): Promise<number> {
  return (await listJobs(new URLSearchParams({ ...filter, limit: "1" }), signal)).total;
}

/** What became of a request about many jobs: how many it was for, and whether there are more. */
export interface Bulk {
  count: number;
  more: boolean;
}

/** Cancels or retries many: those that are named, or all that a filter matches. */
export const many = (verb: "cancel" | "retry", which: { ids: string[] } | Filter): Promise<Bulk> => write("POST", `/api/jobs/${verb}`, which);

/** What is said of a job that is submitted; what is left out is as its queue says. */
export interface Submission {
  id?: string;
  payload: unknown;
  kind?: string;
  group?: string;
  priority?: number;
  delay?: string;
  attempts?: number;
  finishWithin?: string;
}

/** So many seconds the server may take until a job that was submitted is known, before it answers. */
const KNOWN_WITHIN = 5;

/** Submits a job. One that was there before has no payload in the answer, and nothing was submitted. */
export const submit = (queue: string, job: Submission): Promise<{ id: string; queue?: string; phase?: Phase; payload?: unknown }> =>
  write("POST", `/api/jobs/${encodeURIComponent(queue)}?wait=${KNOWN_WITHIN}`, job);

export const inPhases = (row: QueueRow, phases: readonly Phase[]): number => phases.reduce((all, phase) => all + (row.counts[phase] ?? 0), 0);
