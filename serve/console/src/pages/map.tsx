// Map: events as dots that cluster, on the outlines of land, in a window of time.

import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ApiError, EventRow, listEvents } from "../api";
import { apiQuery, Filters } from "../filters";
import { addDays, categoryClass, count, day, place as placeOf, rounded, timeOfDay, today, when } from "../format";
import { cluster, Cluster, Land, loadLand, scaleBar, View, world, zoomTo } from "../map";
import { go, href, Place } from "../route";
import { Stream } from "../stream";
import { Category, Empty, Trouble } from "../ui";

const WEEKS = 12;
const DAYS = WEEKS * 7;
/** More than this a browser does not draw well, and nobody can read. */
const MOST = 10_000;
const FIELDS = "id,title,category,startTime,endTime,timezone,venue,online,listings,qualityGrade,updatedAt,status";
const LENGTHS: [number, string][] = [[1, "1 day"], [7, "1 week"], [28, "4 weeks"], [DAYS, "All"]];

interface Loaded {
  query: string;
  events: EventRow[];
  /** Events of the result; more than are here where they are too many. */
  total: number;
  done: boolean;
}

const NOTHING: Loaded = { query: "", events: [], total: 0, done: false };

interface Totals {
  total: number | null;
  weeks: number[] | null;
  error: unknown;
}

/** All events of a query, kept up to date by their stream. What was shown stays until the new is there. */
function useEvents(query: string | null): Loaded {
  const [loaded, setLoaded] = useState<Loaded>(NOTHING);
  useEffect(() => {
    if (query === null) return;
    const events = new Map<string, EventRow>();
    let timer = 0;
    let total = 0;
    let done = false;
    let stream: Stream | null = null;
    const flush = () => {
      timer = 0;
      const next = { query, events: [...events.values()], total: Math.max(total, events.size), done };
      setLoaded((now) => (done || now.query === query || now.events.length === 0 ? next : now));
    };
    const soon = () => (timer ||= window.setTimeout(flush, done ? 500 : 150));
    const start = () => {
      const asked = new URLSearchParams(query);
      asked.set("fields", FIELDS);
      stream = new Stream(asked, {
        change(change) {
          if (change.kind === "leave") events.delete(change.id);
          else if (events.has(change.event.id) || events.size < MOST) events.set(change.event.id, change.event);
          soon();
        },
        reset: () => events.clear(),
        live(now) {
          total = now;
          done = true;
          soon();
        },
      });
    };
    // A slider that is moved asks for many.
    const begin = setTimeout(start, 150);
    return () => {
      stream?.close();
      clearTimeout(begin);
      clearTimeout(timer);
    };
  }, [query]);
  return loaded;
}

/** How many events there are in all the weeks, and in each of them where they are too many to have all. */
function useTotals(query: string, begin: string): Totals {
  const [totals, setTotals] = useState<Totals>({ total: null, weeks: null, error: null });
  useEffect(() => {
    const abort = new AbortController();
    let retry = 0;
    const count = async (from: string, until: string) => {
      const asked = new URLSearchParams(query);
      for (const [key, value] of [["startDate", from], ["endDate", until], ["limit", "1"], ["fields", "id"]]) asked.set(key, value);
      return (await listEvents(asked, abort.signal)).total;
    };
    const load = async () => {
      try {
        const total = await count(begin, addDays(begin, DAYS - 1));
        setTotals({ total, weeks: null, error: null });
        if (total <= MOST) return;
        const week = (i: number) => count(addDays(begin, i * 7), addDays(begin, i * 7 + 6));
        const weeks = await Promise.all(Array.from({ length: WEEKS }, (_, i) => week(i)));
        setTotals({ total, weeks, error: null });
      } catch (error) {
        if (abort.signal.aborted) return;
        setTotals((now) => ({ ...now, error }));
        if (!(error instanceof ApiError && error.status === 400)) retry = window.setTimeout(load, 3_000);
      }
    };
    void load();
    return () => {
      abort.abort();
      clearTimeout(retry);
    };
  }, [query, begin]);
  return totals;
}

export function MapPage({ place }: { place: Place }) {
  const begin = today();
  const end = addDays(begin, DAYS - 1);
  const ofAll = useMemo(() => {
    const asked = new URLSearchParams(place.query);
    asked.delete("when");
    asked.set("startDate", begin);
    asked.set("endDate", end);
    return apiQuery(asked);
  }, [place.query, begin]);
  const { total, weeks, error } = useTotals(ofAll.toString(), begin);
  // Where a browser cannot have them all, it has those of the window.
  const many = (total ?? 0) > MOST;
  const from = clampDay(place.query.get("from"), begin, end);
  const length = LENGTHS.find(([days]) => String(days) === place.query.get("days"))?.[0] ?? (many ? 7 : DAYS);
  const last = addDays(from, length - 1);
  const until = last > end ? end : last;
  const asked = new URLSearchParams(ofAll);
  if (many) {
    asked.set("startDate", from);
    asked.set("endDate", until);
  }
  const loaded = useEvents(total === null ? null : asked.toString());
  const { events, done } = loaded;

  const inWindow = useMemo(
    () => events.filter((event) => event.startTime.slice(0, 10) <= until && (event.endTime ?? event.startTime).slice(0, 10) >= from),
    [events, from, until],
  );
  const located = useMemo(() => inWindow.filter((event) => event.venue?.latitude != null && event.venue.longitude != null), [inWindow]);
  const [chosen, setChosen] = useState<string[] | null>(null);
  const days = useMemo(() => (weeks ? null : perDay(events, begin)), [weeks, events, begin]);

  const change = (edit: (query: URLSearchParams) => void) => {
    const next = new URLSearchParams(location.search);
    edit(next);
    go(href("map", next), true);
  };

  return (
    <div class="map-page">
      <h1 class="sr">Map</h1>
      <Filters place={place} withoutTime />
      <div class="list-head">
        <span aria-live="polite">
          {done ? (
            <>
              {count(located.length, "event")} on the map
              {inWindow.length > located.length && <span class="faint">, {rounded(inWindow.length - located.length)} without a place</span>}
            </>
          ) : (
            error === null && "Loading…"
          )}
        </span>
        {done && loaded.total > events.length && (
          <span class="faint">Only {rounded(events.length)} of {rounded(loaded.total)} are drawn. Choose a shorter time or filter.</span>
        )}
      </div>
      {error !== null && events.length === 0 && <Trouble error={error} />}
      <div class="map-frame">
        <WorldMap events={located} place={place} done={done} change={change} choose={setChosen} />
        {done && located.length === 0 && (
          <div class="map-empty">
            <Empty title="No event with a place">
              <p>Move the slider below, choose a longer time, or remove a filter.</p>
            </Empty>
          </div>
        )}
        {chosen && <Chosen ids={chosen} events={located} close={() => setChosen(null)} />}
      </div>
      <Slider bars={weeks ?? days ?? []} begin={begin} from={from} length={length} change={change} />
      <Legend events={located} />
    </div>
  );
}

/** How many events begin on each day. */
function perDay(events: EventRow[], begin: string): number[] {
  const days = new Array<number>(DAYS).fill(0);
  const first = Date.parse(begin);
  for (const { startTime } of events) {
    const at = Math.max(0, Math.round((Date.parse(startTime.slice(0, 10)) - first) / 86_400_000));
    if (at < DAYS) days[at] += 1;
  }
  return days;
}

function clampDay(asked: string | null, begin: string, last: string): string {
  if (!asked || !/^\d{4}-\d\d-\d\d$/.test(asked)) return begin;
  return asked < begin ? begin : asked > last ? last : asked;
}

const START: View = { x: 0.5, y: 0.36, zoom: 1.2 };

function readView(query: URLSearchParams): View | null {
  const [lat, lng, zoom] = (query.get("at") ?? "").split(",").map(Number);
  if (![lat, lng, zoom].every(Number.isFinite) || query.get("at")?.split(",").length !== 3) return null;
  return { ...world(lat, lng), zoom: Math.min(17, Math.max(0, zoom)) };
}

interface MapProps {
  events: EventRow[];
  place: Place;
  done: boolean;
  change(edit: (query: URLSearchParams) => void): void;
  choose(ids: string[] | null): void;
}

function WorldMap({ events, place, done, change, choose }: MapProps) {
  const frame = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [size, setSize] = useState({ width: 0, height: 0 });
  const [view, setView] = useState<View>(() => readView(place.query) ?? START);
  const [land, setLand] = useState<Land | null>(null);
  const [theme, setTheme] = useState(0);
  const moved = useRef(place.query.has("at"));

  useEffect(() => {
    loadLand().then(setLand, () => {
      // The dots tell enough without it.
    });
    const observer = new ResizeObserver(([entry]) => setSize({ width: entry.contentRect.width, height: entry.contentRect.height }));
    if (frame.current) observer.observe(frame.current);
    const repaint = () => setTheme((n) => n + 1);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", repaint);
    addEventListener("themechange", repaint);
    return () => {
      observer.disconnect();
      dark.removeEventListener("change", repaint);
      removeEventListener("themechange", repaint);
    };
  }, []);

  // Until somebody moves it, the map shows all that there is.
  useEffect(() => {
    if (moved.current || !done || events.length === 0 || size.width === 0) return;
    setView(zoomTo(events.map((event) => world(event.venue?.latitude ?? 0, event.venue?.longitude ?? 0)), size, 11));
  }, [done, events.length > 0, size.width, size.height]);

  const move = useCallback((next: (view: View) => View) => {
    moved.current = true;
    setView((view) => {
      const { x, y, zoom } = next(view);
      return { x: x - Math.floor(x), y: Math.min(0.98, Math.max(0.02, y)), zoom: Math.min(17, Math.max(0.4, zoom)) };
    });
  }, []);

  // The address follows, but not every step of a drag.
  useEffect(() => {
    if (!moved.current) return;
    const timer = setTimeout(() => {
      const lat = (Math.atan(Math.sinh(Math.PI * (1 - 2 * view.y))) * 180) / Math.PI;
      change((query) => query.set("at", [lat.toFixed(4), (view.x * 360 - 180).toFixed(4), view.zoom.toFixed(1)].join(",")));
    }, 400);
    return () => clearTimeout(timer);
  }, [view]);

  useEffect(() => {
    if (canvas.current && land && size.width) land.draw(canvas.current, view, size);
  }, [view, size, land, theme]);

  const scale = 256 * 2 ** view.zoom;
  const clusters = useMemo(() => cluster(events, Math.round(view.zoom * 2) / 2), [events, Math.round(view.zoom * 2)]);
  const shown: { cluster: Cluster; x: number; y: number }[] = [];
  for (const one of clusters) {
    let dx = one.x - view.x;
    if (dx > 0.5) dx -= 1;
    if (dx < -0.5) dx += 1;
    const [x, y] = [dx * scale + size.width / 2, (one.y - view.y) * scale + size.height / 2];
    if (x > -40 && y > -40 && x < size.width + 40 && y < size.height + 40) shown.push({ cluster: one, x, y });
  }
  shown.sort((a, b) => b.cluster.events.length - a.cluster.events.length);
  const labels = useMemo(() => cityLabels(clusters), [clusters]);

  const bar = scaleBar(view);

  const zoomBy = (by: number, at?: { x: number; y: number }) =>
    move((view) => {
      const zoom = Math.min(17, Math.max(0.4, view.zoom + by));
      if (!at) return { ...view, zoom };
      const [before, after] = [256 * 2 ** view.zoom, 256 * 2 ** zoom];
      const [dx, dy] = [at.x - size.width / 2, at.y - size.height / 2];
      return { x: view.x + dx / before - dx / after, y: view.y + dy / before - dy / after, zoom };
    });

  usePointers(frame, move, zoomBy);

  const open = (one: Cluster) => {
    const spread = Math.max(one.right - one.left, one.bottom - one.top) * 256 * 2 ** 17;
    if (one.events.length > 1 && view.zoom < 15 && spread > 200) {
      move(() => zoomTo(one.events.map((event) => world(event.venue?.latitude ?? 0, event.venue?.longitude ?? 0)), size, 16));
      choose(null);
    } else {
      choose(one.events.map((event) => event.id));
    }
  };

  const keys = (event: KeyboardEvent) => {
    const step = 80 / scale;
    const moves: Record<string, () => void> = {
      ArrowLeft: () => move((view) => ({ ...view, x: view.x - step })),
      ArrowRight: () => move((view) => ({ ...view, x: view.x + step })),
      ArrowUp: () => move((view) => ({ ...view, y: view.y - step })),
      ArrowDown: () => move((view) => ({ ...view, y: view.y + step })),
      "+": () => zoomBy(0.5),
      "=": () => zoomBy(0.5),
      "-": () => zoomBy(-0.5),
    };
    if (!moves[event.key] || event.metaKey || event.ctrlKey) return;
    moves[event.key]();
    event.preventDefault();
  };

  return (
    <div class="map" ref={frame} role="application" aria-label="Map of events. Arrows move it, plus and minus zoom." tabIndex={0} onKeyDown={keys}>
      <canvas ref={canvas} aria-hidden="true" />
      <svg class="dots" width={size.width} height={size.height}>
        {shown.map(({ cluster, x, y }) => (
          <Dot key={cluster.key} cluster={cluster} x={x} y={y} label={labels.get(cluster.key)} open={() => open(cluster)} />
        ))}
        <g aria-hidden="true">
          {shown.map(({ cluster, x, y }) => labels.has(cluster.key) && (
            <text key={cluster.key} class="dot-label" x={x.toFixed(1)} y={(y + radiusOf(cluster.events.length) + 14).toFixed(1)}>{labels.get(cluster.key)}</text>
          ))}
        </g>
      </svg>
      {view.zoom > 4 && <div class="scale-bar" style={{ width: `${bar.width}px` }}>{bar.name}</div>}
      <div class="zoom">
        <button type="button" aria-label="Zoom in" onClick={() => zoomBy(1)}>+</button>
        <button type="button" aria-label="Zoom out" onClick={() => zoomBy(-1)}>−</button>
      </div>
    </div>
  );
}

/** A city's name where a cluster holds events of that city alone. */
function cityLabels(clusters: Cluster[]): Map<string, string> {
  const labels = new Map<string, string>();
  const seen = new Set<string>();
  for (const { key, events } of [...clusters].sort((a, b) => b.events.length - a.events.length)) {
    const city = events[0].venue?.city;
    if (!city || seen.has(city) || !events.every((event) => event.venue?.city === city)) continue;
    seen.add(city);
    labels.set(key, city);
  }
  return labels;
}

const radiusOf = (many: number): number => (many === 1 ? 6 : Math.min(26, 9 + 3.2 * Math.log2(many)));

function Dot({ cluster, x, y, label, open }: { cluster: Cluster; x: number; y: number; label?: string; open: () => void }) {
  const { events } = cluster;
  const many = events.length;
  const one = events[0];
  const exact = one.venue?.geoPrecision === "venue" || one.venue?.geoPrecision === "address";
  const radius = radiusOf(many);
  const name = many === 1 ? `${one.title}, ${when(one.startTime, one.endTime)}, ${placeOf(one.venue)}` : `${count(many, "event")}${label ? ` in ${label}` : ""}`;
  const press = (event: KeyboardEvent) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    open();
  };
  return (
    <g class="dot" role="button" tabindex={0} aria-label={name} transform={`translate(${x.toFixed(1)} ${y.toFixed(1)})`} onClick={open} onKeyDown={press}>
      <title>{many === 1 && !exact ? `${name} (only the city is known)` : name}</title>
      {many === 1 ? (
        <circle class={`${categoryClass(one.category)} ${exact ? "dot-exact" : "dot-ring"}`} r={radius} />
      ) : (
        <>
          <circle class="dot-back" r={radius} />
          <Shares events={events} radius={radius} />
          <text class="dot-count" dy="0.35em">{rounded(many)}</text>
        </>
      )}
    </g>
  );
}

/** The ring of a cluster: its categories by their share. */
function Shares({ events, radius }: { events: EventRow[]; radius: number }) {
  const shares = new Map<string, number>();
  for (const { category } of events) {
    const name = categoryClass(category);
    shares.set(name, (shares.get(name) ?? 0) + 1);
  }
  const sorted = [...shares].sort((a, b) => b[1] - a[1]);
  let done = 0;
  return (
    <>
      {sorted.map(([name, share]) => {
        const offset = -done;
        const length = (share / events.length) * 100;
        done += length;
        return (
          <circle key={name} class={`${name} dot-share`} r={radius - 2} pathLength={100} stroke-dasharray={`${length} ${100 - length}`} stroke-dashoffset={offset} transform="rotate(-90)" />
        );
      })}
    </>
  );
}

/** Drags, pinches and the wheel. */
function usePointers(
  frame: { current: HTMLDivElement | null },
  move: (next: (view: View) => View) => void,
  zoomBy: (by: number, at?: { x: number; y: number }) => void,
): void {
  const latest = useRef({ move, zoomBy });
  latest.current = { move, zoomBy };
  useEffect(() => {
    const node = frame.current;
    if (!node) return;
    const pointers = new Map<number, { x: number; y: number }>();
    let dragged = false;
    const at = (event: MouseEvent) => {
      const box = node.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };
    const down = (event: PointerEvent) => {
      if ((event.target as Element).closest(".zoom")) return;
      pointers.set(event.pointerId, at(event));
      dragged = false;
    };
    const moving = (event: PointerEvent) => {
      const before = pointers.get(event.pointerId);
      if (!before) return;
      const now = at(event);
      const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
      const [dx, dy] = [now.x - before.x, now.y - before.y];
      if (!dragged && Math.hypot(dx, dy) < 4) return;
      if (!dragged) node.setPointerCapture(event.pointerId);
      dragged = true;
      pointers.set(event.pointerId, now);
      if (other) {
        const distance = (point: { x: number; y: number }) => Math.hypot(point.x - other.x, point.y - other.y) || 1;
        latest.current.zoomBy(Math.log2(distance(now) / distance(before)), other);
        return;
      }
      latest.current.move((view) => ({ ...view, x: view.x - dx / (256 * 2 ** view.zoom), y: view.y - dy / (256 * 2 ** view.zoom) }));
    };
    const up = (event: PointerEvent) => void pointers.delete(event.pointerId);
    // A drag that ends on a dot does not open it.
    const click = (event: MouseEvent) => {
      if (!dragged) return;
      dragged = false;
      event.stopPropagation();
      event.preventDefault();
    };
    const wheel = (event: WheelEvent) => {
      event.preventDefault();
      latest.current.zoomBy(Math.max(-0.5, Math.min(0.5, -event.deltaY / (event.deltaMode ? 8 : 240))), at(event));
    };
    node.addEventListener("pointerdown", down);
    node.addEventListener("pointermove", moving);
    node.addEventListener("pointerup", up);
    node.addEventListener("pointercancel", up);
    node.addEventListener("click", click, true);
    node.addEventListener("wheel", wheel, { passive: false });
    return () => {
      node.removeEventListener("pointerdown", down);
      node.removeEventListener("pointermove", moving);
      node.removeEventListener("pointerup", up);
      node.removeEventListener("pointercancel", up);
      node.removeEventListener("click", click, true);
      node.removeEventListener("wheel", wheel);
    };
  }, []);
}

const LISTED = 100;

function Chosen({ ids, events, close }: { ids: string[]; events: EventRow[]; close: () => void }) {
  const wanted = new Set(ids);
  const found = events.filter((event) => wanted.has(event.id)).sort((a, b) => a.startTime.localeCompare(b.startTime));
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), [ids]);
  useEffect(() => {
    const escape = (event: KeyboardEvent) => event.key === "Escape" && close();
    addEventListener("keydown", escape);
    return () => removeEventListener("keydown", escape);
  });
  const names = [...new Set(found.map((event) => placeOf(event.venue)))];
  return (
    <section class="chosen-dots" aria-labelledby="chosen-dots">
      <button type="button" class="close" aria-label="Close the list" onClick={close}>×</button>
      <h2 id="chosen-dots" ref={heading} tabIndex={-1}>{names.length === 1 ? names[0] : count(found.length, "event")}</h2>
      <ol>
        {found.slice(0, LISTED).map((event) => (
          <li key={event.id}>
            <a href={href("events", new URLSearchParams({ event: event.id }))}>
              <span class="muted">{day(event.startTime)} {timeOfDay(event.startTime)}</span>
              <span>{event.title}</span>
              <span class="muted"><Category name={event.category} />{names.length > 1 && ` · ${placeOf(event.venue)}`}</span>
            </a>
          </li>
        ))}
      </ol>
      {found.length > LISTED && <p class="note">and {rounded(found.length - LISTED)} more</p>}
    </section>
  );
}

interface SliderProps {
  /** Events of each day or each week. */
  bars: number[];
  begin: string;
  from: string;
  length: number;
  change(edit: (query: URLSearchParams) => void): void;
}

/** The coming weeks, and the window in them that the map shows. */
function Slider({ bars, begin, from, length, change }: SliderProps) {
  const most = Math.max(1, ...bars);
  const wide = bars.length > WEEKS ? 1 : 7;
  const start = Math.round((Date.parse(from) - Date.parse(begin)) / 86_400_000);
  const last = Math.min(DAYS, start + length) - 1;
  const until = addDays(begin, last);
  const text = length >= DAYS && start === 0 ? `${WEEKS} weeks from today` : start === last ? day(from) : `${day(from)} – ${day(until)}`;
  const set = (start: number) => change((query) => query.set("from", addDays(begin, start)));
  return (
    <div class="slider">
      <div class="slider-head">
        <strong>{text}</strong>
        <div class="segments" role="group" aria-label="Length of time">
          {LENGTHS.map(([days, name]) => (
            <button
              type="button"
              key={days}
              aria-pressed={days === length}
              onClick={() =>
                change((query) => {
                  query.set("days", String(days));
                  if (days === DAYS) query.delete("from");
                })
              }
            >
              {name}
            </button>
          ))}
        </div>
      </div>
      <div class="slider-track">
        <svg viewBox={`0 0 ${DAYS * 10} 40`} preserveAspectRatio="none" aria-hidden="true">
          {bars.map((bar, i) => (
            <rect key={i} class={i * wide <= last && (i + 1) * wide > start ? "in" : "out"} x={i * wide * 10 + 1} width={wide * 10 - 2} y={40 - (bar / most) * 38 - 1} height={(bar / most) * 38 + 1} />
          ))}
        </svg>
        <input
          type="range"
          min={0}
          max={DAYS - 1}
          value={start}
          disabled={length >= DAYS}
          aria-label="First day"
          aria-valuetext={text}
          onInput={(event) => set(Number(event.currentTarget.value))}
        />
        <div class="slider-days" aria-hidden="true">
          {Array.from({ length: WEEKS / 2 }, (_, i) => <span key={i}>{day(addDays(begin, i * 14))}</span>)}
        </div>
      </div>
    </div>
  );
}

function Legend({ events }: { events: EventRow[] }) {
  const counts = new Map<string, number>();
  for (const { category } of events) if (category) counts.set(category, (counts.get(category) ?? 0) + 1);
  const sorted = [...counts].sort((a, b) => b[1] - a[1]);
  return (
    <ul class="map-legend" aria-label="Colours">
      {sorted.map(([name, count]) => <li key={name}><Category name={name} /> <span class="faint num">{rounded(count)}</span></li>)}
      <li class="legend-precision">
        <svg viewBox="0 0 12 12" aria-hidden="true"><circle class="legend-dot" cx="6" cy="6" r="4" /></svg> venue
        <svg viewBox="0 0 12 12" aria-hidden="true"><circle class="legend-ring" cx="6" cy="6" r="4" /></svg> only the city
      </li>
    </ul>
  );
}
