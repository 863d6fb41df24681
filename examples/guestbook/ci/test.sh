#!/bin/sh
# usage: sh ci/test.sh REPORT ARGUMENTS...
# Runs `cargo test ARGUMENTS...`, shows what it says as it says it, and then writes it to the file REPORT as JUnit.
report=$1
shift
log=$(mktemp)
trap 'rm -f "$log"' EXIT
{
    cargo test "$@" 2>&1
    echo "cargo test ended with status $?"
} | tee "$log"
awk -v report="$report" -f ci/junit.awk "$log"
