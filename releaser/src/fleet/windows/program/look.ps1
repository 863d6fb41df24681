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

# One request, as it is answered on the machine itself.
function Invoke-Question($request, $binding) {
    $ask = [Net.WebRequest]::Create("http://127.0.0.1:$($request.port)$($request.path)")
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
        return @{ status = [int]$answer.StatusCode; header = $header }
    } finally { $answer.Close() }
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
        if (-not $seen.tls) { $seen.answer = Invoke-Question $request $binding }
    }
    Send-Reply $seen
}
