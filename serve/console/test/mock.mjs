// A server of made-up data that answers what the console asks for, for work on its pages (dev.mjs --mock) and their
// tests. It always begins the same, and changes as the real one would when it is written to. With an engine it passes
// what it does not make up on to that: /api/events* and the rest.

import { request } from "node:http";
import { MadeUp } from "./server.mjs";

const HOUR = 3_600_000;

const CITIES = [
  ["Fernhaven", "NZ", -41.28, 174.77, "Pacific/Auckland", "+13:00"],
  ["Kestrel Bay", "IE", 53.27, -9.05, "Europe/Dublin", "+00:00"],
];
const SHOWS = [
  ["Lantern Choir at Dusk", "Music", "Saltmarsh Hall", 0],
  ["Pottery for Two Hands", "Classes", "Kiln Street Studio", 1],
  ["The Glass Lighthouse", "Theatre", "Harbour Playhouse", 1],
  ["Night Market of the Old Quay", "Markets", "Old Quay", 0],
  ["Cartographers' Supper", "Food & Drink", "The Compass Room", 1],
  ["Low Tide Jazz", "Music", "Saltmarsh Hall", 0],
  ["Open Ink: Printmaking Weekend", "Arts & Exhibitions", "Copperplate House", 1],
  ["Fernhaven Half Marathon", "Sports", "Foreshore", 0],
  ["Letters to a Small Island", "Talks & Literature", "Public Library", 1],
  ["Kite Day", "Family", "Gull Common", 0],
];
const SOURCES = ["city-guide", "ticket-office", "harbour-arts", "meetup", "old-town-radio"];
const TITLES = [(title) => title, (title) => `${title} (tickets)`, (title) => title.toUpperCase(), (title) => `Meetup: ${title}`, (title) => title];

const id = (n, of) => {
  let text = "";
  for (let k = 0; text.length < 32; k++) text += ((Math.imul(n + 1, 2654435761) ^ Math.imul(k + of, 40503)) >>> 0).toString(16).padStart(8, "0");
  return text.slice(0, 32);
};
const nameOf = (listing) => `${listing.source}/${listing.externalId}`;
const pairOf = (a, b) => [a, b].sort().join(" ");

export class Mock extends MadeUp {
  constructor({ key = null, replica = false, empty = false, engine = null, now = Date.now() } = {}) {
    super("discovery", key);
    Object.assign(this, { replica, empty, engine, began: now, commit: 4711, scopes: ["read", "ops", "decide", "replay", "admin"], guests: ["read"] });
    this.streams = new Set();
    this.decisions = new Map();
    /** What editors said, by event. */
    this.moderations = new Map();
    this.redirects = new Map();
    this.listings = new Map();
    this.links = [];
    if (!empty) this.fill();
    this.letters = empty ? [] : this.makeLetters();
    this.topics = this.makeTopics();
    this.events = this.resolve();
  }

  ago(ms) {
    return new Date(this.began - ms).toISOString();
  }

  fill() {
    SHOWS.forEach(([title, category, venue, at], n) => {
      const [city, country, latitude, longitude, timezone, offset] = CITIES[at];
      const date = new Date(this.began + (n + 1) * 30 * HOUR).toISOString().slice(0, 10);
      const parts = n % 4 === 3 ? 1 : 2 + (n % 2);
      for (let part = 0; part < parts; part++) {
        const source = SOURCES[(n + part) % SOURCES.length];
        const externalId = `${source.slice(0, 2)}-${1000 + n * 7 + part}`;
        const listing = {
          source, externalId,
          title: TITLES[part](title),
          description: `${title} comes to ${venue}. Doors open ${part ? "at half past six" : "at six"}, and the evening ends before the last tram.${part ? " Please bring your own cup." : ""}`,
          category, sourceCategories: [category], tags: part ? ["evening"] : [],
          start: `${date}T${part && n % 3 === 0 ? "19:30" : "19:00"}:00${offset}`,
          end: part ? null : `${date}T22:00:00${offset}`,
          timezone,
          venue: {
            name: part ? `${venue}, Main Room` : venue, address: `${12 + n} Ferry Road`, city, region: null, postalCode: null, country,
            latitude: latitude + n / 500, longitude: longitude + n / 400, geoPrecision: "venue", geoProvenance: "source",
          },
          online: false,
          organizer: n % 2 ? { name: "Ferry Road Collective", url: null } : null,
          pricing: part ? { min: 12, max: 18, currency: "EUR", free: null } : null,
          capacity: null, images: [], urls: [`https://www.${source}.example/${externalId}`], status: "scheduled",
        };
        const record = {
          id: id(n * 10 + part, 3), firstSeen: this.ago(5 * HOUR), updatedAt: this.ago(HOUR), listing,
          claims: [{ version: { partition: part, offset: 40 + n }, updatedAt: this.ago(HOUR) }],
        };
        this.listings.set(nameOf(listing), { group: n, record });
      }
    });
  }

  /** What the engine does, much simplified: a group for each show, and people's decisions over it. */
  resolve() {
    const names = [...this.listings.keys()];
    const apart = (a, b) => this.decisions.get(pairOf(a, b))?.say === "different";
    const groups = [];
    for (const name of names) {
      const { group } = this.listings.get(name);
      const fitting = groups.find((one) => one.group === group && !one.names.some((other) => apart(other, name)));
      if (fitting) fitting.names.push(name);
      else groups.push({ group, names: [name] });
    }
    for (const { say, a, b } of this.decisions.values()) {
      if (say !== "same" || !this.listings.has(a) || !this.listings.has(b)) continue;
      const [x, y] = [a, b].map((name) => groups.find((one) => one.names.includes(name)));
      if (x === y) continue;
      x.names.push(...y.names);
      groups.splice(groups.indexOf(y), 1);
    }
    return new Map(groups.map(({ names }) => {
      const first = this.listings.get(names[0]);
      const own = id(names.length === 1 ? [...this.listings.keys()].indexOf(names[0]) + 500 : first.group, 7);
      return [own, this.event(own, names)];
    }));
  }

  link(names, i) {
    if (names.length < 2) return { similarity: 1, via: null, contributions: [], decisions: this.reports(names[i]) };
    const [own, other] = [names[i], names[i === 0 ? 1 : 0]];
    const { group } = this.listings.get(own);
    const decided = this.decisions.get(pairOf(own, other))?.say === "same" || group !== this.listings.get(other).group;
    const title = Math.round((1.2 + group * 0.45) * 1000) / 1000;
    const contributions = decided
      ? [{ field: "decision", points: 20 }]
      : [{ field: "base", points: -4.002 }, { field: "title", points: title }, { field: "time", points: group % 3 === 0 ? 0.4 : 2.099 }, { field: "place", points: 2.6 }, { field: "url", points: -0.01 }];
    const sum = contributions.reduce((all, { points }) => all + points, 0);
    const { listing, id: listingId } = this.listings.get(other).record;
    return {
      similarity: Math.round(10_000 / (1 + Math.exp(-sum))) / 10_000,
      via: { source: listing.source, externalId: listing.externalId, listing: listingId },
      contributions, decisions: this.reports(own),
    };
  }

  event(own, names) {
    const members = names.map((name, i) => {
      const { record } = this.listings.get(name);
      return { source: record.listing.source, externalId: record.listing.externalId, listing: record, link: this.link(names, i) };
    });
    const { listing } = members[0].listing;
    return {
      id: own, title: listing.title, description: listing.description, category: listing.category, tags: ["evening"],
      startTime: listing.start, endTime: listing.end, timezone: listing.timezone, allDay: false, venue: listing.venue, online: false,
      organizer: listing.organizer, pricing: members.at(-1).listing.listing.pricing, capacity: null, images: [],
      urls: members.flatMap((member) => member.listing.listing.urls), status: "scheduled",
      listings: members.map(({ source, externalId, link }) => ({ source, externalId, url: null, similarity: link.similarity })),
      fieldSources: { title: 0, startTime: 0, endTime: 0, venue: 0, description: 0, category: 0, organizer: 0, pricing: members.length - 1 },
      firstSeen: this.ago(2 * HOUR), updatedAt: this.ago(60_000), qualityScore: 0.94, qualityGrade: "ABC"[names.length % 3], gates: [], members,
      ...(this.moderations.has(own) && { moderation: this.moderations.get(own) }),
    };
  }

  row({ id, title, category, startTime, endTime, timezone, allDay, venue, online, status, listings, qualityGrade, firstSeen, updatedAt }) {
    return { id, title, category, startTime, endTime, timezone, allDay, venue, online, status, listings, qualityGrade, firstSeen, updatedAt };
  }

  named(name) {
    const [source, ...rest] = name.split("/");
    return { source, externalId: rest.join("/") };
  }

  report({ say, a, b, why, at }) {
    const missing = [a, b].filter((name) => !this.listings.has(name)).map((name) => this.named(name));
    return {
      decision: { [say]: { a: this.named(a), b: this.named(b), who: "kim", why, at } },
      state: missing.length ? "waits" : "holds", missing, overruledBy: [],
    };
  }

  reports(name) {
    return [...this.decisions.values()].filter(({ a, b }) => a === name || b === name).map((one) => this.report(one));
  }

  /** After a decision: what changes goes out on the streams, as a commit. */
  follow() {
    const before = this.events;
    this.events = this.resolve();
    this.commit += 1;
    for (const [own, event] of this.events) {
      const known = before.get(own);
      if (known && known.moderation === event.moderation && JSON.stringify(known.members) === JSON.stringify(event.members)) continue;
      this.redirects.delete(own);
      if (event.moderation === "rejected") {
        if (known?.moderation !== "rejected") this.tell("leave", { id: own });
        continue;
      }
      this.tell(known && known.moderation !== "rejected" ? "update" : "enter", this.row({ ...event, updatedAt: new Date().toISOString() }));
    }
    for (const [own, { members }] of before) {
      if (this.events.has(own)) continue;
      const to = [...this.events.values()].find((event) => event.members.some((member) => nameOf(member) === nameOf(members[0])));
      if (to) this.redirects.set(own, to.id);
      this.tell("leave", { id: own, ...(to && { redirectTo: to.id }) });
    }
  }

  position() {
    return `5f3a09c1-${this.commit}`;
  }

  tell(name, data) {
    for (const stream of this.streams) stream.write(`event: ${name}\nid: ${this.position()}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  makeLetters() {
    const made = [];
    const add = (code, source, reason, value, more = {}) => {
      const n = made.length;
      made.push({
        id: `${n % 2}/${1000 + n}`, state: "new", written: this.ago(n * 11 * 60_000 + 30_000), code, reason, source,
        contentType: "application/json", part: null, excerpt: false, attempts: 0, topic: "mock.raw.events", partition: n % 2, offset: 9 + n,
        timestamp: this.ago(n * 11 * 60_000 + 31_000), key: `${source ?? "?"}-${n}`, bytes: Buffer.byteLength(value.base64 ? Buffer.from(value.base64, "base64") : value),
        headers: { source: source ?? "", "content-type": "application/json" }, value, ...more,
      });
    };
    for (let n = 0; n < 6; n++) {
      add("invalid-field", "ticket-office", "start: “next Tuesday, eightish” is not a time",
        JSON.stringify({ events: [{ name: "Low Tide Jazz", start: "2026-12-04T19:00:00Z" }, { name: `Kite Day ${n}`, start: "next Tuesday, eightish" }] }),
        { part: "/events/1", ...(n > 3 && { state: "replayed" }) });
    }
    for (let n = 0; n < 3; n++) add("malformed", "old-town-radio", "expected `,` or `}` at line 3 column 12", `{\n  "title": "Night Market",\n  "venue" "Old Quay"\n}\n`, { offset: 200 + n });
    add("malformed", "old-town-radio", "not UTF-8", { base64: Buffer.from("89504e470d0a1a0a0000000d49484452ff00fe41424344", "hex").toString("base64") });
    add("unknown-source", null, "no source is named “pigeon-post”", `{"title":"Doves at Noon"}`, { state: "parked", attempts: 5 });
    return made;
  }

  summary() {
    const hints = {
      "invalid-field": "Change the mapping, date_formats or timezone of the source, then replay.",
      malformed: "The source sends something else than its format says. Ask it, or change its format.",
      "unknown-source": "Add [sources.NAME] to the configuration, or the source of the input.",
    };
    const groups = new Map();
    for (const letter of this.letters) {
      const key = `${letter.code} ${letter.source}`;
      const group = groups.get(key) ?? { code: letter.code, source: letter.source, letters: 0, new: 0, replayed: 0, parked: 0, first: letter.written, last: letter.written, example: letter.id, hint: hints[letter.code] };
      group.letters += 1;
      group[letter.state] += 1;
      if (letter.written < group.first) group.first = letter.written;
      if (letter.written > group.last) group.last = letter.written;
      groups.set(key, group);
    }
    return { groups: [...groups.values()] };
  }

  makeTopics() {
    const raw = [0, 1].map((partition) =>
      Array.from({ length: this.empty ? 0 : 120 }, (_, n) => {
        const [title, category, venue] = SHOWS[(n + partition) % SHOWS.length];
        const value = n % 40 === 39 ? { base64: Buffer.from([0xff, 0xfe, 0, n, 0x48, 0x69]).toString("base64") } : JSON.stringify({ title, category, venue: { name: venue, rooms: ["main", "small"] }, price: n % 3 ? n : null });
        const source = SOURCES[n % SOURCES.length];
        return {
          topic: "mock.raw.events", partition, offset: 30 + n, timestamp: this.ago((120 - n) * 20_000), key: `${source}/${n % 12}`,
          headers: { source, "content-type": "application/json" }, value, bytes: value.base64 ? 6 : value.length,
        };
      }),
    );
    const records = { "mock.raw.events": raw, "mock.events": [[]], "mock.decisions": [[]] };
    if (!this.empty) records["mock.events"] = [SHOWS.map(([title], n) => ({ topic: "mock.events", partition: 0, offset: n, timestamp: this.ago(HOUR), key: id(n, 7), headers: {}, value: JSON.stringify({ title }), bytes: 40 }))];
    return records;
  }

  records(name, query) {
    const all = this.topics[name];
    const limit = Number(query.get("limit") ?? 50);
    const contains = query.get("contains");
    const holds = (record) => !contains || JSON.stringify([record.key, record.value]).includes(contains);
    if (query.has("key")) {
      const found = all.flat().filter((record) => record.key === query.get("key") && holds(record));
      return { records: found.slice(-limit), next: null, scanned: all.flat().length, complete: true };
    }
    const partition = Number(query.get("partition") ?? 0);
    const here = all[partition] ?? [];
    const asked = Number(query.get("offset") ?? -50);
    const first = here[0]?.offset ?? 0;
    const from = asked < 0 ? Math.max(first, first + here.length + asked) : asked;
    const later = here.filter((record) => (query.has("since") ? record.timestamp >= query.get("since") : record.offset >= from));
    const found = later.filter(holds).slice(0, limit);
    const last = found.at(-1);
    const end = first + here.length;
    const next = last && last.offset + 1 < end && found.length === limit ? { partition, offset: last.offset + 1 } : null;
    return { records: found, next, scanned: later.length, complete: true };
  }

  status() {
    const stages = [["read", 51.2, 0.04], ["extract", 50.1, 0.12], ["geocode", 50.1, 0.03], ["resolve", 49.8, 0.41], ["score", 38.5, 0.06]];
    return {
      topology: "quickstart", version: "0.1.0", log: "embedded:///var/lib/headwater/log.db", position: this.position(), committedAt: new Date().toISOString(),
      engine: this.replica ? null : {
        phase: "running", reason: null, workers: 2, recordsPerSecond: 51.2, lagRecords: 0, lagSeconds: 0.2, pausedShare: 0,
        stages: stages.map(([stage, recordsPerSecond, busyShare]) => ({ stage, recordsPerSecond, busyShare })), bottleneck: "resolve",
        deadLetters: this.letters.length,
      },
      sources: this.empty ? 0 : SOURCES.length, listings: this.listings.size, events: this.events.size,
    };
  }

  metrics(query) {
    const step = 10;
    const points = { "5m": 30, "15m": 90, "1h": 360 }[query.get("timeframe") ?? "1h"];
    const wave = (base, swing, n) => Math.max(0, base + swing * Math.sin(n / 23) + (((n * 7919) % 13) - 6) * swing * 0.06);
    const series = (make) => Array.from({ length: points }, (_, i) => (points === 360 && i < 40 ? null : Math.round(make(360 - points + i) * 100) / 100));
    return {
      stepSeconds: step, until: new Date().toISOString(),
      series: {
        recordsPerSecond: series((n) => wave(50, 12, n)), lagSeconds: series((n) => (n > 200 && n < 216 ? 4.2 : wave(0.2, 0.1, n))), events: series((n) => 2000 + n * 3.6),
        listings: series((n) => 3000 + n * 5), deadLetters: series((n) => Math.floor(n / 90) * 3), commitSeconds: series((n) => wave(0.1, 0.04, n)),
      },
    };
  }

  sources() {
    return {
      sources: this.empty ? [] : SOURCES.map((source, n) => {
        const own = [...this.events.values()].filter((event) => event.listings.some((one) => one.source === source));
        const letters = this.letters.filter((letter) => letter.source === source);
        return {
          source, listings: [...this.listings.values()].filter(({ record }) => record.listing.source === source).length * (n === 0 ? 311 : 1),
          events: own.length, sharedEvents: own.filter((event) => event.listings.length > 1).length, ownDuplicates: n === 1 ? 4 : 0,
          grades: Object.fromEntries(["A", "B", "C", "D"].map((grade, k) => [grade, (n + 2) * (4 - k) * (k === 3 ? 0 : 1)])),
          records: this.replica ? null : 400 + n * 77, deadLetters: letters.length, newDeadLetters: letters.filter((letter) => letter.state === "new").length,
          lastRecordAt: n === 3 ? this.ago(9 * HOUR) : this.ago(1_000 + n * 40_000),
          newListings: Array.from({ length: 24 }, (_, hour) => (n === 3 && hour > 14 ? 0 : n === 2 && hour > 17 ? 3 : 12 + ((hour * (n + 3)) % 9))),
          gaps: n === 2 ? {} : { endTime: 0.78 - n * 0.1, coordinates: n * 0.05, price: 0.3, image: n === 4 ? 1 : 0.004, description: 0 },
        };
      }),
    };
  }

  review() {
    const pairs = [];
    for (const event of this.events.values()) {
      const seen = new Set();
      for (const member of event.members) {
        const { link } = member;
        if (!link.via) continue;
        const key = pairOf(nameOf(member), nameOf(link.via));
        if (seen.has(key) || this.decisions.has(key)) continue;
        seen.add(key);
        const b = event.members.find((other) => nameOf(other) === nameOf(link.via));
        pairs.push({ similarity: link.similarity, event: event.id, a: member, b, contributions: link.contributions });
      }
    }
    pairs.sort((x, y) => x.similarity - y.similarity);
    return { pairs: pairs.slice(0, 50), total: pairs.length, threshold: 0.5 };
  }

  replay(asked) {
    const states = ["new", ...(asked.again ? ["replayed"] : []), ...(asked.parked ? ["parked"] : [])];
    const named = this.letters.filter((letter) =>
      (!asked.ids?.length || asked.ids.includes(letter.id)) && (!asked.code?.length || asked.code.includes(letter.code)) && (!asked.source?.length || asked.source.includes(letter.source)));
    const chosen = named.filter((letter) => states.includes(letter.state)).slice(0, asked.limit ?? Infinity);
    const failures = {};
    for (const { code } of chosen) if (code === "malformed") failures[code] = (failures[code] ?? 0) + 1;
    const failed = Object.values(failures).reduce((a, b) => a + b, 0);
    if (!asked.dryRun) for (const letter of chosen) letter.state = "replayed";
    const skipped = {};
    for (const { state } of named) if (!states.includes(state)) skipped[state] = (skipped[state] ?? 0) + 1;
    return {
      dryRun: Boolean(asked.dryRun), complete: true, letters: chosen.length, records: chosen.length, bytes: chosen.reduce((all, { bytes }) => all + bytes, 0),
      topics: chosen.length ? { "mock.raw.events": chosen.length } : {}, skipped, outlook: asked.dryRun ? { readable: chosen.length - failed, failures } : null, seconds: 0.1,
    };
  }

  listEvents(query) {
    let found = [...this.events.values()].sort((a, b) => (a.startTime < b.startTime ? -1 : 1));
    const source = query.getAll("source");
    if (source.length) found = found.filter((event) => event.listings.some((one) => source.includes(one.source)));
    const q = query.get("q")?.toLowerCase();
    if (q) found = found.filter((event) => event.title.toLowerCase().includes(q));
    const facets = {};
    const values = { source: (event) => [...new Set(event.listings.map((one) => one.source))], city: (event) => [event.venue.city], category: (event) => [event.category] };
    for (const name of query.get("facets")?.split(",") ?? []) {
      const counts = new Map();
      for (const event of found) for (const value of values[name]?.(event) ?? []) counts.set(value, (counts.get(value) ?? 0) + 1);
      facets[name] = [...counts].map(([value, count]) => ({ value, count })).sort((a, b) => b.count - a.count);
    }
    const limit = Number(query.get("limit") ?? 50);
    return { events: found.slice(0, limit).map((event) => this.row(event)), total: found.length, hasMore: false, nextCursor: null, facets };
  }

  async answer(asked, answer) {
    const url = new URL(asked.url, "http://mock");
    const { pathname, searchParams: query } = url;
    const json = (body, status = 200, headers = {}) =>
      answer.writeHead(status, { "content-type": status < 400 ? "application/json" : "application/problem+json", "headwater-position": this.position(), ...headers }).end(JSON.stringify(body));
    const problem = (status, code, detail) => json({ type: "about:blank", title: code, status, code, detail }, status);
    const sent = await this.sent(asked, pathname);
    if (await this.common(asked, answer, pathname, sent)) return;
    if (this.closed && pathname.startsWith("/api/admin/")) return problem(401, "unauthorized", "Sign in first.");
    if (this.engine && /^\/(api\/events|api\/suggest|openapi)/.test(pathname)) return this.pass(asked, answer);

    if (pathname === "/api/pipeline/status") return json(this.status());
    if (pathname === "/api/pipeline/metrics") return json(this.metrics(query));
    if (pathname === "/api/admin/sources") return json(this.sources());
    if (pathname === "/api/admin/review") return json(this.review());
    if (pathname === "/api/admin/topics") {
      const topics = Object.entries(this.topics).map(([name, partitions]) => ({
        name, cleanup: name.includes("raw") ? "delete" : "compact",
        partitions: partitions.map((records) => ({ low: records[0]?.offset ?? 0, high: (records.at(-1)?.offset ?? -1) + 1 })),
      }));
      return json({ topics });
    }
    const records = pathname.match(/^\/api\/admin\/topics\/([^/]+)\/records$/);
    if (records) {
      const name = decodeURIComponent(records[1]);
      return this.topics[name] ? json(this.records(name, query)) : problem(404, "not-found", `There is no topic ${name}.`);
    }
    if (pathname === "/api/admin/dead-letters") {
      const found = this.letters.filter((letter) => ["code", "source", "state"].every((key) => !query.has(key) || query.getAll(key).includes(letter[key])));
      const offset = Number(query.get("offset") ?? 0);
      return json({ deadLetters: found.slice(offset, offset + Number(query.get("limit") ?? 50)).map(({ headers, value, ...rest }) => rest), total: found.length });
    }
    if (pathname === "/api/admin/dead-letters/summary") return json(this.summary());
    if (pathname === "/api/admin/dead-letters/replay") return json(this.replay(sent));
    const letter = pathname.match(/^\/api\/admin\/dead-letters\/(\d+\/\d+)$/);
    if (letter) {
      const found = this.letters.find((one) => one.id === letter[1]);
      return found ? json(found) : problem(404, "not-found", "There is no such dead letter.");
    }
    if (pathname === "/api/admin/decisions") {
      if (asked.method === "GET") {
        const name = query.get("listing");
        const found = [...this.decisions].filter(([, { a, b }]) => !name || a === name || b === name);
        return json({ decisions: found.map(([key, one]) => ({ key, ...this.report(one) })), unreadable: 0 });
      }
      if (![sent.a, sent.b].every((name) => /^[^/]+\/.+$/.test(name ?? ""))) return problem(400, "invalid-parameter", "a and b are SOURCE/ID.");
      const key = pairOf(sent.a, sent.b);
      const replaced = this.decisions.has(key) ? [this.report(this.decisions.get(key)).decision] : [];
      if (asked.method === "POST") this.decisions.set(key, { ...sent, why: sent.because ?? null, at: new Date().toISOString() });
      else this.decisions.delete(key);
      setTimeout(() => this.follow(), 150);
      return json({ key, decision: asked.method === "POST" ? this.report(this.decisions.get(key)).decision : null, replaced });
    }
    if (pathname === "/api/admin/events/moderate") {
      if (!this.events.has(sent.event)) return problem(404, "not-found", `There is no event ${sent.event}.`);
      if (sent.moderation === "none") this.moderations.delete(sent.event);
      else this.moderations.set(sent.event, sent.moderation);
      setTimeout(() => this.follow(), 150);
      return json({ decided: [] });
    }
    if (pathname === "/api/events") return json(this.listEvents(query));
    if (pathname === "/api/events/live") {
      answer.writeHead(200, { "content-type": "text/event-stream" });
      answer.write(`event: live\nid: ${this.position()}\ndata: {"total":${this.events.size}}\n\n`);
      this.streams.add(answer);
      const beat = setInterval(() => answer.write(`event: heartbeat\nid: 5f3a09c1-${++this.commit}\ndata: {}\n\n`), 1_000);
      return answer.on("close", () => {
        clearInterval(beat);
        this.streams.delete(answer);
      });
    }
    const event = pathname.match(/^\/api\/events\/([0-9a-f]{32})$/)?.[1];
    if (event) {
      const found = this.events.get(event) ?? this.events.get(this.redirects.get(event));
      return found ? json(found) : problem(404, "not-found", "There is no such event.");
    }
    if (pathname === "/api/suggest") {
      const events = this.listEvents(new URLSearchParams({ q: query.get("q") ?? "", limit: "5" })).events;
      return json({ words: [], cities: [], categories: [], tags: [], events: events.map(({ id, title }) => ({ id, title })) });
    }
    if (this.engine) return this.pass(asked, answer);
    return problem(404, "not-found", `There is nothing at ${pathname}.`);
  }

  pass(asked, answer) {
    const passed = request(new URL(asked.url, this.engine), { method: asked.method, headers: asked.headers }, (given) => {
      answer.writeHead(given.statusCode, given.headers);
      given.pipe(answer);
    });
    passed.on("error", () => answer.destroy());
    answer.on("close", () => passed.destroy());
    passed.end();
  }
}

/** What the command line asks for. */
export function options(args) {
  const value = (name) => (args.includes(name) ? args[args.indexOf(name) + 1] : null);
  return { key: value("--key"), engine: value("--engine"), replica: args.includes("--replica"), empty: args.includes("--empty") };
}
