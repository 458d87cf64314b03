# Reads the output of `cargo test`, prints the sum of its results as one line. Skipped are the ignored ones.
# A test program killed by a signal has no result line: it counts as one failure.

/^test result: / {
  for (i = 2; i <= NF; i++) {
    if ($i == "passed;") passed += $(i - 1)
    if ($i == "failed;") failed += $(i - 1)
    if ($i == "ignored;") skipped += $(i - 1)
  }
  results++
}

/process didn't exit successfully/ && /signal: / { failed++ }

END {
  if (!results) exit
  if (status != 0 && failed == 0) failed = 1
  printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
}
