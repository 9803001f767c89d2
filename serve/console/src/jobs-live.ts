// What happens to jobs, as the server tells it: rows of queues as they are now, and the ids of jobs that changed.

import { connection } from "./connection";
import { told } from "./data";
import { QUEUES } from "./jobs-api";
import { ServerEvents } from "./sse";

/** The jobs that changed; more than these, where they are not complete. */
interface Changed {
  ids: string[];
  complete: boolean;
}

class JobsLive {
  private stream: ServerEvents | null = null;
  private opened = false;
  private readonly listeners = new Set<(ids: string[] | null) => void>();

  start(): void {
    if (this.stream) return;
    this.stream = new ServerEvents("/api/live", {
      open: () => {
        connection.set("live");
        // Nobody knows what changed while the stream was away.
        if (this.opened) this.tell(null);
        this.opened = true;
      },
      event: (name, data) => {
        if (name === "queues") told(QUEUES, JSON.parse(data));
        else if (name === "jobs") {
          const { ids, complete } = JSON.parse(data) as Changed;
          this.tell(complete ? ids : null);
        }
      },
      state: (state) => connection.set(state),
    });
    connection.of(() => this.stream?.again());
  }

  /** The ids of jobs that changed; `null`: any may have. */
  onChange(listener: (ids: string[] | null) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private tell(ids: string[] | null): void {
    this.listeners.forEach((listener) => listener(ids));
  }
}

export const live = new JobsLive();
