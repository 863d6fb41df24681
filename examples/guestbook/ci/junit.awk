# Writes what `cargo test` said to the file `report` as JUnit, and ends with the status of `cargo test`, which stands in the
# last line. (Rust's test programs will do this themselves some day: `--format junit` is not stable yet.)

/^cargo test ended with status / { status = $NF; next }

# The tests of one program follow, such as `Running unittests src/main.rs (target/release/deps/guestbook-0123456789abcdef)`.
/^ +Running / { suite = $NF; gsub(/^\(|-[0-9a-f]+\)$|.*\//, "", suite); next }

/^test .* \.\.\. (ok|FAILED|ignored)/ {
    name = $2
    order[++count] = name; suites[name] = suite
    result[name] = / \.\.\. ok/ ? "ok" : (/ \.\.\. FAILED/ ? "FAILED" : "ignored")
    bad += result[name] == "FAILED"; skipped += result[name] == "ignored"
    next
}

# What a failed test said stands between such a line and the next, or the list of failures.
/^---- .* stdout ----$/ { told = $2; next }
/^failures:$/ { told = "" }
told { said[told] = said[told] $0 "\n" }

function text(raw) {
    gsub(/&/, "\\&amp;", raw); gsub(/</, "\\&lt;", raw); gsub(/>/, "\\&gt;", raw); gsub(/"/, "\\&quot;", raw)
    gsub(/[\001-\010\013\014\016-\037]/, "?", raw) # XML can't hold them
    return raw
}

END {
    # Nothing to report where the tests did not even compile: then there is the status.
    if (count) {
        printf "<testsuites>\n<testsuite name=\"%s\" tests=\"%d\" failures=\"%d\" skipped=\"%d\">\n", text(suite), count, bad, skipped > report
        for (i = 1; i <= count; i++) {
            name = order[i]
            printf "<testcase classname=\"%s\" name=\"%s\">", text(suites[name]), text(name) > report
            if (result[name] == "FAILED") printf "<failure>%s</failure>", text(said[name]) > report
            if (result[name] == "ignored") printf "<skipped/>" > report
            print "</testcase>" > report
        }
        print "</testsuite>\n</testsuites>" > report
    }
    exit status == "" ? 1 : status
}
