# shellcheck shell=bash
# The verb resume of tpu.sh: brings the run to its end through preemptions. Sourced, not run.
# shellcheck disable=SC2154  # The settings are read from the command line by tpu.sh.

errors_in_a_row=0

# The state of the request: ACTIVE, SUSPENDED ..., MISSING when there is none; ends after five failures in a row.
request_state() {
  local answer code=0
  answer=$("${resources[@]}" describe "$name" "--project=$project" "--zone=$zone" '--format=value(state.state)' 2>&1) ||
    code=$?
  if ((code == 0)); then
    state=${answer##*$'\n'} errors_in_a_row=0
  elif [[ "$answer" == *NOT_FOUND* || "$answer" == *"was not found"* ]]; then
    state=MISSING errors_in_a_row=0
  else
    state=UNKNOWN errors_in_a_row=$((errors_in_a_row + 1))
    say "$answer"
    if ((errors_in_a_row == 5)); then
      say "error: the state of $name could not be asked five times in a row; mend what gcloud says above, then resume."
      exit 1
    fi
  fi
}

# What the workers say, worst first: failed, absent (not installed), dead (loop gone), running, done; lost when unreachable.
training_state() {
  local answer
  training=lost
  # A worker of a pod that is being preempted does not answer; the next look at the request tells.
  answer=$("${resources[@]}" ssh "$name" "--project=$project" "--zone=$zone" --node=all --worker=all \
    "--command=$ask_state") ||
    return 0
  local candidate
  for candidate in failed absent dead running 'done'; do
    if grep -q "^hilight-state: $candidate" <<<"$answer"; then
      training=$candidate
      return
    fi
  done
}

# A pod that is up: installs and starts what is not there yet; ends the script when the training has ended.
tend() {
  training_state
  case "$training" in
    done)
      say "the training of $run is done on every worker. The TPUs still cost money until you run: launch/tpu.sh delete"
      exit 0
      ;;
    failed)
      say "error: the training of $run gave up; launch/tpu.sh logs shows why. The TPUs still cost money: mend it and" \
        "start again, or run: launch/tpu.sh delete"
      exit 1
      ;;
    absent)
      say "installing on every worker"
      # In a shell of its own: a pod lost meanwhile is asked for again, not an end.
      if ! (install) || ! (start); then
        say "the pod could not be installed or started; looking again in $poll s"
      fi
      ;;
    dead)
      say "a worker's training is not running; starting it where it is not"
      (start) || say "the pod could not be started; looking again in $poll s"
      ;;
    lost) say "the workers do not answer; looking again in $poll s" ;;
    running) ;;
  esac
}

recreate() {
  if ((recreated >= recreations)); then
    say "error: $name was lost again after $recreations recreations; raise --recreations, or choose another zone or tier."
    exit 1
  fi
  recreated=$((recreated + 1))
  say "$name is $state: asking for it again ($recreated of $recreations)"
  delete
  create
}

# One look every --poll seconds until the training is done.
resume() {
  if "$dry_run"; then
    say "when the request is SUSPENDED or FAILED (preempted), delete it and ask again:"
    delete
    create
    say "when it is ACTIVE and nothing runs, install and start:"
    install
    start
    return
  fi
  local last='' refused=0
  recreated=0
  while true; do
    request_state
    if [[ "$state" != "$last" ]]; then say "$(date -u +%H:%M:%S) $name is $state"; fi
    last=$state
    case "$state" in
      ACTIVE)
        refused=0
        tend
        ;;
      FAILED)
        # Never got TPUs: a wrong type, zone or quota fails again and again.
        refused=$((refused + 1))
        if ((refused == 3)); then
          say "error: $name failed three times without becoming ACTIVE: the zone has no such TPUs, the quota is too" \
            "small, or --valid-for is too short. This tells which: $(quoted "${resources[@]}" describe "$name" \
              "--project=$project" "--zone=$zone")"
          exit 1
        fi
        recreate
        ;;
      SUSPENDED) recreate ;;
      MISSING) create ;;
    esac
    sleep "$poll"
  done
}
