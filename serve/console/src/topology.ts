// What the frame needs to know of the topology that the server serves.

import { ComponentType } from "preact";
import { Place } from "./route";

export interface Page {
  page: string;
  name: string;
  /** The letter after `g`. */
  key: string;
  icon: string;
  component: ComponentType<{ place: Place }>;
  /** How much there waits for a person. */
  waiting?: { path: string; count(answer: never): number; what: string };
  /** The part of the name that a telephone has no room for. */
  long?: string;
}

/** What the search offers while it is typed into. */
export interface Choice {
  kind: string;
  text: string;
  count?: number;
  to: string;
}

export interface Search {
  placeholder: string;
  label: string;
  find(typed: string, signal: AbortSignal): Promise<Choice[]>;
  /** The page that shows all that matches. */
  all(typed: string, place: Place): string;
}

export interface Topology {
  /** The words of the rail; the first is where the reader begins. */
  pages: Page[];
  search: Search;
  /** Keys beside those that every topology has. */
  keys: [string, string][];
  /** Where the server says what programs can do. */
  docs?: string;
  /** Begins to follow what happens. */
  start(): void;
  /** What the top line says beside the state of the stream. */
  about?: ComponentType;
  /** How long ago what is shown was new, in ms, as far as that is known. */
  age(): number | null;
  /** When the newest came, as far as that is known. */
  came(): number | null;
}
