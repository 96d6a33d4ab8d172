"""The job of a record is made again from what this machine has, and nothing that the record names is executed."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from record_folders import X265, Values, folder_of, texts

from rdbench.clips import dataset
from rdbench.codec import Clip
from rdbench.report.results import Record, read_record
from rdbench.runner.sweep import digest
from rdbench.runner.verify.findings import NotAsRecorded, NotCheckable
from rdbench.runner.verify.rebuild import Places, check_tool, find_clip, find_tool, rebuild_job
from rdbench.runner.verify.record_checks import (
    check_identity,
)

pytestmark = pytest.mark.xdist_group("verify")  # the folder is made once


def forge(values: Values, **changes: Any) -> None:
    """Changes the settings everywhere and renews the id, as somebody would who knows how records are made."""
    values["settings"].update(changes)
    values["identity"]["settings"].update(changes)
    values["id"] = digest(values["identity"])


def test_a_setting_changed_everywhere_does_not_go_with_the_name(made: Path) -> None:
    folder = folder_of(made / "bunny", X265)
    values = json.loads((folder / "record.json").read_text())
    honest = Record.model_validate(values)
    tool = find_tool(honest, Places())
    job = rebuild_job(honest, tool, find_clip(honest, Places()), Places())
    assert digest(job.identity) == honest.id
    clip = Clip(job.video_format, 4)
    assert list(check_tool(honest, tool, clip)) == []
    forge(values, preset="veryslow")
    forged = Record.model_validate(values)
    assert list(check_identity(forged, f"crf42-{forged.id}")) == []
    findings = texts(list(check_tool(forged, find_tool(forged, Places()), clip)))
    assert "settings.preset: veryslow in the record, ultrafast by the name x265[preset=ultrafast]" in findings
    other_point = honest.model_copy(update={"rate_point": "crf17"})
    assert "rate point.crf: 42 in the record, 17 at crf17" in texts(list(check_tool(other_point, tool, clip)))
    other_threads = honest.model_copy(update={"identity": {**honest.identity, "threads": 7}})
    assert "threads: " in texts(list(check_tool(other_threads, tool, clip)))
    forge(values, preset="very slow")
    with pytest.raises(NotAsRecorded, match=r"settings\.preset"):
        find_tool(Record.model_validate(values), Places())


def test_nothing_that_a_record_names_is_executed(made: Path, tmp_path: Path) -> None:
    record = read_record(folder_of(made / "bunny", X265) / "record.json")
    declared = tmp_path / "evil.toml"
    declared.write_text('summary = "evil"\n')
    for name in (str(declared), "./evil.toml", "unheard-of"):
        with pytest.raises(NotCheckable, match="there is no codec"):
            find_tool(record.model_copy(update={"codec": name}), Places())
    identity = {**record.identity, "codec": "hm", "settings": {"path": str(tmp_path)}}
    with pytest.raises(NotAsRecorded, match=r"settings\.path"):
        find_tool(record.model_copy(update={"codec": "hm", "identity": identity}), Places())
    manifest = tmp_path / "mine.toml"
    manifest.write_text("")
    elsewhere = record.model_copy(update={"dataset": str(manifest), "command": ""})
    with pytest.raises(NotCheckable, match="--dataset"):
        find_clip(elsewhere, Places())


def test_a_codec_that_cannot_run_here_is_named_with_the_remedy(made: Path) -> None:
    record = read_record(folder_of(made / "bunny", X265) / "record.json")
    identity = {**record.identity, "codec": "dcvc-dc", "settings": {}}
    missing = record.model_copy(update={"codec": "dcvc-dc", "identity": identity})
    with pytest.raises(NotCheckable, match=r"dcvc-dc cannot run here: .*path"):
        find_tool(missing, Places())


def test_a_swapped_clip_is_found(made: Path, tmp_path: Path) -> None:
    record = read_record(folder_of(made / "file", X265) / "record.json")
    here = made / "small.y4m"
    assert find_clip(record, Places()).path == str(here)  # named by the record's command
    moved, other = tmp_path / "renamed.y4m", tmp_path / "other.y4m"
    shutil.copyfile(here, moved)
    other.write_bytes(here.read_bytes()[:-1] + b"\0")
    gone = record.model_copy(update={"command": record.command.replace(str(here), str(tmp_path / "none.y4m"))})
    with pytest.raises(NotCheckable, match="--dataset"):
        find_clip(gone, Places())
    found = find_clip(gone, Places(clips=tuple(dataset.resolve(str(moved)))))
    assert found.path == str(moved)
    with pytest.raises(NotAsRecorded, match="SHA-256"):
        find_clip(gone, Places(clips=tuple(dataset.resolve(str(other)))))
    swapped = shutil.copyfile(other, tmp_path / "small.y4m")
    in_place = record.model_copy(update={"command": f"rdbench run --dataset={swapped}"})
    with pytest.raises(NotAsRecorded, match="SHA-256"):
        find_clip(in_place, Places())


def test_the_clip_of_a_dataset_is_the_one_below_the_data_root(made: Path, tmp_path: Path) -> None:
    record = read_record(folder_of(made / "file", X265) / "record.json")
    path = Path(dataset.resolve("uvg:Jockey", tmp_path)[0].path)
    claimed = record.model_copy(update={"dataset": "uvg", "sequence": "Jockey", "command": ""})
    with pytest.raises(NotCheckable, match="data-root"):
        find_clip(claimed, Places(data_root=tmp_path))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"another clip under the same name")
    with pytest.raises(NotAsRecorded, match="Jockey"):
        find_clip(claimed, Places(data_root=tmp_path))
    bunny = read_record(folder_of(made / "bunny", X265) / "record.json")
    with pytest.raises(NotAsRecorded, match="bigbuckbunny"):  # the record claims other frames than the dataset has
        find_clip(bunny.model_copy(update={"clip_sha256": record.clip_sha256}), Places())
