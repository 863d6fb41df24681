//! What visitors see while a site is changed.

/// The page that is put in place as `app_offline.htm` unless somebody has a better one.
pub const OFFLINE_PAGE: &str = "<!DOCTYPE html>
<html lang=\"en\">
<head><meta charset=\"utf-8\"><title>Back in a moment</title></head>
<body>
<h1>Back in a moment</h1>
<p>This site is being updated. Please try again in a minute.</p>
</body>
</html>
";
