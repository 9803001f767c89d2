// An engine on free ports with a generated feed, and a browser.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import puppeteer from "puppeteer-core";

export const here = dirname(fileURLToPath(import.meta.url));
export const repository = resolve(here, "../../..");

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Waits until something holds, and says what did not. */
export async function until(what, holds, ms = 10_000) {
  const end = Date.now() + ms;
  let error;
  for (;;) {
    try {
      const found = await holds();
      if (found) return found;
    } catch (caught) {
      error = caught;
    }
    if (Date.now() > end) throw new Error(`not within ${ms / 1000} s: ${what}${error ? ` (${error.message})` : ""}`);
    await sleep(100);
  }
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** A binary that serves, on free ports and in a directory of its own. */
export class Engine {
  /** What is asked to know that it serves. */
  asks = "/api/events?limit=1";
  config = ["--config", join(repository, "config/quickstart.toml")];
  views = ["view.db"];

  static async start(binary, settings = {}) {
    const engine = new this();
    engine.binary = resolve(binary);
    engine.directory = await mkdtemp(join(tmpdir(), "headwater-console-"));
    engine.url = `http://127.0.0.1:${await freePort()}`;
    engine.settings = {
      "log.embedded.path": `"${join(engine.directory, "log.db")}"`,
      ...Object.fromEntries(engine.views.map((view) => ["views.sqlite.path", `"${join(engine.directory, view)}"`])),
      "admin.listen": `"127.0.0.1:${await freePort()}"`,
      "serve.listen": `"${engine.url.slice("http://".length)}"`,
      ...settings,
    };
    try {
      await engine.up();
    } catch (error) {
      await engine.end();
      throw error;
    }
    return engine;
  }

  async up() {
    const sets = Object.entries(this.settings).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
    this.said = "";
    this.process = spawn(this.binary, [...this.config, ...sets], { stdio: ["ignore", "pipe", "pipe"], cwd: this.directory });
    for (const stream of [this.process.stdout, this.process.stderr]) stream.on("data", (data) => (this.said += data));
    await until("the engine serves", async () => {
      if (this.process.exitCode !== null) throw new Error(`it has ended:\n${this.said}`);
      return (await fetch(this.url + this.asks)).ok;
    }, 60_000);
  }

  async down() {
    if (!this.process || this.process.exitCode !== null || this.process.signalCode !== null) return;
    const ended = once(this.process, "exit");
    this.process.kill("SIGTERM");
    const hard = setTimeout(() => this.process.kill("SIGKILL"), 20_000);
    await ended;
    clearTimeout(hard);
  }

  async end() {
    await this.down();
    await rm(this.directory, { recursive: true, force: true });
  }

  async list(query) {
    return (await fetch(`${this.url}/api/events?${query}`)).json();
  }

  /** The id of an event whose `parts` sources tell of it. */
  merged(parts = 2) {
    return until(`an event of ${parts} listings`, async () => {
      const { events } = await this.list("limit=200&fields=listings");
      return events.find((event) => new Set(event.listings.map((listing) => listing.source)).size >= parts)?.id;
    }, 30_000);
  }
}

/** The server of jobs, with its commands. */
export class Jobs extends Engine {
  asks = "/api/ready";
  // It needs none.
  config = [];
  views = [];
  workers = [];

  get environment() {
    return { ...process.env, HEADWATER_URL: this.url, HEADWATER_KEY: "" };
  }

  /** Runs a command, and gives what it prints with --json. */
  async command(...args) {
    const { stdout } = await promisify(execFile)(this.binary, [...args, "--json"], { env: this.environment, cwd: this.directory });
    return JSON.parse(stdout);
  }

  submit(queue, payload, ...options) {
    return this.command("jobs", "submit", queue, JSON.stringify(payload), ...options);
  }

  async job(id) {
    return (await fetch(`${this.url}/api/jobs/${encodeURIComponent(id)}`)).json();
  }

  /** Starts a worker that does each job by a shell script. */
  work(name, queues, slots, script, environment = {}) {
    const takes = queues.flatMap((queue) => ["--queue", queue]);
    const args = ["work", ...takes, "--name", name, "--slots", String(slots), "--", "sh", "-c", script];
    const worker = spawn(this.binary, args, { stdio: "ignore", env: { ...this.environment, ...environment }, cwd: this.directory });
    this.workers.push(worker);
    return worker;
  }

  async end() {
    for (const worker of this.workers) if (worker.exitCode === null) worker.kill("SIGKILL");
    await super.end();
  }
}

function chromium() {
  const places = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  const found = places.find((place) => place && existsSync(place));
  if (!found) throw new Error("no Chromium; set CHROMIUM to its path");
  return found;
}

export function launch() {
  // The sandbox needs a user other than root.
  const args = ["--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run", "--hide-scrollbars"];
  if (process.getuid?.() === 0) args.push("--no-sandbox");
  return puppeteer.launch({ executablePath: chromium(), args });
}

/** Ends all that was started, whatever happens. */
export async function within(work) {
  const started = [];
  const clean = async () => {
    for (const one of started.splice(0).reverse()) await one().catch((error) => console.error(error));
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => void clean().then(() => process.exit(1)));
  try {
    await work((end) => started.push(end));
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
  } finally {
    await clean();
  }
}

export const axeSource = () => readFile(join(here, "../node_modules/axe-core/axe.min.js"), "utf8");
