-- What a release says, as the deployer froze it. Those that were made before this have none.
ALTER TABLE releases ADD COLUMN frozen_json TEXT;
