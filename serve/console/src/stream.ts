// The stream of events that match a filter: what enters, changes and leaves.

import { EventRow } from "./api";
import { ServerEvents, StreamState } from "./sse";

export type Change =
  | { kind: "enter" | "update"; event: EventRow; catchUp: boolean }
  | { kind: "leave"; id: string; redirectTo?: string; catchUp: boolean };

export interface Handlers {
  change?(change: Change): void;
  /** All that is known has to be read anew. */
  reset?(): void;
  /** The client is up to date. */
  live?(total: number): void;
  /** A position has been reached. */
  position?(position: string): void;
  state?(state: StreamState): void;
}

export class Stream {
  private readonly events: ServerEvents;
  private catchUp = true;

  constructor(query: URLSearchParams, private readonly handlers: Handlers, after = "") {
    const open = () => (this.catchUp = true);
    const event = (name: string, data: string, id: string) => this.take(name, data, id);
    this.events = new ServerEvents(`/api/events/live?${query}`, { open, event, state: handlers.state }, after);
  }

  close(): void {
    this.events.close();
  }

  /** Tries at once what it waits to try. */
  again(): void {
    this.events.again();
  }

  private take(name: string, data: string, id: string): void {
    const { catchUp, handlers } = this;
    switch (name) {
      case "enter":
      case "update":
        handlers.change?.({ kind: name, event: JSON.parse(data), catchUp });
        break;
      case "leave":
        handlers.change?.({ kind: "leave", ...JSON.parse(data), catchUp });
        break;
      case "reset":
        handlers.reset?.();
        break;
      case "live":
        this.catchUp = false;
        handlers.live?.(JSON.parse(data).total);
        handlers.state?.("live");
        break;
    }
    if (id) handlers.position?.(id);
  }
}
