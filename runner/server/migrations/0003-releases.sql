-- What protects environments. Nothing here comes from a repository.
CREATE TABLE environment_rules (
    project TEXT NOT NULL REFERENCES projects (name),
    environment TEXT NOT NULL,
    rules_json TEXT NOT NULL CHECK (json_valid(rules_json)),
    changed INTEGER NOT NULL,
    PRIMARY KEY (project, environment)
) STRICT, WITHOUT ROWID;

-- Packages of runs, frozen or to be frozen.
CREATE TABLE releases (
    project TEXT NOT NULL REFERENCES projects (name),
    number INTEGER NOT NULL,
    run TEXT NOT NULL REFERENCES runs (id),
    package TEXT NOT NULL,
    trust TEXT NOT NULL CHECK (trust IN ('fork', 'branch', 'protected')),
    material_json TEXT NOT NULL CHECK (json_valid(material_json)),
    state TEXT NOT NULL CHECK (state IN ('making', 'made', 'refused')),
    digest TEXT,
    environments_json TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(environments_json)),
    why TEXT,
    asked_by TEXT NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (project, number),
    UNIQUE (project, run, package)
) STRICT, WITHOUT ROWID;

-- What the deployer is told, until it answers.
CREATE TABLE orders (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT NOT NULL REFERENCES projects (name),
    environment TEXT,
    order_json TEXT NOT NULL CHECK (json_valid(order_json)),
    asked_by TEXT NOT NULL,
    asked INTEGER NOT NULL,
    answer_json TEXT,
    answered INTEGER
) STRICT;
CREATE INDEX orders_open ON orders (seq) WHERE answered IS NULL;

-- What the deployer's ledgers say, entry by entry.
CREATE TABLE ledger_entries (
    project TEXT NOT NULL REFERENCES projects (name),
    environment TEXT NOT NULL,
    position INTEGER NOT NULL,
    at INTEGER NOT NULL,
    event_json TEXT NOT NULL CHECK (json_valid(event_json)),
    PRIMARY KEY (project, environment, position)
) STRICT, WITHOUT ROWID;

-- Runs that were released by themselves, or that a newer one has overtaken.
CREATE TABLE released_by_itself (
    project TEXT NOT NULL,
    environment TEXT NOT NULL,
    run TEXT NOT NULL REFERENCES runs (id),
    PRIMARY KEY (project, environment, run)
) STRICT, WITHOUT ROWID;
