#!/usr/bin/env bash
# Prints what the training on this worker came to: hilight-state: absent | running | dead | done | failed CODE.
set -euo pipefail
home=$HOME/hilight
state=absent
if [[ -f "$home/loop.state" ]]; then
  state=$(<"$home/loop.state")
  case "$state" in
    done | failed*) ;;
    *) if flock -n "$home/loop.lock" true; then state=dead; else state=running; fi ;;
  esac
fi
echo "hilight-state: $state"
