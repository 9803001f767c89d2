// Who the reader is to the server, and what that allows.

import { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, get, write } from "./api";
import { connection } from "./connection";
import { forget } from "./data";

export type Scope = "read" | "ops" | "produce" | "work" | "decide" | "replay" | "admin";

interface Session {
  name: string | null;
  scopes: Scope[];
  keysNeeded: boolean;
}

class Access {
  session: Session | null = null;
  asking = false;
  /** Counts sign-ins and sign-outs: what was read before is read anew. */
  round = 0;
  /** Who has closed the dialogue is not asked again but by a button. */
  private declined = false;
  private readonly watchers = new Set<() => void>();

  async load(): Promise<void> {
    try {
      this.session = await (await get("/api/session")).json();
    } catch (error) {
      // Where the server does not answer yet nothing is known; one without sessions takes no writes.
      if (!(error instanceof ApiError) || error.status !== 404) return;
      this.session = { name: null, scopes: ["read"], keysNeeded: false };
    }
    this.tell();
  }

  can(scope: Scope): boolean {
    return this.session?.scopes.includes(scope) ?? false;
  }

  /** Why an action is not possible. */
  reason(scope: Scope): string {
    if (this.session?.keysNeeded && !this.session.name) return "Sign in to do this.";
    if (this.session?.name) return `The key of ${this.session.name} does not have the scope “${scope}”.`;
    return "This server only reads.";
  }

  ask(asking: boolean): void {
    if (this.asking === asking) return;
    this.asking = asking;
    this.declined = !asking;
    this.tell();
  }

  /** Something that a person wants to see or do needs a key. What runs in the background does not ask. */
  prompt(): void {
    if (!this.declined) this.ask(true);
  }

  async signIn(key: string): Promise<void> {
    this.changed({ keysNeeded: true, ...(await write<Omit<Session, "keysNeeded">>("POST", "/api/session", { key })) });
  }

  async signOut(): Promise<void> {
    await write("DELETE", "/api/session");
    await this.load();
    this.changed(this.session);
  }

  private changed(session: Session | null): void {
    this.session = session;
    this.asking = false;
    // Who has signed out knows how to sign in.
    this.declined = session?.name == null;
    this.round += 1;
    forget();
    this.tell();
    connection.again();
  }

  watch(watcher: () => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  private tell(): void {
    this.watchers.forEach((tell) => tell());
  }
}

export const access = new Access();

export function useAccess(): Access {
  const [, draw] = useState(0);
  useEffect(() => access.watch(() => draw((n) => n + 1)), []);
  return access;
}

/** Says once why the actions of a page are not there. */
export function Lacking({ scope }: { scope: Scope }) {
  const access = useAccess();
  if (!access.session || access.can(scope)) return null;
  const out = access.session.keysNeeded && !access.session.name;
  return (
    <p class="note">
      {access.reason(scope)}{" "}
      {out && <button type="button" class="link" onClick={() => access.ask(true)}>Sign in</button>}
    </p>
  );
}

/** A button of an action that a scope allows; without it it is disabled, and says why. */
export function Action(props: { scope: Scope; onClick: () => void; class?: string; title?: string; disabled?: boolean; keys?: string; children: ComponentChildren }) {
  const access = useAccess();
  const may = access.can(props.scope);
  return (
    <button
      type="button"
      class={props.class ?? "button"}
      title={may ? props.title : access.session ? access.reason(props.scope) : undefined}
      disabled={!may || props.disabled}
      aria-keyshortcuts={props.keys}
      onClick={props.onClick}
    >
      {props.children}
    </button>
  );
}

export function Who() {
  const { session } = useAccess();
  if (!session?.keysNeeded) return null;
  if (!session.name) return <button type="button" class="button button-small" onClick={() => access.ask(true)}>Sign in</button>;
  return (
    <span class="who" title={`Signed in as ${session.name}: ${session.scopes.join(", ")}`}>
      <span class="who-name">{session.name}</span>{" "}
      <button type="button" class="link" onClick={() => void access.signOut()}>Sign out</button>
    </span>
  );
}

export function SignIn() {
  const { asking } = useAccess();
  return asking ? <SignInDialog /> : null;
}

function SignInDialog() {
  const dialog = useRef<HTMLDialogElement>(null);
  const [key, setKey] = useState("");
  const [sending, setSending] = useState(false);
  const [wrong, setWrong] = useState<string | null>(null);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
    input.current?.focus();
  }, []);
  const send = (event: Event) => {
    event.preventDefault();
    if (!key.trim() || sending) return;
    setSending(true);
    access.signIn(key.trim()).catch((error: unknown) => {
      setSending(false);
      setWrong(error instanceof ApiError && error.status === 401 ? "The server does not know this key." : error instanceof Error ? error.message : String(error));
    });
  };
  return (
    <dialog ref={dialog} class="keys" aria-labelledby="sign-in" onClose={() => access.ask(false)}>
      <form class="keys-body sign-in" onSubmit={send}>
        <header class="section-head">
          <h2 id="sign-in">Sign in</h2>
          <button type="button" class="close" aria-label="Close" onClick={() => dialog.current?.close()}>×</button>
        </header>
        <p class="muted">This server asks who you are. Its operator gives out the keys.</p>
        <label class="field">
          Key
          <input ref={input} type="password" autocomplete="current-password" required value={key} aria-invalid={wrong !== null} aria-describedby="sign-in-wrong" onInput={(event) => setKey(event.currentTarget.value)} />
        </label>
        <p id="sign-in-wrong" class="wrong" role="alert">{wrong}</p>
        <p class="actions">
          <button type="submit" class="button button-main" disabled={sending}>{sending ? "Signing in…" : "Sign in"}</button>
        </p>
      </form>
    </dialog>
  );
}
