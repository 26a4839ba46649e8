from __future__ import annotations

from dataclasses import fields

import pytest

from medclip.evaluation.bootstrap import Metric
from medclip.evaluation.protocol import PROTOCOLS, load_protocol, sources_of
from medclip.inference.prompts import load_prompts
from medclip.runs.settings import EvaluateConfig
from medclip.utils.plugins import plugin_names

NAMES = sorted(path.stem for path in PROTOCOLS.glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_protocols_name_settings_and_sources_that_there_are(name: str) -> None:
    protocol = load_protocol(name)
    known = {field.name for field in fields(EvaluateConfig)}
    assert set(protocol.settings) <= known
    assert all(set(entry.get("settings", {})) <= known for entry in protocol.test_sets.values())
    sources = set(plugin_names("sources"))
    assert set(protocol.test_sets) | {entry.test_set for entry in protocol.published} <= sources
    assert all(0 < entry.value < 1 for entry in protocol.published)
    assert protocol.differences
    assert protocol.quoted


def test_a_protocol_fixes_settings_and_tells_departures() -> None:
    protocol = load_protocol("medclip-2022")
    config, departures = protocol.apply(
        EvaluateConfig(on="rsna=/data/rsna", prompts="chexpert14,constants.py"), EvaluateConfig()
    )
    assert not departures
    assert (config.ensemble, config.prompt_draws, config.prompts_per_draw) == ("logits", 5, 10)
    assert config.source_options == {"rsna": {"test": "medclip"}}
    assert config.classes == ["No Finding", "Pneumonia"]
    odd = EvaluateConfig(on="chexpert-5x200", ensemble="max", source_options={"chexpert-5x200": {"definition": "mgca"}})
    config, departures = protocol.apply(odd, EvaluateConfig())
    assert config.ensemble == "max"
    assert len(departures) == 3  # the ensemble, the definition, the prompts
    assert any("definition mgca" in text for text in departures)


def test_what_is_given_wins_although_it_is_the_usual() -> None:
    protocol = load_protocol("chexzero")
    config, departures = protocol.apply(EvaluateConfig(on="chexpert"), EvaluateConfig(), given={"prompts"})
    assert config.prompts == "chexpert14"
    assert departures == ["prompts is chexpert14, the protocol's is chexzero"]
    assert protocol.apply(EvaluateConfig(on="chexpert"), EvaluateConfig())[0].prompts == "chexzero"


def test_several_test_sets_at_once_are_compared_with_nothing() -> None:
    protocol = load_protocol("medclip-2022")
    _, departures = protocol.apply(EvaluateConfig(on="chexpert-5x200,covid", prompts="own.yaml"), EvaluateConfig())
    assert any("several test sets" in text for text in departures)
    assert not protocol.beside(["chexpert-5x200", "covid"], {"draws/accuracy": Metric(0.5)})


def test_published_numbers_stand_beside_ours_on_the_same_test_set() -> None:
    protocol = load_protocol("medclip-2022")
    beside = protocol.beside(["chexpert-5x200"], {"draws/accuracy": Metric(0.5), "auroc/mean": Metric(0.9)})
    assert {(p.model, ours) for p, ours in beside} >= {("MedCLIP-ViT, ensemble", 0.5)}
    assert not protocol.beside(["phantom"], {"draws/accuracy": Metric(0.5)})


def test_chexzero_asks_with_one_prompt_a_side() -> None:
    for name, prompts in load_prompts(load_protocol("chexzero").settings["prompts"]).items():
        assert (prompts.positive, prompts.negative) == ((name.lower(),), (f"no {name.lower()}",))


def test_an_unknown_protocol_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="Did you mean 'gloria'"):
        load_protocol("glorya")


def test_names_of_sources() -> None:
    assert sources_of("nih=/data/CXR8, rsna") == ["nih", "rsna"]
