// Bytes for people: text as it is, JSON as a tree that folds, anything else as hexadecimal digits.

import { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { Content } from "./api";
import { precise } from "./format";

export function bytesOf(content: { base64: string }): Uint8Array {
  const text = atob(content.base64);
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

/** One line of it, for a list. */
export function glance(content: Content, most = 200): string {
  if (content === null) return "";
  if (typeof content === "string") return content.slice(0, most).replace(/\s+/g, " ");
  const bytes = bytesOf({ base64: content.base64.slice(0, 64) });
  return [...bytes].slice(0, 24).map(hex).join(" ");
}

const hex = (byte: number): string => byte.toString(16).padStart(2, "0");

function parsed(text: string): unknown {
  if (!/^\s*[[{]/.test(text)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A place in a text that a reason names: “at line 3 column 12”. */
function failing(text: string, reason: string): number | null {
  const found = /line (\d+),? column (\d+)/.exec(reason);
  if (!found) return null;
  const lines = text.split("\n");
  const [line, column] = [Number(found[1]), Number(found[2])];
  if (line > lines.length) return null;
  return Math.min(text.length, lines.slice(0, line - 1).reduce((all, one) => all + one.length + 1, 0) + Math.max(0, column - 1));
}

export function Bytes({ content, part, reason = "" }: { content: Content; part?: string | null; reason?: string }) {
  const [raw, setRaw] = useState(false);
  if (content === null) return <p class="note">It has no value. On a compacted topic this deletes its key.</p>;
  if (typeof content !== "string") return <Hex bytes={bytesOf(content)} />;
  if (content === "") return <p class="note">It is empty.</p>;
  const json = parsed(content);
  const folded = json !== undefined && !raw;
  return (
    <div class="bytes">
      {json !== undefined && (
        <button type="button" class="link bytes-switch" onClick={() => setRaw(!raw)}>{raw ? "Show folded" : "Show as sent"}</button>
      )}
      {folded ? (
        <div class="code" tabIndex={0} role="group" aria-label="The value, as JSON"><Tree value={json} path="" name={null} marked={part ?? null} depth={0} last /></div>
      ) : (
        <pre class="code" tabIndex={0}><Text text={content} at={failing(content, reason)} /></pre>
      )}
    </div>
  );
}

function Text({ text, at }: { text: string; at: number | null }) {
  if (at === null) return <code>{text}</code>;
  const end = Math.min(text.length, at + 1);
  return <code>{text.slice(0, at)}<mark class="failing" title="Here it fails">{text.slice(at, end) || "⏎"}</mark>{text.slice(end)}</code>;
}

const escaped = (key: string): string => key.replaceAll("~", "~0").replaceAll("/", "~1");

/** So many parts of one are shown at first: a record may have thousands, and a browser is slow with them. */
const PARTS = 200;

/** What is deep or long begins folded, but for the way to the marked part. */
function Tree(props: { value: unknown; path: string; name: string | null; marked: string | null; depth: number; last: boolean }) {
  const { value, path, name, marked, depth, last } = props;
  const many = value !== null && typeof value === "object";
  const entries = many ? Object.entries(value) : [];
  const way = marked !== null && marked.startsWith(path) && (marked.length === path.length || marked[path.length] === "/");
  const [open, setOpen] = useState(depth === 0 || (depth < 2 && entries.length <= 50) || way);
  const [all, setAll] = useState(false);
  const marks = way ? entries.findIndex(([key]) => marked.startsWith(`${path}/${escaped(key)}`)) : -1;
  const most = all ? entries.length : Math.max(PARTS, marks + 1);
  const here = marked !== null && marked !== "" && marked === path;
  const comma = last ? "" : ",";
  const label: ComponentChildren = name === null ? null : <><span class="json-key">{name}</span>: </>;
  if (!many || entries.length === 0) {
    return <div class={`json-line${here ? " json-marked" : ""}`}>{label}<Leaf value={value} />{comma}</div>;
  }
  const array = Array.isArray(value);
  const [left, right] = array ? ["[", "]"] : ["{", "}"];
  return (
    <div class={here ? "json-marked" : undefined}>
      <div class="json-line">
        <button type="button" class="json-fold" aria-expanded={open} onClick={() => setOpen(!open)}>
          <span class="sr">{open ? "Fold" : "Unfold"} {name ?? "all"}</span>
        </button>
        {label}{left}
        {!open && <><span class="faint"> {entries.length} {array ? "" : entries.length === 1 ? "field " : "fields "}</span>{right}{comma}</>}
        {here && <span class="json-note">This part failed</span>}
      </div>
      {open && (
        <>
          <div class="json-in">
            {entries.slice(0, most).map(([key, one], i) => (
              <Tree key={key} value={one} path={`${path}/${escaped(key)}`} name={array ? null : key} marked={marked} depth={depth + 1} last={i === entries.length - 1} />
            ))}
            {entries.length > most && <button type="button" class="link" onClick={() => setAll(true)}>{precise(entries.length - most)} more</button>}
          </div>
          <div class="json-line">{right}{comma}</div>
        </>
      )}
    </div>
  );
}

function Leaf({ value }: { value: unknown }) {
  const kind = value === null ? "null" : typeof value;
  return <span class={`json-${kind}`}>{JSON.stringify(value)}</span>;
}

/** So many fit beside a list, and on a telephone. */
const ROW = 8;
const FIRST_ROWS = 64;

function Hex({ bytes }: { bytes: Uint8Array }) {
  const [all, setAll] = useState(false);
  const rows = Math.ceil(bytes.length / ROW);
  const shown = all ? rows : Math.min(rows, FIRST_ROWS);
  const lines = Array.from({ length: shown }, (_, i) => {
    const row = [...bytes.slice(i * ROW, (i + 1) * ROW)];
    const digits = row.map(hex).join(" ").padEnd(ROW * 3 - 1);
    const chars = row.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : "·")).join("");
    return `${(i * ROW).toString(16).padStart(6, "0")}  ${digits}  ${chars}`;
  });
  return (
    <div class="bytes">
      <p class="note">Not text: {precise(bytes.length)} bytes as hexadecimal digits.</p>
      <pre class="code" tabIndex={0}><code>{lines.join("\n")}</code></pre>
      {shown < rows && <button type="button" class="link" onClick={() => setAll(true)}>Show all {precise(bytes.length)} bytes</button>}
    </div>
  );
}

export function Headers({ headers }: { headers: Record<string, Content> }) {
  const all = Object.entries(headers);
  if (all.length === 0) return <p class="note">It has no headers.</p>;
  return (
    <table class="headers">
      <thead class="sr"><tr><th scope="col">Header</th><th scope="col">Value</th></tr></thead>
      <tbody>
        {all.map(([name, value]) => (
          <tr key={name}><th scope="row">{name}</th><td>{typeof value === "string" ? value : glance(value)}</td></tr>
        ))}
      </tbody>
    </table>
  );
}
