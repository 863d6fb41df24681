# Programs that run to their end: hooks, and msdeploy.

# Runs a program to its end or for so many seconds. Standard output and error go to files, so that no pipe can fill.
function Invoke-Program($program, $arguments, $folder, $variables, $seconds) {
    $start = New-Object Diagnostics.ProcessStartInfo($program, $arguments)
    $start.WorkingDirectory = $folder
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    $start.RedirectStandardInput = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    foreach ($key in $variables.Keys) { $start.EnvironmentVariables[$key] = [string]$variables[$key] }
    $process = [Diagnostics.Process]::Start($start)
    $process.StandardInput.Close()
    $files = "$($script:folder)\ops\.out", "$($script:folder)\ops\.err"
    $sinks = @(foreach ($file in $files) { New-Object IO.FileStream($file, 'Create', 'Write', 'Read') })
    $copies = @($process.StandardOutput.BaseStream.CopyToAsync($sinks[0]), $process.StandardError.BaseStream.CopyToAsync($sinks[1]))
    $late = -not $process.WaitForExit([int][Math]::Min([long]$seconds * 1000, [int]::MaxValue))
    if ($late) {
        # The program and all that it has started. Not called with `&`: what it says on standard error would end this program.
        $end = New-Object Diagnostics.ProcessStartInfo("$env:SystemRoot\System32\taskkill.exe", "/T /F /PID $($process.Id)")
        $end.UseShellExecute = $false
        $end.CreateNoWindow = $true
        [void][Diagnostics.Process]::Start($end).WaitForExit(10000)
        [void]$process.WaitForExit(10000)
    }
    # Something that it left running may hold the streams for ever; what it says then is not waited for.
    foreach ($copy in $copies) { try { [void]$copy.Wait(2000) } catch { } }
    foreach ($sink in $sinks) { $sink.Dispose() }
    $said = New-Object IO.MemoryStream
    foreach ($file in $files) {
        $bytes = [IO.File]::ReadAllBytes($file)
        $skip = [Math]::Max(0, $bytes.Length - 32768)
        $said.Write($bytes, $skip, $bytes.Length - $skip)
        [IO.File]::Delete($file)
    }
    $code = if ($late) { $null } else { $process.ExitCode }
    return @{ code = $code; timed_out = $late; said = $said.ToArray() }
}

# Runs a hook once for each operation. That it has begun is written down before, and what came of it before it is told.
function Invoke-Hook($request) {
    $lock = Enter-Lock ([long]$request.seconds + 30)
    try {
        $state = Approve-Order $request
        if ($request.operation -notmatch '^[0-9a-f]{64}$') { Deny-Request 'other' 'an operation was asked for that has no digest' }
        $path = "$($script:folder)\ops\$($request.operation).json"
        $text = Read-Whole $path
        if ($null -ne $text) {
            $known = try { ConvertFrom-Json $text } catch { $null }
            if ($known -and $known.ended) {
                Send-Reply @{ say = 'ran'; already = $true; code = $known.code; timed_out = [bool]$known.timed_out; said = [string]$known.said }
                return
            }
            if (-not $request.repeatable) { $script:refusal = @{ say = 'not'; why = 'undecided' }; throw 'refused' }
        }
        if (-not ((Get-Releases) -contains $request.release)) { Deny-Request 'not-staged' $request.release }
        $root = Get-ReleaseFolder $request.release
        $program = [string]$request.program
        if ($request.inside) {
            $program = Get-EntryPlace $root $program
            if (-not [IO.File]::Exists($program)) { Deny-Request 'no-program' $request.program }
        }
        Write-Whole $path (ConvertTo-Json @{ hook = [string]$request.name; ended = $false } -Compress)
        $state.under_way = $request.operation
        Write-State $state
        $variables = @{ STAITH_RELEASE = "sha256:$($request.release)"; STAITH_HOOK = $request.name; STAITH_FOLDER = $script:folder }
        try { $ran = Invoke-Program $program ([string]$request.arguments) $root $variables $request.seconds } catch {
            $reason = Get-Reason $_
            [IO.File]::Delete($path)
            $state.under_way = $null
            Write-State $state
            Deny-Request 'no-program' "$($request.program): $($reason.text)"
        }
        $said = [Convert]::ToBase64String($ran.said)
        Write-Whole $path (ConvertTo-Json @{ hook = [string]$request.name; ended = $true; code = $ran.code; timed_out = $ran.timed_out; said = $said } -Compress)
        $state.under_way = $null
        Write-State $state
        Send-Reply @{ say = 'ran'; already = $false; code = $ran.code; timed_out = $ran.timed_out; said = $said }
    } finally { $lock.Dispose() }
}
