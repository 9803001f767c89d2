// Workers: who takes jobs of which queues, and what each has.

import { serverNow } from "../api";
import { useData } from "../data";
import { count, precise } from "../format";
import { Job, jobPath, WorkerRow, WORKERS } from "../jobs-api";
import { jobHref, jobsOf, workerHref } from "../jobs-links";
import { PhaseWord, ProgressBar } from "../phases";
import { Place } from "../route";
import { Ago, Bones, Empty, Trouble, useRowKeys } from "../ui";

/** Workers tell of themselves at least this often, unless something is wrong. */
const SILENT_MS = 60_000;
/** So many jobs of a worker are shown. */
const MOST = 8;

export function WorkersPage({ place }: { place: Place }) {
  const { data, error, reload } = useData<WorkerRow[]>(WORKERS, 3_000);
  const list = useRowKeys(() => {});
  const chosen = place.query.get("worker");
  const rows = [...(data ?? [])].sort((a, b) => (a.worker < b.worker ? -1 : 1));
  const working = rows.filter((row) => row.slots !== 0);
  const slots = working.reduce((all, row) => all + (row.slots ?? row.leased.length), 0);
  const used = rows.reduce((all, row) => all + row.leased.length, 0);
  return (
    <div class="workers-page">
      <header class="page-head">
        <h1>Workers</h1>
        <p class="muted">{data ? rows.length > 0 && `${count(working.length, "worker")} with ${count(slots, "slot")}; ${precise(used)} of them ${used === 1 ? "has" : "have"} a job.` : error === null && "Loading…"}</p>
      </header>
      {error !== null && <Trouble error={error} retry={reload} />}
      {!data && error === null && <Bones rows={5} />}
      {data && rows.length === 0 && (
        <Empty title="There is no worker">
          <p>Jobs wait until a worker takes them. To start one, with a program in any language that reads the payload from its standard input:</p>
          <pre tabIndex={0}><code>headwater work --queue mail --slots 4 --url {location.origin} -- ./send-mail</code></pre>
        </Empty>
      )}
      {rows.length > 0 && (
        <div class="scroll" tabIndex={0} role="group" aria-label="Workers">
          <table class="table stacks workers" ref={list}>
            <thead>
              <tr>
                <th scope="col">Worker</th>
                <th scope="col">Queues</th>
                <th scope="col">Slots</th>
                <th scope="col">Seen</th>
                <th scope="col">Has</th>
              </tr>
            </thead>
            <tbody>{rows.map((row) => <Row key={row.worker} row={row} chosen={row.worker === chosen} />)}</tbody>
          </table>
        </div>
      )}
      {data && chosen && !rows.some((row) => row.worker === chosen) && <p class="note">The worker {chosen} is not there any more.</p>}
    </div>
  );
}

function Row({ row, chosen }: { row: WorkerRow; chosen: boolean }) {
  const used = row.leased.length;
  const stopped = row.slots === 0;
  return (
    <tr aria-current={chosen ? "true" : undefined}>
      <th scope="row"><a class="cursor" href={workerHref(row.worker)}>{row.worker}</a></th>
      <td data-label="Queues"><span class="worker-queues">{row.queues === null ? <span class="faint">not known</span> : row.queues.map((queue) => <a key={queue} class="quiet" href={jobsOf({ queue })}>{queue}</a>)}</span></td>
      <td data-label="Slots">
        <span class="worker-slots">
          {!stopped && <span class="slots" aria-hidden="true">{Array.from({ length: Math.min(16, Math.max(row.slots ?? 0, used)) }, (_, i) => <span key={i} class={i < used ? "slot slot-used" : "slot"} />)}</span>}
          {stopped && used === 0 ? <span class="faint">none</span> : <span class="num">{row.slots === null ? used : `${used} of ${row.slots}`}</span>}
        </span>
      </td>
      <td data-label="Seen"><Seen at={row.seen} stopped={stopped} /></td>
      <td data-label="Has">
        {used === 0 ? <span class="faint">{stopped ? "nothing: it has stopped" : "nothing"}</span> : (
          <ul class="plain worker-jobs">
            {row.leased.slice(0, MOST).map((id) => <li key={id}><Has id={id} /></li>)}
            {used > MOST && <li class="faint">and {precise(used - MOST)} more</li>}
          </ul>
        )}
      </td>
    </tr>
  );
}

/** When the server heard of a worker. One that has said that it takes no more jobs may be silent. */
function Seen({ at, stopped }: { at: string | null; stopped: boolean }) {
  if (at === null) return <span class="faint" title="This server has not heard of it: it has jobs by another one, or since before this one began">not by this server</span>;
  if (stopped || serverNow() - Date.parse(at) <= SILENT_MS) return <Ago at={at} />;
  return <span class="status status-warning" title="Workers tell of themselves more often than that"><span aria-hidden="true">△ </span><Ago at={at} /></span>;
}

function Has({ id }: { id: string }) {
  const { data } = useData<Job>(jobPath(id), 3_000);
  return (
    <>
      <a href={jobHref(id)}>{id}</a> <span class="faint" title={data ? `Of ${data.queue}` : undefined}>{data && (data.kind ?? data.queue)}</span>{" "}
      {data && (data.phase === "leased" ? <ProgressBar job={data} /> : <PhaseWord phase={data.phase} />)}
    </>
  );
}
