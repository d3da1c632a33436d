"""What launch/tpu.sh asks of gcloud, verb by verb."""

import shlex

import pytest

WHERE = ("--project", "my-project", "--zone", "us-west4-a", "--name", "pod")
WHAT = ("--accelerator", "v5litepod-256")
CODE = ("--source", "hilight.tar.gz", "--bucket", "my-bucket")
RUN = ("--run", "b16", "--config", "configs/encoder.py:b16")
RESOURCES = ["gcloud", "compute", "tpus", "queued-resources"]
EVERYWHERE = ["--project=my-project", "--zone=us-west4-a", "--node=all", "--worker=all"]
VERBS = {
    "create": WHERE + WHAT,
    "install": WHERE + CODE,
    "start": WHERE + CODE + RUN,
    "status": WHERE,
    "logs": WHERE,
    "resume": WHERE + WHAT + CODE + RUN,
    "fetch": (*WHERE, "--bucket", "my-bucket", "--run", "b16"),
    "delete": WHERE,
}


def test_create_asks_for_one_slice_with_the_runtime_of_its_kind(bench):
    assert bench.run("tpu.sh", "create", *WHERE, *WHAT).returncode == 0
    flags = ["--project=my-project", "--zone=us-west4-a", "--accelerator-type=v5litepod-256"]
    assert bench.calls() == [
        [*RESOURCES, "create", "pod", *flags, "--runtime-version=v2-alpha-tpuv5-lite", "--node-id=pod"]
    ]


@pytest.mark.parametrize(
    ("accelerator", "runtime"),
    [("v4-128", "tpu-ubuntu2204-base"), ("v5p-128", "v2-alpha-tpuv5"), ("v6e-256", "v2-alpha-tpuv6e")],
)
def test_every_kind_has_its_runtime(bench, accelerator, runtime):
    bench.run("tpu.sh", "create", *WHERE, "--accelerator", accelerator)
    assert f"--runtime-version={runtime}" in bench.calls()[0]


def test_several_slices_are_counted_nodes_with_a_prefix(bench):
    flags = ("--slices=2", "--tier", "spot", "--valid-for", "6h", "--create-flag=--internal-ips")
    bench.run("tpu.sh", "create", *WHERE, *WHAT, *flags)
    expected = ["--node-count=2", "--node-prefix=pod", "--spot", "--valid-until-duration=6h", "--internal-ips"]
    assert bench.calls()[0][-5:] == expected


def test_a_number_with_a_leading_zero_is_not_octal(bench):
    bench.run("tpu.sh", "create", *WHERE, *WHAT, "--slices", "08")
    assert "--node-count=8" in bench.calls()[0]


def test_best_effort_is_asked_of_alpha_and_reserved_is_not(bench):
    bench.run("tpu.sh", "create", *WHERE, *WHAT, "--tier", "best-effort")
    bench.run("tpu.sh", "create", *WHERE, *WHAT, "--tier", "reserved")
    first, second = bench.calls()
    assert first[:2] == ["gcloud", "alpha"] and first[-1] == "--best-effort"
    assert second[:2] == ["gcloud", "compute"] and second[-1] == "--reserved"


def test_install_copies_scripts_and_source_and_installs_on_every_worker(bench):
    assert bench.run("tpu.sh", "install", *WHERE, *CODE).returncode == 0
    folder, scripts, source, install = bench.calls()
    assert folder == [*RESOURCES, "ssh", "pod", *EVERYWHERE, "--command=mkdir -p hilight/launch"]
    assert scripts[:5] == [*RESOURCES, "scp"] and scripts[-5:] == ["pod:hilight/launch/", *EVERYWHERE]
    names = {"install.sh", "make_venv.sh", "mount.sh", "start.sh", "state.sh", "train_loop.sh"}
    assert {word.rpartition("/")[2] for word in scripts[5:-5]} == names
    assert source == [*RESOURCES, "scp", "hilight.tar.gz", "pod:hilight/source.tar.gz", *EVERYWHERE]
    command = (
        "bash hilight/launch/install.sh tpu hilight/source.tar.gz '' && bash hilight/launch/mount.sh bucket my-bucket"
    )
    assert install == [*RESOURCES, "ssh", "pod", *EVERYWHERE, f"--command={command}"]


def test_a_git_source_is_cloned_by_the_workers(bench):
    git = ("--source", "https://example.com/h.git", "--ref", "v1", "--nfs", "10.0.0.2:/share")
    bench.run("tpu.sh", "install", *WHERE, *git)
    assert len(bench.calls()) == 3
    assert (
        "install.sh tpu https://example.com/h.git v1 && bash hilight/launch/mount.sh nfs 10.0.0.2:/share"
        in bench.calls()[-1][-1]
    )


def test_odd_arguments_of_training_reach_the_workers_as_they_are(bench):
    odd = ['--config.name=it\'s a "name"; $HOME', "--config.freeze=('^a b$',)"]
    bench.run("tpu.sh", "start", *WHERE, *CODE, *RUN, "--restarts", "3", "--", *odd)
    command = bench.calls()[0][-1].removeprefix("--command=")
    start = command.partition(" && ")[2]
    config = ["--config", "configs/encoder.py:b16"]
    assert shlex.split(start) == ["bash", "hilight/launch/start.sh", "3", "b16", *config, *odd]


def test_films_are_indexed_into_the_bucket_or_the_share(bench):
    films = ("--run", "archive", "--films", "share/films")
    for storage, place in (("--bucket=b", "gs://b/runs/archive"), ("--nfs=10.0.0.2:/share", "share/runs/archive")):
        bench.run("tpu.sh", "install", *WHERE, "--source", "https://example.com/h.git", storage, *films)
        assert "install.sh tpu,archive " in bench.calls()[-1][-1]
        bench.run("tpu.sh", "start", *WHERE, storage, *films, "--", "--windows", "5")
        start = bench.calls()[-1][-1].partition(" && ")[2]
        words = ["archive", "--films", "share/films", "--to", place, "--windows", "5"]
        assert shlex.split(start) == ["bash", "hilight/launch/start.sh", "10", *words]


def test_logs_fetch_and_delete(bench):
    bench.run("tpu.sh", "logs", *WHERE, "--node", "1", "--worker", "7")
    bench.run("tpu.sh", "fetch", *VERBS["fetch"])
    bench.run("tpu.sh", "delete", *WHERE)
    logs, fetch, delete = bench.calls()
    assert logs[-3:] == ["--node=1", "--worker=7", "--command=tail -n 100 -F hilight/log/train.log"]
    assert fetch[:5] == ["gcloud", "storage", "rsync", "gs://my-bucket/runs/b16", "runs/b16"] and "--recursive" in fetch
    assert delete == [*RESOURCES, "delete", "pod", "--project=my-project", "--zone=us-west4-a", "--force", "--quiet"]


def test_status_asks_the_workers_only_when_there_are_some(bench):
    bench.answer([["describe"], "PROVISIONING", 0], [["describe"], "ACTIVE", 0])
    assert bench.run("tpu.sh", "status", *WHERE).stdout == "PROVISIONING\n"
    assert len(bench.calls()) == 1
    bench.run("tpu.sh", "status", *WHERE)
    assert [call[4] for call in bench.calls()] == ["describe", "describe", "ssh"]


@pytest.mark.parametrize("verb", VERBS)
def test_a_dry_run_prints_the_same_commands_and_calls_nothing(bench, verb):
    printed = bench.run("tpu.sh", verb, *VERBS[verb], "--dry-run", "--create-flag=--labels=a=b c")
    assert printed.returncode == 0 and bench.calls() == []
    commands = [shlex.split(line) for line in printed.stdout.splitlines()]
    assert commands
    if verb not in ("resume", "status"):
        bench.run("tpu.sh", verb, *VERBS[verb], "--create-flag=--labels=a=b c")
        assert [words for words in commands if words[0] == "gcloud"] == bench.calls()


def test_settings_come_from_the_environment_too(bench):
    bench.run("tpu.sh", "delete", HILIGHT_PROJECT="p", HILIGHT_ZONE="z", HILIGHT_NAME="n")
    assert bench.calls()[0][4:8] == ["delete", "n", "--project=p", "--zone=z"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "a verb is missing"),
        (["destroy"], "'destroy' is no verb"),
        (["delete", "--zone", "z", "--name", "n"], "give it as --project or set HILIGHT_PROJECT"),
        (["delete", "--project", "p", "--name", "n"], "the zone is missing"),
        (["create", *WHERE], "the accelerator type (v5litepod-256, v5p-128, v4-128, v6e-256 ...) is missing"),
        (["create", *WHERE, *WHAT, "--tier", "cheap"], "--tier is 'cheap'"),
        (["create", *WHERE, *WHAT, "--slices", "two"], "--slices is 'two'"),
        (["create", *WHERE, "--accelerator", "v9-8"], "no runtime version is known"),
        (["create", *WHERE, *WHAT, "--colour", "red"], "'--colour' is no option"),
        (["create", "--project"], "--project needs a value"),
        (["install", *WHERE, "--bucket", "b"], "the source (a git URL or a local .tar.gz) is missing"),
        (["install", *WHERE, "--source", "no.tar.gz", "--bucket", "b"], "'no.tar.gz' does not exist"),
        (["install", *WHERE, "--source", "hilight.tar.gz"], "give --bucket (HILIGHT_BUCKET) or --nfs"),
        (["install", *WHERE, *CODE, "--nfs", "h:/s"], "both given"),
        (["start", *WHERE, "--bucket", "b", "--config", "c"], "the name of the run is missing"),
        (["start", *WHERE, "--bucket", "b", "--run", "b16"], "the configuration is missing"),
        (["start", *WHERE, "--bucket", "b", "--run", "../b16", "--config", "c"], "--run is '../b16'"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_2(bench, words, sentence):
    ended = bench.run("tpu.sh", *words)
    assert ended.returncode == 2 and bench.calls() == []
    assert ended.stderr.startswith("error: ") and sentence in ended.stderr and ended.stderr.count("\n") == 1


def test_a_failing_gcloud_stops_the_script_with_a_sentence(bench):
    bench.answer([["scp"], "ERROR: (gcloud) permission denied", 1])
    ended = bench.run("tpu.sh", "install", *WHERE, *CODE)
    assert ended.returncode == 1 and len(bench.calls()) == 2
    assert "permission denied" in ended.stderr and "ended with exit code 1" in ended.stderr
