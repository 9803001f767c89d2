// Takes the pictures of the documentation.  node test/screenshots.mjs BINARY DIRECTORY

import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Engine, launch, sleep, until, within } from "./harness.mjs";

const [binary, out] = process.argv.slice(2);
const MOST = 120_000;

await within(async (atEnd) => {
  const engine = await Engine.start(binary, { "generate.burst": 1500, "generate.rate": 25.0 });
  atEnd(() => engine.end());
  const browser = await launch();
  atEnd(() => browser.close());
  await until("events", async () => (await engine.list("limit=1")).total > 600, 60_000);
  const merged = await engine.merged(3);
  const pages = [
    ["now", "/console/", ".card h3", 12_000],
    ["events", `/console/events?event=${merged}`, ".waterfall", 3_000],
    ["why", `/console/events?event=${merged}#why`, ".waterfall", 3_000],
    ["map", "/console/map", ".dot", 3_000],
    ["review", "/console/review", ".doubt, .empty", 2_000],
    ["sources", "/console/sources", ".stacks tbody tr", 2_000],
    ["dead-letters", "/console/dead-letters", ".letters tbody tr", 2_000],
    ["docs", "/docs", ".endpoint", 500],
    ["log", "/console/log", ".stacks .cursor", 2_000],
  ];
  for (const [name, path, shows, rest] of pages) {
    for (const form of name === "why" ? ["light"] : ["light", "dark", "narrow"]) {
      const page = await browser.newPage();
      const narrow = form === "narrow";
      await page.setViewport(narrow ? { width: 375, height: 780, deviceScaleFactor: 2, isMobile: true, hasTouch: true } : { width: 1280, height: 800, deviceScaleFactor: 1.25 });
      await page.emulateMediaFeatures([
        { name: "prefers-color-scheme", value: form === "dark" ? "dark" : "light" },
        { name: "prefers-reduced-motion", value: "reduce" },
      ]);
      await page.goto(engine.url + path);
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
});
