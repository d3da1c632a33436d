#!/usr/bin/env bash
# Trains on Cloud TPU VMs, one or several slices, through queued resources.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=launch/command.sh
source "$here/command.sh"
# shellcheck source=launch/queued_resource.sh
source "$here/queued_resource.sh"

usage() {
  cat <<'HELP'
usage: launch/tpu.sh VERB [OPTIONS] [-- ARGUMENTS OF THE TRAINING]

verbs, in the order they are used
  create     ask for the TPUs; they cost money from the moment they are ACTIVE
  resume     wait until they are there, install, start, watch; a preempted pod is asked for again and goes on
  install    install the package and its own Python on every worker (resume does this)
  start      start training in the background on every worker (resume does this)
  status     the state of the request, and of the training on every worker
  logs       follow the training's log of one worker
  fetch      copy the run from the bucket to runs/
  delete     give the TPUs back: from here they cost nothing

options, each with the environment variable that sets it as well
  --project ID           HILIGHT_PROJECT      Google Cloud project
  --zone ZONE            HILIGHT_ZONE         e.g. us-west4-a
  --name NAME            HILIGHT_NAME         of the queued resource and its TPUs
  --accelerator TYPE     HILIGHT_ACCELERATOR  v5litepod-256, v5p-128, v4-128, v6e-256 ...
  --runtime VERSION      HILIGHT_RUNTIME      default: the one for the accelerator
  --slices N             HILIGHT_SLICES       default 1
  --tier TIER            HILIGHT_TIER         on-demand (default), spot, reserved or best-effort
  --valid-for DURATION   HILIGHT_VALID_FOR    give up when there is no capacity within e.g. 6h; default: wait for ever
  --create-flag FLAG                          passed on to gcloud's create, e.g. --create-flag=--internal-ips; repeatable
  --source SOURCE        HILIGHT_SOURCE       a git URL, or a local file of: git archive --format=tar.gz -o FILE HEAD
  --ref REF              HILIGHT_REF          branch, tag or commit of a git URL
  --bucket NAME          HILIGHT_BUCKET       Cloud Storage bucket of data/ and runs/; or
  --nfs HOST:/SHARE      HILIGHT_NFS          a Filestore share instead of a bucket
  --run NAME             HILIGHT_RUN          the working directory is runs/NAME in the bucket or share
  --config FILE:PRESET   HILIGHT_CONFIG       e.g. configs/encoder.py:b16
  --films PLACE          HILIGHT_FILMS        index these films of the bucket or share instead of training, into runs/NAME
  --restarts N           HILIGHT_RESTARTS     restarts after a crash before a worker gives up, default 10
  --recreations N        HILIGHT_RECREATIONS  times that resume asks for a lost pod again, default 100
  --poll SECONDS         HILIGHT_POLL         between two looks of resume, default 60
  --node N, --worker N                        which slice and worker logs shows, default 0 and 0
  --dry-run              print what would run, and run nothing
HELP
}

project=${HILIGHT_PROJECT:-} zone=${HILIGHT_ZONE:-} name=${HILIGHT_NAME:-} accelerator=${HILIGHT_ACCELERATOR:-}
runtime=${HILIGHT_RUNTIME:-} slices=${HILIGHT_SLICES:-1} tier=${HILIGHT_TIER:-on-demand}
valid_for=${HILIGHT_VALID_FOR:-} source=${HILIGHT_SOURCE:-} ref=${HILIGHT_REF:-} bucket=${HILIGHT_BUCKET:-}
nfs=${HILIGHT_NFS:-} run=${HILIGHT_RUN:-} config=${HILIGHT_CONFIG:-} restarts=${HILIGHT_RESTARTS:-10}
films=${HILIGHT_FILMS:-} recreations=${HILIGHT_RECREATIONS:-100} poll=${HILIGHT_POLL:-60} node=0 worker=0
create_flags=() train_flags=()

verb=${1:-}
case "$verb" in
  create | install | start | logs | status | resume | fetch | delete) shift ;;
  -h | --help | help)
    usage
    exit 0
    ;;
  '') refuse "a verb is missing: create, resume, install, start, status, logs, fetch or delete; --help explains them." ;;
  *) refuse "'$verb' is no verb: use create, resume, install, start, status, logs, fetch or delete." ;;
esac
while (($#)); do
  case "$1" in
    --) train_flags=("${@:2}") && break ;;
    --dry-run) dry_run=true && shift && continue ;;
    -h | --help) usage && exit 0 ;;
    --create-flag=*) create_flags+=("${1#*=}") && shift && continue ;;
    --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
    *) option_value "$1" $# ;;
  esac
  case "$1" in
    --project | --zone | --name | --accelerator | --runtime | --slices | --tier | --source | --ref | --bucket) ;;
    --nfs | --run | --config | --films | --restarts | --recreations | --poll | --node | --worker | --valid-for) ;;
    *) refuse "'$1' is no option of launch/tpu.sh; --help lists them, and what training takes goes after --." ;;
  esac
  key=${1#--}
  printf -v "${key//-/_}" '%s' "$2"
  shift 2
done

require project "the Google Cloud project"
[[ "$verb" == fetch ]] || require zone "the zone"
[[ "$verb" == fetch ]] || require name "the name of the queued resource"
need_number slices --slices 1
need_number restarts --restarts 0
need_number recreations --recreations 0
need_number poll --poll 0
case "$verb" in create | resume) check_request ;; esac
case "$verb" in install | resume) check_source ;; esac
case "$verb" in install | start | resume | fetch) check_storage ;; esac
case "$verb" in start | resume | fetch) require run "the name of the run" ;; esac
case "$verb" in start | resume) [[ -n "$films" ]] || require config "the configuration" ;; esac
if [[ -n "$run" && ! "$run" =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]]; then
  refuse "--run is '$run', but a run's name has letters, digits, dots, hyphens and underscores only."
fi
need_program gcloud "install the Google Cloud CLI and sign in with: gcloud auth login"

case "$verb" in
  create) create ;;
  install) install ;;
  start) start ;;
  status) show_status ;;
  logs) follow_logs ;;
  fetch) fetch ;;
  delete) delete ;;
  resume)
    # shellcheck source=launch/resume.sh
    source "$here/resume.sh"
    resume
    ;;
esac
