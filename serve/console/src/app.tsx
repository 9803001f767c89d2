// The frame: the rail, the top line, the search, the keys. What it frames, the server says.

import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { access, SignIn, useAccess, Who } from "./access";
import { about, ApiError, get } from "./api";
import { connection, useConnection } from "./connection";
import { useData } from "./data";
import { discovery } from "./discovery";
import { clockTime, precise, span } from "./format";
import { jobs } from "./jobs";
import { followLinks, go, href, usePlace } from "./route";
import { Choice, Page, Search as Searching, Topology } from "./topology";
import { Empty, isTyping, Trouble, useTick } from "./ui";

function App({ topology }: { topology: Topology }) {
  const place = usePlace();
  const [keys, setKeys] = useState(false);
  const { pages } = topology;
  const [first] = pages;
  const page = pages.find((page) => page.page === place.page) ?? (place.page === "" ? first : undefined);
  useKeys(pages, () => setKeys(true));
  useEffect(() => {
    if (page && page.page !== place.page) go(href(page.page, place.query), true);
  }, [page, place]);
  useEffect(() => {
    document.title = `${page?.name ?? "Nothing here"} · Headwater`;
  }, [page]);
  const Shown = page?.component;
  const { round, session } = useAccess();
  const state = useConnection();
  useEffect(() => {
    if (!session && state !== "lost") void access.load();
  }, [state]);
  return (
    <div class="frame">
      <a class="skip" href="#content">Skip to the page</a>
      <nav class="rail" aria-label="Pages">
        <a class="brand" href={href(first.page)} aria-label={`Headwater, ${first.name}`}>
          <svg viewBox="0 0 20 20" aria-hidden="true"><path d="M2 6c2.7 0 2.7 2.4 5.3 2.400S10 6 12.7 6s2.6 2.4 5.3 2.400M2 11.600c2.7 0 2.7 2.4 5.3 2.400s2.7-2.4 5.4-2.4 2.6 2.4 5.3 2.4" /></svg>
          <span>Headwater</span>
        </a>
        <ul>
          {pages.map(({ page: to, name, long, icon, waiting }) => (
            <li key={to}>
              <a href={href(to)} aria-current={to === page?.page ? "page" : undefined}>
                <svg viewBox="0 0 16 16" aria-hidden="true"><path d={icon} /></svg>
                <span class="rail-name">{long && <span class="rail-long">{long}</span>}{long ? name.slice(long.length) : name}</span>
                {waiting && <Waiting {...waiting} />}
              </a>
            </li>
          ))}
        </ul>
        {topology.docs && <a class="rail-foot" href={topology.docs}>The API</a>}
      </nav>
      <header class="top">
        <Freshness topology={topology} />
        <Search search={topology.search} />
        <div class="top-actions">
          <Who />
          <Theme />
          <button type="button" class="icon" aria-label="Keys" title="Keys (?)" onClick={() => setKeys(true)}>?</button>
        </div>
      </header>
      <main id="content" tabIndex={-1}>
        {Shown ? (
          <Shown key={`${page?.page} ${round}`} place={place} />
        ) : (
          <Empty title="There is no such page">
            <p><a href={href(first.page)}>Go to {first.name}</a></p>
          </Empty>
        )}
      </main>
      {keys && <Keys more={topology.keys} docs={topology.docs} close={() => setKeys(false)} />}
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

/** `/` to search, `?` for help, `g` and a letter to go to a page. */
function useKeys(pages: Page[], help: () => void): void {
  useEffect(() => {
    let going = 0;
    const key = (event: KeyboardEvent) => {
      if (event.metaKey || event.ctrlKey || event.altKey || isTyping(event.target)) return;
      if (going && Date.now() - going < 1_500) {
        const page = pages.find((page) => page.key === event.key);
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
function Freshness({ topology: { about: About, age: ageOf, came: cameAt } }: { topology: Topology }) {
  const state = useConnection();
  const [topology, setTopology] = useState("");
  useTick(state === "live" ? 200 : 1_000);
  useEffect(() => {
    if (!topology && state !== "lost") about().then((about) => setTopology(about.topology), () => {});
  }, [state]);
  const age = ageOf();
  const came = cameAt();
  const fresh = age === null ? "" : age > 30_000 ? ` · nothing new for ${span(age)}` : ` · ${span(age)}`;
  const words = {
    connecting: ["waiting", "connecting"],
    starting: ["waiting", "reading the log"],
    locked: ["waiting", "not signed in"],
    lost: ["bad", `lost since ${clockTime(connection.since)}, trying again`],
    live: ["good", `live${fresh}`],
  }[state];
  const told = { connecting: "Connecting", starting: "The server is reading the log", locked: "Not signed in", lost: "The connection is lost", live: "Live" }[state];
  return (
    <div class="freshness">
      {topology && <strong class="topology" title="The topology">{topology}</strong>}
      {About && <About />}
      <span class={`state state-${words[0]}`} title={came === null ? undefined : `The newest commit came at ${clockTime(came)}`}>
        <span class="beacon" aria-hidden="true" />
        <span class="state-words">{words[1]}</span>
      </span>
      <span class="sr" role="status">{told}</span>
    </div>
  );
}

function Search({ search }: { search: Searching }) {
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
      search.find(typed, abort.signal).then(setFound, () => {});
    }, 120);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [typed, open]);

  const submit = () => {
    const text = typed.trim();
    go(found[at]?.to ?? search.all(text, place));
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
        placeholder={search.placeholder}
        aria-label={search.label}
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
];
const LAST_KEY: [string, string] = ["?", "These keys"];

function Keys({ more, docs, close }: { more: [string, string][]; docs: string | undefined; close: () => void }) {
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
          {[...KEYS, ...more, LAST_KEY].map(([key, what]) => (
            <div key={key}>
              <dt><kbd>{key}</kbd></dt>
              <dd>{what}</dd>
            </div>
          ))}
        </dl>
        <p class="note">
          {docs && <>The same data for programs: <a href={docs}>the API</a>. {" "}</>}
          <a href="/console/licences.txt" target="_blank" rel="noreferrer">Licences</a>
        </p>
      </div>
    </dialog>
  );
}

/** What the server serves. One that does not say is of events. */
async function served(): Promise<Topology> {
  const { topology } = (await (await get("/api")).json()) as { topology: string };
  return topology === "jobs" ? jobs : discovery;
}

const AGAIN_MS = 1_000;

async function begin(root: HTMLElement): Promise<void> {
  for (;;) {
    const topology = await served().catch((error: unknown) => {
      if (error instanceof ApiError && error.status >= 400 && error.status < 500) return discovery;
      render(<main><Trouble error={error} /></main>, root);
      return null;
    });
    if (topology) {
      topology.start();
      return render(<App topology={topology} />, root);
    }
    await new Promise((done) => setTimeout(done, AGAIN_MS));
  }
}

followLinks();
const root = document.getElementById("root");
if (root) void begin(root);
