-- Which event of several days an event is a part of.
ALTER TABLE events ADD COLUMN part_of text COLLATE "C";
COMMENT ON COLUMN events.part_of IS 'The id of the event of several days that this one is a session, an opening or a single day of.';
UPDATE events SET part_of = document ->> 'partOf' WHERE document ->> 'partOf' IS NOT NULL;
CREATE INDEX events_part_of ON events (part_of) WHERE part_of IS NOT NULL;
