// Serves dist/ at http://127.0.0.1:9190/console/ and passes the rest on to a running engine, for work on the console.
//
//   node build.mjs && node dev.mjs [http://127.0.0.1:8081]                       8084: a server of jobs
//   node build.mjs && node dev.mjs --mock [--key KEY] [--replica] [--empty]      over made-up events, without an engine
//   node build.mjs && node dev.mjs --jobs [--key KEY] [--empty]                  over made-up jobs that move

import { JobsMock } from "./test/jobs-mock.mjs";
import { Mock, options } from "./test/mock.mjs";
import { over } from "./test/server.mjs";

const port = Number(process.env.PORT ?? 9190);
if (process.argv.includes("--jobs")) await new JobsMock({ ...options(process.argv), moving: true }).listen(port);
else if (process.argv.includes("--mock")) await new Mock(options(process.argv)).listen(port);
else await over(process.argv[2] ?? "http://127.0.0.1:8081", port);
console.log(`http://127.0.0.1:${port}/console/`);
