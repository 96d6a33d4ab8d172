#!/usr/bin/env bash
# Collects in folder $1 the wheels (Python 3.12, x86-64 Linux, about 36 MB) that a machine with torch, the usual
# scientific packages and no network lacks. $2: a Python with pip.
set -euo pipefail
to=${1:-.whl} python=${2:-python3}
root=$(cd "$(dirname "$0")/../../.." && pwd)
mkdir -p "$to"
rm -f "$to"/*.whl  # two versions of one package stop the installation
platforms=(any manylinux1_x86_64 manylinux2010_x86_64 manylinux2014_x86_64)
for minor in 17 24 26 27 28 31 34; do platforms+=("manylinux_2_${minor}_x86_64"); done
get() {
  "$python" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
    "${platforms[@]/#/--platform=}" -d "$to" "$@"
}
# The ffmpeg of imageio-ffmpeg 0.8 has 68 MB, that of 0.6 has 30 MB; a package of the machine may be too old for pydantic.
get imageio-ffmpeg==0.6.0
get -c "$root/constraints.txt" pytorch-msssim pytorch_optimizer pydantic pydantic_core annotated-types typing_extensions \
  typing-inspection constriction scikit-video platformdirs ffmpeg-python future
du -sh "$to"
