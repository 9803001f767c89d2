// The pages of the operator and the editor in a real browser: over made-up data, which tries every state of them, and
// over a real engine.
//
//   node test/pages.mjs                   over test/mock.mjs
//   node test/pages.mjs BINARY            and over a real engine
//   node test/pages.mjs --real BINARY     over a real engine alone

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { axeSource, Engine, launch, sleep, until, within } from "./harness.mjs";
import { Mock } from "./mock.mjs";

const began = Date.now();
const said = (what) => console.log(`${((Date.now() - began) / 1000).toFixed(1).padStart(5)} s  ${what}`);

/** What steps do with a page: to open, see, press and judge it. */
export async function driver(browser, url) {
  const axe = await axeSource();
  const wrong = [];
  const open = async (path, { width = 1280, scheme = "light" } = {}) => {
    const page = await browser.newPage();
    page.on("console", (message) => ["error", "warn"].includes(message.type()) && wrong.push(`${path}: ${message.text()}`));
    page.on("pageerror", (error) => wrong.push(`${path}: ${error.message}`));
    page.on("request", (request) => {
      const { origin, protocol } = new URL(request.url());
      if (protocol !== "data:" && origin !== url) wrong.push(`${path}: a request to ${request.url()}`);
    });
    await page.setViewport({ width, height: 800, isMobile: width < 500, hasTouch: width < 500 });
    await page.emulateMediaFeatures([
      { name: "prefers-color-scheme", value: scheme },
      { name: "prefers-reduced-motion", value: "reduce" },
    ]);
    await page.goto(url + path, { waitUntil: "domcontentloaded" });
    return page;
  };
  const text = (page, selector) => page.$eval(selector, (node) => node.textContent);
  const texts = (page, selector) => page.$$eval(selector, (nodes) => nodes.map((node) => node.textContent.trim()));
  const count = (page, selector) => page.$$eval(selector, (nodes) => nodes.length);
  const sees = (page, what, selector, ms) => until(what, async () => (await count(page, selector)) > 0, ms);
  const reads = (page, what, selector, pattern, ms) => until(what, async () => pattern.test(await text(page, selector)), ms);
  /** Presses what says so. */
  const press = (page, selector, words) =>
    until(`${words} can be pressed`, () =>
      page.$$eval(selector, (nodes, words) => {
        const found = nodes.find((node) => node.textContent.includes(words) && !node.disabled);
        found?.click();
        return Boolean(found);
      }, words),
    );
  const accessible = async (page, what) => {
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    const told = violations.map(({ id, nodes }) => `${what}: ${id}: ${nodes.map((node) => `${node.html.slice(0, 160)} ${node.failureSummary?.slice(0, 200)}`).join(" | ")}`);
    assert.deepEqual(told, []);
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert(over <= 0, `${what} is ${over} px wider than the window`);
  };
  const query = (page) => new URL(page.url()).searchParams;
  return { url, wrong, open, text, texts, count, sees, reads, press, accessible, query };
}

/** Every page over made-up data. */
async function mockPages(browser, mock) {
  const { wrong, open, text, texts, count, sees, reads, press, accessible, query } = await driver(browser, mock.url);
  const lastWrite = () => mock.writes.at(-1);

  // Now: the flow, its last hour, the rail and the top line.
  const page = await open("/console/");
  await sees(page, "the flow", ".flow-stage");
  assert.deepEqual(await texts(page, ".flow-name"), ["Sources", "read", "extract", "geocode", "resolve", "score", "Events"]);
  assert.match(await text(page, ".flow-bottleneck"), /resolve.*bottleneck/);
  assert.match(await text(page, ".flow-letters"), /^11 dead letters$/);
  await reads(page, "the sentence", ".sentence", /^Five sources, 21 listings, 10 events in 2 cities; 51 records a second, everything committed [\d.]+ s ago\.$/);
  await until("four charts", async () => (await count(page, ".chart-line")) === 4);
  await press(page, ".segments button", "5 min");
  assert.equal(query(page).get("timeframe"), "5m");
  assert.deepEqual(await texts(page, ".rail-name"), ["Now", "Events", "Map", "Review", "Sources", "Dead letters", "Log"]);
  await until("what waits for a person", async () => (await texts(page, ".waiting-count")).join() === "11 to review,8 new");
  await reads(page, "the log in the top line", ".log-name", /^embedded log.db$/);
  await accessible(page, "Now");
  said("Now draws the flow and its last hour");

  // Review by the keyboard.
  await page.keyboard.press("g");
  await page.keyboard.press("r");
  await sees(page, "a pair", ".pair");
  const first = await page.$eval(".pair", (pair) => pair.ariaLabel);
  await reads(page, "how many are left", ".page-head p", /^11 pairs left/);
  await until("the pair is in the address", () => first === `${query(page).get("a")} and ${query(page).get("b")}`);
  assert((await count(page, ".pair mark")) > 0, "differences are marked in the text");
  await accessible(page, "Review");
  await page.keyboard.press("Space");
  await until("skipped", async () => (await page.$eval(".pair", (pair) => pair.ariaLabel)) !== first);
  const second = await page.$eval(".pair", (pair) => pair.ariaLabel);
  await page.keyboard.press("d");
  await until("the next one", async () => (await page.$eval(".pair", (pair) => pair.ariaLabel)) !== second);
  const [a, b] = second.split(" and ");
  assert.deepEqual(lastWrite().sent, { say: "different", a, b });
  await reads(page, "what became of it", ".outcome", /are not the same.*holds/);
  await reads(page, "what it changed", ".outcome", /is now in/);
  await reads(page, "the count goes down", ".page-head p", /^10 pairs left/);
  await accessible(page, "Review, decided");
  await page.keyboard.press("u");
  await until("the pair is back", async () => (await page.$eval(".pair", (pair) => pair.ariaLabel)) === second);
  assert.equal(lastWrite().method, "DELETE");
  await reads(page, "it is undone", ".outcome", /^Undone/);
  assert.equal(query(page).get("a"), a, "the pair is in the address");
  await page.keyboard.press("s");
  await reads(page, "the same", ".outcome", /are the same event.*holds/);
  for (let left = 10; left > 0; left--) {
    await reads(page, `${left} left`, ".page-head p", new RegExp(`^${left} pairs? left`));
    await page.keyboard.press("s");
  }
  await sees(page, "the end of the pairs", ".empty");
  await until("nothing waits in the rail", async () => !(await texts(page, ".waiting-count")).some((one) => one.includes("review")));
  await accessible(page, "Review, done");
  said("Review: same, different, skip, undo");

  // In an event's detail: to split it, to undo that, to join another.
  const event = [...mock.events.values()].find((event) => event.listings.length === 3);
  await page.goto(`${mock.url}/console/events?when=all&event=${event.id}#why`);
  await sees(page, "the edges", ".waterfall");
  await press(page, ".edge-actions button", "These two are not the same");
  await reads(page, "what became of it", ".decisions .outcome", /Decided by you.*not the same.*holds/);
  await until("the detail follows", async () => (await count(page, ".waterfall")) < 2);
  await accessible(page, "an event, split");
  await press(page, ".decisions .outcome .button", "Undo");
  await until("it is one again", async () => (await count(page, ".waterfall")) === 2);
  await press(page, ".decisions > button", "Same as another");
  await page.type(".same-as input", "nowhere");
  await page.keyboard.press("Enter");
  await reads(page, "a name that is none", ".same-as .wrong", /SOURCE\/ID/);
  const other = [...mock.events.values()].find((event) => event.listings.length === 1 && mock.decisions.size).listings[0];
  await page.$eval(".same-as input", (input) => input.select());
  await page.type(".same-as input", `${other.source}/${other.externalId}`);
  await page.keyboard.press("Enter");
  await reads(page, "they are one", ".decisions .outcome", /are the same event.*holds/);
  await reads(page, "and where", ".decisions .outcome", /Both are now in .* \(4 listings\)/);
  assert.deepEqual(lastWrite().sent, { say: "same", a: `${event.listings[0].source}/${event.listings[0].externalId}`, b: `${other.source}/${other.externalId}` });
  await page.reload();
  await reads(page, "the event tells of it afterwards", ".decisions", /Decided by kim, .*are the same event.*holds/);
  await accessible(page, "an event with decisions");
  said("an event is split and joined, and tells who decided");

  // Rejected, and taken back.
  await page.type(".moderating input", "spam");
  await press(page, ".moderating button", "Reject");
  await reads(page, "that it is rejected", ".moderating .status", /^rejected$/);
  assert.deepEqual(lastWrite().sent, { event: event.id, moderation: "rejected", because: "spam" });
  await reads(page, "what that means", ".moderating .note", /leave it out/);
  await accessible(page, "an event that is rejected");
  await press(page, ".moderating button", "Take back");
  await until("nothing is said of it", async () => (await count(page, ".moderating .status")) === 0);
  assert.deepEqual(lastWrite().sent, { event: event.id, moderation: "none" });
  said("an event is rejected, and taken back");

  // Sources.
  await page.goto(`${mock.url}/console/sources`);
  await sees(page, "a row a source", ".stacks tbody tr");
  assert.deepEqual(await texts(page, ".stacks tbody .status"), ["As usual", "As usual", "△ Fell by half", "▲ Silent", "As usual"]);
  assert.equal(await text(page, ".stacks tbody tr .gaps"), "78 % have no end; 30 % have no price");
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await sees(page, "the second source", ".side");
  assert.equal(query(page).get("source"), "ticket-office");
  await accessible(page, "Sources");
  await page.keyboard.press("Escape");
  await until("it is closed", async () => (await count(page, ".side")) === 0);
  said("Sources say which is silent, and what they lack");

  // Dead letters.
  await page.goto(`${mock.url}/console/dead-letters`);
  await sees(page, "groups", ".stacks tbody tr");
  await accessible(page, "Dead letters");
  await press(page, ".stacks tbody a", "invalid-field");
  await until("the filter is in the address", () => query(page).get("code") === "invalid-field" && query(page).get("source") === "ticket-office");
  await until("six letters", async () => (await count(page, ".letters tbody tr")) === 6);
  await press(page, ".letters .cursor", "0/1000");
  await reads(page, "the hint", ".letter-hint", /Change the mapping/);
  await reads(page, "the failing part", ".json-marked", /next Tuesday/);
  await accessible(page, "a dead letter");
  await press(page, ".putting button", "Dry run");
  await reads(page, "what would become of them", ".outcome-box", /^4 records would be sent again.*4 records can be read now\.Left out: 2 were replayed before/);
  assert.equal(mock.letters.filter((letter) => letter.state === "new").length, 8, "a dry run changes nothing");
  await page.click(".letters tbody tr:first-child input");
  await reads(page, "the selection", ".putting .actions", /1 selected letter/);
  await press(page, ".putting button", "Replay…");
  await press(page, ".outcome-box button", "Replay 1 record");
  await reads(page, "what became of it", ".outcome-done", /^1 record was sent again, for 1 letter/);
  assert.deepEqual(lastWrite().sent.ids, ["0/1000"]);
  await until("its state", async () => (await texts(page, ".letters tbody .status"))[0] === "replayed");
  await page.goto(`${mock.url}/console/dead-letters?code=malformed&letter=0/1006`);
  await sees(page, "the failing place", ".failing");
  await page.goto(`${mock.url}/console/dead-letters?code=malformed&letter=1/1009`);
  await reads(page, "bytes that are no text", ".code", /000000 {2}89 50 4e 47/);
  await page.goto(`${mock.url}/console/dead-letters?code=malformed&state=parked`);
  await sees(page, "a filter without a result says what to do", ".empty a");
  said("Dead letters: groups, bytes, dry run, replay");

  // The log.
  await page.goto(`${mock.url}/console/log`);
  await sees(page, "topics", ".stacks tbody tr");
  await accessible(page, "Log");
  await press(page, ".stacks .cursor", "mock.raw.events");
  await sees(page, "records", ".records tbody tr");
  await accessible(page, "records");
  await press(page, ".records .cursor", "148");
  await sees(page, "the record, folded", ".side .json-fold");
  assert.match(await text(page, ".side .headers"), /content-typeapplication\/json/);
  assert.equal(query(page).get("record"), "0/148");
  await accessible(page, "a record");
  await press(page, ".pager-links a", "Older");
  await until("older ones", () => query(page).get("offset") === "50");
  await reads(page, "from there", ".records tbody tr:last-child th", /^50$/);
  await page.type(".where .field:nth-child(4) input", "meetup/3");
  await page.keyboard.press("Enter");
  await until("the key is in the address", () => query(page).get("key") === "meetup/3");
  await until("only those of the key", async () => new Set(await texts(page, ".record-key")).size === 1);
  await page.goto(`${mock.url}/console/log?topic=mock.raw.events&partition=1&contains=Kite`);
  await reads(page, "the filter says what it looked at", ".list-head", /records, of 120 that were looked at/);
  await page.goto(`${mock.url}/console/log?topic=mock.decisions`);
  await sees(page, "an empty topic says so", ".empty");
  said("Log: topics, records by offset, key and text");

  // Dark, and as narrow as a telephone.
  const paths = ["/console/", "/console/review", `/console/events?when=all&event=${event.id}`, "/console/sources?source=meetup", "/console/dead-letters?letter=0/1002", "/console/log", "/console/log?topic=mock.raw.events&partition=0&offset=50&record=0/60"];
  for (const path of paths) {
    for (const form of [{ scheme: "dark" }, { width: 375 }]) {
      const other = await open(path, form);
      await sees(other, `${path} shows something`, ".flow, .pair, .empty, .decisions, .stacks, .records");
      if (/letter=|record=|source=/.test(path)) await sees(other, `${path} shows what is chosen`, ".side .facts-list");
      await accessible(other, `${path} ${JSON.stringify(form)}`);
      await other.close();
    }
  }
  await page.close();
  assert.deepEqual(wrong, [], "errors in the console, or requests to others");
  said("every page is accessible, in dark and at 375 px");
}

/** What is not there, and what is not allowed. */
async function otherServers(browser, atEnd) {
  const serve = async (options) => {
    const mock = await new Mock(options).listen();
    atEnd(() => mock.close());
    return [mock, await driver(browser, mock.url)];
  };

  const [replica, drive] = await serve({ replica: true });
  const page = await drive.open("/console/");
  await drive.sees(page, "a replica says what it is", ".replica");
  assert.equal(await drive.count(page, ".flow, .charts"), 0, "and shows no figures");
  await page.goto(`${replica.url}/console/sources?source=meetup`);
  await drive.reads(page, "records are the engine's", ".facts-list", /process of its own/);
  await drive.accessible(page, "a replica");
  assert.deepEqual(drive.wrong, []);
  await page.close();

  const [empty, nothing] = await serve({ empty: true });
  for (const path of ["", "review", "sources", "dead-letters", "log?topic=mock.raw.events"]) {
    const page = await nothing.open(`/console/${path}`);
    await nothing.sees(page, `${path} says how to fill it`, ".empty");
    await nothing.accessible(page, `${path}, empty`);
    await page.close();
  }
  assert.deepEqual(nothing.wrong, []);
  said("what is empty, and a replica, say so");

  const [locked, keyed] = await serve({ key: "open sesame" });
  const guest = await keyed.open("/console/events?when=all");
  await keyed.sees(guest, "a button to sign in", ".top-actions .button");
  await sleep(500);
  assert.equal(await keyed.count(guest, "dialog"), 0, "who only reads is not asked");
  const merged = [...locked.events.values()].find((event) => event.listings.length > 1).id;
  await guest.goto(`${locked.url}/console/events?when=all&event=${merged}`);
  await keyed.reads(guest, "why nothing can be decided", ".decisions", /Sign in to do this/);
  assert.equal(await keyed.count(guest, ".edge-actions button"), 0);
  await guest.goto(`${locked.url}/console/review`);
  await keyed.sees(guest, "the dialogue", "dialog[open]");
  await keyed.accessible(guest, "the dialogue");
  await guest.type("dialog input", "wrong");
  await guest.keyboard.press("Enter");
  await keyed.reads(guest, "a wrong key", "dialog .wrong", /does not know this key/);
  await guest.keyboard.press("Escape");
  await until("it can be closed", async () => (await keyed.count(guest, "dialog")) === 0);
  await keyed.press(guest, ".trouble .link", "Sign in");
  await keyed.sees(guest, "the dialogue again", "dialog[open]");
  await guest.type("dialog input", "open sesame");
  await guest.keyboard.press("Enter");
  await keyed.sees(guest, "the pairs", ".pair");
  await keyed.reads(guest, "who is signed in", ".who", /kim/);
  await keyed.press(guest, ".who button", "Sign out");
  await keyed.sees(guest, "signed out", ".trouble");
  assert.deepEqual(keyed.wrong.filter((one) => !one.includes("status of 401")), []);
  await guest.close();
  said("a server with keys asks for one, and says what it does not allow");

  // The server fails, and comes back.
  const [failing, held] = await serve({});
  const answer = failing.answer.bind(failing);
  failing.answer = async (asked, response) =>
    asked.url.startsWith("/api/admin/sources") ? response.writeHead(503, { "content-type": "application/problem+json" }).end('{"status":503,"code":"not-ready","detail":"Not yet."}') : answer(asked, response);
  const waiting = await held.open("/console/sources");
  await held.sees(waiting, "an error says what happens", ".trouble");
  await held.accessible(waiting, "an error");
  failing.answer = answer;
  await held.sees(waiting, "the page goes on by itself", ".stacks tbody tr", 8_000);
  await waiting.close();
  said("an error says what to do, and goes by itself");
}

/** The same pages over a real engine, with whatever its feed gives. `engine` is an Engine of the harness. */
export async function realPages(engine, browser) {
  const { wrong, open, text, texts, count, sees, reads, press, accessible, query } = await driver(browser, engine.url);
  const api = async (path) => (await fetch(engine.url + path)).json();

  const page = await open("/console/");
  await sees(page, "the flow", ".flow-stage", 20_000);
  await reads(page, "listings and records in the sentence", ".sentence", /listings?, .* events? in .*(second|coming)/, 20_000);
  await until("charts", async () => (await count(page, ".chart-line")) > 0, 30_000);
  await accessible(page, "Now, with the flow");

  // One decision that splits an event: of two listings it leaves one each.
  const id = await until("an event of two listings of two sources", async () => {
    const { events } = await engine.list("limit=200&fields=id,listings");
    return events.find(({ listings }) => listings.length === 2 && listings[0].source !== listings[1].source)?.id;
  }, 30_000);
  await page.goto(`${engine.url}/console/events?when=all&event=${id}#why`);
  await sees(page, "why they are one", ".edge-actions button");
  await press(page, ".edge-actions button", "These two are not the same");
  await reads(page, "it holds", ".decisions .outcome", /not the same.*holds/, 20_000);
  await until("the event has one listing", async () => (await api(`/api/events/${id}`)).listings.length === 1, 20_000);
  await until("the detail shows it", async () => (await count(page, ".waterfall")) === 0, 20_000);
  await reads(page, "and where they are now", ".decisions .outcome", /is now in/, 20_000);
  await accessible(page, "an event, split");
  await press(page, ".decisions .outcome .button", "Undo");
  await until("they are one again", async () => (await api(`/api/events/${id}`)).listings.length === 2, 20_000);

  // Review.
  await page.goto(`${engine.url}/console/review`);
  await sees(page, "a pair, or that there is none", ".pair, .empty", 20_000);
  await accessible(page, "Review");
  if (await count(page, ".pair")) {
    const first = await page.$eval(".pair", (pair) => pair.ariaLabel);
    await page.keyboard.press("s");
    await reads(page, "what became of it", ".outcome", /are the same event.*holds/, 20_000);
    await page.keyboard.press("u");
    await until("undone", async () => (await page.$eval(".pair", (pair) => pair.ariaLabel)) === first, 20_000);
  }

  // Sources.
  await page.goto(`${engine.url}/console/sources`);
  await sees(page, "sources", ".stacks tbody tr", 20_000);
  await page.click(".stacks .cursor");
  await sees(page, "one of them", ".side .facts-list");
  assert(query(page).has("source"));
  await accessible(page, "Sources");

  // Dead letters: one replayed.
  await page.goto(`${engine.url}/console/dead-letters`);
  await sees(page, "dead letters, or that there is none", ".letters tbody tr, .empty", 30_000);
  await accessible(page, "Dead letters");
  if (await count(page, ".letters tbody tr")) {
    await page.goto(`${engine.url}/console/dead-letters?state=new`);
    await sees(page, "new ones", ".letters tbody tr");
    await page.click(".letters tbody .cursor");
    await sees(page, "its bytes", ".side .code, .side .note");
    await page.click(".letters tbody input");
    await press(page, ".putting button", "Dry run");
    await reads(page, "what would become of it", ".outcome-box", /would be/, 20_000);
    await press(page, ".putting button", "Replay…");
    // A newer record of the same document may have come: then there is nothing to replay.
    const sendable = await until("what it will do", async () => {
      const words = await texts(page, ".outcome-box button");
      if (words.some((word) => word.startsWith("Replay"))) return "some";
      return /Nothing would be replayed/.test(await text(page, ".outcome-box").catch(() => "")) && "nothing";
    });
    if (sendable === "some") {
      await press(page, ".outcome-box button", "Replay");
      await reads(page, "what became of it", ".outcome-done", /sent again/, 20_000);
    }
    await accessible(page, "a replay");
  }

  // The log.
  await page.goto(`${engine.url}/console/log`);
  await sees(page, "topics", ".stacks .cursor", 20_000);
  // Not every raw record has a key; every event has one.
  const events = (await texts(page, ".stacks .cursor")).find((name) => name.endsWith("events") && !name.includes("raw"));
  await press(page, ".stacks .cursor", events);
  await sees(page, "records", ".records .cursor");
  await page.click(".records .cursor");
  await sees(page, "one of them", ".side .code, .side .note");
  await accessible(page, "a record");
  await press(page, ".side a", "All of this key");
  await sees(page, "those of the key", ".records .cursor");
  await page.close();
  assert.deepEqual(wrong, [], "errors in the console, or requests to others");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await within(async (atEnd) => {
    const browser = await launch();
    atEnd(() => browser.close());
    const binary = process.argv.slice(2).find((argument) => !argument.startsWith("--"));
    if (!process.argv.includes("--real")) {
      const mock = await new Mock().listen();
      atEnd(() => mock.close());
      await mockPages(browser, mock);
      await otherServers(browser, atEnd);
    }
    if (!binary) return;
    const engine = await Engine.start(binary, { "generate.burst": 300, "generate.rate": 10.0 });
    atEnd(() => engine.end());
    await realPages(engine, browser);
    await sleep(200);
    said("all of it over a real engine");
  });
}
