// Retry or cancel many: says how many first, and asks.

import { useEffect, useState } from "preact/hooks";
import { ComponentChildren } from "preact";
import { Question } from "../ask";
import { outdatedSoon } from "../data";
import { count, precise } from "../format";
import { Bulk, countJobs, ERRORS, Filter, many, OPEN, Phase, QUEUES, RETRIABLE } from "../jobs-api";
import { PhaseWord } from "../phases";
import { Trouble } from "../ui";

export type Verb = "retry" | "cancel";

/** What is meant: jobs that were ticked with the phase in which they are, or all of a filter. */
export type Subject = { ticked: Map<string, Phase> } | { filter: Filter };

const POSSIBLE: Record<Verb, Phase[]> = { retry: RETRIABLE, cancel: OPEN };

type Counts = [Phase, number][];

async function counted(verb: Verb, subject: Subject): Promise<Counts> {
  if ("ticked" in subject) {
    const phases = [...subject.ticked.values()];
    return POSSIBLE[verb].map((phase) => [phase, phases.filter((one) => one === phase).length]);
  }
  const { filter } = subject;
  const phases = POSSIBLE[verb].filter((phase) => !filter.phase || filter.phase === phase);
  return Promise.all(phases.map(async (phase): Promise<[Phase, number]> => [phase, await countJobs({ ...filter, phase })]));
}

/** A request for each phase, so that what was not asked about is not touched. */
async function send(verb: Verb, subject: Subject, counts: Counts): Promise<Bulk> {
  if ("ticked" in subject) return many(verb, { ids: [...subject.ticked].filter(([, phase]) => POSSIBLE[verb].includes(phase)).map(([id]) => id) });
  const sum = { count: 0, more: false };
  for (const [phase, n] of counts) {
    if (n === 0) continue;
    const { count, more } = await many(verb, { ...subject.filter, phase });
    sum.count += count;
    sum.more ||= more;
  }
  return sum;
}

interface ManyProps {
  verb: Verb;
  subject: Subject;
  /** The jobs in words: “of the filter”, “that died of smtp-refused”. */
  which: ComponentChildren;
  done: () => void;
  close: () => void;
}

export function Many({ verb, subject, which, done, close }: ManyProps) {
  const [counts, setCounts] = useState<Counts | null>(null);
  const [error, setError] = useState<unknown>(null);
  useEffect(() => {
    counted(verb, subject).then(setCounts, setError);
  }, []);
  const some = counts?.filter(([, n]) => n > 0) ?? [];
  const sum = some.reduce((all, [, n]) => all + n, 0);
  const run = async () => {
    const { count: n, more } = await send(verb, subject, some);
    outdatedSoon(QUEUES);
    outdatedSoon(ERRORS);
    done();
    const told = verb === "retry" ? count(n, "job is to run again", "jobs are to run again") : count(n, "job is being cancelled", "jobs are being cancelled");
    return (
      <>
        <p>{told}. The list follows.</p>
        {more && <p class="muted">There are more than the server takes at once. Do it again for the rest.</p>}
      </>
    );
  };
  const action = verb === "retry" ? `Retry ${count(sum, "job")}` : `Cancel ${count(sum, "job")}`;
  return (
    <Question title={verb === "retry" ? "Retry jobs?" : "Cancel jobs?"} action={counts && sum > 0 ? action : verb === "retry" ? "Retry" : "Cancel jobs"} ready={sum > 0} run={run} close={close}>
      {error !== null && <Trouble error={error} what="The jobs could not be counted" />}
      {!counts && error === null && <p class="muted">Counting the jobs…</p>}
      {counts && sum === 0 && (
        <p>None {which} can be {verb === "retry" ? "retried: only dead, cancelled, failed and delayed jobs can" : "cancelled: all are settled"}.</p>
      )}
      {sum > 0 && (
        <>
          <p><strong>{count(sum, "job")}</strong> {which} {verb === "retry" ? "will run again" : "will be cancelled"}:</p>
          <ul class="phase-counts">{some.map(([phase, n]) => <li key={phase}><span class="num">{precise(n)}</span> <PhaseWord phase={phase} /></li>)}</ul>
          {verb === "cancel" && some.some(([phase]) => phase === "leased") && <p class="muted">The workers of those that are leased are told to stop.</p>}
        </>
      )}
    </Question>
  );
}
