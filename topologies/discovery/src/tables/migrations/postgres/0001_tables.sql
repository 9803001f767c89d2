-- The tables of the view. No foreign keys: links, listings and events come from different topics,
-- each in its own order.

CREATE TABLE view_owner (
    single      boolean PRIMARY KEY DEFAULT true CHECK (single),
    generation  bigint NOT NULL,
    claimed_at  timestamptz NOT NULL
);
COMMENT ON TABLE view_owner IS 'One row: the instance that may write. The newest one to start wins.';
INSERT INTO view_owner (generation, claimed_at) VALUES (0, now());

CREATE TABLE view_offsets (
    topic        text COLLATE "C" NOT NULL,
    partition    integer NOT NULL,
    next_offset  bigint NOT NULL,
    updated_at   timestamptz NOT NULL,
    PRIMARY KEY (topic, partition)
);
COMMENT ON TABLE view_offsets IS 'How far the tables reflect each topic partition; written in one transaction with the rows.';

CREATE TABLE events (
    id             text COLLATE "C" PRIMARY KEY,
    title          text NOT NULL,
    description    text,
    category       text,
    tags           text[] NOT NULL,
    start_time     timestamptz NOT NULL,
    start_date     date NOT NULL,
    end_time       timestamptz,
    timezone       text,
    all_day        boolean NOT NULL,
    venue_name     text,
    address        text,
    city           text,
    region         text,
    postal_code    text,
    country        text,
    latitude       double precision,
    longitude      double precision,
    geo_precision  text,
    online         boolean NOT NULL,
    organizer      text,
    price_min      numeric(20, 3),
    price_max      numeric(20, 3),
    currency       text,
    free           boolean,
    status         text,
    quality_score  double precision,
    quality_grade  text,
    passed         boolean,
    listing_count  integer NOT NULL,
    first_seen     timestamptz,
    updated_at     timestamptz,
    document       jsonb NOT NULL,
    -- "simple" does no stemming: listings come in many languages. A tsvector holds at most 1 MB,
    -- so only the beginning of an overlong description is searched.
    search         tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('simple', title), 'A')
        || setweight(to_tsvector('simple', coalesce(venue_name, '') || ' ' || coalesce(city, '')
                                 || ' ' || coalesce(organizer, '') || ' ' || coalesce(category, '')), 'B')
        || setweight(to_tsvector('simple', coalesce(document -> 'tags', '[]'::jsonb)), 'B')
        || setweight(to_tsvector('simple', left(coalesce(description, ''), 100000)), 'D')
    ) STORED
);
COMMENT ON TABLE events IS 'What takes place: duplicates resolved, scored. One row for each event.';
COMMENT ON COLUMN events.start_time IS 'For all-day events the start of the day in its time zone, or in UTC where that is not known.';
COMMENT ON COLUMN events.start_date IS 'The local calendar day on which it begins.';
COMMENT ON COLUMN events.end_time IS 'Exclusive: for all-day events the end of the last day.';
COMMENT ON COLUMN events.passed IS 'Whether the quality score reaches the configured threshold.';
COMMENT ON COLUMN events.document IS 'The whole event as on the events topic.';
COMMENT ON COLUMN events.search IS 'Full text: WHERE search @@ websearch_to_tsquery(''simple'', ''jazz "new york"'').';
CREATE INDEX events_start_time ON events (start_time);
CREATE INDEX events_category ON events (category, start_time);
CREATE INDEX events_geography ON events (latitude, longitude) WHERE latitude IS NOT NULL;
CREATE INDEX events_search ON events USING gin (search);

CREATE TABLE event_redirects (
    id           text COLLATE "C" PRIMARY KEY,
    redirect_to  text COLLATE "C" NOT NULL
);
COMMENT ON TABLE event_redirects IS 'Retired event ids, with the event that took each one over.';

CREATE TABLE listings (
    id           text COLLATE "C" PRIMARY KEY,
    source       text NOT NULL,
    external_id  text NOT NULL,
    title        text NOT NULL,
    category     text,
    start_time   timestamptz NOT NULL,
    start_date   date NOT NULL,
    end_time     timestamptz,
    timezone     text,
    all_day      boolean NOT NULL,
    venue_name   text,
    city         text,
    country      text,
    latitude     double precision,
    longitude    double precision,
    status       text,
    url          text,
    first_seen   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    document     jsonb NOT NULL
);
COMMENT ON TABLE listings IS 'What each source says at present, after cleaning. event_links joins it to events.';
-- Hash: a source's own ids may be longer than a b-tree takes.
CREATE INDEX listings_external_id ON listings USING hash (external_id);

CREATE TABLE event_links (
    listing_id        text COLLATE "C" PRIMARY KEY,
    source            text NOT NULL,
    external_id       text NOT NULL,
    event_id          text COLLATE "C" NOT NULL,
    event_first_seen  timestamptz,
    similarity        double precision,
    via_source        text,
    via_external_id   text,
    contributions     jsonb
);
COMMENT ON TABLE event_links IS 'Which listing belongs to which event, and why: the other listing (via_) that it resembles most, field by field.';
CREATE INDEX event_links_event_id ON event_links (event_id);

CREATE TABLE window_metrics (
    key           text COLLATE "C" PRIMARY KEY,
    window_start  timestamptz NOT NULL,
    window_end    timestamptz NOT NULL,
    source        text,
    category      text,
    seen          bigint NOT NULL,
    discovered    bigint NOT NULL,
    updated       bigint NOT NULL,
    unchanged     bigint NOT NULL,
    withdrawn     bigint NOT NULL,
    dead          bigint NOT NULL,
    late          bigint NOT NULL,
    closed        boolean NOT NULL,
    duplicates    bigint,
    rejected      bigint,
    mean_score    double precision,
    open_events   bigint
);
COMMENT ON TABLE window_metrics IS 'Counts of records by window, source and category; the last four columns are measured when the window closes.';
CREATE INDEX window_metrics_window_start ON window_metrics (window_start);

CREATE TABLE dead_letters (
    topic          text COLLATE "C" NOT NULL,
    partition      integer NOT NULL,
    record_offset  bigint NOT NULL,
    recorded_at    timestamptz,
    code           text,
    reason         text,
    part           text,
    source         text,
    content_type   text,
    raw_topic      text,
    raw_partition  integer,
    raw_offset     bigint,
    raw_time       timestamptz,
    raw_key        bytea,
    raw_value      bytea,
    PRIMARY KEY (topic, partition, record_offset)
);
COMMENT ON TABLE dead_letters IS 'What could not be used, as long as its topic keeps it. The key is the position in that topic; raw_ columns are those of the original record.';
CREATE INDEX dead_letters_code ON dead_letters (code, recorded_at);
