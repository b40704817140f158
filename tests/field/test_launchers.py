"""What went wrong in this field's public trackers where a training is started and stopped by another program."""

import os
import signal
import sys

import pytest

from srkit.progress import Stop


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM that can be caught")
def test_a_job_that_is_preempted_saves_though_it_hears_of_it_twice():
    """Slurm sends SIGTERM to every process, and torchrun passes on its own: pytorch/pytorch 61602, 119856."""
    stop = Stop()
    stop.listen()
    try:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        stop.leave()
