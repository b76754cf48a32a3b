#!/usr/bin/env bash
# A CI job: search the merges of tuned checkpoints, scored by a program of your own, and keep the one that passes a gate.
#
#   SERVER=http://HOST:PORT KEY=mf_... EVALUATE=./evaluate ./search.sh STUDY.json 'TASK>=SCORE' OUT
#
# STUDY.json: a manifest whose models are safetensors files beside it and whose tasks are all external.
# EVALUATE WEIGHTS SPLIT: prints the scores of a weights file on the examples of a split, {"TASK": SCORE, ...}.
# Ends with 0 and the weights in OUT, or with 1 where the study failed or no merge passes. Needs curl >= 7.82 and jq.
set -euo pipefail
: "${SERVER:?}" "${EVALUATE:?}"
study=$1 task=${2%%>=*} bound=${2#*>=} out=$3

call() { curl -fsS --retry 5 --retry-connrefused ${KEY:+-H "Authorization: Bearer $KEY"} "$@"; }

register() { # FILE: its id as a checkpoint; bytes that are there already are not sent again
  local digest
  digest=$(sha256sum "$1" | cut -d ' ' -f 1)
  call -o /dev/null -T "$1" "$SERVER/v1/blobs/$digest"
  call --json "{\"files\": {\"model.safetensors\": \"$digest\"}}" "$SERVER/v1/checkpoints" | jq -r .id
}

fetch() { # FILES DIRECTORY: every file of a merge, computed as it is read
  call "$SERVER$1" | jq -r '.items[] | .name + " " + .href' | while read -r name href; do
    mkdir -p "$(dirname "$2/$name")"
    call -o "$2/$name" "$SERVER$href" </dev/null
  done
}

tell() { # TRIAL: evaluates it and says what came out
  local scores answer
  fetch "$(jq -r .links.weights <<<"$1")" "$scratch"
  if scores=$("$EVALUATE" "$scratch/model.safetensors" "$(jq -r .split <<<"$1")"); then
    answer=$(jq --argjson scores "$scores" '{token, scores: $scores}' <<<"$1")
  else
    answer=$(jq '{token, failure: "the evaluator failed: see the log of the job"}' <<<"$1")
  fi
  call -o /dev/null --json "$answer" "$SERVER$(jq -r .links.result <<<"$1")"
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

manifest=$(cat "$study")
for key in $(jq -c '["models", "base"], (.models.tuned | keys_unsorted[] | ["models", "tuned", .])' <<<"$manifest"); do
  id=$(register "$(dirname "$study")/$(jq -r "getpath($key)" <<<"$manifest")")
  manifest=$(jq -c --arg id "$id" "setpath($key; \$id)" <<<"$manifest")
done

# the same manifest has the same key: a job that is run again goes on with its study
key=$(sha256sum <<<"$manifest" | cut -c 1-64)
id=$(call -H "Idempotency-Key: \"$key\"" --json "$manifest" "$SERVER/v1/studies" | jq -r .id)
echo "study $id" >&2

status=running
while [ "$status" = running ] || [ "$status" = submitted ]; do
  asked=$(call -X POST -H 'Prefer: wait=20' "$SERVER/v1/studies/$id/trials:ask?n=1&lease=900&by=ci")
  status=$(jq -r .status <<<"$asked")
  while read -r trial; do tell "$trial"; done < <(jq -c '.items[]' <<<"$asked")
done
[ "$status" = finished ] || { echo "the study $status" >&2; exit 1; }

wish=$(jq --arg task "$task" --argjson bound "$bound" \
  '{weights: (.tasks | map_values(1)), constraints: [{task: $task, at_least: $bound}]}' <<<"$manifest")
merge=$(call --json "$wish" "$SERVER/v1/studies/$id/merges") || { echo "no merge is predicted to reach $task >= $bound" >&2; exit 1; }
fetch "$(jq -r .links.files <<<"$merge")" "$out"
call -o "$out/report.html" "$SERVER/v1/studies/$id/report"

# what was predicted is measured before it is believed
scores=$("$EVALUATE" "$out/model.safetensors" report)
echo "measured $scores" >&2
jq -e --arg task "$task" --argjson bound "$bound" '.[$task] >= $bound' <<<"$scores" >/dev/null || { echo "below $task >= $bound" >&2; exit 1; }
