# Looking at the machine and asking the release.

function Get-Facts {
    Confirm-Parts
    $system = Get-CimInstance -ClassName Win32_OperatingSystem
    $me = New-Object Security.Principal.WindowsPrincipal([Security.Principal.WindowsIdentity]::GetCurrent())
    $drive = New-Object IO.DriveInfo([IO.Path]::GetPathRoot($script:folder))
    $architecture = if ($env:PROCESSOR_ARCHITEW6432) { $env:PROCESSOR_ARCHITEW6432 } else { $env:PROCESSOR_ARCHITECTURE }
    Send-Reply @{
        say = 'reached'
        machine = [string](Get-ItemProperty -Path 'HKLM:\SOFTWARE\Microsoft\Cryptography').MachineGuid
        boot = $system.LastBootUpTime.ToUniversalTime().ToString('o')
        architecture = [string]$architecture
        system = "$($system.Caption) $($system.Version)"
        administrator = $me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)
        free = [long]$drive.AvailableFreeSpace
    }
}

function Get-Observation {
    $state = Read-State
    $current = Get-Current $state
    Send-Reply @{
        say = 'observed'; epoch = $state.epoch; releases = @(Get-Releases); current = $current; previous = $state.previous
        serving = Get-Serving; unfinished = $state.under_way
    }
}

# The host name and protocol of the site's binding on a port; none if it has no such binding.
function Get-Binding($port) {
    if (-not $script:parts.site) { return $null }
    foreach ($binding in (Get-WebBinding -Name $script:parts.site)) {
        # ADDRESS:PORT:HOST, and an address of IPv6 stands in brackets.
        $part = ([string]$binding.bindingInformation) -replace '^\[.*\]', '' -split ':'
        if ($part.Count -ge 3 -and $part[1] -eq [string]$port) { return @{ host = $part[2]; protocol = [string]$binding.protocol } }
    }
    return $null
}

# One request, as it is answered on the machine itself; with so many bytes of the body.
function Invoke-Question($request, $path, $most, $binding) {
    $ask = [Net.WebRequest]::Create("http://127.0.0.1:$($request.port)$path")
    $ask.Timeout = [int]$request.milliseconds
    $ask.AllowAutoRedirect = $false
    $ask.KeepAlive = $false
    $ask.Proxy = $null
    $ask.UserAgent = 'staith'
    if ($binding -and $binding.host) { $ask.Host = $binding.host }
    $answer = $null
    try { $answer = $ask.GetResponse() } catch {
        $exception = $_.Exception
        while ($exception -and $exception -isnot [Net.WebException]) { $exception = $exception.InnerException }
        if (-not $exception) { return @{ trouble = 'broken'; text = [string]$_.Exception.Message } }
        if (-not $exception.Response) {
            $trouble = 'broken'
            if ([string]$exception.Status -eq 'ConnectFailure') { $trouble = 'refused' }
            if ([string]$exception.Status -eq 'Timeout') { $trouble = 'no-answer' }
            return @{ trouble = $trouble; text = [string]$exception.Message }
        }
        $answer = $exception.Response
    }
    try {
        $header = if ($request.header) { $answer.Headers[[string]$request.header] } else { $null }
        return @{ status = [int]$answer.StatusCode; header = $header; text = Read-Text $answer $most $request.milliseconds }
    } catch {
        return @{ trouble = 'broken'; text = [string]$_.Exception.Message }
    } finally { $answer.Close() }
}

# The beginning of the body, as ASCII, within so many milliseconds.
function Read-Text($answer, $most, $milliseconds) {
    $bytes = New-Object byte[] ([int]$most)
    $length = 0
    if ($most -gt 0) {
        $stream = $answer.GetResponseStream()
        $clock = [Diagnostics.Stopwatch]::StartNew()
        if ($stream.CanTimeout) { $stream.ReadTimeout = [int]$milliseconds }
        while ($length -lt $most) {
            $read = $stream.Read($bytes, $length, $most - $length)
            if ($read -le 0) { break }
            $length += $read
            if ($clock.ElapsedMilliseconds -gt $milliseconds) { throw 'the body of the answer did not end in time' }
        }
    }
    return [Text.Encoding]::ASCII.GetString($bytes, 0, $length)
}

# What answers at the release's path, and at that of the file that names the release, where it has one.
function Get-Words($request, $binding) {
    $words = Invoke-Question $request $request.path 0 $binding
    if ($request.file -and -not $words.trouble) {
        # One byte more than the longest such file.
        $file = Invoke-Question $request $request.file 4097 $binding
        if ($file.trouble) { return $file }
        $words.file = @{ status = $file.status; text = $file.text }
    }
    if (-not $words.trouble) { $words.Remove('text') }
    return $words
}

function Get-Answer($request) {
    $state = Read-State
    $seen = @{
        say = 'seen'; current = Get-Current $state; serving = Get-Serving; restarted = $state.restarted; bound = $false; tls = $false
        owner = $null; service = $null; answer = $null
    }
    if ($request.port) {
        $binding = Get-Binding $request.port
        if ($binding) { $seen.bound = $true; $seen.tls = $binding.protocol -eq 'https' }
        if ($script:parts.service) {
            $seen.service = [int](Get-CimInstance -ClassName Win32_Service -Filter "Name='$($script:parts.service)'").ProcessId
            $listener = Get-NetTCPConnection -State Listen -LocalPort $request.port -ErrorAction SilentlyContinue | Select-Object -First 1
            if ($listener) { $seen.owner = [int]$listener.OwningProcess }
        }
        if (-not $seen.tls) { $seen.answer = Get-Words $request $binding }
    }
    Send-Reply $seen
}
