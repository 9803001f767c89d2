// What pages ask for and show: one request for all who show the same, read anew now and then.

import { useEffect, useState } from "preact/hooks";
import { ApiError, get } from "./api";

/** After an error it is tried again so soon. */
const RETRY_MS = 3_000;
/** Answers that nobody shows are kept, so that the way back does not flicker. */
const KEPT = 40;

class Watched {
  data: unknown = null;
  error: unknown = null;
  at = 0;
  readonly shown = new Map<() => void, number>();
  private timer = 0;
  private asking: AbortController | null = null;

  constructor(readonly path: string) {}

  show(tell: () => void, every: number): () => void {
    this.shown.set(tell, every);
    if (Date.now() - this.at > 1_000) void this.load();
    else this.plan();
    return () => {
      this.shown.delete(tell);
      if (this.shown.size === 0) this.stop();
    };
  }

  async load(): Promise<void> {
    this.stop();
    const asking = new AbortController();
    this.asking = asking;
    try {
      const data = await (await get(this.path, asking.signal)).json();
      if (this.asking !== asking) return;
      this.take(data, false);
    } catch (error) {
      if (this.asking !== asking) return;
      this.error = error;
    }
    this.asking = null;
    this.shown.forEach((_, tell) => tell());
    this.plan();
  }

  take(data: unknown, tell = true): void {
    this.data = data;
    this.error = null;
    this.at = Date.now();
    if (tell) this.shown.forEach((_, draw) => draw());
  }

  private plan(): void {
    clearTimeout(this.timer);
    const asked = [...this.shown.values()].filter((every) => every > 0);
    // What is asked for wrongly, or by one who may not, stays so.
    const hopeless = this.error instanceof ApiError && this.error.status >= 400 && this.error.status < 500 && this.error.status !== 429;
    if (this.shown.size === 0 || hopeless || (!this.error && asked.length === 0)) return;
    const wait = this.error ? RETRY_MS : Math.min(...asked);
    this.timer = window.setTimeout(() => (document.hidden ? this.plan() : void this.load()), wait);
  }

  private stop(): void {
    clearTimeout(this.timer);
    this.asking?.abort();
    this.asking = null;
  }
}

const all = new Map<string, Watched>();

function watched(path: string): Watched {
  let found = all.get(path);
  if (!found) {
    found = new Watched(path);
    for (const [path, { shown }] of all) if (all.size >= KEPT && shown.size === 0) all.delete(path);
    all.set(path, found);
  }
  return found;
}

/** What was asked for under a path that begins so is not true any more. */
export function outdated(prefix: string): void {
  for (const [path, one] of all) {
    if (!path.startsWith(prefix)) continue;
    if (one.shown.size > 0) void one.load();
    else all.delete(path);
  }
}

/** What was written is known to all when the engine has decided, a moment later: it is asked for until then. */
const DECIDED_MS = [0, 300, 1_200];

/** What was asked for under a path that begins so will not be true any more, since something was written. */
export function outdatedSoon(prefix: string): void {
  for (const ms of DECIDED_MS) setTimeout(() => outdated(prefix), ms);
}

/** A stream has told what is under a path now. */
export function told(path: string, data: unknown): void {
  watched(path).take(data);
}

/** Another reader may see other things. */
export function forget(): void {
  for (const one of all.values()) {
    one.data = null;
    one.error = null;
    one.at = 0;
    if (one.shown.size > 0) void one.load();
  }
}

export interface Data<T> {
  data: T | null;
  error: unknown;
  reload(): void;
}

/** The answer to a GET, read anew every so many ms (0: only when it is outdated). Without a path nothing is asked. */
export function useData<T>(path: string | null, every = 0): Data<T> {
  const [, draw] = useState(0);
  useEffect(() => {
    if (path === null) return;
    const again = () => draw((n) => n + 1);
    const stop = watched(path).show(again, every);
    // It may have come between the first drawing and now.
    again();
    return stop;
  }, [path, every]);
  const one = path === null ? null : watched(path);
  return { data: (one?.data ?? null) as T | null, error: one?.data ? null : (one?.error ?? null), reload: () => void one?.load() };
}
