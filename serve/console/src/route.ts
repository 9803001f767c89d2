// The address: what a page shows is in it, and nowhere else.

import { useEffect, useState } from "preact/hooks";

export interface Place {
  page: string;
  query: URLSearchParams;
  hash: string;
}

const BASE = "/console/";
const watchers = new Set<() => void>();

export function here(): Place {
  const page = location.pathname.startsWith(BASE) ? location.pathname.slice(BASE.length).replace(/\/$/, "") : "";
  return { page, query: new URLSearchParams(location.search), hash: location.hash.slice(1) };
}

export function href(page: string, query?: URLSearchParams, hash = ""): string {
  const search = query?.toString();
  return `${BASE}${page}${search ? `?${search}` : ""}${hash ? `#${hash}` : ""}`;
}

export function go(to: string, replace = false): void {
  if (to === location.pathname + location.search + location.hash) return;
  if (replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  watchers.forEach((tell) => tell());
}

export function usePlace(): Place {
  const [place, setPlace] = useState(here);
  useEffect(() => {
    const tell = () => setPlace(here());
    watchers.add(tell);
    return () => void watchers.delete(tell);
  }, []);
  return place;
}

/** Links of the console change the page without loading it. */
export function followLinks(): void {
  addEventListener("popstate", () => watchers.forEach((tell) => tell()));
  document.addEventListener("click", (click) => {
    if (click.defaultPrevented || click.button !== 0 || click.metaKey || click.ctrlKey || click.shiftKey || click.altKey) return;
    const link = (click.target as Element).closest?.("a");
    if (!link || link.target || link.hasAttribute("download")) return;
    const url = new URL(link.href);
    if (url.origin !== location.origin || !url.pathname.startsWith(BASE) || url.pathname.includes(".")) return;
    if (url.hash && url.pathname === location.pathname && url.search === location.search) return;
    click.preventDefault();
    go(url.pathname + url.search + url.hash);
  });
}
