// Small parts that pages share.

import { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { access } from "./access";
import { ApiError, serverNow } from "./api";
import { absolute, categoryClass, letters, precise, rounded, span, STATUS } from "./format";

/** Draws anew every so many ms, together with all who do. */
export function useTick(ms: number): void {
  const [, set] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) set((n) => n + 1);
    }, ms);
    return () => clearInterval(timer);
  }, [ms]);
}

/** A time of operations: relative, with the absolute one on hover, in the reader's zone. */
export function Ago({ at }: { at: string | number }) {
  const ms = typeof at === "number" ? at : Date.parse(at);
  useTick(Date.now() - ms < 90_000 ? 1_000 : 20_000);
  const age = Math.max(0, serverNow() - ms);
  return (
    <time dateTime={new Date(ms).toISOString()} title={absolute(ms)}>
      {age < 1_000 ? "now" : `${span(age < 9_950 ? Math.floor(age / 1000) * 1000 : age).replace(".0 s", " s")} ago`}
    </time>
  );
}

export function Num({ value }: { value: number }) {
  return <span class="num" title={value >= 10_000 ? precise(value) : undefined}>{rounded(value)}</span>;
}

export function Sources({ names }: { names: string[] }) {
  const most = 3;
  const rest = names.slice(names.length > most + 1 ? most : most + 1);
  return (
    <span class="sources">
      {names.slice(0, names.length - rest.length).map((name) => (
        <abbr key={name} class="source" title={name}>
          {letters(name)}
        </abbr>
      ))}
      {rest.length > 0 && <abbr class="source" title={rest.join(", ")}>+{rest.length}</abbr>}
    </span>
  );
}

export function Grade({ letter, long }: { letter: string | null; long?: boolean }) {
  if (!letter) return <span class="grade grade-none" title="No grade">–</span>;
  return (
    <span class={`grade grade-${letter}`} title={`Quality ${letter}`}>
      {long && "Quality "}
      {!long && <span class="sr">Quality </span>}
      {letter}
    </span>
  );
}

export function Category({ name }: { name: string | null }) {
  return (
    <span class="category">
      <span class={categoryClass(name)} aria-hidden="true" />
      {name ?? "No category"}
    </span>
  );
}

/** Only what is not as planned is worth a word. */
export function Status({ status }: { status: string | null }) {
  if (!status || status === "scheduled") return null;
  const kind = status === "cancelled" ? "bad" : status === "soldOut" || status === "movedOnline" ? "waiting" : "warning";
  return <span class={`status status-${kind}`}>{STATUS[status] ?? status}</span>;
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children}
    </div>
  );
}

/** What is wrong, and what to do about it. */
export function Trouble({ error, retry, what = "This could not be shown" }: { error: unknown; retry?: () => void; what?: string }) {
  const known = error instanceof ApiError ? error : null;
  const locked = known?.status === 401;
  useEffect(() => {
    if (locked) access.prompt();
  }, [locked]);
  let title = what;
  let advice = <>The browser's console may say more. If it happens again, please report it.</>;
  if (known?.code === "unreachable") {
    title = "The server does not answer";
    advice = <>Is it running? This page goes on by itself when it is back.</>;
  } else if (known?.code === "not-ready") {
    title = "The log is still being read";
    advice = <>This takes seconds, or minutes for a long log. The page goes on by itself.</>;
  } else if (locked) {
    title = "Sign in to see this";
    advice = (
      <>
        The server asks who you are. <button type="button" class="link" onClick={() => access.ask(true)}>Sign in</button>
      </>
    );
  } else if (known?.status === 403) {
    title = "Your key does not allow this";
    advice = <>{known.message} Ask the operator for a key with more scopes.</>;
  } else if (known?.status === 429) {
    title = "Too many requests";
    advice = <>{known.message}</>;
  } else if (known?.status === 404) {
    title = "The server does not have this";
    advice = <>{known.message}</>;
  } else if (known?.status === 400) {
    title = "The filter is not valid";
    advice = (
      <>
        {known.message} <a href={location.pathname}>Remove all filters</a>
      </>
    );
  } else if (known) {
    advice = <>{known.message}</>;
  }
  return (
    <div class="trouble" role="alert">
      <p class="empty-title">{title}</p>
      <p>{advice}</p>
      {retry && !locked && (
        <button type="button" class="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

export function Copy({ text, label }: { text: string; label: string }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    // Browsers have a clipboard only where the connection is safe.
    if (!navigator.clipboard) return prompt(`Copy ${label}:`, text);
    await navigator.clipboard.writeText(text).catch(() => prompt(`Copy ${label}:`, text));
    setDone(true);
    setTimeout(() => setDone(false), 1_500);
  };
  return (
    <button type="button" class="copy" onClick={copy} aria-label={`Copy ${label}`}>
      {done ? "Copied" : "Copy"}
    </button>
  );
}

/** A button with something that opens below it. Escape and a click elsewhere close it. */
export function Popover(props: { label: ComponentChildren; active?: boolean; children: (close: () => void) => ComponentChildren }) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const close = () => {
    setOpen(false);
    root.current?.querySelector("button")?.focus();
  };
  useEffect(() => {
    if (!open) return;
    const outside = (event: Event) => {
      if (!root.current?.contains(event.target as Node)) setOpen(false);
    };
    const escape = (event: KeyboardEvent) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      close();
    };
    const node = root.current;
    document.addEventListener("pointerdown", outside);
    node?.addEventListener("keydown", escape);
    node?.querySelector<HTMLElement>(".popover input, .popover button, .popover a")?.focus();
    return () => {
      document.removeEventListener("pointerdown", outside);
      node?.removeEventListener("keydown", escape);
    };
  }, [open]);
  return (
    <div class="popover-root" ref={root}>
      <button type="button" class={`chip${props.active ? " chip-active" : ""}`} aria-expanded={open} onClick={() => setOpen(!open)}>
        {props.label}
        <svg class="caret" viewBox="0 0 8 8" aria-hidden="true"><path d="M1 2.5 4 5.5 7 2.5" /></svg>
      </button>
      {open && <div class="popover">{props.children(close)}</div>}
    </div>
  );
}

export function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches("input:not([type=checkbox]):not([type=range]), textarea, select, [contenteditable]");
}

/** `j` and `k` move the focus over the links `a.cursor` of a list; Escape closes what is open. */
export function useRowKeys<T extends HTMLElement = HTMLTableElement>(close: () => void) {
  const list = useRef<T>(null);
  useEffect(() => {
    const key = (event: KeyboardEvent) => {
      if (event.defaultPrevented || isTyping(event.target) || event.metaKey || event.ctrlKey || event.altKey) return;
      if (event.key === "j" || event.key === "k") {
        const links = [...(list.current?.querySelectorAll<HTMLElement>("a.cursor") ?? [])];
        const at = links.indexOf(document.activeElement as HTMLElement);
        const open = links.findIndex((link) => link.closest("[aria-current]"));
        const from = at >= 0 ? at : open;
        const next = from < 0 ? 0 : Math.min(links.length - 1, Math.max(0, from + (event.key === "j" ? 1 : -1)));
        links[next]?.focus();
        event.preventDefault();
      } else if (event.key === "Escape" && !document.querySelector("dialog[open]")) close();
    };
    addEventListener("keydown", key);
    return () => removeEventListener("keydown", key);
  });
  return list;
}

/** The place of rows that are not there yet. */
export function Bones({ rows }: { rows: number }) {
  return (
    <div class="bones" aria-hidden="true">
      {Array.from({ length: rows }, (_, i) => (
        <div key={i}><span class={`bone bone-what bone-${i % 3}`} /></div>
      ))}
    </div>
  );
}

/** A line without axes, from 0. */
export function Spark({ values, label }: { values: number[]; label: string }) {
  const most = Math.max(1, ...values);
  const x = (i: number) => (i / Math.max(1, values.length - 1)) * 96 + 2;
  const y = (value: number) => 22 - (value / most) * 20;
  const line = values.map((value, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  return (
    <svg class="spark" viewBox="0 0 100 24" role="img" aria-label={label}>
      <path class="spark-area" d={`${line}L98 22L2 22Z`} />
      <path class="spark-line" d={line} />
    </svg>
  );
}

/** What was chosen of a list, beside it; where there is no room, before it. */
export function Side({ label, close, children }: { label: string; close: string; children: ComponentChildren }) {
  const root = useRef<HTMLElement>(null);
  useEffect(() => {
    if (matchMedia("(max-width: 1023px)").matches) root.current?.scrollIntoView({ block: "start" });
  }, []);
  return (
    <article class="side" ref={root} aria-label={label}>
      <a class="close" href={close} aria-label={`Close ${label}`} title="Close (Esc)">×</a>
      <h2>{label}</h2>
      {children}
    </article>
  );
}
