// The flow through the engine, and its last hour, for the page Now.

import { useRef, useState } from "preact/hooks";
import { access } from "../access";
import { ApiError, Metrics, Status } from "../api";
import { useData } from "../data";
import { clockTime, count, precise, rounded, span } from "../format";
import { go, href, Place } from "../route";
import { Num, Trouble } from "../ui";

/** A part of the flow: stages that people see as one. */
interface Part {
  name: string;
  stages: string[];
  recordsPerSecond: number;
  busyShare: number;
}

/** What stages belong to; those of other topologies are parts of their own. */
const PARTS: Record<string, string> = {
  read: "read", restore: "read", extract: "extract", upsert: "extract", geocode: "geocode",
  fingerprint: "resolve", block: "resolve", cluster: "resolve", merge: "resolve",
  score: "score", window: "score", encode: "write", commit: "write",
};

/** The stages by part, in their order. The first stage of a part says how many records come in; what is no stage is left out. */
function parts(stages: { stage: string; recordsPerSecond: number; busyShare: number }[]): Part[] {
  const found: Part[] = [];
  for (const { stage, recordsPerSecond, busyShare } of stages) {
    if (stage === "other") continue;
    const name = PARTS[stage] ?? stage;
    const part = found.find((one) => one.name === name);
    if (part) {
      part.stages.push(stage);
      part.busyShare += busyShare;
    } else found.push({ name, stages: [stage], recordsPerSecond, busyShare });
  }
  return found;
}

/** Dead letters arise where records are read; a topology without this stage has them at its first. */
const READING = "extract";

const perSecond = (rate: number): string => (rate >= 9.95 ? rounded(rate) : rate.toFixed(1));

export function Flow({ status, error = null }: { status: Status | null; error?: unknown }) {
  if (!status) {
    if (error === null) return <div class="flow-loading" aria-hidden="true" />;
    if (!(error instanceof ApiError) || error.status === 404) return null;
    return (
      <p class="note">
        {error.status === 401 ? <>To see what the engine does, <button type="button" class="link" onClick={() => access.ask(true)}>sign in</button>.</> : `What the engine does cannot be shown. ${error.message}`}
      </p>
    );
  }
  const { engine } = status;
  if (!engine) {
    return (
      <p class="replica">
        This server only reads the log. The engine has a process of its own, and its figures are there, so no rates are shown here.
      </p>
    );
  }
  const { bottleneck, phase, reason } = engine;
  // Readers hand on many records at once, so that the stage itself counts less.
  const stages = parts(engine.stages).map((part) => (part.name === "read" ? { ...part, recordsPerSecond: engine.recordsPerSecond } : part));
  const reading = Math.max(0, stages.findIndex(({ name }) => name === READING));
  return (
    <section class="flow-section" aria-labelledby="flow">
      <header class="section-head">
        <h2 id="flow">The flow</h2>
        <span class={`status status-${phase === "running" ? "good" : phase === "failed" ? "bad" : "waiting"}`}>{phase}</span>
        {reason && <span class="muted">{reason}</span>}
        <span class="faint">
          {engine.pausedShare >= 0.01 ? `paused ${Math.round(engine.pausedShare * 100)} % of the time · ` : ""}share of the time of {count(engine.workers, "worker")}
        </span>
      </header>
      <ol class={`flow${stages.length > 6 ? " flow-many" : ""}`}>
        <li class="flow-end">
          <a href={href("sources")}>
            <span class="flow-name">Sources</span>
            <span class="flow-rate">{status.sources}</span>
          </a>
        </li>
        {stages.map(({ name, stages, recordsPerSecond, busyShare }, i) => (
          <li key={name} class={`flow-stage${bottleneck && stages.includes(bottleneck) ? " flow-bottleneck" : ""}`}>
            <span class="flow-name" title={stages.length > 1 ? stages.join(", ") : undefined}>{name}</span>
            <span class="flow-rate" title={`${precise(recordsPerSecond)} records a second`}>{perSecond(recordsPerSecond)} <span class="flow-unit" aria-hidden="true">/s</span><span class="sr"> a second</span></span>
            <span class="flow-share" title="Its share of the time of all workers">
              <span class="flow-bar" aria-hidden="true"><span style={{ width: `${Math.min(100, busyShare * 100)}%` }} /></span>
              {Math.round(busyShare * 100)} %
            </span>
            {bottleneck && stages.includes(bottleneck) && <span class="flow-word" title={`Of all stages ${bottleneck} takes the most time: make it faster first`}>▲ bottleneck</span>}
            {i === reading && (
              <a class="flow-letters" href={href("dead-letters")}>
                <Num value={engine.deadLetters} /> dead {engine.deadLetters === 1 ? "letter" : "letters"}
              </a>
            )}
          </li>
        ))}
        <li class="flow-end">
          <a href={href("events")}>
            <span class="flow-name">Events</span>
            <span class="flow-rate"><Num value={status.events} /></span>
          </a>
        </li>
      </ol>
    </section>
  );
}

const CHARTS: { series: string; title: string; show(value: number): string; least: number }[] = [
  { series: "recordsPerSecond", title: "Records a second", show: perSecond, least: 1 },
  { series: "lagSeconds", title: "Lag", show: (value) => span(value * 1000), least: 1 },
  { series: "events", title: "Events", show: rounded, least: 1 },
  { series: "deadLetters", title: "Dead letters", show: rounded, least: 1 },
];
const FRAMES = { "5m": "5 min", "15m": "15 min", "1h": "1 h" };
type Frame = keyof typeof FRAMES;

export function LastHour({ place, engine }: { place: Place; engine: boolean | null }) {
  const asked = place.query.get("timeframe") as Frame | null;
  const frame: Frame = asked && asked in FRAMES ? asked : "1h";
  const { data, error, reload } = useData<Metrics>(engine ? `/api/pipeline/metrics?timeframe=${frame}` : null, 10_000);
  if (!engine) return null;
  const choose = (frame: Frame) => {
    const next = new URLSearchParams(place.query);
    if (frame === "1h") next.delete("timeframe");
    else next.set("timeframe", frame);
    go(href("", next), true);
  };
  return (
    <section class="last-hour" aria-labelledby="last-hour">
      <header class="section-head">
        <h2 id="last-hour">{frame === "1h" ? "The last hour" : `The last ${frame.slice(0, -1)} minutes`}</h2>
        <span class="segments" role="group" aria-label="Time">
          {(Object.keys(FRAMES) as Frame[]).map((one) => (
            <button key={one} type="button" aria-pressed={one === frame} onClick={() => choose(one)}>{FRAMES[one]}</button>
          ))}
        </span>
      </header>
      {error !== null && <Trouble error={error} retry={reload} />}
      <div class="charts">
        {error === null && CHARTS.map((chart) => <Chart key={chart.series} {...chart} metrics={data} />)}
      </div>
    </section>
  );
}

const [WIDTH, HEIGHT] = [240, 64];

function Chart({ series, title, show, least, metrics }: (typeof CHARTS)[number] & { metrics: Metrics | null }) {
  const [at, setAt] = useState<number | null>(null);
  const svg = useRef<SVGSVGElement>(null);
  const values = metrics?.series[series] ?? [];
  const known = values.filter((value): value is number => value !== null);
  // A count that only grows is read by how much it has grown: it begins at its least.
  const low = series === "events" && known.length ? Math.min(...known) : 0;
  const high = Math.max(low + least, ...known);
  const x = (i: number) => (i / Math.max(1, values.length - 1)) * WIDTH;
  const y = (value: number) => HEIGHT - 2 - ((value - low) / (high - low)) * (HEIGHT - 6);
  const runs: [number, number][][] = [];
  values.forEach((value, i) => {
    if (value === null) return;
    if (i === 0 || values[i - 1] === null) runs.push([]);
    runs.at(-1)?.push([x(i), y(value)]);
  });
  const path = (run: [number, number][]) => run.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
  const last = known.at(-1);
  const shown = at === null ? last : values[at];
  const time = (i: number): number => (metrics ? Date.parse(metrics.until) - (values.length - 1 - i) * metrics.stepSeconds * 1000 : 0);
  const point = (event: PointerEvent) => {
    const box = svg.current?.getBoundingClientRect();
    if (box && values.length) setAt(Math.max(0, Math.min(values.length - 1, Math.round(((event.clientX - box.left) / box.width) * (values.length - 1)))));
  };
  const told = known.length ? `${title}: ${show(last as number)} now, between ${show(Math.min(...known))} and ${show(Math.max(...known))}` : `${title}: not known yet`;
  return (
    <figure class="chart">
      <figcaption>
        <span class="muted">{title}</span>
        <strong title={shown == null ? undefined : String(shown)}>{shown == null ? "–" : show(shown)}</strong>
        <span class="faint chart-at">{at === null ? "" : clockTime(time(at))}</span>
      </figcaption>
      <svg ref={svg} viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={told} onPointerMove={point} onPointerLeave={() => setAt(null)}>
        {runs.map((run, i) => (
          <g key={i}>
            <path class="chart-area" d={`${path(run)}L${run[run.length - 1][0].toFixed(1)} ${HEIGHT}L${run[0][0].toFixed(1)} ${HEIGHT}Z`} />
            <path class="chart-line" d={path(run)} />
          </g>
        ))}
        {at !== null && <path class="chart-cursor" d={`M${x(at).toFixed(1)} 0V${HEIGHT}`} />}
      </svg>
      <p class="chart-ends faint">
        <span>{metrics && values.length ? `${span(values.length * metrics.stepSeconds * 1000)} ago` : ""}</span>
        <span>{known.length ? `${low > 0 ? `${show(low)} – ` : "0 – "}${show(high)}` : metrics ? "nothing yet" : ""}</span>
        <span>now</span>
      </p>
    </figure>
  );
}
