"""The verb resume of launch/tpu.sh: from every state of a queued resource to the end of the training."""

FLAGS = ("--project", "p", "--zone", "z", "--name", "pod", "--accelerator", "v5litepod-16", "--tier", "spot")
FLAGS += ("--source", "hilight.tar.gz", "--bucket", "b", "--run", "r", "--config", "c.py", "--poll", "0")


def states(*names):
    return [[["describe"], name, 0] for name in names]


def workers(*names):
    return [[["hilight-state"], "\n".join(f"hilight-state: {one}" for one in name.split("+")), 0] for name in names]


def verbs(bench):
    """The calls that change something, without the questions."""
    short = []
    for call in bench.calls():
        command = call[-1]
        if "install.sh" in command:
            short.append("install")
        elif "start.sh" in command:
            short.append("start")
        elif call[4] in ("create", "delete"):
            short.append(call[4])
    return short


def test_waits_installs_starts_and_ends_when_every_worker_is_done(bench):
    bench.answer(
        *states("WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE", "ACTIVE", "ACTIVE"),
        *workers("absent", "running+done", "done+done"),
    )
    ended = bench.run("tpu.sh", "resume", *FLAGS)
    assert ended.returncode == 0 and "still cost money" in ended.stderr
    assert verbs(bench) == ["install", "start"]


def test_a_preempted_pod_is_deleted_asked_for_again_installed_and_started(bench):
    bench.answer(
        *states("ACTIVE", "SUSPENDING", "SUSPENDED", "PROVISIONING", "ACTIVE", "ACTIVE"),
        *workers("running", "absent", "done"),
    )
    assert bench.run("tpu.sh", "resume", *FLAGS).returncode == 0
    assert verbs(bench) == ["delete", "create", "install", "start"]
    assert all("--spot" in call for call in bench.calls() if call[4] == "create")


def test_a_rebooted_worker_is_started_without_installing(bench):
    bench.answer(*states("ACTIVE", "ACTIVE"), *workers("running+dead", "done"))
    assert bench.run("tpu.sh", "resume", *FLAGS).returncode == 0
    assert verbs(bench) == ["start"]


def test_a_missing_request_is_made(bench):
    bench.answer([["describe"], "ERROR: NOT_FOUND: Resource pod was not found", 1], *states("ACTIVE"), *workers("done"))
    assert bench.run("tpu.sh", "resume", *FLAGS).returncode == 0
    assert verbs(bench) == ["create"]


def test_training_that_gave_up_ends_the_watch_with_exit_1(bench):
    bench.answer(*states("ACTIVE"), *workers("running+failed 2"))
    ended = bench.run("tpu.sh", "resume", *FLAGS)
    assert ended.returncode == 1 and "gave up" in ended.stderr and verbs(bench) == []


def test_workers_lost_while_installing_are_no_end(bench):
    bench.answer(
        *states("ACTIVE", "SUSPENDED", "ACTIVE", "ACTIVE"),
        *workers("absent", "absent", "done"),
        [["mkdir -p hilight/launch"], "ssh: connection closed", 255],
    )
    assert bench.run("tpu.sh", "resume", *FLAGS).returncode == 0
    assert verbs(bench) == ["delete", "create", "install", "start"]


def test_workers_that_do_not_answer_are_asked_again(bench):
    bench.answer(*states("ACTIVE", "ACTIVE"), [["hilight-state"], "ssh: timed out", 255], *workers("done"))
    ended = bench.run("tpu.sh", "resume", *FLAGS)
    assert ended.returncode == 0 and "do not answer" in ended.stderr and verbs(bench) == []


def test_a_request_that_fails_three_times_is_given_up(bench):
    bench.answer(*states("FAILED", "PROVISIONING", "FAILED", "FAILED"))
    ended = bench.run("tpu.sh", "resume", *FLAGS)
    assert ended.returncode == 1 and "failed three times" in ended.stderr
    assert verbs(bench) == ["delete", "create", "delete", "create"]


def test_recreations_are_limited(bench):
    bench.answer(*states("SUSPENDED", "SUSPENDED"))
    ended = bench.run("tpu.sh", "resume", *FLAGS, "--recreations", "1")
    assert ended.returncode == 1 and "lost again after 1" in ended.stderr


def test_five_unanswered_questions_in_a_row_end_with_a_sentence(bench):
    bench.answer(*([[["describe"], "ERROR: login needed", 1]] * 5))
    ended = bench.run("tpu.sh", "resume", *FLAGS)
    assert ended.returncode == 1 and "five times in a row" in ended.stderr and len(bench.calls()) == 5
