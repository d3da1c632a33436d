#!/usr/bin/env bash
# Mounts the place of data/ and runs/ on ~/hilight/share: mount.sh bucket NAME | nfs HOST:/SHARE. Mounted, it is left alone.
set -euo pipefail
kind=$1 place=$2
share=$HOME/hilight/share
mkdir -p "$share"
if mountpoint -q "$share"; then
  exit 0
fi
apt=(sudo apt-get -q -y -o "DPkg::Lock::Timeout=600")

case "$kind" in
  bucket)
    if ! command -v gcsfuse >/dev/null; then
      codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
      key=/usr/share/keyrings/cloud.google.asc
      curl -fsSL https://packages.cloud.google.com/apt/doc/apt-key.gpg | sudo tee "$key" >/dev/null
      echo "deb [signed-by=$key] https://packages.cloud.google.com/apt gcsfuse-$codename main" |
        sudo tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null
      "${apt[@]}" update
      "${apt[@]}" install gcsfuse
    fi
    # A checkpoint is complete when its directory is renamed; and hosts must see each other's files at once.
    gcsfuse --implicit-dirs --rename-dir-limit=1000000 --metadata-cache-ttl-secs=0 \
      --metadata-cache-negative-ttl-secs=0 "$place" "$share"
    ;;
  nfs)
    if ! command -v mount.nfs >/dev/null; then
      "${apt[@]}" update
      "${apt[@]}" install nfs-common
    fi
    sudo mount -t nfs -o hard,noac "$place" "$share"
    sudo install -d -m 1777 "$share/runs" "$share/data"  # A new share belongs to root.
    ;;
  *)
    echo "error: the storage '$kind' is neither bucket nor nfs." >&2
    exit 2
    ;;
esac
mkdir -p "$share/runs" "$share/data"
