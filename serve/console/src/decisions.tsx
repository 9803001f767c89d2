// Decisions of people on two listings: saying one, what became of it, and taking it back.

import { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError, Decision, EventRow, get, ListingName, Moderated, Report, Say, Said, serverNow, write } from "./api";
import { access, Action, useAccess } from "./access";
import { outdated } from "./data";
import { feed } from "./feed";
import { count } from "./format";
import { href } from "./route";
import { Ago } from "./ui";

/** A decision is followed within a second; a loaded engine may need longer. */
const PATIENCE_MS = 60_000;

export interface Made {
  pair: string;
  say: Say;
  a: string;
  b: string;
  /** The event that was looked at. */
  from: string | null;
  at: number;
  state: "sending" | "undoing" | "undone" | "failed" | Report["state"];
  report: Report | null;
  error: string | null;
  /** Where its listings are since, as the stream tells. */
  events: Map<string, EventRow>;
}

export const pairOf = (a: string, b: string): string => [a, b].sort().join(" ");

export function nameOf(name: ListingName): string {
  if (typeof name === "string") return name;
  return "listing" in name ? name.listing : `${name.source}/${name.externalId}`;
}

export function said(report: Report): Said & { say: Say } {
  const { decision } = report;
  return "same" in decision ? { ...decision.same, say: "same" } : { ...decision.different, say: "different" };
}

/** Those on pairs: what editors said of single listings is among all decisions too. */
export function onPairs(reports: Report<Decision | Moderated>[]): Report[] {
  return reports.filter((report): report is Report => !("moderate" in report.decision));
}

/** What this page has decided, the newest first. It outlasts the event that it was decided on. */
let made: Made[] = [];
const watchers = new Set<() => void>();
const tell = () => watchers.forEach((watcher) => watcher());

feed.onChange((change) => {
  if (change.kind === "leave") {
    for (const one of made) {
      for (const [listing, row] of one.events) if (row.id === change.id) one.events.delete(listing);
    }
    return tell();
  }
  const names = new Set(change.event.listings.map((listing) => `${listing.source}/${listing.externalId}`));
  for (const one of made) {
    for (const listing of [one.a, one.b]) if (names.has(listing)) one.events.set(listing, change.event);
  }
  tell();
});

export function useMade(): Made[] {
  const [, draw] = useState(0);
  useEffect(() => {
    const watcher = () => draw((n) => n + 1);
    watchers.add(watcher);
    return () => void watchers.delete(watcher);
  }, []);
  return made;
}

/** What is said of a failed write. One that needs a key asks for it. */
export function words(error: unknown): string {
  if (error instanceof ApiError && error.status === 401) access.prompt();
  return error instanceof Error ? error.message : String(error);
}

export async function decide(say: Say, a: string, b: string, from: string | null): Promise<void> {
  const pair = pairOf(a, b);
  const one: Made = { pair, say, a, b, from, at: serverNow(), state: "sending", report: null, error: null, events: new Map() };
  made = [one, ...made.filter((other) => other.pair !== pair)].slice(0, 50);
  tell();
  try {
    await write("POST", "/api/admin/decisions", { say, a, b });
    one.state = "pending";
    tell();
    await follow(one);
  } catch (error) {
    one.state = "failed";
    one.error = words(error);
    tell();
  }
}

/** Until the topology has read it, and said what becomes of it. */
async function follow(one: Made): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  for (let wait = 150; one.state === "pending" && made.includes(one) && Date.now() < end; wait = Math.min(wait * 1.5, 2_000)) {
    await new Promise((done) => setTimeout(done, wait));
    const found = await reportOf(one).catch(() => null);
    if (!found || one.state !== "pending") continue;
    one.report = found;
    one.state = found.state;
    tell();
  }
  outdated("/api/admin/review");
}

async function reportOf(one: Made): Promise<Report | null> {
  const { decisions } = await (await get(`/api/admin/decisions?${new URLSearchParams({ listing: one.a })}`)).json();
  const pairs = onPairs(decisions);
  const found = pairs.find((report) => {
    const { a, b, say } = said(report);
    return say === one.say && pairOf(nameOf(a), nameOf(b)) === one.pair;
  });
  if (found) return found;
  // Named otherwise than it was said, by an id: of one listing it is the newest.
  return pairs.find((report) => said(report).say === one.say && Date.parse(said(report).at ?? "") >= one.at - 2_000) ?? null;
}

export async function undo(a: string, b: string): Promise<void> {
  const one = made.find((one) => one.pair === pairOf(a, b));
  const before = one?.state;
  if (one) one.state = "undoing";
  tell();
  try {
    await write("DELETE", "/api/admin/decisions", { a, b });
    if (one) one.state = "undone";
    tell();
    setTimeout(() => outdated("/api/admin/review"), 600);
  } catch (error) {
    if (!one || !before) throw error;
    one.state = before;
    one.error = words(error);
    tell();
  }
}

const STATES: Record<Report["state"], string> = {
  holds: "holds",
  waits: "waits",
  overruled: "overruled",
  pending: "is being read",
  superseded: "superseded by a newer one",
};

function because(report: Report | null): ComponentChildren {
  if (report?.state === "waits" && report.missing?.length) return <> for {report.missing.map(nameOf).join(" and ")}, which {report.missing.length === 1 ? "is" : "are"} not live</>;
  if (report?.state === "overruled") return <> by {report.overruledBy?.length ? count(report.overruledBy.length, "other decision") : "other decisions"}</>;
  return null;
}

function Sentence({ say, a, b }: { say: Say; a: string; b: string }) {
  return <><code>{a}</code> and <code>{b}</code> are {say === "same" ? "the same event" : "not the same"}</>;
}

/** A decision that this page has made, with what became of it. */
export function Outcome({ one, undoKeys }: { one: Made; undoKeys?: string }) {
  const { session } = useAccess();
  const who = session?.name ?? "you";
  const { state } = one;
  const again = () => void decide(one.say, one.a, one.b, one.from);
  return (
    <li class="outcome">
      <p class="outcome-words">
        {state === "undone" ? <>Undone: <Sentence {...one} /></> : <>Decided by {who}: <Sentence {...one} /></>}{" "}
        <State one={one} />
      </p>
      {one.error && <p class="wrong" role="alert">{one.error}</p>}
      {state !== "undone" && state !== "failed" && <Whereabouts one={one} />}
      {state === "failed" && <button type="button" class="link" onClick={again}>Try again</button>}
      {state !== "undone" && state !== "failed" && (
        <Action scope="decide" class="button button-small" disabled={state === "sending" || state === "undoing"} keys={undoKeys} onClick={() => void undo(one.a, one.b)}>
          Undo {undoKeys && <kbd aria-hidden="true">{undoKeys}</kbd>}
        </Action>
      )}
    </li>
  );
}

function State({ one: { state, report } }: { one: Made }) {
  if (state === "sending") return <span class="status status-waiting">being sent</span>;
  if (state === "undoing") return <span class="status status-waiting">being undone</span>;
  if (state === "failed") return <span class="status status-bad">not decided</span>;
  if (state === "undone") return <span class="status status-waiting">withdrawn</span>;
  return (
    <>
      <span class={`status status-${state === "holds" ? "good" : state === "pending" ? "waiting" : "warning"}`}>{STATES[state] ?? state}</span>
      {because(report)}
    </>
  );
}

function Whereabouts({ one }: { one: Made }) {
  const [a, b] = [one.events.get(one.a), one.events.get(one.b)];
  const link = (event: EventRow) => <a href={href("events", new URLSearchParams({ when: "all", event: event.id }))}>{event.title}</a>;
  const size = (event: EventRow) => `(${count(event.listings.length, "listing")})`;
  if (!a && !b) return null;
  if (a && b && a.id === b.id) return <p class="muted">Both are now in {link(a)} {size(a)}.</p>;
  return (
    <p class="muted">
      {a && <><code>{one.a}</code> is now in {link(a)} {size(a)}. </>}
      {b && <><code>{one.b}</code> is now in {link(b)} {size(b)}.</>}
    </p>
  );
}

/** A decision that the event's own records tell of. */
export function Told({ report, nameBy }: { report: Report; nameBy: (name: ListingName) => string }) {
  const { say, who, why, at, ...pair } = said(report);
  const [a, b] = [nameBy(pair.a), nameBy(pair.b)];
  const [state, setState] = useState<"" | "undoing" | "undone">("");
  const [error, setError] = useState<string | null>(null);
  const withdraw = () => {
    setState("undoing");
    undo(a, b).then(() => setState("undone"), (error: unknown) => {
      setState("");
      setError(words(error));
    });
  };
  return (
    <li class="outcome">
      <p class="outcome-words">
        Decided by {who || "somebody"}{at && <>, <Ago at={at} /></>}: <Sentence say={say} a={a} b={b} />{" "}
        <span class={`status status-${report.state === "holds" ? "good" : "warning"}`}>{state === "undone" ? "withdrawn" : (STATES[report.state] ?? report.state)}</span>
        {because(report)}
      </p>
      {why && <p class="muted">“{why}”</p>}
      {error && <p class="wrong" role="alert">{error}</p>}
      {access.can("decide") && state !== "undone" && (
        <Action scope="decide" class="button button-small" disabled={state === "undoing"} onClick={withdraw}>Undo</Action>
      )}
    </li>
  );
}
