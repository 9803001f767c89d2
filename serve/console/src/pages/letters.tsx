// Dead letters: what could not be used, why, what to change, and putting it back.

import { useEffect, useState } from "preact/hooks";
import { Content, Letter, LetterGroup, Replay, write } from "../api";
import { Action, Lacking } from "../access";
import { Bytes, Headers } from "../content";
import { outdated, useData } from "../data";
import { count, precise, rounded } from "../format";
import { go, href, Place } from "../route";
import { Ago, Bones, Empty, Num, Side, Trouble, useRowKeys } from "../ui";

export const SUMMARY = "/api/admin/dead-letters/summary";
const PAGE = 50;
const FILTERS = ["code", "source", "state", "since"] as const;
/** As the server has it: above so many it wants to be told twice. */
const CONSENT = 1_000;

type Groups = { groups: LetterGroup[] };
type Whole = Letter & { headers: Record<string, Content>; value: Content };

const STATES: Record<Letter["state"], string> = { new: "new", replayed: "replayed", parked: "parked" };

export function LettersPage({ place }: { place: Place }) {
  const { query } = place;
  const summary = useData<Groups>(SUMMARY, 10_000);
  const chosen = query.get("letter");
  const change = (edit: (next: URLSearchParams) => void, replace = false) => {
    const next = new URLSearchParams(query);
    edit(next);
    go(href("dead-letters", next), replace);
  };
  const filter = Object.fromEntries(FILTERS.flatMap((key) => (query.get(key) ? [[key, query.get(key) as string]] : [])));
  const groups = summary.data?.groups ?? [];
  const waiting = groups.reduce((all, group) => all + group.new, 0);
  const filtered = Object.keys(filter).length > 0;
  return (
    <div class="letters-page">
      <header class="page-head">
        <h1>Dead letters</h1>
        <p class="muted" aria-live="polite">
          {summary.data && groups.length > 0 && (waiting === 0 ? "None is new." : `${count(waiting, "new one")}, in ${count(groups.filter((group) => group.new > 0).length, "group")}.`)}
          {!summary.data && summary.error === null && "Loading…"}
        </p>
      </header>
      {summary.error !== null && <Trouble error={summary.error} retry={summary.reload} />}
      {!summary.data && summary.error === null && <Bones rows={6} />}
      {summary.data && groups.length === 0 && (
        <Empty title="There is no dead letter">
          <p>Every record could be used. One that cannot be used appears here, with the reason and its bytes. To try a file before it is sent:</p>
          <pre><code>discovery check-source FILE</code></pre>
        </Empty>
      )}
      {groups.length > 0 && (
        <>
          <GroupTable groups={groups} query={query} />
          <List key={JSON.stringify(filter)} filter={filter} filtered={filtered} groups={groups} chosen={chosen} query={query} change={change} />
        </>
      )}
    </div>
  );
}

function GroupTable({ groups, query }: { groups: LetterGroup[]; query: URLSearchParams }) {
  const to = (group: LetterGroup): string => href("dead-letters", new URLSearchParams({ code: group.code, ...(group.source && { source: group.source }) }));
  return (
    <section aria-label="Groups">
      <div class="scroll" tabIndex={0} role="group" aria-label="Dead letters by code and source">
        <table class="table stacks">
          <thead>
            <tr>
              <th scope="col">Code</th>
              <th scope="col">Source</th>
              <th scope="col" class="right">New</th>
              <th scope="col" class="right">Replayed</th>
              <th scope="col" class="right">Parked</th>
              <th scope="col">Last</th>
              <th scope="col">What to do</th>
              <th scope="col">Example</th>
            </tr>
          </thead>
          <tbody>
            {groups.map((group) => (
              <tr key={`${group.code} ${group.source}`} aria-current={query.get("code") === group.code && query.get("source") === group.source ? "true" : undefined}>
                <th scope="row"><a href={to(group)}>{group.code}</a></th>
                <td data-label="Source">{group.source ?? <span class="faint">not known</span>}</td>
                <td data-label="New" class="right">{group.new > 0 ? <strong><Num value={group.new} /></strong> : <span class="faint">0</span>}</td>
                <td data-label="Replayed" class="right"><Num value={group.replayed} /></td>
                <td data-label="Parked" class="right"><Num value={group.parked} /></td>
                <td data-label="Last"><Ago at={group.last} /></td>
                <td data-label="What to do" class="hint">{group.hint}</td>
                <td data-label="Example"><a href={href("dead-letters", new URLSearchParams({ code: group.code, ...(group.source && { source: group.source }), letter: group.example }))}>{group.example}<span class="sr"> of {group.code}</span></a></td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

interface ListProps {
  filter: Record<string, string>;
  filtered: boolean;
  groups: LetterGroup[];
  chosen: string | null;
  query: URLSearchParams;
  change: (edit: (next: URLSearchParams) => void, replace?: boolean) => void;
}

function List({ filter, filtered, groups, chosen, query, change }: ListProps) {
  const offset = Math.max(0, Number(query.get("offset")) || 0);
  const asked = new URLSearchParams({ ...filter, limit: String(PAGE), ...(offset > 0 && { offset: String(offset) }) });
  const { data, error, reload } = useData<{ deadLetters: Letter[]; total: number }>(`/api/admin/dead-letters?${asked}`);
  const [marked, setMarked] = useState<Set<string>>(new Set());
  const list = useRowKeys(() => chosen && change((next) => next.delete("letter")));
  const rows = data?.deadLetters ?? [];
  const toggle = (id: string) => {
    const next = new Set(marked);
    if (!next.delete(id)) next.add(id);
    setMarked(next);
  };
  // The list stays as it is while it is read; what has come since waits for a button.
  const now = groups
    .filter((group) => (!filter.code || group.code === filter.code) && (!filter.source || group.source === filter.source))
    .reduce((all, group) => all + (filter.state ? group[filter.state as Letter["state"]] ?? 0 : group.letters), 0);
  const fresh = data && !filter.since && offset === 0 ? Math.max(0, now - data.total) : 0;
  const all = rows.length > 0 && rows.every((row) => marked.has(row.id));
  const to = (id: string): string => {
    const next = new URLSearchParams(query);
    next.set("letter", id);
    return href("dead-letters", next);
  };
  const without = (key: string): string => {
    const next = new URLSearchParams(query);
    for (const gone of [key, "offset", "letter"]) next.delete(gone);
    return href("dead-letters", next);
  };
  return (
    <section class="letters-list" aria-labelledby="letters">
      <header class="section-head">
        <h2 id="letters">{filtered ? "Those of the filter" : "All"}</h2>
        <span class="faint num">{data ? rounded(data.total) : ""}</span>
        {fresh > 0 && <button type="button" class="button button-new" onClick={reload}>{rounded(fresh)} new</button>}
        <span class="chips">
          <Choose name="state" values={["new", "replayed", "parked"]} filter={filter} change={change} />
          <Choose name="code" values={[...new Set(groups.map((group) => group.code))]} filter={filter} change={change} />
          <Choose name="source" values={[...new Set(groups.flatMap((group) => group.source ?? []))]} filter={filter} change={change} />
          <Choose name="since" values={["1h", "24h", "7d"]} filter={filter} change={change} />
          {filtered && <a href={href("dead-letters")}>Clear</a>}
        </span>
      </header>
      {error !== null && <Trouble error={error} retry={reload} />}
      {!data && error === null && <Bones rows={8} />}
      {data && rows.length === 0 && (
        <Empty title="No dead letter matches">
          <p>Remove {Object.keys(filter).map((key, i) => <span key={key}>{i > 0 && ", "}<a href={without(key)}>{key}</a></span>)}, or <a href={href("dead-letters")}>show all</a>.</p>
        </Empty>
      )}
      {rows.length > 0 && data && (
        <div class={`split${chosen ? " split-open" : ""}`}>
          <div>
            <Putting marked={[...marked]} filter={filter} done={() => setMarked(new Set())} />
            <table class="table letters" ref={list}>
              <thead>
                <tr>
                  <th scope="col" class="tick-cell"><input type="checkbox" aria-label="Select all of this page" checked={all} onChange={() => setMarked(new Set(all ? [] : rows.map((row) => row.id)))} /></th>
                  <th scope="col">Letter</th>
                  <th scope="col">Why</th>
                  <th scope="col">State</th>
                  <th scope="col" class="right">Written</th>
                </tr>
              </thead>
              <tbody>
                {rows.map((row) => (
                  <tr key={row.id} aria-current={row.id === chosen ? "true" : undefined}>
                    <td class="tick-cell"><input type="checkbox" aria-label={`Select ${row.id}`} checked={marked.has(row.id)} onChange={() => toggle(row.id)} /></td>
                    <th scope="row"><a class="cursor" href={to(row.id)}>{row.id}</a></th>
                    <td class="why"><span class="faint">{row.code}{row.source && ` · ${row.source}`}</span><span class="reason" title={row.reason}>{row.reason}</span></td>
                    <td><StateWord state={row.state} attempts={row.attempts} /></td>
                    <td class="right"><Ago at={row.written} /></td>
                  </tr>
                ))}
              </tbody>
            </table>
            {data.total > PAGE && (
              <p class="pager">
                {offset > 0 && <button type="button" class="button" onClick={() => change((next) => next.set("offset", String(Math.max(0, offset - PAGE))))}>Newer</button>}
                <span class="faint">{precise(offset + 1)} – {precise(offset + rows.length)} of {precise(data.total)}</span>
                {offset + rows.length < data.total && <button type="button" class="button" onClick={() => change((next) => next.set("offset", String(offset + PAGE)))}>Older</button>}
              </p>
            )}
          </div>
          {chosen && <One key={chosen} id={chosen} groups={groups} close={without("letter")} />}
        </div>
      )}
    </section>
  );
}

function Choose({ name, values, filter, change }: { name: string; values: string[]; filter: Record<string, string>; change: ListProps["change"] }) {
  const all = filter[name] && !values.includes(filter[name]) ? [...values, filter[name]] : values;
  const label = name[0].toUpperCase() + name.slice(1);
  return (
    <select
      class={`chip${filter[name] ? " chip-active" : ""}`}
      aria-label={label}
      value={filter[name] ?? ""}
      onChange={(event) => {
        const { value } = event.currentTarget;
        change((next) => {
          for (const gone of ["offset", "letter"]) next.delete(gone);
          if (value) next.set(name, value);
          else next.delete(name);
        });
      }}
    >
      <option value="">{name === "since" ? "Any time" : `Any ${name}`}</option>
      {all.map((value) => <option key={value} value={value}>{name === "since" ? `Last ${value}` : value}</option>)}
    </select>
  );
}

function StateWord({ state, attempts }: { state: Letter["state"]; attempts: number }) {
  const kind = state === "new" ? "warning" : state === "replayed" ? "good" : "waiting";
  return <span class={`status status-${kind}`} title={attempts > 0 ? `Replayed ${count(attempts, "time")} before` : undefined}>{STATES[state] ?? state}</span>;
}

interface Asked {
  ids?: string[];
  code?: string[];
  source?: string[];
  again?: boolean;
  parked?: boolean;
}

/** What would become of them, and putting them back. */
function Putting({ marked, filter, done }: { marked: string[]; filter: Record<string, string>; done: () => void }) {
  const [outcome, setOutcome] = useState<Replay | null>(null);
  const [confirming, setConfirming] = useState(false);
  const [sure, setSure] = useState(false);
  const [busy, setBusy] = useState<"" | "trying" | "replaying">("");
  const [error, setError] = useState<unknown>(null);
  // A filter by time or to several sources cannot be said in a replay: those of it have to be selected.
  const sayable = !filter.since;
  const asked: Asked = {
    ...(marked.length > 0 ? { ids: marked } : { ...(filter.code && { code: [filter.code] }), ...(filter.source && { source: [filter.source] }) }),
    ...(filter.state === "replayed" && { again: true }),
    ...(filter.state === "parked" && { parked: true }),
  };
  const what = marked.length > 0 ? `${count(marked.length, "selected letter")}` : filter.code || filter.source ? "all of the filter" : "all that are new";
  const key = JSON.stringify(asked);
  const subject = marked.length > 0 || sayable;

  // An outcome is of what was asked for; another choice needs another.
  useEffect(() => {
    if (busy !== "replaying" && outcome?.dryRun) {
      setOutcome(null);
      setConfirming(false);
    }
    setSure(false);
  }, [key]);

  const send = (dryRun: boolean, confirm: boolean) => {
    setBusy(dryRun ? "trying" : "replaying");
    setError(null);
    write<Replay>("POST", "/api/admin/dead-letters/replay", { ...asked, dryRun, ...((dryRun || sure) && { yes: true }) }).then(
      (found) => {
        setOutcome(found);
        setConfirming(confirm);
        setBusy("");
        if (dryRun) return;
        done();
        outdated("/api/admin/dead-letters");
        outdated("/api/admin/sources");
      },
      (error: unknown) => {
        setError(error);
        setBusy("");
      },
    );
  };
  const many = (outcome?.records ?? 0) > CONSENT;
  return (
    <div class="putting">
      <p class="actions">
        <Action scope="replay" disabled={busy !== "" || !subject} title="Changes nothing" onClick={() => send(true, false)}>{busy === "trying" ? "Trying…" : "Dry run"}</Action>
        <Action scope="replay" disabled={busy !== "" || !subject} title="First says what it will do" onClick={() => send(true, true)}>Replay…</Action>
        <span class="muted">{subject ? `for ${what}` : "Select letters: a replay cannot be limited by time."}</span>
      </p>
      <Lacking scope="replay" />
      {error !== null && <Trouble error={error} what="This was not done" />}
      <div aria-live="polite">
        {outcome && (
          <div class={`outcome-box${outcome.dryRun ? "" : " outcome-done"}`}>
            <Words outcome={outcome} />
            {confirming && outcome.dryRun && outcome.records > 0 && (
              <>
                {many && (
                  <label class="check">
                    <input type="checkbox" checked={sure} onChange={(event) => setSure(event.currentTarget.checked)} /> Yes, these are {precise(outcome.records)} records
                  </label>
                )}
                <p class="actions">
                  <Action scope="replay" class="button button-main" disabled={busy !== "" || (many && !sure)} onClick={() => send(false, false)}>
                    {busy === "replaying" ? "Replaying…" : `Replay ${count(outcome.records, "record")}`}
                  </Action>
                  <button type="button" class="button" onClick={() => setOutcome(null)}>Cancel</button>
                </p>
              </>
            )}
            {!(confirming && outcome.dryRun && outcome.records > 0) && <button type="button" class="link" onClick={() => setOutcome(null)}>Close</button>}
          </div>
        )}
      </div>
    </div>
  );
}

const SKIPPED: Record<string, [string, string]> = {
  replayed: ["was replayed before", "were replayed before"],
  parked: ["is parked", "are parked"],
  outdated: ["has a newer record in its place", "have a newer record in their place"],
  gone: ["is not in its topic any more", "are not in their topic any more"],
  missing: ["is not in its topic any more", "are not in their topic any more"],
};

function Words({ outcome }: { outcome: Replay }) {
  const { dryRun, records, letters, topics, skipped, outlook, complete, seconds } = outcome;
  const into = Object.entries(topics).map(([topic]) => topic).join(", ");
  const left = Object.entries(skipped).filter(([, n]) => n > 0);
  const failing = Object.entries(outlook?.failures ?? {}).filter(([, n]) => n > 0);
  return (
    <>
      <p>
        {records === 0 ? (
          <strong>{dryRun ? "Nothing would be replayed." : "Nothing was replayed."}</strong>
        ) : (
          <>
            <strong>{count(records, "record")} {dryRun ? "would be sent again" : records === 1 ? "was sent again" : "were sent again"}</strong>, for {count(letters, "letter")}
            {into && <>, to <code>{into}</code></>}.
          </>
        )}
        {!dryRun && records > 0 && <> It took {seconds.toFixed(1)} s. One that fails again comes back as a new letter.</>}
      </p>
      {outlook && records > 0 && (
        <p>
          {count(outlook.readable, "record")} can be read now{failing.length > 0 ? <>; {failing.map(([code, n], i) => <span key={code}>{i > 0 && ", "}{n} would fail again (<code>{code}</code>)</span>)}.</> : "."}
        </p>
      )}
      {left.length > 0 && (
        <p class="muted">
          Left out: {left.map(([why, n]) => `${rounded(n)} ${SKIPPED[why]?.[n === 1 ? 0 : 1] ?? why}`).join("; ")}.
        </p>
      )}
      {!complete && <p class="muted">There are more than one call sends. Do it again for the rest.</p>}
    </>
  );
}

function One({ id, groups, close }: { id: string; groups: LetterGroup[]; close: string }) {
  const { data, error, reload } = useData<Whole>(`/api/admin/dead-letters/${id.split("/").map(encodeURIComponent).join("/")}`);
  const hint = data && groups.find((group) => group.code === data.code)?.hint;
  return (
    <Side label={`Letter ${id}`} close={close}>
      {error !== null && <Trouble error={error} retry={reload} />}
      {!data && error === null && <Bones rows={5} />}
      {data && (
        <>
          <p class="letter-reason"><code>{data.code}</code> {data.reason}</p>
          {hint && <p class="letter-hint"><strong>What to do:</strong> {hint}</p>}
          <dl class="facts-list">
            <div><dt>State</dt><dd><StateWord state={data.state} attempts={data.attempts} /> {data.attempts > 0 && <span class="muted">after {count(data.attempts, "replay")}</span>}</dd></div>
            <div><dt>Source</dt><dd>{data.source ? <a href={href("sources", new URLSearchParams({ source: data.source }))}>{data.source}</a> : <span class="muted">not known</span>}</dd></div>
            <div><dt>Record</dt><dd><a href={recordHref(data)}>{data.topic}, partition {data.partition}, offset {precise(data.offset)}</a></dd></div>
            {data.part && <div><dt>Part</dt><dd><code>{data.part}</code>{data.excerpt && <span class="muted"> only its bytes are kept</span>}</dd></div>}
            {data.contentType && <div><dt>Content type</dt><dd>{data.contentType}</dd></div>}
            <div><dt>Written</dt><dd><Ago at={data.written} /></dd></div>
          </dl>
          <h3>Bytes <span class="faint">{precise(data.bytes)}</span></h3>
          <Bytes content={data.value} part={data.excerpt ? null : data.part} reason={data.reason} />
          <h3>Headers</h3>
          <Headers headers={data.headers} />
        </>
      )}
    </Side>
  );
}

export function recordHref({ topic, partition, offset }: { topic: string; partition: number; offset: number }): string {
  return href("log", new URLSearchParams({ topic, partition: String(partition), offset: String(offset), record: `${partition}/${offset}` }));
}
