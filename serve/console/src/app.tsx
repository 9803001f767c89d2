// The frame: the rail, the top line, the search, the keys.

import { ComponentType, render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { access, SignIn, useAccess, Who } from "./access";
import { about, LetterGroup, Status, suggest, Suggestions } from "./api";
import { useData } from "./data";
import { feed, useFeedState } from "./feed";
import { escapeValue } from "./filters";
import { clockTime, precise, span } from "./format";
import { EventsPage } from "./pages/events";
import { LettersPage, SUMMARY } from "./pages/letters";
import { LogPage } from "./pages/log";
import { MapPage } from "./pages/map";
import { NowPage, STATUS_PATH } from "./pages/now";
import { ReviewPage } from "./pages/review";
import { SourcesPage } from "./pages/sources";
import { followLinks, go, here, href, Place, usePlace } from "./route";
import { Empty, isTyping, useTick } from "./ui";

interface Page {
  page: string;
  name: string;
  /** The letter after `g`. */
  key: string;
  icon: string;
  component: ComponentType<{ place: Place }>;
  /** How much there waits for a person. */
  waiting?: { path: string; count(answer: never): number; what: string };
  /** The part of the name that a telephone has no room for. */
  long?: string;
}

/** The words of the rail. A page is added by a line here. */
const PAGES: Page[] = [
  { page: "", name: "Now", key: "n", icon: "M1.5 8.5h3l2-5 3.5 9 2-4h2.5", component: NowPage },
  { page: "events", name: "Events", key: "e", icon: "M2 4h12M2 8h12M2 12h8", component: EventsPage },
  { page: "map", name: "Map", key: "m", icon: "M8 14s4.5-4.2 4.5-7.6a4.5 4.5 0 0 0-9 0C3.5 9.8 8 14 8 14zM8 8a1.7 1.7 0 1 0 0-3.400A1.7 1.7 0 0 0 8 8z", component: MapPage },
  {
    page: "review", name: "Review", key: "r", icon: "M2 3.5h5v9H2zM9 3.5h5v9H9z", component: ReviewPage,
    waiting: { path: "/api/admin/review?limit=1", count: ({ total }: { total: number }) => total, what: "to review" },
  },
  { page: "sources", name: "Sources", key: "s", icon: "M3 3v3.5c0 2 5 2 5 4V13M8 3v10M13 3v3.5c0 2-5 2-5 4", component: SourcesPage },
  {
    page: "dead-letters", name: "Dead letters", long: "Dead ", key: "d", icon: "M2 4h12v8.5H2zM2 4.5l6 4.5 6-4.5", component: LettersPage,
    waiting: { path: SUMMARY, count: ({ groups }: { groups: LetterGroup[] }) => groups.reduce((all, group) => all + group.new, 0), what: "new" },
  },
  { page: "log", name: "Log", key: "l", icon: "M2.5 3.5h2M6.5 3.5h7M2.5 8h2M6.5 8h7M2.5 12.5h2M6.5 12.5h7", component: LogPage },
];

function App() {
  const place = usePlace();
  const [keys, setKeys] = useState(false);
  const page = PAGES.find((page) => page.page === place.page);
  useKeys(() => setKeys(true));
  useEffect(() => {
    document.title = `${page?.name ?? "Nothing here"} · Headwater`;
  }, [page]);
  const Shown = page?.component;
  const { round, session } = useAccess();
  const state = useFeedState();
  useEffect(() => {
    if (!session && state !== "lost") void access.load();
  }, [state]);
  return (
    <div class="frame">
      <a class="skip" href="#content">Skip to the page</a>
      <nav class="rail" aria-label="Pages">
        <a class="brand" href={href("")} aria-label="Headwater, Now">
          <svg viewBox="0 0 20 20" aria-hidden="true"><path d="M2 6c2.7 0 2.7 2.4 5.3 2.400S10 6 12.7 6s2.6 2.4 5.3 2.400M2 11.600c2.7 0 2.7 2.4 5.3 2.400s2.7-2.4 5.4-2.4 2.6 2.4 5.3 2.4" /></svg>
          <span>Headwater</span>
        </a>
        <ul>
          {PAGES.map(({ page, name, long, icon, waiting }) => (
            <li key={page}>
              <a href={href(page)} aria-current={page === place.page ? "page" : undefined}>
                <svg viewBox="0 0 16 16" aria-hidden="true"><path d={icon} /></svg>
                <span class="rail-name">{long && <span class="rail-long">{long}</span>}{long ? name.slice(long.length) : name}</span>
                {waiting && <Waiting {...waiting} />}
              </a>
            </li>
          ))}
        </ul>
        <a class="rail-foot" href="/docs">The API</a>
      </nav>
      <header class="top">
        <Freshness />
        <Search />
        <div class="top-actions">
          <Who />
          <Theme />
          <button type="button" class="icon" aria-label="Keys" title="Keys (?)" onClick={() => setKeys(true)}>?</button>
        </div>
      </header>
      <main id="content" tabIndex={-1}>
        {Shown ? (
          <Shown key={`${place.page} ${round}`} place={place} />
        ) : (
          <Empty title="There is no such page">
            <p><a href={href("")}>Go to Now</a></p>
          </Empty>
        )}
      </main>
      {keys && <Keys close={() => setKeys(false)} />}
      <SignIn />
    </div>
  );
}

/** A count where something waits for a person; nothing where nothing does, or where it may not be known. */
function Waiting({ path, count, what }: NonNullable<Page["waiting"]>) {
  const { session } = useAccess();
  const signedOut = session === null || (session.keysNeeded && session.name === null);
  const { data } = useData<never>(signedOut ? null : path, 15_000);
  const n = data ? count(data) : 0;
  if (n === 0) return null;
  return <span class="waiting-count" title={`${precise(n)} ${what}`}>{n > 99 ? "99+" : n}<span class="sr"> {what}</span></span>;
}

/** The log in a few words: its kind, and where it is. */
function logName(log: string): string {
  const [kind, rest] = log.split("://");
  return rest ? `${kind} ${kind === "embedded" ? (rest.split("/").at(-1) ?? "") : rest.split(",")[0]}` : log;
}

/** `/` to search, `?` for help, `g` and a letter to go to a page. */
function useKeys(help: () => void): void {
  useEffect(() => {
    let going = 0;
    const key = (event: KeyboardEvent) => {
      if (event.metaKey || event.ctrlKey || event.altKey || isTyping(event.target)) return;
      if (going && Date.now() - going < 1_500) {
        const page = PAGES.find((page) => page.key === event.key);
        going = 0;
        if (!page) return;
        go(href(page.page));
        // To the page that it leads away from the letter may say something else.
        event.preventDefault();
        event.stopImmediatePropagation();
      } else if (event.key === "/") {
        document.querySelector<HTMLInputElement>("#search")?.focus();
        event.preventDefault();
      } else if (event.key === "?") {
        help();
      } else {
        going = event.key === "g" ? Date.now() : 0;
      }
    };
    addEventListener("keydown", key, true);
    return () => removeEventListener("keydown", key, true);
  }, []);
}

/** Which topology, how far it is, and how old what is shown. */
function Freshness() {
  const state = useFeedState();
  const [topology, setTopology] = useState("");
  useTick(state === "live" ? 200 : 1_000);
  useEffect(() => {
    if (!topology && state !== "lost") about().then((about) => setTopology(about.topology), () => {});
  }, [state]);
  const { data: status } = useData<Status>(STATUS_PATH, 10_000);
  const age = feed.age();
  const fresh = age === null ? "" : age > 30_000 ? ` · nothing new for ${span(age)}` : ` · ${span(age)}`;
  const words = {
    connecting: ["waiting", "connecting"],
    starting: ["waiting", "reading the log"],
    locked: ["waiting", "not signed in"],
    lost: ["bad", `lost since ${clockTime(feed.since)}, trying again`],
    live: ["good", `live${fresh}`],
  }[state];
  const told = { connecting: "Connecting", starting: "The server is reading the log", locked: "Not signed in", lost: "The connection is lost", live: "Live" }[state];
  return (
    <div class="freshness">
      {topology && <strong class="topology" title="The topology">{topology}</strong>}
      {status?.log && <span class="log-name faint" title={`The log: ${status.log}`}>{logName(status.log)}</span>}
      {feed.position && (
        <span class="position faint" title={`The commit that is shown: position ${feed.position}`}>
          commit {precise(feed.commit)}
        </span>
      )}
      <span class={`state state-${words[0]}`} title={feed.came === null ? undefined : `The newest commit came at ${clockTime(feed.came)}`}>
        <span class="beacon" aria-hidden="true" />
        <span class="state-words">{words[1]}</span>
      </span>
      <span class="sr" role="status">{told}</span>
    </div>
  );
}

interface Choice {
  kind: string;
  text: string;
  count?: number;
  to: string;
}

function choices(found: Suggestions): Choice[] {
  const filter = (key: string, value: string) => href("events", new URLSearchParams([[key, value]]));
  return [
    ...found.events.map(({ id, title }) => ({ kind: "Event", text: title, to: href("events", new URLSearchParams({ when: "all", event: id })) })),
    ...found.cities.map(({ text, count }) => ({ kind: "City", text, count, to: filter("city", escapeValue(text)) })),
    ...found.categories.map(({ text, count }) => ({ kind: "Category", text, count, to: filter("category", escapeValue(text)) })),
    ...found.tags.map(({ text, count }) => ({ kind: "Tag", text, count, to: filter("tag", escapeValue(text)) })),
  ].slice(0, 12);
}

const EVENT_ID = /^[0-9a-f]{32}$/;

function Search() {
  const place = usePlace();
  const input = useRef<HTMLInputElement>(null);
  const [typed, setTyped] = useState(place.query.get("q") ?? "");
  const [found, setFound] = useState<Choice[]>([]);
  const [at, setAt] = useState(-1);
  const [open, setOpen] = useState(false);
  useEffect(() => setTyped(place.query.get("q") ?? ""), [place.query.get("q"), place.page]);
  useEffect(() => {
    setAt(-1);
    if (!open || !/[\p{L}\p{N}]/u.test(typed)) return setFound([]);
    const abort = new AbortController();
    const timer = setTimeout(() => {
      suggest(typed, abort.signal).then((found) => setFound(choices(found)), () => {});
    }, 120);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [typed, open]);

  const submit = () => {
    const text = typed.trim();
    if (at >= 0 && found[at]) go(found[at].to);
    else if (EVENT_ID.test(text)) go(href("events", new URLSearchParams({ when: "all", event: text })));
    else {
      // The filters of the list and the map stay.
      const onto = place.page === "map" ? "map" : "events";
      const query = place.page === onto ? new URLSearchParams(here().query) : new URLSearchParams();
      query.delete("event");
      if (text) query.set("q", text);
      else query.delete("q");
      go(href(onto, query));
    }
    setOpen(false);
    input.current?.blur();
  };
  const key = (event: KeyboardEvent) => {
    if (event.key === "Enter") submit();
    else if (event.key === "Escape") {
      if (open && found.length) setOpen(false);
      else input.current?.blur();
      event.stopPropagation();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const n = found.length + 1;
      setAt(((at + 1 + (event.key === "ArrowDown" ? 1 : -1) + n) % n) - 1);
    } else return;
    event.preventDefault();
  };
  const shown = open && found.length > 0;
  return (
    <div class="search" role="search">
      <svg viewBox="0 0 16 16" aria-hidden="true"><path d="M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10zM10.6 10.6 14 14" /></svg>
      <input
        id="search"
        ref={input}
        type="text"
        role="combobox"
        autocomplete="off"
        spellcheck={false}
        placeholder="Search events, places, tags, ids"
        aria-label="Search events, places, tags and event ids"
        aria-expanded={shown}
        aria-controls="suggestions"
        aria-autocomplete="list"
        aria-activedescendant={at >= 0 ? `suggestion-${at}` : undefined}
        value={typed}
        onInput={(event) => {
          setTyped(event.currentTarget.value);
          setOpen(true);
        }}
        onFocus={() => setOpen(true)}
        onBlur={() => setTimeout(() => setOpen(false), 150)}
        onKeyDown={key}
      />
      <kbd aria-hidden="true">/</kbd>
      <ul id="suggestions" role="listbox" aria-label="Suggestions" hidden={!shown}>
        {found.map((choice, i) => (
          <li
            key={choice.to}
            id={`suggestion-${i}`}
            role="option"
            aria-selected={i === at}
            onPointerDown={(event) => {
              event.preventDefault();
              go(choice.to);
              setOpen(false);
              input.current?.blur();
            }}
          >
            <span class="faint">{choice.kind}</span>
            <span class="suggestion-text">{choice.text}</span>
            {choice.count !== undefined && <span class="faint num">{choice.count}</span>}
          </li>
        ))}
      </ul>
    </div>
  );
}

const THEMES = ["auto", "light", "dark"] as const;
const THEME_NAMES = { auto: "as the system", light: "light", dark: "dark" };
const THEME_ICONS = {
  auto: "M8 2a6 6 0 1 0 0 12zM8 2a6 6 0 0 1 0 12",
  light: "M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM8 1v1.500M8 13.500V15M1 8h1.500M13.5 8H15M3 3l1.1 1.100M11.9 11.9 13 13M13 3l-1.1 1.100M4.1 11.9 3 13",
  dark: "M13.5 9.500A6 6 0 0 1 6.5 2.500a6 6 0 1 0 7 7z",
};

function Theme() {
  const [theme, setTheme] = useState<(typeof THEMES)[number]>(() => THEMES.find((theme) => theme === document.documentElement.dataset.theme) ?? "auto");
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  const change = () => {
    setTheme(next);
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      if (next === "auto") localStorage.removeItem("theme");
      else localStorage.setItem("theme", next);
    } catch {
      // It holds until the page is closed.
    }
    dispatchEvent(new Event("themechange"));
  };
  const label = `Theme: ${THEME_NAMES[theme]}. Change to ${THEME_NAMES[next]}`;
  return (
    <button type="button" class="icon" aria-label={label} title={label} onClick={change}>
      <svg viewBox="0 0 16 16" aria-hidden="true"><path class={theme === "auto" ? "half" : undefined} d={THEME_ICONS[theme]} /></svg>
    </button>
  );
}

const KEYS: [string, string][] = [
  ["/", "Search"],
  ["j  k", "Next and previous row of a list"],
  ["Enter", "Open the row"],
  ["Esc", "Close what is open"],
  ["s  d", "Review: the same, different"],
  ["space  u", "Review: skip, undo"],
  ["g then n, e, m", "Go to Now, Events, Map"],
  ["g then r, s, d, l", "Go to Review, Sources, Dead letters, Log"],
  ["arrows, +  −", "Move and zoom the map, when it has the focus"],
  ["?", "These keys"],
];

function Keys({ close }: { close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} class="keys" aria-labelledby="keys" onClose={close} onClick={(event) => event.target === dialog.current && dialog.current?.close()}>
      <div class="keys-body">
        <header class="section-head">
          <h2 id="keys">Keys</h2>
          <button type="button" class="close" aria-label="Close" onClick={() => dialog.current?.close()}>×</button>
        </header>
        <dl>
          {KEYS.map(([key, what]) => (
            <div key={key}>
              <dt><kbd>{key}</kbd></dt>
              <dd>{what}</dd>
            </div>
          ))}
        </dl>
        <p class="note">
          The same data for programs: <a href="/docs">the API</a>. {" "}
          <a href="/console/licences.txt" target="_blank" rel="noreferrer">Licences</a>
        </p>
      </div>
    </dialog>
  );
}

followLinks();
feed.start();
const root = document.getElementById("root");
if (root) render(<App />, root);
