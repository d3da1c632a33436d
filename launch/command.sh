# shellcheck shell=bash
# What every launcher shares: sentences instead of traces, needed settings, and commands that --dry-run only prints.
# Sourced, not run.

dry_run=false

# A user's mistake: one sentence, exit 2.
refuse() {
  printf 'error: %s\n' "$*" >&2
  exit 2
}

say() {
  printf '%s\n' "$*" >&2
}

# require VARIABLE "what it is": ends unless it was given as a flag or in the environment, both named after it.
require() {
  local flag="--${1//_/-}" environment="HILIGHT_${1^^}"
  if [[ -z "${!1:-}" ]]; then
    refuse "$2 is missing; give it as $flag or set $environment."
  fi
}

# need_number VARIABLE FLAG LEAST: ends unless the variable is a whole number of at least LEAST.
need_number() {
  if ! [[ "${!1}" =~ ^[0-9]{1,9}$ ]] || ((10#${!1} < $3)); then
    refuse "$2 is '${!1}', but must be a whole number of at least $3."
  fi
  printf -v "$1" '%d' "$((10#${!1}))"  # Arithmetic would read 08 as an octal number.
}

# need_program NAME "where it comes from": ends unless it is installed; a dry run needs no program.
need_program() {
  if ! "$dry_run" && ! command -v "$1" >/dev/null; then
    refuse "$1 is not installed; $2."
  fi
}

# The words as one line that a shell reads back as the same words.
quoted() {
  local line
  printf -v line '%q ' "$@"
  printf '%s' "${line% }"
}

# Runs a command, or prints it under --dry-run; a failing one ends the script with a sentence.
act() {
  if "$dry_run"; then
    quoted "$@"
    printf '\n'
    return
  fi
  local code=0
  "$@" || code=$?
  if ((code)); then
    say "error: this ended with exit code $code; its own message is above: $(quoted "$@")"
    exit 1
  fi
}

# option_value FLAG COUNT: ends when the flag is the last word of the command line.
option_value() {
  if (($2 < 2)); then
    refuse "$1 needs a value after it."
  fi
}
