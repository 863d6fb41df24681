//! What runs on a machine that Staith deploys to, and the protocol that it speaks over its standard streams.
