// Builds the console into dist/, with the table of files that the server embeds (dist/files.rs).
//
//   node build.mjs [DIRECTORY]     default: dist

import { createHash } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { feature, mesh } from "topojson-client";
import { presimplify, quantile, simplify } from "topojson-simplify";

const here = dirname(fileURLToPath(import.meta.url));
const out = resolve(process.argv[2] ?? join(here, "dist"));
const first = [];
const files = [];

/** Writes a file; one with a hash in its name never changes. */
async function write(name, content, { hashed = false, load = "later" } = {}) {
  const bytes = Buffer.from(content);
  const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 10);
  const dot = name.lastIndexOf(".");
  const written = hashed ? `${name.slice(0, dot)}-${hash}${name.slice(dot)}` : name;
  await writeFile(join(out, written), bytes);
  const zipped = gzipSync(bytes, { level: 6 }).length;
  if (load === "first") first.push(zipped);
  files.push({ name: written, hash, hashed, size: bytes.length, zipped });
  return written;
}

const common = {
  absWorkingDir: here, bundle: true, minify: true, write: false, format: "esm", target: ["chrome111", "firefox113", "safari16.4"],
  legalComments: "none", logLevel: "warning", charset: "utf8",
};
const bundled = async (entry, options = {}) => {
  const { outputFiles } = await build({ ...common, entryPoints: [join(here, "src", entry)], ...options });
  return outputFiles[0].text;
};

/** Outlines of land and borders between countries as differences of whole numbers, in Web Mercator. */
async function outlines() {
  const atlas = JSON.parse(await readFile(join(here, "node_modules/world-atlas/countries-50m.json"), "utf8"));
  const detailed = presimplify(atlas);
  const topology = simplify(detailed, quantile(detailed, 0.35));
  const scale = 65_536;
  const project = ([longitude, latitude]) => {
    const sine = Math.sin((Math.max(-85, Math.min(85, latitude)) * Math.PI) / 180);
    const y = 0.5 - Math.log((1 + sine) / (1 - sine)) / (4 * Math.PI);
    return [Math.round((longitude / 360 + 0.5) * scale), Math.round(y * scale)];
  };
  const line = (points) => {
    const found = [];
    let [x, y] = [0, 0];
    let around = 0;
    let before = null;
    for (const [projected, py] of points.map(project)) {
      // Across the antimeridian the line goes on beside the map, which is drawn there again. The south pole is an edge.
      if (before !== null && Math.abs(projected - before) > scale / 2 && py < 0.95 * scale) around += projected < before ? scale : -scale;
      before = projected;
      const px = projected + around;
      if (found.length && px === x && py === y) continue;
      found.push(px - x, py - y);
      [x, y] = [px, py];
    }
    return found;
  };
  const collection = feature(topology, topology.objects.land);
  const shapes = (collection.features ?? [collection]).flatMap(({ geometry }) => (geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates));
  const land = shapes.flat().map(line).filter((ring) => ring.length >= 8);
  const borders = mesh(topology, topology.objects.countries, (a, b) => a !== b).coordinates.map(line).filter((ring) => ring.length >= 4);
  return JSON.stringify({ scale, land, borders });
}

/** The licences of what is in the bundle; the packages of the build and the tests are not. */
async function licences() {
  const of = async (name) => `${name}\n\n${(await readFile(join(here, "node_modules", name, "LICENSE"), "utf8")).trim()}\n`;
  const rule = `\n${"-".repeat(80)}\n\n`;
  return ["The console holds these works of others.\n", await of("preact"), await of("world-atlas"), "Natural Earth (naturalearthdata.com), the outlines of land: in the public domain\n"].join(rule);
}

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });

const land = await write("land.json", await outlines(), { hashed: true });
const define = { LAND_FILE: JSON.stringify(`/console/${land}`) };
const app = await write("app.js", await bundled("app.tsx", { define, jsx: "automatic", jsxImportSource: "preact" }), { hashed: true, load: "first" });
const style = await write("style.css", await bundled("style.css"), { hashed: true, load: "first" });
const theme = await write("theme.js", await bundled("theme.ts", { format: "iife" }), { hashed: true, load: "first" });
await write("docs.js", await bundled("docs.ts"), { hashed: true });
const icon = await write("icon.svg", await readFile(join(here, "src/icon.svg")), { hashed: true, load: "first" });
await write("headwater-events.js", await bundled("embed.ts"));
await write("licences.txt", await licences());
await write(
  "index.html",
  `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Headwater</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="/console/${icon}" type="image/svg+xml">
<script src="/console/${theme}"></script>
<link rel="stylesheet" href="/console/${style}">
<script type="module" src="/console/${app}"></script>
</head>
<body>
<div id="root"></div>
<noscript>The console needs JavaScript. The API does not: <a href="/docs">/docs</a> explains it.</noscript>
</body>
</html>
`,
  { load: "first" },
);

const kinds = { js: "text/javascript", css: "text/css", html: "text/html; charset=utf-8", json: "application/json", svg: "image/svg+xml", txt: "text/plain; charset=utf-8" };
files.sort((a, b) => (a.name < b.name ? -1 : 1));
const table = files
  .map(
    ({ name, hash, hashed }) => `    File {
        name: "${name}",
        content_type: "${kinds[name.split(".").at(-1)]}",
        hash: "${hash}",
        immutable: ${hashed},
        bytes: include_bytes!("${name}"),
    },
`,
  )
  .join("");
await writeFile(join(out, "files.rs"), `// Written by build.mjs.\n&[\n${table}]\n`);

for (const { name, size, zipped } of files) console.log(`${String(size).padStart(8)} ${String(zipped).padStart(8)} gzip  ${name}`);
const sum = first.reduce((a, b) => a + b, 0);
console.log(`first load: ${sum} bytes compressed`);
if (sum > 150 * 1024) {
  console.error("the first load is larger than 150 KB");
  process.exit(1);
}
