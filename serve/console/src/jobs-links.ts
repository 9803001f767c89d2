// Addresses of the pages of jobs.

import { Filter } from "./jobs-api";
import { href } from "./route";

export const jobsHref = (query?: URLSearchParams): string => href("jobs", query);
export const jobsOf = (filter: Filter): string => jobsHref(new URLSearchParams(filter));
export const jobHref = (id: string): string => jobsHref(new URLSearchParams({ job: id }));
export const scheduleHref = (name: string): string => href("schedules", new URLSearchParams({ schedule: name }));
export const workerHref = (name: string): string => href("workers", new URLSearchParams({ worker: name }));
