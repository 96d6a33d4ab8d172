"""Command lines with fields."""

import pytest

from rdbench.codecs.programs.templates import field_names, fill, fill_known


def test_fields_become_values_and_stay_one_argument() -> None:
    values = {"input": "a b.yuv", "qp": 22}
    assert fill(["-i", "{input}", "qp={qp}:{{x}}"], values) == ["-i", "a b.yuv", "qp=22:{x}"]
    assert field_names("{input}/{{no}}/{qp}{qp}") == {"input", "qp"}
    with pytest.raises(KeyError):
        fill(["{none}"], values)


def test_a_template_is_filled_only_where_all_is_known() -> None:
    assert fill_known("{here}/tool", {"here": "/opt"}) == "/opt/tool"
    assert fill_known("{here}/{input}", {"here": "/opt"}) is None
    assert fill_known("plain", {}) == "plain"
