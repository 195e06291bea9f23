from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevit.errors import UsageError
from edgevit.quant.config import (
    LayerOverride,
    QuantConfig,
    make_config,
    parse_config,
    print_config,
    read_config,
    write_config,
)
from edgevit.quant.observers import OBSERVERS
from tests.quant.graphs import vit

overrides = st.builds(
    LayerOverride,
    match=st.text("abc.*?", min_size=1, max_size=8),
    op=st.sampled_from([None, "add", "linear"]),
    observer=st.sampled_from([None, *OBSERVERS]),
    weight_bits=st.one_of(st.none(), st.integers(2, 8)),
    equalize=st.sampled_from([None, True, False]),
)
configs = st.builds(
    QuantConfig,
    activation_bits=st.integers(2, 8),
    percentile=st.floats(50.5, 100),
    weights=st.sampled_from(["per-tensor", "per-channel", "auto"]),
    sequential=st.booleans(),
    layers=st.lists(overrides, max_size=3).map(tuple),
)


@given(configs)
def test_what_is_printed_reads_back(config: QuantConfig) -> None:
    assert parse_config(print_config(config)) == config


def test_a_file_round_trip_leaves_one_file(tmp_path: Path) -> None:
    config = QuantConfig(observer="mse", layers=(LayerOverride(match="blocks.*", op="add", observer="percentile"),))
    write_config(config, tmp_path / "quant.toml")
    assert read_config(tmp_path / "quant.toml") == config
    assert [path.name for path in tmp_path.iterdir()] == ["quant.toml"]


def test_every_key_is_explained() -> None:
    lines = print_config(QuantConfig()).splitlines()
    for name in QuantConfig.model_fields:
        if name != "layers":
            place = next(i for i, line in enumerate(lines) if line.startswith(f"{name} ="))
            assert len(lines[place - 1]) > 20
            assert lines[place - 1].startswith("# ")


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("obsever = 'mse'", "unknown key 'obsever'", "observer"),
        ("observer = 'msee'", "observer = 'msee'", "'mse'"),
        ("weight_bits = 9", "weight_bits = 9", "8"),
        ("percentile = 10.0", "percentile = 10.0", "50"),
        ("[[layers]]\nmatch = 'a'\nbitts = 4", "unknown key 'layers.0.bitts'", "bits"),
        ("[[layers]]\nobserver = 'mse'", "layers.0.match", "required"),
        ("weights = ", "is no TOML", "--save-config"),
        ("sequential = 'perhaps'", "sequential = 'perhaps'", "bool"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_a_remedy(text: str, what: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_config(text, "my.toml")
    assert caught.value.where == "my.toml"
    assert what in caught.value.what
    assert hint in caught.value.hint


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_config(tmp_path / "missing.toml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        read_config(tmp_path / "binary")
    (tmp_path / "huge").write_bytes(b"#" * (2 << 20))
    with pytest.raises(UsageError, match="larger than"):
        read_config(tmp_path / "huge")
    with pytest.raises(UsageError, match="cannot be written"):
        write_config(QuantConfig(), tmp_path / "nowhere" / "quant.toml")


def test_later_overrides_win_key_by_key() -> None:
    config = make_config(
        {
            "observer": "percentile",
            "layers": [
                {"match": "blocks.*", "observer": "mse", "weight_bits": 4},
                {"match": "blocks.1.*", "weight_bits": 6},
                {"match": "*", "op": "add", "observer": "entropy"},
            ],
        }
    )
    first, second = config.layer("blocks.0.mlp.fc1", "linear"), config.layer("blocks.1.mlp.fc1", "linear")
    assert (first.observer, first.weight_bits) == ("mse", 4)
    assert (second.observer, second.weight_bits) == ("mse", 6)
    assert config.layer("head", "linear").observer == "percentile"
    assert config.layer("blocks.0", "add").observer == "entropy"
    assert config.layer("blocks.0").observer == "mse"


def test_an_override_that_matches_nothing_names_what_is_near() -> None:
    config = QuantConfig(layers=(LayerOverride(match="blocks.0.mlp.fc3", weight_bits=4),))
    with pytest.raises(UsageError, match=r"blocks\.0\.mlp\.fc3") as caught:
        config.check_layers(vit())
    assert "blocks.0.mlp.fc" in caught.value.hint
    QuantConfig(layers=(LayerOverride(match="blocks.*.mlp.fc?"),)).check_layers(vit())
    wrong_op = QuantConfig(layers=(LayerOverride(match="blocks.0.mlp.fc1", op="add"),))
    with pytest.raises(UsageError):
        wrong_op.check_layers(vit())


def test_sums_have_an_observer_of_their_own_unless_an_override_says_otherwise() -> None:
    sums = {op.loc: op for op in vit().ops if op.NAME == "add"}
    config = QuantConfig(
        observer="percentile",
        residual_observer="entropy",
        layers=(
            LayerOverride(match="blocks.0.add1", observer="mse"),
            LayerOverride(match="blocks.0.add2", observer="mse", residual_observer="minmax"),
        ),
    )
    chosen = {loc: config.layer(loc, "add").observer_of(op) for loc, op in sums.items()}
    assert chosen["blocks.1.add1"] == "entropy"
    assert chosen["blocks.0.add1"] == "mse"
    assert chosen["blocks.0.add2"] == "minmax"
    other = next(op for op in vit().ops if op.loc == "blocks.0.mlp.fc1")
    assert config.layer("blocks.0.mlp.fc1").observer_of(other) == "percentile"
