// Schedules: when which job is submitted, and what became of it.

import { useState } from "preact/hooks";
import { write } from "../api";
import { Action, Lacking } from "../access";
import { Bytes } from "../content";
import { outdated, useData } from "../data";
import { count, precise } from "../format";
import { Job, jobPath, ScheduleDefinition, ScheduleEntry, schedulePath, SCHEDULES } from "../jobs-api";
import { jobHref, jobsOf, scheduleHref } from "../jobs-links";
import { Due, PhaseWord } from "../phases";
import { go, href, Place } from "../route";
import { Bones, Empty, Num, Side, Trouble, useRowKeys } from "../ui";

function When({ definition: { cron, every, zone } }: { definition: ScheduleDefinition }) {
  if (!cron) return <>every {every}</>;
  return <><code>{cron}</code> <span class="schedule-zone faint">{zone ?? "UTC"}</span></>;
}

export function SchedulesPage({ place }: { place: Place }) {
  const { data, error, reload } = useData<ScheduleEntry[]>(SCHEDULES, 5_000);
  const chosen = place.query.get("schedule");
  const list = useRowKeys(() => chosen && go(href("schedules")));
  const rows = data ?? [];
  const entry = rows.find((row) => row.schedule === chosen);
  const paused = rows.filter((row) => row.definition.paused).length;
  return (
    <div class="schedules-page">
      <header class="page-head">
        <h1>Schedules</h1>
        <p class="muted">{data ? rows.length > 0 && `${count(rows.length, "schedule")}${paused ? `, ${paused} of them paused` : ""}.` : error === null && "Loading…"}</p>
      </header>
      {error !== null && <Trouble error={error} retry={reload} />}
      {!data && error === null && <Bones rows={5} />}
      {data && rows.length === 0 && (
        <Empty title="There is no schedule">
          <p>A schedule submits a job at certain times. To add one:</p>
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
                <tbody>{rows.map((row) => <Row key={row.schedule} row={row} chosen={row.schedule === chosen} />)}</tbody>
              </table>
            </div>
            <Lacking scope="admin" />
          </div>
          {entry && <Detail key={entry.schedule} entry={entry} />}
        </div>
      )}
      {data && chosen && !entry && rows.length > 0 && <p class="note">There is no schedule {chosen} any more.</p>}
    </div>
  );
}

/** What can be done with a schedule, and what became of it. */
function Buttons({ entry }: { entry: ScheduleEntry }) {
  const { definition, schedule } = entry;
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [said, setSaid] = useState("");
  const act = (work: Promise<unknown>, words: string) => {
    setBusy(true);
    setError(null);
    setSaid("");
    work
      .then(() => {
        setSaid(words);
        outdated(SCHEDULES);
      }, setError)
      .finally(() => setBusy(false));
  };
  const run = () => act(write("POST", `${schedulePath(schedule)}/run`), "Its job is submitted.");
  const pause = () => act(write("PUT", schedulePath(schedule), { ...definition, paused: !definition.paused }), "");
  return (
    <>
      <span class="actions">
        <Action scope="admin" class="button button-small" disabled={busy} title="Submits its job at once" onClick={run}>Run now<span class="sr">: {schedule}</span></Action>
        <Action scope="admin" class="button button-small" disabled={busy} title={definition.paused ? "It submits jobs again" : "It submits no further job"} onClick={pause}>{definition.paused ? "Resume" : "Pause"}<span class="sr"> {schedule}</span></Action>
      </span>
      <span class="muted schedule-said" role="status">{said}</span>
      {error !== null && <Trouble error={error} what={`${schedule} was not changed`} />}
    </>
  );
}

function Row({ row, chosen }: { row: ScheduleEntry; chosen: boolean }) {
  const { definition } = row;
  return (
    <tr aria-current={chosen ? "true" : undefined}>
      <th scope="row"><a class="cursor" href={scheduleHref(row.schedule)}>{row.schedule}</a></th>
      <td data-label="When"><When definition={definition} /></td>
      <td data-label="Next">{definition.paused ? <span class="status status-warning"><span aria-hidden="true">‖ </span>paused</span> : row.next ? <Due at={row.next} /> : <span class="faint">never again</span>}</td>
      <td data-label="Last job">{row.lastJob ? <LastJob id={row.lastJob} /> : <span class="faint">none</span>}</td>
      <td data-label="Submitted" class="right"><a href={jobsOf({ schedule: row.schedule })}><Num value={row.submitted} /></a></td>
      <td data-label="Skipped" class="right">{row.skipped > 0 ? <Num value={row.skipped} /> : <span class="faint">0</span>}</td>
      <td class="queue-actions"><Buttons entry={row} /></td>
    </tr>
  );
}

function LastJob({ id }: { id: string }) {
  const { data, error } = useData<Job>(jobPath(id), 5_000);
  return (
    <span class="last-job">
      <a href={jobHref(id)} title={id}>{id}</a> {data && <PhaseWord phase={data.phase} />}{error !== null && <span class="faint">not there any more</span>}
    </span>
  );
}

const MISSED = { skip: "nothing", once: "one job, for the last of them", all: "a job for each" };
const OVERLAP = { skip: "it is skipped", allow: "its job runs beside it", queue: "its job runs after it" };

function Detail({ entry }: { entry: ScheduleEntry }) {
  const { definition, schedule } = entry;
  return (
    <Side label={schedule} close={href("schedules")}>
      <Buttons entry={entry} />
      <dl class="facts-list">
        <div><dt>Queue</dt><dd><a href={jobsOf({ queue: definition.job.queue })}>{definition.job.queue}</a></dd></div>
        <div><dt>When</dt><dd><When definition={definition} /></dd></div>
        <div><dt>Next</dt><dd>{definition.paused ? "paused" : entry.next ? <Due at={entry.next} /> : "never again"}</dd></div>
        <div><dt>Last job</dt><dd>{entry.lastJob ? <LastJob id={entry.lastJob} /> : "none"}</dd></div>
        <div><dt>If missed</dt><dd>{MISSED[definition.missed ?? "skip"]}</dd></div>
        <div><dt>If one runs</dt><dd>{OVERLAP[definition.overlap ?? "skip"]}</dd></div>
        <div><dt>Submitted</dt><dd><a href={jobsOf({ schedule })}>{count(entry.submitted, "job")}</a>, {precise(entry.skipped)} skipped</dd></div>
      </dl>
      <h3>As it was written</h3>
      <Bytes content={JSON.stringify(definition, null, 2)} />
    </Side>
  );
}
