//! The package's own files: what Web Deploy needs to know beside the content.

/// Where the content lies below `Content/`, and what `archive.xml` calls it. Relative, because an absolute path would carry
/// the build host's directories into every package and run into Windows' limit on path lengths.
pub(super) const ROOT: &str = "app";

/// Names of the root entries, in the order in which Web Deploy has them around `Content/`.
pub(super) const ARCHIVE_XML: &str = "archive.xml";
pub(super) const MANIFEST_XML: &str = "manifest.xml";
pub(super) const PARAMETERS_XML: &str = "parameters.xml";
pub(super) const MANIFEST_JSON: &str = "staith.manifest.json";
pub(super) const SYSTEM_INFO_XML: &str = "systemInfo.xml";

/// The smallest `archive.xml` that Web Deploy applies in full. Without the three resolvers, parameters on files are silently
/// not applied; without `createApp`, it announces the deletion of the application; without `dirPath`, the content is skipped.
pub(super) const ARCHIVE: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<sitemanifest MSDeploy.ObjectResolver.createApp="Microsoft.Web.Deployment.CreateApplicationObjectResolver" MSDeploy.ObjectResolver.dirPath="Microsoft.Web.Deployment.DirPathObjectResolver" MSDeploy.ObjectResolver.filePath="Microsoft.Web.Deployment.FilePathObjectResolver">
  <iisApp path="app" MSDeploy.MSDeployLinkName="Child1" MSDeploy.MSDeployKeyAttributeName="path">
    <createApp path="app" MSDeploy.MSDeployLinkName="createApp" MSDeploy.MSDeployKeyAttributeName="path" />
    <contentPath path="app" MSDeploy.MSDeployLinkName="contentPath" MSDeploy.MSDeployKeyAttributeName="path">
      <MSDeploy.dirPath path="app" MSDeploy.MSDeployLinkName="contentPath" />
    </contentPath>
  </iisApp>
</sitemanifest>
"#;

/// Required, and enough: Web Deploy itself would name the build host and its Windows here.
pub(super) const SYSTEM_INFO: &str = "<systemInfo />";
