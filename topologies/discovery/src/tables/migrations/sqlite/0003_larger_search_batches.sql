-- Bytes of memory in which the full-text index collects what is new before it writes that out: by
-- default a megabyte, which splits the batches of a view that catches up into many small parts.
INSERT INTO events_search (events_search, rank) VALUES ('hashsize', 67108864);
