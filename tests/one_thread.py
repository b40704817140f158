"""One thread a process (pytest loads it by `-p tests.one_thread`, before numpy and torch).

The networks of the tests are small, and the tests run side by side: more threads would only wait for each other. What
the tests start inherits it.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
