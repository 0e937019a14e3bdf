import io
import json
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

import rheobase as rb
from rheobase.precision import Precision
from rheobase.training import ConsoleProgress, DivergedError, Experiment, Silent, evaluate, fit, load_run, resume

SMALL = Experiment(
    data="digits(steps=3, limit=120, evaluation_limit=60)", model="mlp(hidden=[12])", rule="bptt", epochs=3,
    batch_size=30, learning_rate=0.01, device="cpu",
)  # fmt: skip


def weights(report):
    return report.model.state_dict()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("rule", ["bptt", "sltt(steps=1)"])
def test_the_same_seed_gives_the_same_weights_bit_by_bit(rule):
    experiment = replace(SMALL, rule=rule)
    first = fit(experiment)
    torch.rand(17)
    assert same(weights(first), weights(fit(experiment)))
    assert not same(weights(first), weights(fit(replace(experiment, seed=1))))


def test_training_raises_the_accuracy_well_above_chance():
    report = fit(replace(SMALL, epochs=12, data="digits(steps=3, limit=400)", model="mlp(hidden=[40])"))
    assert report.test_score > 0.75
    assert report.epochs[-1].loss < 0.6 * report.epochs[0].loss


class Spoilt:
    """BPTT, which from the call `after` on climbs up the loss."""

    def __init__(self, after):
        self.left = after

    def backward(self, model, xs, target, *, loss, after_step=None, backward=None):
        self.left -= 1
        sign = 1 if self.left >= 0 else -1
        return rb.BPTT().backward(model, xs, target, loss=lambda *args: sign * loss(*args))


def test_the_weights_of_the_best_validation_epoch_are_saved_and_tested(tmp_path):
    long, spoilt = replace(SMALL, epochs=6, schedule="constant"), {"after": 3 * 4}
    report = fit(replace(long, rule=Spoilt(**spoilt)), tmp_path)
    validation = [epoch.validation_score for epoch in report.epochs]
    assert report.best_epoch == max(e.epoch for e in report.epochs if e.validation_score == max(validation))
    assert report.best_epoch < 6
    best = fit(replace(long, epochs=report.best_epoch, rule=Spoilt(**spoilt)))
    assert same(load_file(tmp_path / "weights.safetensors"), weights(best))
    assert report.test_score == best.test_score
    assert report.validation_score == max(validation)


def test_a_run_is_loaded_with_the_weights_that_were_tested(tmp_path):
    report = fit(SMALL, tmp_path)
    _, data, model = load_run(tmp_path)
    assert evaluate(model, data.validation, batch_size=7, device=torch.device("cpu")) == report.validation_score
    assert evaluate(model, data.test, batch_size=7, device=torch.device("cpu")) == report.test_score


def test_the_test_part_has_no_say_in_the_weights():
    data = SMALL.load_data()
    wrong = replace(data.test, targets=(data.test.targets + 1) % 10)
    honest, blind = fit(SMALL, data=data), fit(SMALL, data=replace(data, test=wrong))
    assert same(weights(honest), weights(blind))
    assert honest.test_score != blind.test_score


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(tmp_path):
    class Stop(Silent):
        def batch(self, epoch, batch, loss, samples_per_second):
            if (epoch, batch) == (3, 2):
                raise KeyboardInterrupt

    experiment = replace(SMALL, epochs=4, rule="sltt(steps=1)")
    whole = fit(experiment, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(experiment, tmp_path / "stopped", Stop())
    assert len((tmp_path / "stopped" / "metrics.jsonl").read_text().splitlines()) == 2
    resumed = resume(tmp_path / "stopped")
    assert same(weights(whole), weights(resumed))
    assert [e.loss for e in whole.epochs] == [e.loss for e in resumed.epochs]


def test_the_folder_holds_the_experiment_where_it_ran_and_a_line_of_json_an_epoch(tmp_path):
    report = fit(SMALL, tmp_path, command=["rheobase", "train"])
    config = json.loads((tmp_path / "config.json").read_text())
    assert Experiment.of_settings(config["experiment"]) == SMALL
    assert config["command"] == ["rheobase", "train"]
    assert config["versions"]["torch"] == torch.__version__
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert lines[0]["firing_rates"].keys() == {"2"}
    assert lines[2]["validation_score"] == report.epochs[2].validation_score
    assert json.loads((tmp_path / "result.json").read_text())["test_score"] == report.test_score
    with pytest.raises(FileExistsError):
        fit(SMALL, tmp_path)


@pytest.mark.parametrize(("schedule", "last"), [("cosine", 0.0), ("constant", 0.01)])
def test_the_learning_rate_follows_its_schedule(schedule, last):
    rates = [epoch.learning_rate for epoch in fit(replace(SMALL, schedule=schedule)).epochs]
    assert rates[-1] == pytest.approx(last, abs=2e-4)
    assert sorted(rates, reverse=True) == rates


def test_a_loss_that_is_no_number_names_epoch_and_batch():
    class Bad:
        calls = 0

        def backward(self, model, xs, target, *, loss, after_step=None, backward=None):
            Bad.calls += 1
            result = rb.BPTT().backward(model, xs, target, loss=loss)
            return rb.Result(result.loss * float("nan"), result.outputs) if Bad.calls == 6 else result

    with pytest.raises(DivergedError, match="epoch 2, batch 2 of 4"):
        fit(replace(SMALL, rule=Bad()))


class Flaky:
    """BPTT whose gradient is NaN at the calls `at`, and whose model's buffers go NaN with it."""

    def __init__(self, *at):
        self.at, self.calls = at, 0

    def backward(self, model, xs, target, *, loss, after_step=None, backward=torch.Tensor.backward):
        result = rb.BPTT().backward(model, xs, target, loss=loss, backward=backward)
        self.calls += 1
        if self.calls in self.at:
            for p in model.parameters():
                p.grad.fill_(float("nan"))
            for buffer in model.buffers():
                if buffer.is_floating_point():
                    buffer.fill_(float("nan"))
        return result


def test_a_batch_whose_gradient_is_no_number_is_left_out_by_choice_as_if_it_had_not_been():
    skipping = replace(SMALL, on_bad="skip", schedule="constant", epochs=2)
    report = fit(replace(skipping, rule=Flaky(2, 5, 6)))
    assert [epoch.skipped for epoch in report.epochs] == [1, 2]
    assert all(torch.isfinite(p).all() for p in report.model.state_dict().values())
    untouched = fit(replace(skipping, rule=Flaky()))
    assert not same(weights(report), weights(untouched))
    with pytest.raises(DivergedError, match="epoch 1, batch 2 of 4"):
        fit(replace(skipping, on_bad="stop", rule=Flaky(2)))
    with pytest.raises(DivergedError, match="epoch 3, batch 3 of 4 after 10 batches in a row"):
        fit(replace(skipping, epochs=4, rule=Flaky(*range(1, 30))))


def test_data_that_are_no_number_stop_a_run_at_the_step_and_sample():
    def spoil(xs, target, generator):
        xs = xs.clone()
        xs[2:, 5:6] = float("nan")
        return xs, target

    data = SMALL.load_data()
    spoilt = replace(data, train=replace(data.train, transforms=(spoil,)))
    with pytest.raises(DivergedError, match=r"epoch 1, batch 1 of 4.*[Aa]t step 2.*input is NaN.*sample 5"):
        fit(replace(SMALL, on_bad="skip"), data=spoilt)


def test_gradients_are_shortened_to_a_norm():
    plain = replace(SMALL, optimizer="sgd", learning_rate=1.0, schedule="constant", epochs=1, batch_size=120)
    start = weights(fit(replace(plain, learning_rate=1e-30)))
    moved = [
        torch.cat([(after - start[name]).flatten() for name, after in weights(fit(e)).items()])
        for e in (plain, replace(plain, clip_norm=0.01), replace(plain, clip_norm=1e6))
    ]
    assert float(moved[0].norm()) > 0.02
    assert float(moved[1].norm()) == pytest.approx(0.01, rel=1e-3)
    torch.testing.assert_close(moved[1] / moved[1].norm(), moved[0] / moved[0].norm(), rtol=1e-3, atol=1e-5)
    assert torch.equal(moved[0], moved[2])


def test_loggers_hear_of_the_settings_each_epoch_and_the_end():
    class Heard:
        def __init__(self):
            self.told = []

        def start(self, settings, folder):
            self.told.append(settings["experiment"]["rule"])

        def log(self, record, step):
            self.told.append((step, record["epoch"]["epoch"]))

        def stop(self, outcome):
            self.told.append((outcome["state"], outcome.get("test_score")))

    heard = Heard()
    report = fit(SMALL, loggers=[heard])
    assert heard.told == ["bptt", (4, 1), (8, 2), (12, 3), ("done", report.test_score)]
    failed = Heard()
    with pytest.raises(DivergedError):
        fit(replace(SMALL, rule=Flaky(1)), loggers=[failed])
    assert failed.told[-1] == ("failed", None)


def test_half_precision_trains_and_is_evaluated_as_it_was_trained(tmp_path):
    half = replace(SMALL, precision="bfloat16", epochs=6)
    report = fit(half, tmp_path)
    assert report.test_score > 0.3
    assert not same(weights(report), weights(fit(replace(half, precision="float32"))))
    _, data, model = load_run(tmp_path)
    cpu = torch.device("cpu")
    precision = Precision("bfloat16", cpu)
    assert evaluate(model, data.test, batch_size=30, device=cpu, precision=precision) == report.test_score


def test_a_layer_that_never_fires_is_pointed_out_as_dead(tmp_path):
    out = io.StringIO()
    quiet = replace(SMALL, neuron="lif(threshold=1000.0)", epochs=1)
    report = fit(quiet, progress=ConsoleProgress(Console(file=out, width=200)))
    assert report.epochs[0].ailments == {"2": "dead"}
    assert "2 is dead" in out.getvalue()


def test_plain_progress_is_one_line_an_epoch_without_escape_codes():
    out = io.StringIO()
    fit(SMALL, progress=ConsoleProgress(Console(file=out)))
    lines = out.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]
    assert all("samples/s" in line and line.endswith("left") for line in lines)
    assert "\x1b" not in out.getvalue()


def test_a_terminal_gets_a_moving_bar_as_well():
    out = io.StringIO()
    fit(SMALL, progress=ConsoleProgress(Console(file=out, force_terminal=True, width=120), title="[mine]"))
    assert "[mine]" in out.getvalue()
    assert "\x1b" in out.getvalue()


def test_evaluation_keeps_the_mode_of_the_model_and_counts_every_sample():
    data = SMALL.load_data()
    model = SMALL.build_model(data).train()
    accuracies = {evaluate(model, data.test, batch_size=size, device=torch.device("cpu")) for size in (1, 7, 60)}
    assert len(accuracies) == 1
    assert model.training


def test_weights_of_another_model_are_refused(tmp_path):
    fit(replace(SMALL, epochs=1), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["experiment"]["model"] = "mlp(hidden=[13])"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="do not fit"):
        load_run(tmp_path)
