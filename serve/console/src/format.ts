// Figures and times for people.

import { EventRow, Pricing, Venue } from "./api";

const exact = new Intl.NumberFormat("en-GB");

/** 1,204; 12.3 k; 4.5 M. */
export function rounded(value: number): string {
  if (value < 10_000) return exact.format(Math.round(value));
  if (value < 1_000_000) return `${trimmed(value / 1_000)} k`;
  return `${trimmed(value / 1_000_000)} M`;
}

export const precise = (value: number): string => exact.format(value);

function trimmed(value: number): string {
  return value >= 100 ? String(Math.round(value)) : value.toFixed(1).replace(/\.0$/, "");
}

/** 0.2 s, 12 s, 3 min, 2 h, 5 d. */
export function span(ms: number): string {
  const s = ms / 1000;
  if (s < 9.95) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.round(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86_400)} d`;
}

export function count(value: number, one: string, many = `${one}s`): string {
  return `${rounded(value)} ${value === 1 ? one : many}`;
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const absoluteFormat = new Intl.DateTimeFormat("en-GB", {
  weekday: "short", day: "numeric", month: "short", year: "numeric",
  hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short",
});

export const clockTime = (ms: number): string => clock.format(ms);
export const absolute = (ms: number): string => absoluteFormat.format(ms);

const dayFormat = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", timeZone: "UTC" });
const dayYearFormat = new Intl.DateTimeFormat("en-GB", {
  weekday: "short", day: "numeric", month: "short", year: "numeric", timeZone: "UTC",
});

/** The day of a time as its event's own calendar has it: Tue 1 Dec; with the year where it is another one. */
export function day(time: string): string {
  const at = Date.parse(`${time.slice(0, 10)}T00:00:00Z`);
  if (Number.isNaN(at)) return time;
  const sameYear = time.slice(0, 4) === String(new Date().getFullYear()) || at - Date.now() < 120 * 86_400_000 && at > Date.now();
  return (sameYear ? dayFormat : dayYearFormat).format(at).replace(",", "");
}

/** The time of day in the event's own zone; nothing for a day. */
export function timeOfDay(time: string): string {
  return time.length > 10 ? time.slice(11, 16) : "";
}

/** Tue 1 Dec, 19:30 – 22:00 */
export function when(start: string, end: string | null): string {
  const from = [day(start), timeOfDay(start)].filter(Boolean).join(", ");
  if (!end || end === start) return from;
  const sameDay = end.slice(0, 10) === start.slice(0, 10);
  const to = sameDay ? timeOfDay(end) : [day(end), timeOfDay(end)].filter(Boolean).join(", ");
  return to && to !== from ? `${from} – ${to}` : from;
}

/** What is shown on hover: the zone, and the reader's own time. */
export function whenHint(event: { startTime: string; timezone: string | null }): string {
  const own = event.startTime.length > 10 ? Date.parse(event.startTime) : NaN;
  const zone = event.timezone ?? "its own zone";
  return Number.isNaN(own) ? `A day in ${zone}` : `Time in ${zone}. Yours: ${absolute(own)}`;
}

export function place(venue: Venue | null, online?: boolean): string {
  const parts = [venue?.name, venue?.city].filter((part, i, all) => part && all.indexOf(part) === i);
  return parts.join(", ") || (online ? "Online" : "");
}

export function price(pricing: Pricing | null): string | null {
  if (!pricing) return null;
  const { min, max, currency, free } = pricing;
  if (free || (min === 0 && !max)) return "Free";
  const amount = (value: number) => (Number.isInteger(value) ? String(value) : value.toFixed(2));
  const known = [min, max].filter((value): value is number => value !== null);
  if (known.length === 0) return null;
  const [least, most] = [known[0], known[known.length - 1]];
  return `${least === most ? amount(least) : `${amount(least)} – ${amount(most)}`}${currency ? ` ${currency}` : ""}`;
}

/** Two letters for a source: city-guide is cg. */
export function letters(source: string): string {
  const words = source.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  if (words.length > 1) return (words[0][0] + words[1][0]).toLowerCase();
  return source.slice(0, 2).toLowerCase();
}

export const STATUS: Record<string, string> = {
  scheduled: "Scheduled", soldOut: "Sold out", tentative: "Tentative", rescheduled: "Rescheduled",
  movedOnline: "Moved online", postponed: "Postponed", cancelled: "Cancelled",
};

/** The colours of categories are numbered, so that the style sheet can hold them for both themes. */
const CATEGORIES = [
  "Music", "Classes", "Theatre", "Arts & Exhibitions", "Markets", "Festivals", "Sports", "Talks & Literature",
  "Film", "Family", "Meetups", "Community", "Outdoors", "Food & Drink", "Nightlife", "Business", "Conferences",
  "Government", "Wellness", "Religion",
];
export function categoryClass(category: string | null): string {
  if (!category) return "cat cat-none";
  const known = CATEGORIES.indexOf(category);
  if (known >= 0) return `cat cat-${known % 13}`;
  let hash = 0;
  for (const char of category) hash = (hash * 31 + char.charCodeAt(0)) >>> 0;
  return `cat cat-${hash % 13}`;
}

export const today = (): string => isoDay(new Date());
export function isoDay(date: Date): string {
  const pad = (value: number) => String(value).padStart(2, "0");
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
}
export function addDays(iso: string, days: number): string {
  return new Date(Date.parse(`${iso}T00:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10);
}

export const sourcesOf = (event: EventRow): string[] => [...new Set(event.listings.map((listing) => listing.source))];

/** 12 ms, 1.2 s, 34 s, 5 min 10 s, 2 h 5 min, 3 d 4 h. */
export function duration(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 9_950) return `${(ms / 1_000).toFixed(1).replace(/\.0$/, "")} s`;
  const s = Math.round(ms / 1_000);
  if (s < 60) return `${s} s`;
  const parts = (big: number, bigName: string, small: number, smallName: string) => `${big} ${bigName}${small ? ` ${small} ${smallName}` : ""}`;
  if (s < 3_600) return parts(Math.floor(s / 60), "min", s < 600 ? s % 60 : 0, "s");
  if (s < 86_400) return parts(Math.floor(s / 3_600), "h", Math.floor(s / 60) % 60, "min");
  return parts(Math.floor(s / 86_400), "d", Math.floor(s / 3_600) % 24, "h");
}

/** As `duration`, in one unit: 12 ms, 1.2 s, 34 s, 5 min. */
export const roughly = (ms: number): string => (ms < 999.5 ? `${Math.round(ms)} ms` : span(ms).replace(".0 s", " s"));
