"""What is in the pictures: lines, marks, counts and words, not pixels."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import rheobase as rb
from rheobase import measure, plots
from rheobase.events.events import Events
from rheobase.losses import cross_entropy
from rheobase.metrics import ENDPOINT_ERROR
from rheobase.plots.events import coloured
from rheobase.plots.raster import shares
from rheobase.plots.style import COLOURS, OFF, ON
from rheobase.recorder import Record, record
from rheobase.training import Experiment, fit
from rheobase.training.files import write_json, write_lines


def net(hidden: int = 12) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, hidden), rb.LIF(0.9), nn.Linear(hidden, 8), rb.ALIF(0.9), nn.Linear(8, 3), rb.LI(0.9)
    )


def recorded(hidden: int = 12, steps: int = 9, rule: rb.Rule | None = None, **options: Any) -> Record:
    model, xs = net(hidden), 3 * torch.randn(steps, 4, 6, generator=torch.Generator().manual_seed(0))
    with record(model, **options) as found:
        if rule is None:
            rb.run(model, xs)
        else:
            rule.backward(model, xs, torch.arange(4) % 3, loss=cross_entropy)
    return found


def segments(panel: Any) -> list[list[tuple[float, float]]]:
    return [[tuple(point) for point in path.vertices] for path in panel.collections[0].get_paths()]


def words(figure: Figure) -> str:
    figure.canvas.draw()
    found = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return "\n".join(artist.get_text() for artist in found if artist.get_visible())


def test_a_raster_has_one_mark_for_each_spike() -> None:
    found = recorded()
    spikes = found["1"].spikes[:, 2]
    marks = segments(plots.raster(found, "1", sample=2).axes[0])
    places = {(round(x), round((low + high) / 2)) for (x, low), (_, high) in marks}
    assert len(marks) == int(spikes.sum()) > 0
    assert places == {(t, n) for t, n in spikes.nonzero().tolist()}
    assert places != {(t, n) for t, n in found["1"].spikes[:, 0].nonzero().tolist()}


def test_below_a_raster_is_the_share_of_neurons_that_spike_at_each_step() -> None:
    found = recorded()
    (stairs,) = plots.raster(found, "1").axes[1].patches
    torch.testing.assert_close(torch.tensor(stairs.get_data().values), 100 * found["1"].spikes[:, 0].double().mean(1))


def test_a_raster_of_all_layers_has_a_panel_for_each_that_spikes() -> None:
    titles = [panel.get_title(loc="left") for panel in plots.raster(recorded()).axes]
    assert [title[:9] for title in titles if title] == ["layer '1'", "layer '3'"]


def test_a_raster_tells_of_silent_neurons() -> None:
    found = recorded()
    silent = int((found["3"].spikes[:, 0].sum(0) == 0).sum())
    assert silent > 0
    assert f"{silent} silent" in plots.raster(found, "3").axes[0].get_title(loc="left")


def test_chosen_neurons_keep_their_numbers_in_the_picture() -> None:
    found = recorded(neurons={"1": [7, 2, 11]})
    labels = [label.get_text() for label in plots.raster(found, "1").axes[0].get_yticklabels()]
    assert labels == ["7", "2", "11"]


def test_a_raster_of_many_neurons_shows_mean_spikes_of_neighbours() -> None:
    found = recorded(hidden=1000, steps=5, samples=[0], what=["spikes"])
    image = plots.raster(found, "1").axes[0].images[0].get_array()
    assert image.shape == (200, 5)
    expected = found["1"].spikes[:, 0].T.double().unflatten(0, (200, 5)).mean(1)
    np.testing.assert_allclose(image, expected, rtol=0, atol=1e-12)


def test_fields_at_the_border_are_means_of_what_they_hold() -> None:
    x = torch.arange(10.0).view(2, 5)
    torch.testing.assert_close(shares(x, 2, 2), torch.tensor([[3.0, 5.0, 6.5]]))


def test_potentials_show_the_potential_the_threshold_and_the_spikes() -> None:
    found = recorded()
    neuron = int(found["3"].spikes[:, 3].sum(0).argmax())
    panel = plots.potentials(found, "3", [neuron], sample=3).axes[0]
    lines = {line.get_label(): torch.as_tensor(line.get_ydata()) for line in panel.lines}
    assert torch.equal(lines["potential before the reset"], found["3"].potentials[:, 3, neuron])
    assert isinstance(found["3"].threshold, Tensor)
    assert torch.equal(lines["threshold"], found["3"].threshold[:, 3, neuron])
    times = [round(x) for (x, _), _ in segments(panel)]
    assert times == found["3"].spikes[:, 3, neuron].nonzero()[:, 0].tolist()
    assert times


def test_potentials_of_a_chosen_neuron_are_found_by_its_number_in_the_layer() -> None:
    found = recorded(neurons={"1": [7, 2]})
    panel = plots.potentials(found, "1", [2]).axes[0]
    assert panel.get_title(loc="left") == "layer '1', neuron 2"
    assert torch.equal(torch.as_tensor(panel.lines[0].get_ydata()), found["1"].potentials[:, 0, 1])


def test_a_threshold_that_stays_is_a_level() -> None:
    panel = plots.potentials(recorded(), "1", [1]).axes[0]
    (threshold,) = (line for line in panel.lines if line.get_label() == "threshold")
    assert set(threshold.get_ydata()) == {1.0}


def test_under_rules_with_traces_potentials_have_them_below() -> None:
    found = recorded(rule=rb.STLLR())
    figure = plots.potentials(found, "1", [0, 4])
    lines = [{line.get_label(): torch.as_tensor(line.get_ydata()) for line in panel.lines} for panel in figure.axes]
    assert len(lines) == 4
    assert found["1"].slope_trace is not None
    for below, neuron in ((lines[1], 0), (lines[3], 4)):
        assert torch.equal(below["trace at synapse '2'"], found["1"].traces["2"][:, 0, neuron])
        assert torch.equal(below["trace of the slope"], found["1"].slope_trace[:, 0, neuron])
    assert len(plots.potentials(recorded(), "1", [0, 4]).axes) == 2


def test_potentials_of_neurons_that_were_not_recorded_are_refused() -> None:
    with pytest.raises(ValueError, match="Neuron 3 of layer '1' was not recorded; recorded are 2"):
        plots.potentials(recorded(neurons={"1": [0, 5]}), "1", [3])
    with pytest.raises(ValueError, match="Expected a sample from 0 to 3"):
        plots.potentials(recorded(), "1", sample=4)
    with pytest.raises(ValueError, match="Expected layers that spike, got '5'"):
        plots.raster(recorded(), "5")


def test_bars_of_rates_add_up_to_all_neurons_and_tell_the_dead_and_the_saturated() -> None:
    living = torch.tensor([0.005, 0.9, *torch.linspace(0.1, 0.7, 78)], dtype=torch.float64)
    rates = torch.cat([torch.zeros(10), living, torch.full((10,), 0.95)])
    figure = plots.firing_rates({"lif": rates})
    (panel,) = figure.axes
    assert sum(bar.get_height() for bar in panel.patches) == pytest.approx(100)
    assert "10 % dead" in words(figure)
    assert "10 % saturated" in words(figure)
    healthy = words(plots.firing_rates({"lif": torch.linspace(0.1, 0.7, 78)}))
    assert "dead" not in healthy
    assert "saturated" not in healthy


def test_rates_of_a_record_are_means_over_steps_and_samples() -> None:
    found = recorded()
    assert f"mean {found['1'].spikes.double().mean():.3f}" in words(plots.firing_rates(found))
    assert "layer '5'" not in words(plots.firing_rates(found))


def test_rates_that_are_none_are_refused() -> None:
    for wrong in (torch.tensor([1.5]), torch.tensor([-0.1]), torch.tensor([math.nan]), torch.zeros(0)):
        with pytest.raises(ValueError, match=r"in \[0, 1\]"):
            plots.firing_rates({"1": wrong})
    with pytest.raises(ValueError, match="at least one layer"):
        plots.firing_rates({})


def test_confusion_counts_rows_of_true_and_columns_of_chosen_classes() -> None:
    target, chosen = torch.tensor([0, 0, 1, 2, 2, 2]), torch.tensor([0, 1, 1, 0, 2, 2])
    expected = torch.tensor([[1, 1, 0], [0, 1, 0], [1, 0, 2]])
    scores = nn.functional.one_hot(chosen, 3).float()
    steps = torch.stack([2 * scores, torch.zeros_like(scores)])
    for outputs in (chosen, scores, steps):
        assert torch.equal(plots.confusion_counts(outputs, target), expected)
    assert plots.confusion_counts(chosen, target, classes=5).shape == (5, 5)
    for wrong in (torch.full_like(target, 2), torch.full_like(target, -1)):
        with pytest.raises(ValueError, match="Expected classes from 0 to 1, got"):
            plots.confusion_counts(torch.zeros_like(target), wrong, classes=2)


def test_a_confusion_matrix_shows_counts_shares_names_and_the_worst_mistake() -> None:
    target = torch.tensor([0] * 10 + [1] * 10)
    chosen = torch.tensor([0] * 7 + [1] * 3 + [1] * 10)
    figure = plots.confusion(chosen, target, ["left", "right"])
    panel = figure.axes[0]
    np.testing.assert_allclose(panel.images[0].get_array(), [[70, 30], [0, 100]])
    assert sorted(text.get_text() for text in panel.texts) == ["10", "3", "7"]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["left", "right"]
    assert "85.0 % of 20 right\nleft taken for right (3)" in words(figure)


def test_a_confusion_matrix_of_many_classes_has_no_numbers_and_few_names() -> None:
    classes = torch.arange(100)
    panel = plots.confusion(classes, classes).axes[0]
    assert not panel.texts
    assert [label.get_text() for label in panel.get_xticklabels()] == [str(c) for c in range(0, 100, 5)]


def test_outputs_that_do_not_fit_the_target_are_refused() -> None:
    with pytest.raises(ValueError, match="for N targets"):
        plots.confusion(torch.zeros(4, 3), torch.zeros(5, dtype=torch.int64))
    with pytest.raises(ValueError, match="Expected 3 class names"):
        plots.confusion(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64), ["a", "b"])


def test_event_frames_put_time_in_order_and_long_sequences_in_groups() -> None:
    xs = torch.zeros(10, 2, 2, 3, 3)
    titles = [panel.get_title() for panel in plots.event_frames(xs, frames=4).axes]
    assert titles == ["steps 0 to 2", "steps 3 to 5", "steps 6 to 7", "steps 8 to 9"]
    assert [panel.get_title() for panel in plots.event_frames(xs[:2]).axes] == ["step 0", "step 1"]


def test_titles_stand_for_the_steps_and_there_is_one_for_each_picture() -> None:
    xs = torch.zeros(4, 1, 2, 3, 3)
    assert [panel.get_title() for panel in plots.event_frames(xs, frames=2, titles=["a", "b"]).axes] == ["a", "b"]
    with pytest.raises(ValueError, match="2 titles, one for each picture, got 3"):
        plots.event_frames(xs, frames=2, titles="abc")


def test_events_that_brighten_are_red_those_that_darken_blue_and_nothing_is_white() -> None:
    from matplotlib.colors import to_rgb

    xs = torch.zeros(1, 1, 2, 2, 2)
    xs[0, 0, 0, 0, 0] = xs[0, 0, 1, 1, 1] = 1
    (panel,) = plots.event_frames(xs).axes
    picture = panel.images[0].get_array()
    for place, colour in (((0, 0), ON), ((1, 1), OFF), ((0, 1), "white")):
        np.testing.assert_allclose(picture[place], to_rgb(colour), atol=1e-12)


def test_a_group_adds_up_its_frames_and_more_events_are_darker() -> None:
    counts = np.zeros((1, 1, 1, 3))
    counts[0, 0, 0] = [0, 1, 2]
    light, middle, dark = coloured(counts)[0, 0].mean(-1)
    assert light == 1 > middle > dark
    xs = torch.ones(4, 1, 1, 1, 2)
    xs[:2, ..., 0] = 0  # the second group has more in the left pixel
    first, second = (panel.images[0].get_array() for panel in plots.event_frames(xs, frames=2).axes)
    assert first[0, 0].mean() == 1 > second[0, 0].mean()


def test_an_image_of_three_channels_is_no_event_frame() -> None:
    with pytest.raises(ValueError, match=r"got shape \[4, 1, 3, 8, 8\]"):
        plots.event_frames(torch.zeros(4, 1, 3, 8, 8))


def recording(count: int) -> Events:
    t = np.arange(count, dtype=np.int64) * 10 + 5000
    x, y = (np.arange(count) % 30).astype(np.int32), (np.arange(count) % 20).astype(np.int32)
    return Events(t, x, y, (np.arange(count) % 2).astype(np.uint8), 20, 30)


def test_an_event_cloud_has_every_event_at_its_time_and_place() -> None:
    events = recording(100)
    panel = plots.event_cloud(events).axes[0]
    brighter = panel.collections[0]._offsets3d
    np.testing.assert_allclose(brighter[0], (events.t[1::2] - 5000) / 1000)
    np.testing.assert_allclose(brighter[1], events.x[1::2])
    np.testing.assert_allclose(brighter[2], events.y[1::2])


def test_a_cloud_of_many_events_shows_a_part_and_says_so() -> None:
    figure = plots.event_cloud(recording(50_000))
    shown = sum(len(dots._offsets3d[0]) for dots in figure.axes[0].collections)
    assert shown == 20_000
    assert "50 000 events in 500 ms, 20 000 of them shown" in words(figure)


def run_folder(folder: Path, scores: list[float], best: int | None = None, metric: str = "accuracy") -> Path:
    folder.mkdir()
    write_json(folder / "config.json", {"experiment": {"epochs": 9}, "metrics": {"validation": metric}})
    lines = [{"epoch": e, "loss": 1 / e, "train_score": s / 2, "validation_score": s} for e, s in enumerate(scores, 1)]
    write_lines(folder / "metrics.jsonl", lines)
    if best is not None:
        write_json(folder / "result.json", {"best_epoch": best, "test_score": 0.5})
    return folder


def lines_of(panel: Any) -> dict[str, list[float]]:
    return {line.get_label(): [round(float(y), 9) for y in line.get_ydata()] for line in panel.lines}


def test_learning_curves_of_one_run_show_loss_both_scores_and_the_weights_kept(tmp_path: Path) -> None:
    figure = plots.learning_curves(run_folder(tmp_path / "a", [0.5, 0.75, 0.75], best=2))
    left, right = figure.axes
    assert lines_of(left) == {"a": [1, 0.5, round(1 / 3, 9)]}
    assert lines_of(right) == {"train": [25, 37.5, 37.5], "validation": [50, 75, 75], "weights kept": [75]}
    assert list(right.lines[2].get_xdata()) == [2]
    assert right.get_title(loc="left") == "accuracy, %"


def test_learning_curves_of_several_runs_compare_validation_scores(tmp_path: Path) -> None:
    folders = [run_folder(tmp_path / name, scores) for name, scores in (("a", [0.5, 0.6]), ("b", [0.7]))]
    for names in (None, ["a", "b"]):
        right = plots.learning_curves(folders, names).axes[1]
        assert lines_of(right) == {"a": [50, 60], "b": [70]}
    assert len({line.get_color() for line in right.lines}) == 2
    with pytest.raises(ValueError, match="a name for each"):
        plots.learning_curves(folders, ["a"])


def test_a_score_without_percents_is_drawn_as_it_is(tmp_path: Path) -> None:
    right = plots.learning_curves(run_folder(tmp_path / "a", [2.5, 1.5], metric="endpoint error")).axes[1]
    assert lines_of(right)["validation"] == [2.5, 1.5]
    assert right.get_title(loc="left") == "endpoint error, px"


def test_a_report_gives_the_curves_of_its_folder(tmp_path: Path) -> None:
    experiment = Experiment(data="digits(steps=2, limit=64, evaluation_limit=32)", model="mlp(hidden=[8])", epochs=2)
    report = fit(experiment, tmp_path / "run")
    of_report, of_folder = (plots.learning_curves(run, ["x"]) for run in (report, tmp_path / "run"))
    for one, other in zip(of_report.axes, of_folder.axes, strict=True):
        assert lines_of(one) == lines_of(other)
        assert len(next(iter(lines_of(one).values()))) == 2
    _, scores = plots.learning_curves(replace(report, metric=ENDPOINT_ERROR)).axes
    assert scores.get_title(loc="left") == "score"  # the test part's error may not be what was validated by


def test_runs_without_epochs_or_scores_are_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no complete epoch"):
        plots.learning_curves(run_folder(tmp_path / "none", []))
    folder = run_folder(tmp_path / "old", [0.5])
    write_lines(folder / "metrics.jsonl", [{"epoch": 1, "loss": 1.0}])
    assert "no scores on record" in words(plots.learning_curves(folder))


def test_costs_are_drawn_over_t_in_milliseconds_and_bytes() -> None:
    costs = {
        "BPTT": [plots.Cost(8, 0.4, 800), plots.Cost(4, 0.2, 400)],
        "SLTT": [plots.Cost(4, 0.3), plots.Cost(8, None, 90)],
    }
    left, right = plots.cost_against_steps(costs, "mlp").axes
    assert lines_of(left) == {"BPTT": [200, 400], "SLTT": [300]}
    assert lines_of(right) == {"BPTT": [400, 800], "SLTT": [90]}
    assert list(left.lines[0].get_xdata()) == [4, 8]
    with pytest.raises(ValueError, match="at least one way"):
        plots.cost_against_steps({"BPTT": []})


def test_costs_of_benchmarks_are_the_last_files_fastest_scaled_to_one_batch(tmp_path: Path) -> None:
    def row(steps: int, batch: int, **values: Any) -> dict[str, Any]:
        return {
            "net": "mlp",
            "steps": steps,
            "batch": batch,
            "library": "Rheobase",
            "case": "SLTT()",
            "status": "ok",
        } | values

    other = row(4, 64, median=9.0) | {"library": "other"}
    old = {"times": [row(4, 64, median=0.1)], "memory": [row(4, 64, kept=10)]}
    new = {"times": [row(4, 64, median=0.5), row(4, 64, median=0.4), other], "memory": [row(8, 32, kept=30)]}
    paths = [tmp_path / "old.json", tmp_path / "new.json"]
    for path, content in zip(paths, (old, new), strict=True):
        path.write_text(json.dumps(content))
    expected = {"SLTT()": [plots.Cost(4, 0.4, 10), plots.Cost(8, None, 60)]}
    assert plots.benchmark_costs(paths, "mlp") == expected
    other_batch = {"times": [row(4, 32, median=1.0) | {"case": "BPTT()"}], "memory": []}
    paths.append(tmp_path / "newest.json")
    paths[-1].write_text(json.dumps(other_batch))
    assert plots.benchmark_costs(paths, "mlp") == expected | {"BPTT()": [plots.Cost(4, 2.0)]}
    with pytest.raises(ValueError, match=r"nothing of OTTT\(\).*tell of: SLTT\(\)"):
        plots.benchmark_costs(paths, "mlp", cases=["OTTT()"])
    with pytest.raises(ValueError, match="nothing of anything"):
        plots.benchmark_costs(paths, "vgg")


def test_filters_share_one_scale_that_is_the_same_on_both_sides_of_zero() -> None:
    weight = torch.randn(20, 2, 3, 3)
    figure = plots.filters(weight)
    images = [panel.images[0] for panel in figure.axes if panel.images]
    assert len(images) == 40
    assert {image.norm.vmin for image in images} == {-float(weight.double().abs().max())}
    np.testing.assert_allclose(images[16].get_array(), weight[0, 1], atol=1e-6)
    with pytest.raises(ValueError, match="2-d convolution"):
        plots.filters(torch.zeros(3, 3))


PICTURES: dict[str, Callable[[], Figure]] = {
    "raster": lambda: plots.raster(recorded()),
    "potentials": lambda: plots.potentials(recorded(), "1"),
    "rates": lambda: plots.firing_rates(recorded()),
    "confusion": lambda: plots.confusion(torch.arange(3), torch.arange(3)),
    "frames": lambda: plots.event_frames(torch.ones(3, 2, 4, 4)),
    "audit": lambda: plots.audit(audited()),
    "cost": lambda: plots.cost_against_steps({"a": [plots.Cost(1, 1.0, 1)]}),
}


def test_an_audit_is_drawn_as_the_command_draws_it() -> None:
    found = audited()
    heat, _, losses = plots.audit(found, "digits").axes
    assert heat.get_title(loc="left") == "cosine to the exact gradient, batches: 2"
    cosines = [f"{rule.of_layers[layer].cosine:.2f}" for layer in found.layers for rule in found.rules[:2]]
    assert [text.get_text() for text in heat.texts][: len(cosines)] == cosines
    assert len(losses.patches) == 8
    moments = [measure.Moment(title, epoch, found) for epoch, title in enumerate(("start", "end"))]
    first, last, *_ = plots.audit(moments).axes
    assert (first.get_title(loc="left")[-5:], last.get_title(loc="left")[-3:]) == ("start", "end")


def test_an_audit_of_which_every_rule_refused_is_no_picture() -> None:
    refused = replace(audited(), rules=(measure.RuleAudit("no", refusal="no"),))
    with pytest.raises(ValueError, match="every rule refused"):
        plots.audit(refused)


def audited() -> measure.Audit:
    draw = torch.Generator().manual_seed(0)
    batches = [(torch.rand(3, 4, 6, generator=draw), torch.arange(4) % 3) for _ in range(2)]
    return measure.audit(net(), batches, ["sltt", "bptt"], loss=cross_entropy)


def test_a_figure_of_ones_own_has_the_librarys_look_and_the_others_theirs() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    with plots.figure(6, 2.5) as figure:
        figure.subplots().set_title("mine")
    own, plain = figure.axes[0], Figure().subplots()
    assert figure.get_size_inches().tolist() == [6, 2.5]
    assert own.get_title(loc="left") == "mine"
    assert not own.spines["top"].get_visible()
    assert plain.spines["top"].get_visible()
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_leaves_the_users_own_settings_alone_and_is_the_same_each_time(name: str, tmp_path: Path) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    for suffix in ("png", "svg"):
        paths = [plots.save(PICTURES[name](), tmp_path / f"{place}.{suffix}") for place in range(2)]
        assert paths[0].read_bytes() == paths[1].read_bytes()
    assert dict(matplotlib.rcParams) == before


def test_a_picture_can_be_drawn_into_given_axes() -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert plots.raster(recorded(), "1", axes=left) is figure
    assert plots.confusion(torch.arange(3), torch.arange(3), axes=right) is figure
    assert left.collections
    assert right.images
    with pytest.raises(ValueError, match="the name of one layer"):
        plots.raster(recorded(), axes=left)


def test_a_path_without_a_known_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.png, \.svg or \.pdf"):
        plots.save(Figure(), tmp_path / "picture.jpeg")


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'rheobase\[plot\]'"):
        plots.confusion(torch.arange(3), torch.arange(3))


def test_the_first_colours_stay_apart_for_those_who_see_no_red_or_no_green() -> None:
    """Machado et al., 2009, severity 1: distances in linear RGB after the loss of one kind of cone."""
    from matplotlib.colors import to_rgb

    protan = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    deutan = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    colours = np.array([to_rgb(colour) for colour in COLOURS[:6]])
    for matrix in (protan, deutan):
        seen = colours @ np.array(matrix).T
        apart = [np.linalg.norm(a - b) for place, a in enumerate(seen) for b in seen[:place]]
        assert min(apart) > 0.15
