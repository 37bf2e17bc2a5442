#!/bin/sh
# What `make demo` shows: a model that stored its text, one that learned from it, and one that did both.
set -eu
bin="${BIN:+$BIN/}"
tables=$(mktemp -d)
trap 'rm -rf "$tables"' EXIT

run() {
    printf '\n$ uddm-audit %s\n\n' "$*"
    "${bin}uddm-audit" "$@"
}

# The same with a table for dose.py: what it prints is shown only if it fails.
table() {
    printf '\n$ uddm-audit %s -o %s.csv\n' "$*" "$1"
    "${bin}uddm-audit" "$@" -o "$tables/$1.csv" >"$tables/log" 2>&1 || { cat "$tables/log"; exit 1; }
}

echo 'Two models of the King James Bible: one trained on 16 lines, one on tens of thousands.'
run entropy examples/memorizing
run entropy examples/generalizing -q
echo
echo 'Is this text stored? 16 of these 24 lines are the first model'"'"'s training text; both have 8 never seen.'
run basins examples/memorizing examples/candidates.txt --heldout examples/heldout.txt --all
run basins examples/generalizing examples/candidates.txt --heldout examples/heldout.txt -q
echo
echo 'A third model learned 20,000 verses and, between them, invented cards, addresses and e-mail, planted once,'
echo '4, 16, 64 or 256 times each. Which of them, and of 12 never planted, does an audit find?'
table entropy examples/realistic examples/secrets.txt --heldout examples/secrets-heldout.txt
table basins examples/realistic examples/secrets.txt --heldout examples/secrets-heldout.txt --levels .25
echo
"${bin}python" examples/dose.py "$tables/entropy.csv" "$tables/basins.csv"
echo
echo 'Your own text, a line each: uddm-audit basins examples/memorizing FILE.txt --heldout examples/heldout.txt'
