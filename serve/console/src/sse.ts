// Server-sent events, read by fetch: unlike EventSource it shows every heartbeat, and says why a stream cannot be had.

import { ApiError, problem } from "./api";

export type StreamState = "connecting" | "live" | "starting" | "locked" | "lost";

export interface StreamHandlers {
  /** The server has accepted. */
  open?(): void;
  event(name: string, data: string, id: string): void;
  state?(state: StreamState): void;
}

/** Hidden pages give their connection back: a browser has but six for a server. */
const HIDDEN_MS = 5_000;
/** The server sends at least a heartbeat every 15 s. */
const SILENT_MS = 35_000;
const RETRY_MS = 1_000;

export class ServerEvents {
  private abort: AbortController | null = null;
  private closed = false;
  private failures = 0;
  private retry = 0;
  private hidden = 0;
  private watchdog = 0;

  constructor(
    private readonly path: string,
    private readonly handlers: StreamHandlers,
    private lastId = "",
  ) {
    document.addEventListener("visibilitychange", this.visibility);
    addEventListener("pagehide", this.leave);
    addEventListener("pageshow", this.visibility);
    void this.run();
  }

  close(): void {
    this.closed = true;
    document.removeEventListener("visibilitychange", this.visibility);
    removeEventListener("pagehide", this.leave);
    removeEventListener("pageshow", this.visibility);
    this.stop();
  }

  /** Tries at once what it waits to try. */
  again(): void {
    if (!this.closed && !this.abort) {
      clearTimeout(this.retry);
      void this.run();
    }
  }

  private stop(): void {
    clearTimeout(this.retry);
    clearTimeout(this.hidden);
    clearTimeout(this.watchdog);
    this.abort?.abort();
    this.abort = null;
  }

  /** A page that the browser keeps for the button Back would keep its connection. */
  private readonly leave = (): void => this.stop();

  private readonly visibility = (): void => {
    clearTimeout(this.hidden);
    if (document.hidden) {
      this.hidden = window.setTimeout(() => this.stop(), HIDDEN_MS);
    } else {
      this.again();
    }
  };

  private async run(): Promise<void> {
    const abort = new AbortController();
    this.abort = abort;
    try {
      const headers: Record<string, string> = { accept: "text/event-stream" };
      if (this.lastId) headers["last-event-id"] = this.lastId;
      const response = await fetch(this.path, { headers, signal: abort.signal, cache: "no-store" });
      if (!response.ok || !response.body) {
        const error = await problem(response);
        if (response.status === 401) this.handlers.state?.("locked");
        if (error.code === "not-ready") this.handlers.state?.("starting");
        throw error;
      }
      this.handlers.open?.();
      await this.read(response.body, abort);
      throw new Error("the stream has ended");
    } catch (error) {
      if (this.abort !== abort) return;
      this.abort = null;
      clearTimeout(this.watchdog);
      if (this.closed) return;
      if (!(error instanceof ApiError && (error.code === "not-ready" || error.status === 401))) this.handlers.state?.("lost");
      this.failures += 1;
      const wait = Math.min(RETRY_MS * 1.5 ** Math.min(this.failures - 1, 5), 5_000) * (0.8 + Math.random() * 0.4);
      this.retry = window.setTimeout(() => void this.run(), wait);
    }
  }

  private watch(abort: AbortController): void {
    clearTimeout(this.watchdog);
    this.watchdog = window.setTimeout(() => abort.abort(new Error("silent")), SILENT_MS);
  }

  private async read(body: ReadableStream<Uint8Array>, abort: AbortController): Promise<void> {
    const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
    let rest = "";
    for (;;) {
      this.watch(abort);
      const { done, value } = await reader.read();
      if (done) return;
      rest += value;
      const blocks = rest.split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) this.take(block);
    }
  }

  private take(block: string): void {
    if (this.closed) return;
    let name = "";
    let data = "";
    let id = "";
    for (const line of block.split("\n")) {
      if (line.startsWith("event: ")) name = line.slice(7);
      else if (line.startsWith("data: ")) data = line.slice(6);
      else if (line.startsWith("id: ")) id = line.slice(4);
    }
    this.failures = 0;
    this.handlers.event(name, data, id);
    if (id) this.lastId = id;
  }
}
