# Releases: what is there, and how one comes there.

function Get-ReleaseFolder($release) {
    if ($release -notmatch '^[0-9a-f]{64}$') { Deny-Request 'other' 'a release was asked for that has no digest' }
    return "$($script:folder)\releases\$release"
}

# The release that a path is the folder of; none if it is anywhere else.
function Get-ReleaseOf($path) {
    if (-not $path) { return $null }
    $path = [Environment]::ExpandEnvironmentVariables([string]$path).TrimEnd('\')
    $below = "$($script:folder)\releases\"
    if (-not $path.StartsWith($below, [StringComparison]::OrdinalIgnoreCase)) { return $null }
    $name = $path.Substring($below.Length).ToLowerInvariant()
    if ($name -match '^[0-9a-f]{64}$') { return $name }
    return $null
}

# Releases whose files are there: what lists them is written last and removed first.
function Get-Releases {
    if (-not [IO.Directory]::Exists("$($script:folder)\releases")) { return @() }
    $found = @()
    foreach ($list in [IO.Directory]::GetFiles("$($script:folder)\releases", '*.files')) {
        $name = [IO.Path]::GetFileNameWithoutExtension($list)
        if ($name -match '^[0-9a-f]{64}$' -and [IO.Directory]::Exists("$($script:folder)\releases\$name")) { $found += $name }
    }
    return $found
}

# The entries of a list: F HASH SIZE PATH, or D PATH. The first line is the digest of the manifest.
function Read-Entries($lines) {
    $entries = New-Object Collections.ArrayList
    foreach ($line in $lines) {
        if ($line.StartsWith('F ')) {
            $part = $line.Split([char[]]' ', 4)
            [void]$entries.Add(@{ hash = $part[1]; size = [long]$part[2]; path = $part[3].Replace('/', '\') })
        } elseif ($line.StartsWith('D ')) {
            [void]$entries.Add(@{ hash = $null; size = [long]0; path = $line.Substring(2).Replace('/', '\') })
        }
    }
    return , $entries
}

# Where an entry goes. Staith has looked at the names already; this is the last look.
function Get-EntryPlace($root, $path) {
    $full = [IO.Path]::GetFullPath("$root\$path")
    if (-not $full.StartsWith("$root\", [StringComparison]::Ordinal)) { Deny-Request 'leaves-folder' $path }
    return $full
}

# Whether a release is there with exactly this manifest and every byte right.
function Test-Release($release, $manifest) {
    $root = Get-ReleaseFolder $release
    if (-not [IO.Directory]::Exists($root) -or -not [IO.File]::Exists("$root.files")) { return $false }
    $lines = [IO.File]::ReadAllLines("$root.files")
    if ($lines.Count -eq 0 -or $lines[0] -ne $manifest) { return $false }
    foreach ($entry in (Read-Entries $lines)) {
        $place = Get-EntryPlace $root $entry.path
        if ($null -eq $entry.hash) {
            if (-not [IO.Directory]::Exists($place)) { return $false }
            continue
        }
        if (-not [IO.File]::Exists($place)) { return $false }
        if ((New-Object IO.FileInfo $place).Length -ne $entry.size) { return $false }
        if ((Get-ContentHash $place $false) -ne $entry.hash) { return $false }
    }
    return $true
}

function Stop-Staging {
    Remove-Folder "$($script:folder)\releases\.new"
    $script:refusal = @{ say = 'not'; why = 'cancelled' }
    throw 'refused'
}

# The next line of data. Without one, nobody is there any more, and what was half-written goes with the next staging.
function Read-Data {
    $line = $from.ReadLine()
    if ($null -eq $line) { exit 0 }
    return $line
}

function Expand-Content($packed, $place) {
    $source = New-Object IO.FileStream($packed, 'Open', 'Read')
    $unpacked = New-Object IO.Compression.DeflateStream($source, [IO.Compression.CompressionMode]::Decompress)
    $target = New-Object IO.FileStream($place, 'Create', 'Write', 'None', 65536)
    try { $unpacked.CopyTo($target) } finally { $target.Dispose(); $unpacked.Dispose(); $source.Dispose() }
}

function Receive-Manifest {
    $packed = New-Object IO.MemoryStream
    while ($true) {
        $line = Read-Data
        if ($line -eq 'M.') { break }
        if ($line -eq 'X') { Stop-Staging }
        $bytes = [Convert]::FromBase64String($line.Substring(2))
        $packed.Write($bytes, 0, $bytes.Length)
    }
    $packed.Position = 0
    $reader = New-Object IO.StreamReader((New-Object IO.Compression.DeflateStream($packed,
                [IO.Compression.CompressionMode]::Decompress)), [Text.Encoding]::UTF8)
    return $reader.ReadToEnd()
}

# Where files with wanted contents lie in other releases.
function Find-Contents($wanted) {
    $found = @{}
    foreach ($release in (Get-Releases)) {
        $root = Get-ReleaseFolder $release
        foreach ($entry in (Read-Entries ([IO.File]::ReadAllLines("$root.files")))) {
            if ($entry.hash -and $wanted.ContainsKey($entry.hash) -and -not $found.ContainsKey($entry.hash)) {
                $found[$entry.hash] = "$root\$($entry.path)"
            }
        }
    }
    return $found
}

# A copy is verified as what came over the network is.
function Copy-Content($source, $place, $hash) {
    if (-not [IO.File]::Exists($source)) { return $false }
    [IO.File]::Copy($source, $place, $true)
    if ((Get-ContentHash $place $true) -eq $hash) { return $true }
    [IO.File]::Delete($place)
    return $false
}

# Puts the contents that come in their places. What goes wrong is told once all has been read, or the rest would be taken for requests.
function Receive-Contents($root, $entries) {
    $script:part = $null
    $packed = "$($script:folder)\releases\.part"
    $trouble = $null
    try {
        while ($true) {
            $line = Read-Data
            if ($line -eq 'E') { break }
            if ($line -eq 'X') { Stop-Staging }
            if ($trouble) { continue }
            try { Receive-Piece $line $packed $root $entries } catch { $trouble = $_ }
        }
    } finally {
        if ($script:part) { $script:part.Dispose(); $script:part = $null }
        if ([IO.File]::Exists($packed)) { [IO.File]::Delete($packed) }
    }
    if ($trouble) { throw $trouble }
}

function Receive-Piece($line, $packed, $root, $entries) {
    $word = $line.Split(' ')
    if ($null -eq $script:part) { $script:part = New-Object IO.FileStream($packed, 'Create', 'Write', 'None', 65536) }
    $bytes = [Convert]::FromBase64String($word[3])
    $script:part.Write($bytes, 0, $bytes.Length)
    if ($word[2] -ne '1') { return }
    $script:part.Dispose()
    $script:part = $null
    $entry = $entries[[int]$word[1]]
    $place = Get-EntryPlace $root $entry.path
    Expand-Content $packed $place
    if ((Get-ContentHash $place $true) -ne $entry.hash) { Deny-Request 'content-differs' $entry.path }
}

function Invoke-Stage($request) {
    $lock = Enter-Lock 60
    try {
        [void](Approve-Order $request)
        Confirm-Parts
        if (Test-Release $request.release $request.manifest) { Send-Reply @{ say = 'staged'; already = $true }; return }
        $final = Get-ReleaseFolder $request.release
        $root = "$($script:folder)\releases\.new"
        Remove-Folder $root
        Send-Reply @{ say = 'send' }
        $text = Receive-Manifest
        $entries = Read-Entries $text.Split("`n")
        try {
            Build-Release $root $entries $request
            Publish-Release $root $final $text
        } catch { Remove-Folder $root; throw }
        Send-Reply @{ say = 'staged'; already = $false }
    } finally { $lock.Dispose() }
}

function Build-Release($root, $entries, $request) {
    [void][IO.Directory]::CreateDirectory($root)
    $first = @{}
    for ($nth = 0; $nth -lt $entries.Count; $nth++) {
        $entry = $entries[$nth]
        $place = Get-EntryPlace $root $entry.path
        if ($null -eq $entry.hash) { [void][IO.Directory]::CreateDirectory($place); continue }
        [void][IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($place))
        if (-not $first.ContainsKey($entry.hash)) { $first[$entry.hash] = $nth }
    }
    $there = Find-Contents $first
    $lacks = @()
    foreach ($nth in ($first.Values | Sort-Object)) {
        $entry = $entries[$nth]
        $place = Get-EntryPlace $root $entry.path
        if (-not ($there.ContainsKey($entry.hash) -and (Copy-Content $there[$entry.hash] $place $entry.hash))) { $lacks += [int]$nth }
    }
    Send-Reply @{ say = 'lacks'; places = @($lacks) }
    Receive-Contents $root $entries
    for ($nth = 0; $nth -lt $entries.Count; $nth++) {
        $entry = $entries[$nth]
        if ($null -eq $entry.hash -or $first[$entry.hash] -eq $nth) { continue }
        $source = Get-EntryPlace $root $entries[$first[$entry.hash]].path
        if (-not (Copy-Content $source (Get-EntryPlace $root $entry.path) $entry.hash)) { Deny-Request 'content-differs' $entry.path }
    }
    foreach ($path in $request.private) { Protect-File (Get-EntryPlace $root $path.Replace('/', '\')) }
}

# From here on the release is there. One that was damaged goes first; if it is in use, that fails and nothing has changed.
function Publish-Release($root, $final, $text) {
    if ([IO.File]::Exists("$final.files")) { [IO.File]::Delete("$final.files") }
    if ([IO.Directory]::Exists($final)) { Remove-Release $final }
    [IO.Directory]::Move($root, $final)
    Write-Whole "$final.files" $text
}

function Remove-Release($final) {
    if ([IO.File]::Exists("$final.files")) { [IO.File]::Delete("$final.files") }
    $gone = "$($script:folder)\releases\.gone"
    Remove-Folder $gone
    if ([IO.Directory]::Exists($final)) { [IO.Directory]::Move($final, $gone) }
    Remove-Folder $gone
}
