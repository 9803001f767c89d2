// The dead jobs, grouped by what they died of.

import { useState } from "preact/hooks";
import { Action } from "../access";
import { ErrorGroup, Filter } from "../jobs-api";
import { jobHref, jobsOf } from "../jobs-links";
import { Ago, Bones, Num, Trouble } from "../ui";
import { Many } from "./many";

/** So many groups are shown at first. */
const FIRST = 3;

export function Errors({ groups, error, filter, dead }: { groups: ErrorGroup[] | null; error: unknown; filter: Filter; dead: number }) {
  const [all, setAll] = useState(false);
  const [retrying, setRetrying] = useState<ErrorGroup | null>(null);
  const here = (groups ?? []).filter((group) => !filter.queue || group.queue === filter.queue).sort((a, b) => b.count - a.count || ((a.code ?? "") < (b.code ?? "") ? -1 : 1));
  const shown = all ? here : here.slice(0, FIRST);
  // The number of dead jobs is newer than the groups.
  const nothing = error === null && (dead === 0 || (groups !== null && here.length === 0));
  return (
    <>
      {!nothing && (
        <section class="errors" aria-labelledby="errors">
          <header class="section-head"><h2 id="errors">Dead jobs by error</h2></header>
          {error !== null && <Trouble error={error} />}
          {!groups && error === null && <Bones rows={FIRST + 1} />}
          {here.length > 0 && (
            <div class="scroll" tabIndex={0} role="group" aria-label="Dead jobs by error">
              <table class="table stacks error-groups">
                <thead>
                  <tr>
                    <th scope="col">Error</th>
                    <th scope="col">Queue</th>
                    <th scope="col" class="right">Dead</th>
                    <th scope="col">First</th>
                    <th scope="col">Last</th>
                    <th scope="col">What the last one said</th>
                    <th scope="col"><span class="sr">Actions</span></th>
                  </tr>
                </thead>
                <tbody>
                  {shown.map((group) => (
                    <tr key={`${group.queue} ${group.code}`} aria-current={filter.error === group.code && filter.phase === "dead" && filter.queue === group.queue ? "true" : undefined}>
                      <th scope="row"><a href={jobsOf({ queue: group.queue, phase: "dead", ...(group.code && { error: group.code }) })}>{group.code ?? "no error"}</a></th>
                      <td data-label="Queue">{group.queue}</td>
                      <td data-label="Dead" class="right"><strong><Num value={group.count} /></strong></td>
                      <td data-label="First">{group.first && <Ago at={group.first} />}</td>
                      <td data-label="Last">{group.last && <Ago at={group.last} />}</td>
                      <td data-label="It said" class="error-message"><a class="quiet" href={jobHref(group.example)} title={`${group.message}\nOpen ${group.example}`}>{group.message}</a></td>
                      <td class="queue-actions">
                        {group.code && <Action scope="admin" class="button button-small" title="Says how many first, and asks" onClick={() => setRetrying(group)}>Retry…<span class="sr"> those of {group.code} in {group.queue}</span></Action>}
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )}
          {here.length > FIRST && <button type="button" class="link errors-more" onClick={() => setAll(!all)}>{all ? "Fewer" : `${here.length - FIRST} more`}</button>}
        </section>
      )}
      {/* It stays until it is closed, also when the last dead job is retried. */}
      {retrying?.code && (
        <Many
          verb="retry"
          subject={{ filter: { queue: retrying.queue, phase: "dead", error: retrying.code } }}
          which={<>of {retrying.queue} that died of <code>{retrying.code}</code></>}
          done={() => {}}
          close={() => setRetrying(null)}
        />
      )}
    </>
  );
}
