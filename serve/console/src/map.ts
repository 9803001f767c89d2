// The geometry of the map: the projection, the outlines of land, and clusters.

import { EventRow } from "./api";

/** A point of the world in Web Mercator: 0 to 1 from west to east and from north to south. */
export interface Spot {
  x: number;
  y: number;
}

export interface View extends Spot {
  /** The world is 256 · 2^zoom px wide. */
  zoom: number;
}

interface Size {
  width: number;
  height: number;
}

export function world(latitude: number, longitude: number): Spot {
  const sine = Math.sin((Math.max(-85, Math.min(85, latitude)) * Math.PI) / 180);
  return { x: longitude / 360 + 0.5, y: 0.5 - Math.log((1 + sine) / (1 - sine)) / (4 * Math.PI) };
}

/** The view that shows all spots with some room around them. */
export function zoomTo(spots: Spot[], size: Size, most: number): View {
  const xs = spots.map((spot) => spot.x);
  const ys = spots.map((spot) => spot.y);
  const [left, right, top, bottom] = [min(xs), max(xs), min(ys), max(ys)];
  const room = 56;
  const zoom = Math.min(
    Math.log2(Math.max(1, size.width - 2 * room) / (256 * Math.max(right - left, 1e-9))),
    Math.log2(Math.max(1, size.height - 2 * room) / (256 * Math.max(bottom - top, 1e-9))),
    most,
  );
  return { x: (left + right) / 2, y: (top + bottom) / 2, zoom: Math.max(0.4, zoom) };
}

const min = (values: number[]): number => values.reduce((a, b) => Math.min(a, b), Infinity);
const max = (values: number[]): number => values.reduce((a, b) => Math.max(a, b), -Infinity);

export interface Cluster extends Spot {
  key: string;
  events: EventRow[];
  left: number;
  right: number;
  top: number;
  bottom: number;
}

/** Clusters are at least so many px apart. */
const APART = 60;

/** Events that are close to each other at a zoom, joined around the places with most of them. */
export function cluster(events: EventRow[], zoom: number): Cluster[] {
  // Events of one spot first: there are fewer spots than events.
  const spots = new Map<string, { spot: Spot; events: EventRow[] }>();
  for (const event of events) {
    const key = `${event.venue?.latitude},${event.venue?.longitude}`;
    const known = spots.get(key);
    if (known) known.events.push(event);
    else spots.set(key, { spot: world(event.venue?.latitude ?? 0, event.venue?.longitude ?? 0), events: [event] });
  }
  const reach = APART / (256 * 2 ** zoom);
  const cells = new Map<string, Cluster[]>();
  const cell = (spot: Spot, dx = 0, dy = 0) => `${Math.floor(spot.x / reach) + dx},${Math.floor(spot.y / reach) + dy}`;
  const clusters: Cluster[] = [];
  // The order does not depend on that of the events, so that nothing jumps when one comes.
  const ordered = [...spots].sort(([a, x], [b, y]) => y.events.length - x.events.length || (a < b ? -1 : 1));
  for (const [key, { spot, events }] of ordered) {
    let nearest: Cluster | null = null;
    let distance = reach;
    for (let dx = -1; dx <= 1; dx += 1) {
      for (let dy = -1; dy <= 1; dy += 1) {
        for (const one of cells.get(cell(spot, dx, dy)) ?? []) {
          const away = Math.hypot(one.x - spot.x, one.y - spot.y);
          if (away < distance) [nearest, distance] = [one, away];
        }
      }
    }
    if (nearest) {
      nearest.events.push(...events);
      nearest.left = Math.min(nearest.left, spot.x);
      nearest.right = Math.max(nearest.right, spot.x);
      nearest.top = Math.min(nearest.top, spot.y);
      nearest.bottom = Math.max(nearest.bottom, spot.y);
      continue;
    }
    const made = { key, ...spot, events: [...events], left: spot.x, right: spot.x, top: spot.y, bottom: spot.y };
    clusters.push(made);
    const at = cell(spot);
    cells.set(at, [...(cells.get(at) ?? []), made]);
  }
  return clusters;
}

export interface Land {
  draw(canvas: HTMLCanvasElement, view: View, size: Size): void;
}

/** Outlines as differences of points, in units of 1 / `scale` of the world. See build.mjs. */
interface Outlines {
  scale: number;
  land: number[][];
  borders: number[][];
}

declare const LAND_FILE: string;
let loading: Promise<Land> | null = null;

export function loadLand(): Promise<Land> {
  loading ??= read().catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}

async function read(): Promise<Land> {
  const response = await fetch(LAND_FILE);
  if (!response.ok) throw new Error(`the outlines of land: ${response.status}`);
  const { scale, land, borders }: Outlines = await response.json();
  const path = (lines: number[][], closed: boolean): Path2D => {
    const path = new Path2D();
    for (const line of lines) {
      let [x, y] = [line[0], line[1]];
      path.moveTo(x / scale, y / scale);
      for (let i = 2; i < line.length; i += 2) {
        x += line[i];
        y += line[i + 1];
        path.lineTo(x / scale, y / scale);
      }
      if (closed) path.closePath();
    }
    return path;
  };
  const [ground, lines] = [path(land, true), path(borders, false)];
  return { draw: (canvas, view, size) => draw(canvas, view, size, ground, lines) };
}

function draw(canvas: HTMLCanvasElement, view: View, { width, height }: Size, ground: Path2D, lines: Path2D): void {
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  if (!context) return;
  const style = getComputedStyle(canvas);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  context.fillStyle = colour("--sea");
  context.fillRect(0, 0, canvas.width, canvas.height);
  const scale = 256 * 2 ** view.zoom * ratio;
  // The world is drawn as often as it fits beside itself.
  const around = Math.ceil(canvas.width / scale / 2 + 0.5);
  for (let turn = -around; turn <= around; turn += 1) {
    const left = (turn - view.x) * scale + canvas.width / 2;
    if (left > canvas.width || left + scale < 0) continue;
    context.setTransform(scale, 0, 0, scale, left, -view.y * scale + canvas.height / 2);
    context.fillStyle = colour("--land");
    context.fill(ground, "evenodd");
    context.lineJoin = "round";
    context.strokeStyle = colour("--coast");
    context.lineWidth = ratio / scale;
    context.stroke(ground);
    context.strokeStyle = colour("--border");
    context.stroke(lines);
  }
  context.setTransform(1, 0, 0, 1, 0, 0);
  if (view.zoom > 4) grid(context, view, scale, ratio, colour("--border"));
}

/** Lines of latitude and longitude: near the ground there is nothing else to see that the map moves. */
function grid(context: CanvasRenderingContext2D, view: View, scale: number, ratio: number, colour: string): void {
  const { width, height } = context.canvas;
  // Halves of halves of the world, about 160 px wide.
  const step = 2 ** -Math.round(Math.log2(scale / (160 * ratio)));
  context.strokeStyle = colour;
  context.lineWidth = ratio;
  context.beginPath();
  const [left, top] = [view.x - width / 2 / scale, view.y - height / 2 / scale];
  for (let x = Math.ceil(left / step) * step; (x - left) * scale < width; x += step) {
    context.moveTo((x - left) * scale, 0);
    context.lineTo((x - left) * scale, height);
  }
  for (let y = Math.ceil(top / step) * step; (y - top) * scale < height; y += step) {
    context.moveTo(0, (y - top) * scale);
    context.lineTo(width, (y - top) * scale);
  }
  context.stroke();
}

/** A round distance that is at most 120 px wide at a view: its name, and its width in px. */
export function scaleBar(view: View): { name: string; width: number } {
  const latitude = Math.atan(Math.sinh(Math.PI * (1 - 2 * view.y)));
  const metres = (40_075_017 * Math.cos(latitude)) / (256 * 2 ** view.zoom);
  const power = 10 ** Math.floor(Math.log10(120 * metres));
  const distance = [5, 2, 1].map((one) => one * power).find((one) => one / metres <= 120) ?? power;
  return { name: distance >= 1000 ? `${distance / 1000} km` : `${distance} m`, width: distance / metres };
}
