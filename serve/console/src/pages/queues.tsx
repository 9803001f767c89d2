// The queues: how much there is in each phase, how long it takes, and whether it goes on.

import { useState } from "preact/hooks";
import { write } from "../api";
import { Action, Lacking } from "../access";
import { Question } from "../ask";
import { outdatedSoon } from "../data";
import { count, duration, precise, roughly } from "../format";
import { DRAINED, Filter, inPhases, Phase, PHASES, Quantiles, queuePath, QueueRow, QUEUES, WorkerRow } from "../jobs-api";
import { jobsOf } from "../jobs-links";
import { Age, phaseHint } from "../phases";
import { Num, Trouble } from "../ui";

/** So many queues are shown at first. */
const FIRST = 12;

export function Queues({ rows: known, workers, filter }: { rows: QueueRow[]; workers: WorkerRow[] | null; filter: Filter }) {
  const [draining, setDraining] = useState<string | null>(null);
  const [all, setAll] = useState(false);
  const rows = all || known.length <= FIRST ? known : known.filter((row, i) => i < FIRST || row.queue === filter.queue);
  const [busy, setBusy] = useState<string | null>(null);
  const [error, setError] = useState<unknown>(null);
  const pause = (row: QueueRow) => {
    setBusy(row.queue);
    setError(null);
    write("POST", `${queuePath(row.queue)}/${row.paused ? "resume" : "pause"}`)
      .then(() => outdatedSoon(QUEUES), setError)
      .finally(() => setBusy(null));
  };
  const drained = known.find((row) => row.queue === draining);
  // A server that has just begun has heard of no worker yet: jobs that are leased tell of some.
  const served = (queue: string) => workers === null || workers.some((worker) => worker.slots !== 0 && worker.queues?.includes(queue));
  const idle = known.filter((row) => !row.paused && inPhases(row, ["waiting"]) > 0 && inPhases(row, ["leased"]) === 0 && !served(row.queue));
  return (
    <section aria-label="Queues">
      <div class="scroll" tabIndex={0} role="group" aria-label="Queues">
        <table class="table queues">
          <thead>
            <tr>
              <th scope="col">Queue</th>
              {PHASES.map((phase) => <th key={phase} scope="col" class="right" title={phaseHint(phase)}>{phase[0].toUpperCase() + phase.slice(1)}</th>)}
              <th scope="col" class="right" title="How long the job has waited that waits longest">Oldest</th>
              <th scope="col" class="right" title="How long jobs that are done had waited: half of them no longer, 95 of 100 no longer">Waits<br />p50 / p95</th>
              <th scope="col" class="right" title="How long jobs that are done ran: half of them no longer, 95 of 100 no longer">Runs<br />p50 / p95</th>
              <th scope="col" class="right">Done<br />a min</th>
              <th scope="col"><span class="sr">Actions</span></th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.queue} aria-current={filter.queue === row.queue ? "true" : undefined}>
                <th scope="row">
                  <a href={jobsOf({ queue: row.queue })}>{row.queue}</a>
                  {row.paused && <span class="status status-warning queue-paused" title="No job of it is leased"><span aria-hidden="true">‖ </span>paused</span>}
                </th>
                {PHASES.map((phase) => <Count key={phase} row={row} phase={phase} />)}
                <td data-label="oldest" class={row.oldestWaiting ? "right queue-fact" : "right queue-none"}>{row.oldestWaiting ? <Age at={row.oldestWaiting} rough /> : <span class="faint">–</span>}</td>
                <Times label="waits" times={row.waitMs} />
                <Times label="runs" times={row.runMs} />
                <td data-label="done a minute" class="right queue-fact"><Num value={row.donePerMinute} /></td>
                <td class="queue-actions">
                  <span class="actions">
                    <Action scope="admin" class="button button-small" disabled={busy === row.queue} title={row.paused ? "Its jobs are leased again" : "No further job of it is leased; those that are go on"} onClick={() => pause(row)}>
                      {row.paused ? "Resume" : "Pause"}<span class="sr"> {row.queue}</span>
                    </Action>
                    <Action scope="admin" class="button button-small" disabled={inPhases(row, DRAINED) === 0} title="Cancels what has not begun. Asks first" onClick={() => setDraining(row.queue)}>
                      Drain…<span class="sr"> {row.queue}</span>
                    </Action>
                  </span>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {known.length > FIRST && <button type="button" class="link queues-more" onClick={() => setAll(!all)}>{all ? "Fewer" : `${known.length - rows.length} more`}</button>}
      {idle.map((row) => (
        <p key={row.queue} class="note no-worker">
          <span class="status status-warning"><span aria-hidden="true">△ </span>No worker</span> takes jobs of <strong>{row.queue}</strong>. To start one: <code>headwater work --queue {row.queue} -- COMMAND</code>
        </p>
      ))}
      <Lacking scope="admin" />
      {error !== null && <Trouble error={error} what="This was not done" />}
      {drained && <Drain row={drained} close={() => setDraining(null)} />}
    </section>
  );
}

function Count({ row, phase }: { row: QueueRow; phase: Phase }) {
  const n = row.counts[phase] ?? 0;
  if (n === 0) return <td class="right queue-none"><span class="faint">0</span></td>;
  return (
    <td data-label={phase} class={`right queue-count${phase === "dead" ? " queue-dead" : ""}`}>
      <a href={jobsOf({ queue: row.queue, phase })} aria-label={`${precise(n)} ${phase} in ${row.queue}`}><Num value={n} /></a>
    </td>
  );
}

function Times({ label, times }: { label: string; times: Quantiles | null }) {
  if (!times) return <td class="right queue-none"><span class="faint">–</span></td>;
  return <td data-label={label} class="right queue-fact" title={`p50 ${duration(times.p50)}, p95 ${duration(times.p95)}`}>{roughly(times.p50)} <span class="faint">/ {roughly(times.p95)}</span></td>;
}

function Drain({ row, close }: { row: QueueRow; close: () => void }) {
  const n = inPhases(row, DRAINED);
  const leased = inPhases(row, ["leased"]);
  // The question stays as it was asked.
  const [asked] = useState({ n, leased });
  const run = async () => {
    await write("POST", `${queuePath(row.queue)}/drain`);
    outdatedSoon(QUEUES);
    return <p>{row.queue} is being drained: the counts follow.</p>;
  };
  return (
    <Question title={`Drain ${row.queue}?`} action={`Cancel ${count(asked.n, "job")}`} run={run} close={close}>
      <p>This cancels <strong>{count(asked.n, "job")}</strong> of {row.queue} that no worker has: those that are blocked, delayed, waiting, or wait for their next attempt.</p>
      <p class="muted">
        {asked.leased > 0 && `${count(asked.leased, "job that is leased goes", "jobs that are leased go")} on. `}
        Cancelled jobs can be retried until they leave.
      </p>
    </Question>
  );
}
