// The one stream of everything that the frame holds: how fresh the page is, and what has just changed.

import { ROW_FIELDS } from "./api";
import { connection } from "./connection";
import { Change, Stream } from "./stream";

/** What of the last minute is counted, a slot a second. */
export interface Second {
  at: number;
  enter: number;
  update: number;
  leave: number;
}

const SECONDS = 60;

class Feed {
  position = "";
  /** When the newest commit came; `null` where it was there before this page. */
  came: number | null = null;
  seconds: Second[] = [];
  /** Since when changes are counted. */
  countedSince = 0;

  private stream: Stream | null = null;
  private readonly listeners = new Set<(change: Change) => void>();
  private readonly resets = new Set<() => void>();

  start(): void {
    if (this.stream) return;
    const query = new URLSearchParams({ snapshot: "false", fields: ROW_FIELDS });
    this.stream = new Stream(query, {
      change: (change) => this.take(change),
      reset: () => this.resets.forEach((tell) => tell()),
      position: (position) => this.reach(position),
      live: () => {
        this.countedSince = Date.now();
        this.seconds = [];
      },
      state: (state) => connection.set(state),
    });
    connection.of(() => this.stream?.again());
  }

  /** A position is a lineage and the number of a commit. */
  reach(position: string): void {
    const [lineage, number] = split(position);
    const [ownLineage, ownNumber] = split(this.position);
    if (lineage === ownLineage && number <= ownNumber) return;
    this.came = lineage === ownLineage ? Date.now() : null;
    this.position = position;
  }

  /** The number of the newest commit. */
  get commit(): number {
    return split(this.position)[1];
  }

  /** How long ago the newest commit came, in ms, as far as that is known. */
  age(): number | null {
    return this.came === null ? null : Math.max(100, Date.now() - this.came);
  }

  /** Changes of the last `seconds`, of those that were counted. */
  changes(seconds: number): { enter: number; update: number; leave: number; span: number } {
    const from = Math.floor(Date.now() / 1000) - seconds;
    const counted = this.seconds.filter((second) => second.at >= from);
    const sum = (kind: "enter" | "update" | "leave") => counted.reduce((all, second) => all + second[kind], 0);
    const span = Math.min(seconds, (Date.now() - this.countedSince) / 1000);
    return { enter: sum("enter"), update: sum("update"), leave: sum("leave"), span };
  }

  onChange(listener: (change: Change) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  onReset(listener: () => void): () => void {
    this.resets.add(listener);
    return () => this.resets.delete(listener);
  }

  private take(change: Change): void {
    if (!change.catchUp) {
      const at = Math.floor(Date.now() / 1000);
      let last = this.seconds.at(-1);
      if (last?.at !== at) {
        last = { at, enter: 0, update: 0, leave: 0 };
        this.seconds.push(last);
        if (this.seconds.length > SECONDS) this.seconds.shift();
      }
      last[change.kind] += 1;
    }
    this.listeners.forEach((tell) => tell(change));
  }
}

function split(position: string): [string, number] {
  const [lineage, number] = position.split("-");
  return [lineage, Number(number ?? 0)];
}

export const feed = new Feed();
