-- How often a secret got another value, from one on: whoever changed it where it is used can tell which one a job was given.
ALTER TABLE secrets ADD COLUMN version INTEGER NOT NULL DEFAULT 1 CHECK (version > 0);
