// Fields of forms about jobs.

import { ComponentChildren } from "preact";

/** What is wrong with a text that is to be JSON. */
export function wrongJson(text: string): string | null {
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    return `This is no JSON: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** The payload of a job; what is wrong with it stands below. */
export function PayloadField({ label, value, wrong, set, least = 6 }: { label: string; value: string; wrong: string | null; set: (text: string) => void; least?: number }) {
  return (
    <>
      <label class="field payload-field">
        {label}
        <textarea rows={Math.min(18, Math.max(least, value.split("\n").length + 1))} spellcheck={false} value={value} aria-invalid={wrong !== null} aria-describedby="payload-wrong" onInput={(event) => set(event.currentTarget.value)} />
      </label>
      <p id="payload-wrong" class="wrong" role="alert">{wrong}</p>
    </>
  );
}

interface TextProps {
  label: ComponentChildren;
  value: string;
  set: (text: string) => void;
  /** Said where nothing is typed. */
  hint?: string;
  /** Offered while it is typed into. */
  offers?: string[];
  name: string;
  /** Whether it is typed into first. */
  first?: boolean;
  required?: boolean;
  disabled?: boolean;
  numeric?: boolean;
}

export function TextField({ label, value, set, hint, offers, name, first, required, disabled, numeric }: TextProps) {
  return (
    <label class="field">
      <span>{label}</span>
      <input type="text" name={name} autofocus={first} autocomplete="off" autocapitalize="off" spellcheck={false} inputMode={numeric ? "numeric" : undefined} placeholder={hint} value={value} required={required} disabled={disabled} list={offers?.length ? `offers-${name}` : undefined} onInput={(event) => set(event.currentTarget.value)} />
      {offers && offers.length > 0 && <datalist id={`offers-${name}`}>{offers.map((one) => <option key={one} value={one} />)}</datalist>}
    </label>
  );
}

/** One of a few; each with the words for it. */
export function ChoiceField<T extends string>({ label, value, set, choices }: { label: string; value: T; set: (value: T) => void; choices: Record<T, string> }) {
  return (
    <label class="field">
      {label}
      <select value={value} onChange={(event) => set(event.currentTarget.value as T)}>
        {Object.entries<string>(choices).map(([key, words]) => <option key={key} value={key}>{words}</option>)}
      </select>
    </label>
  );
}
