#!/usr/bin/env bash
# Starts training in the background, unless it runs: start.sh RESTARTS RUN TRAINING-FLAGS...
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
cd "$home/source"
echo starting >"$home/loop.state"
setsid nohup bash "$here/train_loop.sh" "$restarts" "$home/venv/bin/python" -m hilight_jax.train \
  --workdir "$home/share/runs/$run" --data_dir "$home/share/data" "$@" >>"$home/log/train.log" 2>&1 </dev/null &
echo "training started on $(hostname); its log is $home/log/train.log"
