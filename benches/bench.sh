# What every comparison begins with. To be sourced: makes a directory of its own that is removed at the end, and in it a
# STAITH_HOME that nothing else uses.
set -euo pipefail

benches=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
staith=${STAITH_PROGRAM:?"is set by benches/run, which starts the comparisons"}
place=$(mktemp -d "${TMPDIR:-/tmp}/staith-bench.XXXXXX")
export STAITH_HOME=$place/home
# Peers and Staith read the same git, whatever the user has set up for theirs.
# UTF-8, because Ansible refuses to start without.
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null LC_ALL=C.UTF-8

leave() { cd / && rm -rf "$place"; }
trap leave EXIT

# Installs a Debian package for a program that is not there, or says what is missing.
need() { # PROGRAM PACKAGE
    command -v "$1" >/dev/null && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        { apt-get install -qq -y "$2" || { apt-get update -qq && apt-get install -qq -y "$2"; }; } >/dev/null 2>&1 || true
    fi
    command -v "$1" >/dev/null && return
    echo "# $1 is not installed (Debian: $2), so it is not measured"
    return 1
}

# The program that deploys to machines as `staith` does, and nothing else. Made before anything is measured.
deployer() {
    if [ -z "${STAITH_DEPLOYER:-}" ]; then
        (cd "$benches/.." && cargo build --quiet --release --locked -p staith-releaser --example deploy) >&2
    fi
    realpath "${STAITH_DEPLOYER:-$benches/../target/release/examples/deploy}"
}

pairs() { python3 "$benches/pairs.py" "$@"; }

tree() { python3 "$benches/data.py" "$@"; } # DIRECTORY FILES BYTES

# Makes a directory a repository with everything in it in one commit, packed as a clone would have it.
commit() { # DIRECTORY
    git -C "$1" init -q -b main
    git -C "$1" add -A
    git -C "$1" -c gc.auto=0 -c user.name=bench -c user.email=bench@localhost commit -q -m "everything"
    git -C "$1" -c pack.window=0 gc -q
}

# Runs Staith once, so that what it can know is known; says what it said if it fails.
know() { # ARGUMENTS OF STAITH
    "$staith" "$@" >"$place/said" 2>&1 || { cat "$place/said" >&2 && return 1; }
}

# Words as they can be given to pairs.py
words() { printf '%q ' "$@"; }
