// The console in a real browser, over a real engine.  node test/browser.mjs BINARY

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { axeSource, Engine, here, launch, sleep, until, within } from "./harness.mjs";

const binary = process.argv[2];
if (!binary) {
  console.error("which binary? node test/browser.mjs BINARY");
  process.exit(2);
}
const began = Date.now();
const said = (what) => console.log(`${((Date.now() - began) / 1000).toFixed(1).padStart(5)} s  ${what}`);

await within(async (atEnd) => {
  // A page of another origin, which shows the component.
  const example = await readFile(join(here, "../example/index.html"), "utf8");
  const foreign = createServer((_, answer) =>
    answer.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(example.replaceAll("http://127.0.0.1:8081", engine.url)),
  ).listen(0, "127.0.0.1");
  await once(foreign, "listening");
  atEnd(async () => foreign.close());
  const foreignUrl = `http://127.0.0.1:${foreign.address().port}`;

  const engine = await Engine.start(binary, { "generate.burst": 300, "generate.rate": 10.0, "serve.origins": `["${foreignUrl}"]` });
  atEnd(() => engine.end());
  const browser = await launch();
  atEnd(() => browser.close());
  const axe = await axeSource();
  said("the engine and the browser are up");

  const wrong = [];
  let expectLoss = false;
  const open = async (path, { width = 1280, scheme = "light" } = {}) => {
    const page = await browser.newPage();
    page.on("console", (message) => {
      if (["error", "warn"].includes(message.type()) && !expectLoss) wrong.push(`${path}: ${message.text()}`);
    });
    page.on("pageerror", (error) => wrong.push(`${path}: ${error.message}`));
    page.on("request", (request) => {
      const { origin, protocol } = new URL(request.url());
      if (protocol !== "data:" && origin !== engine.url) wrong.push(`${path}: a request to ${request.url()}`);
    });
    await page.setViewport({ width, height: 800, isMobile: width < 500, hasTouch: width < 500 });
    await page.emulateMediaFeatures([
      { name: "prefers-color-scheme", value: scheme },
      { name: "prefers-reduced-motion", value: "reduce" },
    ]);
    await page.goto(engine.url + path, { waitUntil: "domcontentloaded" });
    return page;
  };
  const text = (page, selector) => page.$eval(selector, (node) => node.textContent);
  const count = (page, selector) => page.$$eval(selector, (nodes) => nodes.length);
  const sees = (page, what, selector, ms) => until(what, async () => (await count(page, selector)) > 0, ms);
  const accessible = async (page, what) => {
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    const told = violations.map(({ id, nodes }) => `${what}: ${id}: ${nodes.map((node) => node.html.slice(0, 160)).join(" | ")}`);
    assert.deepEqual(told, []);
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert(over <= 0, `${what} is ${over} px wider than the window`);
  };

  // The address of the server leads to the console, which is live.
  const page = await open("/");
  assert.equal(new URL(page.url()).pathname, "/console/");
  await sees(page, "Now is live", ".state-good");
  await until("the sentence tells of events", async () => /sources?, .*[\d,.k ]+ events? in/.test(await text(page, ".sentence")));
  assert.equal(await text(page, ".topology"), "quickstart");
  await sees(page, "merges side by side", ".side-by-side", 20_000);
  await sees(page, "agreeing fields are marked", ".side-by-side .agrees");
  await sees(page, "changes as they happen", ".changes li", 15_000);
  await accessible(page, "Now");
  said("Now shows what there is, merges and changes");

  // From a merge to why.
  const merge = await page.$(".card-foot a");
  await page.mouse.move(5, 400);
  await merge.focus();
  await merge.click();
  await sees(page, "why it was merged", ".waterfall .sum");
  const points = await page.$eval(".waterfall", (node) =>
    [...node.querySelectorAll("tbody .points")].map((cell) => Number(cell.title)),
  );
  const sum = points.pop();
  assert(Math.abs(points.reduce((a, b) => a + b, 0) - sum) < 1e-6 && points.length > 2, `${points} add up to ${sum}`);
  await sees(page, "the chosen values", ".origins .chosen");
  await accessible(page, "an event");
  said("a merge tells why");

  // Events: a list, live.
  await page.goto(`${engine.url}/console/events`);
  await sees(page, "events within 10 s", "a.row", 10_000);
  const before = await page.$$eval("a.row", (rows) => rows.map((row) => row.dataset.id));
  await sees(page, "new events wait", ".button-new", 20_000);
  assert.deepEqual(await page.$$eval("a.row", (rows) => rows.map((row) => row.dataset.id)), before, "the list stays where it is");
  const waiting = await text(page, ".button-new");
  assert.match(waiting, /^\d+ new$/);
  await page.click(".button-new");
  await until("they are shown when asked for", async () => !(await page.$(".button-new")) || (await text(page, ".button-new")) !== waiting);
  await accessible(page, "Events");
  said("new events arrive without a reload, and wait to be asked for");

  // The keyboard.
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await sees(page, "the second event beside the list", ".detail-head");
  assert.equal(new URL(page.url()).searchParams.get("event"), await page.$eval("li:nth-child(2) > a.row", (row) => row.dataset.id));
  await page.keyboard.press("Escape");
  await until("Escape closes it", async () => !(await page.$(".detail")));
  await page.keyboard.press("?");
  await sees(page, "the keys", "dialog[open]");
  await accessible(page, "the keys");
  await page.keyboard.press("Escape");
  await page.keyboard.press("/");
  await page.keyboard.type("jazz");
  await sees(page, "suggestions", "#suggestions li");
  await page.keyboard.press("Enter");
  await until("the search is in the address", () => new URL(page.url()).searchParams.get("q") === "jazz");
  said("the keyboard moves, opens, closes and searches");

  // A filter in the address.
  const { facets } = await engine.list("limit=1&facets=category");
  const category = facets.category[0].value;
  await page.goto(`${engine.url}/console/events?${new URLSearchParams({ category: category.replaceAll(",", "\\,") })}`);
  await sees(page, "filtered events", "a.row");
  const categories = new Set(await page.$$eval("a.row .category", (nodes) => nodes.map((node) => node.textContent.trim())));
  assert.deepEqual([...categories], [category]);
  await page.$$eval(".filters .chip", (chips) => chips.find((chip) => chip.textContent.startsWith("City")).click());
  await sees(page, "values to choose", ".popover .value");
  await page.click(".popover .value input");
  await until("the choice is in the address", () => new URL(page.url()).searchParams.has("city"));
  await page.goto(`${engine.url}/console/events?q=zzzzzzzz`);
  await sees(page, "an empty list says what to do", ".empty a");
  await page.goto(`${engine.url}/console/events?startDate=yesterday`);
  await sees(page, "a wrong filter says what to do", ".trouble a");
  wrong.splice(0, wrong.length, ...wrong.filter((one) => !one.includes("status of 400")));
  said("a filter in the address filters");

  // The map.
  await page.goto(`${engine.url}/console/map`);
  await sees(page, "dots", ".dot");
  await until("land", () =>
    page.$eval(".map canvas", (canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const colours = new Set();
      for (let i = 0; i < data.length; i += 4 * 97) colours.add(`${data[i]},${data[i + 1]},${data[i + 2]}`);
      return colours.size > 2;
    }),
  );
  await accessible(page, "Map");
  const all = await text(page, ".map-page .list-head");
  await page.$$eval(".segments button", (buttons) => buttons.find((button) => button.textContent === "1 week").click());
  await until("a shorter time has fewer events", async () => (await text(page, ".map-page .list-head")) !== all);
  assert.equal(new URL(page.url()).searchParams.get("days"), "7");
  said("the map draws events on land");

  // Dark, and as narrow as a telephone.
  const id = await engine.merged();
  for (const path of ["/console/", `/console/events?when=all&event=${id}`, "/console/events", "/console/map"]) {
    for (const form of [{ scheme: "dark" }, { width: 375 }]) {
      const other = await open(path, form);
      await sees(other, "it is live", ".state-good");
      await sees(other, "it shows something", ".card h3, .waterfall, a.row, .dot", 15_000);
      await accessible(other, `${path} ${JSON.stringify(form)}`);
      await other.close();
    }
  }
  const narrow = await open("/console/", { width: 375 });
  const rail = await narrow.$eval(".rail", (rail) => rail.getBoundingClientRect().toJSON());
  assert(rail.top > 700 && rail.width === 375, "the rail is a bar at the bottom");
  await narrow.click("button[aria-label^='Theme']");
  await narrow.click("button[aria-label^='Theme']");
  assert.equal(await narrow.$eval("html", (html) => html.dataset.theme), "dark");
  await narrow.reload();
  assert.equal(await narrow.$eval("html", (html) => html.dataset.theme), "dark", "the theme is remembered");
  await narrow.close();
  said("every page is accessible, in dark and at 375 px");

  // The page that explains the API, which needs no script but has the address of this server.
  for (const form of [{}, { scheme: "dark" }, { width: 375 }]) {
    const docs = await open("/docs", form);
    await until("the examples name this server", async () => (await text(docs, "pre.code")).includes(`curl '${engine.url}/api/events?limit=3'`));
    await docs.click(".endpoint summary");
    assert((await count(docs, ".endpoint[aria-labelledby='get-api-places'] dt")) > 10, "the parameters of places");
    await accessible(docs, `/docs ${JSON.stringify(form)}`);
    await docs.close();
  }
  const snippet = await open("/docs");
  const code = await snippet.$$eval("pre.code", (blocks) => blocks.find((block) => block.textContent.includes("EventSource")).textContent);
  await snippet.evaluate(`${code}\nglobalThis.kept = events;`);
  await until("the snippet's map is the list", async () => {
    const { total } = await engine.list("category=music&limit=1");
    return total > 0 && total === (await snippet.evaluate(() => globalThis.kept.size));
  });
  await snippet.close();
  await page.goto(`${engine.url}/console/`);
  await page.click(".rail-foot");
  await until("the console leads to it", () => new URL(page.url()).pathname === "/docs");
  const list = await (await fetch(`${engine.url}/api/places?sort=events&limit=3`)).json();
  assert(list.places[0].eventsToCome >= 1 && list.places[0].name, "places of the engine");
  said("the API is explained at /docs, in light, dark and at 375 px");

  // The component, on a page of another origin.
  const guest = await browser.newPage();
  guest.on("pageerror", (error) => wrong.push(`component: ${error.message}`));
  guest.on("console", (message) => message.type() === "error" && !message.text().includes("favicon") && !/404/.test(message.text()) && !expectLoss && wrong.push(`component: ${message.text()}`));
  await guest.goto(foreignUrl);
  await until("events on another page", () =>
    guest.$eval("headwater-events", (element) => element.shadowRoot.querySelectorAll("li").length > 0),
  );
  await guest.close();
  said("the component shows events on a page of another origin");

  // The server goes away and comes back.
  const lasting = await open("/console/events");
  await sees(lasting, "events", "a.row");
  await sees(lasting, "it is live", ".state-good");
  await lasting.evaluate(() => (globalThis.sameDocument = true));
  expectLoss = true;
  await engine.down();
  await until("the top line says that it is lost", async () => /lost since/.test(await text(lasting, ".state")));
  assert((await count(lasting, "a.row")) > 0, "the page stays readable");
  await engine.up();
  await until("it is live again", async () => /^live/.test(await text(lasting, ".state")), 20_000);
  await sees(lasting, "and goes on", ".button-new", 20_000);
  assert.equal(await lasting.evaluate(() => globalThis.sameDocument), true, "without a reload");
  await sleep(200);
  said("a restart of the server is survived");

  assert.deepEqual(wrong, [], "errors in the console, or requests to others");
  said("no error in the browser's console, no request to others");
});
