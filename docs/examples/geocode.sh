#!/bin/sh
# A geocoder in a few lines: answers place requests from a CSV file with the columns key, latitude, longitude.
#
#   headwater work --queue places -- docs/examples/geocode.sh places.csv
#
# The request comes on standard input. Its key is folded words, such as `old mill||ely|GB`: it has neither quotes nor
# commas.
set -eu
key=$(sed -n 's/.*"key": *"\([^"]*\)".*/\1/p')
awk -F, -v key="$key" '
    $1 == key { printf "result {\"found\":true,\"latitude\":%s,\"longitude\":%s,\"provider\":\"csv\"}\n", $2, $3; found = 1; exit }
    END { if (!found) print "result {\"found\":false}" }
' "$1"
