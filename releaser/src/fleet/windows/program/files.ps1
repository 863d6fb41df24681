# Files of the application's folder, its lock and its state.

function ConvertTo-Hex($bytes) { return [BitConverter]::ToString($bytes).Replace('-', '').ToLowerInvariant() }

# The SHA-256 of a file; with $seal, its bytes are on the disk afterwards.
function Get-ContentHash($path, $seal) {
    $access = if ($seal) { 'ReadWrite' } else { 'Read' }
    $stream = New-Object IO.FileStream($path, [IO.FileMode]::Open, [IO.FileAccess]$access, [IO.FileShare]::Read, 65536)
    try {
        $hash = ConvertTo-Hex ([Security.Cryptography.SHA256]::Create().ComputeHash($stream))
        if ($seal) { $stream.Flush($true) }
        return $hash
    } finally { $stream.Dispose() }
}

# Whole or not at all: written beside, brought to the disk, and put in its place.
function Write-Whole($path, $text) {
    $bytes = [Text.Encoding]::UTF8.GetBytes($text)
    $new = "$path.new"
    $stream = New-Object IO.FileStream($new, [IO.FileMode]::Create, [IO.FileAccess]::Write, [IO.FileShare]::None, 4096,
        [IO.FileOptions]::WriteThrough)
    try { $stream.Write($bytes, 0, $bytes.Length); $stream.Flush($true) } finally { $stream.Dispose() }
    # PowerShell would make an empty text of $null, which is no path.
    if ([IO.File]::Exists($path)) { [IO.File]::Replace($new, $path, [NullString]::Value) } else { [IO.File]::Move($new, $path) }
}

# A text that `Write-Whole` wrote. Between its last two steps Replace may leave the new file alone, which is whole by then.
function Read-Whole($path) {
    foreach ($place in $path, "$path.new") {
        if ([IO.File]::Exists($place)) { return [IO.File]::ReadAllText($place) }
    }
    return $null
}

function Remove-Folder($path) {
    if ([IO.Directory]::Exists($path)) { [IO.Directory]::Delete($path, $true) }
}

function New-Rule($account, $rights) {
    if ($account -is [string] -and $account.StartsWith('S-1-')) { $account = New-Object Security.Principal.SecurityIdentifier $account }
    elseif ($account -is [string]) { $account = New-Object Security.Principal.NTAccount $account }
    return New-Object Security.AccessControl.FileSystemAccessRule($account, $rights, 'ContainerInherit,ObjectInherit', 'None', 'Allow')
}

# The application's folder. What a drive's root lets everybody do is not inherited: others read, and only administrators write.
function Confirm-Folder {
    if (-not [IO.Directory]::Exists($script:folder)) {
        $acl = New-Object Security.AccessControl.DirectorySecurity
        $acl.SetAccessRuleProtection($true, $false)
        # The system, administrators, users, and the accounts of application pools, by their numbers: names are translated.
        foreach ($one in @('S-1-5-18', 'FullControl'), @('S-1-5-32-544', 'FullControl'), @('S-1-5-32-545', 'ReadAndExecute'),
            @('S-1-5-32-568', 'ReadAndExecute')) { $acl.AddAccessRule((New-Rule $one[0] $one[1])) }
        $me = [Security.Principal.WindowsIdentity]::GetCurrent().User
        $acl.AddAccessRule((New-Rule $me 'FullControl'))
        [void][IO.Directory]::CreateDirectory($script:folder, $acl)
    }
    foreach ($name in 'releases', 'ops', '.nothing') { [void][IO.Directory]::CreateDirectory("$($script:folder)\$name") }
}

# A rendered file that holds a secret: for the system, administrators and whoever runs the release.
function Protect-File($path) {
    $acl = New-Object Security.AccessControl.FileSecurity
    $acl.SetAccessRuleProtection($true, $false)
    $accounts = @('S-1-5-18', 'S-1-5-32-544')
    foreach ($one in $accounts) {
        $who = New-Object Security.Principal.SecurityIdentifier $one
        $acl.AddAccessRule((New-Object Security.AccessControl.FileSystemAccessRule($who, 'FullControl', 'Allow')))
    }
    foreach ($one in (Get-Runners)) {
        $who = if ($one.StartsWith('S-1-')) { New-Object Security.Principal.SecurityIdentifier $one } else { New-Object Security.Principal.NTAccount $one }
        $acl.AddAccessRule((New-Object Security.AccessControl.FileSystemAccessRule($who, 'Read', 'Allow')))
    }
    [IO.File]::SetAccessControl($path, $acl)
}

# The lock of the folder. The system lets it go when this process ends, however that is.
function Enter-Lock($seconds) {
    Confirm-Folder
    $watch = [Diagnostics.Stopwatch]::StartNew()
    while ($true) {
        try { return New-Object IO.FileStream("$($script:folder)\.lock", 'OpenOrCreate', 'ReadWrite', 'None') }
        catch {
            $reason = Get-Reason $_
            if ($reason.kind -ne 'in-use') { throw }
            if ($watch.Elapsed.TotalSeconds -gt $seconds) { Deny-Request 'busy' 'another deployment is at work on this machine' }
            Start-Sleep -Milliseconds 100
        }
    }
}

function Read-State {
    $state = @{ epoch = [long]0; current = $null; previous = $null; under_way = $null; restarted = $null }
    $text = Read-Whole "$($script:folder)\.state.json"
    if ($null -eq $text) { return $state }
    try { $read = ConvertFrom-Json $text } catch { Deny-Request 'state-damaged' "$($script:folder)\.state.json" }
    $state.epoch = [long]$read.epoch
    foreach ($key in 'current', 'previous', 'under_way', 'restarted') { $state[$key] = $read.$key }
    return $state
}

function Write-State($state) { Write-Whole "$($script:folder)\.state.json" (ConvertTo-Json $state -Compress) }

# Lets an order pass whose epoch is at least the highest so far, and remembers it before anything is done in its name.
function Approve-Order($request) {
    $state = Read-State
    $asked = [long]$request.epoch
    if ($asked -lt $state.epoch) {
        $script:refusal = @{ say = 'not'; why = 'too-late'; seen = $state.epoch; asked = $asked }
        throw 'refused'
    }
    if ($asked -gt $state.epoch) { $state.epoch = $asked; Write-State $state }
    return $state
}
