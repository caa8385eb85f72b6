"""The tables of the event store, for the first migration of each service that has one.

What is here has been run: it never changes. What comes next is another constant, for another
migration.
"""

_TABLES = """
CREATE TABLE events (
    stream_id text NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    position bigint GENERATED ALWAYS AS IDENTITY,
    -- Given by the relay once the event can be seen: dense, and in an order that never changes.
    sequence bigint,
    client_id text NOT NULL,
    category text NOT NULL,
    type text NOT NULL,
    event_id uuid NOT NULL,
    body jsonb NOT NULL,
    -- The personal fields, by the key of the subject; the event's id is authenticated with them.
    sealed bytea,
    subject text,
    -- Microseconds since 1970, UTC.
    occurred_at bigint NOT NULL,
    recorded_at bigint NOT NULL,
    actor text NOT NULL,
    correlation_id text NOT NULL,
    causation_id text NOT NULL,
    traceparent text NOT NULL,
    -- What the relay publishes, made when the event was appended; not for events without a topic.
    topic text,
    message bytea,
    PRIMARY KEY (stream_id, version),
    CHECK ((sealed IS NULL) = (subject IS NULL)),
    CHECK ((topic IS NULL) = (message IS NULL))
);
CREATE UNIQUE INDEX events_sequence ON events (sequence) WHERE sequence IS NOT NULL;
CREATE INDEX events_unnumbered ON events (position) WHERE sequence IS NULL;
CREATE INDEX events_of_client ON events (client_id, category, sequence)
    WHERE sequence IS NOT NULL AND message IS NOT NULL;

CREATE TABLE commands (
    client_id text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    answer json NOT NULL,
    recorded_at bigint NOT NULL,
    PRIMARY KEY (client_id, key)
);
CREATE INDEX commands_recorded_at ON commands (recorded_at);

CREATE TABLE timers (
    client_id text NOT NULL,
    category text NOT NULL,
    id text NOT NULL,
    name text NOT NULL,
    due_at bigint NOT NULL,
    PRIMARY KEY (client_id, category, id, name)
);
CREATE INDEX timers_due_at ON timers (due_at);

CREATE TABLE erased_subjects (
    client_id text NOT NULL,
    subject text NOT NULL,
    erased_at bigint NOT NULL,
    PRIMARY KEY (client_id, subject)
);

CREATE TABLE relay (
    -- One row: a database has one sequence of events, so there is one relay.
    is_only boolean PRIMARY KEY CHECK (is_only),
    -- The last number given, and the last one whose event is on its topic.
    last_sequence bigint NOT NULL,
    published bigint NOT NULL,
    CHECK (published <= last_sequence)
);
"""

# One round trip for one append. Several statements and not one, because each must see what was
# committed while the one before it waited for a lock. Returns the subjects that were erased without
# the caller's knowing: then nothing was appended.
_APPEND = """
CREATE FUNCTION append_events(
    _client text, _category text, _topic text, _occurred bigint, _recorded bigint,
    _actor text, _correlation text, _causation text, _traceparent text,
    _lock integer, _stripes integer[], _subjects text[], _known text[],
    _streams text[], _versions bigint[], _types text[], _ids uuid[], _bodies text[],
    _sealed bytea[], _sealed_for text[], _messages bytea[],
    _timer_ids text[], _timer_names text[], _timer_dues bigint[]
) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    _erased text[];
    _has_hole boolean;
BEGIN
    IF cardinality(_subjects) > 0 THEN
        PERFORM pg_advisory_xact_lock_shared(_lock, stripe) FROM unnest(_stripes) AS stripe;
        SELECT array_agg(subject) INTO _erased FROM erased_subjects
            WHERE client_id = _client AND subject = ANY (_subjects) AND subject <> ALL (_known);
        IF _erased IS NOT NULL THEN
            RETURN _erased;
        END IF;
    END IF;

    -- Versions have no holes, whatever the caller expected. One event, as most commands have, is
    -- not worth making a table of arrays.
    IF cardinality(_streams) = 1 THEN
        INSERT INTO events (
            stream_id, version, client_id, category, type, event_id, body, sealed, subject,
            occurred_at, recorded_at, actor, correlation_id, causation_id, traceparent,
            topic, message)
        VALUES (
            _streams[1], _versions[1], _client, _category, _types[1], _ids[1], _bodies[1]::jsonb,
            _sealed[1], _sealed_for[1],
            _occurred, _recorded, _actor, _correlation, _causation, _traceparent,
            CASE WHEN _messages[1] IS NOT NULL THEN _topic END, _messages[1]);
        _has_hole := _versions[1] > 1 AND NOT EXISTS (
            SELECT FROM events WHERE stream_id = _streams[1] AND version = _versions[1] - 1);
    ELSE
        INSERT INTO events (
            stream_id, version, client_id, category, type, event_id, body, sealed, subject,
            occurred_at, recorded_at, actor, correlation_id, causation_id, traceparent,
            topic, message)
        SELECT stream, version, _client, _category, type, id, body::jsonb, sealed, sealed_for,
            _occurred, _recorded, _actor, _correlation, _causation, _traceparent,
            CASE WHEN message IS NOT NULL THEN _topic END, message
        FROM unnest(_streams, _versions, _types, _ids, _bodies, _sealed, _sealed_for, _messages)
            WITH ORDINALITY
            AS new (stream, version, type, id, body, sealed, sealed_for, message, number)
        ORDER BY number;
        _has_hole := EXISTS (
            SELECT FROM unnest(_streams, _versions) AS new (stream, version)
            WHERE version > 1 AND NOT EXISTS (
                SELECT FROM events AS e
                WHERE e.stream_id = new.stream AND e.version = new.version - 1));
    END IF;
    IF _has_hole THEN
        RAISE unique_violation USING CONSTRAINT = 'events_pkey', MESSAGE = 'a version is missing';
    END IF;

    IF cardinality(_timer_ids) > 0 THEN
        DELETE FROM timers USING unnest(_timer_ids, _timer_names, _timer_dues) AS t (id, name, due)
            WHERE client_id = _client AND category = _category
            AND timers.id = t.id AND timers.name = t.name AND due IS NULL;
        INSERT INTO timers (client_id, category, id, name, due_at)
            SELECT _client, _category, t.id, t.name, due
            FROM unnest(_timer_ids, _timer_names, _timer_dues) AS t (id, name, due)
            WHERE due IS NOT NULL
            ON CONFLICT (client_id, category, id, name) DO UPDATE SET due_at = excluded.due_at;
    END IF;
    RETURN NULL;
END
$$;
"""

# One statement each: asyncpg prepares what it is given, and prepares one at a time.
EVENT_STORE_1: tuple[str, ...] = (*(part for part in _TABLES.split(";\n") if part.strip()), _APPEND)
