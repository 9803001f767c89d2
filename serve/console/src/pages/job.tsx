// One job: where it stands, its attempts, what it is to do and what came of it; live.

import { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { write } from "../api";
import { Action, Lacking } from "../access";
import { Question } from "../ask";
import { Bytes } from "../content";
import { outdated, outdatedSoon, told, useData } from "../data";
import { absolute, count, duration, precise } from "../format";
import { ERRORS, Job, jobPath, OPEN, Phase, QUEUES, RETRIABLE } from "../jobs-api";
import { live } from "../jobs-live";
import { jobHref, jobsOf, scheduleHref, workerHref } from "../jobs-links";
import { Age, Due, PhaseWord } from "../phases";
import { go } from "../route";
import { ServerEvents } from "../sse";
import { Ago, Bones, Copy, isTyping, Trouble } from "../ui";
import { Attempts } from "./attempts";
import { PayloadField, wrongJson } from "./fields";
import { listLeft } from "./job-list";

const SETTLED: Phase[] = ["done", "dead", "cancelled"];

/** Follows a job while it moves; of a settled one the stream of all jobs says when it moves again. */
function useFollowed(id: string, job: Job | null): void {
  const moving = job !== null && !SETTLED.includes(job.phase);
  const path = jobPath(id);
  useEffect(() => {
    if (!moving) return live.onChange((ids) => (ids === null || ids.includes(id)) && outdated(path));
    const stream = new ServerEvents(`${path}/live`, {
      event: (name, data) => {
        if (name === "job") told(path, JSON.parse(data));
        else if (name === "settled") {
          stream.close();
          outdated(path);
        }
      },
    });
    return () => stream.close();
  }, [path, moving]);
}

export function JobPage({ id }: { id: string }) {
  const { data: job, error, reload } = useData<Job>(jobPath(id));
  useFollowed(id, job);
  useEffect(() => {
    scrollTo(0, 0);
    const title = document.title;
    document.title = `${id} · Headwater`;
    const key = (event: KeyboardEvent) => {
      if (event.key !== "Escape" || event.defaultPrevented || isTyping(event.target) || document.querySelector("dialog[open]")) return;
      go(listLeft());
    };
    addEventListener("keydown", key);
    return () => {
      removeEventListener("keydown", key);
      document.title = title;
    };
  }, []);
  return (
    <article class="job-page">
      <p class="crumb"><a href={listLeft()}>‹ Jobs</a></p>
      {error !== null && (
        <>
          <Trouble error={error} retry={reload} />
          <p class="note">Settled jobs leave after a time. <a href={jobsOf({ q: id })}>Look for {id} in all jobs</a>.</p>
        </>
      )}
      {!job && error === null && <Bones rows={8} />}
      {job && <Whole job={job} />}
    </article>
  );
}

function Whole({ job }: { job: Job }) {
  return (
    <>
      <header class="job-head">
        <h1>{job.id} <Copy text={job.id} label="the id" /></h1>
        <p class="job-sentence"><PhaseWord phase={job.phase} cancelling={job.cancelling} /> <span class="muted"><Sentence job={job} /></span></p>
        <Actions job={job} />
      </header>
      <div class="job-columns">
        <div>
          {job.phase === "leased" && <Progress job={job} />}
          {job.error && job.phase !== "done" && <p class={`job-failure${job.phase === "dead" ? "" : " job-failure-mild"}`}><code>{job.error.code}</code> {job.error.message}</p>}
          <Attempts job={job} />
          <section aria-labelledby="payload">
            <header class="section-head"><h2 id="payload">Payload</h2><Copy text={JSON.stringify(job.payload, null, 2)} label="the payload" /></header>
            <Bytes content={JSON.stringify(job.payload, null, 2)} />
          </section>
          {job.result !== undefined && (
            <section aria-labelledby="result">
              <header class="section-head"><h2 id="result">Result</h2><Copy text={JSON.stringify(job.result, null, 2)} label="the result" /></header>
              <Bytes content={JSON.stringify(job.result, null, 2)} />
            </section>
          )}
        </div>
        <aside aria-label="Facts"><Facts job={job} /></aside>
      </div>
    </>
  );
}

function Sentence({ job }: { job: Job }) {
  const { attempt, limits: { maxAttempts }, lease, settled, parents = [] } = job;
  switch (job.phase) {
    case "blocked":
      return <>It waits for {parents.length === 1 ? "its parent" : `its ${count(parents.length, "parent")}`}.</>;
    case "delayed":
      return <>It may begin <Due at={job.readyAt} />.</>;
    case "waiting":
      return <>It has waited for a worker for <Age at={job.readyAt} />.</>;
    case "leased":
      return <>{lease ? <><a href={workerHref(lease.worker)}>{lease.worker}</a> has had it for <Age at={lease.since} /></> : "A worker has it"}: attempt {attempt} of {maxAttempts}.{job.cancelling && " The worker was told to stop."}</>;
    case "failed":
      return <>Attempt {attempt} of {maxAttempts} failed. The next may begin <Due at={job.readyAt} />.</>;
    case "done":
      return <>{settled && <Ago at={settled.at} />}{attempt === 1 ? ", at the first attempt." : `, at attempt ${attempt}.`}</>;
    case "dead":
      return <>{settled && <Ago at={settled.at} />}{attempt === 0 ? ", before it began." : `, after ${count(attempt, "attempt")} of ${maxAttempts}.`} It can be retried, with another payload where that helps.</>;
    case "cancelled":
      return <>{settled && <Ago at={settled.at} />}.</>;
  }
}

function Progress({ job }: { job: Job }) {
  const { progress, lease } = job;
  return (
    <section class="progress-now" aria-label="Progress" aria-live="polite">
      {progress ? (
        <>
          <progress max={1} value={progress.fraction} aria-label="Progress" />
          <p><strong class="num">{Math.round(progress.fraction * 100)} %</strong> {progress.message} <span class="faint">said <Ago at={progress.at} /></span></p>
        </>
      ) : (
        <p class="muted">Its worker has not said how far it is.</p>
      )}
      {lease && <p class="faint">The lease ends <Due at={lease.until} />, unless a heartbeat comes before.</p>}
    </section>
  );
}

function Actions({ job }: { job: Job }) {
  const [asked, setAsked] = useState<"cancel" | "payload" | null>(null);
  const [said, setSaid] = useState<{ words: string; phase: Phase; attempt: number } | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const after = (words: string) => {
    setSaid({ words, phase: job.phase, attempt: job.attempt });
    for (const path of [jobPath(job.id), QUEUES, ERRORS]) outdatedSoon(path);
  };
  const send = (work: () => Promise<unknown>, words: string) => {
    setBusy(true);
    setError(null);
    work().then(() => after(words), setError).finally(() => setBusy(false));
  };
  const retry = (payload?: unknown) => write("POST", `${jobPath(job.id)}/retry`, payload === undefined ? {} : { payload });
  const cancel = () => write("POST", `${jobPath(job.id)}/cancel`);
  const retriable = RETRIABLE.includes(job.phase);
  const open = OPEN.includes(job.phase) && !job.cancelling;
  const early = job.phase === "delayed" || job.phase === "failed";
  // What became of it the job itself shows, as soon as it has changed.
  const pending = said && said.phase === job.phase && said.attempt === job.attempt && !job.cancelling;
  return (
    <div class="job-doing">
      <p class="actions">
        {retriable && <Action scope="admin" class={`button${early ? "" : " button-main"}`} disabled={busy} title={early ? "It does not wait for its time" : "It runs again"} onClick={() => send(() => retry(), "It was asked to run again.")}>{early ? "Run now" : "Retry"}</Action>}
        {retriable && <Action scope="admin" disabled={busy} onClick={() => setAsked("payload")}>Change payload…</Action>}
        {open && <Action scope="admin" disabled={busy} title={job.phase === "leased" ? "Its worker is told to stop. Asks first" : "It does not run. Undone by Retry"} onClick={() => (job.phase === "leased" ? setAsked("cancel") : send(cancel, "It was asked to be cancelled."))}>{job.phase === "leased" ? "Cancel…" : "Cancel job"}</Action>}
        <span class="muted" role="status">{pending ? said.words : ""}</span>
      </p>
      {(retriable || open) && <Lacking scope="admin" />}
      {error !== null && <Trouble error={error} what="This was not done" />}
      {asked === "cancel" && (
        <Question
          title="Cancel this job?" action="Cancel it" close={() => setAsked(null)}
          run={async () => {
            await cancel();
            after("Its worker is told to stop.");
            return <p>Its worker is told to stop. The job is cancelled when it has.</p>;
          }}
        >
          <p>{job.lease?.worker ?? "A worker"} has been at it{job.lease && <> for <Age at={job.lease.since} /></>}. What it has done so far may be lost.</p>
        </Question>
      )}
      {asked === "payload" && <Changed job={job} retry={retry} done={() => after("It was asked to run again, with the new payload.")} close={() => setAsked(null)} />}
    </div>
  );
}

/** Another payload, and another try. */
function Changed({ job, retry, done, close }: { job: Job; retry: (payload: unknown) => Promise<unknown>; done: () => void; close: () => void }) {
  const [text, setText] = useState(JSON.stringify(job.payload, null, 2));
  const wrong = wrongJson(text);
  const run = async () => {
    await retry(JSON.parse(text));
    done();
    return <p>It was asked to run again, with the new payload.</p>;
  };
  return (
    <Question title="Retry with another payload" action="Retry with this payload" ready={wrong === null} run={run} close={close}>
      <PayloadField label="The payload, any JSON" value={text} wrong={wrong} set={setText} />
    </Question>
  );
}

function Facts({ job }: { job: Job }) {
  const { limits, parents = [], notify = [] } = job;
  return (
    <dl class="facts-list">
      <Fact name="Queue"><a href={jobsOf({ queue: job.queue })}>{job.queue}</a></Fact>
      {job.kind && <Fact name="Kind"><a href={jobsOf({ queue: job.queue, kind: job.kind })}>{job.kind}</a></Fact>}
      {job.group && <Fact name="Group"><a href={jobsOf({ queue: job.queue, group: job.group })}>{job.group}</a></Fact>}
      {job.schedule && <Fact name="Schedule"><a href={scheduleHref(job.schedule)}>{job.schedule}</a></Fact>}
      <Fact name="Priority">{job.priority}</Fact>
      <Fact name="Submitted"><Ago at={job.submittedAt} /> <span class="faint">as number {precise(job.number)}</span></Fact>
      {!SETTLED.includes(job.phase) && job.phase !== "leased" && <Fact name="Ready">{absolute(Date.parse(job.readyAt))}</Fact>}
      {job.settled && <Fact name="Settled">{absolute(Date.parse(job.settled.at))}</Fact>}
      {job.settled && <Fact name="Leaves"><Due at={job.settled.leavesAt} /></Fact>}
      <Fact name="Attempts">{job.attempt} of {limits.maxAttempts}</Fact>
      <Fact name="Backoff">{duration(limits.backoff.initialMs)}, then twice as long each time, at most {duration(limits.backoff.maxMs)}</Fact>
      <Fact name="Heartbeat">within {duration(limits.heartbeatWithinMs)}</Fact>
      {limits.startWithinMs !== undefined && <Fact name="To start">within {duration(limits.startWithinMs)}</Fact>}
      {limits.finishWithinMs !== undefined && <Fact name="To finish">within {duration(limits.finishWithinMs)}</Fact>}
      {parents.length > 0 && <Fact name={parents.length === 1 ? "Parent" : "Parents"}><Parents ids={parents} />{job.onParentFailure === "run" && <p class="faint">It runs though they fail.</p>}</Fact>}
      {notify.length > 0 && <Fact name="Tells">{notify.join(", ")}</Fact>}
    </dl>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return <div><dt>{name}</dt><dd>{children}</dd></div>;
}

/** So many parents are shown. */
const MOST_PARENTS = 10;

function Parents({ ids }: { ids: string[] }) {
  return (
    <ul class="plain parents">
      {ids.slice(0, MOST_PARENTS).map((id) => <li key={id}><Parent id={id} /></li>)}
      {ids.length > MOST_PARENTS && <li class="faint">and {precise(ids.length - MOST_PARENTS)} more</li>}
    </ul>
  );
}

function Parent({ id }: { id: string }) {
  const { data, error } = useData<Job>(jobPath(id), 5_000);
  return <><a href={jobHref(id)}>{id}</a> {data && <PhaseWord phase={data.phase} />}{error !== null && <span class="faint">not there</span>}</>;
}
