-- Times are integers: milliseconds since 1970-01-01T00:00:00Z. Digests are SHA-256.
-- Columns of JSON are checked by the program: SQLite 3.40 refuses JSON functions in a schema with trusted_schema off.
-- A migration that has been released is never edited: its checksum is kept in schema_migrations.

CREATE TABLE schema_migrations (
    version     INTEGER PRIMARY KEY CHECK (version > 0),
    name        TEXT    NOT NULL,
    sha256      BLOB    NOT NULL CHECK (length(sha256) = 32),
    applied_at  INTEGER NOT NULL
) STRICT;

-- An entry table as submitted, in its canonical form. The digest is its identity.
CREATE TABLE configurations (
    id          INTEGER PRIMARY KEY,
    digest      BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    name        TEXT    CHECK (length(name) BETWEEN 1 AND 128),    -- the last name given to this content
    kernel      TEXT    NOT NULL,
    validity    TEXT    NOT NULL CHECK (validity IN ('valid', 'invalid')),
    reason      TEXT,                                               -- JSON
    byte_count  INTEGER NOT NULL CHECK (byte_count >= 0),
    created_at  INTEGER NOT NULL,
    document    TEXT    NOT NULL,                                   -- JSON
    CHECK ((validity = 'valid') = (reason IS NULL))
) STRICT;

CREATE INDEX configurations_by_name ON configurations (name) WHERE name IS NOT NULL;
CREATE INDEX configurations_by_kernel ON configurations (kernel);

-- What a name means now. Content that had the name before stays reachable by digest.
CREATE TABLE names (
    name           TEXT    PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 128),
    configuration  INTEGER NOT NULL REFERENCES configurations ON DELETE CASCADE,
    assigned_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX names_by_configuration ON names (configuration);

CREATE TABLE simulations (
    id               INTEGER PRIMARY KEY,
    public_id        TEXT    NOT NULL UNIQUE CHECK (length(public_id) BETWEEN 16 AND 64),
    configuration    INTEGER NOT NULL REFERENCES configurations ON DELETE CASCADE,
    request          TEXT    NOT NULL,
    state            TEXT    NOT NULL CHECK (state IN ('queued', 'running', 'finished', 'failed', 'cancelled')),
    verdict          TEXT    CHECK (verdict IN ('holds', 'violated', 'undecided', 'invalid')),
    failure          TEXT,                                          -- why it failed: a stable code
    scenarios        INTEGER NOT NULL DEFAULT 0 CHECK (scenarios >= 0),
    holds            INTEGER NOT NULL DEFAULT 0 CHECK (holds >= 0),
    violated         INTEGER NOT NULL DEFAULT 0 CHECK (violated >= 0),
    undecided        INTEGER NOT NULL DEFAULT 0 CHECK (undecided >= 0),
    instructions     INTEGER NOT NULL DEFAULT 0 CHECK (instructions >= 0),
    elapsed_seconds  REAL    CHECK (elapsed_seconds >= 0),
    model_version    TEXT    NOT NULL,
    created_at       INTEGER NOT NULL,
    started_at       INTEGER,
    finished_at      INTEGER,
    CHECK ((state = 'finished') = (verdict IS NOT NULL)),
    CHECK ((state = 'failed') = (failure IS NOT NULL)),
    CHECK ((state IN ('queued', 'running')) = (finished_at IS NULL))
) STRICT;

CREATE INDEX simulations_by_configuration ON simulations (configuration);
CREATE INDEX simulations_by_verdict ON simulations (verdict) WHERE verdict IS NOT NULL;
CREATE INDEX simulations_by_state ON simulations (state);
CREATE INDEX simulations_by_end ON simulations (finished_at) WHERE finished_at IS NOT NULL;

-- Apart from simulations, so that listing those never walks over reports.
CREATE TABLE reports (
    simulation  INTEGER PRIMARY KEY REFERENCES simulations ON DELETE CASCADE,
    body        BLOB    NOT NULL
) STRICT;

-- Scenarios come and go a thousand at a time with their simulation and never change, so blocks of 128 share a row.
-- Simulations a second, one script and one disk: 88 with an indexed row for each scenario, 157 with rows and no
-- index, 683 as one blob.
-- directory: [[name, platform, verdict, rule or null, offset, length], …]; offset and length in bytes of records.
CREATE TABLE scenario_blocks (
    simulation     INTEGER NOT NULL REFERENCES simulations ON DELETE CASCADE,
    first_ordinal  INTEGER NOT NULL CHECK (first_ordinal >= 0),
    directory      TEXT    NOT NULL,
    records        BLOB    NOT NULL,
    PRIMARY KEY (simulation, first_ordinal)
) STRICT;

-- The answer to a request that carried an Idempotency-Key; status is null while the first one is at work.
CREATE TABLE idempotency_keys (
    key          TEXT    PRIMARY KEY CHECK (length(key) BETWEEN 1 AND 255),
    fingerprint  BLOB    NOT NULL CHECK (length(fingerprint) = 32),
    status       INTEGER CHECK (status BETWEEN 100 AND 599),
    headers      TEXT,
    body         BLOB,
    created_at   INTEGER NOT NULL,
    CHECK ((status IS NULL) = (headers IS NULL) AND (status IS NULL) = (body IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
