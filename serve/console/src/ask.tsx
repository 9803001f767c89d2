// A question before something is done that many would miss, and what became of it.

import { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Trouble } from "./ui";

interface QuestionProps {
  title: string;
  /** What will happen. */
  children: ComponentChildren;
  /** The word on the button that does it. */
  action: string;
  /** Whether it can be done yet, or at all. */
  ready?: boolean;
  /** Does it, and says what became of it. */
  run: () => Promise<ComponentChildren>;
  close: () => void;
}

export function Question({ title, children, action, ready = true, run, close }: QuestionProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [outcome, setOutcome] = useState<ComponentChildren>(null);
  useEffect(() => dialog.current?.showModal(), []);
  const send = (event: Event) => {
    event.preventDefault();
    if (!ready || busy || outcome !== null) return;
    setBusy(true);
    setError(null);
    run().then(setOutcome, setError).finally(() => setBusy(false));
  };
  return (
    <dialog ref={dialog} class="keys question" aria-labelledby="question" onClose={close}>
      <form class="keys-body" novalidate onSubmit={send}>
        <header class="section-head">
          <h2 id="question">{title}</h2>
          <button type="button" class="close" aria-label="Close" onClick={() => dialog.current?.close()}>×</button>
        </header>
        <div class="question-text" aria-live="polite">{outcome ?? children}</div>
        {error !== null && <Trouble error={error} what="This was not done" />}
        <p class="actions">
          {outcome === null ? (
            <>
              <button type="submit" class="button button-main" disabled={!ready || busy}>{busy ? "Sending…" : action}</button>
              <button type="button" class="button" onClick={() => dialog.current?.close()}>Leave it</button>
            </>
          ) : (
            <button type="button" class="button button-main" onClick={() => dialog.current?.close()}>Close</button>
          )}
        </p>
      </form>
    </dialog>
  );
}
