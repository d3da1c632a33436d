#!/usr/bin/env bash
# Trains on TPU slices of a GKE cluster, as a JobSet.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=launch/command.sh
source "$here/../command.sh"

usage() {
  cat <<'HELP'
usage: launch/gke/jobset.sh VERB [OPTIONS] [-- ARGUMENTS OF THE TRAINING]

verbs
  image      build the image and push it
  apply      start training; --dry-run prints the manifest, and kubectl apply -f - takes it
  status     the JobSet and its pods
  logs       follow the log of the first worker
  delete     stop training; the node pools, which cost money, are another command (launch/README.md)

options, each with the environment variable that sets it as well
  --name NAME            HILIGHT_NAME             of the JobSet, and of its working directory runs/NAME in the bucket
  --image IMAGE          HILIGHT_IMAGE            REGION-docker.pkg.dev/PROJECT/REPOSITORY/hilight:TAG
  --accelerator KIND     HILIGHT_ACCELERATOR      v4, v5e, v5p or v6e
  --topology GRID        HILIGHT_TOPOLOGY         of one slice: 16x16, 4x4x4 ...
  --slices N             HILIGHT_SLICES           default 1
  --chips-per-host N     HILIGHT_CHIPS_PER_HOST   default 4, fewer when the topology has fewer
  --bucket NAME          HILIGHT_BUCKET           Cloud Storage bucket of data/ and runs/
  --config FILE:PRESET   HILIGHT_CONFIG           e.g. configs/encoder.py:b16
  --service-account NAME HILIGHT_SERVICE_ACCOUNT  Kubernetes account that may write to the bucket, default: default
  --namespace NAME       HILIGHT_NAMESPACE        default: default
  --restarts N           HILIGHT_RESTARTS         restarts after a crash, default 10; interruptions do not count
  --grace SECONDS        HILIGHT_GRACE            to save after SIGTERM, default 300
  --spot                                          Spot nodes
  --dry-run              print what would run or be applied, and do nothing
HELP
}

name=${HILIGHT_NAME:-} image=${HILIGHT_IMAGE:-} accelerator=${HILIGHT_ACCELERATOR:-} topology=${HILIGHT_TOPOLOGY:-}
slices=${HILIGHT_SLICES:-1} chips_per_host=${HILIGHT_CHIPS_PER_HOST:-} bucket=${HILIGHT_BUCKET:-}
config=${HILIGHT_CONFIG:-} service_account=${HILIGHT_SERVICE_ACCOUNT:-default} namespace=${HILIGHT_NAMESPACE:-default}
restarts=${HILIGHT_RESTARTS:-10} grace=${HILIGHT_GRACE:-300} spot=false train_flags=()
verb=${1:-}
case "$verb" in
  image | apply | status | logs | delete) shift ;;
  -h | --help | help) usage && exit 0 ;;
  *) refuse "'$verb' is no verb: use image, apply, status, logs or delete." ;;
esac
while (($#)); do
  case "$1" in
    --) train_flags=("${@:2}") && break ;;
    --dry-run) dry_run=true && shift && continue ;;
    --spot) spot=true && shift && continue ;;
    -h | --help) usage && exit 0 ;;
    --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
    *) option_value "$1" $# ;;
  esac
  case "$1" in
    --name | --image | --accelerator | --topology | --slices | --chips-per-host | --bucket | --config) ;;
    --service-account | --namespace | --restarts | --grace) ;;
    *) refuse "'$1' is no option of launch/gke/jobset.sh; --help lists them, and what training takes goes after --." ;;
  esac
  key=${1#--}
  printf -v "${key//-/_}" '%s' "$2"
  shift 2
done

# One word as a JSON string, which is a YAML string too.
json_string() {
  local text=${1//\\/\\\\}
  printf '"%s"' "${text//\"/\\\"}"
}

# check VARIABLE FLAG PATTERN "what it must be": names of Kubernetes and the cloud, so nothing needs YAML's quotes.
check() {
  if ! [[ "${!1}" =~ $3 ]]; then refuse "$2 is '${!1}', but must be $4."; fi
}

render() {
  require image "the image"
  require accelerator "the kind of TPU (v4, v5e, v5p or v6e)"
  require topology "the topology of a slice"
  require bucket "the bucket of data and runs"
  require config "the configuration"
  bucket=${bucket#gs://}
  local label='^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'
  check service_account --service-account "$label" "lower-case letters, digits and hyphens"
  check bucket --bucket '^[a-z0-9][a-z0-9._-]*$' "the name of a bucket without a path"
  check image --image '^[A-Za-z0-9][A-Za-z0-9._/:@-]*$' "the name of an image"
  check topology --topology '^[1-9][0-9]{0,2}x[1-9][0-9]{0,2}(x[1-9][0-9]{0,2})?$' "a grid such as 16x16 or 4x4x4"
  need_number slices --slices 1
  need_number restarts --restarts 0
  need_number grace --grace 1
  local kind
  case "$accelerator" in
    v4) kind=tpu-v4-podslice ;;
    v5e) kind=tpu-v5-lite-podslice ;;
    v5p) kind=tpu-v5p-slice ;;
    v6e) kind=tpu-v6e-slice ;;
    *) refuse "--accelerator is '$accelerator', but must be v4, v5e, v5p or v6e." ;;
  esac
  local total=$((${topology//x/*}))
  if [[ -z "$chips_per_host" ]]; then chips_per_host=$((total < 4 ? total : 4)); fi
  need_number chips_per_host --chips-per-host 1
  if ((total % chips_per_host)); then
    refuse "--chips-per-host is $chips_per_host, which does not divide the $total chips of $topology."
  fi
  local word words=''
  for word in --config "$config" --workdir "/share/runs/$name" --data_dir /share/data "${train_flags[@]}"; do
    if [[ "$word" == *[[:cntrl:]]* ]]; then
      refuse "the argument $(quoted "$word") has a line break or another control character."
    fi
    words+="${words:+, }$(json_string "$word")"
  done
  local spot_selector='# Any node of that kind, Spot or not.'
  if "$spot"; then spot_selector='cloud.google.com/gke-spot: "true"'; fi
  local text pair
  text=$(<"$here/jobset.yaml")
  for pair in "NAME=$name" "NAMESPACE=$namespace" "RESTARTS=$restarts" "SLICES=$slices" "SPOT=$spot_selector" \
    "HOSTS=$((total / chips_per_host))" "CHIPS=$chips_per_host" "SERVICE_ACCOUNT=$service_account" "GRACE=$grace" \
    "ACCELERATOR=$kind" "TOPOLOGY=$topology" "BUCKET=$bucket" "IMAGE=$image" "ARGS=[$words]"; do
    text=${text//"@${pair%%=*}@"/"${pair#*=}"}
  done
  printf '%s\n' "$text"
}

if [[ "$verb" == image ]]; then
  require image "the image"
  need_program docker "install Docker, or let Cloud Build build launch/gke/Dockerfile"
  root=$(cd "$here/../.." && pwd)
  act docker build --platform linux/amd64 --file "$here/Dockerfile" --tag "$image" "$root"
  act docker push "$image"
  exit
fi
require name "the name of the JobSet"
check name --name '^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$' "at most 40 lower-case letters, digits and hyphens"
check namespace --namespace '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$' "lower-case letters, digits and hyphens"
need_program kubectl "install it with: gcloud components install kubectl gke-gcloud-auth-plugin"
case "$verb" in
  apply)
    manifest=$(render)
    if "$dry_run"; then
      printf '%s\n' "$manifest"
    else
      act kubectl apply --filename - <<<"$manifest"
    fi
    ;;
  status)
    act kubectl get jobset "$name" --namespace "$namespace"
    act kubectl get pods --namespace "$namespace" --selector "jobset.sigs.k8s.io/jobset-name=$name"
    ;;
  logs)
    act kubectl logs --namespace "$namespace" --follow --container train --selector \
      "jobset.sigs.k8s.io/jobset-name=$name,jobset.sigs.k8s.io/job-index=0,batch.kubernetes.io/job-completion-index=0"
    ;;
  delete) act kubectl delete jobset "$name" --namespace "$namespace" ;;
esac
