# Switching to another release, and removing those that nobody needs.

function Invoke-Switch($request) {
    $lock = Enter-Lock 60
    try {
        $state = Approve-Order $request
        if ($request.to) { Switch-To $request $state } else { Switch-Away $request $state }
    } finally { $lock.Dispose() }
}

function Complete-Switch($state, $release, $already) {
    if ($state.under_way -or $state.restarted -ne $release) { $state.under_way = $null; $state.restarted = $release; Write-State $state }
    Send-Reply @{ say = 'switched'; already = $already }
}

function Switch-To($request, $state) {
    if (-not ((Get-Releases) -contains $request.to)) { Deny-Request 'not-staged' $request.to }
    Confirm-Parts
    $now = Get-Current $state
    if ($now -eq $request.to -and $state.restarted -eq $request.to -and (Get-Serving) -eq 'up') {
        Complete-Switch $state $request.to $true
        return
    }
    $before = if ($now) { $now } else { $state.current }
    if ($before -and $before -ne $request.to) { $state.previous = $before }
    $state.current = $request.to
    $state.under_way = $request.operation
    $state.restarted = $null
    Write-State $state
    if ($script:parts.service) { Stop-OwnService; Set-Junction (Get-ReleaseFolder $request.to) }
    if ($script:parts.site) {
        if ($script:parts.way -eq 'msdeploy') { Invoke-Msdeploy $request.to } else { Set-SitePath (Get-ReleaseFolder $request.to) }
        Start-Site
    }
    if ($script:parts.service) { Start-OwnService }
    Complete-Switch $state $request.to $false
}

function Switch-Away($request, $state) {
    $now = Get-Current $state
    if (-not $now -and -not $state.current) { Complete-Switch $state $null $true; return }
    $state.previous = if ($now) { $now } else { $state.current }
    $state.current = $null
    $state.under_way = $request.operation
    $state.restarted = $null
    Write-State $state
    if ($script:parts.service) { Stop-OwnService; Set-Junction $null }
    if ($script:parts.site) {
        Stop-Website -Name $script:parts.site
        if ($script:parts.way -ne 'msdeploy') { Set-SitePath "$($script:folder)\.nothing" }
    }
    Complete-Switch $state $null $false
}

function Invoke-Retain($request) {
    $lock = Enter-Lock 60
    try {
        $state = Approve-Order $request
        $keep = @($request.keep) + @($state.current, $state.previous, (Get-Current $state), (Get-Junction))
        $removed = @()
        foreach ($folder in [IO.Directory]::GetDirectories("$($script:folder)\releases")) {
            $name = [IO.Path]::GetFileName($folder)
            if ($name -notmatch '^[0-9a-f]{64}$' -or $keep -contains $name) { continue }
            Remove-Release $folder
            $removed += $name
        }
        foreach ($record in [IO.Directory]::GetFiles("$($script:folder)\ops", '*.json')) {
            # No deployment takes that long.
            if ([IO.File]::GetLastWriteTimeUtc($record) -lt [DateTime]::UtcNow.AddDays(-90)) { [IO.File]::Delete($record) }
        }
        Send-Reply @{ say = 'removed'; releases = @($removed) }
    } finally { $lock.Dispose() }
}
