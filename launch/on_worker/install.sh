#!/usr/bin/env bash
# Installs the package with a Python of its own under ~/hilight: install.sh EXTRA SOURCE [REF].
# EXTRA is an extra of setup.py: tpu or cuda. SOURCE is a git URL or a .tar.gz. Run again it brings both up to date.
set -euo pipefail
extra=$1 source=$2 ref=${3:-}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
home=$HOME/hilight
mkdir -p "$home"

if [[ "$source" == *.tar.gz || "$source" == *.tgz ]]; then
  rm -rf "$home/source.partial"
  mkdir "$home/source.partial"
  tar -xzf "$source" -C "$home/source.partial"
  rm -rf "$home/source"
  mv "$home/source.partial" "$home/source"
else
  if [[ ! -d "$home/source/.git" ]]; then
    rm -rf "$home/source"
    git clone --quiet "$source" "$home/source"
  fi
  git -C "$home/source" fetch --quiet --tags "$source" "${ref:-HEAD}"
  git -C "$home/source" checkout --quiet --detach FETCH_HEAD
fi
if [[ ! -f "$home/source/setup.py" ]]; then
  echo "error: $source holds no setup.py at its top; make it with: git archive --format=tar.gz -o FILE HEAD" >&2
  exit 2
fi

bash "$here/make_venv.sh" "$home/venv" "$home/source[$extra]"
"$home/venv/bin/python" -c 'import hilight_jax, jax, sys; print("installed hilight_jax", hilight_jax.__version__, "with jax", jax.__version__, "on Python", sys.version.split()[0])'
