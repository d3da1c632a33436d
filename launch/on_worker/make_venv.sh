#!/usr/bin/env bash
# Makes or updates a virtual environment of Python >= 3.11 that holds a package: make_venv.sh VENV REQUIREMENT.
set -euo pipefail
venv=$1 requirement=$2
uv_version=0.13.9
python_version=3.11

if python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  if [[ ! -x "$venv/bin/python" ]]; then python3 -m venv "$venv"; fi
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade "$requirement"
  exit 0
fi

# Stock TPU VM images carry Python 3.10, which is enough to install uv, which brings a newer one.
if ! python3 -m pip --version >/dev/null 2>&1; then
  sudo apt-get -q -y -o DPkg::Lock::Timeout=600 update
  sudo apt-get -q -y -o DPkg::Lock::Timeout=600 install python3-pip
fi
python3 -m pip install --quiet --user --disable-pip-version-check "uv==$uv_version"
uv=$(python3 -c 'import site; print(site.getuserbase() + "/bin/uv")')
"$uv" python install --quiet "$python_version"
if [[ ! -x "$venv/bin/python" ]]; then "$uv" venv --quiet --python "$python_version" "$venv"; fi
"$uv" pip install --quiet --python "$venv/bin/python" "$requirement"
