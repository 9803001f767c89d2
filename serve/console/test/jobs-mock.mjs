// A server of made-up jobs that speaks the API of jobs, for work on the console (dev.mjs --jobs) and its tests. It always
// begins the same; with `moving` its jobs are leased, make progress, end and come, else only when a test says so.

import { MadeUp } from "./server.mjs";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const PHASES = ["blocked", "delayed", "waiting", "leased", "failed", "done", "dead", "cancelled"];
const SETTLED = ["done", "dead", "cancelled"];
const TENANTS = ["acme", "birch-and-sons", "cobalt"];
const MESSAGES = {
  "smtp-refused": "550 5.1.1 <wren@nowhere.example>: recipient address rejected: user unknown",
  "smtp-timeout": "no answer from mx2.mail.example within 30 s",
  "image-too-large": "the image has 214 megapixels; 100 are possible",
  "exit-1": "Traceback (most recent call last):\n  File \"report.py\", line 88, in main\nKeyError: 'region'",
  "lease-expired": "nothing was heard of the worker for 30 s",
  "not-started": "no worker began within 10 min",
};

/** What a queue does: how long its jobs run, and of what they fail. */
const QUEUES = {
  mail: { kinds: ["welcome-mail", "invoice-mail", "password-mail"], groups: TENANTS, runMs: 900, errors: ["smtp-refused", "smtp-timeout"], attempts: 5, payload: (n, of) => ({ to: `${["ada", "grace", "wren", "emil"][n % 4]}${n}@${of}.example`, template: ["welcome", "invoice", "reset"][n % 3], locale: n % 2 ? "de" : "en" }), result: (n) => ({ messageId: `<${n}.4711@mail.example>`, accepted: 1 }) },
  thumbnails: { kinds: ["thumbnail"], groups: [], runMs: 300, errors: ["image-too-large"], attempts: 3, payload: (n) => ({ image: `uploads/2026/12/${(n * 7919).toString(16)}.jpg`, sizes: [160, 480, 1200] }), result: () => ({ bytes: [4211, 18_220, 96_114] }) },
  reports: { kinds: ["monthly-report", "audit"], groups: TENANTS, runMs: 95_000, errors: ["exit-1", "lease-expired"], attempts: 3, payload: (n, of) => ({ tenant: of, month: `2026-${String((n % 11) + 1).padStart(2, "0")}`, format: n % 2 ? "pdf" : "csv", sections: ["summary", "usage", "invoices"] }), result: (n) => ({ url: `https://files.example/reports/${n}.pdf`, pages: 12 + (n % 30) }) },
  imports: { kinds: ["import-part", "import-merge"], groups: ["birch-and-sons"], runMs: 12_000, errors: ["exit-1"], attempts: 4, payload: (n) => ({ file: `s3://imports/birch/part-${n}.ndjson`, rows: 5_000 + n * 13 }), result: (n) => ({ rows: 5_000 + n * 13, skipped: n % 7 }) },
  exports: { kinds: ["export"], groups: TENANTS, runMs: 20_000, errors: ["exit-1"], attempts: 3, payload: (n, of) => ({ tenant: of, table: ["orders", "customers"][n % 2], since: "2026-11-01" }), result: () => ({ rows: 812_004 }) },
  sync: { kinds: ["crm-sync"], groups: [], runMs: 4_000, errors: ["not-started"], attempts: 1, payload: (n) => ({ account: 8_000 + n }), result: () => null },
};

/** So many jobs are there in the beginning, by queue and phase. */
const FIRST = {
  mail: { delayed: 6, waiting: 14, leased: 3, failed: 5, done: 64, dead: 23, cancelled: 4 },
  thumbnails: { waiting: 3, leased: 2, done: 120, dead: 4 },
  reports: { delayed: 4, waiting: 5, leased: 3, failed: 1, done: 22, dead: 6, cancelled: 1 },
  imports: { blocked: 3, waiting: 6, leased: 2, done: 18, dead: 1 },
  exports: { waiting: 9, done: 12, cancelled: 2 },
  sync: { waiting: 4, dead: 2 },
};

const WORKERS = [
  ["mail-1-2041-9f3a", ["mail"], 4],
  ["studio-8812-07cc", ["thumbnails", "imports"], 6],
  ["batch-a-310-b1e4", ["reports", "imports"], 4],
  ["batch-b-311-52d0", ["reports", "exports"], 2],
];

const quantile = (values, share) => (values.length ? [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] : null);

export class JobsMock extends MadeUp {
  constructor({ key = null, empty = false, moving = false } = {}) {
    super("jobs", key);
    Object.assign(this, { moving, scopes: ["read", "produce", "work", "admin"], guests: [], seed: 42, jobs: new Map(), paused: new Set(["exports"]), changed: new Set(), doneAt: [] });
    this.live = new Set();
    this.streams = new Map();
    this.workers = new Map(empty ? [] : WORKERS.map(([worker, queues, slots], n) => [worker, { worker, queues, slots, seen: this.time(-n * 700) }]));
    this.schedules = new Map();
    if (!empty) this.fill();
    if (!empty) this.plan();
    this.changed.clear();
  }

  time(ms = 0) {
    return new Date(Date.now() + ms).toISOString();
  }

  /** From 0 to 1, the same in every run. */
  chance() {
    this.seed = (this.seed + 0x6d2b79f5) | 0;
    let t = Math.imul(this.seed ^ (this.seed >>> 15), 1 | this.seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  add(queue, given = {}, ago = 0) {
    const number = this.jobs.size + 1_000;
    const of = QUEUES[queue] ?? { kinds: [undefined], groups: [], attempts: 3, payload: () => null };
    const kind = of.kinds[number % of.kinds.length];
    const group = of.groups.length ? of.groups[Math.floor(this.chance() ** 2 * of.groups.length)] : undefined;
    const id = given.id ?? (queue === "reports" ? `${kind}:${group}:${number}` : [2654435761, 2246822519, 3266489917, 668265263].map((factor) => (Math.imul(Math.imul(number, factor) ^ (number << 7), 2246822519) >>> 0).toString(16).padStart(8, "0")).join(""));
    const job = {
      id, queue, number, kind, group, priority: queue === "mail" && kind === "password-mail" ? 10 : 0, phase: "waiting", payload: of.payload(number, group ?? "acme"),
      submittedAt: this.time(-ago), readyAt: this.time(-ago), attempt: 0,
      limits: { maxAttempts: of.attempts, backoff: { initialMs: 10 * SECOND, maxMs: 10 * MINUTE }, heartbeatWithinMs: 30 * SECOND, ...(queue === "sync" && { startWithinMs: 10 * MINUTE }), ...(queue === "reports" && { finishWithinMs: HOUR }) },
      onParentFailure: "cancel", leaseNumber: 0, ...given,
    };
    this.jobs.set(id, job);
    this.changed.add(id);
    return job;
  }

  fill() {
    const phases = Object.entries(FIRST).flatMap(([queue, counts]) => Object.entries(counts).flatMap(([phase, n]) => Array.from({ length: n }, (_, i) => ({ queue, phase, order: phase === "dead" ? this.chance() * 0.8 : (SETTLED.includes(phase) ? 0 : 1) + this.chance() * (i % 3 === 0 ? 1.6 : 1) }))));
    phases.sort((a, b) => a.order - b.order);
    phases.forEach(({ queue, phase }, i) => {
      const ago = (phases.length - i) ** 1.6 * 260 + 9 * SECOND;
      this.begin(this.add(queue, {}, ago), phase, ago);
    });
    const [merge] = [...this.jobs.values()].filter((job) => job.phase === "blocked");
    const parts = [...this.jobs.values()].filter((job) => job.queue === "imports" && ["waiting", "leased", "done"].includes(job.phase));
    for (const job of this.jobs.values()) if (job.phase === "blocked") job.parents = parts.slice(-3).map((part) => part.id);
    merge.id && (merge.kind = "import-merge");
  }

  /** Brings a new job to a phase, with the attempts that lead to it. */
  begin(job, phase, ago) {
    const { queue } = job;
    const { runMs, errors } = QUEUES[queue];
    const began = Date.now() - ago;
    let at = began;
    const attempt = (outcome, code, run = runMs * (0.4 + this.chance() * 1.6)) => {
      const waited = 200 + this.chance() ** 3 * 20 * SECOND;
      const start = at + waited;
      job.attempt += 1;
      job.leaseNumber += 1;
      const worker = WORKERS.find(([, queues]) => queues.includes(queue))?.[0] ?? "gone-1-1-aaaa";
      at = start + run;
      job.runs = [...(job.runs ?? []), { attempt: job.attempt, lease: job.leaseNumber, worker, waitedMs: Math.round(waited), began: new Date(start).toISOString(), ended: new Date(at).toISOString(), outcome, ...(code && { error: { code, message: MESSAGES[code] } }) }];
      if (code) job.error = job.runs.at(-1).error;
    };
    const fail = () => {
      const code = errors[job.number % 3 === 0 ? errors.length - 1 : 0];
      attempt(code === "lease-expired" ? "lease-expired" : "failed", code, code === "lease-expired" ? 30 * SECOND : undefined);
    };
    const settle = () => (job.settled = { at: new Date(Math.min(at, Date.now() - SECOND)).toISOString(), leavesAt: this.time(job.phase === "done" ? DAY : 14 * DAY) });
    job.phase = phase;
    if (phase === "done") {
      if (job.number % 9 === 0) {
        fail();
        at += 10 * SECOND;
        delete job.error;
      }
      attempt("done");
      job.result = QUEUES[queue].result(job.number);
      settle();
    } else if (phase === "dead") {
      if (queue === "sync") job.error = { code: "not-started", message: MESSAGES["not-started"] };
      else for (let n = 0; n < job.limits.maxAttempts; n++) {
        fail();
        at += Math.min(10 * MINUTE, 10 * SECOND * 2 ** n) * (n + 1 < job.limits.maxAttempts ? 1 : 0);
      }
      settle();
    } else if (phase === "cancelled") settle();
    else if (phase === "failed") {
      fail();
      job.readyAt = this.time(20 * SECOND + this.chance() * 5 * MINUTE);
    } else if (phase === "delayed") job.readyAt = this.time(MINUTE + this.chance() * 3 * HOUR);
    else if (phase === "leased") {
      job.submittedAt = this.time(-ago);
      this.lease(job, this.chance() * 0.8 * runMs);
    } else if (phase === "waiting") job.readyAt = job.submittedAt;
  }

  plan() {
    const add = (name, definition, more = {}) => this.schedules.set(name, { name, definition, next: this.time(40 * SECOND), lastJob: null, submitted: 0, skipped: 0, decided: this.time(), ...more });
    const last = (queue) => [...this.jobs.values()].filter((job) => job.queue === queue && job.phase !== "blocked").at(-1);
    add("morning-report", { cron: "0 7 * * MON-FRI", zone: "Europe/Berlin", missed: "once", job: { queue: "reports", kind: "monthly-report", group: "acme", payload: { tenant: "acme", format: "pdf" } } }, { next: this.time(9 * HOUR + 12 * MINUTE), lastJob: last("reports").id, submitted: 212, skipped: 3 });
    add("crm", { every: "15 min", job: { queue: "sync", kind: "crm-sync" } }, { next: this.time(4 * MINUTE), lastJob: last("sync").id, submitted: 8_114, skipped: 41 });
    add("night-export", { cron: "30 2 * * *", overlap: "queue", paused: true, job: { queue: "exports", kind: "export", payload: { table: "orders" } } }, { next: null, lastJob: last("exports").id, submitted: 31 });
    add("thumbnails-again", { cron: "*/10 * * * *", job: { queue: "thumbnails" } }, { next: this.time(95 * SECOND), submitted: 1_440, lastJob: last("thumbnails").id });
    for (const { name, lastJob } of this.schedules.values()) this.jobs.get(lastJob).schedule = name;
  }

  lease(job, since = 0) {
    const free = [...this.workers.values()].find((one) => one.queues.includes(job.queue) && this.held(one.worker).length < one.slots);
    if (!free) return false;
    job.phase = "leased";
    job.attempt += 1;
    job.leaseNumber += 1;
    job.readyAt = new Date(Math.max(Date.parse(job.submittedAt), Date.parse(job.readyAt))).toISOString();
    job.lease = { number: job.leaseNumber, worker: free.worker, slot: this.held(free.worker).length, since: this.time(-since), until: this.time(30 * SECOND) };
    delete job.progress;
    this.changed.add(job.id);
    return true;
  }

  held(worker) {
    return [...this.jobs.values()].filter((job) => job.lease?.worker === worker && job.phase === "leased");
  }

  end(job, outcome, error) {
    const { lease } = job;
    job.runs = [...(job.runs ?? []), { attempt: job.attempt, lease: lease.number, worker: lease.worker, waitedMs: Math.max(0, Date.parse(lease.since) - Date.parse(job.readyAt)), began: lease.since, ended: this.time(), outcome, ...(error && { error }) }].slice(-20);
    delete job.lease;
    delete job.progress;
    delete job.cancelling;
    if (error) job.error = error;
    if (outcome === "done") {
      delete job.error;
      job.result = QUEUES[job.queue]?.result(job.number) ?? null;
      this.doneAt.push(Date.now());
      this.settle(job, "done");
    } else if (outcome === "cancelled") this.settle(job, "cancelled");
    else if (job.attempt >= job.limits.maxAttempts) this.settle(job, "dead");
    else {
      job.phase = "failed";
      job.readyAt = this.time(job.limits.backoff.initialMs * 2 ** (job.attempt - 1));
      this.changed.add(job.id);
    }
  }

  settle(job, phase) {
    job.phase = phase;
    job.settled = { at: this.time(), leavesAt: this.time(DAY) };
    this.changed.add(job.id);
  }

  /** Half a second of life. */
  step() {
    for (const job of this.jobs.values()) {
      if (job.phase === "leased") {
        const { runMs, errors } = QUEUES[job.queue] ?? { runMs: 500, errors: ["exit-1"] };
        const age = Date.now() - Date.parse(job.lease.since);
        job.lease.until = this.time(30 * SECOND);
        if (job.cancelling) this.end(job, "cancelled");
        else if (age > runMs * (0.6 + (job.number % 8) / 8)) this.end(job, ...(this.chance() < 0.12 ? ["failed", { code: errors[0], message: MESSAGES[errors[0]] }] : ["done"]));
        else if (runMs > 5 * SECOND) {
          job.progress = { fraction: Math.min(0.99, age / (runMs * (0.6 + (job.number % 8) / 8))), message: ["reading", "computing", "writing"][Math.min(2, Math.floor((age / runMs) * 3))], at: this.time() };
          this.changed.add(job.id);
        }
      } else if ((job.phase === "delayed" || job.phase === "failed") && Date.parse(job.readyAt) <= Date.now()) {
        job.phase = "waiting";
        this.changed.add(job.id);
      } else if (job.phase === "blocked" && job.parents.every((id) => SETTLED.includes(this.jobs.get(id)?.phase))) {
        job.phase = "waiting";
        job.readyAt = this.time();
        this.changed.add(job.id);
      }
    }
    for (const job of this.jobs.values()) if (job.phase === "waiting" && !this.paused.has(job.queue)) this.lease(job);
    for (const worker of this.workers.values()) worker.seen = this.time();
    if (this.chance() < 0.7) this.add("mail");
    if (this.chance() < 0.5) this.add("thumbnails");
    if (this.chance() < 0.04) this.add("reports");
    this.tell();
  }

  /** What changed goes out on the streams. */
  tell() {
    if (this.changed.size === 0) return;
    const send = (stream, name, data) => stream.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
    for (const stream of this.live) {
      send(stream, "queues", this.queueRows());
      send(stream, "jobs", { ids: [...this.changed].sort(), complete: true });
    }
    for (const id of this.changed) {
      for (const stream of this.streams.get(id) ?? []) {
        const job = this.jobs.get(id);
        send(stream, "job", job);
        if (SETTLED.includes(job.phase)) {
          send(stream, "settled", { id, phase: job.phase });
          stream.end();
        }
      }
    }
    this.changed.clear();
  }

  queueRows() {
    const names = new Set([...this.jobs.values()].map((job) => job.queue));
    return [...names].sort().map((queue) => {
      const jobs = [...this.jobs.values()].filter((job) => job.queue === queue);
      const counts = {};
      for (const { phase } of jobs) counts[phase] = (counts[phase] ?? 0) + 1;
      const done = jobs.filter((job) => job.phase === "done").map((job) => job.runs.at(-1));
      const times = (of) => (done.length ? { p50: quantile(done.map(of), 0.5), p95: quantile(done.map(of), 0.95) } : null);
      return {
        queue, paused: this.paused.has(queue), counts,
        oldestWaiting: jobs.filter((job) => job.phase === "waiting").map((job) => job.readyAt).sort()[0] ?? null,
        waitMs: times((run) => run.waitedMs), runMs: times((run) => Date.parse(run.ended) - Date.parse(run.began)),
        donePerMinute: jobs.filter((job) => job.phase === "done" && Date.now() - Date.parse(job.settled.at) < MINUTE).length,
      };
    });
  }

  matching(query) {
    const q = query.get("q")?.toLowerCase();
    const is = (key, of) => !query.get(key) || query.get(key) === of;
    return [...this.jobs.values()]
      .filter((job) => is("queue", job.queue) && is("phase", job.phase) && is("group", job.group) && is("kind", job.kind) && is("error", job.error?.code) && is("schedule", job.schedule))
      .filter((job) => !q || JSON.stringify([job.id, job.payload, job.error ?? null, job.result ?? null]).toLowerCase().includes(q))
      .sort((a, b) => b.number - a.number);
  }

  list(query) {
    const found = this.matching(query);
    const before = query.get("cursor") ? Number(query.get("cursor")) : Infinity;
    const limit = Number(query.get("limit") ?? 50);
    const page = found.filter((job) => job.number < before).slice(0, limit);
    const last = page.at(-1);
    return { jobs: page, total: found.length, next: last && found.at(-1) !== last ? String(last.number) : null };
  }

  errors(queue) {
    const groups = new Map();
    for (const job of this.jobs.values()) {
      if (job.phase !== "dead" || (queue && job.queue !== queue)) continue;
      const key = `${job.queue} ${job.error.code}`;
      const group = groups.get(key) ?? { queue: job.queue, code: job.error.code, count: 0, first: job.settled.at, last: job.settled.at, message: job.error.message, example: job.id };
      group.count += 1;
      if (job.settled.at < group.first) group.first = job.settled.at;
      if (job.settled.at >= group.last) Object.assign(group, { last: job.settled.at, message: job.error.message, example: job.id });
      groups.set(key, group);
    }
    return [...groups.values()].sort((a, b) => b.count - a.count);
  }

  retry(job, payload) {
    if (["done", "leased"].includes(job.phase)) return false;
    // The error of the last attempt stays until there is another.
    if (payload !== undefined) job.payload = payload;
    if (["dead", "cancelled"].includes(job.phase)) job.attempt = 0;
    if (job.phase !== "blocked") Object.assign(job, { phase: "waiting", readyAt: this.time() });
    delete job.settled;
    this.changed.add(job.id);
    return true;
  }

  cancel(job) {
    if (SETTLED.includes(job.phase)) return;
    if (job.phase === "leased") job.cancelling = true;
    else this.settle(job, "cancelled");
    this.changed.add(job.id);
  }

  /** A write is known to all a moment later, as with a real engine. */
  soon() {
    setTimeout(() => this.tell(), 60);
  }

  async answer(asked, answer) {
    const { pathname, searchParams: query } = new URL(asked.url, "http://mock");
    const json = (body, status = 200) => answer.writeHead(status, { "content-type": status < 400 ? "application/json" : "application/problem+json" }).end(JSON.stringify(body));
    const problem = (status, code, detail) => json({ type: "about:blank", title: code, status, code, detail }, status);
    const sent = await this.sent(asked, pathname);
    if (await this.common(asked, answer, pathname, sent)) return;
    if (this.closed) return problem(401, "unauthorized", "Sign in first.");
    const stream = (into) => {
      answer.writeHead(200, { "content-type": "text/event-stream" });
      answer.write(": here\n\n");
      into.add(answer);
      const beat = setInterval(() => answer.write(": here\n\n"), 10_000);
      answer.on("close", () => {
        clearInterval(beat);
        into.delete(answer);
      });
    };
    if (pathname === "/api/live") return stream(this.live);
    if (pathname === "/api/queues") return json(this.queueRows());
    if (pathname === "/api/workers") return json([...this.workers.values()].map((one) => ({ ...one, leased: this.held(one.worker).map((job) => job.id) })));
    if (pathname === "/api/jobs") {
      if (query.get("phase") && !PHASES.includes(query.get("phase"))) return problem(400, "invalid-parameter", `phase: there is no phase ${query.get("phase")}.`);
      return json(this.list(query));
    }
    if (pathname === "/api/jobs/errors") return json(this.errors(query.get("queue")));
    const bulk = pathname.match(/^\/api\/jobs\/(retry|cancel)$/)?.[1];
    if (bulk) {
      const wanted = sent.ids ? sent.ids.flatMap((id) => this.jobs.get(id) ?? []) : this.matching(new URLSearchParams(sent));
      const unsaid = bulk === "retry" ? ["dead", "cancelled"] : PHASES;
      const never = bulk === "retry" ? ["done", "leased"] : SETTLED;
      const jobs = wanted.filter((job) => !never.includes(job.phase) && (sent.ids || sent.phase || unsaid.includes(job.phase)));
      for (const job of jobs) this[bulk](job);
      this.soon();
      return json({ count: jobs.length, more: false }, 202);
    }
    const [, queue, change] = pathname.match(/^\/api\/queues\/([^/]+)\/(pause|resume|drain)$/) ?? [];
    if (queue) {
      if (change === "pause") this.paused.add(queue);
      else if (change === "resume") this.paused.delete(queue);
      else for (const job of this.jobs.values()) if (job.queue === queue && job.phase !== "leased") this.cancel(job);
      for (const job of this.jobs.values()) if (job.queue === queue) this.changed.add(job.id);
      this.soon();
      return json({ queue }, 202);
    }
    if (pathname === "/api/schedules") return json([...this.schedules.values()]);
    const [, name, run] = pathname.match(/^\/api\/schedules\/([^/]+)(\/run)?$/) ?? [];
    if (name) {
      const found = this.schedules.get(decodeURIComponent(name));
      if (asked.method === "PUT") {
        const wrong = sent.cron !== undefined && ![5, 6].includes(sent.cron.split(" ").length);
        if (wrong) return problem(422, "invalid-schedule", `the cron pattern "${sent.cron}": Invalid pattern: Pattern must have between 5 and 7 fields.`);
        const next = sent.paused ? null : this.time(5 * MINUTE);
        // It is read a moment later, as with a real engine.
        setTimeout(() => this.schedules.set(decodeURIComponent(name), { lastJob: null, submitted: 0, skipped: 0, ...found, name: decodeURIComponent(name), definition: sent, next, decided: this.time() }), 60);
        return json({ name: decodeURIComponent(name), next }, 202);
      }
      if (!found) return problem(404, "not-found", `There is no schedule ${JSON.stringify(decodeURIComponent(name))}.`);
      if (run) {
        const { queue, kind, group, payload } = found.definition.job;
        // What a person runs is not counted, and is no job of the schedule's times.
        const { id } = this.add(queue, { id: `${found.name}@${this.time()}`, ...(kind && { kind }), ...(group && { group }), ...(payload && { payload }) });
        this.soon();
        return json({ id }, 202);
      }
      if (asked.method === "DELETE") {
        setTimeout(() => this.schedules.delete(found.name), 60);
        return json({ name: found.name }, 202);
      }
      return json(found);
    }
    const [, id, what] = pathname.match(/^\/api\/jobs\/([^/]+)(?:\/(live|retry|cancel))?$/) ?? [];
    if (id && !what && asked.method === "POST") return this.submit(decodeURIComponent(id), sent, json, problem);
    const job = id && this.jobs.get(decodeURIComponent(id));
    if (id && !job) return problem(404, "not-found", `There is no job ${JSON.stringify(decodeURIComponent(id))}.`);
    if (job && what === "live") {
      if (!this.streams.has(job.id)) this.streams.set(job.id, new Set());
      stream(this.streams.get(job.id));
      return answer.write(`event: job\nid: 1\ndata: ${JSON.stringify(job)}\n\n`);
    }
    if (job && what === "retry") {
      if (!this.retry(job, sent.payload)) return problem(409, "not-retryable", `The job ${JSON.stringify(job.id)} is ${job.phase}: it is not run again.`);
      this.soon();
      return json({ id: job.id }, 202);
    }
    if (job && (what === "cancel" || asked.method === "DELETE")) {
      if (SETTLED.includes(job.phase)) return json({ id: job.id, phase: job.phase });
      this.cancel(job);
      this.soon();
      return json({ id: job.id }, 202);
    }
    if (job) return json(job);
    return problem(404, "not-found", `There is nothing at ${pathname}.`);
  }

  submit(queue, { id, delay, attempts, ...said }, json, problem) {
    const known = this.jobs.get(id);
    if (known) return json({ id, phase: known.phase, queue: known.queue });
    if (!/^[\w.-]{1,100}$/.test(queue)) return problem(422, "invalid-command", `the queue ${JSON.stringify(queue)} has a letter that is not possible`);
    if (delay && !/^\d+ (s|min|h)$/.test(delay)) return problem(422, "invalid-command", `"${delay}" is not a duration; write for instance "100ms" or "30 days"`);
    const job = this.add(queue, { kind: undefined, group: undefined, payload: null, ...(id && { id }), ...said, ...(delay && { phase: "delayed", readyAt: this.time(10 * MINUTE) }) });
    if (attempts) job.limits.maxAttempts = attempts;
    this.soon();
    return json(job, 201);
  }

  async listen(port = 0) {
    if (this.moving) this.timer = setInterval(() => this.step(), 500);
    return super.listen(port);
  }

  async close() {
    clearInterval(this.timer);
    return super.close();
  }
}
