// Sources: a row a source. Which one is silent, which one gives too little, and what its listings lack.

import { SourceRow } from "../api";
import { useData } from "../data";
import { escapeValue } from "../filters";
import { count, letters, precise } from "../format";
import { go, href, Place } from "../route";
import { Ago, Bones, Empty, Num, Side, Spark, Trouble, useRowKeys } from "../ui";

const HOURS = 6;

/** What a person should know of a source: in words, and how bad it is. */
export function health(row: SourceRow): { word: string; kind: "good" | "warning" | "bad"; why: string } {
  const sum = (values: number[]) => values.reduce((all, value) => all + value, 0);
  const lately = sum(row.newListings.slice(-HOURS));
  const before = row.newListings.slice(0, -HOURS);
  const usual = (sum(before) / Math.max(1, before.length)) * HOURS;
  // Hours of a log that has just begun say nothing.
  if (usual >= 4 && lately === 0) return { word: "Silent", kind: "bad", why: `No new listing in the last ${HOURS} hours; ${Math.round(usual)} were usual.` };
  if (usual >= 4 && lately < usual / 2) return { word: "Fell by half", kind: "warning", why: `${count(lately, "new listing")} in the last ${HOURS} hours; ${Math.round(usual)} were usual.` };
  if (row.lastRecordAt === null && row.listings === 0) return { word: "Nothing yet", kind: "warning", why: "No record of it has come." };
  return { word: "As usual", kind: "good", why: `${count(lately, "new listing")} in the last ${HOURS} hours.` };
}

const LACKS: Record<string, string> = {
  endTime: "end", coordinates: "coordinates", price: "price", image: "image", description: "description", title: "title",
  startTime: "start", venue: "venue", organizer: "organizer", category: "category", url: "web address", timezone: "time zone",
};

/** 78 % have no end; no coordinates. The greatest first; what hardly any lacks is no gap. */
export function gaps(row: SourceRow): string[] {
  return Object.entries(row.gaps)
    .filter(([, share]) => share >= 0.01)
    .sort(([, a], [, b]) => b - a)
    .map(([field, share]) => {
      const what = LACKS[field] ?? field;
      return share >= 0.995 ? `no ${what}` : `${Math.round(share * 100)} % have no ${what}`;
    });
}

export const lettersOf = (source: string): string => href("dead-letters", new URLSearchParams({ source }));
const eventsOf = (source: string): string => href("events", new URLSearchParams([["when", "all"], ["source", escapeValue(source)]]));

export function SourcesPage({ place }: { place: Place }) {
  const { data, error, reload } = useData<{ sources: SourceRow[] }>("/api/admin/sources", 10_000);
  const chosen = place.query.get("source");
  const to = (source: string | null) => href("sources", new URLSearchParams(source ? { source } : {}));
  const list = useRowKeys(() => chosen && go(to(null)));
  const rows = data?.sources ?? [];
  const row = rows.find((row) => row.source === chosen);
  const ill = rows.filter((row) => health(row).kind !== "good");
  return (
    <div class="sources-page">
      <header class="page-head">
        <h1>Sources</h1>
        <p class="muted" aria-live="polite">
          {data && (rows.length === 0 ? "" : ill.length === 0 ? `${count(rows.length, "source")}, all as usual.` : `${count(rows.length, "source")}; look at ${ill.map((row) => row.source).join(", ")}.`)}
          {!data && error === null && "Loading…"}
        </p>
      </header>
      {error !== null && <Trouble error={error} retry={reload} />}
      {!data && error === null && <Bones rows={6} />}
      {data && rows.length === 0 && (
        <Empty title="There is no source yet">
          <p>Name one in the configuration, and put its first file in:</p>
          <pre><code>discovery produce TOPIC FILE --source NAME</code></pre>
        </Empty>
      )}
      {rows.length > 0 && (
        <div class={`split${row ? " split-open" : ""}`}>
          <div class="scroll" tabIndex={0} role="group" aria-label="Sources">
            <table class="table stacks" ref={list}>
              <thead>
                <tr>
                  <th scope="col">Source</th>
                  <th scope="col">State</th>
                  <th scope="col">Last record</th>
                  <th scope="col" class="right">Listings</th>
                  <th scope="col" class="right" title="Events that another source tells of too">Shared</th>
                  <th scope="col" class="right">Dead letters</th>
                  <th scope="col">New listings, 24 h</th>
                  <th scope="col">Gaps</th>
                </tr>
              </thead>
              <tbody>
                {rows.map((row) => <Row key={row.source} row={row} to={to(row.source)} chosen={row.source === chosen} />)}
              </tbody>
            </table>
          </div>
          {row && <Detail row={row} close={to(null)} />}
        </div>
      )}
      {chosen && data && !row && rows.length > 0 && <p class="note">There is no source {chosen}. <a href={to(null)}>Show all</a></p>}
    </div>
  );
}

function Row({ row, to, chosen }: { row: SourceRow; to: string; chosen: boolean }) {
  const { word, kind, why } = health(row);
  const lacks = gaps(row);
  return (
    <tr aria-current={chosen ? "true" : undefined}>
      <th scope="row">
        <a class="cursor" href={to}><span class="source" aria-hidden="true">{letters(row.source)}</span> {row.source}</a>
      </th>
      <td data-label="State"><span class={`status status-${kind}`} title={why}>{kind === "good" ? "" : kind === "bad" ? "▲ " : "△ "}{word}</span></td>
      <td data-label="Last record">{row.lastRecordAt ? <Ago at={row.lastRecordAt} /> : <span class="faint">none</span>}</td>
      <td data-label="Listings" class="right"><Num value={row.listings} /></td>
      <td data-label="Shared" class="right" title={`${precise(row.sharedEvents)} of ${precise(row.events)} events`}>
        {row.events > 0 ? `${Math.round((row.sharedEvents / row.events) * 100)} %` : "–"}
      </td>
      <td data-label="Dead letters" class="right">
        {row.deadLetters === 0 ? <span class="faint">0</span> : <a href={lettersOf(row.source)}><Num value={row.deadLetters} />{row.newDeadLetters > 0 && <span class="badge"> {row.newDeadLetters} new</span>}</a>}
      </td>
      <td data-label="24 h"><Spark values={row.newListings} label={`New listings an hour, the last 24 hours: ${row.newListings.join(", ")}`} /></td>
      <td data-label="Gaps" class="gaps" title={lacks.join("; ")}>{lacks.length ? lacks.slice(0, 2).join("; ") : <span class="faint">none</span>}</td>
    </tr>
  );
}

function Detail({ row, close }: { row: SourceRow; close: string }) {
  const { why, word } = health(row);
  const lacks = gaps(row);
  const graded = Object.entries(row.grades).filter(([, n]) => n > 0).sort(([a], [b]) => (a < b ? -1 : 1));
  const most = Math.max(1, ...graded.map(([, n]) => n));
  return (
    <Side label={row.source} close={close}>
      <p>{word}. <span class="muted">{why}</span></p>
      <dl class="facts-list">
        <div><dt>Records</dt><dd>{row.records === null ? <span class="muted">The engine counts them, in a process of its own.</span> : <Num value={row.records} />}</dd></div>
        <div><dt>Listings</dt><dd><Num value={row.listings} /></dd></div>
        <div><dt>Events</dt><dd><a href={eventsOf(row.source)}><Num value={row.events} /></a> <span class="muted">of which {precise(row.sharedEvents)} shared with other sources</span></dd></div>
        <div><dt>Own duplicates</dt><dd>{row.ownDuplicates === 0 ? "none" : `${count(row.ownDuplicates, "listing")} it has more than once`}</dd></div>
        <div><dt>Dead letters</dt><dd>{row.deadLetters === 0 ? "none" : <a href={lettersOf(row.source)}>{precise(row.deadLetters)}, {row.newDeadLetters} of them new</a>}</dd></div>
      </dl>
      <h3>What its listings lack</h3>
      {lacks.length === 0 ? <p class="muted">Nothing that is looked at.</p> : <ul class="plain">{lacks.map((gap) => <li key={gap}>{gap[0].toUpperCase() + gap.slice(1)}</li>)}</ul>}
      <h3>Grades of its events</h3>
      {graded.length === 0 && <p class="muted">None is graded yet.</p>}
      <ul class="bars grade-bars">
        {graded.map(([grade, n]) => (
          <li key={grade}>
            <a href={href("events", new URLSearchParams([["when", "all"], ["source", escapeValue(row.source)], ["grade", grade]]))}>
              <span><span class={`grade grade-${grade}`} aria-hidden="true">{grade}</span> <span class="sr">Grade {grade}</span></span>
              <span class="num">{precise(n)}</span>
              <progress max={most} value={n} aria-hidden="true" />
            </a>
          </li>
        ))}
      </ul>
    </Side>
  );
}
