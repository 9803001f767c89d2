// Takes the pictures of the documentation.
//
//   node test/screenshots.mjs BINARY DIRECTORY      all of them
//   node test/screenshots.mjs --jobs DIRECTORY      those of jobs, which are made up

import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Engine, launch, sleep, until, within } from "./harness.mjs";
import { JobsMock } from "./jobs-mock.mjs";

const [binary, out] = process.argv.slice(2);
const MOST = 120_000;
const FORMS = ["light", "dark", "narrow"];

/** A picture of a page in each form. */
async function shoot(browser, url, { name, path, shows, rest, forms = FORMS }) {
  for (const form of forms) {
    const page = await browser.newPage();
    const narrow = form === "narrow";
    await page.setViewport(narrow ? { width: 375, height: 780, deviceScaleFactor: 2, isMobile: true, hasTouch: true } : { width: 1280, height: 800, deviceScaleFactor: 1.25 });
    await page.emulateMediaFeatures([
      { name: "prefers-color-scheme", value: form === "dark" ? "dark" : "light" },
      { name: "prefers-reduced-motion", value: "reduce" },
    ]);
    await page.goto(url + path);
    await page.waitForSelector(shows, { timeout: 30_000 });
    await sleep(rest);
    const file = join(resolve(out), `console-${name}-${form}.webp`);
    let size = Infinity;
    for (let quality = 86; quality >= 40 && size > MOST; quality -= 12) {
      await page.screenshot({ path: file, type: "webp", quality });
      size = (await stat(file)).size;
    }
    if (size > MOST) throw new Error(`${file} is larger than ${MOST} bytes`);
    console.log(`${String(size).padStart(7)}  ${file}`);
    await page.close();
  }
}

async function events(browser, atEnd) {
  const engine = await Engine.start(binary, { "generate.burst": 1500, "generate.rate": 25.0 });
  atEnd(() => engine.end());
  await until("events", async () => (await engine.list("limit=1")).total > 600, 60_000);
  const merged = await engine.merged(3);
  const pages = [
    { name: "now", path: "/console/", shows: ".card h3", rest: 12_000 },
    { name: "events", path: `/console/events?event=${merged}`, shows: ".waterfall", rest: 3_000 },
    { name: "why", path: `/console/events?event=${merged}#why`, shows: ".waterfall", rest: 3_000, forms: ["light"] },
    { name: "map", path: "/console/map", shows: ".dot", rest: 3_000 },
    { name: "review", path: "/console/review", shows: ".doubt, .empty", rest: 2_000 },
    { name: "sources", path: "/console/sources", shows: ".stacks tbody tr", rest: 2_000 },
    { name: "dead-letters", path: "/console/dead-letters", shows: ".letters tbody tr", rest: 2_000 },
    { name: "docs", path: "/docs", shows: ".endpoint", rest: 500 },
    { name: "log", path: "/console/log", shows: ".stacks .cursor", rest: 2_000 },
  ];
  for (const page of pages) await shoot(browser, engine.url, page);
}

async function jobs(browser, atEnd) {
  const mock = await new JobsMock({ moving: true }).listen();
  atEnd(() => mock.close());
  await sleep(5_000);
  const dead = [...mock.jobs.values()].filter((job) => job.phase === "dead" && job.queue === "mail").at(-1);
  await shoot(browser, mock.url, { name: "jobs", path: "/console/jobs", shows: ".jobs tbody tr", rest: 2_000 });
  await shoot(browser, mock.url, { name: "job", path: `/console/jobs?job=${dead.id}`, shows: ".attempt", rest: 1_000, forms: ["light"] });
}

await within(async (atEnd) => {
  const browser = await launch();
  atEnd(() => browser.close());
  if (binary !== "--jobs") await events(browser, atEnd);
  await jobs(browser, atEnd);
});
