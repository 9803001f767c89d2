-- The tables of the view: names and columns as in Postgres. Times are UTC text
-- (2026-03-28T19:30:00.000Z), truth values 0 and 1, lists and documents JSON text.

CREATE TABLE view_owner (
    single      INTEGER PRIMARY KEY CHECK (single = 1),
    generation  INTEGER NOT NULL,
    claimed_at  TEXT NOT NULL
) STRICT;
INSERT INTO view_owner VALUES (1, 0, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'));

CREATE TABLE view_offsets (
    topic        TEXT NOT NULL,
    partition    INTEGER NOT NULL,
    next_offset  INTEGER NOT NULL,
    updated_at   TEXT NOT NULL,
    PRIMARY KEY (topic, partition)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    id             TEXT NOT NULL UNIQUE,
    title          TEXT NOT NULL,
    description    TEXT,
    category       TEXT,
    tags           TEXT NOT NULL,
    start_time     TEXT NOT NULL,
    start_date     TEXT NOT NULL,
    end_time       TEXT,
    timezone       TEXT,
    all_day        INTEGER NOT NULL,
    venue_name     TEXT,
    address        TEXT,
    city           TEXT,
    region         TEXT,
    postal_code    TEXT,
    country        TEXT,
    latitude       REAL,
    longitude      REAL,
    geo_precision  TEXT,
    online         INTEGER NOT NULL,
    organizer      TEXT,
    price_min      REAL,
    price_max      REAL,
    currency       TEXT,
    free           INTEGER,
    status         TEXT,
    quality_score  REAL,
    quality_grade  TEXT,
    passed         INTEGER,
    listing_count  INTEGER NOT NULL,
    first_seen     TEXT,
    updated_at     TEXT,
    document       TEXT NOT NULL,
    -- Row of the full-text index: WHERE search IN (SELECT rowid FROM events_search('jazz'))
    search         INTEGER PRIMARY KEY
) STRICT;
CREATE INDEX events_start_time ON events (start_time);
CREATE INDEX events_category ON events (category, start_time);
CREATE INDEX events_geography ON events (latitude, longitude) WHERE latitude IS NOT NULL;

CREATE VIRTUAL TABLE events_search USING fts5 (
    title, description, venue_name, city, organizer, category, tags,
    content = 'events', content_rowid = 'search', tokenize = 'unicode61 remove_diacritics 2'
);
CREATE TRIGGER events_search_insert AFTER INSERT ON events BEGIN
    INSERT INTO events_search (rowid, title, description, venue_name, city, organizer, category, tags)
    VALUES (new.search, new.title, new.description, new.venue_name, new.city, new.organizer, new.category, new.tags);
END;
CREATE TRIGGER events_search_update AFTER UPDATE ON events
WHEN (old.title, old.description, old.venue_name, old.city, old.organizer, old.category, old.tags)
  IS NOT (new.title, new.description, new.venue_name, new.city, new.organizer, new.category, new.tags)
BEGIN
    INSERT INTO events_search (events_search, rowid, title, description, venue_name, city, organizer, category, tags)
    VALUES ('delete', old.search, old.title, old.description, old.venue_name, old.city, old.organizer, old.category, old.tags);
    INSERT INTO events_search (rowid, title, description, venue_name, city, organizer, category, tags)
    VALUES (new.search, new.title, new.description, new.venue_name, new.city, new.organizer, new.category, new.tags);
END;
CREATE TRIGGER events_search_delete AFTER DELETE ON events BEGIN
    INSERT INTO events_search (events_search, rowid, title, description, venue_name, city, organizer, category, tags)
    VALUES ('delete', old.search, old.title, old.description, old.venue_name, old.city, old.organizer, old.category, old.tags);
END;

CREATE TABLE event_redirects (
    id           TEXT PRIMARY KEY,
    redirect_to  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE listings (
    id           TEXT PRIMARY KEY,
    source       TEXT NOT NULL,
    external_id  TEXT NOT NULL,
    title        TEXT NOT NULL,
    category     TEXT,
    start_time   TEXT NOT NULL,
    start_date   TEXT NOT NULL,
    end_time     TEXT,
    timezone     TEXT,
    all_day      INTEGER NOT NULL,
    venue_name   TEXT,
    city         TEXT,
    country      TEXT,
    latitude     REAL,
    longitude    REAL,
    status       TEXT,
    url          TEXT,
    first_seen   TEXT NOT NULL,
    updated_at   TEXT NOT NULL,
    document     TEXT NOT NULL
) STRICT;
CREATE INDEX listings_external_id ON listings (external_id);

CREATE TABLE event_links (
    listing_id        TEXT PRIMARY KEY,
    source            TEXT NOT NULL,
    external_id       TEXT NOT NULL,
    event_id          TEXT NOT NULL,
    event_first_seen  TEXT,
    similarity        REAL,
    via_source        TEXT,
    via_external_id   TEXT,
    contributions     TEXT
) STRICT;
CREATE INDEX event_links_event_id ON event_links (event_id);

CREATE TABLE window_metrics (
    key           TEXT PRIMARY KEY,
    window_start  TEXT NOT NULL,
    window_end    TEXT NOT NULL,
    source        TEXT,
    category      TEXT,
    seen          INTEGER NOT NULL,
    discovered    INTEGER NOT NULL,
    updated       INTEGER NOT NULL,
    unchanged     INTEGER NOT NULL,
    withdrawn     INTEGER NOT NULL,
    dead          INTEGER NOT NULL,
    late          INTEGER NOT NULL,
    closed        INTEGER NOT NULL,
    duplicates    INTEGER,
    rejected      INTEGER,
    mean_score    REAL,
    open_events   INTEGER
) STRICT;
CREATE INDEX window_metrics_window_start ON window_metrics (window_start);

CREATE TABLE dead_letters (
    topic          TEXT NOT NULL,
    partition      INTEGER NOT NULL,
    record_offset  INTEGER NOT NULL,
    recorded_at    TEXT,
    code           TEXT,
    reason         TEXT,
    part           TEXT,
    source         TEXT,
    content_type   TEXT,
    raw_topic      TEXT,
    raw_partition  INTEGER,
    raw_offset     INTEGER,
    raw_time       TEXT,
    raw_key        BLOB,
    raw_value      BLOB,
    PRIMARY KEY (topic, partition, record_offset)
) STRICT;
CREATE INDEX dead_letters_code ON dead_letters (code, recorded_at);
