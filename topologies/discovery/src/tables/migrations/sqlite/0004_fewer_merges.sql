-- Segments of the full-text index that are merged into one at a time, 4 by default: every event is
-- written anew with each merge, and a look-up asks one more segment for each that is not merged.
INSERT INTO events_search (events_search, rank) VALUES ('automerge', 8);
