// Now: what there is, what is being merged, and what has just changed.

import { useEffect, useRef, useState } from "preact/hooks";
import { EventDetail, EventList, EventRow, FacetValue, getEvent, listEvents, ROW_FIELDS, serverNow, Status } from "../api";
import { agreement, GLANCE } from "../compare";
import { useData } from "../data";
import { connection, useConnection } from "../connection";
import { feed } from "../feed";
import { clockTime, count, letters, place, precise, rounded, sourcesOf, span, when, whenHint } from "../format";
import { escapeValue } from "../filters";
import { href, Place } from "../route";
import { Change } from "../stream";
import { Flow, LastHour } from "./flow";
import { Ago, Category, Empty, Num, Sources, Trouble, useTick } from "../ui";

/** At most one card moves in so often: people are to be able to read them. */
const CARD_MS = 5_000;
const CARDS = 3;
const CHANGES = 12;

export const STATUS_PATH = "/api/pipeline/status";

const eventHref = (id: string, hash = ""): string => href("events", new URLSearchParams({ when: "all", event: id }), hash);

export function NowPage({ place }: { place: Place }) {
  const status = useData<Status>(STATUS_PATH, 2_000);
  const [summary, setSummary] = useState<EventList | null>(null);
  const [error, setError] = useState<unknown>(null);
  const state = useConnection();
  const load = () => {
    const query = new URLSearchParams({ limit: "1", fields: "id", facets: "source,city,category" });
    listEvents(query).then(
      (list) => {
        feed.reach(list.position);
        setSummary(list);
        setError(null);
      },
      setError,
    );
  };
  useEffect(load, [state]);
  // Counted anew now and then; between, the stream moves the total.
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && connection.state === "live" && load(), 5_000);
    return () => clearInterval(timer);
  }, []);
  if (!summary && error) return <Trouble error={error} retry={load} />;
  if (summary && summary.total === 0) {
    return (
      <>
        <h1 class="sr">Now</h1>
        <Nothing />
        {status.data?.engine && <Flow status={status.data} />}
      </>
    );
  }
  return (
    <div class="now">
      <Sentence summary={summary} status={status.data} />
      <Flow status={status.data} error={status.error} />
      <div class="now-columns">
        <Merges />
        <aside class="now-side">
          <Pulse />
          <Changes />
        </aside>
      </div>
      <LastHour place={place} engine={status.data ? status.data.engine !== null : null} />
      <Breakdown summary={summary} />
    </div>
  );
}

function Nothing() {
  return (
    <Empty title="There are no events yet">
      <p>The log holds none. Put the first ones in, or start the quickstart, which has a feed of its own:</p>
      <pre><code>cargo run --release</code></pre>
      <p>This page shows them as soon as they are committed.</p>
    </Empty>
  );
}

const WORDS = ["No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve"];

function Sentence({ summary, status }: { summary: EventList | null; status: Status | null }) {
  useTick(1_000);
  const state = useConnection();
  if (!summary) return <h1 class="sentence placeholder">Counting events…</h1>;
  const sources = summary.facets?.source?.length ?? 0;
  const cities = summary.facets?.city?.length ?? 0;
  return (
    <h1 class="sentence">
      {WORDS[sources] ?? sources} {sources === 1 ? "source" : "sources"}, {status && <><Num value={status.listings} /> {status.listings === 1 ? "listing" : "listings"}, </>}
      <Num value={summary.total} /> {summary.total === 1 ? "event" : "events"} in {cities >= 50 ? "50 or more cities" : count(cities, "city", "cities")}
      {state === "live" && (status?.engine ? <Pace engine={status.engine} /> : <Changing />)}.
    </h1>
  );
}

/** What the engine says of itself. */
function Pace({ engine }: { engine: NonNullable<Status["engine"]> }) {
  const { phase, recordsPerSecond: rate, lagRecords, lagSeconds } = engine;
  const age = feed.age();
  if (phase !== "running") return <>; the engine {phase === "failed" ? "has failed" : `is ${phase}`}</>;
  return (
    <>
      ; {rate >= 0.95 ? <>{count(Math.round(rate), "record")} a second</> : rate > 0 ? <>a record every {span(1000 / rate)}</> : "no record is coming"}
      {lagRecords > 0 && lagSeconds >= 1 ? (
        <>, <Num value={lagRecords} /> waiting, the oldest for {span(lagSeconds * 1000)}</>
      ) : (
        age !== null && <>, everything committed <span title={`Position ${feed.position}`}>{span(age)}</span> ago</>
      )}
    </>
  );
}

/** What the stream shows, where no engine tells of itself. */
function Changing() {
  const { enter, update, leave, span: seconds } = feed.changes(10);
  const age = feed.age();
  if (seconds <= 2) return null;
  const rate = (enter + update + leave) / seconds;
  return (
    <>
      ; {rate >= 1 ? <>{Math.round(rate)} changes a second</> : rate > 0 ? <>a change every {span(1000 / rate)}</> : "nothing has changed in the last 10 s"}
      {age !== null && <>, the newest commit <span title={`Position ${feed.position}`}>{span(age)}</span> ago</>}
    </>
  );
}

/** Merges as they happen: events that have several listings, or that took another's place. */
function Merges() {
  const [cards, setCards] = useState<EventDetail[] | null>(null);
  const [paused, setPaused] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [merged, setMerged] = useState(0);
  const waiting = useRef<string[]>([]);
  const root = useRef<HTMLElement>(null);

  useEffect(() => {
    let gone = false;
    const known = new Map<string, number>();
    const start = async () => {
      const events = await recentMerges();
      const details = await Promise.all(events.slice(0, CARDS).map((event) => getEvent(event.id).catch(() => null)));
      if (!gone) setCards((now) => now?.length ? now : details.filter((one) => one !== null));
    };
    start().catch((error) => gone || setError(error));
    const stop = feed.onChange((change) => {
      const id = merge(change, known);
      if (!id || change.catchUp) return;
      setMerged((n) => n + 1);
      waiting.current = [id, ...waiting.current.filter((one) => one !== id)].slice(0, CARDS);
    });
    return () => {
      gone = true;
      stop();
    };
  }, []);

  useEffect(() => {
    const timer = setInterval(async () => {
      const looking = root.current?.matches(":hover, :focus-within");
      const id = waiting.current[0];
      if (paused || looking || document.hidden || !id) return;
      waiting.current.shift();
      try {
        const event = await getEvent(id);
        if (event.members.length > 1) setCards((now) => [event, ...(now ?? []).filter((one) => one.id !== event.id)].slice(0, CARDS));
      } catch {
        // It may be gone again; the next one comes.
      }
    }, CARD_MS);
    return () => clearInterval(timer);
  }, [paused]);

  return (
    <section class="merges" ref={root} aria-labelledby="merges">
      <header class="section-head">
        <h2 id="merges">Just merged</h2>
        <span class="faint since">{merged > 0 && `${rounded(merged)} since this page was opened`}</span>
        <button type="button" class="link" aria-pressed={paused} onClick={() => setPaused(!paused)}>
          {paused ? "Go on" : "Pause"}
        </button>
      </header>
      {error !== null && !cards && <Trouble error={error} />}
      {!cards && error === null && Array.from({ length: CARDS }, (_, i) => <div key={i} class="card card-empty" aria-hidden="true" />)}
      {cards?.length === 0 && (
        <Empty title="No merge in the last hour">
          <p>When a listing joins an event of another one, both appear here, side by side.</p>
        </Empty>
      )}
      {cards?.map((event) => <MergeCard key={event.id} event={event} />)}
    </section>
  );
}

/** The id of the event that a change merges something into. */
function merge(change: Change, known: Map<string, number>): string | null {
  if (change.kind === "leave") return change.redirectTo ?? null;
  const { id, listings, firstSeen, updatedAt } = change.event;
  const before = known.get(id);
  known.set(id, listings.length);
  if (known.size > 20_000) known.clear();
  if (listings.length < 2) return null;
  if (before !== undefined) return listings.length > before ? id : null;
  // Not seen before by this page: merged from the start, or told of long ago.
  return change.kind === "enter" || firstSeen === updatedAt ? id : null;
}

/** Events of several listings that changed last, from the last minutes or else the last hour. */
async function recentMerges(): Promise<EventRow[]> {
  for (const minutes of [1, 10, 60]) {
    const since = new Date(serverNow() - minutes * 60_000).toISOString();
    const query = new URLSearchParams({ updatedSince: since, limit: "200", fields: ROW_FIELDS });
    const { events } = await listEvents(query);
    const several = events.filter((event) => sourcesOf(event).length > 1);
    if (several.length >= CARDS || minutes === 60) {
      return several.sort((a, b) => b.updatedAt.localeCompare(a.updatedAt)).slice(0, CARDS);
    }
  }
  return [];
}

const SIDE_BY_SIDE = 3;

function MergeCard({ event }: { event: EventDetail }) {
  const members = event.members.filter((member) => member.listing);
  const shown = members.slice(0, SIDE_BY_SIDE);
  const listings = shown.flatMap((member) => member.listing?.listing ?? []);
  const fields = GLANCE.filter((field) => listings.some((listing) => field.show(listing)));
  return (
    <article class="card appears">
      <header class="card-head">
        <h3>
          <a href={eventHref(event.id, "why")}>{event.title}</a>
        </h3>
        <span class="faint">
          {count(members.length, "listing")} · <Ago at={event.updatedAt} />
        </span>
      </header>
      <div class="scroll" tabIndex={0} role="group" aria-label="The listings side by side">
        <table class={`side-by-side side-by-side-${shown.length}`}>
          <thead>
            <tr>
              <th class="sr" scope="col">Field</th>
              {shown.map((member) => (
                <th key={member.source + member.externalId} scope="col" title={member.externalId}>
                  <span class="source" aria-hidden="true">{letters(member.source)}</span> {member.source}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {fields.map((field) => {
              const agree = agreement(field, listings);
              return (
                <tr key={field.key}>
                  <th scope="row">{field.label}</th>
                  {listings.map((listing, i) => {
                    const value = field.show(listing);
                    const kind = value === null ? "void" : agree[i] === null ? "alone" : agree[i] ? "agrees" : "differs";
                    return (
                      <td key={i} class={kind} title={value ?? undefined}>
                        {value ?? "–"}
                        {kind === "agrees" && <span class="sr"> (agrees)</span>}
                        {kind === "differs" && <span class="sr"> (differs)</span>}
                      </td>
                    );
                  })}
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      <footer class="card-foot">
        <a href={eventHref(event.id, "why")}>Why these are one</a>
        {members.length > SIDE_BY_SIDE && <span class="faint">and {members.length - SIDE_BY_SIDE} more</span>}
      </footer>
    </article>
  );
}

/** Changes a second of the last minute, while this page was open. */
function Pulse() {
  useTick(1_000);
  const now = Math.floor(Date.now() / 1000);
  const bars = Array.from({ length: 60 }, (_, i) => {
    const second = feed.seconds.find((one) => one.at === now - 59 + i);
    return second ? second.enter + second.update + second.leave : 0;
  });
  const most = Math.max(4, ...bars);
  const { enter, update, leave } = feed.changes(60);
  return (
    <section aria-labelledby="pulse">
      <header class="section-head">
        <h2 id="pulse">Last minute</h2>
        <span class="faint">changes a second</span>
      </header>
      <svg class="pulse" viewBox="0 0 300 48" preserveAspectRatio="none" role="img" aria-label={`Changes a second of the last minute; the most is ${Math.max(...bars)}`}>
        {bars.map((bar, i) => (
          <rect key={i} x={i * 5} width="4" y={48 - (bar / most) * 46 - 1} height={(bar / most) * 46 + 1} />
        ))}
      </svg>
      <dl class="figures">
        <div><dt>New</dt><dd><Num value={enter} /></dd></div>
        <div><dt>Changed</dt><dd><Num value={update} /></dd></div>
        <div><dt>Gone</dt><dd><Num value={leave} /></dd></div>
      </dl>
    </section>
  );
}

interface Line {
  key: number;
  at: number;
  word: "new" | "merged" | "changed" | "gone";
  event: EventRow | null;
  id: string;
  redirectTo?: string;
}

let nextLine = 0;

function Changes() {
  const [lines, setLines] = useState<Line[]>([]);
  const buffer = useRef<Line[]>([]);
  const root = useRef<HTMLElement>(null);
  useEffect(() => {
    const titles = new Map<string, EventRow>();
    const stop = feed.onChange((change) => {
      if (change.catchUp) return;
      const line = { key: nextLine++, at: serverNow() };
      if (change.kind === "leave") {
        const event = titles.get(change.redirectTo ?? "") ?? titles.get(change.id) ?? null;
        buffer.current.unshift({ ...line, word: change.redirectTo ? "merged" : "gone", event, id: change.redirectTo ?? change.id });
      } else {
        titles.set(change.event.id, change.event);
        if (titles.size > 5_000) titles.clear();
        buffer.current.unshift({ ...line, word: change.kind === "enter" ? "new" : "changed", event: change.event, id: change.event.id });
      }
      buffer.current.length = Math.min(buffer.current.length, CHANGES);
    });
    const timer = setInterval(() => {
      if (document.hidden || root.current?.matches(":hover, :focus-within")) return;
      // One line an event: the last that happened to it.
      const seen = new Set<string>();
      setLines(buffer.current.filter((line) => !seen.has(line.id) && seen.add(line.id)));
    }, 2_000);
    return () => {
      stop();
      clearInterval(timer);
    };
  }, []);
  return (
    <section class="changes" ref={root} aria-labelledby="changes">
      <header class="section-head">
        <h2 id="changes">Recent changes</h2>
      </header>
      {lines.length === 0 && <p class="note">Nothing has changed since this page was opened.</p>}
      <ol>
        {lines.map(({ key, at, word, event, id }) => (
          <li key={key}>
            <span class={`word word-${word}`}>{word}</span>
            {word === "gone" ? (
              <span class="change-title" title={id}>{event?.title ?? id.slice(0, 8)}</span>
            ) : (
              <a class="change-title" href={eventHref(id)} title={event ? `${when(event.startTime, event.endTime)} · ${place(event.venue, event.online)} · ${whenHint(event)}` : id}>
                {event?.title ?? id.slice(0, 8)}
              </a>
            )}
            {event && <Sources names={sourcesOf(event)} />}
            <time class="faint" dateTime={new Date(at).toISOString()}>{clockTime(at)}</time>
          </li>
        ))}
      </ol>
    </section>
  );
}

/** Where the events come from and what they are, with the way to them. */
function Breakdown({ summary }: { summary: EventList | null }) {
  const groups: [string, string, FacetValue[]][] = [
    ["source", "Sources", summary?.facets?.source ?? []],
    ["category", "Categories", summary?.facets?.category ?? []],
    ["city", "Cities", summary?.facets?.city ?? []],
  ];
  return (
    <div class="breakdown">
      {groups.map(([key, title, values]) => {
        const most = Math.max(1, ...values.map((value) => value.count));
        return (
          <section key={key} aria-labelledby={`by-${key}`}>
            <header class="section-head">
              <h2 id={`by-${key}`}>{title}</h2>
              <span class="faint">events</span>
            </header>
            <ul class="bars">
              {values.slice(0, 8).map(({ value, count }) => (
                <li key={value}>
                  <a href={href("events", new URLSearchParams([["when", "all"], [key, escapeValue(value)]]))}>
                    {key === "category" ? <Category name={value} /> : <span>{value}</span>}
                    <span class="num" title={precise(count)}>{rounded(count)}</span>
                    <progress max={most} value={count} aria-hidden="true" />
                  </a>
                </li>
              ))}
            </ul>
            {values.length > 8 && <p class="note">and {values.length >= 50 ? "more" : `${values.length - 8} more`}</p>}
          </section>
        );
      })}
    </div>
  );
}
