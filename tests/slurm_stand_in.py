"""Programs in place of SLURM's: `sbatch` keeps the submitted script and runs its tasks on this machine."""

import os
import sys
from pathlib import Path

SBATCH = '''
import os, re, subprocess, sys
from pathlib import Path

home, script = Path(os.environ["STAND_IN"]), Path(sys.argv[1]).read_text()
number = 100 + len(list(home.glob("*.sbatch")))
(home / f"{number}.sbatch").write_text(script)
array = re.search(r"--array=0-(\\d+)", script)
tasks = [f"{number}_{i}" for i in range(int(array[1]) + 1)] if array else [str(number)]
RUN = """
cd "$STAND_IN"
while true; do
  [ -e hold ] || bash {script}
  [ -e requeue-{task} ] || break
  rm requeue-{task}
done
echo "{task}|${{ENDED:-COMPLETED}}|node" >> states
"""
for task in tasks:
    parts = task.split("_")
    more = {"SLURM_ARRAY_JOB_ID": parts[0], "SLURM_ARRAY_TASK_ID": parts[1]} if array else {}
    environment = {**os.environ, "SLURM_JOB_ID": parts[0], "SLURM_NTASKS": "1", "SLURM_PROCID": "0", **more}
    command = RUN.format(script=home / f"{number}.sbatch", task=task)
    subprocess.Popen(
        ["bash", "-c", command], env=environment, start_new_session=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
print(f"Submitted batch job {number}")
'''

SRUN = """#!/bin/bash
while [[ "$1" == --* ]]; do case "$1" in --output|--error) shift 2;; *) shift;; esac; done
name=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}
echo $$ > "$STAND_IN/pid-$name"
exec "$@" >> "$STAND_IN/log-$name" 2>&1
"""
SCONTROL = '#!/bin/bash\ntouch "$STAND_IN/requeue-$2"\n'
SCANCEL = '#!/bin/bash\nfor id in "$@"; do echo "$id" >> "$STAND_IN/cancelled"; kill $(cat "$STAND_IN/pid-$id"); done\n'
SACCT = '#!/bin/bash\necho "JobID|State|NodeList"\ncat "$STAND_IN/states"\n'
SINFO = '#!/bin/bash\necho "$@" >> "$STAND_IN/sinfo"\necho "${GRES:-(null)}"\n'


def install(folder: Path) -> dict[str, str]:
    """Writes the programs; returns the variables with which a process finds them.

    `STAND_IN` names the folder with what was submitted (`100.sbatch`), process numbers and logs. A file `hold` in it
    makes tasks end without having done anything; `ENDED` is then their state, and `GRES` what nodes have.
    """
    programs, home = folder / "bin", folder / "home"
    programs.mkdir(parents=True)
    home.mkdir()
    (home / "states").touch()
    texts = {"srun": SRUN, "scontrol": SCONTROL, "scancel": SCANCEL, "sacct": SACCT, "sinfo": SINFO}
    for name, text in {**texts, "sbatch": f"#!{sys.executable}\n{SBATCH}"}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "STAND_IN": str(home)}
