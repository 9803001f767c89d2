// Log: the topics, and the records in them.

import { useEffect, useState } from "preact/hooks";
import { LogRecord, LogRecords, serverNow, Topic } from "../api";
import { Bytes, glance, Headers } from "../content";
import { useData } from "../data";
import { absolute, count, precise, rounded } from "../format";
import { go, href, Place } from "../route";
import { Ago, Bones, Copy, Empty, Num, Side, Trouble, useRowKeys } from "../ui";

const LIMIT = 50;
const SCANNED = 50_000;
const TOPICS = "/api/admin/topics";

const held = ({ partitions }: Topic): number => partitions.reduce((all, { low, high }) => all + high - low, 0);

export function LogPage({ place }: { place: Place }) {
  const { data, error, reload } = useData<{ topics: Topic[] }>(TOPICS, 5_000);
  const name = place.query.get("topic");
  const topic = data?.topics.find((topic) => topic.name === name);
  return (
    <div class="log-page">
      <header class="page-head">
        <h1>{name ? <><a href={href("log")}>Log</a> <span class="faint">/</span> {name}</> : "Log"}</h1>
        <p class="muted">
          {!name && data && `${count(data.topics.length, "topic")}, ${rounded(data.topics.reduce((all, topic) => all + held(topic), 0))} records.`}
          {topic && `${topic.cleanup.includes("compact") ? "Compacted: the last record of each key stays." : "Old records are deleted."}`}
          {!data && error === null && "Loading…"}
        </p>
      </header>
      {error !== null && <Trouble error={error} retry={reload} />}
      {!data && error === null && <Bones rows={8} />}
      {data && !name && <Topics topics={data.topics} />}
      {data && name && !topic && (
        <Empty title="There is no such topic">
          <p><a href={href("log")}>Show all topics</a></p>
        </Empty>
      )}
      {topic && <Browser topic={topic} place={place} />}
    </div>
  );
}

function Topics({ topics }: { topics: Topic[] }) {
  const list = useRowKeys(() => {});
  if (topics.length === 0) {
    return (
      <Empty title="The log has no topics yet">
        <p>The engine makes them at its first start:</p>
        <pre><code>cargo run --release</code></pre>
      </Empty>
    );
  }
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label="Topics">
      <table class="table stacks" ref={list}>
        <thead>
          <tr>
            <th scope="col">Topic</th>
            <th scope="col">Cleanup</th>
            <th scope="col" class="right">Partitions</th>
            <th scope="col" class="right" title="Between the first and the end of each partition">Records</th>
            <th scope="col">Ends</th>
          </tr>
        </thead>
        <tbody>
          {topics.map((topic) => (
            <tr key={topic.name}>
              <th scope="row"><a class="cursor" href={href("log", new URLSearchParams({ topic: topic.name }))}>{topic.name}</a></th>
              <td data-label="Cleanup">{topic.cleanup}</td>
              <td data-label="Partitions" class="right">{topic.partitions.length}</td>
              <td data-label="Records" class="right"><Num value={held(topic)} /></td>
              <td data-label="Ends" class="ends num">{topic.partitions.map(({ high }) => precise(high)).join(" · ")}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Where most was written, so that the first look is not at nothing. */
const fullest = ({ partitions }: Topic): number => partitions.reduce((best, { low, high }, i) => (high - low > partitions[best].high - partitions[best].low ? i : best), 0);

function Browser({ topic, place }: { topic: Topic; place: Place }) {
  const { query } = place;
  const [first] = useState(() => fullest(topic));
  const partition = Math.min(topic.partitions.length - 1, Math.max(0, query.has("partition") ? Number(query.get("partition")) || 0 : first));
  const [key, since, contains, offset] = ["key", "since", "contains", "offset"].map((name) => query.get(name) ?? "");
  const asked = new URLSearchParams({ limit: String(LIMIT) });
  if (key) asked.set("key", key);
  else {
    asked.set("partition", String(partition));
    if (since) asked.set("since", since);
    // A filter looks at as many as the server looks at, not at the last few.
    else asked.set("offset", offset || String(contains ? -SCANNED : -LIMIT));
  }
  if (contains) asked.set("contains", contains);
  const path = `/api/admin/topics/${encodeURIComponent(topic.name)}/records?${asked}`;
  const { data, error, reload } = useData<LogRecords>(path);
  const chosen = query.get("record");
  const to = (values: Record<string, string | null>): string => {
    const next = new URLSearchParams(query);
    for (const [name, value] of Object.entries(values)) {
      if (value) next.set(name, value);
      else next.delete(name);
    }
    return href("log", next);
  };
  const list = useRowKeys(() => chosen && go(to({ record: null })));
  const records = data?.records ?? [];
  const idOf = (record: LogRecord): string => `${record.partition}/${record.offset}`;
  const record = records.find((record) => idOf(record) === chosen);
  const { low, high } = topic.partitions[partition] ?? { low: 0, high: 0 };
  const [firstShown, lastShown] = [records[0], records.at(-1)];
  const tail = !key && !since && !offset;
  const newer = tail && data && lastShown ? high - lastShown.offset - 1 : 0;
  return (
    <>
      <Where topic={topic} partition={partition} query={query} />
      <div class="list-head">
        <span aria-live="polite">
          {data && <>{count(records.length, "record")}{key ? <> with the key <code>{key}</code></> : ""}{contains && `, of ${precise(data.scanned)} that were looked at`}{!data.complete && ". The search stopped there"}</>}
          {!data && error === null && "Loading…"}
        </span>
        {newer > 0 && !contains && <button type="button" class="button button-new" onClick={reload}>{rounded(newer)} new</button>}
        {!key && (
          <span class="pager-links">
            {firstShown && firstShown.offset > low && !since && !contains && <a href={to({ offset: String(Math.max(low, firstShown.offset - LIMIT)), record: null })}>Older</a>}
            {data?.next && <a href={to({ partition: String(data.next.partition), offset: String(data.next.offset), since: null, record: null })}>{contains ? "Search on" : "Newer"}</a>}
            {!tail && <a href={to({ offset: null, since: null, record: null })}>To the end</a>}
          </span>
        )}
      </div>
      {error !== null && <Trouble error={error} retry={reload} />}
      {!data && error === null && <Bones rows={10} />}
      {data && records.length === 0 && (
        <Empty title={key || since || contains || offset ? "No record matches" : "This partition is empty"}>
          <p>{key || since || contains || offset ? <a href={href("log", new URLSearchParams({ topic: topic.name, partition: String(partition) }))}>Show the end of the partition</a> : "Records appear here as soon as they are written."}</p>
        </Empty>
      )}
      {records.length > 0 && (
        <div class={`split${record ? " split-open" : ""}`}>
          <table class="table records" ref={list}>
            <thead>
              <tr>
                <th scope="col" class="right">{key ? "Partition, offset" : "Offset"}</th>
                <th scope="col">Written</th>
                <th scope="col">Key</th>
                <th scope="col">Value</th>
                <th scope="col" class="right">Bytes</th>
              </tr>
            </thead>
            <tbody>
              {[...records].reverse().map((record) => (
                <tr key={idOf(record)} aria-current={idOf(record) === chosen ? "true" : undefined}>
                  <th scope="row" class="right"><a class="cursor num" href={to({ record: idOf(record) })}>{key ? `${record.partition}, ` : ""}{precise(record.offset)}</a></th>
                  <td class="record-time">{record.timestamp && <Ago at={record.timestamp} />}</td>
                  <td class="record-key"><code>{glance(record.key, 80)}</code></td>
                  <td class="record-value">{record.value === null ? <span class="faint">deleted</span> : <code>{glance(record.value)}</code>}</td>
                  <td class="right"><Num value={record.bytes} /></td>
                </tr>
              ))}
            </tbody>
          </table>
          {record && <One key={idOf(record)} record={record} close={to({ record: null })} keyHref={typeof record.key === "string" && record.key ? href("log", new URLSearchParams({ topic: topic.name, key: record.key })) : null} />}
        </div>
      )}
      {chosen && data && !record && records.length > 0 && <p class="note">Record {chosen} is not in this view.</p>}
    </>
  );
}

const UNITS: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A time, or how long ago, as the moment that the server wants; the address is to show the same tomorrow. */
function moment(typed: string): string {
  const ago = /^(\d+)\s*([smhd])$/.exec(typed.trim());
  const at = ago ? serverNow() - Number(ago[1]) * UNITS[ago[2]] : Date.parse(typed);
  return Number.isNaN(at) ? typed : new Date(at).toISOString();
}

/** By offset, key, time and what it contains; what is typed comes into the address with Enter. */
function Where({ topic, partition, query }: { topic: Topic; partition: number; query: URLSearchParams }) {
  const read = () => Object.fromEntries(["offset", "key", "since", "contains"].map((name) => [name, query.get(name) ?? ""]));
  const [typed, setTyped] = useState<Record<string, string>>(read);
  useEffect(() => setTyped(read()), [query.toString()]);
  const show = (values: Record<string, string>) => {
    const next = new URLSearchParams({ topic: topic.name, ...(values.key ? {} : { partition: values.partition ?? String(partition) }) });
    // A key is looked for in all partitions; a time takes the place of an offset.
    for (const name of values.key ? ["key", "contains"] : values.since ? ["since", "contains"] : ["offset", "contains"]) if (values[name]?.trim()) next.set(name, name === "since" ? moment(values[name]) : values[name].trim());
    go(href("log", next));
  };
  const field = (name: string, label: string, hint: string, size: string) => (
    <label class={`field field-${size}`}>
      {label}
      <input type="text" inputMode={name === "offset" ? "numeric" : undefined} placeholder={hint} spellcheck={false} autocomplete="off" value={typed[name]} onInput={(event) => setTyped({ ...typed, [name]: event.currentTarget.value })} />
    </label>
  );
  return (
    <form class="where" role="search" aria-label="Records" onSubmit={(event) => {
      event.preventDefault();
      show(typed);
    }}>
      <label class="field field-medium">
        Partition
        <select value={String(partition)} onChange={(event) => show({ contains: typed.contains, partition: event.currentTarget.value })}>
          {topic.partitions.map(({ low, high }, i) => <option key={i} value={String(i)}>{i}: {precise(low)} – {precise(high)}</option>)}
        </select>
      </label>
      {field("offset", "Offset", "the end", "small")}
      {field("since", "Since", "2h, or a time", "medium")}
      {field("key", "Key", "in all partitions", "medium")}
      {field("contains", "Contains", "text", "medium")}
      <button type="submit" class="button">Show</button>
    </form>
  );
}

function One({ record, close, keyHref }: { record: LogRecord; close: string; keyHref: string | null }) {
  return (
    <Side label={`Partition ${record.partition}, offset ${precise(record.offset)}`} close={close}>
      <dl class="facts-list">
        <div><dt>Written</dt><dd>{record.timestamp ? <><Ago at={record.timestamp} /> <span class="muted">{absolute(Date.parse(record.timestamp))}</span></> : "not known"}</dd></div>
        <div>
          <dt>Key</dt>
          <dd>
            {record.key === null ? <span class="muted">none</span> : <code>{glance(record.key, 1_000)}</code>}
            {typeof record.key === "string" && record.key && <> <Copy text={record.key} label="the key" /></>}
            {keyHref && <> <a href={keyHref}>All of this key</a></>}
          </dd>
        </div>
        <div><dt>Size</dt><dd>{precise(record.bytes)} bytes{record.cut && <span class="muted">, cut here to the first 64 KiB</span>}</dd></div>
      </dl>
      <h3>Value</h3>
      <Bytes content={record.value} />
      <h3>Headers</h3>
      <Headers headers={record.headers} />
    </Side>
  );
}
