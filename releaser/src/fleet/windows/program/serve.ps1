# The conversation.

while ($true) {
    $line = $from.ReadLine()
    # Nobody is there any more.
    if ($null -eq $line) { break }
    $script:refusal = $null
    try {
        $request = ConvertFrom-Json $line
        switch ([string]$request.ask) {
            'begin' {
                $script:folder = [string]$request.folder
                $script:parts = $request
                Send-Reply @{ say = 'hello'; protocol = 1; version = [string]$PSVersionTable.PSVersion }
            }
            'reach' { Get-Facts }
            'observe' { Get-Observation }
            'stage' { Invoke-Stage $request }
            'switch' { Invoke-Switch $request }
            'hook' { Invoke-Hook $request }
            'look' { Get-Answer $request }
            'retain' { Invoke-Retain $request }
            default { Deny-Request 'other' 'it was asked for something that it does not know' }
        }
    } catch {
        if ($script:refusal) { Send-Reply $script:refusal } else { Send-Reply (Get-Reason $_) }
    }
}
