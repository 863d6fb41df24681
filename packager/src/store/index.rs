//! The files that make the store an OCI image layout for everybody else. They follow from the records, and are never asked.

use std::collections::BTreeMap;

use super::{
    Store, StoreError,
    blobs::place,
    names::record_key,
    oci::{Descriptor, Index, REF_NAME, layout_tag},
};

const LAYOUT: &str = "oci-layout";
const LAYOUT_BYTES: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const INDEX: &str = "index.json";

impl Store {
    /// Makes the store an image layout if it is none: a new one, or one of an earlier Staith, whose packages get manifests.
    /// What is there stays as it is. Killed in between, the next one does it again.
    pub(super) fn lay_out(&self) -> Result<(), StoreError> {
        if self.blobs.read(LAYOUT, Some(0..0))?.is_some() {
            return Ok(());
        }
        for record in self.published()? {
            self.put_bytes(&record.plain_manifest())?;
            self.put_bytes(super::oci::EMPTY_BYTES)?;
        }
        self.refresh_index(None)?;
        self.blobs.put_new(LAYOUT, LAYOUT_BYTES).map(drop)
    }

    /// Makes `index.json` say what is published. Entries that it has are kept as long as their version is published, because
    /// that never changes its meaning, but for `changed`, which is read anew.
    pub(super) fn refresh_index(&self, changed: Option<&str>) -> Result<(), StoreError> {
        let path = place(&*self.blobs, INDEX);
        loop {
            let there = self
                .blobs
                .read(INDEX, None)?
                .map(|found| found.whole().map_err(StoreError::io("read", &path)));
            let there = there.transpose()?;
            let known = there.as_ref().and_then(|(json, _)| serde_json::from_slice::<Index>(json).ok());
            let mut known = by_tag(known);
            changed.and_then(|changed| known.remove(changed));
            let index = Index::of(self.entries(known)?);
            let json = serde_json::to_vec_pretty(&index).unwrap_or_default();
            if there.as_ref().is_some_and(|(there, _)| *there == json)
                || self.blobs.replace(INDEX, &json, there.as_ref().map(|(_, tag)| tag))?
            {
                return Ok(());
            }
        }
    }

    fn entries(&self, mut known: BTreeMap<String, Descriptor>) -> Result<Vec<Descriptor>, StoreError> {
        let mut entries = Vec::new();
        for (name, version) in self.versions()? {
            let tag = layout_tag(&name, &version);
            if let Some(known) = known.remove(&tag) {
                entries.push(known);
            } else if let Ok(Some(record)) = self.read_record(&record_key(&name, &version)) {
                entries.push(Descriptor {
                    annotations: [(REF_NAME.to_owned(), tag)].into(),
                    ..record.manifest()
                });
            }
        }
        // What speaks of a package has no tag; other tools find it by its subject.
        entries
            .extend(self.sound_referrers_below("referrers")?.into_iter().map(|referrer| referrer.manifest));
        Ok(entries)
    }
}

fn by_tag(index: Option<Index>) -> BTreeMap<String, Descriptor> {
    let manifests = index.map_or_else(Vec::new, |index| index.manifests);
    manifests
        .into_iter()
        .filter_map(|entry| Some((entry.annotations.get(REF_NAME)?.clone(), entry)))
        .collect()
}
