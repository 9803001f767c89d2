// Jobs: how the queues are doing, what has died of what, and the jobs themselves.

import { useEffect } from "preact/hooks";
import { useConnection } from "../connection";
import { outdated, useData } from "../data";
import { count } from "../format";
import { ERRORS, ErrorGroup, Filter, FILTERS, inPhases, QueueRow, QUEUES, WorkerRow, WORKERS } from "../jobs-api";
import { live } from "../jobs-live";
import { Age } from "../phases";
import { Place } from "../route";
import { Bones, Empty, Trouble } from "../ui";
import { Errors } from "./errors";
import { JobPage } from "./job";
import { JobList } from "./job-list";
import { Queues } from "./queues";
import { SubmitButton } from "./submit";

export function JobsPage({ place }: { place: Place }) {
  const job = place.query.get("job");
  return job ? <JobPage key={job} id={job} /> : <Overview query={place.query} />;
}

/** What died is counted anew so soon after jobs have changed. */
const ERRORS_MS = 3_000;

function Overview({ query }: { query: URLSearchParams }) {
  const queues = useData<QueueRow[]>(QUEUES, 15_000);
  const errors = useData<ErrorGroup[]>(ERRORS, 30_000);
  const workers = useData<WorkerRow[]>(WORKERS, 10_000);
  const rows = queues.data ?? [];
  const dead = rows.reduce((all, row) => all + inPhases(row, ["dead"]), 0);
  const state = useConnection();
  useEffect(() => {
    if (state === "live") queues.reload();
  }, [state]);
  useEffect(() => {
    let timer = 0;
    const stop = live.onChange(() => {
      timer ||= window.setTimeout(() => {
        timer = 0;
        outdated(ERRORS);
      }, ERRORS_MS);
    });
    return () => {
      clearTimeout(timer);
      stop();
    };
  }, []);
  const filter: Filter = Object.fromEntries(FILTERS.flatMap((key) => (query.get(key) ? [[key, query.get(key) as string]] : [])));
  return (
    <div class="jobs-page">
      <header class="page-head">
        <h1>Jobs</h1>
        <p class="muted">{queues.data ? rows.length > 0 && <Sentence rows={rows} /> : queues.error === null && "Loading…"}</p>
        {rows.length > 0 && <SubmitButton queue={filter.queue} queues={rows.map((row) => row.queue)} />}
      </header>
      {queues.error !== null && <Trouble error={queues.error} retry={queues.reload} />}
      {!queues.data && queues.error === null && <Bones rows={6} />}
      {queues.data && rows.length === 0 && <NoQueues />}
      {rows.length > 0 && (
        <>
          <Queues rows={rows} workers={workers.data} filter={filter} />
          <Errors groups={errors.data} error={errors.error} filter={filter} dead={dead} />
          <JobList key={JSON.stringify(filter)} filter={filter} query={query} rows={rows} errors={errors.data ?? []} />
        </>
      )}
    </div>
  );
}

/** The queues in a sentence. */
function Sentence({ rows }: { rows: QueueRow[] }) {
  const sum = (...phases: (keyof QueueRow["counts"])[]) => rows.reduce((all, row) => all + inPhases(row, phases), 0);
  const [waiting, leased, dead] = [sum("waiting"), sum("leased"), sum("dead")];
  const oldest = rows.filter((row) => row.oldestWaiting).sort((a, b) => ((a.oldestWaiting as string) < (b.oldestWaiting as string) ? -1 : 1))[0];
  const perMinute = rows.reduce((all, row) => all + row.donePerMinute, 0);
  return (
    <>
      {waiting === 0 ? "No job waits for a worker" : <>{count(waiting, "job waits", "jobs wait")} for a worker</>}
      {waiting > 0 && oldest?.oldestWaiting && <>, the oldest in {oldest.queue} for <Age at={oldest.oldestWaiting} /></>}
      ; {leased === 0 ? "none is leased" : `${count(leased, "is leased", "are leased")}`}
      {perMinute > 0 && <>; {count(perMinute, "is", "are")} done a minute</>}
      {dead > 0 ? <>; {count(dead, "is dead", "are dead")}.</> : "."}
    </>
  );
}

function NoQueues() {
  return (
    <Empty title="There is no job yet">
      <p>A queue is there with its first job.</p>
      <p><SubmitButton queues={[]} main /></p>
      <p>Or by a program:</p>
      <pre tabIndex={0}><code>{`curl -X POST ${location.origin}/api/jobs/mail -H 'content-type: application/json' \\\n  -d '{"payload": {"to": "ada@example.org"}}'`}</code></pre>
      <p>And to do it, with a program in any language that reads the payload from its standard input:</p>
      <pre tabIndex={0}><code>headwater work --queue mail --url {location.origin} -- ./send-mail</code></pre>
    </Empty>
  );
}
