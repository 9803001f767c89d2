// The pages of jobs in a real browser: over test/jobs-mock.mjs, which tries every state of them, and over the real server.
//
//   node test/jobs.mjs                            over made-up jobs
//   node test/jobs.mjs BINARY                     and over a real server
//   node test/jobs.mjs --real BINARY [--dist]     over a real server alone; with the bundle of dist/ in place of its own

import assert from "node:assert/strict";
import { Jobs, launch, sleep, until, within } from "./harness.mjs";
import { JobsMock } from "./jobs-mock.mjs";
import { Mock } from "./mock.mjs";
import { driver } from "./pages.mjs";
import { realJobs } from "./real-jobs.mjs";
import { over } from "./server.mjs";

const began = Date.now();
const said = (what) => console.log(`${((Date.now() - began) / 1000).toFixed(1).padStart(5)} s  ${what}`);

const any = (mock, phase, queue) => [...mock.jobs.values()].find((job) => job.phase === phase && (!queue || job.queue === queue));
const number = (mock, phase, queue) => [...mock.jobs.values()].filter((job) => (!phase || job.phase === phase) && (!queue || job.queue === queue)).length;
const written = (mock) => mock.writes.at(-1);
const cell = (queue, phase) => `.queue-count a[aria-label$=" ${phase} in ${queue}"]`;

async function queuesAndErrors(mock, drive) {
  const { open, text, texts, count, sees, reads, press, accessible, query } = drive;
  const page = await open("/console/");
  await sees(page, "the queues", ".queues tbody tr");
  assert.equal(new URL(page.url()).pathname, "/console/jobs", "a server of jobs begins with Jobs");
  assert.deepEqual(await texts(page, ".rail-name"), ["Jobs", "Schedules", "Workers"]);
  await until("the stream is live", async () => (await text(page, ".freshness .sr")) === "Live");
  await until("the dead jobs in the rail", async () => (await text(page, ".waiting-count")) === `${number(mock, "dead")} dead`);
  const rows = mock.queueRows();
  assert.deepEqual(await texts(page, ".queues tbody th a"), rows.map((row) => row.queue));
  for (const { queue, counts } of rows) {
    for (const [phase, n] of Object.entries(counts)) assert.equal(await text(page, cell(queue, phase)), String(n), `${phase} of ${queue}`);
  }
  await reads(page, "a sentence", ".page-head p", new RegExp(`^${number(mock, "waiting")} jobs wait for a worker, the oldest in .* for .*; ${number(mock, "leased")} are leased(; .* done a minute)?; ${number(mock, "dead")} are dead\\.$`));
  assert.match(await text(page, ".no-worker"), /No worker takes jobs of sync.*headwater work --queue sync -- COMMAND/);
  await accessible(page, "Jobs");

  // Pause and resume.
  const row = `.queues tbody tr:nth-child(${rows.findIndex((row) => row.queue === "mail") + 1})`;
  assert.equal(await count(page, `${row} .queue-paused`), 0);
  await press(page, `${row} button`, "Pause");
  await sees(page, "that mail is paused", `${row} .queue-paused`);
  assert.equal(written(mock).pathname, "/api/queues/mail/pause");
  await press(page, `${row} button`, "Resume");
  await until("it goes on", async () => (await count(page, `${row} .queue-paused`)) === 0);

  // Drain asks first.
  const before = mock.writes.length;
  const drained = ["blocked", "delayed", "waiting", "failed"].reduce((all, phase) => all + number(mock, phase, "exports"), 0);
  const exports = `.queues tbody tr:nth-child(${rows.findIndex((row) => row.queue === "exports") + 1})`;
  await press(page, `${exports} button`, "Drain…");
  await reads(page, "how many", "dialog .question-text", new RegExp(`^This cancels ${drained} jobs of exports`));
  await accessible(page, "the question");
  await press(page, "dialog button", "Leave it");
  await until("it is closed", async () => (await count(page, "dialog")) === 0);
  assert.equal(mock.writes.length, before, "nothing was sent");
  await press(page, `${exports} button`, "Drain…");
  await press(page, "dialog button", `Cancel ${drained} jobs`);
  await reads(page, "what became of it", "dialog .question-text", /exports is being drained/);
  assert.equal(written(mock).pathname, "/api/queues/exports/drain");
  await page.keyboard.press("Escape");
  await until("the counts follow", async () => (await count(page, cell("exports", "waiting"))) === 0);
  said("queues: counts, pause, resume, drain");

  // Dead jobs by error, and all of one are tried again.
  const [group] = mock.errors();
  await reads(page, "the groups", ".error-groups tbody tr", new RegExp(`${group.code}.*${group.queue}.*${group.count}`));
  await press(page, ".error-groups tbody tr:first-child button", "Retry…");
  await reads(page, "how many", "dialog .question-text", new RegExp(`^${group.count} jobs of ${group.queue} that died of ${group.code} will run again`));
  await press(page, "dialog button", `Retry ${group.count} jobs`);
  await reads(page, "what became of them", "dialog .question-text", new RegExp(`^${group.count} jobs are to run again`));
  assert.deepEqual(written(mock), { method: "POST", pathname: "/api/jobs/retry", sent: { queue: group.queue, phase: "dead", error: group.code } });
  await press(page, "dialog button", "Close");
  await until("the group is gone", async () => !(await texts(page, ".error-groups tbody tr")).some((text) => text.startsWith(`${group.code}${group.queue}`)), 8_000);
  const [next] = mock.errors();
  await press(page, ".error-groups tbody th a", next.code);
  await until("the filter is in the address", () => query(page).get("error") === next.code && query(page).get("phase") === "dead" && query(page).get("queue") === next.queue);
  await reads(page, "those of the group", ".job-list .section-head .num", new RegExp(`^${next.count}$`));
  await page.close();
  said("dead jobs by error, and a retry of a group");
}

async function list(mock, drive) {
  const { open, text, texts, count, sees, reads, press, accessible, query } = drive;
  const page = await open("/console/jobs");
  await sees(page, "the list", ".jobs tbody tr");
  const newest = mock.matching(new URLSearchParams()).map((job) => job.id);
  assert.deepEqual(await texts(page, ".jobs .cursor"), newest.slice(0, 50));
  await press(page, ".pager button", "Older");
  await until("the next page", async () => (await text(page, ".jobs .cursor")) === newest[50]);
  assert(query(page).get("cursor"));
  await press(page, ".pager button", "Newest");
  await until("the first page", async () => (await text(page, ".jobs .cursor")) === newest[0]);

  // Each filter, and all at once in the address.
  await press(page, ".tab", "Done");
  await until("done ones", async () => new Set(await texts(page, ".jobs .job-phase .phase")).size === 1 && (await text(page, ".jobs .job-phase .phase")) === "done");
  await page.select('.job-filters select[aria-label="Queue"]', "mail");
  await reads(page, "those of mail", ".job-list .section-head .num", new RegExp(`^${number(mock, "done", "mail")}$`));
  await press(page, ".job-filters .popover-root button", "Any kind");
  await press(page, ".popover .choice", "invoice-mail");
  await until("the kind is in the address", () => query(page).get("kind") === "invoice-mail");
  await press(page, ".job-filters .popover-root button", "Any group");
  await page.type(".popover input", "acme");
  await page.keyboard.press("Enter");
  await until("the group is in the address", () => query(page).get("group") === "acme");
  const wanted = mock.matching(new URLSearchParams({ phase: "done", queue: "mail", kind: "invoice-mail", group: "acme" }));
  assert(wanted.length > 0);
  await until("what matches all", async () => (await texts(page, ".jobs .cursor")).join() === wanted.map((job) => job.id).join());
  await accessible(page, "the list with filters");

  // Search over payloads, from the top line; what matches nothing says what to do.
  await page.goto(`${mock.url}/console/jobs`);
  await sees(page, "the list again", ".jobs tbody tr");
  const { to } = any(mock, "delayed", "mail").payload;
  await page.keyboard.press("/");
  await page.keyboard.type(to);
  await reads(page, "a suggestion", "#suggestions li", /delayed/);
  await page.keyboard.press("Enter");
  await until("the text is in the address", () => query(page).get("q") === to);
  await reads(page, "one job", ".jobs .job-payload", new RegExp(to));
  await until("one row", async () => (await count(page, ".jobs tbody tr")) === 1);
  await page.goto(`${mock.url}/console/jobs?q=no-such-text&queue=mail`);
  await reads(page, "what to do", ".job-list .empty", /No job matches.*Remove the text, queue, or show all/);
  await accessible(page, "nothing matches");
  said("the list: pages, filters, search");

  // Many of them: those that are ticked, by mouse and by key.
  await page.goto(`${mock.url}/console/jobs?phase=dead`);
  await sees(page, "dead jobs", ".jobs tbody tr");
  // What is above the list moves it when it comes.
  await sees(page, "the groups", ".error-groups tbody tr");
  await sees(page, "the queue without a worker", ".no-worker");
  assert.match(await text(page, ".job-actions"), /all \d+ of the filter/);
  const ids = (await texts(page, ".jobs .cursor")).slice(0, 2);
  await page.click(".jobs tbody tr:first-child input");
  await page.focus(".jobs tbody tr:nth-child(2) .cursor");
  await page.keyboard.press("x");
  await reads(page, "two are ticked", ".job-actions", /2 ticked jobs/);
  await press(page, ".job-actions button", "Retry…");
  await reads(page, "how many of which phase", "dialog .question-text", /^2 jobs of those that are ticked will run again.*2 dead/);
  await accessible(page, "the question about many");
  await press(page, "dialog button", "Retry 2 jobs");
  await reads(page, "what became of them", "dialog .question-text", /^2 jobs are to run again/);
  assert.deepEqual(written(mock).sent, { ids });
  await press(page, "dialog button", "Close");
  await until("the rows say that they left", async () => (await count(page, ".job-left")) === 2, 5_000);
  assert.deepEqual((await texts(page, ".job-left .phase")), ["waiting", "waiting"]);

  // All of a filter; what cannot be cancelled is not counted.
  const [delayed, failed] = [number(mock, "delayed", "mail"), number(mock, "failed", "mail")];
  await page.goto(`${mock.url}/console/jobs?phase=delayed&queue=mail`);
  await sees(page, "delayed jobs", ".jobs tbody tr");
  await press(page, ".job-actions button", "Cancel…");
  await press(page, "dialog button", `Cancel ${delayed} jobs`);
  await reads(page, "what became of them", "dialog .question-text", /jobs are being cancelled/);
  assert.deepEqual(written(mock), { method: "POST", pathname: "/api/jobs/cancel", sent: { phase: "delayed", queue: "mail" } });
  assert.equal(number(mock, "delayed", "mail"), 0);
  assert.equal(number(mock, "failed", "mail"), failed, "others are left alone");
  await page.goto(`${mock.url}/console/jobs?phase=done`);
  await press(page, ".job-actions button", "Cancel…");
  await reads(page, "none", "dialog .question-text", /^None of the filter can be cancelled/);
  await page.keyboard.press("Escape");
  await page.goto(`${mock.url}/console/jobs`);
  await reads(page, "all there is cannot be meant", ".job-actions", /Tick jobs, or choose a filter/);
  said("retry and cancel many: the number first");

  // Live: new ones wait for a button, and rows follow their jobs.
  await sees(page, "the list", ".jobs tbody tr");
  await until("live", async () => (await text(page, ".freshness .sr")) === "Live");
  const first = await text(page, ".jobs .cursor");
  const added = mock.add("mail", { id: "brand-new" });
  mock.tell();
  await reads(page, "one is new", ".button-new", /^1 new$/, 5_000);
  assert.equal(await text(page, ".jobs .cursor"), first, "the list keeps its place");
  await press(page, ".button-new", "1 new");
  await until("it is shown", async () => (await text(page, ".jobs .cursor")) === "brand-new");
  mock.cancel(added);
  mock.tell();
  await reads(page, "its row follows", ".jobs tbody tr .phase", /^cancelled$/, 5_000);
  mock.jobs.delete("brand-new");
  mock.changed.add("brand-new");
  mock.tell();
  await reads(page, "one that left says so", ".job-left .job-phase", /^gone$/, 5_000);
  await page.close();
  said("the list is live, and keeps its place");
}

async function oneJob(mock, drive) {
  const { open, text, texts, count, sees, reads, press, accessible, query } = drive;
  const page = await open("/console/jobs?phase=dead&queue=reports");
  await sees(page, "dead reports", ".jobs tbody tr");
  const [top, id] = await texts(page, ".jobs .cursor");
  const focused = (id) => page.evaluate((id) => document.activeElement?.dataset.id === id, id);
  // The page may not listen yet when its rows are there.
  await until("the first row has the focus", async () => (await focused(top)) || (await page.keyboard.press("j"), false));
  await page.keyboard.press("j");
  await until("the second row has the focus", () => focused(id));
  await page.keyboard.press("Enter");
  await sees(page, "its attempts", ".attempt");
  assert.equal(query(page).get("job"), id);
  const job = mock.jobs.get(id);
  assert.equal(await count(page, ".attempt"), job.runs.length);
  assert.equal(await count(page, ".attempt-run"), job.runs.length, "each run is drawn");
  assert.equal(await count(page, ".attempt-wait"), job.runs.filter((run) => run.waitedMs > 0).length, "and each wait");
  await reads(page, "why it died", ".job-failure", new RegExp(`^${job.error.code}`));
  assert.match(await text(page, ".job-sentence"), /^dead.* after 3 attempts of 3/);
  await accessible(page, "a dead job");
  await page.keyboard.press("Escape");
  await until("back in the list with its filter", () => query(page).get("queue") === "reports" && !query(page).get("job"));
  await until("at its row", () => focused(id));

  // Again, with another payload.
  await page.keyboard.press("Enter");
  await press(page, ".job-doing button", "Change payload…");
  const type = async (text) => {
    await page.$eval("dialog textarea", (area) => area.select());
    await page.keyboard.press("Backspace");
    await page.keyboard.type(text);
  };
  await sees(page, "the payload", "dialog textarea");
  await type('{"tenant": ');
  await reads(page, "what is wrong with it", "dialog .wrong", /^This is no JSON/);
  assert.equal(await page.$eval("dialog .button-main", (button) => button.disabled), true);
  await accessible(page, "a wrong payload");
  await type('{"tenant": "dune"}');
  await press(page, "dialog button", "Retry with this payload");
  await reads(page, "that it was sent", "dialog .question-text", /run again, with the new payload/);
  assert.deepEqual(written(mock), { method: "POST", pathname: `/api/jobs/${encodeURIComponent(id)}/retry`, sent: { payload: { tenant: "dune" } } });
  await press(page, "dialog button", "Close");
  await reads(page, "it waits again", ".job-sentence .phase", /^waiting$/);
  await reads(page, "with the new payload", ".code", /dune/);
  said("one job: attempts, error, retry with another payload");

  // Live progress, then its result.
  const leased = any(mock, "leased", "reports");
  await page.goto(`${mock.url}/console/jobs?job=${encodeURIComponent(leased.id)}`);
  await sees(page, "a leased job", ".progress-now");
  for (const [fraction, message] of [[0.37, "reading"], [0.62, "writing"]]) {
    leased.progress = { fraction, message, at: mock.time() };
    mock.changed.add(leased.id);
    await until("its stream is open", () => mock.streams.get(leased.id)?.size === 1);
    mock.tell();
    await reads(page, "its progress", ".progress-now", new RegExp(`^${fraction * 100} % ${message}`));
  }
  await accessible(page, "a leased job");
  mock.end(leased, "done");
  mock.tell();
  await reads(page, "it is done", ".job-sentence .phase", /^done$/);
  await reads(page, "its result", "section[aria-labelledby=result] .code", /files\.example/);
  assert.equal(await count(page, ".job-doing .button"), 0, "nothing more can be done with it");
  await until("the stream is closed", () => !mock.streams.get(leased.id)?.size);

  // Cancel of one that runs asks first; its worker stops it.
  const running = any(mock, "leased", "imports");
  await page.goto(`${mock.url}/console/jobs?job=${running.id}`);
  await press(page, ".job-doing button", "Cancel…");
  await reads(page, "what is lost", "dialog .question-text", /has been at it for/);
  await press(page, "dialog button", "Cancel it");
  await reads(page, "that the worker is told", "dialog .question-text", /is told to stop/);
  assert.equal(written(mock).pathname, `/api/jobs/${running.id}/cancel`);
  await press(page, "dialog button", "Close");
  await reads(page, "it is to stop", ".job-sentence", /^leased, to stop/);
  mock.end(running, "cancelled");
  mock.tell();
  await reads(page, "it is cancelled", ".job-sentence .phase", /^cancelled$/);
  await press(page, ".job-doing button", "Retry");
  await reads(page, "and waits again", ".job-sentence .phase", /^waiting$/);

  // Parents; and one that is not there.
  const blocked = any(mock, "blocked");
  await page.goto(`${mock.url}/console/jobs?job=${blocked.id}`);
  await reads(page, "its parents", ".job-sentence", /waits for its 3 parents/);
  await until("where they stand", async () => (await count(page, ".parents .phase")) === 3);
  await page.goto(`${mock.url}/console/jobs?job=nobody`);
  await reads(page, "that there is none", ".trouble", /There is no job "nobody"/);
  await page.close();
  said("one job: progress, result, cancel, parents");
}

/** Types into a field of a form, in place of what is there. */
async function fill(page, field, text) {
  await page.$eval(`dialog ${field}`, (input) => input.select());
  await page.keyboard.press("Backspace");
  await page.type(`dialog ${field}`, text);
}

async function addEditDelete(page, mock, { texts, count, sees, reads, press, accessible }) {
  await press(page, ".page-head button", "Add a schedule…");
  await sees(page, "the form", "dialog input[name=name]");
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute("name")), "name", "the first field is typed into");
  assert.equal(await page.$eval("dialog .button-main", (button) => button.disabled), true, "it is not filled yet");
  await fill(page, "input[name=name]", "crm");
  await reads(page, "that the name is taken", "dialog .wrong", /There is a schedule crm already/);
  await fill(page, "input[name=name]", "evening");
  await fill(page, "input[name=queue]", "reports");
  await fill(page, "input[name=cron]", "0 19");
  await fill(page, "input[name=zone]", "Europe/Berlin");
  await fill(page, "textarea", '{"format": "csv"}');
  await accessible(page, "a form of a schedule");
  await press(page, "dialog button", "Add");
  await reads(page, "what is wrong", "dialog .trouble", /must have between 5 and 7 fields/i);
  await fill(page, "input[name=cron]", "0 19 * * *");
  await press(page, "dialog button", "Add");
  await reads(page, "that it is there", "dialog .question-text", /^evening is added\. It is due in (4 min|5 min)/);
  assert.deepEqual(written(mock), { method: "PUT", pathname: "/api/schedules/evening", sent: { cron: "0 19 * * *", zone: "Europe/Berlin", missed: "skip", overlap: "skip", job: { queue: "reports", payload: { format: "csv" } } } });
  await press(page, "dialog button", "Close");
  await until("its row", async () => (await texts(page, ".schedules .cursor")).includes("evening"), 3_000);

  // What the form does not show stays.
  mock.schedules.get("evening").definition.job.attempts = 7;
  await page.goto(`${mock.url}/console/schedules?schedule=evening`);
  await press(page, ".side button", "Edit…");
  await reads(page, "what stays", "dialog .note", /stay as they are: attempts/);
  await page.select("dialog .fields-when select", "every");
  await fill(page, "input[name=every]", "2 h");
  await press(page, "dialog button", "Save");
  await reads(page, "that it is changed", "dialog .question-text", /^evening is changed/);
  assert.deepEqual(written(mock).sent, { every: "2 h", missed: "skip", overlap: "skip", job: { attempts: 7, queue: "reports", payload: { format: "csv" } } });
  await press(page, "dialog button", "Close");
  await until("the dialog is closed", async () => (await count(page, "dialog")) === 0, 3_000);
  await press(page, ".side button", "Delete…");
  await press(page, "dialog button", "Delete it");
  await until("it is gone", async () => !(await texts(page, ".schedules .cursor")).includes("evening") && (await count(page, "dialog")) === 0, 3_000);
  assert.equal(written(mock).method, "DELETE");
}

async function submitting(mock, drive) {
  const { open, text, count, sees, reads, press, accessible, query } = drive;
  const page = await open("/console/jobs?queue=mail");
  await sees(page, "the list", ".jobs tbody tr");
  await press(page, ".page-head button", "Submit a job…");
  await sees(page, "the form", "dialog textarea");
  assert.equal(await page.$eval("dialog input[name=queue]", (input) => input.value), "mail", "the queue of the filter");
  await fill(page, "textarea", '{"to": ');
  await reads(page, "what is wrong", "dialog .wrong", /^This is no JSON/);
  await fill(page, "textarea", '{"to": "by-hand@example.org"}');
  await page.click("dialog summary");
  await fill(page, "input[name=id]", "by-hand");
  await fill(page, "input[name=delay]", "10 q");
  await fill(page, "input[name=priority]", "high");
  await reads(page, "what is wrong with the priority", "dialog details .wrong", /whole number/);
  await fill(page, "input[name=priority]", "7");
  await accessible(page, "a form of a job");
  await press(page, "dialog button", "Submit");
  await reads(page, "what the server says of it", "dialog .trouble", /"10 q" is not a duration/);
  await fill(page, "input[name=delay]", "10 min");
  await page.keyboard.press("Enter");
  await reads(page, "that it is submitted", "dialog .question-text", /^by-hand is submitted to mail/);
  assert.deepEqual(written(mock), { method: "POST", pathname: "/api/jobs/mail", sent: { id: "by-hand", delay: "10 min", priority: 7, payload: { to: "by-hand@example.org" } } });
  await page.click("dialog .question-text a");
  await reads(page, "it itself", ".job-sentence", /^delayed/);
  assert.equal(query(page).get("job"), "by-hand");
  assert.equal(await count(page, "dialog"), 0);
  await page.goto(`${mock.url}/console/jobs`);
  await press(page, ".page-head button", "Submit a job…");
  await fill(page, "input[name=queue]", "mail");
  await page.click("dialog summary");
  await fill(page, "input[name=id]", "by-hand");
  await press(page, "dialog button", "Submit");
  await reads(page, "that there is one already", "dialog .question-text", /Nothing was submitted: there is a job by-hand in mail already/);
  await page.close();
  said("a job submitted by a form");
}

async function schedulesAndWorkers(mock, drive) {
  const { open, text, texts, count, sees, reads, press, accessible, query } = drive;
  const page = await open("/console/schedules");
  await sees(page, "the schedules", ".schedules tbody tr");
  assert.deepEqual(await texts(page, ".schedules .cursor"), [...mock.schedules.keys()]);
  await reads(page, "when", ".schedules tbody tr:first-child td", /^0 7 \* \* MON-FRI Europe\/Berlin$/);
  await reads(page, "when next", ".schedules tbody tr:first-child td:nth-child(3)", /^in 9 h 1\d min$/);
  await accessible(page, "Schedules");
  await press(page, ".schedules tbody tr:nth-child(2) button", "Run now");
  await reads(page, "that it ran", ".schedules tbody tr:nth-child(2) .schedule-said", /^Its job is submitted/);
  assert.equal(written(mock).pathname, "/api/schedules/crm/run");
  const ran = [...mock.jobs.values()].at(-1);
  assert.equal(await page.$eval(".schedules tbody tr:nth-child(2) .schedule-said a", (link) => new URL(link.href).searchParams.get("job")), ran.id);
  assert.equal(ran.kind, "crm-sync");
  const { definition } = mock.schedules.get("crm");
  await press(page, ".schedules tbody tr:nth-child(2) button", "Pause");
  await reads(page, "that it is paused", ".schedules tbody tr:nth-child(2) td:nth-child(3)", /paused/);
  assert.deepEqual(written(mock), { method: "PUT", pathname: "/api/schedules/crm", sent: { ...definition, paused: true } });
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await reads(page, "its definition", ".side .code", /crm-sync/);
  assert.equal(query(page).get("schedule"), "crm");
  await accessible(page, "a schedule");
  await press(page, ".side button", "Resume");
  await until("it goes on", () => mock.schedules.get("crm").definition.paused === false);
  await page.keyboard.press("Escape");
  await until("it is closed", async () => (await count(page, ".side")) === 0);

  await addEditDelete(page, mock, drive);

  await page.keyboard.press("g");
  await page.keyboard.press("w");
  await sees(page, "the workers", ".workers tbody tr");
  assert.deepEqual(await texts(page, ".workers tbody th"), [...mock.workers.keys()].sort());
  const held = mock.held("batch-a-310-b1e4");
  await reads(page, "its slots", ".workers tbody tr:first-child .worker-slots", new RegExp(`^${held.length} of 4$`));
  assert.deepEqual(await texts(page, ".workers tbody tr:first-child .worker-jobs a"), held.map((job) => job.id));
  await accessible(page, "Workers");
  await page.close();
  said("schedules and workers");
}

async function forms(mock, drive) {
  const { open, sees, accessible } = drive;
  const one = (phase, queue) => `/console/jobs?job=${encodeURIComponent(any(mock, phase, queue).id)}`;
  const paths = ["/console/jobs", "/console/jobs?phase=dead", one("dead"), one("leased"), one("waiting"), one("failed"), "/console/schedules?schedule=crm", "/console/workers"];
  for (const path of paths) {
    for (const form of [{ scheme: "dark" }, { width: 375 }, { width: 820 }]) {
      const page = await open(path, form);
      await sees(page, `${path} shows something`, path.includes("job=") ? ".attempts" : "tbody tr");
      await accessible(page, `${path} ${JSON.stringify(form)}`);
      await page.close();
    }
  }
  said("every page is accessible, in dark, at 820 and at 375 px");
}

async function otherServers(browser, atEnd) {
  const serve = async (server) => {
    const mock = await server.listen();
    atEnd(() => mock.close());
    return [mock, await driver(browser, mock.url)];
  };
  const [, nothing] = await serve(new JobsMock({ empty: true }));
  for (const [path, what] of [["jobs", /There is no job yet.*Submit a job.*curl .*headwater work/s], ["schedules", /There is no schedule.*Add a schedule.*curl -X PUT/s], ["workers", /There is no worker.*headwater work/s]]) {
    const page = await nothing.open(`/console/${path}`);
    await nothing.reads(page, `${path} says how to fill it`, ".empty", what);
    await nothing.accessible(page, `${path}, empty`);
    await page.close();
  }
  assert.deepEqual(nothing.wrong, []);
  said("what is empty says how to fill it");

  const [locked, keyed] = await serve(new JobsMock({ key: "open sesame" }));
  const guest = await keyed.open("/console/jobs");
  await keyed.sees(guest, "the dialogue", "dialog[open]");
  await guest.type("dialog input", "open sesame");
  await guest.keyboard.press("Enter");
  await keyed.sees(guest, "the queues", ".queues tbody tr");
  await until("and the stream", async () => (await keyed.text(guest, ".freshness .sr")) === "Live", 8_000);
  locked.scopes = ["read"];
  await guest.reload();
  await keyed.reads(guest, "why nothing can be done", ".queues-page .note, .jobs-page .note:not(.no-worker)", /does not have the scope “admin”/);
  assert.equal(await guest.$$eval(".queues button", (buttons) => buttons.every((button) => button.disabled)), true);
  await keyed.accessible(guest, "a reader");
  assert.deepEqual(keyed.wrong.filter((one) => !one.includes("status of 401")), []);
  await guest.close();
  said("a server with keys asks for one, and says what it does not allow");

  // The server goes, and comes back; what fails says so.
  const [failing, held] = await serve(new JobsMock());
  const page = await held.open("/console/jobs");
  await held.sees(page, "the queues", ".queues tbody tr");
  await until("live", async () => (await held.text(page, ".freshness .sr")) === "Live");
  const answer = failing.answer.bind(failing);
  failing.answer = async (asked, response) => response.writeHead(503, { "content-type": "application/problem+json" }).end('{"status":503,"code":"unavailable","detail":"The log is away."}');
  for (const stream of failing.live) stream.destroy();
  await held.reads(page, "that the connection is lost", ".state", /lost since/);
  await held.press(page, ".queues button", "Pause");
  await held.reads(page, "what was not done", ".trouble", /This was not done.*The log is away/);
  await held.accessible(page, "a server that is away");
  const added = failing.add("mail", { id: "meanwhile" });
  failing.changed.clear();
  failing.answer = answer;
  await until("live again", async () => (await held.text(page, ".freshness .sr")) === "Live", 15_000);
  await held.reads(page, "what came meanwhile", ".button-new", /^1 new$/, 10_000);
  assert(added);
  await page.close();
  said("the page says that the server is away, and catches up");

  // A server that does not say what it serves is of events.
  const [silent, older] = await serve(new Mock());
  const common = silent.common.bind(silent);
  silent.common = async (asked, response, pathname, sent) => (pathname === "/api" ? (response.writeHead(404).end(), true) : common(asked, response, pathname, sent));
  const now = await older.open("/console/");
  await older.sees(now, "the flow", ".flow-stage");
  assert.equal((await older.texts(now, ".rail-name"))[0], "Now");
  await now.close();

  // Under jobs that move, nothing breaks, and in the end the page shows what is.
  const [moving, moved] = await serve(new JobsMock({ moving: true }));
  const busy = await moved.open("/console/jobs");
  await moved.sees(busy, "the queues", ".queues tbody tr");
  await sleep(4_000);
  clearInterval(moving.timer);
  for (const { queue, counts } of moving.queueRows()) {
    for (const [phase, n] of Object.entries(counts)) await until(`${phase} of ${queue}`, async () => (await moved.text(busy, cell(queue, phase))) === String(n));
  }
  assert.deepEqual(moved.wrong, []);
  await busy.close();
  said("jobs that move");
}

async function madeUp(browser, atEnd) {
  const mock = await new JobsMock().listen();
  atEnd(() => mock.close());
  const drive = await driver(browser, mock.url);
  await queuesAndErrors(mock, drive);
  await list(mock, drive);
  await oneJob(mock, drive);
  await submitting(mock, drive);
  await schedulesAndWorkers(mock, drive);
  await forms(mock, drive);
  assert.deepEqual(drive.wrong.filter((one) => !(one.includes("job=nobody") || /status of (404|422)/.test(one))), [], "errors in the console, or requests to others");
  await otherServers(browser, atEnd);
}

async function real(browser, atEnd, binary, ofDist) {
  const jobs = await Jobs.start(binary);
  atEnd(() => jobs.end());
  const console = ofDist ? await over(jobs.url) : { url: jobs.url, close: () => {} };
  atEnd(async () => console.close());
  await realJobs(jobs, browser, console.url, said);
  said("all of it over a real server");
}

const flags = process.argv.slice(2).filter((argument) => argument.startsWith("--"));
const [binary] = process.argv.slice(2).filter((argument) => !argument.startsWith("--"));
await within(async (atEnd) => {
  const browser = await launch();
  atEnd(() => browser.close());
  if (!flags.includes("--real")) await madeUp(browser, atEnd);
  if (binary) await real(browser, atEnd, binary, flags.includes("--dist"));
});
