-- Hosts that are there for one machine of an environment, as PROJECT/ENVIRONMENT/TARGET: they pull its deployments and get no jobs. The last
-- host that was registered as a machine is the one that counts.
ALTER TABLE enrolments ADD COLUMN target TEXT;
ALTER TABLE runners ADD COLUMN target TEXT;
CREATE UNIQUE INDEX runners_of_targets ON runners (target) WHERE target IS NOT NULL AND state <> 'revoked';
