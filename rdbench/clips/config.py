"""The user's own configuration: `config.toml` in the user's configuration folder."""

import tomllib
from pathlib import Path

import platformdirs

from ..errors import UsageError


def config_path() -> Path:
    """Where the file is looked for; it need not exist."""
    return platformdirs.user_config_path("rdbench") / "config.toml"


def configured(key: str) -> str | None:
    """The string under `key`, as in `vtm = "/opt/vtm"`; None without the file or the key. Raises UsageError."""
    path = config_path()
    if not path.exists():
        return None
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8")).get(key)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error}); correct it or move it away.") from error
    if value is not None and not isinstance(value, str):
        raise UsageError(f'{key} in {path} is not a string; write {key} = "/path".')
    return value or None
