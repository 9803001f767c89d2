// Submitting a job by hand.

import { useState } from "preact/hooks";
import { Action } from "../access";
import { Question } from "../ask";
import { outdatedSoon } from "../data";
import { QUEUES, Submission, submit } from "../jobs-api";
import { jobHref } from "../jobs-links";
import { PayloadField, TextField, wrongJson } from "./fields";

/** Asks for a job to submit; `queue` is the one that is likely meant. */
export function SubmitButton({ queue, queues, main }: { queue?: string; queues: string[]; main?: boolean }) {
  const [asked, setAsked] = useState(false);
  return (
    <>
      <Action scope="produce" class={`button${main ? " button-main" : ""}`} onClick={() => setAsked(true)}>Submit a job…</Action>
      {asked && <Submit first={queue ?? ""} queues={queues} close={() => setAsked(false)} />}
    </>
  );
}

const EMPTY = { id: "", payload: "{}", kind: "", group: "", priority: "", delay: "", attempts: "", finishWithin: "" };
type Draft = typeof EMPTY;

const INTEGER = /^-?\d+$/;

/** What is wrong with a number that may be left out. */
const wrongNumber = (what: string, text: string): string | null => (text.trim() === "" || INTEGER.test(text.trim()) ? null : `${what} is to be a whole number.`);

function submission(draft: Draft): Submission {
  const said = Object.fromEntries((["id", "kind", "group", "delay", "finishWithin"] as const).flatMap((key) => (draft[key].trim() ? [[key, draft[key].trim()]] : [])));
  const numbers = Object.fromEntries((["priority", "attempts"] as const).flatMap((key) => (draft[key].trim() ? [[key, Number(draft[key])]] : [])));
  return { ...said, ...numbers, payload: JSON.parse(draft.payload) };
}

function Submit({ first, queues, close }: { first: string; queues: string[]; close: () => void }) {
  const [queue, setQueue] = useState(first);
  const [draft, setDraft] = useState(EMPTY);
  const set = (key: keyof Draft) => (text: string) => setDraft((before) => ({ ...before, [key]: text }));
  const wrong = wrongJson(draft.payload);
  const wrongOption = wrongNumber("Priority", draft.priority) ?? wrongNumber("Attempts", draft.attempts);
  const run = async () => {
    const { id, queue: of, phase, payload } = await submit(queue.trim(), submission(draft));
    outdatedSoon(QUEUES);
    const link = <a href={jobHref(id)}>{id}</a>;
    if (phase !== undefined && payload === undefined) return <p>Nothing was submitted: there is a job {link} in {of} already. It is {phase}.</p>;
    return <p>{link} is submitted to {queue.trim()}.</p>;
  };
  return (
    <Question title="Submit a job" action="Submit" ready={queue.trim() !== "" && wrong === null && wrongOption === null} run={run} close={close}>
      <div class="fields">
        <TextField name="queue" label="Queue" value={queue} set={setQueue} offers={queues} first required hint="mail" />
        <TextField name="kind" label="Kind" value={draft.kind} set={set("kind")} hint="none" />
      </div>
      <PayloadField label="Payload, any JSON" value={draft.payload} wrong={wrong} set={set("payload")} />
      <details class="more-fields">
        <summary>More</summary>
        <div class="fields">
          <TextField name="id" label="Id" value={draft.id} set={set("id")} hint="drawn by the server" />
          <TextField name="group" label="Group" value={draft.group} set={set("group")} hint="none" />
          <TextField name="delay" label="Begin after" value={draft.delay} set={set("delay")} hint="at once, or: 10 min" />
          <TextField name="priority" label="Priority" value={draft.priority} set={set("priority")} hint="0; higher goes first" numeric />
          <TextField name="attempts" label="Attempts at most" value={draft.attempts} set={set("attempts")} hint="as the queue says" numeric />
          <TextField name="finishWithin" label="An attempt may take" value={draft.finishWithin} set={set("finishWithin")} hint="any time, or: 2 h" />
        </div>
        <p class="wrong" role="alert">{wrongOption}</p>
      </details>
    </Question>
  );
}
