// <headwater-events>: a live list of events for any page.
//
//   <script type="module" src="https://events.example.org/headwater-events.js"></script>
//   <headwater-events query="city=Melbourne&category=music" limit="5"></headwater-events>
//
// `query`   filters, as /api/events takes them; without a time: what is not over today
// `limit`   the most events (default 10)
// `server`  where the API is (default: where this file came from)
// Colours and fonts are those of the page; --headwater-accent and --headwater-line change two of them.

interface Item {
  id: string;
  title: string;
  startTime: string;
  urls?: string[];
  status: string | null;
  venue: { name: string | null; city: string | null } | null;
}

const FIELDS = "id,title,startTime,urls,status,venue";
const HOME = new URL(import.meta.url).origin;

const STYLE = `
:host { display: block; container-type: inline-size; font-variant-numeric: tabular-nums; line-height: 1.4 }
ol { list-style: none; margin: 0; padding: 0 }
li { display: grid; grid-template-columns: 9em 1fr; gap: 0 1em; padding: 0.6em 0; border-top: 1px solid var(--headwater-line, color-mix(in srgb, currentColor 16%, transparent)) }
li:first-child { border-top: 0 }
a { color: var(--headwater-accent, inherit); text-decoration-thickness: 1px; text-underline-offset: 0.2em }
.where, .state, p { opacity: 0.78 }
.where { display: block; font-size: 0.875em }
.state { font-weight: 600 }
p { margin: 0.6em 0 }
@container (max-width: 26em) { li { grid-template-columns: 1fr } }
`;

const STATUS: Record<string, string> = {
  soldOut: "Sold out", tentative: "Tentative", rescheduled: "New date", movedOnline: "Moved online", postponed: "Postponed", cancelled: "Cancelled",
};

class HeadwaterEvents extends HTMLElement {
  static readonly observedAttributes = ["query", "limit", "server"];
  private stream: EventSource | null = null;
  private timer = 0;
  private abort: AbortController | null = null;
  private readonly list = document.createElement("ol");
  private readonly note = document.createElement("p");

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    // Unlike a style element this is allowed by every Content-Security-Policy.
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];
    this.note.setAttribute("role", "status");
    this.note.textContent = "Loading events…";
    root.append(this.list, this.note);
  }

  connectedCallback(): void {
    this.start();
  }

  disconnectedCallback(): void {
    this.stop();
  }

  attributeChangedCallback(): void {
    if (this.isConnected) this.start();
  }

  private stop(): void {
    this.stream?.close();
    this.abort?.abort();
    clearTimeout(this.timer);
    this.stream = null;
    this.timer = 0;
  }

  private address(path: string, more: Record<string, string>): string {
    const query = new URLSearchParams(this.getAttribute("query") ?? "");
    if (!query.has("startDate") && !query.has("endDate")) query.set("startDate", localDay());
    for (const [key, value] of Object.entries(more)) query.set(key, value);
    return `${this.getAttribute("server") ?? HOME}${path}?${query}`;
  }

  private start(): void {
    this.stop();
    void this.load();
    this.stream = new EventSource(this.address("/api/events/live", { snapshot: "false", fields: "id" }));
    const changed = () => {
      this.timer ||= window.setTimeout(() => void this.load(), 1_000);
    };
    // A server that is not ready ends the stream for good.
    this.stream.onerror = () => {
      if (this.stream?.readyState === EventSource.CLOSED && !this.timer) this.timer = window.setTimeout(() => this.start(), 5_000);
    };
    for (const kind of ["enter", "update", "leave", "reset", "live"]) this.stream.addEventListener(kind, changed);
  }

  private async load(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = 0;
    this.abort?.abort();
    const abort = new AbortController();
    this.abort = abort;
    try {
      const address = this.address("/api/events", { fields: FIELDS, limit: this.getAttribute("limit") ?? "10", sort: "start" });
      const response = await fetch(address, { signal: abort.signal });
      const body = await response.json();
      if (!response.ok) throw new Error(body.detail);
      this.show(body.events);
    } catch (error) {
      if (abort.signal.aborted) return;
      // What is shown stays; the stream comes back by itself, and the list with it.
      if (!this.list.childElementCount) this.say("Events cannot be shown now.");
      console.warn("headwater-events:", error);
    }
  }

  private say(text: string): void {
    this.note.textContent = text;
    this.note.hidden = text === "";
  }

  private show(events: Item[]): void {
    this.say(events.length ? "" : "No events.");
    this.list.replaceChildren(...events.map((event) => this.item(event)));
    this.dispatchEvent(new CustomEvent("headwater-events", { detail: { events } }));
  }

  private item(event: Item): HTMLLIElement {
    const item = document.createElement("li");
    const time = document.createElement("time");
    time.dateTime = event.startTime;
    time.textContent = localTime(event.startTime, this.lang || document.documentElement.lang || undefined);
    const what = document.createElement("span");
    const url = event.urls?.find((url) => /^https?:/i.test(url));
    const title = document.createElement(url ? "a" : "span");
    if (url && title instanceof HTMLAnchorElement) title.href = url;
    title.textContent = event.title;
    what.append(title);
    if (event.status && STATUS[event.status]) {
      const state = document.createElement("span");
      state.className = "state";
      state.textContent = ` ${STATUS[event.status]}`;
      what.append(state);
    }
    const where = document.createElement("span");
    where.className = "where";
    where.textContent = [event.venue?.name, event.venue?.city].filter(Boolean).join(", ");
    what.append(where);
    item.append(time, what);
    return item;
  }
}

/** In the event's own zone: its day and clock are in the text. */
function localTime(time: string, language?: string): string {
  const at = new Date(`${time.slice(0, 10)}T${time.length > 10 ? time.slice(11, 16) : "00:00"}:00Z`);
  const day: Intl.DateTimeFormatOptions = { weekday: "short", day: "numeric", month: "short", timeZone: "UTC" };
  const clock: Intl.DateTimeFormatOptions = time.length > 10 ? { hour: "2-digit", minute: "2-digit" } : {};
  return new Intl.DateTimeFormat(language, { ...day, ...clock }).format(at);
}

function localDay(): string {
  const now = new Date();
  return new Date(now.getTime() - now.getTimezoneOffset() * 60_000).toISOString().slice(0, 10);
}

if (!customElements.get("headwater-events")) customElements.define("headwater-events", HeadwaterEvents);
