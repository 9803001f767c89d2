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
  code: string;
  count: number;
  first: string;
  last: string;
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
  schedule: string;
  definition: ScheduleDefinition;
  next: string | null;
  lastJob: string | null;
  submitted: number;
  skipped: number;
}

export interface WorkerRow {
  worker: string;
  queues: string[];
  slots: number;
  seen: string;
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

/** Cancels or retries many: those that are named, or all that a filter matches. */
export async function many(verb: "cancel" | "retry", which: { ids: string[] } | Filter): Promise<number> {
  return (await write<{ count: number }>("POST", `/api/jobs/${verb}`, which)).count;
}

export const inPhases = (row: QueueRow, phases: readonly Phase[]): number => phases.reduce((all, phase) => all + (row.counts[phase] ?? 0), 0);
