"""The JobSet manifest of launch/gke and the verbs around it."""

import pytest
import yaml

FLAGS = ("--name", "b16", "--image", "europe-docker.pkg.dev/p/r/hilight:1", "--bucket", "gs://my-bucket")
FLAGS += ("--config", "configs/encoder.py:b16")
V5E = ("--accelerator", "v5e", "--topology", "16x16")


def manifest(bench, *words):
    printed = bench.run("gke/jobset.sh", "apply", "--dry-run", *FLAGS, *words)
    assert printed.returncode == 0, printed.stderr
    assert bench.calls() == [] and "@" not in printed.stdout.replace("@ signs", "")
    return yaml.safe_load(printed.stdout)


@pytest.mark.parametrize(
    ("accelerator", "topology", "selector", "hosts", "chips"),
    [
        ("v5e", "16x16", "tpu-v5-lite-podslice", 64, 4),
        ("v5e", "1x1", "tpu-v5-lite-podslice", 1, 1),
        ("v5p", "4x4x4", "tpu-v5p-slice", 16, 4),
        ("v4", "2x2x4", "tpu-v4-podslice", 4, 4),
        ("v6e", "4x4", "tpu-v6e-slice", 4, 4),
    ],
)
def test_hosts_and_selectors_follow_the_topology(bench, accelerator, topology, selector, hosts, chips):
    job = manifest(bench, "--accelerator", accelerator, "--topology", topology)["spec"]["replicatedJobs"][0]
    job = job["template"]["spec"]
    assert (job["parallelism"], job["completions"], job["completionMode"]) == (hosts, hosts, "Indexed")
    pod = job["template"]["spec"]
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": selector,
        "cloud.google.com/gke-tpu-topology": topology,
    }
    assert pod["containers"][0]["resources"]["limits"] == {"google.com/tpu": chips}


def test_slices_spot_and_the_time_to_save(bench):
    whole = manifest(bench, *V5E, "--slices", "2", "--spot", "--grace", "600", "--restarts", "7")
    jobs = whole["spec"]["replicatedJobs"][0]
    pod = jobs["template"]["spec"]["template"]["spec"]
    assert jobs["replicas"] == 2 and whole["spec"]["failurePolicy"]["maxRestarts"] == 7
    assert pod["terminationGracePeriodSeconds"] == 600
    assert pod["nodeSelector"]["cloud.google.com/gke-spot"] == "true"
    annotation = whole["metadata"]["annotations"]["alpha.jobset.sigs.k8s.io/exclusive-topology"]
    assert annotation == "cloud.google.com/gke-nodepool"


def test_exit_code_2_fails_the_set_and_75_starts_again_uncounted(bench):
    spec = manifest(bench, *V5E)["spec"]
    job = spec["replicatedJobs"][0]["template"]["spec"]
    actions = {rule["onExitCodes"]["values"][0]: rule["action"] for rule in job["podFailurePolicy"]["rules"][:2]}
    assert actions == {2: "FailJob", 75: "Ignore"} and job["backoffLimit"] == 0
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    rule = spec["failurePolicy"]["rules"][0]
    assert (rule["action"], rule["onJobFailureReasons"]) == ("FailJobSet", ["PodFailurePolicy"])


def test_odd_arguments_survive_yaml(bench):
    odd = ['--config.name=a: "b" \\ & {c}', "--config.freeze=('^x$',) # no comment"]
    whole = manifest(bench, *V5E, "--", *odd)
    pod = whole["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    place = ["--workdir", "/share/runs/b16", "--data_dir", "/share/data"]
    assert pod["containers"][0]["args"] == ["--config", "configs/encoder.py:b16", *place, *odd]
    assert pod["volumes"][0]["csi"]["volumeAttributes"]["bucketName"] == "my-bucket"


def test_every_verb_calls_its_program(bench):
    for verb in ("image", "apply", "status", "logs", "delete"):
        assert bench.run("gke/jobset.sh", verb, *FLAGS, *V5E).returncode == 0
    short = [" ".join(call[:3]) for call in bench.calls()]
    assert short == [
        "docker build --platform",
        f"docker push {FLAGS[3]}",
        "kubectl apply --filename",
        "kubectl get jobset",
        "kubectl get pods",
        "kubectl logs --namespace",
        "kubectl delete jobset",
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["apply", *FLAGS, "--topology", "4x4"], "(v4, v5e, v5p or v6e) is missing"),
        (["apply", *FLAGS, *V5E, "--topology", "16by16"], "--topology is '16by16'"),
        (["apply", *FLAGS, *V5E, "--accelerator", "v3"], "--accelerator is 'v3'"),
        (["apply", *FLAGS, *V5E, "--chips-per-host", "3"], "does not divide the 256 chips"),
        (["apply", *FLAGS, *V5E, "--bucket", "a/b"], "--bucket is 'a/b'"),
        (["apply", *FLAGS, *V5E, "--name", "B_16"], "--name is 'B_16'"),
        (["apply", *FLAGS, *V5E, "--", "two\nlines"], "control character"),
        (["delete"], "give it as --name or set HILIGHT_NAME"),
        (["explain"], "'explain' is no verb"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_2(bench, words, sentence):
    ended = bench.run("gke/jobset.sh", *words)
    assert ended.returncode == 2 and sentence in ended.stderr and bench.calls() == []
