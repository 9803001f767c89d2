// The console of a server of jobs.

import { inPhases, Job, listJobs, QueueRow, QUEUES } from "./jobs-api";
import { live } from "./jobs-live";
import { glance } from "./content";
import { jobHref, jobsHref } from "./jobs-links";
import { JobsPage } from "./pages/jobs";
import { SchedulesPage } from "./pages/schedules";
import { WorkersPage } from "./pages/workers";
import { Place } from "./route";
import { Page, Topology } from "./topology";

/** A page is added by a line here. */
const PAGES: Page[] = [
  {
    page: "jobs", name: "Jobs", key: "j", icon: "M2.5 3.5h11v3h-11zM2.5 9.5h11v3h-11z", component: JobsPage,
    waiting: { path: QUEUES, count: (rows: QueueRow[]) => rows.reduce((all, row) => all + inPhases(row, ["dead"]), 0), what: "dead" },
  },
  { page: "schedules", name: "Schedules", key: "s", icon: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 5v3.2l2.2 1.6", component: SchedulesPage },
  { page: "workers", name: "Workers", key: "w", icon: "M3 3h10v4H3zM3 9h10v4H3zM5.500 5h.1M5.500 11h.1", component: WorkersPage },
];

/** So many the search offers while it is typed into. */
const OFFERED = 8;

const choice = (job: Job) => ({
  kind: job.phase, text: [job.id, job.kind, glance(JSON.stringify(job.payload), 80)].filter(Boolean).join(" · "), to: jobHref(job.id),
});

function all(text: string, place: Place): string {
  // The other filters of the list stay.
  const query = place.page === "jobs" ? new URLSearchParams(place.query) : new URLSearchParams();
  for (const gone of ["q", "job", "cursor"]) query.delete(gone);
  if (text) query.set("q", text);
  return jobsHref(query);
}

export const jobs: Topology = {
  pages: PAGES,
  search: {
    placeholder: "Search ids, payloads, errors, results",
    label: "Search ids, payloads, errors and results of jobs",
    find: async (typed, signal) => (await listJobs(new URLSearchParams({ q: typed.trim(), limit: String(OFFERED) }), signal)).jobs.map(choice),
    all,
  },
  keys: [
    ["x", "Jobs: tick the row"],
    ["g then j, s, w", "Go to Jobs, Schedules, Workers"],
  ],
  start: () => live.start(),
  age: () => null,
  came: () => null,
};
