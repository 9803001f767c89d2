// Schedules: when which job is submitted, and what became of it.

import { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { write } from "../api";
import { Action, Lacking } from "../access";
import { Bytes } from "../content";
import { outdatedSoon, useData } from "../data";
import { count, precise } from "../format";
import { Job, jobPath, QueueRow, QUEUES, ScheduleDefinition, ScheduleEntry, schedulePath, SCHEDULES } from "../jobs-api";
import { jobHref, jobsOf, scheduleHref } from "../jobs-links";
import { Due, PhaseWord } from "../phases";
import { go, href, Place } from "../route";
import { Ago, Bones, Empty, Num, Side, Trouble, useRowKeys } from "../ui";
import { DeleteSchedule, MISSED, OVERLAP, ScheduleForm } from "./schedule-form";

function When({ definition }: { definition: ScheduleDefinition | null }) {
  if (!definition) return <span class="wrong">It cannot be read.</span>;
  const { cron, every, zone } = definition;
  if (!cron) return <>every {every}</>;
  return <><code>{cron}</code> <span class="schedule-zone faint">{zone ?? "UTC"}</span></>;
}

export function SchedulesPage({ place }: { place: Place }) {
  const { data, error, reload } = useData<ScheduleEntry[]>(SCHEDULES, 5_000);
  const chosen = place.query.get("schedule");
  const list = useRowKeys(() => chosen && go(href("schedules")));
  const [adding, setAdding] = useState(false);
  const rows = data ?? [];
  const queues = useData<QueueRow[]>(QUEUES, 30_000).data?.map((row) => row.queue) ?? [];
  const add = (main: boolean) => <Action scope="admin" class={`button${main ? " button-main" : ""}`} onClick={() => setAdding(true)}>Add a schedule…</Action>;
  const entry = rows.find((row) => row.name === chosen);
  const paused = rows.filter((row) => row.definition?.paused).length;
  return (
    <div class="schedules-page">
      <header class="page-head">
        <h1>Schedules</h1>
        <p class="muted">{data ? rows.length > 0 && `${count(rows.length, "schedule")}${paused ? `, ${paused} of them paused` : ""}.` : error === null && "Loading…"}</p>
        {rows.length > 0 && add(false)}
      </header>
      {error !== null && <Trouble error={error} retry={reload} />}
      {!data && error === null && <Bones rows={5} />}
      {data && rows.length === 0 && (
        <Empty title="There is no schedule">
          <p>A schedule submits a job at certain times.</p>
          <p>{add(true)}</p>
          <p>Or by a program:</p>
          <pre tabIndex={0}><code>{`curl -X PUT ${location.origin}/api/schedules/morning -H 'content-type: application/json' \\\n  -d '{"cron": "0 7 * * MON-FRI", "zone": "Europe/Berlin", "job": {"queue": "reports"}}'`}</code></pre>
        </Empty>
      )}
      {rows.length > 0 && (
        <div class={`split${entry ? " split-open" : ""}`}>
          <div>
            <div class="scroll" tabIndex={0} role="group" aria-label="Schedules">
              <table class="table stacks schedules" ref={list}>
                <thead>
                  <tr>
                    <th scope="col">Schedule</th>
                    <th scope="col">When</th>
                    <th scope="col">Next</th>
                    <th scope="col">Last job</th>
                    <th scope="col" class="right">Submitted</th>
                    <th scope="col" class="right" title="Times at which it was due and submitted none: they were missed, or the job before still ran">Skipped</th>
                    <th scope="col"><span class="sr">Actions</span></th>
                  </tr>
                </thead>
                <tbody>{rows.map((row) => <Row key={row.name} row={row} chosen={row.name === chosen} />)}</tbody>
              </table>
            </div>
            <Lacking scope="admin" />
          </div>
          {entry && <Detail key={entry.name} entry={entry} queues={queues} />}
        </div>
      )}
      {data && chosen && !entry && rows.length > 0 && <p class="note">There is no schedule {chosen} any more.</p>}
      {adding && <ScheduleForm entry={null} taken={rows.map((row) => row.name)} queues={queues} close={() => setAdding(false)} />}
    </div>
  );
}

/** What can be done with a schedule, and what became of it. */
function Buttons({ entry, children }: { entry: ScheduleEntry; children?: ComponentChildren }) {
  const { definition, name } = entry;
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [said, setSaid] = useState<ComponentChildren>("");
  const act = <T,>(work: Promise<T>, told: (answer: T) => ComponentChildren) => {
    setBusy(true);
    setError(null);
    setSaid("");
    work
      .then((answer) => {
        setSaid(told(answer));
        outdatedSoon(SCHEDULES);
      }, setError)
      .finally(() => setBusy(false));
  };
  const run = () => act(write<{ id: string }>("POST", `${schedulePath(name)}/run`), ({ id }) => <><a href={jobHref(id)}>Its job</a> is submitted.</>);
  const pause = () => act(write("PUT", schedulePath(name), { ...definition, paused: !definition?.paused }), () => "");
  return (
    <>
      <span class="actions">
        <Action scope="admin" class="button button-small" disabled={busy || !definition} title="Submits its job at once" onClick={run}>Run now<span class="sr">: {name}</span></Action>
        <Action scope="admin" class="button button-small" disabled={busy || !definition} title={definition?.paused ? "It submits jobs again" : "It submits no further job"} onClick={pause}>{definition?.paused ? "Resume" : "Pause"}<span class="sr"> {name}</span></Action>
        {children}
      </span>
      <span class="muted schedule-said" role="status">{said}</span>
      {error !== null && <Trouble error={error} what={`${name} was not changed`} />}
    </>
  );
}

function Row({ row, chosen }: { row: ScheduleEntry; chosen: boolean }) {
  const { definition } = row;
  return (
    <tr aria-current={chosen ? "true" : undefined}>
      <th scope="row"><a class="cursor" href={scheduleHref(row.name)}>{row.name}</a></th>
      <td data-label="When"><When definition={definition} /></td>
      <td data-label="Next">{definition?.paused ? <span class="status status-warning"><span aria-hidden="true">‖ </span>paused</span> : row.next ? <Due at={row.next} /> : <span class="faint">{row.decided ? "never again" : "not known yet"}</span>}</td>
      <td data-label="Last job">{row.lastJob ? <LastJob id={row.lastJob} of={row.name} /> : <span class="faint">none</span>}</td>
      <td data-label="Submitted" class="right"><a href={jobsOf({ schedule: row.name })}><Num value={row.submitted} /></a></td>
      <td data-label="Skipped" class="right">{row.skipped > 0 ? <Num value={row.skipped} /> : <span class="faint">0</span>}</td>
      <td class="queue-actions"><Buttons entry={row} /></td>
    </tr>
  );
}

/** The job that a schedule submitted last. Its id is the schedule's name and the time, which says more by its age. */
function LastJob({ id, of }: { id: string; of: string }) {
  const at = id.startsWith(`${of}@`) ? Date.parse(id.slice(of.length + 1)) : NaN;
  const { data, error } = useData<Job>(jobPath(id), 5_000);
  return (
    <span class="last-job">
      <a href={jobHref(id)} title={id}>{Number.isNaN(at) ? id : <Ago at={at} />}</a> {data && <PhaseWord phase={data.phase} />}{error !== null && <span class="faint">not there any more</span>}
    </span>
  );
}

function Detail({ entry, queues }: { entry: ScheduleEntry; queues: string[] }) {
  const { definition, name } = entry;
  const [asked, setAsked] = useState<"edit" | "delete" | null>(null);
  return (
    <Side label={name} close={href("schedules")}>
      <Buttons entry={entry}>
        <Action scope="admin" class="button button-small" onClick={() => setAsked("edit")}>Edit…</Action>
        <Action scope="admin" class="button button-small" onClick={() => setAsked("delete")}>Delete…</Action>
      </Buttons>
      <dl class="facts-list">
        {definition && <div><dt>Queue</dt><dd><a href={jobsOf({ queue: definition.job.queue })}>{definition.job.queue}</a></dd></div>}
        <div><dt>When</dt><dd><When definition={definition} /></dd></div>
        <div><dt>Next</dt><dd>{definition?.paused ? "paused" : entry.next ? <Due at={entry.next} /> : entry.decided ? "never again" : "not known yet"}</dd></div>
        <div><dt>Last job</dt><dd>{entry.lastJob ? <LastJob id={entry.lastJob} of={name} /> : "none"}</dd></div>
        <div><dt>If missed</dt><dd>{MISSED[definition?.missed ?? "skip"]}</dd></div>
        <div><dt>If one runs</dt><dd>{OVERLAP[definition?.overlap ?? "skip"]}</dd></div>
        <div><dt>Submitted</dt><dd><a href={jobsOf({ schedule: name })}>{count(entry.submitted, "job")}</a>, {precise(entry.skipped)} skipped</dd></div>
      </dl>
      <h3>As it was written</h3>
      {definition ? <Bytes content={JSON.stringify(definition, null, 2)} /> : <p class="note">It cannot be read.</p>}
      {asked === "edit" && <ScheduleForm entry={entry} taken={[]} queues={queues} close={() => setAsked(null)} />}
      {asked === "delete" && <DeleteSchedule name={name} close={() => setAsked(null)} />}
    </Side>
  );
}
