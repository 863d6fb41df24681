# IIS, Windows services and Web Deploy on this machine.

function Confirm-Iis {
    if ($script:iis) { return }
    if (-not (Get-Module -ListAvailable -Name WebAdministration)) { Deny-Request 'no-iis' 'the module WebAdministration is not there' }
    try { Import-Module WebAdministration } catch {
        $reason = Get-Reason $_
        # IIS tells it in words only: "Process should have elevated status to access IIS configuration data."
        $kind = if ($reason.kind -eq 'access-denied' -or $reason.text -match 'elevated') { 'access-denied' } else { 'no-iis' }
        Deny-Request $kind $reason.text
    }
    $script:iis = $true
}

function Get-Site {
    Confirm-Iis
    $site = Get-Item -Path "IIS:\Sites\$($script:parts.site)" -ErrorAction SilentlyContinue
    if (-not $site) { Deny-Request 'no-site' $script:parts.site }
    return $site
}

function Get-PoolName {
    if ($script:parts.pool) { return [string]$script:parts.pool }
    return [string](Get-Site).applicationPool
}

function Get-OwnService {
    $service = Get-Service -Name $script:parts.service -ErrorAction SilentlyContinue
    if (-not $service) { Deny-Request 'no-service' $script:parts.service }
    return $service
}

function Find-Msdeploy {
    $places = @()
    $key = Get-ItemProperty -Path 'HKLM:\SOFTWARE\Microsoft\IIS Extensions\MSDeploy\3' -ErrorAction SilentlyContinue
    if ($key) { $places += [string]$key.InstallPath }
    $places += "$env:ProgramFiles\IIS\Microsoft Web Deploy V3"
    foreach ($place in $places) {
        $program = "$($place.TrimEnd('\'))\msdeploy.exe"
        if ([IO.File]::Exists($program)) { return $program }
    }
    Deny-Request 'no-msdeploy' ($places -join ', ')
}

# Looked at before anything is sent, so that what is missing is told while nothing is visible yet.
function Confirm-Parts {
    if ($script:parts.site) { [void](Get-Site) }
    if ($script:parts.service) { [void](Get-OwnService) }
    if ($script:parts.way -eq 'msdeploy') { [void](Find-Msdeploy) }
}

# The accounts that run the release.
function Get-Runners {
    $found = @()
    if ($script:parts.site) {
        $pool = Get-PoolName
        $model = (Get-Item -Path "IIS:\AppPools\$pool").processModel
        switch ([string]$model.identityType) {
            'SpecificUser' { $found += [string]$model.userName }
            'LocalSystem' { $found += 'S-1-5-18' }
            'LocalService' { $found += 'S-1-5-19' }
            'NetworkService' { $found += 'S-1-5-20' }
            default { $found += "IIS AppPool\$pool" }
        }
    }
    if ($script:parts.service) {
        $own = Get-CimInstance -ClassName Win32_Service -Filter "Name='$($script:parts.service)'"
        switch ([string]$own.StartName) {
            '' { }
            'LocalSystem' { $found += 'S-1-5-18' }
            default { $found += [string]$own.StartName.Replace('.\', "$env:COMPUTERNAME\") }
        }
    }
    return $found
}

# The release that the junction `current` leads to.
function Get-Junction {
    $item = Get-Item -LiteralPath "$($script:folder)\current" -Force -ErrorAction SilentlyContinue
    if (-not $item) { return $null }
    return Get-ReleaseOf (@($item.Target)[0])
}

# Only while the service is stopped: there is an instant without a junction.
function Set-Junction($target) {
    $link = "$($script:folder)\current"
    $item = Get-Item -LiteralPath $link -Force -ErrorAction SilentlyContinue
    if ($item) {
        if (-not ($item.Attributes -band [IO.FileAttributes]::ReparsePoint)) { Deny-Request 'current-is-a-folder' $link }
        # Removes the junction, not what it leads to.
        [IO.Directory]::Delete($link)
    }
    if ($target) { [void](New-Item -ItemType Junction -Path $link -Value $target) }
}

# What the machine serves as far as its own settings say.
function Get-Current($state) {
    if ($script:parts.site -and $script:parts.way -ne 'msdeploy') { return Get-ReleaseOf (Get-Site).physicalPath }
    # Files that msdeploy was changing when it ended belong to no release.
    if ($script:parts.site) { if ($state.restarted -eq $state.current) { return $state.current } else { return $null } }
    return Get-Junction
}

# up, down, or unknown.
function Get-Serving {
    $up = @()
    if ($script:parts.site) { $up += [string](Get-WebsiteState -Name $script:parts.site).Value -eq 'Started' }
    if ($script:parts.service) { $up += [string](Get-OwnService).Status -eq 'Running' }
    if ($up -contains $false) { return 'down' } else { return 'up' }
}

function Stop-OwnService {
    $service = Get-OwnService
    if ($service.Status -eq 'Stopped') { return }
    Stop-Service -Name $service.Name -Force
    (Get-Service -Name $service.Name).WaitForStatus('Stopped', [TimeSpan]::FromSeconds(60))
}

function Start-OwnService {
    Start-Service -Name $script:parts.service
    (Get-OwnService).WaitForStatus('Running', [TimeSpan]::FromSeconds(60))
}

function Start-Site {
    $pool = Get-PoolName
    # A change of the path makes IIS start the application anew; recycling makes sure that no old worker answers on.
    if ([string](Get-WebAppPoolState -Name $pool).Value -eq 'Started') { Restart-WebAppPool -Name $pool } else { Start-WebAppPool -Name $pool }
    if ([string](Get-WebsiteState -Name $script:parts.site).Value -ne 'Started') { Start-Website -Name $script:parts.site }
}

# One write to IIS's configuration: requests get files of the old release or of the new one.
function Set-SitePath($path) {
    Set-ItemProperty -Path "IIS:\Sites\$($script:parts.site)" -Name physicalPath -Value $path
    $now = [Environment]::ExpandEnvironmentVariables([string](Get-Site).physicalPath)
    if ($now -ne $path) { Deny-Request 'other' "the site's path is still $now" }
}

# Applies a release's package. Not at one instant: files change one after the other while app_offline.htm answers.
function Invoke-Msdeploy($release) {
    $root = Get-ReleaseFolder $release
    $site = [Environment]::ExpandEnvironmentVariables([string](Get-Site).physicalPath)
    $offline = "$site\app_offline.htm"
    $arguments = '-verb:sync -source:package="{0}\package.zip" -dest:auto -setParamFile:"{0}\SetParameters.xml" -useCheckSum' -f $root
    $arguments += ' -enableRule:AppOffline -disableLink:AppPoolExtension -disableLink:ContentExtension -disableLink:CertificateExtension'
    $ran = Invoke-Program (Find-Msdeploy) $arguments $root @{} 3600
    if ($ran.code -ne 0) {
        # Web Deploy leaves it behind when it fails, and then the site stays away.
        if ([IO.File]::Exists($offline)) { [IO.File]::Delete($offline) }
        $errors = @([Text.Encoding]::UTF8.GetString($ran.said).Split("`n") | Where-Object { $_ -match '^\s*Error' } | Select-Object -First 5)
        Deny-Request 'msdeploy-failed' ("exit code $($ran.code): " + ($errors -join ' '))
    }
}
