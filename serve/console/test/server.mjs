// What servers of made-up data share: the console's files, sign-in by key, answers as JSON.

import { readFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const dist = join(dirname(fileURLToPath(import.meta.url)), "../dist");
export const kinds = { js: "text/javascript", css: "text/css", html: "text/html; charset=utf-8", json: "application/json", svg: "image/svg+xml" };
export const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** A file of the bundle, or the page; whether there is one. */
async function bundled(pathname, answer) {
  const name = pathname.slice("/console/".length);
  const file = name.includes(".") ? name : "index.html";
  const bytes = await readFile(join(dist, file)).catch(() => null);
  if (!bytes) return answer.writeHead(404).end();
  answer.writeHead(200, { "content-type": kinds[file.split(".").at(-1)], "content-security-policy": policy }).end(bytes);
}

/** Serves dist/, and passes the rest on to the server at `url`: the console can be tried without building Rust. */
export async function over(url, port = 0) {
  const engine = new URL(url);
  const server = createServer((asked, answer) => {
    const { pathname } = new URL(asked.url, "http://x");
    if (pathname === "/") return answer.writeHead(307, { location: "/console/" }).end();
    if (pathname.startsWith("/console/") && pathname !== "/console/about.json") return void bundled(pathname, answer);
    // A write has to come from the origin that it is sent to.
    const headers = { ...asked.headers, host: engine.host, ...(asked.headers.origin && { origin: engine.origin }) };
    const passed = request(new URL(asked.url, engine), { method: asked.method, headers }, (given) => {
      answer.writeHead(given.statusCode, given.headers);
      given.pipe(answer);
    });
    passed.on("error", () => answer.destroy());
    answer.on("close", () => passed.destroy());
    asked.pipe(passed);
  });
  await new Promise((done) => server.listen(port, "127.0.0.1", done));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => (server.closeAllConnections(), server.close()) };
}

export class MadeUp {
  constructor(topology, key) {
    Object.assign(this, { topology, key, signedIn: false, writes: [] });
  }

  get closed() {
    return this.key !== null && !this.signedIn;
  }

  /** What every server answers; whether it did. */
  async common(asked, answer, pathname, sent) {
    const json = (body) => answer.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
    if (pathname === "/") answer.writeHead(307, { location: "/console/" }).end();
    else if (pathname === "/api") json({ topology: this.topology });
    else if (pathname === "/console/about.json") json({ topology: this.topology === "jobs" ? "jobs" : "quickstart", version: "mock" });
    else if (pathname.startsWith("/console/")) await bundled(pathname, answer);
    else if (pathname === "/api/session") {
      if (asked.method === "POST" && sent.key !== this.key) {
        answer.writeHead(401, { "content-type": "application/problem+json" }).end(JSON.stringify({ type: "about:blank", title: "unauthorized", status: 401, code: "unauthorized", detail: "No such key." }));
        return true;
      }
      if (asked.method !== "GET") this.signedIn = asked.method === "POST";
      json({ name: this.signedIn ? "kim" : null, scopes: this.closed ? this.guests : this.scopes, keysNeeded: this.key !== null });
    } else return false;
    return true;
  }

  /** The body of a request, which is kept where it is one that writes. */
  async sent(asked, pathname) {
    if (asked.method === "GET") return {};
    let body = "";
    for await (const part of asked) body += part;
    const sent = body ? JSON.parse(body) : {};
    this.writes.push({ method: asked.method, pathname, sent });
    return sent;
  }

  async listen(port = 0) {
    this.server = createServer((asked, answer) => this.answer(asked, answer).catch((error) => {
      console.error(error);
      answer.destroy();
    }));
    await new Promise((done) => this.server.listen(port, "127.0.0.1", done));
    this.url = `http://127.0.0.1:${this.server.address().port}`;
    return this;
  }

  async close() {
    this.server.closeAllConnections();
    this.server.close();
  }
}
