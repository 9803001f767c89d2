// One set of filters for the list and the map: the parameters of the API, in the address.

import { useEffect, useState } from "preact/hooks";
import { FacetValue, listEvents } from "./api";
import { addDays, day, precise, rounded, STATUS, today } from "./format";
import { go, href, Place } from "./route";
import { Category, Popover, Trouble } from "./ui";

const KEYS = ["q", "category", "tag", "city", "country", "source", "grade", "status", "moderation", "price", "online", "startDate", "endDate"];
const ALL_TIME = "all";

/** What the API is asked for what the address says. Without a word about time: what is not over today. */
export function apiQuery(query: URLSearchParams): URLSearchParams {
  const asked = new URLSearchParams();
  for (const key of KEYS) for (const value of query.getAll(key)) asked.append(key, value);
  if (!asked.has("startDate") && !asked.has("endDate") && query.get("when") !== ALL_TIME) asked.set("startDate", today());
  return asked;
}

/** In the API a comma separates values. */
export const escapeValue = (value: string): string => value.replaceAll(",", "\\,");

export function isFiltered(query: URLSearchParams): boolean {
  return KEYS.some((key) => query.has(key)) || query.has("when");
}

const DIMENSIONS = [
  { key: "city", label: "City" },
  { key: "category", label: "Category" },
  { key: "source", label: "Source" },
  { key: "grade", label: "Grade" },
  { key: "status", label: "Status" },
  { key: "moderation", label: "Moderation" },
];
/** Where nothing is asked for, what was rejected is left out: it is to be counted all the same. */
const MODERATIONS = ["approved", "flagged", "rejected", "none"];
const FREE_KEYS = ["tag", "country", "price", "online"];

export function Filters({ place, withoutTime }: { place: Place; withoutTime?: boolean }) {
  const { page, query } = place;
  const change = (edit: (query: URLSearchParams) => void) => {
    const next = new URLSearchParams(query);
    edit(next);
    go(href(page, next));
  };
  const others = [...query].filter(([key]) => FREE_KEYS.includes(key));
  return (
    <div class="filters" role="group" aria-label="Filters">
      {!withoutTime && <When query={query} change={change} />}
      {DIMENSIONS.map(({ key, label }) => (
        <Dimension key={key} name={key} label={label} query={query} change={change} />
      ))}
      {query.get("q") && <Removable label={`“${query.get("q")}”`} name="text" remove={() => change((next) => next.delete("q"))} />}
      {others.map(([key, value]) => (
        <Removable
          key={key + value}
          label={`${key}: ${value}`}
          name={key}
          remove={() =>
            change((next) => {
              const rest = next.getAll(key).filter((one) => one !== value);
              next.delete(key);
              rest.forEach((one) => next.append(key, one));
            })
          }
        />
      ))}
      {isFiltered(query) && (
        <button
          type="button"
          class="link"
          onClick={() => change((next) => [...KEYS, "when"].forEach((key) => (withoutTime && key.endsWith("Date") ? 0 : next.delete(key))))}
        >
          Clear
        </button>
      )}
    </div>
  );
}

function Removable({ label, name, remove }: { label: string; name: string; remove: () => void }) {
  return (
    <span class="chip chip-active">
      {label}
      <button type="button" class="chip-remove" aria-label={`Remove the filter ${name} ${label}`} onClick={remove}>
        ×
      </button>
    </span>
  );
}

interface Part {
  query: URLSearchParams;
  change: (edit: (query: URLSearchParams) => void) => void;
}

const unescape = (value: string): string => value.replaceAll("\\,", ",");
function shown(key: string, value: string): string {
  if (key === "moderation") return value === "none" ? "not moderated" : value;
  return key === "status" ? (STATUS[value] ?? value) : unescape(value);
}

function Dimension({ name, label, query, change }: Part & { name: string; label: string }) {
  const values = query.getAll(name);
  const text = values.length > 2 ? `${label}: ${values.length}` : values.map((value) => shown(name, value)).join(", ");
  return (
    <Popover label={values.length ? <>{text}<span class="sr"> ({label})</span></> : label} active={values.length > 0}>
      {() => <Values name={name} label={label} query={query} change={change} />}
    </Popover>
  );
}

function Values({ name, label, query, change }: Part & { name: string; label: string }) {
  const [found, setFound] = useState<FacetValue[] | null>(null);
  const [error, setError] = useState<unknown>(null);
  useEffect(() => {
    const abort = new AbortController();
    // Without itself: the other values stay to be chosen.
    const asked = apiQuery(query);
    asked.delete(name);
    if (name === "moderation") asked.set(name, MODERATIONS.join(","));
    asked.set("facets", name);
    asked.set("limit", "1");
    asked.set("fields", "id");
    listEvents(asked, abort.signal).then(
      (list) => setFound(list.facets?.[name] ?? []),
      (error) => abort.signal.aborted || setError(error),
    );
    return () => abort.abort();
  }, []);
  if (error) return <Trouble error={error} />;
  const values = query.getAll(name);
  const gone = values.filter((value) => found && !found.some((one) => escapeValue(one.value) === value));
  const all = [...(found ?? []), ...gone.map((value) => ({ value: unescape(value), count: 0 }))];
  const toggle = (value: string) =>
    change((next) => {
      const now = next.getAll(name);
      next.delete(name);
      (now.includes(value) ? now.filter((one) => one !== value) : [...now, value]).forEach((one) => next.append(name, one));
    });
  return (
    <fieldset class="values">
      <legend class="sr">{label}</legend>
      {!found && <p class="note">Counting…</p>}
      {found && all.length === 0 && <p class="note">No event has one.</p>}
      {all.map(({ value, count }) => (
        <label key={value} class="value">
          <input type="checkbox" checked={values.includes(escapeValue(value))} onChange={() => toggle(escapeValue(value))} />
          <span class="value-name">{name === "category" ? <Category name={value} /> : shown(name, value)}</span>
          <span class="num faint" title={precise(count)}>{rounded(count)}</span>
        </label>
      ))}
    </fieldset>
  );
}

/** The next Saturday and Sunday, or this one. */
function weekend(from: string): [string, string] {
  const weekday = new Date(`${from}T00:00:00Z`).getUTCDay();
  if (weekday === 0) return [from, from];
  const saturday = addDays(from, 6 - weekday);
  return [saturday, addDays(saturday, 1)];
}

function When({ query, change }: Part) {
  const now = today();
  const [from, to] = [query.get("startDate") ?? "", query.get("endDate") ?? ""];
  const all = query.get("when") === ALL_TIME;
  const choices: [string, string, string][] = [
    ["Today", now, now],
    ["This weekend", ...weekend(now)],
    ["Next 7 days", now, addDays(now, 6)],
    ["Next 30 days", now, addDays(now, 29)],
  ];
  const set = (start: string, end: string, when = "") =>
    change((next) => {
      for (const [key, value] of [["startDate", start], ["endDate", end], ["when", when]]) {
        if (value) next.set(key, value);
        else next.delete(key);
      }
    });
  const named = choices.find(([, start, end]) => start === from && end === to)?.[0];
  const range = [from && day(from), to && day(to)];
  const label = all ? "Past and coming" : named ?? (from && to ? range.join(" – ") : from ? `From ${range[0]}` : to ? `Until ${range[1]}` : "From today");
  return (
    <Popover label={label} active={all || from !== "" || to !== ""}>
      {(close) => {
        const choose = (start: string, end: string, when = "") => {
          set(start, end, when);
          close();
        };
        return (
          <div class="values">
            <button type="button" class="choice" onClick={() => choose("", "")}>From today</button>
            {choices.map(([name, start, end]) => (
              <button type="button" class="choice" key={name} onClick={() => choose(start, end)}>
                {name}
              </button>
            ))}
            <button type="button" class="choice" onClick={() => choose("", "", ALL_TIME)}>Past and coming</button>
            <div class="range">
              <label>
                From
                <input type="date" value={from} max={to || undefined} onChange={(event) => set(event.currentTarget.value, to)} />
              </label>
              <label>
                To
                <input type="date" value={to} min={from || undefined} onChange={(event) => set(from, event.currentTarget.value)} />
              </label>
            </div>
          </div>
        );
      }}
    </Popover>
  );
}
