"""A mistake is one sentence and an exit code, never a traceback."""

import errno
import json

import pytest

from hilight_jax.core import commands
from hilight_jax.core.errors import Interrupted, UserError


def outcome(main, capsys):
    with pytest.raises(SystemExit) as exit_info:
        commands.run(main)
    return exit_info.value.code, capsys.readouterr()


def raising(error):
    def main():
        raise error

    return main


def test_success_is_zero_and_a_result_is_the_exit_code(capsys):
    assert outcome(lambda: None, capsys)[0] == 0
    assert outcome(lambda: 1, capsys)[0] == 1


def test_a_user_error_is_one_sentence_and_two(capsys):
    code, printed = outcome(raising(UserError("no such thing.")), capsys)
    assert (code, printed.err, printed.out) == (2, "error: no such thing.\n", "")


def test_a_full_disk_is_one_sentence_and_two(capsys):
    code, printed = outcome(raising(OSError(errno.ENOSPC, "No space left on device", "a.jsonl")), capsys)
    assert code == 2
    assert printed.err == "error: a.jsonl: No space left on device. Mend this and start the same command again.\n"


def test_ctrl_c_is_130(capsys):
    assert outcome(raising(KeyboardInterrupt()), capsys)[0] == 130


def test_an_interrupted_run_is_75_and_says_how_to_go_on(capsys):
    code, printed = outcome(raising(Interrupted("step 4 is saved.")), capsys)
    assert (code, printed.err) == (75, "step 4 is saved.\n")


def test_json_is_the_last_line(capsys):
    commands.print_json({"a": 1})
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"a": 1}
