// Events: a list that stays where it is while it is live, and the chosen event beside it.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError, EventList, EventRow, listEvents, ROW_FIELDS } from "../api";
import { feed } from "../feed";
import { apiQuery, Filters, isFiltered } from "../filters";
import { count, day, place as placeOf, rounded, sourcesOf, timeOfDay, whenHint } from "../format";
import { go, href, Place } from "../route";
import { Stream } from "../stream";
import { Category, Empty, Grade, isTyping, Num, Popover, Sources, Status, Trouble } from "../ui";
import { Detail } from "./detail";

const PAGE = 50;

interface Shown {
  rows: EventRow[];
  total: number;
  cursor: string | null;
}

/** By the calendar of each event: a day is one block of rows, though it begins at other times elsewhere. */
function byDay(rows: EventRow[]): EventRow[] {
  return [...rows].sort((a, b) => {
    const [x, y] = [a.startTime.slice(0, 16), b.startTime.slice(0, 16)];
    return x < y ? -1 : x > y ? 1 : 0;
  });
}

interface Live {
  shown: Shown | null;
  /** Ids of events that would be in the list, were it read anew. */
  waiting: Set<string>;
  /** Ids of events of the list that are not in the result any more. */
  left: Set<string>;
  fresh: Set<string>;
  error: unknown;
  reload(): void;
  more(): void;
}

function useLiveList(query: string): Live {
  const [shown, setShown] = useState<Shown | null>(null);
  const [waiting, setWaiting] = useState<Set<string>>(new Set());
  const [left, setLeft] = useState<Set<string>>(new Set());
  const [fresh, setFresh] = useState<Set<string>>(new Set());
  const [error, setError] = useState<unknown>(null);
  const [round, setRound] = useState(0);
  const state = useRef({ ids: new Set<string>(), waiting: new Set<string>(), updates: new Map<string, EventRow>(), left: new Set<string>(), total: 0, wanted: PAGE });

  useEffect(() => {
    setShown(null);
    setFresh(new Set());
    state.current.waiting = new Set();
    state.current.wanted = PAGE;
  }, [query]);

  useEffect(() => {
    const abort = new AbortController();
    const now = state.current;
    let stream: Stream | null = null;
    let timer = 0;
    let retry = 0;
    const flush = () => {
      timer = 0;
      const { updates } = now;
      now.updates = new Map();
      setShown((shown) => shown && {
        ...shown,
        total: now.total,
        rows: updates.size ? shown.rows.map((row) => updates.get(row.id) ?? row) : shown.rows,
      });
      setWaiting(new Set(now.waiting));
      setLeft(new Set(now.left));
    };
    const soon = () => (timer ||= window.setTimeout(flush, 400));

    const follow = (list: EventList) => {
      const asked = new URLSearchParams(query);
      asked.set("fields", ROW_FIELDS);
      asked.set("snapshot", "false");
      stream = new Stream(asked, {
        change(change) {
          if (change.kind === "leave") {
            if (!now.waiting.delete(change.id) && now.ids.has(change.id)) now.left.add(change.id);
            now.total -= 1;
          } else if (now.ids.has(change.event.id)) {
            if (now.left.delete(change.event.id)) now.total += 1;
            now.updates.set(change.event.id, change.event);
          } else if (change.kind === "enter") {
            if (!now.waiting.has(change.event.id)) now.total += 1;
            now.waiting.add(change.event.id);
          }
          soon();
        },
        live(total) {
          now.total = total;
          soon();
        },
        reset() {
          setRound((n) => n + 1);
        },
      }, list.position);
    };

    const load = async () => {
      const asked = new URLSearchParams(query);
      asked.set("fields", ROW_FIELDS);
      asked.set("sort", "start");
      asked.set("limit", String(Math.min(200, now.wanted)));
      try {
        const list = await listEvents(asked, abort.signal);
        const before = now.waiting;
        now.ids = new Set(list.events.map((event) => event.id));
        now.waiting = new Set();
        now.left = new Set();
        now.updates = new Map();
        now.total = list.total;
        setShown({ rows: byDay(list.events), total: list.total, cursor: list.nextCursor });
        setFresh(new Set([...before].filter((id) => now.ids.has(id))));
        setWaiting(new Set());
        setLeft(new Set());
        setError(null);
        feed.reach(list.position);
        follow(list);
      } catch (error) {
        if (abort.signal.aborted) return;
        setError(error);
        // What is asked for wrongly stays wrong.
        if (error instanceof ApiError && error.status === 400) setShown(null);
        else retry = window.setTimeout(load, 3_000);
      }
    };
    void load();
    return () => {
      abort.abort();
      stream?.close();
      clearTimeout(timer);
      clearTimeout(retry);
    };
  }, [query, round]);

  const more = useCallback(() => {
    const cursor = shown?.cursor;
    if (!cursor) return;
    const asked = new URLSearchParams(query);
    for (const [key, value] of [["fields", ROW_FIELDS], ["sort", "start"], ["limit", String(PAGE)], ["cursor", cursor]]) asked.set(key, value);
    listEvents(asked).then((list) => {
      const now = state.current;
      const added = list.events.filter((event) => !now.ids.has(event.id));
      for (const { id } of added) {
        now.ids.add(id);
        now.waiting.delete(id);
      }
      now.wanted += PAGE;
      setWaiting(new Set(now.waiting));
      setShown((shown) => shown && { ...shown, rows: byDay([...shown.rows, ...added]), cursor: list.nextCursor });
    }, setError);
  }, [query, shown?.cursor]);

  const reload = useCallback(() => setRound((n) => n + 1), []);
  return { shown, waiting, left, fresh, error, reload, more };
}

export function EventsPage({ place }: { place: Place }) {
  const query = apiQuery(place.query).toString();
  const live = useLiveList(query);
  const { shown, waiting, left, fresh, error, reload, more } = live;
  const chosen = place.query.get("event");
  const list = useRef<HTMLOListElement>(null);
  const top = useRef<HTMLDivElement>(null);

  const withEvent = (id: string | null): string => {
    const next = new URLSearchParams(place.query);
    if (id) next.set("event", id);
    else next.delete("event");
    return href("events", next);
  };

  // j and k move the cursor, which is the focus; Escape closes what Enter opened.
  useEffect(() => {
    const key = (event: KeyboardEvent) => {
      if (event.defaultPrevented || isTyping(event.target) || event.metaKey || event.ctrlKey || event.altKey) return;
      const links = [...(list.current?.querySelectorAll<HTMLAnchorElement>("a.row") ?? [])];
      const at = links.indexOf(document.activeElement as HTMLAnchorElement);
      if (event.key === "j" || event.key === "k") {
        const open = links.findIndex((link) => link.dataset.id === chosen);
        const from = at >= 0 ? at : open;
        const next = from < 0 ? 0 : Math.min(links.length - 1, Math.max(0, from + (event.key === "j" ? 1 : -1)));
        links[next]?.focus();
        event.preventDefault();
      } else if (event.key === "Escape" && chosen) {
        go(withEvent(null));
        links.find((link) => link.dataset.id === chosen)?.focus();
      }
    };
    addEventListener("keydown", key);
    return () => removeEventListener("keydown", key);
  });

  const showWaiting = () => {
    reload();
    top.current?.scrollIntoView({ block: "nearest" });
  };

  return (
    <div class={`events${chosen ? " events-split" : ""}`}>
      <h1 class="sr">Events</h1>
      <div class="events-main" ref={top}>
        <Filters place={place} />
        <div class="list-head">
          <span aria-live="polite">
            {shown ? <><Num value={shown.total} /> {shown.total === 1 ? "event" : "events"}</> : error === null && "Loading…"}
          </span>
          {waiting.size > 0 && (
            <button type="button" class="button button-new" onClick={showWaiting}>
              {rounded(waiting.size)} new
            </button>
          )}
          {waiting.size === 0 && left.size > 0 && (
            <button type="button" class="link" onClick={showWaiting}>
              Remove {count(left.size, "event")} that left
            </button>
          )}
          <Export query={query} />
        </div>
        {error !== null && !shown && <Trouble error={error} />}
        {!shown && error === null && <Skeleton />}
        {shown?.rows.length === 0 && <NoEvents place={place} />}
        {shown && shown.rows.length > 0 && (
          <ol class="rows" ref={list}>
            {shown.rows.map((row, i) => (
              <Row
                key={row.id}
                row={row}
                first={i === 0 || row.startTime.slice(0, 10) !== shown.rows[i - 1].startTime.slice(0, 10)}
                to={withEvent(row.id)}
                chosen={row.id === chosen}
                left={left.has(row.id)}
                fresh={fresh.has(row.id)}
              />
            ))}
          </ol>
        )}
        {shown?.cursor && (
          <p class="more">
            <button type="button" class="button" onClick={more}>
              Show {Math.min(PAGE, Math.max(1, shown.total - shown.rows.length))} more
            </button>
          </p>
        )}
      </div>
      {chosen && <Detail key={chosen} id={chosen} close={withEvent(null)} known={shown?.rows.find((row) => row.id === chosen)} />}
    </div>
  );
}

function Row(props: { row: EventRow; first: boolean; to: string; chosen: boolean; left: boolean; fresh: boolean }) {
  const { row, first, to, chosen, left, fresh } = props;
  const classes = ["row", first && "row-first", left && "row-left", fresh && "row-fresh"].filter(Boolean).join(" ");
  return (
    <li>
      <a class={classes} href={to} data-id={row.id} aria-current={chosen ? "true" : undefined}>
        <span class={first ? "row-day" : "row-day row-day-again"}>{day(row.startTime)}</span>
        <span class="row-time" title={whenHint(row)}>{timeOfDay(row.startTime) || "all day"}</span>
        <span class="row-what">
          <span class="row-title">{row.title}</span>
          <span class="row-place">{placeOf(row.venue, row.online)}</span>
        </span>
        <span class="row-state">{left ? <span class="status status-waiting">left</span> : <Status status={row.status} />}</span>
        <span class="row-category"><Category name={row.category} /></span>
        <Sources names={sourcesOf(row)} />
        <Grade letter={row.qualityGrade} />
      </a>
    </li>
  );
}

function Skeleton() {
  return (
    <div class="rows rows-loading" aria-hidden="true">
      {Array.from({ length: 12 }, (_, i) => (
        <div key={i} class="row">
          <span class="bone bone-day" />
          <span class="bone bone-time" />
          <span class={`bone bone-what bone-${i % 3}`} />
        </div>
      ))}
    </div>
  );
}

function NoEvents({ place }: { place: Place }) {
  if (!isFiltered(place.query)) {
    return (
      <Empty title="No event is coming">
        <p>
          <a href={href("events", new URLSearchParams({ when: "all" }))}>Show past events too</a>, or put listings in:
        </p>
        <pre><code>cargo run --release</code></pre>
      </Empty>
    );
  }
  return (
    <Empty title="No event matches all filters">
      <p>
        Remove one above, or <a href="/console/events">remove all</a>. New events that match appear by themselves.
      </p>
    </Empty>
  );
}

/** The same list for other programs. */
function Export({ query }: { query: string }) {
  const forms = [
    ["JSON", ""], ["Calendar (.ics)", ".ics"], ["Feed (.rss)", ".rss"], ["Table (.csv)", ".csv"], ["GeoJSON", ".geojson"],
  ];
  return (
    <div class="export">
      <Popover label="Export">
        {() => (
          <div class="values">
            {forms.map(([name, suffix]) => (
              <a key={name} class="choice" href={`/api/events${suffix}?${query}`} target="_blank" rel="noreferrer">
                {name}
              </a>
            ))}
          </div>
        )}
      </Popover>
    </div>
  );
}

