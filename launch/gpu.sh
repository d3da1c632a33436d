#!/usr/bin/env bash
# Trains on the GPUs of this host, or of several hosts that each run it: installs into .venv-cuda, then trains.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=launch/command.sh
source "$here/command.sh"

usage() {
  cat <<'HELP'
usage: launch/gpu.sh [OPTIONS] [-- ARGUMENTS OF THE TRAINING]

  --config FILE:PRESET  HILIGHT_CONFIG         e.g. configs/encoder.py:b16
  --workdir DIR         HILIGHT_WORKDIR        on several hosts a directory that all of them see
  --data-dir DIR        HILIGHT_DATA_DIR       default data
  --films PLACE         HILIGHT_FILMS          index these films instead of training, into the index --workdir
  --hosts N             HILIGHT_HOSTS          hosts of the run, default 1; each runs this script, with the same options
  --host I              HILIGHT_HOST           which of them this is, from 0
  --coordinator H:PORT  HILIGHT_COORDINATOR    address of host 0 and a free port on it
  --restarts N          HILIGHT_RESTARTS       restarts after a crash, default 10
  --dry-run             print what would run, and run nothing

One process drives all GPUs of a host; CUDA_VISIBLE_DEVICES chooses among them.
HELP
}

config=${HILIGHT_CONFIG:-} workdir=${HILIGHT_WORKDIR:-} data_dir=${HILIGHT_DATA_DIR:-data} hosts=${HILIGHT_HOSTS:-1}
host=${HILIGHT_HOST:-} coordinator=${HILIGHT_COORDINATOR:-} restarts=${HILIGHT_RESTARTS:-10} films=${HILIGHT_FILMS:-} train_flags=()
while (($#)); do
  case "$1" in
    --) train_flags=("${@:2}") && break ;;
    --dry-run) dry_run=true && shift && continue ;;
    -h | --help) usage && exit 0 ;;
    --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
    *) option_value "$1" $# ;;
  esac
  case "$1" in
    --config | --workdir | --data-dir | --films | --hosts | --host | --coordinator | --restarts) ;;
    *) refuse "'$1' is no option of launch/gpu.sh; --help lists them, and what training takes goes after --." ;;
  esac
  key=${1#--}
  printf -v "${key//-/_}" '%s' "$2"
  shift 2
done

if [[ -z "$films" ]]; then require config "the configuration"; fi
require workdir "the working directory"
need_number hosts --hosts 1
need_number restarts --restarts 0
distributed=()
if ((hosts > 1)); then
  require host "the number of this host"
  need_number host --host 0
  require coordinator "the address of host 0 and a port"
  if ((host >= hosts)); then refuse "--host is $host, but $hosts hosts are numbered 0 to $((hosts - 1))."; fi
  if ! [[ "$coordinator" =~ ^[^:]+:[0-9]+$ ]]; then refuse "--coordinator is '$coordinator', but must be HOST:PORT."; fi
  distributed=("JAX_COORDINATOR_ADDRESS=$coordinator" "JAX_NUM_PROCESSES=$hosts" "JAX_PROCESS_ID=$host")
fi
need_program nvidia-smi "this host has no NVIDIA driver"

root=$(dirname "$here")
work=(-m hilight_jax.train --config "$config" --workdir "$workdir" --data_dir "$data_dir") extras=cuda
if [[ -n "$films" ]]; then work=(-m hilight_jax.index "$films" --to "$workdir") extras=cuda,archive; fi
act bash "$here/on_worker/make_venv.sh" "$root/.venv-cuda" "${root}[$extras]"
training=(env "${distributed[@]}" bash "$here/on_worker/train_loop.sh" "$restarts" "$root/.venv-cuda/bin/python"
  "${work[@]}" "${train_flags[@]}")
if "$dry_run"; then act "${training[@]}"; else exec "${training[@]}"; fi
