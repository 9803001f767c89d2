// One event: as the public sees it, where each field comes from, and why its listings are one.

import { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, EventDetail, EventRow, getEvent, Link, Listing, ListingName, Member, Moderation, Report, write } from "../api";
import { access, Action, Lacking, useAccess } from "../access";
import { comparable, Field, FIELDS } from "../compare";
import { connection } from "../connection";
import { decide, nameOf, Outcome, pairOf, said, Told, useMade, words } from "../decisions";
import { feed } from "../feed";
import { count, letters, place, price, when, whenHint } from "../format";
import { go } from "../route";
import { Ago, Category, Copy, Empty, Grade, Status, Trouble } from "../ui";

export function Detail({ id, close, known }: { id: string; close: string; known?: EventRow }) {
  const [event, setEvent] = useState<EventDetail | null>(null);
  const [error, setError] = useState<unknown>(null);
  const root = useRef<HTMLElement>(null);
  const scrolled = useRef(false);

  useEffect(() => {
    const abort = new AbortController();
    let timer = 0;
    const load = () => {
      timer = 0;
      getEvent(id, abort.signal).then(
        (event) => {
          setError(null);
          setEvent(event);
          // A retired id leads to the event that took its place: the address is to say so too.
          if (event.id !== id) go(location.pathname + location.search.replace(id, event.id) + location.hash, true);
        },
        (error) => abort.signal.aborted || setError(error),
      );
    };
    load();
    const stop = feed.onChange((change) => {
      const changed = change.kind === "leave" ? change.id : change.event.id;
      if (changed === id && !timer) timer = window.setTimeout(load, 300);
    });
    const stopState = connection.onState(() => connection.state === "live" && load());
    return () => {
      abort.abort();
      clearTimeout(timer);
      stop();
      stopState();
    };
  }, [id]);

  useEffect(() => {
    if (!event || scrolled.current) return;
    scrolled.current = true;
    const target = location.hash.length > 1 ? document.getElementById(location.hash.slice(1)) : null;
    const own = root.current && root.current.scrollHeight > root.current.clientHeight;
    // Beside the list only the event is scrolled, not the page.
    if (target && own && root.current) root.current.scrollTop = target.getBoundingClientRect().top - root.current.getBoundingClientRect().top - 16;
    else if (target) target.scrollIntoView({ block: "start" });
    // Where there is no room beside the list it is below it, or in its place.
    else if (matchMedia("(max-width: 700px)").matches) scrollTo(0, 0);
    else if (matchMedia("(max-width: 1023px)").matches) root.current?.scrollIntoView({ block: "start" });
  }, [event]);

  const gone = error instanceof ApiError && error.status === 404;
  return (
    <article class="detail" ref={root} aria-label={event?.title ?? known?.title ?? "Event"} tabIndex={-1}>
      <a class="close" href={close} aria-label="Close the event" title="Close (Esc)">×</a>
      {gone && (
        <Empty title={event || known ? "This event is gone" : "There is no such event"}>
          <p>All its listings were withdrawn, or the id was never given. What it was last is shown here if it was open.</p>
        </Empty>
      )}
      {error !== null && !gone && <Trouble error={error} />}
      {event ? <Whole event={event} /> : known && !gone && <Heading event={known} />}
      {!event && !known && error === null && <div class="detail-loading" aria-hidden="true" />}
    </article>
  );
}

function Heading({ event }: { event: EventRow }) {
  return (
    <header class="detail-head">
      <p class="detail-when" title={whenHint(event)}>{when(event.startTime, event.endTime)}</p>
      <h2>{event.title}</h2>
      <p class="detail-where">{place(event.venue, event.online)}</p>
    </header>
  );
}

function Whole({ event }: { event: EventDetail }) {
  const cost = price(event.pricing);
  const { venue } = event;
  const address = [venue?.address, venue?.postalCode, venue?.region === venue?.city ? null : venue?.region, venue?.country].filter(Boolean).join(", ");
  return (
    <>
      <Heading event={event} />
      <div class="public">
        {address && <p class="muted">{address}</p>}
        <p class="facts">
          <Category name={event.category} />
          {cost && <span>{cost}</span>}
          {event.online && <span>Online</span>}
          {event.capacity !== null && <span>{count(event.capacity, "place")}</span>}
          <Status status={event.status} />
          <Grade letter={event.qualityGrade} long />
        </p>
        {event.description && <Description text={event.description} />}
        {event.organizer?.name && (
          <p class="muted">
            By {event.organizer.url ? <Away url={event.organizer.url}>{event.organizer.name}</Away> : event.organizer.name}
          </p>
        )}
        {event.tags.length > 0 && <p class="tags">{event.tags.map((tag) => <span key={tag} class="tag">{tag}</span>)}</p>}
        <p class="aways">
          {event.urls.map((url) => <Away key={url} url={url}>{host(url)}</Away>)}
          {event.images.map((url, i) => <Away key={url} url={url}>image {i + 1}</Away>)}
        </p>
        <Quality event={event} />
      </div>
      <Moderating event={event} />
      <Origins event={event} />
      <Why event={event} />
      <Ids event={event} />
    </>
  );
}

const LONG = 320;

function Description({ text }: { text: string }) {
  const [all, setAll] = useState(text.length <= LONG * 1.3);
  return (
    <div class="description">
      <p>{all ? text : `${text.slice(0, text.lastIndexOf(" ", LONG))} …`}</p>
      {!all && <button type="button" class="link" onClick={() => setAll(true)}>Show all</button>}
    </div>
  );
}

function host(url: string): string {
  try {
    return new URL(url).host.replace(/^www\./, "");
  } catch {
    return url;
  }
}

/** Leads away from the console; only addresses of the web are followed. */
function Away({ url, children }: { url: string; children: ComponentChildren }) {
  if (!/^https?:/i.test(url)) return <span>{children}</span>;
  return <a href={url} title={url} target="_blank" rel="noopener noreferrer">{children}</a>;
}

/** What would make it better, of what the gates found. */
function Quality({ event }: { event: EventDetail }) {
  const found = event.gates.flatMap((gate) => gate.reasons.map((reason) => ({ ...reason, passed: gate.passed })));
  if (found.length === 0) return null;
  return (
    <p class="muted">
      Quality {event.qualityScore.toFixed(2)}: it {found.map((reason) => reason.text).join("; ")}.
    </p>
  );
}

const SAID: Record<Moderation, { told: string; tone: string; act: string; hint: string }> = {
  approved: { told: "approved", tone: "good", act: "Approve", hint: "It was looked at, and is right" },
  flagged: { told: "flagged", tone: "warning", act: "Flag", hint: "Somebody should look at it; it stays where it is shown" },
  rejected: { told: "rejected", tone: "bad", act: "Reject", hint: "It is shown only to those who ask for what was rejected" },
};

/** How long the topology may take to follow; a loaded engine may need longer. */
const FOLLOWED_MS = 30_000;

/** What editors say of the event, and the buttons to say it. */
function Moderating({ event }: { event: EventDetail }) {
  useAccess();
  const [because, setBecause] = useState("");
  const [asked, setAsked] = useState<Moderation | "none" | null>(null);
  const [error, setError] = useState<string | null>(null);
  const now = event.moderation ?? "none";
  useEffect(() => setAsked(null), [event.id, now]);
  useEffect(() => {
    if (asked === null) return;
    const timer = setTimeout(() => setAsked(null), FOLLOWED_MS);
    return () => clearTimeout(timer);
  }, [asked]);
  const say = (moderation: Moderation | "none") => {
    setAsked(moderation);
    setError(null);
    const why = because.trim() && moderation !== "none" ? { because: because.trim() } : {};
    write("POST", "/api/admin/events/moderate", { event: event.id, moderation, ...why }).then(
      () => setBecause(""),
      (error: unknown) => {
        setAsked(null);
        setError(words(error));
      },
    );
  };
  const told = event.moderation && SAID[event.moderation];
  if (!told && !access.can("decide")) return null;
  return (
    <section class="moderating" aria-labelledby="moderation">
      <header class="section-head">
        <h3 id="moderation">Whether it is shown</h3>
        <span aria-live="polite">
          {asked !== null && asked !== now ? <span class="status status-waiting">is being read</span> : told && <span class={`status status-${told.tone}`}>{told.told}</span>}
        </span>
      </header>
      {event.moderation === "rejected" && <p class="note">Editors rejected it. Lists and streams leave it out unless they are asked for it.</p>}
      {error && <p class="wrong" role="alert">{error}</p>}
      {access.can("decide") && (
        <>
          <label class="field">
            Why
            <input type="text" maxLength={500} placeholder="Not needed" autocomplete="off" value={because} onInput={(change) => setBecause(change.currentTarget.value)} />
          </label>
          <p class="actions">
            {(Object.keys(SAID) as Moderation[]).map((word) => (
              <Action key={word} scope="decide" class="button button-small" title={SAID[word].hint} disabled={asked !== null || word === event.moderation} onClick={() => say(word)}>
                {SAID[word].act}
              </Action>
            ))}
            {told && <Action scope="decide" class="button button-small" title="As if nobody had said anything" disabled={asked !== null} onClick={() => say("none")}>Take back</Action>}
          </p>
        </>
      )}
    </section>
  );
}

const name = (member: { source: string; externalId: string }): string => `${member.source}/${member.externalId}`;

function Origins({ event }: { event: EventDetail }) {
  const members = event.members.filter((member): member is Member & { listing: NonNullable<Member["listing"]> } => member.listing !== null);
  const [differing, setDiffering] = useState(false);
  const listings = members.map((member) => member.listing.listing);
  const rows = FIELDS.filter((field) => listings.some((listing) => field.show(listing) !== null)).map((field) => origin(field, event, members, listings));
  const shown = differing ? rows.filter((row) => row.differs) : rows;
  const several = members.length > 1;
  return (
    <section aria-labelledby="origins">
      <header class="section-head">
        <h3 id="origins">Where each field comes from</h3>
        {several && (
          <label class="check">
            <input type="checkbox" checked={differing} onChange={(change) => setDiffering(change.currentTarget.checked)} /> Only what differs
          </label>
        )}
      </header>
      {!several && <p class="note">From its one listing, {name(event.listings[0])}.</p>}
      <div class="scroll" tabIndex={0} role="group" aria-label="Fields by listing">
        <table class="origins">
          <thead>
            <tr>
              <th scope="col"><span class="sr">Field</span></th>
              {members.map((member) => (
                <th key={name(member)} scope="col" title={name(member)}>
                  <span class="source" aria-hidden="true">{letters(member.source)}</span> {member.source}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.map(({ field, cells }) => (
              <tr key={field.key}>
                <th scope="row">{field.label}</th>
                {cells.map(({ text, chosen, differs }, i) => (
                  <td key={i} class={[text === null && "void", several && chosen && "chosen", differs && "differs"].filter(Boolean).join(" ")}>
                    <span class={field.long ? "long" : undefined} title={field.long ? (text ?? undefined) : undefined}>
                      {several && chosen && <span class="tick" title="This value was chosen">✓<span class="sr"> chosen: </span></span>}
                      {differs && <span class="sr">differs: </span>}
                      {text ?? "–"}
                    </span>
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {several && (
        <p class="legend">
          <span class="tick" aria-hidden="true">✓</span> chosen for the event · <span class="differs-mark">marked</span> another value than the chosen one
        </p>
      )}
      {differing && shown.length === 0 && <p class="note">All listings say the same.</p>}
    </section>
  );
}

function origin(field: Field, event: EventDetail, members: Member[], listings: Listing[]) {
  // `fieldSources` counts the listings of the event.
  const source = field.chosenBy === null ? undefined : event.fieldSources[field.chosenBy];
  const chosenMember = source === undefined ? -1 : members.findIndex((member) => name(member) === name(event.listings[source] ?? { source: "", externalId: "" }));
  const chosenListing = listings[chosenMember];
  const reference = chosenListing ? comparable(field, chosenListing) : null;
  const cells = listings.map((listing, i) => {
    const value = comparable(field, listing);
    return {
      text: field.show(listing),
      chosen: i === chosenMember && value !== null,
      differs: !field.own && reference !== null && value !== null && value !== reference,
    };
  });
  return { field, cells, differs: cells.some((cell) => cell.differs) };
}

export const FEATURES: Record<string, string> = {
  base: "Before comparing", title: "Title", time: "Start and end", place: "Place", url: "Web address",
  source: "Sources", decision: "A person's decision",
};

interface Edge {
  from: Member;
  to: { source: string; externalId: string };
  link: Link;
}

/** The links, each pair once: two listings may be held by the same one. */
function edges(event: EventDetail): Edge[] {
  const seen = new Set<string>();
  const found: Edge[] = [];
  for (const member of event.members) {
    const via = member.link?.via;
    if (!member.link || !via || member.link.contributions.length === 0) continue;
    const pair = [name(member), name(via)].sort().join(" ");
    if (!seen.has(pair)) found.push({ from: member, to: via, link: member.link });
    seen.add(pair);
  }
  return found;
}

function Why({ event }: { event: EventDetail }) {
  const all = edges(event);
  const sums = all.flatMap(({ link }) => running(link).flatMap((step) => [step.from, step.to]));
  const low = Math.min(-1, ...sums);
  const high = Math.max(1, ...sums);
  return (
    <section aria-labelledby="why">
      <header class="section-head">
        <h3 id="why">Why these are one</h3>
      </header>
      {all.length === 0 ? (
        <p class="note">
          {event.members.length > 1
            ? "They say so themselves: listings of one source with the same id are one without a comparison."
            : "It has one listing. No other listing was found to be the same event."}
        </p>
      ) : (
        <p class="note">
          Each part of two listings that agrees adds points, each that differs takes some. The sum is the log-odds that they are
          one event: at 0 it is as likely as not, which is the default threshold.
        </p>
      )}
      {all.map((edge) => <Waterfall key={name(edge.from)} event={event.id} edge={edge} low={low} high={high} />)}
      <Decisions event={event} />
    </section>
  );
}

function running(link: Link): { field: string; points: number; from: number; to: number }[] {
  let sum = 0;
  return link.contributions.map(({ field, points }) => {
    const from = sum;
    sum += points;
    return { field, points, from, to: sum };
  });
}

export const signed = (points: number): string => `${points < 0 ? "−" : "+"}${Math.abs(points).toFixed(Math.abs(points) < 0.095 ? 2 : 1)}`;

export function percent(likelihood: number): string {
  if (likelihood > 0.9999) return "> 99.99 %";
  return `${(likelihood * 100).toFixed(likelihood > 0.99 ? 2 : 0)} %`;
}

function Waterfall({ event, edge, low, high }: { event: string; edge: Edge; low: number; high: number }) {
  const steps = running(edge.link);
  const sum = steps.at(-1)?.to ?? 0;
  const at = (points: number): number => ((points - low) / (high - low)) * 100;
  const bar = (from: number, to: number) => ({ left: `${at(Math.min(from, to))}%`, width: `${Math.max(0.6, Math.abs(at(to) - at(from)))}%` });
  return (
    <figure class="waterfall">
      <figcaption>
        <span title={name(edge.from)}><span class="source" aria-hidden="true">{letters(edge.from.source)}</span> {edge.from.source}</span>
        {" and "}
        <span title={name(edge.to)}><span class="source" aria-hidden="true">{letters(edge.to.source)}</span> {edge.to.source}</span>
        <strong title={`Likelihood ${edge.link.similarity}`}>{percent(edge.link.similarity)} one event</strong>
      </figcaption>
      <table>
        <thead class="sr">
          <tr><th scope="col">Part</th><th scope="col">Sum so far</th><th scope="col">Points</th></tr>
        </thead>
        <tbody>
          {steps.map(({ field, points, from, to }) => (
            <tr key={field}>
              <th scope="row">{FEATURES[field] ?? field}</th>
              <td class="track">
                <span class="zero" style={{ left: `${at(0)}%` }} />
                <span class={points < 0 ? "bar bar-less" : "bar bar-more"} style={bar(from, to)} />
                <span class="sr">{to.toFixed(1)}</span>
              </td>
              <td class="points" title={String(points)}>{signed(points)}</td>
            </tr>
          ))}
          <tr class="sum">
            <th scope="row">Sum</th>
            <td class="track">
              <span class="zero" style={{ left: `${at(0)}%` }} />
              <span class="bar bar-sum" style={bar(0, sum)} />
              <span class="sr">{sum.toFixed(1)}</span>
            </td>
            <td class="points" title={String(sum)}>{signed(sum)}</td>
          </tr>
        </tbody>
      </table>
      <p class="edge-actions">
        <NotTheSame event={event} a={name(edge.from)} b={name(edge.to)} />
      </p>
    </figure>
  );
}

function NotTheSame({ event, a, b }: { event: string; a: string; b: string }) {
  const made = useMade();
  useAccess();
  if (!access.can("decide")) return null;
  const sending = made.some((one) => one.pair === pairOf(a, b) && ["sending", "pending", "undoing"].includes(one.state));
  return (
    <Action scope="decide" class="button button-small" disabled={sending} title="Puts them into two events, for good. It can be undone." onClick={() => void decide("different", a, b, event)}>
      These two are not the same
    </Action>
  );
}

/** What people said of its listings, and what this page has just said. */
function Decisions({ event }: { event: EventDetail }) {
  const made = useMade();
  useAccess();
  const names = new Map(event.members.map((member) => [member.listing?.id ?? name(member), name(member)]));
  const nameBy = (listing: ListingName): string => names.get(nameOf(listing)) ?? nameOf(listing);
  const own = new Set(names.values());
  const mine = made.filter((one) => one.from === event.id || own.has(one.a) || own.has(one.b));
  const told = new Map<string, Report>();
  for (const report of event.members.flatMap((member) => member.link?.decisions ?? [])) {
    const { a, b } = said(report);
    const pair = pairOf(nameBy(a), nameBy(b));
    if (!mine.some((one) => one.pair === pair)) told.set(pair, report);
  }
  return (
    <div class="decisions">
      {(mine.length > 0 || told.size > 0) && (
        <>
          <h4>What people decided</h4>
          <ul aria-live="polite">
            {mine.map((one) => <Outcome key={one.pair + one.at} one={one} />)}
            {[...told].map(([pair, report]) => <Told key={pair} report={report} nameBy={nameBy} />)}
          </ul>
        </>
      )}
      {access.can("decide") ? <SameAs event={event} /> : <Lacking scope="decide" />}
    </div>
  );
}

const LISTING = /^[^/\s]+\/\S.*$/;

function SameAs({ event }: { event: EventDetail }) {
  const [open, setOpen] = useState(false);
  const [typed, setTyped] = useState("");
  const [wrong, setWrong] = useState<string | null>(null);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (open) input.current?.focus();
  }, [open]);
  const own = event.listings[0];
  if (!own) return null;
  if (!open) return <button type="button" class="button button-small" onClick={() => setOpen(true)}>Same as another…</button>;
  const send = (submit: Event) => {
    submit.preventDefault();
    const other = typed.trim();
    if (!LISTING.test(other)) return setWrong("A listing is named SOURCE/ID, such as city-guide/1234. Each event shows those of its own under Ids.");
    if (event.listings.some((listing) => name(listing) === other)) return setWrong("This listing is in the event already.");
    void decide("same", name(own), other, event.id);
    setOpen(false);
    setTyped("");
    setWrong(null);
  };
  return (
    <form class="same-as" onSubmit={send} onKeyDown={(key) => {
      if (key.key !== "Escape") return;
      key.stopPropagation();
      setOpen(false);
    }}>
      <label class="field">
        The same event as the listing
        <input ref={input} type="text" placeholder="SOURCE/ID" spellcheck={false} autocomplete="off" value={typed} aria-invalid={wrong !== null} aria-describedby="same-as-note" onInput={(change) => setTyped(change.currentTarget.value)} />
      </label>
      <p id="same-as-note" class={wrong ? "wrong" : "note"}>{wrong ?? "The other listing's event and this one become one. It can be undone."}</p>
      <p class="actions">
        <button type="submit" class="button button-main button-small">Make them one</button>
        <button type="button" class="button button-small" onClick={() => setOpen(false)}>Cancel</button>
      </p>
    </form>
  );
}

function Ids({ event }: { event: EventDetail }) {
  return (
    <section aria-labelledby="ids">
      <header class="section-head">
        <h3 id="ids">Ids</h3>
        <a href={`/api/events/${encodeURIComponent(event.id)}`} target="_blank" rel="noreferrer">As JSON</a>
      </header>
      <dl class="ids">
        <div>
          <dt>Event</dt>
          <dd><code>{event.id}</code> <Copy text={event.id} label="the event's id" /></dd>
          <dd class="faint">first seen {event.firstSeen && <Ago at={event.firstSeen} />}, changed <Ago at={event.updatedAt} /></dd>
        </div>
        {event.members.map((member) => {
          const version = member.listing?.claims[0]?.version;
          return (
            <div key={name(member)}>
              <dt>Listing</dt>
              <dd><code>{name(member)}</code> <Copy text={name(member)} label={`the listing's id ${name(member)}`} /></dd>
              {version && (
                <dd class="faint">
                  partition {version.partition}, offset {version.offset} of its raw topic, <Ago at={member.listing?.updatedAt ?? ""} />
                </dd>
              )}
            </div>
          );
        })}
      </dl>
    </section>
  );
}
