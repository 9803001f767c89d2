"""How cost grows with the number of live listings: runs `headwater bench pipeline`, and draws.

    scripts/growth.py BINARY OUT.svg [--sizes 100000,1000000] [--workers 1,2] [--duplicates 0,0.3,0.6]

Each run first takes in the listings that are to be live (nine in ten records, as the warm-up), and
measures the records after that: what a change costs at that size, not on the way to it. A million
listings need some 8 GB. The runs are kept beside the picture as JSON lines, and not repeated.
"""

import argparse
import json
import math
import pathlib
import subprocess

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("binary")
parser.add_argument("picture", type=pathlib.Path)
parser.add_argument("--sizes", default="100000,300000,1000000")
parser.add_argument("--workers", default="1,2")
parser.add_argument("--duplicates", default="0,0.3,0.6")
WARM = 0.9


def measure(binary, size, workers, duplicates):
    command = [binary, "bench", "pipeline", "--json", "--runs", "1", "--warmup", str(WARM)]
    command += ["--records", str(round(size / WARM)), "--workers", str(workers), "--duplicates", str(duplicates)]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return report


def runs(arguments):
    kept = arguments.picture.with_suffix(".jsonl")
    known = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    key = lambda run: (run["size"], run["workers"], run["duplicates"])
    by_key = {key(run): run for run in known}
    for size in map(int, arguments.sizes.split(",")):
        for workers in map(int, arguments.workers.split(",")):
            for duplicates in map(float, arguments.duplicates.split(",")):
                if (size, workers, duplicates) not in by_key:
                    run = measure(arguments.binary, size, workers, duplicates)
                    latency = run.get("latencyMs") or {}
                    run = {
                        "size": size, "workers": workers, "duplicates": duplicates,
                        "rate": run["recordsPerSecond"], "processor": run["recordsPerCpuSecond"],
                        "p99": latency.get("p99"), "bytes": run["bytesPerListing"],
                        "listings": run["figures"]["listings"],
                    }
                    by_key[key(run)] = run
                    with kept.open("a") as file:
                        file.write(json.dumps(run) + "\n")
                run = by_key[(size, workers, duplicates)]
                print(
                    f"{run['listings']:>9,} live, {workers} workers, {duplicates:.0%} duplicates: "
                    f"{run['rate']:>7,.0f} records/s, {1e6 / run['processor']:.0f} µs of processor each, "
                    f"p99 {run['p99'] or 0:,.0f} ms, {run['bytes']:,.0f} bytes a listing", flush=True,
                )
    return list(by_key.values())


PANELS = (
    ("records a second", lambda run: run["rate"]),
    ("µs of processor for each record", lambda run: 1e6 / run["processor"]),
    ("p99 latency at full load, ms", lambda run: run["p99"] or 0),
    ("bytes for each live listing", lambda run: run["bytes"]),
)
COLOURS = {0.0: "#2a6f97", 0.3: "#c1666b", 0.6: "#6a994e"}
WIDTH, HEIGHT, LEFT, TOP = 300, 170, 55, 40


def panel(index, title, value, found):
    at_x, at_y = (index % 2) * (WIDTH + 80) + LEFT, (index // 2) * (HEIGHT + 75) + TOP
    low, high = math.log10(min(run["size"] for run in found)), math.log10(max(run["size"] for run in found))
    top = max(value(run) for run in found) * 1.1
    x = lambda run: at_x + WIDTH * (math.log10(run["size"]) - low) / max(high - low, 1e-9)
    y = lambda amount: at_y + HEIGHT * (1 - amount / top)
    yield f'<text x="{at_x}" y="{at_y - 10}" font-weight="bold">{title}</text>'
    for step in range(5):
        amount = top * step / 4
        yield f'<line x1="{at_x}" y1="{y(amount):.0f}" x2="{at_x + WIDTH}" y2="{y(amount):.0f}" stroke="#ddd"/>'
        yield f'<text x="{at_x - 6}" y="{y(amount) + 4:.0f}" text-anchor="end">{amount:,.0f}</text>'
    for size in sorted({run["size"] for run in found}):
        place = x({"size": size})
        yield f'<text x="{place:.0f}" y="{at_y + HEIGHT + 16}" text-anchor="middle">{size:,}</text>'
    for workers, dash in ((1, "5 4"), (2, "none")):
        for duplicates, colour in COLOURS.items():
            line = sorted(
                (run for run in found if (run["workers"], run["duplicates"]) == (workers, duplicates)),
                key=lambda run: run["size"],
            )
            points = " ".join(f"{x(run):.0f},{y(value(run)):.0f}" for run in line)
            style = f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"'
            yield f'<polyline points="{points}" {style}/>'
            for run in line:
                yield f'<circle cx="{x(run):.0f}" cy="{y(value(run)):.0f}" r="3" fill="{colour}"/>'


def draw(found):
    parts = [part for index, (title, value) in enumerate(PANELS) for part in panel(index, title, value, found)]
    bottom = 2 * (HEIGHT + 75) + TOP - 10
    for index, (duplicates, colour) in enumerate(COLOURS.items()):
        parts.append(f'<text x="{LEFT + index * 140}" y="{bottom}" fill="{colour}">{duplicates:.0%} duplicates</text>')
    parts.append(f'<text x="{LEFT + 430}" y="{bottom}">full: 2 workers, dashed: 1 worker; x: live listings</text>')
    size = f'width="{2 * WIDTH + 190}" height="{bottom + 15}"'
    style = 'xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="11"'
    return f'<svg {size} {style}><rect width="100%" height="100%" fill="white"/>' + "\n".join(parts) + "</svg>\n"


if __name__ == "__main__":
    given = parser.parse_args()
    given.picture.write_text(draw(runs(given)))
    print(f"drawn: {given.picture}")
