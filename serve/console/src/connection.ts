// Whether the stream that the frame follows is there, whatever it tells of.

import { useEffect, useState } from "preact/hooks";
import { StreamState } from "./sse";

class Connection {
  state: StreamState = "connecting";
  /** Since when the state is what it is. */
  since = Date.now();
  private retry: () => void = () => {};
  private readonly watchers = new Set<() => void>();

  /** What tries the stream anew at once. */
  of(retry: () => void): void {
    this.retry = retry;
  }

  set(state: StreamState): void {
    if (state !== this.state) this.since = Date.now();
    this.state = state;
    this.watchers.forEach((tell) => tell());
  }

  again(): void {
    this.retry();
  }

  onState(watcher: () => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }
}

export const connection = new Connection();

/** Draws anew when the state of the stream changes. */
export function useConnection(): StreamState {
  const [state, setState] = useState(connection.state);
  useEffect(() => {
    // It may have changed between the first drawing and now.
    setState(connection.state);
    return connection.onState(() => setState(connection.state));
  }, []);
  return state;
}
