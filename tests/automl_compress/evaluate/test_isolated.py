import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import get_context
from multiprocessing.synchronize import Lock
from multiprocessing.util import Finalize
from pathlib import Path

import pytest

from automl_compress.core.errors import InvalidInput, ModelInvalid, UnknownName
from automl_compress.evaluate.isolated import run_isolated


def identity() -> int:
    return os.getpid()


def refuse(message: str) -> None:
    raise ModelInvalid(message)


def refuse_a_name() -> None:
    raise UnknownName("engine", "x", ["y"])


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


KEPT: list[Lock] = []


def keep_a_semaphore() -> None:
    KEPT.append(get_context("spawn").Lock())
    Finalize(None, time.sleep, args=(0.5,), exitpriority=100)  # its end takes a moment


def tell_and_sleep(path: Path) -> None:
    path.write_text(str(os.getpid()))
    time.sleep(600)


def test_a_result_comes_from_another_process() -> None:
    assert run_isolated(identity) != os.getpid()


def test_errors_of_ours_arrive_with_their_message() -> None:
    with pytest.raises(ModelInvalid, match="no such operator"):
        run_isolated(refuse, "no such operator")
    with pytest.raises(InvalidInput, match="no engine is called 'x'"):
        run_isolated(refuse_a_name)


def test_a_script_without_a_main_guard_is_told_of_it(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    lines = ("import os", "from automl_compress.evaluate.isolated import run_isolated")
    script.write_text("\n".join((*lines, "run_isolated(os.getpid)")))

    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    told = done.stderr.splitlines()[-1]
    assert 'exit code 1; a script must call this behind `if __name__ == "__main__":`' in told


def test_a_crash_stays_there() -> None:
    with pytest.raises(ModelInvalid, match=r"ended without a result \(exit code -11\)"):
        run_isolated(crash)


def test_who_asks_may_end_it(tmp_path: Path) -> None:
    told = tmp_path / "told"

    def stop() -> None:
        if told.exists() and told.read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_isolated(tell_and_sleep, told, go_on=stop)

    assert not Path(f"/proc/{told.read_text()}").exists()


def test_several_threads_may_ask_at_once() -> None:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(run_isolated(identity))) for _ in range(3)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(found)) == 3


def test_what_the_function_took_of_the_system_is_given_back() -> None:
    # The tracker of leaked semaphores speaks when the process that started everything ends.
    code = (
        "from automl_compress.evaluate.isolated import run_isolated;"
        "from tests.automl_compress.evaluate.test_isolated import keep_a_semaphore;"
        "run_isolated(keep_a_semaphore)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr == ""
