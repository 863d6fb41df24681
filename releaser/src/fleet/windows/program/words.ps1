# What Staith runs on a Windows machine, in Windows PowerShell 5.1; the files of this folder make one text, and this is the first of
# them. Nothing of it is stored there: `start.ps1`, which is in the command
# line, reads this text from standard input, compares its SHA-256 and calls it.
#
# NOT VERIFIED on a real Windows machine. The tests check its brackets, quotes and names, and play its side of the protocol.
#
# The protocol. All bytes are ASCII, so that no code page matters.
#   Requests come on standard input, one JSON object on a line: { "ask": ... }.
#   Replies go to standard output as  MARK(JSON)MARK  and a line break. The mark is new each time, so that a banner or a stray line
#   of some program is never taken for a reply. JSON has no spaces and no letters beyond ASCII (they are \uXXXX), and whoever reads
#   it drops line breaks: a PowerShell in between, where that is the machine's default shell, may fold long lines.
#   Where a request is followed by data, each of its lines begins with a letter:
#     M BASE64              a piece of the packed list of files       M.   its end
#     C PLACE LAST BASE64   a piece of a packed content; LAST is 1 for a content's last piece
#     E                     all was sent                              X    it is given up
#   Packed is raw Deflate.
#
# The rules. Every request that changes something holds the lock file, which the system lets go when this process ends, and carries
# an epoch: one below the highest that was seen is refused. What is looked at first decides what is done, so that asking again is
# always right. A file is written beside its place and put there at one instant.
#
# The folder of an application:
#   releases\DIGEST        a release's files            releases\DIGEST.files   what they are; written last, removed first
#   current                a junction for services      .state.json             epoch, current, previous, what is under way
#   ops\OPERATION.json     what came of a hook          .nothing                what a site without a release points to

param($from, $mark)

$out = New-Object IO.StreamWriter([Console]::OpenStandardOutput(), [Text.Encoding]::ASCII)
$out.NewLine = "`n"
$script:refusal = $null
$script:iis = $false
$script:parts = $null

function Send-Reply($value) {
    $json = ConvertTo-Json -InputObject $value -Compress -Depth 6
    $plain = [regex]::Replace($json, '[^!-~]', { param($match) '\u{0:x4}' -f [int]$match.Value[0] })
    $out.WriteLine($mark + '(' + $plain + ')' + $mark)
    $out.Flush()
}

# Ends a request with a reason that Staith knows what to do about.
function Deny-Request($kind, $text) {
    $script:refusal = @{ say = 'not'; why = 'impossible'; kind = $kind; text = [string]$text }
    throw 'refused'
}

# A reason for what .NET or a command told; the innermost exception is the one that means something.
function Get-Reason($record) {
    $exception = $record.Exception
    while ($exception.InnerException) { $exception = $exception.InnerException }
    $kind = 'other'
    if ($exception -is [UnauthorizedAccessException] -or $exception -is [Security.SecurityException]) { $kind = 'access-denied' }
    if ($exception -is [IO.PathTooLongException]) { $kind = 'path-too-long' }
    # The lower half of an HRESULT is the system's own number: 5 access denied, 32 and 33 in use, 39 and 112 disk full.
    switch ($exception.HResult -band 0xffff) {
        5 { $kind = 'access-denied' }
        32 { $kind = 'in-use' }
        33 { $kind = 'in-use' }
        39 { $kind = 'disk-full' }
        112 { $kind = 'disk-full' }
        206 { $kind = 'path-too-long' }
    }
    return @{ say = 'not'; why = 'impossible'; kind = $kind; text = [string]$exception.Message }
}
