// Adding, editing and deleting a schedule.

import { useState } from "preact/hooks";
import { write } from "../api";
import { Question } from "../ask";
import { outdatedSoon } from "../data";
import { ScheduleDefinition, ScheduleEntry, schedulePath, SCHEDULES } from "../jobs-api";
import { scheduleHref } from "../jobs-links";
import { Due } from "../phases";
import { go, href } from "../route";
import { ChoiceField, PayloadField, TextField, wrongJson } from "./fields";

export const MISSED = { skip: "no job", once: "one job, for the last of them", all: "a job for each" };
export const OVERLAP = { skip: "it is skipped", allow: "its job runs beside it", queue: "its job runs after it" };

interface Draft {
  name: string;
  by: "cron" | "every";
  cron: string;
  zone: string;
  every: string;
  queue: string;
  kind: string;
  group: string;
  payload: string;
  missed: keyof typeof MISSED;
  overlap: keyof typeof OVERLAP;
}

const hereZone = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC";

function draftOf(entry: ScheduleEntry | null): Draft {
  const { cron, every, zone, missed, overlap, job } = entry?.definition ?? {};
  return {
    name: entry?.name ?? "", by: every === undefined ? "cron" : "every", cron: cron ?? "", every: every ?? "",
    // A pattern without a zone is of UTC.
    zone: zone ?? (cron === undefined ? hereZone() : "UTC"),
    queue: job?.queue ?? "", kind: job?.kind ?? "", group: job?.group ?? "",
    payload: job?.payload === undefined ? "{}" : JSON.stringify(job.payload, null, 2), missed: missed ?? "skip", overlap: overlap ?? "skip",
  };
}

/** The definition that a draft gives. What the form does not show stays as it was. */
function definition(draft: Draft, before: ScheduleDefinition | null): ScheduleDefinition {
  const { cron: _cron, every: _every, zone: _zone, job: jobBefore, ...rest } = before ?? { job: { queue: "" } };
  const { kind: _kind, group: _group, ...job } = jobBefore;
  const named = Object.fromEntries((["kind", "group"] as const).flatMap((key) => (draft[key].trim() ? [[key, draft[key].trim()]] : [])));
  const when = draft.by === "cron" ? { cron: draft.cron.trim(), zone: draft.zone.trim() || "UTC" } : { every: draft.every.trim() };
  return { ...when, ...rest, missed: draft.missed, overlap: draft.overlap, job: { ...job, queue: draft.queue.trim(), ...named, payload: JSON.parse(draft.payload) } };
}

/** Fields of the job that the form does not show. */
function hidden(before: ScheduleDefinition | null): string[] {
  return Object.keys(before?.job ?? {}).filter((key) => !["queue", "kind", "group", "payload"].includes(key));
}

/** Asks for a schedule; `entry` is the one to change. */
export function ScheduleForm({ entry, taken, queues, close }: { entry: ScheduleEntry | null; taken: string[]; queues: string[]; close: () => void }) {
  const [draft, setDraft] = useState(() => draftOf(entry));
  // What is there may be read anew while it is changed.
  const [before] = useState(entry?.definition ?? null);
  const set = (key: keyof Draft) => (text: string) => setDraft((now) => ({ ...now, [key]: text }));
  const name = draft.name.trim();
  const wrong = wrongJson(draft.payload);
  const isTaken = entry === null && taken.includes(name);
  const ready = name !== "" && !isTaken && draft[draft.by].trim() !== "" && draft.queue.trim() !== "" && wrong === null;
  const kept = hidden(before);
  const run = async () => {
    const { next } = await write<{ next: string | null }>("PUT", schedulePath(name), definition(draft, before));
    outdatedSoon(SCHEDULES);
    const due = next ? <>It is due <Due at={next} />.</> : before?.paused ? "It is paused." : "It is never due.";
    return <p><a href={scheduleHref(name)}>{name}</a> is {entry ? "changed" : "added"}. {due}</p>;
  };
  return (
    <Question title={entry ? `Edit ${entry.name}` : "Add a schedule"} action={entry ? "Save" : "Add"} ready={ready} run={run} close={close}>
      <div class="fields">
        <TextField name="name" label="Name" value={draft.name} set={set("name")} first={entry === null} required disabled={entry !== null} hint="morning-report" />
        <TextField name="queue" label="Queue" value={draft.queue} set={set("queue")} offers={queues} required hint="reports" />
      </div>
      <p class="wrong" role="alert">{isTaken ? `There is a schedule ${name} already.` : ""}</p>
      <div class="fields fields-when">
        <ChoiceField label="When" value={draft.by} set={set("by")} choices={{ cron: "By a cron pattern", every: "At an interval" }} />
        {draft.by === "cron" ? (
          <>
            <TextField name="cron" label="Pattern" value={draft.cron} set={set("cron")} required hint="0 7 * * MON-FRI" />
            <TextField name="zone" label="Time zone" value={draft.zone} set={set("zone")} offers={Intl.supportedValuesOf("timeZone")} hint="UTC" />
          </>
        ) : (
          <TextField name="every" label="Every" value={draft.every} set={set("every")} required hint="15 min" />
        )}
      </div>
      <div class="fields">
        <TextField name="kind" label="Kind" value={draft.kind} set={set("kind")} hint="none" />
        <TextField name="group" label="Group" value={draft.group} set={set("group")} hint="none" />
      </div>
      <PayloadField label="Payload, any JSON" value={draft.payload} wrong={wrong} set={set("payload")} least={4} />
      <div class="fields">
        <ChoiceField label="If times were missed" value={draft.missed} set={set("missed")} choices={MISSED} />
        <ChoiceField label="If the job before still runs" value={draft.overlap} set={set("overlap")} choices={OVERLAP} />
      </div>
      {kept.length > 0 && <p class="note">These of its job stay as they are: {kept.join(", ")}.</p>}
    </Question>
  );
}

export function DeleteSchedule({ name, close }: { name: string; close: () => void }) {
  const run = async () => {
    await write("DELETE", schedulePath(name));
    outdatedSoon(SCHEDULES);
    go(href("schedules"));
    return <p>{name} is deleted.</p>;
  };
  return (
    <Question title={`Delete ${name}?`} action="Delete it" run={run} close={close}>
      <p>It submits no further job. Jobs that it has submitted stay.</p>
    </Question>
  );
}
