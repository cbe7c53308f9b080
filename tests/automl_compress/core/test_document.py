import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_compress.core import ChannelGroup, Choice, Cost, LayerGraph, Policy
from automl_compress.core.canonical import canonical_json, digest
from automl_compress.core.document import (
    GroupRow,
    LayerRow,
    MetricRow,
    ModelReference,
    PolicyDocument,
    RepairNote,
    group_rows,
)
from automl_compress.core.errors import PolicyInvalid, PolicyMismatch, StorageFailed
from automl_compress.core.execution import Execution, ExecutionChange, LayerExecution

HASH = "sha256:" + "0" * 64
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20)
COSTS = st.builds(Cost, *(st.integers(1, 2**40) for _ in range(4)))
LAYER_COSTS = st.builds(
    Cost, *(st.integers(0, 2**40) for _ in range(4)), latency_ns=st.just(0) | st.integers(0, 2**40)
)
FRACTIONS = st.floats(0, 1, allow_nan=False)


@st.composite
def groups(draw: st.DrawFn) -> tuple[GroupRow, ...]:
    rows = []
    for name in draw(st.lists(NAMES, unique=True, max_size=5)):
        channels = draw(st.integers(1, 40))
        kept = draw(st.sets(st.integers(0, channels - 1), min_size=1))
        rows.append(GroupRow(name, channels, tuple(sorted(kept)), draw(NAMES)))
    return tuple(rows)


MODELS = st.builds(
    ModelReference,
    name=NAMES,
    graph_fingerprint=st.just(HASH),
    weights_fingerprint=st.just(HASH),
    input_shape=st.lists(st.integers(1, 64), min_size=1, max_size=3).map(tuple),
    architecture=st.just("resnet-20"),
    config=st.dictionaries(NAMES, st.integers(0, 10) | st.booleans() | NAMES, max_size=3),
    id=st.none() | NAMES,
)
METRIC_ROWS = st.builds(
    MetricRow,
    NAMES,
    FRACTIONS,
    NAMES,
    st.sampled_from(["proxy", "confirmed"]),
    st.none() | st.integers(1, 10_000),
    st.none() | st.tuples(FRACTIONS, FRACTIONS).map(lambda ends: (min(ends), max(ends))),
)
COUNTS = st.integers(0, 2**40)
EXECUTIONS = st.builds(
    Execution,
    COUNTS,
    st.lists(
        st.builds(
            LayerExecution,
            NAMES,
            st.sampled_from(["float32", "int8"]),
            COUNTS,
            COUNTS,
            COUNTS,
            COUNTS,
        ),
        max_size=2,
    ).map(tuple),
)
DOCUMENTS = st.builds(
    PolicyDocument,
    model=MODELS,
    groups=groups(),
    before=COSTS,
    after=COSTS,
    metrics=st.lists(METRIC_ROWS, max_size=3).map(tuple),
    baseline=st.lists(METRIC_ROWS, max_size=2).map(tuple),
    layers=st.lists(
        st.builds(LayerRow, NAMES, NAMES, st.none() | NAMES, LAYER_COSTS, LAYER_COSTS)
    ).map(tuple),
    repair=st.builds(
        RepairNote,
        st.sampled_from(["none", "fine-tuned"]),
        st.none() | st.just(HASH),
        st.none() | st.just(HASH),
    ),
    provenance=st.dictionaries(NAMES, st.none() | FRACTIONS | NAMES, max_size=3),
    created=st.none() | st.just("2026-11-21T12:00:00Z"),
    id=st.none() | NAMES,
    execution=st.none() | st.builds(ExecutionChange, EXECUTIONS, EXECUTIONS),
)


def small_document() -> PolicyDocument:
    return PolicyDocument(
        model=ModelReference("small", HASH, HASH, (1, 8, 8), "resnet-20", {"in_channels": 1}),
        groups=(GroupRow("conv1", 4, (0, 2), "l1"), GroupRow("conv2", 3, (0, 1, 2), "l1")),
        before=Cost(100, 50, 200, 1),
        after=Cost(50, 25, 100, 1),
        metrics=(MetricRow("accuracy", 0.9, "test", "confirmed", 400),),
    )


def changed(pointer: str, value: Any) -> dict[str, Any]:
    """The small document with one field replaced, under a digest that is right again."""
    content = small_document().to_json()
    *path, last = pointer.strip("/").split("/")
    place: Any = content
    for part in path:
        place = place[int(part) if isinstance(place, list) else part]
    place[int(last) if isinstance(place, list) else last] = value
    content["digest"] = digest({key: each for key, each in content.items() if key != "digest"})
    return content


@given(DOCUMENTS)
def test_a_document_reads_back_as_it_was_written(document: PolicyDocument) -> None:
    content = json.loads(json.dumps(document.to_json()))

    assert PolicyDocument.from_json(content) == document
    assert content["digest"] == document.digest


@given(
    st.recursive(
        st.none() | st.booleans() | NAMES | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    )
)
def test_canonical_json_means_the_same_value(value: Any) -> None:
    assert json.loads(canonical_json(value), parse_int=float) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [  # RFC 8785, appendix B, and section 3.2.3
        (0.0, "0"),
        (-0.0, "0"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (295147905179352830000.0, "295147905179352830000"),
        (9.999999999999997e22, "9.999999999999997e+22"),
        (1e23, "1e+23"),
        (1e21, "1e+21"),
        (0.000001, "0.000001"),
        (1e-7, "1e-7"),
        (333333333.33333329, "333333333.3333333"),
        (-0.0000033333333333333333, "-0.0000033333333333333333"),
        (1424953923781206.2, "1424953923781206.2"),
        ({"€": 1, "\r": 2, "\ufb33": 3, "1": 4, "😀": 5, "\x80": 6, "ö": 7},
         '{"\\r":2,"1":4,"\x80":6,"ö":7,"€":1,"😀":5,"\ufb33":3}'),
    ],
)  # fmt: skip
def test_canonical_json_is_spelt_as_the_standard_says(value: Any, text: str) -> None:
    assert canonical_json(value) == text


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/version", "2.0"),
        ("/model/fingerprint/graph", "md5:1"),
        ("/groups/0/channels/kept/1", 4),
        ("/groups/0/channels/kept/1", 0),
        ("/groups/0/channels/kept/0", "0"),
        ("/groups/0/channels/kept", []),
        ("/groups/0/channels/after", 3),
        ("/groups/0/sparsity", 0.9),
        ("/groups/0/scheme", "element"),
        ("/groups/1/name", "conv1"),
        ("/totals/macs/after", -1),
        ("/metrics/0/value", None),
        ("/metrics/0/fidelity", "guessed"),
        ("/metrics/0/interval", [0.9, 0.8]),
        ("/repair/method", "magic"),
        ("/layers", {}),
    ],
)
def test_a_wrong_field_is_named_by_its_pointer(pointer: str, value: Any) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        PolicyDocument.from_json(changed(pointer, value))

    assert str(caught.value).startswith(f"{pointer}: ")


def test_a_missing_field_is_named_by_its_pointer() -> None:
    content = small_document().to_json()
    del content["model"]["fingerprint"], content["digest"]
    content["digest"] = digest(content)

    with pytest.raises(PolicyInvalid, match=r"^/model/fingerprint: is missing"):
        PolicyDocument.from_json(content)


MEASURED = {
    "target": "cpu-openvino",
    "engine_version": "2026.1",
    "processor": "one",
    "plan": {"batch": 1},
    "threads": 1,
    "rounds": 9,
}


@pytest.mark.parametrize(
    ("pointer", "value", "says"),
    [
        ("/latency", {}, "/latency/target: is missing"),
        ("/latency", {"target": "cpu-openvino"}, "/latency/engine_version: is missing"),
        ("/latency", {**MEASURED, "plan": {"batch": 0}}, "/latency/plan/batch: is 0"),
        ("/latency", MEASURED, "/latency/cpu_ms: is missing"),
        ("/execution", {}, "/execution/before: is missing"),
    ],
)
def test_what_readers_are_shown_must_be_there(pointer: str, value: Any, says: str) -> None:
    with pytest.raises(PolicyInvalid, match=f"^{says}"):
        PolicyDocument.from_json(changed(pointer, value))


def test_a_document_that_was_changed_is_refused() -> None:
    content = small_document().to_json()
    content["metrics"][0]["value"] = 0.99

    with pytest.raises(PolicyInvalid, match=r"^/digest: .* changed after it was made"):
        PolicyDocument.from_json(content)


@pytest.mark.parametrize("content", [None, [], "policy", 3, {}])
def test_what_is_no_document_is_refused(content: Any) -> None:
    with pytest.raises(PolicyInvalid):
        PolicyDocument.from_json(content)


def test_members_of_a_later_minor_version_are_ignored() -> None:
    content = small_document().to_json() | {"version": "1.7", "colour": "green"}
    content["digest"] = digest({key: each for key, each in content.items() if key != "digest"})

    assert PolicyDocument.from_json(content) == small_document()


def test_documents_from_before_scores_were_counted_keep_their_digest() -> None:
    content = small_document().to_json()

    found = PolicyDocument.from_json(content)

    assert "micronet" not in content["totals"]
    assert (found.before.micronet, found.digest) == (0, content["digest"])
    scored = replace(small_document(), before=Cost(100, 50, 200, 1, 9), after=Cost(9, 9, 9, 1, 3))
    assert scored.to_json()["totals"]["micronet"]["after"] == 3
    assert PolicyDocument.from_json(scored.to_json()) == scored


def test_save_and_load(tmp_path: Path) -> None:
    small_document().save(tmp_path / "policy.json")

    assert PolicyDocument.load(tmp_path / "policy.json") == small_document()
    assert [each.name for each in tmp_path.iterdir()] == ["policy.json"]


def test_save_where_nothing_can_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="cannot be written"):
        small_document().save(tmp_path / "missing" / "policy.json")


@pytest.mark.parametrize("text", ["", "{", "\x00\x01"])
def test_a_file_that_is_not_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "policy.json").write_text(text)

    with pytest.raises(PolicyInvalid, match="is not JSON"):
        PolicyDocument.load(tmp_path / "policy.json")


def test_group_rows_of_a_policy_give_the_policy_back() -> None:
    graph = LayerGraph((1, 8, 8), (), (), (ChannelGroup("conv1", 4, (), ()),), ())
    policy = Policy((Choice("conv1", 0.5, kept=(1, 3)),))

    rows = group_rows(graph, policy)

    document = PolicyDocument(small_document().model, rows, Cost(2, 2, 2, 1), Cost(1, 1, 1, 1))
    assert document.policy == policy


def test_group_rows_want_kept_channels_and_the_right_graph() -> None:
    graph = LayerGraph((1, 8, 8), (), (), (ChannelGroup("conv1", 4, (), ()),), ())

    with pytest.raises(PolicyInvalid, match="does not say which channels"):
        group_rows(graph, Policy((Choice("conv1", 0.5),)))
    with pytest.raises(PolicyMismatch):
        group_rows(graph, Policy((Choice("other", 0.5, kept=(0, 1)),)))
