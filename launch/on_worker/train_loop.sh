#!/usr/bin/env bash
# Runs a training command again until it is done: train_loop.sh RESTARTS COMMAND...
#
#   exit code 0    done
#   exit code 75   interrupted, its state is saved: again, as often as it takes
#   exit code 2    a mistake only its user can mend: no further
#   any other      a crash: again, at most RESTARTS times in a row of failures, waiting longer each time
#
# ~/hilight/loop.state holds what it came to. SIGTERM is passed on, so that training saves.
set -euo pipefail
restarts=$1
shift
home=$HOME/hilight
first_wait=${HILIGHT_FIRST_WAIT:-10}
healthy_seconds=${HILIGHT_HEALTHY_SECONDS:-1800}
mkdir -p "$home"
exec 9>"$home/loop.lock"
# A look by state.sh or start.sh holds the lock for a moment; another loop holds it for good.
if ! flock -w 5 9; then
  echo "error: another training loop runs on this host; stop it first." >&2
  exit 2
fi

record() {
  echo "$1" >"$home/loop.state.partial"
  mv "$home/loop.state.partial" "$home/loop.state"
}

say() {
  echo "$(date -u +%FT%TZ) loop: $*"
}

stopping=false interrupted=false child=''
stop() {
  stopping=true interrupted=true
  if [[ -n "$child" ]]; then kill -TERM "$child" 2>/dev/null || true; fi
}
trap stop TERM INT

# Runs a command in the background, so that the trap works meanwhile; a signal ends `wait` before the command ends.
attempt() {
  "$@" 9>&- &
  child=$!
  while true; do
    code=0 interrupted=false
    wait "$child" || code=$?
    if ! "$interrupted"; then break; fi
  done
  child=''
}

crashes=0 pause=$first_wait
while true; do
  if "$stopping"; then
    say "stopped between two starts; start again to go on"
    record stopped
    exit 75
  fi
  record running
  say "starting: $*"
  began=$SECONDS
  attempt "$@"
  if ((code == 0)); then
    say "done"
    record 'done'
    exit 0
  elif "$stopping"; then
    say "stopped with exit code $code; start again to go on"
    record stopped
    exit "$code"
  elif ((code == 75)); then
    say "interrupted, its state is saved: starting again"
    crashes=0 pause=$first_wait
    attempt sleep "$pause"
  elif ((code == 2)); then
    say "exit code 2 is for its user to mend: see the sentence above"
    record "failed 2"
    exit 2
  else
    if ((SECONDS - began >= healthy_seconds)); then crashes=0 pause=$first_wait; fi
    crashes=$((crashes + 1))
    if ((crashes > restarts)); then
      say "crashed with exit code $code, and $restarts restarts are used up"
      record "failed $code"
      exit "$code"
    fi
    say "crashed with exit code $code: restart $crashes of $restarts in $pause s"
    attempt sleep "$pause"
    pause=$((pause < 300 ? pause * 2 : 600))
  fi
done
