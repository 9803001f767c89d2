// What is compared of an event's listings, and when two values are the same for a reader.

import { Listing, Venue } from "./api";
import { place, price, when, day, timeOfDay, STATUS } from "./format";

export interface Field {
  key: string;
  label: string;
  /** Its name in `fieldSources`. */
  chosenBy: string | null;
  show(listing: Listing): string | null;
  /** What has to be equal for two values to agree; what is shown, if not given. */
  same?(listing: Listing): string | null;
  long?: boolean;
  /** Every source has its own: that they differ says nothing. */
  own?: boolean;
}

export const fold = (text: string): string =>
  text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ").trim();

const coordinates = (venue: Venue | null): string | null =>
  venue?.latitude == null || venue.longitude == null ? null : `${venue.latitude.toFixed(5)}, ${venue.longitude.toFixed(5)}`;
/** About 100 m. */
const near = (venue: Venue | null): string | null =>
  venue?.latitude == null || venue.longitude == null ? null : `${venue.latitude.toFixed(3)},${venue.longitude.toFixed(3)}`;
const list = (values: string[]): string | null => (values.length ? values.join(", ") : null);
const moment = (time: string | null): string | null => time && [day(time), timeOfDay(time)].filter(Boolean).join(", ");
const instant = (time: string | null): string | null => time && String(time.length > 10 ? Date.parse(time) : time);

export const FIELDS: Field[] = [
  { key: "title", label: "Title", chosenBy: "title", show: (l) => l.title },
  { key: "start", label: "Start", chosenBy: "startTime", show: (l) => moment(l.start), same: (l) => instant(l.start) },
  { key: "end", label: "End", chosenBy: "endTime", show: (l) => moment(l.end), same: (l) => instant(l.end) },
  { key: "venue", label: "Venue", chosenBy: "venue", show: (l) => l.venue?.name ?? null },
  { key: "address", label: "Address", chosenBy: "venue", show: (l) => l.venue?.address ?? null },
  { key: "city", label: "City", chosenBy: "venue", show: (l) => l.venue?.city ?? null },
  { key: "country", label: "Country", chosenBy: "venue", show: (l) => l.venue?.country ?? null },
  { key: "geo", label: "Coordinates", chosenBy: "geo", show: (l) => coordinates(l.venue), same: (l) => near(l.venue) },
  { key: "organizer", label: "Organizer", chosenBy: "organizer", show: (l) => l.organizer?.name ?? null },
  { key: "price", label: "Price", chosenBy: "pricing", show: (l) => price(l.pricing) },
  { key: "capacity", label: "Capacity", chosenBy: "capacity", show: (l) => (l.capacity === null ? null : String(l.capacity)) },
  { key: "status", label: "Status", chosenBy: null, show: (l) => (l.status ? (STATUS[l.status] ?? l.status) : null) },
  { key: "category", label: "Category", chosenBy: "category", show: (l) => l.category },
  { key: "said", label: "Categories as sent", chosenBy: null, show: (l) => list(l.sourceCategories ?? []) },
  { key: "tags", label: "Tags", chosenBy: "tags", show: (l) => list(l.tags ?? []) },
  { key: "description", label: "Description", chosenBy: "description", show: (l) => l.description, long: true },
  { key: "urls", label: "Address on the web", chosenBy: "urls", show: (l) => list(l.urls ?? []), long: true, own: true },
  { key: "images", label: "Images", chosenBy: "images", show: (l) => (l.images?.length ? String(l.images.length) : null), own: true },
];

/** The few that a glance needs. */
export const GLANCE: Field[] = [
  FIELDS[0],
  { key: "when", label: "When", chosenBy: "startTime", show: (l) => l.start && when(l.start, l.end), same: (l) => instant(l.start) },
  { key: "where", label: "Where", chosenBy: "venue", show: (l) => place(l.venue, l.online), same: (l) => l.venue?.name ?? null },
  { key: "price", label: "Price", chosenBy: "pricing", show: (l) => price(l.pricing) },
  { key: "organizer", label: "Organizer", chosenBy: "organizer", show: (l) => l.organizer?.name ?? null },
];

export const comparable = (field: Field, listing: Listing): string | null => {
  const value = (field.same ?? field.show)(listing);
  return value ? fold(value) || value : null;
};

/** For each listing whether another one has the same value (`true`), or others differ; `null` where nothing can be compared. */
export function agreement(field: Field, listings: Listing[]): (boolean | null)[] {
  const values = listings.map((listing) => comparable(field, listing));
  return values.map((value, i) => {
    const others = values.filter((other, j) => j !== i && other !== null);
    return value === null || others.length === 0 ? null : others.includes(value);
  });
}
