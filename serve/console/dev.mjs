// Serves dist/ at http://127.0.0.1:9190/console/ and passes the rest on to a running engine, for work on the console.
//
//   node build.mjs && node dev.mjs [http://127.0.0.1:8081]
//   node build.mjs && node dev.mjs --mock [--key KEY] [--replica] [--empty]      over made-up events, without an engine
//   node build.mjs && node dev.mjs --jobs [--key KEY] [--empty]                  over made-up jobs that move

import { readFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { JobsMock } from "./test/jobs-mock.mjs";
import { Mock, options } from "./test/mock.mjs";
import { kinds, policy } from "./test/server.mjs";

const dist = join(dirname(fileURLToPath(import.meta.url)), "dist");
const port = Number(process.env.PORT ?? 9190);
function over(engine) {
  return createServer(async (asked, answer) => {
    const { pathname } = new URL(asked.url, "http://x");
    if (pathname === "/") return answer.writeHead(307, { location: "/console/" }).end();
    if (pathname === "/console/about.json") return answer.writeHead(200, { "content-type": kinds.json }).end('{"topology":"quickstart","version":"dev"}');
    if (pathname.startsWith("/console/")) {
      const name = pathname.slice("/console/".length);
      const file = name.includes(".") ? name : "index.html";
      try {
        const bytes = await readFile(join(dist, file));
        const headers = { "content-type": kinds[file.split(".").at(-1)], "content-security-policy": policy };
        return answer.writeHead(200, headers).end(bytes);
      } catch {
        return answer.writeHead(404).end();
      }
    }
    // A write has to come from the origin that it is sent to.
    const headers = { ...asked.headers, host: engine.host, ...(asked.headers.origin && { origin: engine.origin }) };
    const passed = request(new URL(asked.url, engine), { method: asked.method, headers }, (given) => {
      answer.writeHead(given.statusCode, given.headers);
      given.pipe(answer);
    });
    passed.on("error", () => answer.destroy());
    answer.on("close", () => passed.destroy());
    asked.pipe(passed);
  }).listen(port, "127.0.0.1");
}

if (process.argv.includes("--jobs")) await new JobsMock({ ...options(process.argv), moving: true }).listen(port);
else if (process.argv.includes("--mock")) await new Mock(options(process.argv)).listen(port);
else over(new URL(process.argv[2] ?? "http://127.0.0.1:8081"));
console.log(`http://127.0.0.1:${port}/console/`);
