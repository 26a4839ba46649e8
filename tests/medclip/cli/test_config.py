from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from labelers.errors import UserError
from medclip.cli import classify, convert, curve, evaluate, export, label, prepare, search, train
from medclip.cli.config import read_config
from medclip.data.transforms import augmentation_from
from medclip.runs.settings import EvaluateConfig, TrainConfig
from medclip.utils.plugins import check_options, load_plugin

ROOT = Path(__file__).parents[3]
COMMANDS = {"medclip-classify": classify, "medclip-convert": convert, "medclip-curve": curve,
            "medclip-evaluate": evaluate, "medclip-export": export, "medclip-label": label,
            "medclip-prepare": prepare, "medclip-search": search, "medclip-train": train}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_help_teaches(name: str, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        COMMANDS[name].run(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert f"usage: {name}" in text


def test_help_and_import_do_not_load_torch() -> None:
    code = (
        "import sys, medclip, medclip.cli.train as t\n"
        "try: t.run(['--help'])\nexcept SystemExit: assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_mistakes_are_told_before_torch_is_imported(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "bad.yaml").write_text("A: text")
    commands = {
        "classify": ["nowhere", "x.png"], "evaluate": ["nowhere", "--on", "phantom"], "export": ["nowhere"],
        "convert": ["nowhere.zip"], "search": ["nowhere", "--index", "i"], "label": ["nowhere.csv"],
        "train": ["--images", "nih=nowhere"], "prepare": ["--images", "nih=nowhere"],
        "audit": ["nowhere", "--on", "nih"],
    }  # fmt: skip
    lines = ["import sys, importlib", f"commands = {commands!r}", f"folder = {str(tmp_path)!r}",
             "commands['classify '] = [folder, 'x.png', '--prompts', folder + '/bad.yaml']",
             "commands['train '] = ['--images', 'phantom', '--text', 'nobody/nothing']",
             "for name, words in commands.items():",
             "    try: importlib.import_module(f'medclip.cli.{name.strip()}').run(words)",
             "    except (ValueError, OSError) as error: print(name, str(error).splitlines()[0][:60])",
             "    else: print(name, 'did not fail')",
             "    if 'torch' in sys.modules: print(name, 'imported torch'); break"]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert "did not fail" not in done.stdout
    assert "imported torch" not in done.stdout
    assert len(done.stdout.splitlines()) == len(commands) + 2


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_names_the_nearest(name: str, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        COMMANDS[name].run(["--confi", "2"])
    assert stopped.value.code == 2
    assert "unknown option --confi. Did you mean --config?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--uncertain", "maybe"], "--uncertain maybe: choose from zero, one, ignore, soft."),
        (["--augment_on=gpu"], "--augment-on gpu: choose from cpu, device."),
        (["--seed"], "--seed needs a value"),
        (["phantom"], "unexpected argument 'phantom'"),
        (["--config", "nowhere.yaml"], "--config nowhere.yaml: there is no such file; expected a YAML file"),
        (["--config"], "--config needs a value"),
        (["--steps", "many"], "error: --steps many: expected a whole number.\n"),
        (["--epochs", "many"], "error: --epochs many: expected a number.\n"),
        (["--source-options", "{csv: [}"], "--source-options {csv: [}: this is no YAML (expected the node content"),
        (["--observations", "[Edema"], "--observations [Edema: this is no YAML (expected ',' or ']'"),
    ],
)
def test_a_wrong_value_says_what_is_expected(arguments: list[str], message: str, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        read_config(TrainConfig, arguments, prog="medclip-train", description="")
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is a folder; expected a YAML file of settings. Did you mean the config.yaml in it?"),
        (b"", "is empty; expected settings, one 'name: value' a line."),
        (b"# nothing but a comment\n", "is empty; expected settings"),
        (b"steps: 5\n\timages: [", "is no YAML (line 2: found character"),
        (b"just some words", "holds str, not settings; expected one 'name: value' a line."),
        (b"- images\n- texts", "holds list, not settings"),
        ("# F\xfcr Aufnahmen\n".encode("latin-1"), "is not UTF-8: byte 3 cannot be read. Save it as UTF-8."),
        (bytes(range(256)), "is not UTF-8"),
    ],
)
@pytest.mark.parametrize("name", ["medclip-train", "medclip-evaluate"])
def test_a_file_that_holds_no_settings_is_refused_in_one_line(name, content, message, tmp_path, capsys) -> None:
    path = tmp_path / "run.yaml"
    if content is None:
        path.mkdir()
        (path / "config.yaml").write_text("steps: 5")
    else:
        path.write_bytes(content)
    with pytest.raises(SystemExit) as stopped:
        COMMANDS[name].run(["--config", str(path)])
    assert stopped.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert f"--config {path} {message}" in line


def test_a_wrong_value_of_an_option_that_may_be_blank_is_told_as_plainly(capsys) -> None:
    with pytest.raises(SystemExit):
        evaluate.run(["runs/mine", "--split-seed", "first"])
    assert capsys.readouterr().err == "error: --split-seed first: expected a whole number.\n"


def test_choices_hold_in_python_and_in_yaml_too(tmp_path, capsys) -> None:
    with pytest.raises(UserError, match=r"--uncertain sof: choose from .* Did you mean 'soft'"):
        TrainConfig(uncertain="sof")
    (tmp_path / "c.yaml").write_text("negative: never\n")
    with pytest.raises(SystemExit):
        read_config(TrainConfig, ["--config", str(tmp_path / "c.yaml")], prog="medclip-train", description="")
    assert "--negative never: choose from absent, opposite." in capsys.readouterr().err


def test_a_text_stays_a_text(tmp_path) -> None:
    """What is quoted in YAML is no number, no boolean and no separator, on the command line and in a file."""
    options = {"csv": {"separator": ",", "labels_in": "no", "columns": {"patient_id": "007", "text": "1e3"}}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"source_options": options}))
    flags = ["--source-options", json.dumps(options)]
    for argv in (flags, ["--config", str(tmp_path / "c.yaml")], ["--source-options.csv", json.dumps(options["csv"])]):
        assert read_config(TrainConfig, argv, prog="x", description="").source_options == options
    one = ["--source-options.csv.separator", "|", "--objective-options.target_temperature", "0.2"]
    config = read_config(TrainConfig, one, prog="x", description="")
    assert (config.source_options, config.objective_options) == (
        {"csv": {"separator": "|"}}, {"target_temperature": 0.2},
    )  # fmt: skip


def test_dashes_underscores_and_lists_are_taken_either_way() -> None:
    one = ["--learning_rate", "0.1", "--observations", "Edema,Lung Lesion", "--overwrite"]
    two = ["--learning-rate=0.1", "--observations", "[Edema, Lung Lesion]", "--overwrite", "true"]
    first, second = (read_config(TrainConfig, argv, prog="x", description="") for argv in (one, two))
    assert first == second
    assert (first.learning_rate, first.observations, first.overwrite) == (0.1, ["Edema", "Lung Lesion"], True)


settings = st.fixed_dictionaries(
    {
        "images": st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=8),
        "source_options": st.dictionaries(
            st.text(st.characters(categories=["L"], max_codepoint=122), min_size=1, max_size=4),
            st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8", exclude_categories=["C"])),
            max_size=3,
        ),
        "observations": st.lists(st.sampled_from(["Edema", "Lung Lesion", "no", "1e3"]), max_size=3),
        "learning_rate": st.floats(1e-9, 10.0),
        "uncertain": st.sampled_from(["zero", "one", "ignore", "soft"]),
        "seed": st.integers(0, 2**31),
        "precision": st.none() | st.sampled_from(["32-true", "bf16-mixed"]),
    }
)


@hypothesis.settings(max_examples=10)
@given(settings)
def test_what_is_written_is_read_back(values: dict[str, object]) -> None:
    config = TrainConfig(**values)
    with TemporaryDirectory() as folder:
        config.save(Path(folder) / "c.yaml")
        assert TrainConfig.load(Path(folder) / "c.yaml") == config
        assert read_config(TrainConfig, ["--config", f"{folder}/c.yaml"], prog="x", description="") == config


@pytest.mark.parametrize("argv", [["--loggers", ""], ["--loggers="]])
def test_an_empty_text_is_a_value(argv) -> None:
    assert read_config(TrainConfig, argv, prog="x", description="").loggers == ""


def test_an_empty_mapping_and_an_empty_list_replace_what_a_file_says(tmp_path) -> None:
    (tmp_path / "c.yaml").write_text("objective_options: {similarity: claims}\nobservations: [Edema]\n")
    argv = ["--config", str(tmp_path / "c.yaml"), "--objective-options", "{}", "--observations", "[]"]
    config = read_config(TrainConfig, argv, prog="x", description="")
    assert (config.objective_options, config.observations) == ({}, [])


def test_an_unknown_key_names_the_nearest(tmp_path, capsys) -> None:
    (tmp_path / "c.yaml").write_text("learning_rat: 1\n")
    with pytest.raises(SystemExit):
        train.run(["--config", str(tmp_path / "c.yaml")])
    assert "unknown key 'learning_rat'. Did you mean 'learning_rate'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "path", sorted([*ROOT.glob("configs/*.yaml"), *ROOT.glob("benchmarks/phantom-*.yaml")]), ids=str
)
def test_every_configuration_is_valid(path: Path) -> None:
    config = read_config(TrainConfig, ["--config", str(path)], prog="medclip-train", description="")
    kind = load_plugin("objectives", config.objective)
    check_options("objective", config.objective, kind, config.objective_options)
    kind(**config.objective_options)
    augmentation_from(config.augmentation)


def test_names_are_written_one_way_or_the_other(tmp_path) -> None:
    (tmp_path / "c.yaml").write_text("evaluators: [zero-shot, flip]\nobservations: Edema,Fracture\n")
    for words in (["--config", str(tmp_path / "c.yaml")],
                  ["--evaluators", "[zero-shot, flip]", "--observations", "Edema,Fracture"],
                  ["--evaluators", "zero-shot,flip", "--observations", "[Edema, Fracture]"]):  # fmt: skip
        config = read_config(EvaluateConfig, words, prog="medclip-evaluate", description="")
        assert (config.evaluators, config.observations) == ("zero-shot,flip", ["Edema", "Fracture"])
