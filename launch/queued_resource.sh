# shellcheck shell=bash
# The verbs of tpu.sh, one function each; they read its settings. Sourced, not run.
# shellcheck disable=SC2154  # The settings are read from the command line by tpu.sh.

resources=(gcloud compute tpus queued-resources)

check_request() {
  require accelerator "the accelerator type (v5litepod-256, v5p-128, v4-128, v6e-256 ...)"
  case "$tier" in
    on-demand | spot | reserved | best-effort) ;;
    *) refuse "--tier is '$tier', but must be on-demand, spot, reserved or best-effort." ;;
  esac
  if [[ -z "$runtime" ]]; then
    case "$accelerator" in
      v5litepod-*) runtime=v2-alpha-tpuv5-lite ;;
      v5p-*) runtime=v2-alpha-tpuv5 ;;
      v6e-*) runtime=v2-alpha-tpuv6e ;;
      v4-*) runtime=tpu-ubuntu2204-base ;;
      *) refuse "no runtime version is known for the accelerator '$accelerator'; give one as --runtime." ;;
    esac
  fi
}

check_source() {
  require source "the source (a git URL or a local .tar.gz)"
  case "$source" in
    *://* | git@*) ;;
    *.tar.gz | *.tgz)
      if [[ ! -f "$source" ]]; then
        refuse "the source '$source' does not exist; make it with: git archive --format=tar.gz -o '$source' HEAD"
      elif [[ -n "$ref" ]]; then
        refuse "--ref names a commit of a git URL, but the source '$source' is a file."
      fi
      ;;
    *) refuse "the source '$source' is neither a git URL nor a .tar.gz file." ;;
  esac
}

check_storage() {
  bucket=${bucket#gs://}
  bucket=${bucket%/}
  if [[ -n "$bucket" && -n "$nfs" ]]; then
    refuse "--bucket and --nfs are both given; data and runs are in one of them."
  elif [[ -z "$bucket" && -z "$nfs" ]]; then
    refuse "the place of data and runs is missing; give --bucket (HILIGHT_BUCKET) or --nfs (HILIGHT_NFS)."
  elif [[ -n "$nfs" && "$nfs" != *:/* ]]; then
    refuse "--nfs is '$nfs', but must be HOST:/SHARE."
  elif [[ "$bucket" == */* ]]; then
    refuse "--bucket is '$bucket', but must be the name of a bucket without a path."
  fi
}

# Where data and runs are, as the words that the scripts on the workers take.
storage() {
  if [[ -n "$bucket" ]]; then printf 'bucket %q' "$bucket"; else printf 'nfs %q' "$nfs"; fi
}

create() {
  local words=("${resources[@]}" create "$name")
  if [[ "$tier" == best-effort ]]; then
    words=(gcloud alpha compute tpus queued-resources create "$name")  # The one tier that only alpha has.
  fi
  words+=("--project=$project" "--zone=$zone" "--accelerator-type=$accelerator" "--runtime-version=$runtime")
  if ((slices > 1)); then
    words+=("--node-count=$slices" "--node-prefix=$name")
  else
    words+=("--node-id=$name")
  fi
  if [[ "$tier" != on-demand ]]; then words+=("--$tier"); fi
  if [[ -n "$valid_for" ]]; then words+=("--valid-until-duration=$valid_for"); fi
  act "${words[@]}" "${create_flags[@]}"
}

# Runs a shell line on every worker of every slice.
everywhere() {
  act "${resources[@]}" ssh "$name" "--project=$project" "--zone=$zone" --node=all --worker=all "--command=$1"
}

copy_everywhere() {
  act "${resources[@]}" scp "${@:1:$#-1}" "$name:${*: -1}" "--project=$project" "--zone=$zone" --node=all --worker=all
}

install() {
  everywhere 'mkdir -p hilight/launch'
  copy_everywhere "$here"/on_worker/*.sh hilight/launch/
  local place=$source
  if [[ "$source" != *://* && "$source" != git@* ]]; then
    copy_everywhere "$source" hilight/source.tar.gz
    place=hilight/source.tar.gz
  fi
  local extras=tpu${films:+,archive}
  everywhere "bash hilight/launch/install.sh $extras $(quoted "$place" "$ref") && bash hilight/launch/mount.sh $(storage)"
}

# LanceDB writes to a bucket by itself: several hosts commit at once, which a mounted bucket does not keep apart.
place_of_index() {
  if [[ -n "$bucket" ]]; then printf 'gs://%s/runs/%s' "$bucket" "$run"; else printf 'share/runs/%s' "$run"; fi
}

start() {
  local training=(--config "$config" "${train_flags[@]}")
  if [[ -n "$films" ]]; then training=(--films "$films" --to "$(place_of_index)" "${train_flags[@]}"); fi
  everywhere "bash hilight/launch/mount.sh $(storage) && bash hilight/launch/start.sh $restarts $(quoted "$run" "${training[@]}")"
}

# A shell line: what became of the training on a worker, installed or not.
ask_state='if test -f hilight/launch/state.sh; then bash hilight/launch/state.sh; else echo hilight-state: absent; fi'

show_status() {
  local state
  state=$(act "${resources[@]}" describe "$name" "--project=$project" "--zone=$zone" '--format=value(state.state)')
  printf '%s\n' "$state"
  if "$dry_run" || [[ "$state" == ACTIVE ]]; then
    everywhere "$ask_state; tail -n 1 hilight/log/train.log || true"
  fi
}

follow_logs() {
  act "${resources[@]}" ssh "$name" "--project=$project" "--zone=$zone" "--node=$node" "--worker=$worker" \
    '--command=tail -n 100 -F hilight/log/train.log'
}

fetch() {
  if [[ -z "$bucket" ]]; then
    refuse "fetch copies from a bucket, but the run is on $nfs; mount that share and copy runs/$run."
  fi
  act mkdir -p "runs/$run"
  act gcloud storage rsync "gs://$bucket/runs/$run" "runs/$run" --recursive "--project=$project"
}

# --force deletes the TPUs first and then the request; without it a request that holds TPUs stays.
delete() {
  act "${resources[@]}" delete "$name" "--project=$project" "--zone=$zone" --force --quiet
}
