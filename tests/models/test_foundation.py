from __future__ import annotations

import re
import urllib.error
from pathlib import Path

import pytest
import torch
from mace.calculators import foundations_models

from phonotune.errors import FoundationError
from phonotune.models import foundation as module
from phonotune.models import foundation_weights
from phonotune.models.catalogue import catalogue
from phonotune.models.engines import find_foundation, foundation_elements
from phonotune.models.foundation import cached_name, foundation_names, trust_file
from phonotune.models.graphs import GraphSpec
from phonotune.models.licences import accept_licence, accepted_licences
from phonotune.models.load import load_foundation
from phonotune.models.trust import trusted_files
from phonotune.schemas.foundations import FOUNDATIONS
from phonotune.schemas.training import FoundationRecord


@pytest.fixture(autouse=True)
def _forget_loaded_models():
    foundation_weights.load_weights.cache_clear()
    yield
    foundation_weights.load_weights.cache_clear()


@pytest.fixture
def model_file(tmp_path, tiny_mace) -> Path:
    path = tmp_path / "tiny.model"
    torch.save(tiny_mace, path)
    return path


@pytest.fixture
def mace_cache(tmp_path, monkeypatch) -> Path:
    """mace-torch's download folder, empty, on a machine without a network."""

    def unreachable(*_args, **_kwargs):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(foundations_models, "_urlretrieve_with_timeout", unreachable)
    folder = tmp_path / "mace"
    folder.mkdir()
    return folder


class Planted:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.write_text, (self.marker, "executed")


@pytest.mark.parametrize("name", ["mini", "teacher"])
def test_shipped_models_load_by_name(name):
    record = find_foundation(name)
    model = load_foundation(record)
    assert record.name == name
    assert len(record.sha256) == 64
    assert {"Ba", "Ti", "O", "Na", "Cl", "K", "Sb"} <= set(GraphSpec.of(model).symbols)
    assert GraphSpec.of(model).r_max == 5.0


def test_each_load_is_its_own_copy_in_the_asked_dtype():
    one, other = load_foundation("mini"), load_foundation("mini")
    with torch.no_grad():
        next(one.parameters()).zero_()
    assert not torch.equal(next(one.parameters()), next(other.parameters()))
    assert not one.training
    assert next(load_foundation("mini", "float32").parameters()).dtype == torch.float32


def test_another_version_of_a_shipped_model_is_refused():
    with pytest.raises(FoundationError, match=r"'mini'.*expected 00000"):
        load_foundation(FoundationRecord(name="mini", sha256="0" * 64))


def test_names_hold_the_default_and_all_of_mace_torch():
    assert {"mini", "teacher", "mace-mp-0b3"} <= set(foundation_names())
    assert set(foundations_models.mace_mp_urls) <= set(foundation_names())
    assert set(module.ALIASES.values()) <= set(foundations_models.mace_mp_urls)


def test_every_model_that_mace_torch_lists_has_a_name_and_a_row():
    urls = module.mace_urls()
    source = Path(foundations_models.__file__).read_text()
    assert set(re.findall(r'"(https://[^"]*\.model)"', source)) == set(urls.values())
    assert set(urls) == set(FOUNDATIONS)
    assert set(module.ALIASES.values()) <= set(urls)


@pytest.mark.parametrize("name", sorted(FOUNDATIONS))
def test_every_name_resolves_to_a_file_in_the_cache_once_its_licence_is_accepted(mace_cache, name):
    cached = mace_cache / cached_name(module.mace_urls()[name])
    cached.write_bytes(name.encode())
    if FOUNDATIONS[name].licence == "ASL":
        with pytest.raises(FoundationError, match=rf"models fetch {name} --accept-licence"):
            module.find_mace(name)
        accept_licence("ASL")
        assert accepted_licences() == {"ASL"}
    assert module.find_mace(name).sha256 == module.sha256_of(cached)
    whole = mace_cache / module.mace_urls()[name].rsplit("/", 1)[-1]
    cached.rename(whole)
    assert module.find_mace(name).name == name


def test_the_heads_of_a_model_that_is_known_are_asked_for_before_it_is_loaded(mace_cache):
    accept_licence("ASL")
    module.cached_file("mh-1").write_bytes(b"a stand-in")
    with pytest.raises(
        FoundationError, match=r"mh-1 has the heads omat_pbe, matpes_r2scan, .*--head"
    ):
        find_foundation("mh-1")
    with pytest.raises(FoundationError, match="cannot be read as a MACE model"):
        find_foundation("mh-1", "omat_pbe")


def test_a_job_refuses_weights_whose_licence_was_not_accepted_here(mace_cache):
    record = FoundationRecord(name="mace-omat-0", sha256="0" * 64)
    with pytest.raises(
        FoundationError, match=r"mace-omat-0 are under the ASL \(Academic"
    ) as caught:
        load_foundation(record)
    assert "\n" not in str(caught.value)


def test_a_row_tells_on_what_each_head_was_made():
    assert module.made_on(FoundationRecord(name="mace-mp-0b3", sha256="0")) == "PBE+U"
    named = FoundationRecord(name="mace-mh-1", sha256="0", head="matpes_r2scan")
    assert module.made_on(named) == "r2SCAN"
    assert module.made_on(named.model_copy(update={"head": None})) == ""
    assert module.made_on(FoundationRecord(name="own.model", sha256="0")) == ""


def test_the_catalogue_reads_off_a_loaded_file_what_no_row_states(mace_cache, model_file):
    def entry(name):
        return next(e for e in catalogue() if e.name == name)

    assert (entry("mini").row.elements, entry("mh-1").row.heads["omat_pbe"]) == (32, "PBE+U")
    trust_file(model_file)
    assert entry("tiny.model").row.elements is None
    foundation_elements(find_foundation(model_file))
    assert (entry("tiny.model").row.elements, entry("tiny.model").row.heads) == (4, {})
    assert entry("polar-1-s").row.licence == ""


def test_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(FoundationError, match=r"'mace-mp-0b4'.*Did you mean 'mace-mp-0b3'"):
        find_foundation("mace-mp-0b4")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FoundationError, match=r"no foundation file .*none\.model"):
        find_foundation(tmp_path / "none.model")
    with pytest.raises(FoundationError, match=r"no file .*none\.model"):
        trust_file(tmp_path / "none.model")


def test_an_unknown_pickle_is_not_executed(tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "planted.model"
    torch.save(Planted(marker), path)
    for read in (find_foundation, load_foundation):
        with pytest.raises(FoundationError, match=r"phonotune models trust .*planted\.model"):
            read(path)
    forged = FoundationRecord(name="planted.model", sha256=module.sha256_of(path))
    with pytest.raises(FoundationError, match="not known on this machine"):
        load_foundation(forged)
    assert not marker.exists()
    trust_file(path)
    assert not marker.exists()
    with pytest.raises(FoundationError, match="holds a int"):
        load_foundation(path)
    assert marker.exists()


def test_a_trusted_file_loads_by_path_by_name_and_by_record(model_file, tiny_mace):
    record = trust_file(model_file)
    assert record == find_foundation(model_file) == find_foundation("tiny.model")
    for asked in (model_file, "tiny.model", record):
        loaded = load_foundation(asked)
        for ours, theirs in zip(loaded.parameters(), tiny_mace.parameters(), strict=True):
            assert torch.equal(ours, theirs)


def test_a_trusted_file_is_found_where_it_was_moved_to(model_file, tmp_path):
    record = trust_file(model_file)
    moved = model_file.rename(tmp_path / "moved.model")
    with pytest.raises(FoundationError, match="not known on this machine"):
        load_foundation(record)
    assert find_foundation(moved).sha256 == record.sha256
    assert GraphSpec.of(load_foundation(record)).symbols == ("O", "Mg", "Si", "Ba")


def test_a_file_that_changed_after_it_was_trusted_is_refused(model_file):
    record = trust_file(model_file)
    model_file.write_bytes(b"something else")
    with pytest.raises(FoundationError, match="models trust"):
        find_foundation(model_file)
    with pytest.raises(FoundationError, match="the file changed"):
        load_foundation(record)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"no pickle at all", "cannot be read as a MACE model"), ("a state dict", "holds a dict")],
)
def test_a_trusted_file_that_is_no_model_is_named(tmp_path, content, said):
    path = tmp_path / "other.model"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save({"weight": torch.zeros(2)}, path)
    trust_file(path)
    with pytest.raises(FoundationError, match=said):
        load_foundation(path)


def test_without_a_network_the_sentence_says_where_to_put_the_file(mace_cache):
    with pytest.raises(FoundationError) as caught:
        find_foundation("mace-mp-0b3")
    text = str(caught.value)
    assert "mace-mp-0b3-medium.model" in text
    assert str(mace_cache / "macemp0b3mediummodel") in text
    assert "--foundation FILE" in text
    assert "\n" not in text
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["mace-mp-0b3", "medium-0b3"])
def test_a_file_put_into_the_cache_is_found_and_pinned(mace_cache, model_file, name, capsys):
    url = foundations_models.mace_mp_urls["medium-0b3"]
    cached = model_file.rename(mace_cache / cached_name(url))
    record = find_foundation(name)
    assert GraphSpec.of(load_foundation(record)).symbols == ("O", "Mg", "Si", "Ba")
    assert [file.name for file in trusted_files()] == ["mace-torch:medium-0b3"]
    assert capsys.readouterr().out == ""
    cached.write_bytes(b"swapped")
    with pytest.raises(FoundationError, match=r"changed since.*models trust"):
        find_foundation(name)
    trust_file(cached)
    assert find_foundation(name).sha256 != record.sha256
