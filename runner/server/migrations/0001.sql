-- Times are milliseconds since 1970. Columns that end in _json hold JSON. States are words of the model's enums.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
-- The server's identity, the number of its restores, and the last fence that was given.
INSERT INTO meta (key, value) VALUES ('generation', '1'), ('fence', '0');

CREATE TABLE projects (
    name TEXT PRIMARY KEY,
    origin TEXT NOT NULL,
    settings_json TEXT NOT NULL CHECK (json_valid(settings_json)),
    created INTEGER NOT NULL,
    -- What its runs and arrivals refer to stays.
    removed INTEGER,
    -- When the last comparison of its branches and tags with what was seen began.
    polled INTEGER
) STRICT;

-- What happened at a repository: written down before it is acknowledged, and looked into afterwards.
CREATE TABLE arrivals (
    id TEXT PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (name),
    source TEXT NOT NULL,
    delivery TEXT NOT NULL,
    happening_json TEXT NOT NULL CHECK (json_valid(happening_json)),
    -- The branch or tag that has another commit, by its whole name, and the commit.
    reference TEXT,
    target TEXT,
    received INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'held', 'done', 'ignored', 'refused')),
    why TEXT,
    remedy TEXT,
    tries INTEGER NOT NULL DEFAULT 0,
    next_try INTEGER NOT NULL,
    UNIQUE (project, source, delivery)
) STRICT;
CREATE INDEX arrivals_waiting ON arrivals (next_try) WHERE state = 'waiting';
CREATE INDEX arrivals_held ON arrivals (project) WHERE state = 'held';
CREATE INDEX arrivals_moved ON arrivals (project, reference, target) WHERE reference IS NOT NULL;

-- Branches and tags as they were seen last, whoever told it.
CREATE TABLE seen_refs (
    project TEXT NOT NULL REFERENCES projects (name),
    reference TEXT NOT NULL,
    target TEXT NOT NULL,
    PRIMARY KEY (project, reference)
) STRICT, WITHOUT ROWID;

-- Up to when a schedule was looked at, and the commit that it built last.
CREATE TABLE schedules (
    project TEXT NOT NULL REFERENCES projects (name),
    name TEXT NOT NULL,
    looked INTEGER NOT NULL,
    built TEXT,
    PRIMARY KEY (project, name)
) STRICT, WITHOUT ROWID;

-- Pipelines of forks that an administrator agreed to: exactly this head with exactly this file.
CREATE TABLE approvals (
    project TEXT NOT NULL REFERENCES projects (name),
    number INTEGER NOT NULL,
    head TEXT NOT NULL,
    pipeline TEXT NOT NULL,
    approved_by TEXT NOT NULL,
    approved INTEGER NOT NULL,
    PRIMARY KEY (project, number, head, pipeline)
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (name),
    number INTEGER NOT NULL,
    arrival TEXT REFERENCES arrivals (id),
    asked_by TEXT NOT NULL,
    -- The commit that it builds, if it builds one.
    commit_id TEXT,
    plan_digest TEXT NOT NULL,
    trust TEXT NOT NULL CHECK (trust IN ('fork', 'branch', 'protected')),
    concurrency TEXT,
    -- Whether it is its turn in its group; of a run without one, always.
    admitted INTEGER NOT NULL CHECK (admitted IN (0, 1)),
    priority INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'passed', 'failed', 'cancelled')),
    why TEXT,
    created INTEGER NOT NULL,
    ended INTEGER,
    -- The state that was last put into the outbox for the forge.
    told TEXT,
    UNIQUE (project, number),
    CHECK ((ended IS NULL) = (state IN ('waiting', 'running')))
) STRICT;
CREATE INDEX runs_open ON runs (created) WHERE ended IS NULL;
CREATE INDEX runs_of_project ON runs (project, id);
CREATE INDEX runs_of_state ON runs (state, id);
CREATE INDEX runs_in_groups ON runs (project, trust, concurrency) WHERE ended IS NULL AND concurrency IS NOT NULL;
CREATE INDEX runs_untold ON runs (created) WHERE told IS NOT state;
-- One arrival sets off a run once, whatever is delivered or done again.
CREATE UNIQUE INDEX runs_of_arrival ON runs (arrival) WHERE arrival IS NOT NULL;

-- Plans are long and never change; they are kept apart from rows that change often.
CREATE TABLE plans (
    run TEXT PRIMARY KEY REFERENCES runs (id),
    plan_json TEXT NOT NULL CHECK (json_valid(plan_json))
) STRICT;

CREATE TABLE jobs (
    run TEXT NOT NULL REFERENCES runs (id),
    name TEXT NOT NULL,
    -- What a runner is given, without the plan.
    spec_json TEXT NOT NULL CHECK (json_valid(spec_json)),
    -- The run's, so that the queue is one index.
    project TEXT NOT NULL,
    priority INTEGER NOT NULL,
    pool TEXT NOT NULL,
    labels_json TEXT NOT NULL CHECK (json_valid(labels_json)),
    needs_json TEXT NOT NULL CHECK (json_valid(needs_json)),
    timeout_millis INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'queued', 'leased', 'passed', 'failed', 'cancelled', 'skipped')),
    why TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    -- How often it was tried again by itself since somebody asked for it.
    retries INTEGER NOT NULL DEFAULT 0,
    queued INTEGER,
    ended INTEGER,
    PRIMARY KEY (run, name)
) STRICT, WITHOUT ROWID;
-- The first row of each project and set of labels is the next job of that kind.
CREATE INDEX jobs_queued ON jobs (pool, project, labels_json, priority DESC, queued, run, name) WHERE state = 'queued';

CREATE TABLE runners (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    public_key TEXT NOT NULL UNIQUE,
    pool TEXT NOT NULL,
    labels_json TEXT NOT NULL CHECK (json_valid(labels_json)),
    ephemeral INTEGER NOT NULL,
    version TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'draining', 'revoked')),
    enrolled INTEGER NOT NULL,
    seen INTEGER NOT NULL
) STRICT;

CREATE TABLE attempts (
    id TEXT PRIMARY KEY,
    run TEXT NOT NULL,
    job TEXT NOT NULL,
    project TEXT NOT NULL,
    number INTEGER NOT NULL,
    fence INTEGER NOT NULL UNIQUE,
    runner TEXT NOT NULL REFERENCES runners (id),
    nonce TEXT NOT NULL,
    token_hash TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('leased', 'finished', 'lost')),
    outcome_json TEXT,
    -- The names of its streams, as its runner said at the end.
    streams_json TEXT,
    -- Why the server wanted it to end.
    stop TEXT CHECK (stop IN ('cancel', 'time-out')),
    why TEXT,
    began INTEGER NOT NULL,
    ended INTEGER,
    UNIQUE (run, job, number),
    -- A claim whose answer was lost is asked again.
    UNIQUE (runner, nonce),
    FOREIGN KEY (run, job) REFERENCES jobs (run, name),
    CHECK ((ended IS NULL) = (state = 'leased')),
    CHECK ((outcome_json IS NULL) = (state <> 'finished'))
) STRICT;
-- At most one live attempt of a job.
CREATE UNIQUE INDEX attempts_live ON attempts (run, job) WHERE state = 'leased';
CREATE INDEX attempts_live_of_projects ON attempts (project) WHERE state = 'leased';
CREATE INDEX attempts_states ON attempts (state);
-- Every request of an attempt is known by its token.
CREATE UNIQUE INDEX attempts_by_token ON attempts (token_hash);

-- Bytes of attempts are in files; what is known of them is here.
CREATE TABLE streams (
    attempt TEXT NOT NULL REFERENCES attempts (id),
    name TEXT NOT NULL,
    -- All bytes before this are on the disk, whatever the file's own length.
    length INTEGER NOT NULL,
    digest TEXT,
    -- It was sent again with other bytes; it had more bytes than are kept.
    divergent INTEGER NOT NULL DEFAULT 0,
    cut INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (attempt, name)
) STRICT, WITHOUT ROWID;

-- Whose code made what was pushed: by the manifest's digest, so that it holds whatever tag leads there.
CREATE TABLE packages (
    project TEXT NOT NULL REFERENCES projects (name),
    name TEXT NOT NULL,
    manifest TEXT NOT NULL,
    trust TEXT NOT NULL CHECK (trust IN ('fork', 'branch', 'protected')),
    run TEXT REFERENCES runs (id),
    pushed_by TEXT NOT NULL,
    pushed INTEGER NOT NULL,
    PRIMARY KEY (project, name, manifest)
) STRICT, WITHOUT ROWID;

-- Codes by which hosts become runners, hashed. Used once.
CREATE TABLE enrolments (
    hash TEXT PRIMARY KEY,
    pool TEXT NOT NULL,
    labels_json TEXT NOT NULL CHECK (json_valid(labels_json)),
    ephemeral INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    used_by TEXT REFERENCES runners (id)
) STRICT;

-- Tokens of people and of runners' sessions, hashed.
CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    grants_json TEXT NOT NULL CHECK (json_valid(grants_json)),
    runner TEXT REFERENCES runners (id),
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    revoked INTEGER
) STRICT;
-- Sessions are forgotten by when they expired. The id of a session's token is its runner and its nonce: used once.
CREATE INDEX tokens_of_sessions ON tokens (expires) WHERE runner IS NOT NULL;

-- What is to be told to others, until they have heard it. Of one subject only what is true now is told.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (name),
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- Counts what was to be told of the subject: an answer to what is no longer true settles nothing.
    version INTEGER NOT NULL DEFAULT 1,
    body_json TEXT NOT NULL CHECK (json_valid(body_json)),
    made INTEGER NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    next_try INTEGER NOT NULL,
    last_error TEXT,
    sent INTEGER,
    UNIQUE (project, kind, subject)
) STRICT;
CREATE INDEX outbox_waiting ON outbox (next_try) WHERE sent IS NULL;

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    origin TEXT,
    what TEXT NOT NULL,
    subject TEXT NOT NULL,
    before TEXT,
    after TEXT,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE
) STRICT;

-- Requests of people that had an Idempotency-Key, for a day, with what they were answered.
CREATE TABLE repetitions (
    who TEXT NOT NULL,
    key TEXT NOT NULL,
    request TEXT NOT NULL,
    asked INTEGER NOT NULL,
    status INTEGER,
    content_type TEXT,
    body BLOB,
    PRIMARY KEY (who, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX repetitions_asked ON repetitions (asked);

-- Values are sealed, each about its place; the key is not in the database. Without an environment a secret is for builds.
CREATE TABLE secrets (
    project TEXT NOT NULL REFERENCES projects (name),
    environment TEXT NOT NULL,
    name TEXT NOT NULL,
    protected INTEGER NOT NULL CHECK (protected IN (0, 1)),
    sealed BLOB NOT NULL,
    changed INTEGER NOT NULL,
    PRIMARY KEY (project, environment, name)
) STRICT;
