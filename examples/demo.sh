#!/bin/sh
# What `make demo` shows: two models of the same text, one that stored it and one that learned from it.
set -eu
audit="${BIN:+$BIN/}uddm-audit"

run() {
    printf '\n$ uddm-audit %s\n\n' "$*"
    "$audit" "$@"
}

echo 'Two models of the King James Bible: one trained on 16 lines, one on tens of thousands.'
run entropy examples/memorizing
run entropy examples/generalizing -q
echo
echo 'Is this text stored? 16 of these 24 lines are the first model'"'"'s training text; both have 8 never seen.'
run basins examples/memorizing examples/candidates.txt --heldout examples/heldout.txt --all
run basins examples/generalizing examples/candidates.txt --heldout examples/heldout.txt -q
echo
echo 'Your own text, a line each: uddm-audit basins examples/memorizing FILE.txt --heldout examples/heldout.txt'
