// The pages of jobs in a real browser, over the real server with its own commands and workers.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { sleep, until } from "./harness.mjs";
import { driver } from "./pages.mjs";

/** What workers do: it depends on the payload. */
const SCRIPT = `
payload=$(cat)
case "$payload" in
*endless*) trap 'echo stopped >"$STOPPED"; exit 1' TERM; echo "progress 0.1 begun"; while :; do sleep 0.1; done ;;
*slow*) echo "progress 0.25 reading"; sleep 2; echo "progress 0.75 writing"; sleep 2; echo 'result {"pages": 12}' ;;
*broken*) echo "no such template: broken" >&2; exit 65 ;;
*) echo 'result {"sent": true}' ;;
esac
`;

const SECONDS = 1_000;

/** `jobs` is a server with nothing in it; `url` is where its console is. */
export async function realJobs(jobs, browser, url = jobs.url, said = () => {}) {
  const drive = await driver(browser, url);
  const { wrong, open, text, sees, reads, accessible } = drive;
  const page = await open("/console/");
  await reads(page, "that there is nothing yet", ".empty", /There is no job yet.*Submit a job/s, 20 * SECONDS);
  await accessible(page, "no job");
  await until("live", async () => (await text(page, ".freshness .sr")) === "Live");

  await submitted(jobs, page, drive);
  said("jobs appear as they are submitted from the command line");
  const stopped = join(jobs.directory, "stopped");
  const worker = jobs.work("studio", ["mail", "reports"], 2, SCRIPT, { STOPPED: stopped });
  await worked(jobs, page, drive);
  said("progress, result");
  await cancelled(jobs, page, drive, stopped);
  said("cancel stops the script");
  await dead(jobs, page, drive);
  said("a dead job, retried with another payload");
  await paused(jobs, page, drive);
  said("pause and resume");
  await found(jobs, page, drive);
  said("search, and many cancelled");
  await scheduled(jobs, page, drive);
  said("schedules: run, added, changed, deleted");
  await left(jobs, page, drive, worker);
  said("workers");
  await restarted(jobs, page, drive);
  said("a restart of the server");
  // What was asked wrongly on purpose, and what the browser says while the server is away.
  const expected = /status of 422|net::ERR_|status of 503|status of 404/;
  assert.deepEqual(wrong.filter((one) => !expected.test(one)), [], "errors in the console, or requests to others");
  await page.close();
}

const queueRow = (queue) => `.queues tbody tr:has(th a[href$="queue=${queue}"])`;
const jobRow = (id) => `.jobs tr:has([data-id="${id}"])`;
const jobPage = (drive, id) => `${drive.url}/console/jobs?job=${encodeURIComponent(id)}`;

async function submitted(jobs, page, { text, texts, sees, reads, press, accessible }) {
  await jobs.submit("mail", { to: "ada@example.org" }, "--id", "first", "--kind", "welcome");
  await sees(page, "its queue", queueRow("mail"));
  await reads(page, "it itself", ".jobs .job-payload", /ada@example\.org/);
  await reads(page, "the command of a worker", ".no-worker", /headwater work --queue mail -- COMMAND/);
  await jobs.submit("mail", { to: "grace@example.org" }, "--id", "second", "--priority", "5");
  await reads(page, "that one is new", ".button-new", /^1 new$/);
  assert.deepEqual(await texts(page, ".jobs .cursor"), ["first"], "the list keeps its place");
  await press(page, ".button-new", "1 new");
  await until("both", async () => (await texts(page, ".jobs .cursor")).join() === "second,first");
  assert.equal(await text(page, '.queue-count a[aria-label="2 waiting in mail"]'), "2");
  await accessible(page, "jobs that wait");

  // By the form.
  await press(page, ".page-head button", "Submit a job…");
  await page.type("dialog input[name=queue]", "mail");
  await page.click("dialog summary");
  await page.type("dialog input[name=id]", "third");
  await page.type("dialog input[name=delay]", "1 q");
  await press(page, "dialog button", "Submit");
  await reads(page, "what is wrong", "dialog .trouble", /"1 q" is not a duration/);
  await page.$eval("dialog input[name=delay]", (input) => input.select());
  await page.type("dialog input[name=delay]", "1 h");
  await press(page, "dialog button", "Submit");
  await reads(page, "that it is submitted", "dialog .question-text", /^third is submitted to mail/);
  await page.click("dialog .question-text a");
  await reads(page, "it itself", ".job-sentence", /^delayed.*It may begin in 59 min/);
  await press(page, ".job-doing button", "Run now");
  await reads(page, "it waits", ".job-sentence .phase", /^waiting$/);
}

async function worked(jobs, page, drive) {
  const { text, reads, accessible } = drive;
  await until("the first ones are done", async () => (await Promise.all(["first", "second", "third"].map((id) => jobs.job(id)))).every((job) => job.phase === "done"));
  await reads(page, "the page follows", ".job-sentence", /^done.*at the first attempt/);
  await reads(page, "the result", "section[aria-labelledby=result] .code", /sent: true/);
  await jobs.submit("reports", { tenant: "acme", how: "slow" }, "--id", "report:1", "--group", "acme");
  await page.goto(jobPage(drive, "report:1"));
  await reads(page, "its progress", ".progress-now", /^25 % reading/);
  await accessible(page, "a leased job");
  await reads(page, "its progress, later", ".progress-now", /^75 % writing/);
  await reads(page, "it is done", ".job-sentence .phase", /^done$/);
  await reads(page, "its result", "section[aria-labelledby=result] .code", /pages: 12/);
  assert.match(await text(page, ".attempts"), /studio/);
}

async function cancelled(jobs, page, drive, stopped) {
  const { reads, press } = drive;
  await jobs.submit("reports", { how: "endless" }, "--id", "endless");
  await page.goto(jobPage(drive, "endless"));
  await reads(page, "that it has begun", ".progress-now", /^10 % begun/);
  assert(!existsSync(stopped));
  await press(page, ".job-doing button", "Cancel…");
  await press(page, "dialog button", "Cancel it");
  await reads(page, "that the worker is told", "dialog .question-text", /is told to stop/);
  await press(page, "dialog button", "Close");
  await until("the script was stopped", () => existsSync(stopped));
  await reads(page, "it is cancelled", ".job-sentence .phase", /^cancelled$/);
  assert.equal((await jobs.job("endless")).phase, "cancelled");
}

async function dead(jobs, page, drive) {
  const { url } = drive;
  const { reads, press, accessible, query, count, text } = drive;
  await page.goto(`${url}/console/jobs`);
  for (const id of ["bad-1", "bad-2"]) await jobs.submit("mail", { template: "broken" }, "--id", id);
  await reads(page, "the group of their error", ".error-groups tbody tr", /^exit-65.*mail.*2.*no such template: broken/);
  assert.equal(await text(page, ".waiting-count"), "2 dead");
  await accessible(page, "dead jobs");
  await press(page, ".error-groups tbody th a", "exit-65");
  await until("those of the group", async () => query(page).get("error") === "exit-65" && (await count(page, ".jobs tbody tr")) === 2);
  await page.click('.jobs [data-id="bad-1"]');
  await reads(page, "why it died", ".job-failure", /^exit-65 no such template/);
  await press(page, ".job-doing button", "Change payload…");
  await page.$eval("dialog textarea", (area) => area.select());
  await page.type("dialog textarea", '{"template": "welcome"}');
  await press(page, "dialog button", "Retry with this payload");
  await reads(page, "that it was sent", "dialog .question-text", /run again, with the new payload/);
  await press(page, "dialog button", "Close");
  await reads(page, "it is done", ".job-sentence .phase", /^done$/);
  assert.deepEqual((await jobs.job("bad-1")).payload, { template: "welcome" });
  await accessible(page, "a job that was retried");

  // The other one fails as before.
  await page.goto(`${url}/console/jobs?phase=dead`);
  await press(page, ".error-groups tbody tr:first-child button", "Retry…");
  await press(page, "dialog button", "Retry 1 job");
  await reads(page, "what became of it", "dialog .question-text", /^1 job is to run again/);
  await until("it has failed once more", async () => (await jobs.job("bad-2")).runs.length === 2);
  await press(page, "dialog button", "Close");
}

async function paused(jobs, page, { url, sees, count, press, reads }) {
  await page.goto(`${url}/console/jobs?queue=mail`);
  await press(page, `${queueRow("mail")} button`, "Pause");
  await sees(page, "that it is paused", `${queueRow("mail")} .queue-paused`);
  await jobs.submit("mail", { to: "emil@example.org" }, "--id", "patient");
  await reads(page, "that one is new", ".button-new", /^1 new$/);
  await press(page, ".button-new", "1 new");
  await sees(page, "its row", jobRow("patient"));
  // A free worker would have taken it by now.
  await sleep(1 * SECONDS);
  assert.equal((await jobs.job("patient")).phase, "waiting");
  await press(page, `${queueRow("mail")} button`, "Resume");
  await reads(page, "its row follows", `${jobRow("patient")} .phase`, /^done$/);
  assert.equal(await count(page, `${queueRow("mail")} .queue-paused`), 0);
}

async function found(jobs, page, { url, texts, sees, reads, press, query, accessible, count }) {
  for (let n = 0; n < 5; n++) await jobs.submit("exports", { tenant: n < 4 ? "cobalt" : "birch-and-sons", n }, "--id", `export-${n}`);
  await page.goto(`${url}/console/jobs`);
  await sees(page, "the list", ".jobs tbody tr");
  await page.keyboard.press("/");
  await page.keyboard.type("BIRCH-and");
  await reads(page, "a suggestion", "#suggestions li", /export-4/);
  await page.keyboard.press("Enter");
  await until("what contains it", async () => query(page).get("q") === "BIRCH-and" && (await texts(page, ".jobs .cursor")).join() === "export-4");

  await page.goto(`${url}/console/jobs?queue=exports&phase=waiting`);
  await until("all of them", async () => (await count(page, ".jobs tbody tr")) === 5);
  for (const n of [0, 1, 2]) await page.$eval(`${jobRow(`export-${n}`)} input`, (input) => input.click());
  await reads(page, "how many are ticked", ".job-actions", /3 ticked jobs/);
  await press(page, ".job-actions button", "Cancel…");
  await press(page, "dialog button", "Cancel 3 jobs");
  await reads(page, "what became of them", "dialog .question-text", /^3 jobs are being cancelled/);
  await press(page, "dialog button", "Close");
  await until("their rows say so", async () => (await count(page, ".job-left")) === 3);
  const phases = await Promise.all([0, 1, 2, 3, 4].map(async (n) => (await jobs.job(`export-${n}`)).phase));
  assert.deepEqual(phases, ["cancelled", "cancelled", "cancelled", "waiting", "waiting"]);
  await accessible(page, "many cancelled");
  await press(page, ".job-actions button", "Cancel…");
  await press(page, "dialog button", "Cancel 2 jobs");
  await reads(page, "what became of the rest", "dialog .question-text", /^2 jobs are being cancelled/);
  await until("all are", async () => (await jobs.job("export-4")).phase === "cancelled");
}

async function scheduled(jobs, page, { url, texts, sees, reads, press, accessible, count }) {
  await jobs.command("schedules", "set", "morning", JSON.stringify({ cron: "0 7 * * MON-FRI", zone: "Europe/Berlin", job: { queue: "mail", kind: "digest", attempts: 2 } }));
  await page.goto(`${url}/console/schedules`);
  await reads(page, "it", ".schedules tbody tr", /^morning.*0 7 \* \* MON-FRI Europe\/Berlin.*in \d/);
  await accessible(page, "Schedules");
  await press(page, ".schedules button", "Run now");
  await reads(page, "that its job is submitted", ".schedule-said", /^Its job is submitted/);
  const id = await page.$eval(".schedule-said a", (link) => new URL(link.href).searchParams.get("job"));
  await page.click(".schedule-said a");
  await reads(page, "its job is done", ".job-sentence .phase", /^done$/);
  const job = await jobs.job(id);
  assert.deepEqual([job.queue, job.kind, job.limits.maxAttempts], ["mail", "digest", 2]);

  await page.goto(`${url}/console/schedules`);
  await press(page, ".page-head button", "Add a schedule…");
  await page.type("dialog input[name=name]", "beat");
  await page.type("dialog input[name=queue]", "mail");
  await page.type("dialog input[name=cron]", "every second");
  await press(page, "dialog button", "Add");
  await reads(page, "what is wrong", "dialog .trouble", /the cron pattern "every second"/);
  await page.select("dialog .fields-when select", "every");
  await page.type("dialog input[name=every]", "1 s");
  await press(page, "dialog button", "Add");
  await reads(page, "that it is added", "dialog .question-text", /^beat is added\. It is due/);
  await press(page, "dialog button", "Close");
  const row = `.schedules tr:has(a[href$="schedule=beat"])`;
  await until("it submits a job each second", async () => Number(await page.$eval(`${row} td[data-label=Submitted]`, (cell) => cell.textContent)) >= 2, 15 * SECONDS);
  await sees(page, "its last job", `${row} .last-job .phase`);
  await press(page, `${row} button`, "Pause");
  await reads(page, "that it is paused", `${row} td[data-label=Next]`, /paused/, 3 * SECONDS);
  await page.click(`${row} .cursor`);
  await press(page, ".side button", "Edit…");
  await page.$eval("dialog input[name=every]", (input) => input.select());
  await page.type("dialog input[name=every]", "2 h");
  await press(page, "dialog button", "Save");
  await reads(page, "that it is changed", "dialog .question-text", /^beat is changed\. It is paused/);
  await press(page, "dialog button", "Close");
  await reads(page, "its new interval", `${row} td`, /^every 2 h$/, 3 * SECONDS);
  await accessible(page, "a schedule");
  await press(page, ".side button", "Delete…");
  await press(page, "dialog button", "Delete it");
  await until("it is gone", async () => (await texts(page, ".schedules .cursor")).join() === "morning" && (await count(page, "dialog")) === 0, 3 * SECONDS);
}

async function left(jobs, page, { url, reads, accessible }, worker) {
  await page.goto(`${url}/console/workers`);
  await reads(page, "the worker", ".workers tbody tr", /^studiomail ?reports.*0 of 2/);
  await jobs.submit("reports", { how: "slow" }, "--id", "report:2");
  await reads(page, "what it has", ".worker-jobs li", /report:2.*%/);
  await accessible(page, "Workers");
  worker.kill("SIGINT");
  await reads(page, "that it takes no more", ".workers tbody tr", /stopped/, 15 * SECONDS);
  assert.equal((await jobs.job("report:2")).phase, "done", "it waited for what it had");
}

async function restarted(jobs, page, { url, text, reads, sees }) {
  const ofBeat = async () => (await (await fetch(`${jobs.url}/api/jobs?schedule=beat`)).json()).total;
  const before = await ofBeat();
  await page.goto(`${url}/console/jobs`);
  await sees(page, "the list", ".jobs tbody tr");
  await until("live", async () => (await text(page, ".freshness .sr")) === "Live");
  await jobs.down();
  await reads(page, "that the connection is lost", ".state", /lost since/, 20 * SECONDS);
  await jobs.up();
  await until("live again", async () => (await text(page, ".freshness .sr")) === "Live", 30 * SECONDS);
  await jobs.submit("mail", { to: "wren@example.org" }, "--id", "afterwards");
  await until("it is known", async () => (await jobs.job("afterwards")).phase === "waiting");
  assert.equal(await ofBeat(), before, "a schedule that was deleted submits nothing");
  await reads(page, "what came since", ".button-new", /^1 new$/, 20 * SECONDS);
}
