-- What steps came to, for other runners. A record is read only by attempts whose code is trusted as much as its maker's or less; so there
-- is one for each level. `blob` is the digest of the layer's bytes as they travel, which lie in a file.
CREATE TABLE step_records (
    project TEXT NOT NULL REFERENCES projects (name),
    key TEXT NOT NULL,
    trust TEXT NOT NULL CHECK (trust IN ('fork', 'branch', 'protected')),
    came_json TEXT NOT NULL CHECK (json_valid(came_json)),
    blob TEXT,
    length INTEGER NOT NULL,
    attempt TEXT NOT NULL REFERENCES attempts (id),
    -- When it was last of use.
    used INTEGER NOT NULL,
    PRIMARY KEY (project, key, trust)
) STRICT;
CREATE INDEX step_records_used ON step_records (used);
CREATE INDEX step_records_of_blobs ON step_records (project, blob) WHERE blob IS NOT NULL;

-- What steps of a run came to, for the other jobs of that run and for nobody else.
CREATE TABLE run_steps (
    run TEXT NOT NULL REFERENCES runs (id),
    step TEXT NOT NULL,
    project TEXT NOT NULL,
    came_json TEXT NOT NULL CHECK (json_valid(came_json)),
    blob TEXT,
    length INTEGER NOT NULL,
    attempt TEXT NOT NULL REFERENCES attempts (id),
    used INTEGER NOT NULL,
    PRIMARY KEY (run, step)
) STRICT;
CREATE INDEX run_steps_used ON run_steps (used);
CREATE INDEX run_steps_of_blobs ON run_steps (project, blob) WHERE blob IS NOT NULL;
