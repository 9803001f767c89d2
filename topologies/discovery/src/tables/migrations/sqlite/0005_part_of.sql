-- Which event of several days an event is a part of: the id of that event.
ALTER TABLE events ADD COLUMN part_of TEXT;
UPDATE events SET part_of = document ->> 'partOf' WHERE json_valid(document) AND document ->> 'partOf' IS NOT NULL;
CREATE INDEX events_part_of ON events (part_of) WHERE part_of IS NOT NULL;
