// The console of a server of events.

import { Status, suggest, Suggestions, LetterGroup } from "./api";
import { useData } from "./data";
import { feed } from "./feed";
import { escapeValue } from "./filters";
import { precise } from "./format";
import { EventsPage } from "./pages/events";
import { LettersPage, SUMMARY } from "./pages/letters";
import { LogPage } from "./pages/log";
import { MapPage } from "./pages/map";
import { NowPage, STATUS_PATH } from "./pages/now";
import { ReviewPage } from "./pages/review";
import { SourcesPage } from "./pages/sources";
import { here, href, Place } from "./route";
import { Choice, Page, Topology } from "./topology";

/** A page is added by a line here. */
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

/** The log in a few words: its kind, and where it is. */
function logName(log: string): string {
  const [kind, rest] = log.split("://");
  return rest ? `${kind} ${kind === "embedded" ? (rest.split("/").at(-1) ?? "") : rest.split(",")[0]}` : log;
}

/** Which log, and how far. */
function LogPosition() {
  const { data: status } = useData<Status>(STATUS_PATH, 10_000);
  return (
    <>
      {status?.log && <span class="log-name faint" title={`The log: ${status.log}`}>{logName(status.log)}</span>}
      {feed.position && (
        <span class="position faint" title={`The commit that is shown: position ${feed.position}`}>
          commit {precise(feed.commit)}
        </span>
      )}
    </>
  );
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

function all(text: string, place: Place): string {
  if (EVENT_ID.test(text)) return href("events", new URLSearchParams({ when: "all", event: text }));
  // The filters of the list and the map stay.
  const onto = place.page === "map" ? "map" : "events";
  const query = place.page === onto ? new URLSearchParams(here().query) : new URLSearchParams();
  query.delete("event");
  if (text) query.set("q", text);
  else query.delete("q");
  return href(onto, query);
}

export const discovery: Topology = {
  pages: PAGES,
  search: {
    placeholder: "Search events, places, tags, ids",
    label: "Search events, places, tags and event ids",
    find: async (typed, signal) => choices(await suggest(typed, signal)),
    all,
  },
  keys: [
    ["s  d", "Review: the same, different"],
    ["space  u", "Review: skip, undo"],
    ["g then n, e, m", "Go to Now, Events, Map"],
    ["g then r, s, d, l", "Go to Review, Sources, Dead letters, Log"],
    ["arrows, +  −", "Move and zoom the map, when it has the focus"],
  ],
  docs: "/docs",
  start: () => feed.start(),
  about: LogPosition,
  age: () => feed.age(),
  came: () => feed.came,
};
