"""The soak test behind soak.sh: feeds, samples, draws."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request

BINARIES, DIRECTORY = sys.argv[1], sys.argv[2]
SECONDS, RATE = float(sys.argv[3]) * 60, float(sys.argv[4])
LIFE = float(os.environ.get("SOAK_LIFE") or min(max(SECONDS / 20, 10), 120))
BROKERS = os.environ.get("SOAK_BROKERS")
NAME = f"soak-{os.getpid()}"
SOURCES = ("listings-a", "listings-b")
WORDS = (
    "amber harbour lantern thunder velvet copper meadow orchid falcon granite marble willow ember "
    "cobalt saffron juniper crimson glacier hollow prairie raven silver timber walnut zephyr"
).split()
CITIES = ("Berlin", "Lisbon", "Denver", "Osaka", "Nairobi", "Lima")


def configuration():
    log = "[log.embedded]\npath = 'log.db'\ntombstone_retention_ms = 60000\n"
    if BROKERS:
        log = f"[log]\nkind = 'kafka'\n[log.kafka]\nbrokers = '{BROKERS}'\n"
    fields = "".join(f"{name} = '/{name}'\n" for name in ("id", "title", "start", "end", "venue", "city", "price"))
    sources = "".join(f"[sources.{source}]\nformat = 'mapped'\n[sources.{source}.mapping]\n{fields}" for source in SOURCES)
    return (
        f"name = '{NAME}'\nprefix = '{NAME}.'\n{log}"
        "[topics]\npartitions = 4\nraw_retention = '5 min'\n"
        "[retention]\npast_events = '0 s'\n"
        "[admin]\nlisten = '127.0.0.1:0'\n"
        "[window]\nsize_ms = 60000\nallowed_lateness_ms = 10000\nkeep_closed = 5\n" + sources
    )


def record(source, number, now):
    """The record of this number: one in three of the second source is of an event of the first."""
    shared = source == 0 or number % 3 == 0
    event = number if shared else number + 500_000_000
    pick = lambda salt, words: words[(event * 2654435761 + salt * 40503) // 65536 % len(words)]
    title = f"{pick(1, WORDS)} {pick(2, WORDS)} {pick(3, WORDS)} {event % 100_000}"
    moment = lambda at: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    # Both sources give an event of the same number the same start.
    start = (number / (RATE / 2.2)) // 1 + BEGUN + LIFE
    return (
        f'{{"id":"{event}","title":"{title}","start":"{moment(start)}","end":"{moment(start + 1)}",'
        f'"venue":"{pick(4, WORDS)} hall","city":"{pick(5, CITIES)}","price":{event % 40}}}\n'
    )


BEGUN = int(time.time())


def feed(source, engine):
    """Offers records at the rate, however far the engine is. One in ten comes a second time."""
    command = [f"{BINARIES}/headwater", "produce", "raw.events", "-", "--config", "soak.toml"]
    command += ["--source", SOURCES[source], "--content-type", "application/x-ndjson", "--no-key"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    number = 0
    while time.time() < BEGUN + SECONDS and engine.poll() is None:
        due = int((time.time() - BEGUN) * RATE / 2.2)
        for number in range(number, due):
            now = time.time()
            process.stdin.write(record(source, number, now))
            if number % 10 == 9 and number > 1000:
                process.stdin.write(record(source, number - 500, now))
        number = due
        process.stdin.flush()
        time.sleep(0.02)
    process.stdin.close()
    process.wait()


def scrape(address):
    text = urllib.request.urlopen(address, timeout=10).read().decode()
    sums = {}
    for line in text.splitlines():
        found = re.match(r"([a-z_]+)(?:\{(.*)\})? (\S+)$", line)
        if not found:
            continue
        name, labels, value = found.groups()
        bound = re.search(r'le="([^"]*)"', labels or "")
        kept = re.search(r'what="([^"]*)"', labels or "")
        key = name + (f":{bound.group(1)}" if bound else "") + (f":{kept.group(1)}" if kept else "")
        sums[key] = sums.get(key, 0.0) + float(value)
    return sums


def quantile(before, now, share):
    """An upper bound of the quantile of the epochs' times between two samples, in seconds."""
    bounds = [key for key in now if key.startswith("headwater_epoch_seconds_bucket:") and not key.endswith("+Inf")]
    bounds.sort(key=lambda key: float(key.split(":")[1]))
    counted = now.get("headwater_epoch_seconds_count", 0) - before.get("headwater_epoch_seconds_count", 0)
    if counted <= 0:
        return ""
    for key in bounds:
        if now[key] - before.get(key, 0) >= share * counted:
            return key.split(":")[1]
    return "inf"


def sample(address, engine, rows):
    with open("soak.csv", "w", newline="") as file:
        before = {}
        while engine.poll() is None:
            now = scrape(address)
            if not any(key.startswith("headwater_held_entries:") for key in now):
                time.sleep(0.5)
                continue
            if not rows:
                rows.append(["seconds", "rss_mb", "listings", "events", "lag_records", "records", "paused_ms", "p99_s"]
                            + sorted(key.split(":")[1] for key in now if key.startswith("headwater_held_entries:")))
                csv.writer(file).writerow(rows[0])
            value = lambda name: now.get(name, 0)
            rows.append([
                round(time.time() - BEGUN, 1), round(value("process_resident_memory_bytes") / 1e6, 1),
                int(value("headwater_listings")), int(value("headwater_events")),
                int(value("headwater_input_lag_records")), int(value("headwater_input_records_total")),
                int(value("headwater_input_paused_milliseconds_total")), quantile(before, now, 0.99),
            ] + [int(value(f"headwater_held_entries:{what}")) for what in rows[0][8:]])
            csv.writer(file).writerow(rows[-1])
            file.flush()
            before = now
            if time.time() > BEGUN + SECONDS and (value("headwater_input_lag_records") == 0 or time.time() > BEGUN + SECONDS + 120):
                return
            time.sleep(max(0.0, 1 - time.time() % 1))


def draw(rows):
    """Three pictures, one above the other, with a common axis of time."""
    width, height, left = 900, 150, 70
    end = max(row[0] for row in rows)
    parts = []
    panels = (("resident memory, MB", 1, "#b5423c"), ("live listings", 2, "#2f6f8f"), ("lag, records", 4, "#7a6a2c"))
    for index, (title, column, colour) in enumerate(panels):
        top = 30 + index * (height + 50)
        most = max(max(row[column] for row in rows), 1) * 1.1
        points = " ".join(f"{left + row[0] / end * width:.1f},{top + height - row[column] / most * height:.1f}" for row in rows)
        parts.append(f'<text x="{left}" y="{top - 8}" font-weight="bold">{title}</text>')
        for tick in range(5):
            y = top + height - tick / 4 * height
            parts.append(f'<line x1="{left}" x2="{left + width}" y1="{y}" y2="{y}" stroke="#ddd"/>')
            parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{most * tick / 4:,.0f}</text>')
        for tick in range(6):
            x = left + tick / 5 * width
            parts.append(f'<text x="{x}" y="{top + height + 16}" text-anchor="middle">{end * tick / 5 / 60:.1f} min</text>')
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{points}"/>')
    total = 30 + len(panels) * (height + 50)
    svg = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 30} {total}" font-family="sans-serif" '
           f'font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n')
    with open("soak.svg", "w") as file:
        file.write(svg)


def report(names, rows):
    """Means by quarter; whether memory is flat."""
    quarters = [[row for row in rows if SECONDS * q / 4 <= row[0] < SECONDS * (q + 1) / 4] for q in range(4)]
    mean = lambda quarter, column: sum(row[column] for row in quarter) / max(len(quarter), 1)
    print(f"{'mean of quarter':<34}" + "".join(f"{q:>14}" for q in range(1, 5)))
    for column, name in enumerate(names):
        if column in (0, 5, 6, 7):
            continue
        print(f"{name:<34}" + "".join(f"{mean(quarter, column):>14,.0f}" for quarter in quarters))
    last = rows[-1]
    print(f"{last[5]:,} records in {last[0]:.0f} s ({last[5] / last[0]:,.0f}/s); lag at the end {last[4]}; "
          f"live listings at most {max(row[2] for row in rows):,}; resident memory at most {max(row[1] for row in rows):,.0f} MB")
    flat = mean(quarters[3], 1) <= 1.1 * mean(quarters[1], 1)
    print("memory is flat" if flat else "MEMORY GROWS")
    return flat and last[4] == 0


def main():
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    os.makedirs(DIRECTORY)
    os.chdir(DIRECTORY)
    with open("soak.toml", "w") as file:
        file.write(configuration())
    with open("engine.log", "w") as log, open("engine.out", "w") as out:
        engine = subprocess.Popen([f"{BINARIES}/discovery", "--config", "soak.toml"], stdout=out, stderr=log)
    try:
        address = None
        while address is None:
            if engine.poll() is not None:
                sys.exit(f"soak: the engine did not start: {open('engine.log').read()}")
            time.sleep(0.2)
            address = re.search(r"http://\S+/metrics", open("engine.out").read())
        feeders = [threading.Thread(target=feed, args=(source, engine)) for source in range(len(SOURCES))]
        rows = []
        for feeder in feeders:
            feeder.start()
        sample(address.group(0), engine, rows)
        for feeder in feeders:
            feeder.join()
    finally:
        if engine.poll() is None:
            engine.send_signal(signal.SIGTERM)
            engine.wait(60)
    if engine.returncode != 0:
        sys.exit(f"soak: the engine ended with {engine.returncode}: {open('engine.log').read()[-2000:]}")
    draw(rows[1:])
    sys.exit(0 if report(rows[0], rows[1:]) else 1)


main()
