#!/usr/bin/env bash
# Starts training in the background, unless it runs: start.sh RESTARTS RUN TRAINING-FLAGS...
# With --films PLACE --to INDEX as the first flags it indexes films; paths like share/films are below ~/hilight.
set -euo pipefail
restarts=$1 run=$2
shift 2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
home=$HOME/hilight
mkdir -p "$home/log"
if ! flock -n "$home/loop.lock" true; then
  echo "training already runs on $(hostname); its log is $home/log/train.log"
  exit 0
fi
work=(-m hilight_jax.train --workdir "$home/share/runs/$run" --data_dir "$home/share/data")
if [[ "${1:-}" == --films ]]; then
  films=$2 index=$4
  shift 4
  work=(-m hilight_jax.index "${films/#share/$home/share}" --to "${index/#share/$home/share}")
fi
cd "$home/source"
echo starting >"$home/loop.state"
setsid nohup bash "$here/train_loop.sh" "$restarts" "$home/venv/bin/python" "${work[@]}" "$@" \
  >>"$home/log/train.log" 2>&1 </dev/null &
echo "training started on $(hostname); its log is $home/log/train.log"
