// What the API gives, and how it is asked. See /openapi.json and docs/api.md.

export interface Venue {
  name: string | null;
  address: string | null;
  city: string | null;
  region: string | null;
  postalCode: string | null;
  country: string | null;
  latitude: number | null;
  longitude: number | null;
  geoPrecision: string | null;
  geoProvenance: string | null;
}

export interface Pricing {
  min: number | null;
  max: number | null;
  currency: string | null;
  free: boolean | null;
}

export interface Organizer {
  name: string | null;
  url: string | null;
}

export interface ListingRef {
  source: string;
  externalId: string;
  url: string | null;
  similarity: number;
}

/** What editors say of an event. */
export type Moderation = "approved" | "flagged" | "rejected";

/** The fields that lists need; a detail has all. */
export interface EventRow {
  id: string;
  title: string;
  category: string | null;
  startTime: string;
  endTime: string | null;
  timezone: string | null;
  allDay?: boolean;
  venue: Venue | null;
  online?: boolean;
  status: string | null;
  listings: ListingRef[];
  qualityGrade: string | null;
  firstSeen?: string;
  updatedAt: string;
}

export interface Gate {
  gate: string;
  score: number;
  passed: boolean;
  reasons: { code: string; text: string }[];
  recommendations: string[];
}

export interface Listing {
  source: string;
  externalId: string;
  title: string | null;
  description: string | null;
  category: string | null;
  sourceCategories: string[];
  tags: string[];
  start: string | null;
  end: string | null;
  timezone: string | null;
  venue: Venue | null;
  online: boolean;
  organizer: Organizer | null;
  pricing: Pricing | null;
  capacity: number | null;
  images: string[];
  urls: string[];
  status: string | null;
}

export interface ListingRecord {
  id: string;
  firstSeen: string;
  updatedAt: string;
  listing: Listing;
  claims: { version: { partition: number; offset: number }; updatedAt: string }[];
}

export interface Link {
  similarity: number;
  via: { source: string; externalId: string; listing: string } | null;
  contributions: { field: string; points: number }[];
  decisions: Report[];
}

/** A listing as a decision names it: by its source's id, or by its own. */
export type ListingName = string | { source: string; externalId: string } | { listing: string };

export interface Said {
  a: ListingName;
  b: ListingName;
  who?: string | null;
  why?: string | null;
  at?: string | null;
}

export type Decision = { same: Said } | { different: Said };
export type Say = "same" | "different";

/** An editor's word on a single listing. */
export interface Moderated {
  moderate: { listing: ListingName; moderation: Moderation; who: string; why: string | null; at: string };
}

/** What became of a decision. */
export interface Report<D = Decision> {
  decision: D;
  state: "holds" | "waits" | "overruled" | "pending" | "superseded";
  missing?: ListingName[];
  overruledBy?: unknown[];
}

export interface Member {
  source: string;
  externalId: string;
  listing: ListingRecord | null;
  link: Link | null;
}

export interface EventDetail extends EventRow {
  description: string | null;
  tags: string[];
  organizer: Organizer | null;
  pricing: Pricing | null;
  capacity: number | null;
  images: string[];
  urls: string[];
  fieldSources: Record<string, number>;
  qualityScore: number;
  /** Not there where nobody said anything. */
  moderation?: Moderation;
  gates: Gate[];
  members: Member[];
}

export interface FacetValue {
  value: string;
  count: number;
}

export interface EventList {
  events: EventRow[];
  total: number;
  hasMore: boolean;
  nextCursor: string | null;
  facets?: Record<string, FacetValue[]>;
  /** The commit that the list shows. */
  position: string;
}

export interface Suggestions {
  words: { text: string; count: number }[];
  cities: { text: string; count: number }[];
  categories: { text: string; count: number }[];
  tags: { text: string; count: number }[];
  events: { id: string; title: string }[];
}

export const ROW_FIELDS =
  "id,title,category,startTime,endTime,timezone,allDay,venue,online,status,listings,qualityGrade,firstSeen,updatedAt";

export interface Status {
  topology: string;
  version: string;
  log: string;
  position: string;
  committedAt: string | null;
  /** `null` where serving has a process of its own. */
  engine: {
    phase: string;
    reason: string | null;
    workers: number;
    recordsPerSecond: number;
    lagRecords: number;
    lagSeconds: number;
    pausedShare: number;
    stages: { stage: string; recordsPerSecond: number; busyShare: number }[];
    bottleneck: string | null;
    /** Since the start of the process. */
    deadLetters: number;
  } | null;
  sources: number;
  listings: number;
  events: number;
}

export interface Metrics {
  stepSeconds: number;
  until: string;
  series: Record<string, (number | null)[]>;
}

export interface SourceRow {
  source: string;
  listings: number;
  events: number;
  sharedEvents: number;
  ownDuplicates: number;
  grades: Record<string, number>;
  records: number | null;
  deadLetters: number;
  newDeadLetters: number;
  lastRecordAt: string | null;
  /** An hour each, the oldest first. */
  newListings: number[];
  /** The share of the listings that lack a field. */
  gaps: Record<string, number>;
}

export interface Pair {
  similarity: number;
  event: string;
  a: Member;
  b: Member;
  contributions: { field: string; points: number }[];
}

/** Text, or bytes that are none. */
export type Content = string | { base64: string } | null;

export interface Letter {
  id: string;
  state: "new" | "replayed" | "parked";
  written: string;
  code: string;
  reason: string;
  source: string | null;
  contentType: string | null;
  part: string | null;
  excerpt: boolean;
  attempts: number;
  topic: string;
  partition: number;
  offset: number;
  timestamp: string | null;
  key: Content;
  bytes: number;
}

export interface LetterGroup {
  code: string;
  source: string | null;
  letters: number;
  new: number;
  replayed: number;
  parked: number;
  first: string;
  last: string;
  example: string;
  hint: string;
}

export interface Replay {
  dryRun: boolean;
  complete: boolean;
  letters: number;
  records: number;
  bytes: number;
  topics: Record<string, number>;
  skipped: Record<string, number>;
  outlook: { readable: number; failures: Record<string, number> } | null;
  seconds: number;
}

export interface Topic {
  name: string;
  cleanup: string;
  partitions: { low: number; high: number }[];
}

export interface LogRecord {
  topic: string;
  partition: number;
  offset: number;
  timestamp: string | null;
  key: Content;
  headers: Record<string, Content>;
  value: Content;
  bytes: number;
  cut?: boolean;
}

export interface LogRecords {
  records: LogRecord[];
  next: { partition: number; offset: number } | null;
  scanned: number;
  complete: boolean;
}

/** An answer that is no success, in words for people. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** How far the reader's clock is behind the server's, in ms; small differences are noise of the header Date. */
let clockOffset = 0;
export const serverNow = (): number => Date.now() + clockOffset;

function noteClock(response: Response): void {
  const date = Date.parse(response.headers.get("date") ?? "");
  if (Number.isNaN(date)) return;
  const offset = date + 500 - Date.now();
  clockOffset = Math.abs(offset) > 2000 ? offset : 0;
}

export async function problem(response: Response): Promise<ApiError> {
  try {
    const body = await response.json();
    const details = (body.errors ?? []).map((one: { parameter: string; detail: string }) => `${one.parameter}: ${one.detail}`);
    const later = response.status === 429 && response.headers.get("retry-after");
    const wait = later ? `Try again in ${later} s.` : "";
    return new ApiError(response.status, body.code ?? "", [body.detail ?? body.title, ...details, wait].filter(Boolean).join(" "));
  } catch {
    return new ApiError(response.status, "", `The server answered ${response.status} ${response.statusText}.`);
  }
}

async function send(path: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError(0, "unreachable", "The server does not answer.");
  }
  noteClock(response);
  if (!response.ok) throw await problem(response);
  return response;
}

export function get(path: string, signal?: AbortSignal): Promise<Response> {
  return send(path, { signal, headers: { accept: "application/json" } });
}

/** Something that changes what the server has. */
export async function write<T>(method: "POST" | "PUT" | "DELETE", path: string, body?: unknown): Promise<T> {
  const headers = { accept: "application/json", "content-type": "application/json" };
  const said = await (await send(path, { method, headers, body: JSON.stringify(body ?? {}) })).text();
  return (said ? JSON.parse(said) : {}) as T;
}

export async function listEvents(query: URLSearchParams, signal?: AbortSignal): Promise<EventList> {
  const response = await get(`/api/events?${query}`, signal);
  const position = response.headers.get("headwater-position") ?? "";
  return { ...(await response.json()), position };
}

export async function getEvent(id: string, signal?: AbortSignal): Promise<EventDetail> {
  return (await get(`/api/events/${encodeURIComponent(id)}`, signal)).json();
}

export async function suggest(typed: string, signal?: AbortSignal): Promise<Suggestions> {
  return (await get(`/api/suggest?${new URLSearchParams({ q: typed })}`, signal)).json();
}

export interface About {
  topology: string;
  version: string;
}

export async function about(): Promise<About> {
  return (await get("/console/about.json")).json();
}
