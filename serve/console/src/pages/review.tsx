// Review: the pairs that were nearest to not being one, for a person to decide.

import { useEffect, useRef, useState } from "preact/hooks";
import { Listing, Member, Pair } from "../api";
import { access, Action, Lacking, useAccess } from "../access";
import { comparable, Field, FIELDS } from "../compare";
import { decide, Made, Outcome, pairOf, undo, useMade } from "../decisions";
import { useData } from "../data";
import { differences, Part } from "../diff";
import { count, letters, rounded } from "../format";
import { go, here, href, Place } from "../route";
import { Empty, isTyping, Trouble } from "../ui";
import { percent, signed, FEATURES } from "./detail";

const REVIEW = "/api/admin/review?limit=50";

interface Review {
  pairs: Pair[];
  total: number;
  threshold: number;
}

const nameOf = (member: Member): string => `${member.source}/${member.externalId}`;
const keyOf = (pair: Pair): string => pairOf(nameOf(pair.a), nameOf(pair.b));
const decided = (one: Made): boolean => one.state !== "undone" && one.state !== "failed";

const at = (a: string, b: string): string => href("review", new URLSearchParams({ a, b }));

/** Pairs that were put off; they come again after all others. */
const skipped: string[] = [];

export function ReviewPage({ place }: { place: Place }) {
  const { data, error, reload } = useData<Review>(REVIEW, 15_000);
  const made = useMade();
  const { session } = useAccess();
  const may = access.can("decide");
  const kept = useRef<Pair | null>(null);
  const [, draw] = useState(0);

  // What has just been decided may be in the list for a moment more.
  const done = new Set(made.filter(decided).map((one) => one.pair));
  const open = (data?.pairs ?? []).filter((pair) => !done.has(keyOf(pair)));
  const rank = (pair: Pair): number => skipped.indexOf(keyOf(pair));
  const queue = [...open].sort((x, y) => rank(x) - rank(y));
  const [a, b] = [place.query.get("a"), place.query.get("b")];
  const wanted = a && b ? pairOf(a, b) : null;
  const asked = wanted ? (open.find((pair) => keyOf(pair) === wanted) ?? (kept.current && keyOf(kept.current) === wanted && !done.has(wanted) ? kept.current : null)) : null;
  // What is being read stays, whatever comes meanwhile: a key must not decide on another pair than the one that was seen.
  const held = wanted === null && kept.current && !done.has(keyOf(kept.current)) ? keyOf(kept.current) : null;
  const pair = asked ?? (held ? (open.find((pair) => keyOf(pair) === held) ?? kept.current) : null) ?? queue[0] ?? null;
  kept.current = pair;
  const over = pair !== null && data !== null && !open.some((other) => keyOf(other) === keyOf(pair));
  const gone = wanted !== null && data !== null && !asked && !done.has(wanted);
  const left = data ? Math.max(open.length, data.total - (data.pairs.length - open.length)) : 0;
  const last = made.find(decided);
  // What became of the newest decision is in sight, whatever the pair's height; the others are below.
  const newest = made[0] ?? null;
  const others = pair ? made.slice(1) : made;

  const next = () => {
    if (here().query.has("a")) go(href("review"), true);
  };
  const say = (what: "same" | "different") => {
    if (!pair || !may) return;
    void decide(what, nameOf(pair.a), nameOf(pair.b), pair.event);
    next();
  };
  const skip = () => {
    if (!pair) return;
    const key = keyOf(pair);
    if (skipped.includes(key)) skipped.splice(skipped.indexOf(key), 1);
    skipped.push(key);
    kept.current = null;
    next();
    draw((n) => n + 1);
  };
  const back = () => {
    if (!last || !may || last.state === "undoing") return;
    go(at(last.a, last.b), true);
    void undo(last.a, last.b);
  };

  // The address leads back to what is seen.
  useEffect(() => {
    if (pair && wanted === null) go(at(nameOf(pair.a), nameOf(pair.b)), true);
  }, [pair && keyOf(pair), wanted]);

  // As of the last drawing: a key that comes before the effects of one must not decide on the pair before.
  const keys = useRef<Record<string, () => void>>({});
  keys.current = { s: () => say("same"), d: () => say("different"), " ": skip, u: back };
  useEffect(() => {
    const key = (event: KeyboardEvent) => {
      if (event.defaultPrevented || event.repeat || isTyping(event.target) || event.metaKey || event.ctrlKey || event.altKey) return;
      if (document.querySelector("dialog[open]")) return;
      // A space presses the button that has the focus.
      if (event.key === " " && event.target instanceof Element && event.target.closest("button, a, summary")) return;
      const act = keys.current[event.key];
      if (!act) return;
      act();
      event.preventDefault();
    };
    addEventListener("keydown", key);
    return () => removeEventListener("keydown", key);
  }, []);

  return (
    <div class="review">
      <header class="page-head">
        <h1>Review</h1>
        <p class="muted" aria-live="polite">
          {data ? (left === 0 ? "Nothing is left." : `${count(left, "pair")} left, the most doubtful first.`) : error === null && "Loading…"}
        </p>
      </header>
      {error !== null && <Trouble error={error} retry={reload} />}
      {data && session && <Lacking scope="decide" />}
      {gone && pair && <p class="note">The pair of this address is not among the first that wait. This is the next one.</p>}
      {!data && error === null && <div class="review-loading" aria-hidden="true" />}
      {data && !pair && (
        <Empty title={made.some(decided) ? "All pairs are decided" : "No pair waits for you"}>
          <p>Listings that are only just one event appear here by themselves. To decide on any two, open an event and use “Same as another…”, or:</p>
          <pre><code>discovery decide same SOURCE/ID SOURCE/ID</code></pre>
        </Empty>
      )}
      {pair && data && (
        <article class="pair" key={keyOf(pair)} aria-label={`${nameOf(pair.a)} and ${nameOf(pair.b)}`}>
          <div class="pair-head">
            <div>
              <h2>Are these two the same event?</h2>
              <p><a href={href("events", new URLSearchParams({ when: "all", event: pair.event }), "why")}>Open the event</a></p>
            </div>
            <Doubt pair={pair} threshold={data.threshold} />
          </div>
          {over && <p class="pair-over">This pair does not wait any more: its listings have changed, or somebody has decided. Skip it, or decide all the same.</p>}
          <Fields pair={pair} />
          <div class="pair-foot">
            <div class="pair-actions">
              <Action scope="decide" class="button button-main" keys="s" title="They stay one event, whatever their comparison says" onClick={() => say("same")}>Same <kbd aria-hidden="true">s</kbd></Action>
              <Action scope="decide" keys="d" title="They are put into two events, for good" onClick={() => say("different")}>Different <kbd aria-hidden="true">d</kbd></Action>
              <button type="button" class="button" aria-keyshortcuts="Space" title="It comes again after all others" onClick={skip}>Skip <kbd aria-hidden="true">space</kbd></button>
            </div>
            {newest && <ul class="outcomes" aria-live="polite"><Outcome one={newest} undoKeys={newest === last ? "u" : undefined} /></ul>}
          </div>
        </article>
      )}
      {others.length > 0 && (
        <section class="decided" aria-labelledby="decided">
          <header class="section-head">
            <h2 id="decided">{pair ? "Before that" : "What you decided"}</h2>
            <span class="faint">on this page, since it was opened</span>
          </header>
          <ul aria-live="polite">
            {others.slice(0, 10).map((one) => <Outcome key={one.pair + one.at} one={one} undoKeys={one === last ? "u" : undefined} />)}
          </ul>
          {others.length > 10 && <p class="note">and {rounded(others.length - 10)} before</p>}
        </section>
      )}
    </div>
  );
}

/** How sure the comparison is, and by what. */
function Doubt({ pair, threshold }: { pair: Pair; threshold: number }) {
  return (
    <div class="doubt">
      <p>
        <strong title={`Likelihood ${pair.similarity}`}>{percent(pair.similarity)} one event</strong>{" "}
        <span class="muted">· it takes {percent(threshold)}</span>
      </p>
      <div class="doubt-track" aria-hidden="true">
        <span class="bar bar-more" style={{ left: "0%", width: `${pair.similarity * 100}%` }} />
        <span class="zero" style={{ left: `${threshold * 100}%` }} />
      </div>
      <p class="points-line muted">
        {pair.contributions.map(({ field, points }) => (
          <span key={field} class={points < 0 ? "less" : undefined} title={String(points)}>{FEATURES[field] ?? field} {signed(points)}</span>
        ))}
      </p>
    </div>
  );
}

/** Shown even where both say the same; of the rest that is said in a line. */
const ALWAYS = ["title", "start", "venue", "city"];

function Fields({ pair }: { pair: Pair }) {
  const [a, b] = [pair.a.listing?.listing, pair.b.listing?.listing];
  if (!a || !b) return <p class="note">One of the listings is not live any more.</p>;
  const known = FIELDS.filter((field) => field.show(a) !== null || field.show(b) !== null);
  const same = known.filter((field) => !ALWAYS.includes(field.key) && !field.own && comparable(field, a) !== null && comparable(field, a) === comparable(field, b));
  const rows = known.filter((field) => !same.includes(field));
  return (
    <>
      <table class="pair-fields">
        <thead>
          <tr>
            <th scope="col"><span class="sr">Field</span></th>
            {[pair.a, pair.b].map((member) => (
              <th key={nameOf(member)} scope="col">
                <span class="source" aria-hidden="true">{letters(member.source)}</span> {member.source} <span class="faint pair-id">{member.externalId}</span>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((field) => <Row key={field.key} field={field} a={a} b={b} />)}
        </tbody>
      </table>
      {same.length > 0 && (
        <p class="pair-same">
          The same in both: {same.map((field, i) => <span key={field.key}>{i > 0 && ", "}<span title={field.show(a) ?? undefined}>{field.label.toLowerCase()}</span></span>)}
        </p>
      )}
    </>
  );
}

function Row({ field, a, b }: { field: Field; a: Listing; b: Listing }) {
  const [x, y] = [field.show(a), field.show(b)];
  const [own, other] = [comparable(field, a), comparable(field, b)];
  const same = own !== null && own === other;
  const compared = x !== null && y !== null && !same && !field.own;
  const [left, right] = compared ? differences(x, y) : [null, null];
  const kind = field.own || own === null || other === null ? "alone" : same ? "agrees" : "differs";
  return (
    <tr class={kind}>
      <th scope="row">
        {field.label}
        {kind === "agrees" && <span class="sr"> (the same)</span>}
        {kind === "differs" && <span class="sr"> (differs)</span>}
      </th>
      <Cell text={x} parts={left} />
      <Cell text={y} parts={right} />
    </tr>
  );
}

function Cell({ text, parts }: { text: string | null; parts: Part[] | null }) {
  return (
    <td class={text === null ? "void" : undefined}>
      {text === null ? "–" : parts ? parts.map((part, i) => (part.differs ? <mark key={i}>{part.text}</mark> : part.text)) : text}
    </td>
  );
}
